"""A served file that is changed in place, from the change to the good file after it: right answers
or errors, and the good one is served soon, also where nobody watches the path."""

import concurrent.futures
import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from lib import http, paths, reload, rpc, tree_maker
from lib.bad_disk import BadDisk
from lib.tree_data import oracle_of
from lib.waiting import DEADLINE_S, Clock, eventually

CITIES = oracle_of(paths.CITIES)
TWO = {"daemon.workers": 2}

# Values of the sibling are so much more.
MORE = 10**9

# From the end of the change to its being served.
SOON_S = 2

# The second one: of a worker that could not map it.
DAMAGED = (rpc.IO_ERROR, 12)


@pytest.fixture(scope="module")
def sibling(tmp_path_factory):
    """The same keys with other values, at other places."""
    path = tmp_path_factory.mktemp("sibling") / "sibling.act"
    return tree_maker.build(path, [(key, value + MORE) for key, value in CITIES.pairs], "--plain")


@pytest.fixture
def path(tmp_path):
    """Where the served file lies."""
    return shutil.copyfile(paths.CITIES, tmp_path / "tree.act")


def write_over(source, path, step=1 << 16):
    """The same inode, from its start, and not truncated before."""
    data = source.read_bytes()
    with open(path, "r+b", buffering=0) as file:
        for at in range(0, len(data), step):
            file.write(data[at : at + step])
        file.truncate()


def copy_over(source, path):
    subprocess.run(["cp", source, path], check=True)


def ask_across(daemon, keys, has_asked):
    """Asks until all replies are the sibling's: the number of errors before. Replies are the old
    one's, then errors, then the sibling's."""
    clock = Clock()
    n_errors, is_new, n_new = 0, False, 0
    with daemon.client() as client:
        while n_new < len(keys):
            n_new = 0
            for key, (error, value) in zip(keys, client.pipeline([["get", key] for key in keys])):
                if error is not None:
                    assert error[0] == rpc.IO_ERROR
                    n_errors += 1
                    continue
                old = CITIES.get(key)
                assert value in (old, old + MORE), key
                assert value != old or not is_new, "an old answer after a new one"
                is_new = is_new or value != old
                n_new += value != old
            client.answered.clear()
            has_asked.set()
            clock.left("the sibling")
    return n_errors


def change_under_load(daemon, change):
    """When the change ended, and the number of errors; then nobody is told anything else."""
    keys = CITIES.sample(300)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        events = [threading.Event() for _ in range(3)]
        asking = [pool.submit(ask_across, daemon, keys, event) for event in events]
        assert all(event.wait(DEADLINE_S) for event in events)
        change()
        end = time.time()
        return end, sum(future.result() for future in asking)


@pytest.mark.alone
@pytest.mark.parametrize("watch", ["yes", "no"])
@pytest.mark.parametrize("write", [copy_over, write_over])
def test_a_copy_over_the_served_file(actd, path, sibling, write, watch):
    daemon = actd(path, {**TWO, "tree.watch": watch})
    pids = reload.workers(daemon)
    for number in (2, 4):
        end, n_errors = change_under_load(daemon, lambda: write(sibling, path))
        assert n_errors > 0
        assert reload.time_served(daemon, number) - end < SOON_S
        reload.put(paths.CITIES, path)
        assert reload.accepted(daemon) == number + 1
    assert reload.workers(daemon) == pids


def damage_of(daemon):
    """Why the daemon is not ready."""
    status, _, text = http.fetch(daemon.admin_unix, "/readyz")
    return text if status == 503 else None


def check_refuses(daemon, n=4):
    """Over several connections, so that every worker is asked."""
    with contextlib.ExitStack() as stack:
        for _ in range(n):
            client = stack.enter_context(daemon.client())
            for error, _ in client.pipeline([["get", b"a"], ["scan", b""], ["count", b"b"]]):
                assert error[0] in DAMAGED, error
            assert client.is_usable()


def serves(daemon, oracle_value):
    key = CITIES.keys[1000]
    with daemon.client() as client:
        (error, value), = client.pipeline([["get", key]])
        return error is None and value == oracle_value(key)


def wait_soon(daemon, oracle_value=CITIES.get):
    """Until it is served, which must not take long."""
    began = time.monotonic()
    eventually(lambda: serves(daemon, oracle_value), "the good file")
    assert time.monotonic() - began < SOON_S
    eventually(lambda: damage_of(daemon) is None, "readiness")


PUTS = {"rename": reload.put, "cp": copy_over}


@pytest.mark.alone
@pytest.mark.parametrize("put", PUTS)
@pytest.mark.parametrize("part", [0, 0.5])
def test_a_truncated_file_and_the_good_one_after_it(actd, path, put, part):
    daemon = actd(path, TWO)
    pids = reload.workers(daemon)
    os.truncate(path, int(path.stat().st_size * part))
    check_refuses(daemon)
    daemon.wait_log("IO_ERROR until a good file is there")
    assert damage_of(daemon) == "not ready: the file was truncated in place\n"
    PUTS[put](paths.CITIES, path)
    wait_soon(daemon)
    assert reload.workers(daemon) == pids


@pytest.mark.alone
def test_a_truncated_file_whose_time_is_set_back(actd, path):
    """As cp -p and tar do: in all that can be seen the good file is the one that was served."""
    daemon = actd(path, TWO)
    before = path.stat()
    os.truncate(path, 0)
    check_refuses(daemon)
    copy_over(paths.CITIES, path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    wait_soon(daemon)


@pytest.mark.alone
def test_a_bad_file_after_the_damage_is_refused_and_the_next_one_served(actd, path):
    daemon = actd(path, TWO)
    os.truncate(path, 0)
    check_refuses(daemon)
    since = len(daemon.lines)
    reload.put_bytes(b"not a tree" * 100, path)
    assert daemon.wait_log(r"not an ACT file.*is damaged, and there is no good one", since)
    check_refuses(daemon)
    status, told = reload.post(daemon)
    assert status == 409 and told["serving"]["damage"] == "the file was truncated in place"
    reload.put(paths.CITIES, path)
    wait_soon(daemon)


def test_damage_and_a_good_file_again_and_again(actd, path):
    daemon = actd(path, {**TWO, "tree.settle_ms": 10})
    for number in range(2, 12):
        since = len(daemon.lines)
        os.truncate(path, 1000 * (number % 3))
        check_refuses(daemon, 1)
        reload.put(paths.CITIES, path)
        reload.wait_served(daemon, number, since)
        assert serves(daemon, CITIES.get)


#
# Workers that start while the file is damaged.
#

DAMAGES = {
    "empty": lambda path: os.truncate(path, 0),
    "20_bytes": lambda path: os.truncate(path, 20),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "zeros": lambda path: write_over(path.with_name("zeros"), path),
    "another": lambda path: write_over(paths.SHAKESPEARE, path),
}


@pytest.mark.alone
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("is_known", [True, False])
def test_a_worker_that_starts_on_a_damaged_file(actd, path, damage, is_known):
    path.with_name("zeros").write_bytes(bytes(path.stat().st_size))
    # Nobody puts it right meanwhile.
    daemon = actd(path, {**TWO, "tree.settle_ms": 3600000})
    DAMAGES[damage](path)
    if is_known:
        check_refuses(daemon)
    before = reload.workers(daemon)
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    now = reload.workers(daemon, other_than=before)
    check_refuses(daemon)
    assert damage_of(daemon)
    assert daemon.log.count("it is replaced") == 2
    reload.put(paths.CITIES, path)
    reload.accepted(daemon)
    wait_soon(daemon)
    assert reload.workers(daemon) == now
    assert daemon.log.count("it is replaced") == 2


#
# Merges, and dumps in slow motion.
#


def ask_about_merge(daemon, keys, old, new, has_asked):
    """Asks until the answer is the merged tree's; each is wholly of one of the two."""
    clock, got = Clock(), None
    with daemon.client() as client:
        while got != new:
            got = client.call("mget", keys)
            assert got in (old, new)
            has_asked.set()
            clock.left("the merged tree")
        for _ in range(20):
            assert client.call("mget", keys) == new


@pytest.mark.parametrize("watch", ["yes", "no"])
@pytest.mark.parametrize("writer", ["stream", "zipper"])
def test_a_merge_in_place_is_a_new_generation(actd, tmp_path, writer, watch):
    """As the reference merges: it appends, and then writes the new root."""
    source, result = paths.EDGE / f"m_base.{writer}.act", paths.EDGE / f"merged1_{writer}.act"
    path = shutil.copyfile(source, tmp_path / "tree.act")
    inode = path.stat().st_ino
    base, merged = source.read_bytes(), result.read_bytes()
    keys = oracle_of(result).keys
    old = [oracle_of(source).get(key) for key in keys]
    new = [oracle_of(result).get(key) for key in keys]
    assert old != new
    daemon = actd(path, {**TWO, "tree.watch": watch, "tree.settle_ms": 10})
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        events = [threading.Event() for _ in range(3)]
        asking = [pool.submit(ask_about_merge, daemon, keys, old, new, event) for event in events]
        assert all(event.wait(DEADLINE_S) for event in events)
        with open(path, "r+b", buffering=0) as file, daemon.client() as client:
            file.seek(len(base))
            for at in range(len(base), len(merged), 16):
                file.write(merged[at : at + 16])
                for _ in range(5):
                    assert client.call("mget", keys) == old
            file.seek(8)
            file.write(merged[8:16])
        if watch == "no":
            with daemon.client() as client:
                assert client.call("mget", keys) == old
            daemon.send_signal(signal.SIGHUP)
        for future in asking:
            future.result()
    assert path.stat().st_ino == inode and path.read_bytes() == merged
    assert "actd error" not in daemon.log


@pytest.mark.parametrize("watch", ["yes", "no"])
def test_a_dump_in_slow_motion_is_never_served_half_way(actd, path, sibling, watch):
    """As the stream writer writes: truncate, root 0, the rest, and the root at the end. With a
    pause after each step that is longer than settle_ms."""
    daemon = actd(path, {**TWO, "tree.watch": watch, "tree.settle_ms": 10})
    data = sibling.read_bytes()
    with open(path, "r+b", buffering=0) as file:
        file.truncate(0)
        check_refuses(daemon)
        daemon.wait_log("too short for an ACT file: 0 bytes")
        since = len(daemon.lines)
        file.write(data[:8] + bytes(8))
        daemon.wait_log("too short for an ACT file: 16 bytes", since)
        for at in range(16, len(data), len(data) // 7):
            since = len(daemon.lines)
            file.write(data[at : at + len(data) // 7])
            daemon.wait_log("still being written: its root is 0", since)
            check_refuses(daemon)
        since = len(daemon.lines)
        file.seek(8)
        file.write(data[8:16])
    reload.wait_served(daemon, 2, since)
    assert serves(daemon, lambda key: CITIES.get(key) + MORE)
    assert damage_of(daemon) is None


@pytest.mark.alone
@pytest.mark.parametrize("is_told", [True, False])
def test_a_worker_that_starts_after_a_merge(actd, tmp_path, is_told):
    """All go on serving what they served, or soon all serve what is there now."""
    source, result = paths.EDGE / "m_base.stream.act", paths.EDGE / "merged1_stream.act"
    path = shutil.copyfile(source, tmp_path / "tree.act")
    keys = oracle_of(result).keys
    old = [oracle_of(source).get(key) for key in keys]
    new = [oracle_of(result).get(key) for key in keys]
    daemon = actd(path, TWO)
    merged = result.read_bytes()
    with open(path, "r+b", buffering=0) as file:
        file.seek(path.stat().st_size)
        file.write(merged[path.stat().st_size :])
        if is_told:
            file.seek(8)
            file.write(merged[8:16])
    before = reload.workers(daemon)
    os.kill(before[0], signal.SIGKILL)

    def is_served():
        answers = []
        for _ in range(4):
            with daemon.client() as client:
                (error, got), = client.pipeline([["mget", keys]])
                assert got in (old, new) if error is None else error[0] in DAMAGED
                answers.append(got)
        return answers in ([old] * 4, [new] * 4) and damage_of(daemon) is None

    reload.workers(daemon, other_than=before[:1])
    began = time.monotonic()
    eventually(is_served, "one of the two")
    assert time.monotonic() - began < SOON_S


def test_a_worker_that_starts_where_the_file_cannot_be_read(actd, tmp_path):
    """Nothing of it is in memory any more: an open drops what is, on such a disk."""
    with BadDisk(tmp_path / "mounted.act", paths.CITIES.read_bytes()) as disk:
        daemon = actd(disk.path, {**TWO, "tree.settle_ms": 3600000})
        before = reload.workers(daemon)
        disk.bad_from = 0
        os.close(os.open(disk.path, os.O_RDONLY))
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        now = reload.workers(daemon, other_than=before)
        check_refuses(daemon)
        assert damage_of(daemon)
        assert reload.workers(daemon) == now
        assert daemon.log.count("it is replaced") == 2
        disk.bad_from = len(disk.content)
        reload.accepted(daemon)
        assert serves(daemon, CITIES.get)
        daemon.stop()
