"""A served file that is changed in place: never a wrong answer."""

import concurrent.futures
import os
import shutil
import signal
import struct
import threading

import pytest

from lib import http, paths, prometheus, rpc, tree_maker
from lib.bad_disk import BadDisk
from lib.daemon import counts_of, refused
from lib.tree_data import oracle_of
from lib.waiting import eventually

CITIES = oracle_of(paths.CITIES)

QUERIES = [
    ["get", b"a"], ["mget", [b"a"]], ["exists", b"a"], ["node", b"a"], ["scan", b"a"],
    ["range", b"a", None], ["mscan", [b"a"]], ["count", b"a"], ["longest_prefix", b"a"],
    ["longest_prefix", [b"a"]], ["prefixes", b"a"], ["prefixes", [b"a"]], ["next", b"a"],
    ["prev", b"a"], ["explore", b"a"], ["scan", b"a", {"limit": 0}],
]


@pytest.fixture
def actd(actd):
    """Damage stays: what puts it right has its tests in test_in_place_reload.py."""

    def start(tree, settings=None, **options):
        return actd(tree, {"tree.settle_ms": 3600000, **(settings or {})}, **options)

    return start


@pytest.fixture
def tree(tmp_path):
    """tree(source): a copy that the test may spoil."""

    def copy(source):
        path = tmp_path / "tree.act"
        shutil.copyfile(source, path)
        return path

    return copy


def overwrite(path, data):
    """As cp does: the same inode, from its start."""
    with open(path, "r+b") as file:
        file.write(data)
        file.truncate()


def append(path, data):
    with open(path, "ab") as file:
        file.write(data)


def check_damaged(daemon, why):
    """Queries fail, everything else goes on, and everybody is told."""
    with daemon.client() as client:
        client.error_of("get", b"a")
        line = daemon.wait_log("actd error: (.*)queries are answered with IO_ERROR")
        for call in QUERIES:
            assert client.error_of(*call) == rpc.IO_ERROR
        assert client.is_usable()
        line = daemon.wait_log("actd error: (.*)queries are answered with IO_ERROR")
        assert client.call("info")["tree"]["damage"] == why
        assert client.call("hello")["server"] == "actd"
        assert client.call("stats")["tree"]["damaged"] == 1
    status, _, text = http.fetch(daemon.admin_unix, "/readyz")
    assert (status, text.splitlines()[0]) == (503, f"not ready: {why}")
    assert http.fetch(daemon.admin_unix, "/livez")[0] == 200
    metrics = prometheus.parse(http.fetch(daemon.admin_unix, "/metrics")[2])
    assert prometheus.value(metrics, "actd_tree_damaged") == 1
    assert prometheus.value(metrics, "actd_ready") == 0
    assert str(daemon.settings["tree.path"]) in line.group(1)
    assert daemon.log.count("IO_ERROR") == 1


def check_good(daemon, oracle):
    with daemon.client() as client:
        keys = oracle.sample(1000)
        assert client.call("mget", keys) == [oracle.get(key) for key in keys]
        assert client.call("info")["tree"]["damage"] is None
    assert http.fetch(daemon.admin_unix, "/readyz")[0] == 200


def test_another_tree_over_it_makes_errors_and_no_wrong_answer(actd, tree, kind):
    path = tree(paths.CITIES)
    daemon = actd(path)
    # A larger tree with other contents: the same keys with other values and other places.
    other = bytearray(paths.CITIES.read_bytes() + paths.SHAKESPEARE.read_bytes())
    other[16 : len(other) - 8] = other[16 : len(other) - 8][::-1]
    other[8:16] = struct.pack("<Q", len(other) - 100)
    keys = CITIES.sample(300)
    with daemon.client(getattr(daemon, kind)) as client:
        assert client.results([["get", key] for key in keys]) == [CITIES.get(key) for key in keys]
        overwrite(path, other)
        for error, _ in client.pipeline([["get", key] for key in keys]):
            assert error[0] == rpc.IO_ERROR
    check_damaged(daemon, "the file was overwritten in place")


def test_no_wrong_answer_while_it_is_being_overwritten(actd, tree):
    path = tree(paths.CITIES)
    daemon = actd(path)
    other = bytearray(paths.CITIES.read_bytes())
    other[16:-8] = other[16:-8][::-1]
    other[8:16] = struct.pack("<Q", len(other) - 1000)
    keys = CITIES.sample(200)
    wanted = [CITIES.get(key) for key in keys]
    n_errors = 0
    with daemon.client() as client, open(path, "r+b") as file:
        step = len(other) // 40
        for at in range(0, len(other), step):
            file.write(other[at : at + step])
            file.flush()
            for value, (error, result) in zip(wanted, client.pipeline([["get", k] for k in keys])):
                if error is None:
                    assert result == value
                else:
                    assert error[0] == rpc.IO_ERROR
                    n_errors += 1
    assert n_errors > 0
    check_damaged(daemon, "the file was overwritten in place")


def test_every_reply_of_the_turn_that_finds_it_is_an_error(actd, tree):
    path = tree(paths.CITIES)
    daemon = actd(path)
    keys = CITIES.sample(500)
    with daemon.client() as client:
        assert client.is_usable()
        overwrite(path, bytes(paths.CITIES.stat().st_size))
        calls = [[method, key] for key in keys for method in ("get", "exists", "node")]
        calls += [["mget", keys], ["mget", keys, {"errors": True}]]
        for error, _ in client.pipeline(calls):
            assert error[0] == rpc.IO_ERROR
            assert error[1].startswith("IO_ERROR: the file was overwritten in place")


def test_requests_around_hello_keep_their_form_in_the_turn_that_finds_it(actd, tree):
    path = tree(paths.CITIES)
    daemon = actd(path)
    calls = [["get", b"a"], ["hello", {"errors": "string"}], ["get", b"a"], ["ping"]]
    with daemon.client() as client:
        overwrite(path, bytes(paths.CITIES.stat().st_size))
        replies = client.pipeline(calls)
    assert isinstance(replies[0][0], list) and replies[0][0][0] == rpc.IO_ERROR
    assert replies[1][1]["server"] == "actd"
    assert replies[2][0].startswith("IO_ERROR: ")
    assert replies[3] == (None, "pong")


def test_requests_of_that_turn_are_counted_once(actd, tree):
    path = tree(paths.CITIES)
    daemon = actd(path)
    with daemon.client() as client:
        overwrite(path, bytes(paths.CITIES.stat().st_size))
        client.pipeline([["get", b"a"]] * 10 + [["nonsense"], ["ping"]])
        client.send(rpc.pack([2, "x", []]))
        stats = client.call("stats")
    counts = {"requests": 10, "errors": 10, "hits": 0, "misses": 0}
    assert counts_of(stats["methods"]["get"]) == counts
    assert stats["methods"]["ping"]["requests"] == 1
    assert stats["messages"]["refused"] == 1
    assert stats["messages"]["notifications_ignored"] == 1


@pytest.mark.parametrize("length", [16, 24, 25, 100])
def test_a_file_cut_behind_what_is_in_memory_is_damaged(actd, tree, length):
    """The file is one page, which stays mapped: what is gone reads as zeros."""
    path = tree(paths.EDGE / "m_base.stream.act")
    daemon = actd(path)
    check_good(daemon, oracle_of(paths.EDGE / "m_base.stream.act"))
    os.truncate(path, length)
    check_damaged(daemon, "the file was truncated in place")


def test_a_damaged_file_stays_damaged_when_the_old_bytes_come_back(actd, tree):
    path = tree(paths.CITIES)
    daemon = actd(path)
    overwrite(path, bytes(paths.CITIES.stat().st_size))
    check_damaged(daemon, "the file was overwritten in place")
    overwrite(path, paths.CITIES.read_bytes())
    check_damaged(daemon, "the file was overwritten in place")


def test_touching_the_file_keeps_it_served(actd, tree):
    path = tree(paths.CITIES)
    daemon = actd(path)
    check_good(daemon, CITIES)
    for i in range(5):
        os.utime(path, (i, i))
        check_good(daemon, CITIES)


def test_a_change_of_its_mode_or_name_keeps_it_served(actd, tree):
    path = tree(paths.CITIES)
    daemon = actd(path)
    path.chmod(0o600)
    check_good(daemon, CITIES)
    path.rename(path.with_suffix(".old"))
    check_good(daemon, CITIES)
    os.link(path.with_suffix(".old"), path.with_suffix(".more"))
    path.with_suffix(".old").unlink()
    check_good(daemon, CITIES)


def test_a_file_renamed_over_it_leaves_the_old_one_served(actd, tree):
    path = tree(paths.CITIES)
    daemon = actd(path)
    new = path.with_suffix(".new")
    shutil.copyfile(paths.SHAKESPEARE, new)
    new.rename(path)
    check_good(daemon, CITIES)
    path.unlink()
    check_good(daemon, CITIES)


@pytest.mark.parametrize("writer", ["stream", "zipper"])
def test_a_merge_in_place_keeps_the_old_contents_served(actd, tree, writer):
    """As the reference merges: it appends, and then writes the new root."""
    source = paths.EDGE / f"m_base.{writer}.act"
    merged = (paths.EDGE / f"merged1_{writer}.act").read_bytes()
    path = tree(source)
    base = path.read_bytes()
    assert merged[16 : len(base)] == base[16:]
    daemon = actd(path)
    oracle = oracle_of(source)
    added = oracle_of(paths.EDGE / f"merged1_{writer}.act")
    check_good(daemon, oracle)
    for at in range(len(base), len(merged), 40):
        append(path, merged[at : at + 40])
        check_good(daemon, oracle)
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(merged[8:16])
    check_good(daemon, oracle)
    with daemon.client() as client:
        assert client.call("mget", added.keys) == [oracle.get(key) for key in added.keys]
    daemon.stop()
    with actd(path).client() as client:
        assert client.call("mget", added.keys) == [added.get(key) for key in added.keys]


def test_a_second_merge_that_is_under_way_is_no_damage(actd, tree):
    merged = (paths.EDGE / "merged1_stream.act").read_bytes()
    path = tree(paths.EDGE / "m_base.stream.act")
    oracle = oracle_of(paths.EDGE / "m_base.stream.act")
    daemon = actd(path, {"daemon.workers": 1})
    append(path, merged[path.stat().st_size :])
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(merged[8:16])
    check_good(daemon, oracle)
    for _ in range(3):
        append(path, bytes(40))
        check_good(daemon, oracle)


def test_damage_is_noticed_where_nobody_asks(actd, tree):
    path = tree(paths.CITIES)
    daemon = actd(path, {"daemon.heartbeat_timeout_ms": 2000})
    os.truncate(path, 100)
    daemon.wait_log("actd error: .*the file was truncated in place; .* with IO_ERROR")
    assert http.fetch(daemon.admin_unix, "/readyz")[0] == 503


def replace_first_worker(daemon):
    pid = daemon.worker_pids()[0]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: pid not in daemon.worker_pids(), f"worker {pid} to be replaced")
    daemon.wait_stat("process", "serving", 2)


@pytest.mark.parametrize("writer", ["stream", "zipper"])
def test_a_worker_that_starts_during_or_after_a_merge_serves_the_old_contents(actd, tree, writer):
    """Like those that have mapped the file before: it is still the same generation."""
    source = paths.EDGE / f"m_base.{writer}.act"
    merged = (paths.EDGE / f"merged1_{writer}.act").read_bytes()
    path = tree(source)
    base = path.read_bytes()
    daemon = actd(path, {"daemon.workers": 2})
    oracle = oracle_of(source)

    def check():
        replace_first_worker(daemon)
        check_good(daemon, oracle)
        check_good(daemon, oracle)
        with daemon.client() as client:
            assert client.call("info")["generation"]["number"] == 1

    append(path, merged[len(base) : -20])
    check()
    append(path, merged[-20:])
    check()
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(merged[8:16])
    check()


def test_a_new_root_without_a_merge_behind_it_is_damage(actd, tree):
    path = tree(paths.EDGE / "m_base.stream.act")
    daemon = actd(path)
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(struct.pack("<Q", 16))
    check_damaged(daemon, "the file was overwritten in place")


def test_garbage_behind_the_old_end_and_a_new_root_is_damage(actd, tree):
    path = tree(paths.EDGE / "m_base.stream.act")
    daemon = actd(path)
    append(path, b"\xff" * 100)
    check_good(daemon, oracle_of(paths.EDGE / "m_base.stream.act"))
    with open(path, "r+b") as file:
        file.seek(8)
        file.write(struct.pack("<Q", path.stat().st_size - 50))
    check_damaged(daemon, "the file was overwritten in place")


#
# Truncation: the pages behind the new end are gone.
#


def load_of(keys):
    """Requests of all kinds, short ones and such that take many slices."""
    calls = []
    for i, key in enumerate(keys):
        calls += [["get", key], ["exists", key], ["node", key[:2]], ["next", key], ["prev", key]]
        calls += [["prefixes", key + b"x"], ["longest_prefix", key + b"x"], ["count", key[:2]]]
        calls += [["mget", keys[i : i + 20]], ["scan", key[:2], {"limit": 50}]]
        if i % 20 == 0:
            calls += [["scan", b"", {"limit": 3000}], ["mscan", [b"a", key], {"limit": 500}]]
            calls += [["range", key, None, {"limit": 500, "reverse": True}], ["count", b""]]
            calls += [["explore", key[:1]], ["longest_prefix", keys], ["prefixes", keys]]
    return calls


def ask_until_it_fails(daemon, calls, wanted, has_asked):
    """Every reply is right or IO_ERROR. Ends with the pipeline that has met the first of those."""
    with daemon.client() as client:
        n_errors = 0
        while n_errors == 0:
            for call, result, (error, got) in zip(calls, wanted, client.pipeline(calls)):
                if error is None:
                    assert got == result, call
                else:
                    assert error[0] == rpc.IO_ERROR, (call, error)
                    n_errors += 1
            has_asked.set()


def spoil_under_load(daemon, keys, spoil):
    calls = load_of(keys)
    with daemon.client() as client:
        wanted = client.results(calls)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        events = [threading.Event() for _ in range(3)]
        asking = [pool.submit(ask_until_it_fails, daemon, calls, wanted, e) for e in events]
        for event in events:
            event.wait(10)
        spoil()
        for future in asking:
            future.result()


CUTS = {
    "all": lambda size: 0,
    "half": lambda size: size // 2 // 4096 * 4096,
    "inside_a_page": lambda size: size // 2 // 4096 * 4096 + 1234,
    "last_page": lambda size: (size - 1) // 4096 * 4096,
}


@pytest.mark.parametrize("cut", CUTS)
def test_no_wrong_answer_and_no_end_when_it_is_truncated(actd, tree, cut):
    path = tree(paths.CITIES)
    daemon = actd(path)
    length = CUTS[cut](path.stat().st_size)
    spoil_under_load(daemon, CITIES.sample(100), lambda: os.truncate(path, length))
    check_damaged(daemon, "the file was truncated in place")


@pytest.mark.parametrize("cut", CUTS)
def test_byte_values_are_not_sent_from_pages_that_are_gone(actd, tmp_path, cut):
    path = tmp_path / "tree.act"
    pairs = [(key, key * (value % 100)) for key, value in CITIES.pairs[:20000]]
    tree_maker.build(path, pairs, is_bytes=True)
    daemon = actd(path)
    length = CUTS[cut](path.stat().st_size)
    keys = [key for key, _ in pairs[::200]]
    spoil_under_load(daemon, keys, lambda: os.truncate(path, length))
    check_damaged(daemon, "the file was truncated in place")


def test_a_truncated_file_is_damaged_before_anybody_touches_what_is_gone(actd, tree):
    """Each request alone, on a file that nobody has looked at since."""
    for call in QUERIES:
        path = tree(paths.CITIES)
        daemon = actd(path)
        os.truncate(path, 0)
        with daemon.client() as client:
            assert client.error_of(*call) == rpc.IO_ERROR
            assert client.is_usable()
        check_damaged(daemon, "the file was truncated in place")
        daemon.stop()


def test_one_that_is_written_anew_over_itself_is_damaged(actd, tree):
    """As cp does: it truncates first, and the same bytes come back."""
    path = tree(paths.CITIES)
    daemon = actd(path)

    def copy():
        data = paths.CITIES.read_bytes()
        with open(path, "r+b") as file:
            file.truncate(0)
            file.flush()
            with daemon.client() as client:
                assert client.error_of("get", b"a") == rpc.IO_ERROR
            file.write(data)

    spoil_under_load(daemon, CITIES.sample(100), copy)
    check_damaged(daemon, "the file was truncated in place")


#
# A disk that fails: the pages that are not in memory yet raise the same signal.
#

UNREADABLE = "a part of the file could not be read"


def test_no_wrong_answer_and_no_end_when_the_disk_fails(actd, tmp_path):
    with BadDisk(tmp_path / "tree.act", paths.CITIES.read_bytes()) as disk:
        daemon = actd(disk.path)
        keys = CITIES.sample(30)
        with daemon.client() as client:
            assert client.call("mget", keys) == [CITIES.get(key) for key in keys]
            disk.bad_from = 0
            # What has been read is there.
            assert client.call("mget", keys) == [CITIES.get(key) for key in keys]
            assert disk.n_failed == 0
            more = CITIES.sample(2000, seed=1)
            replies = client.pipeline([["get", key] for key in more])
        for key, (error, value) in zip(more, replies):
            assert value == CITIES.get(key) if error is None else error[0] == rpc.IO_ERROR
        assert disk.n_failed > 0
        assert any(error for error, _ in replies)
        check_damaged(daemon, UNREADABLE)
        daemon.stop()


@pytest.mark.parametrize("call", [["scan", b""], ["count", b""], ["explore", b""]], ids=str)
def test_a_long_request_on_a_disk_that_fails(actd, tmp_path, call):
    with BadDisk(tmp_path / "tree.act", paths.CITIES.read_bytes()) as disk:
        daemon = actd(disk.path)
        with daemon.client() as client:
            assert client.call("get", CITIES.keys[0]) == CITIES.get(CITIES.keys[0])
            disk.bad_from = 0
            assert client.error_of(*call) == rpc.IO_ERROR
        check_damaged(daemon, UNREADABLE)
        daemon.stop()


def test_byte_values_on_a_disk_that_fails(actd, tmp_path):
    """Found by a look-up whose pages are in memory; the value's are not."""
    path = tree_maker.build(
        tmp_path / "built.act", [(b"a", b"x"), (b"b", b"y" * 100000)], is_bytes=True
    )
    with BadDisk(tmp_path / "tree.act", path.read_bytes()) as disk:
        daemon = actd(disk.path)
        with daemon.client() as client:
            assert client.call("exists", b"b")
            disk.bad_from = 0
            assert client.call("exists", b"b")
            assert client.error_of("get", b"b") == rpc.IO_ERROR
        check_damaged(daemon, UNREADABLE)
        daemon.stop()


@pytest.mark.parametrize("bad_pages", [1, 2, 1000])
def test_a_file_whose_end_cannot_be_read_is_refused(tmp_path, bad_pages):
    content = paths.CITIES.read_bytes()
    with BadDisk(tmp_path / "tree.act", content) as disk:
        disk.bad_from = max((len(content) - 1) // 4096 + 1 - bad_pages, 0) * 4096
        told = refused(disk.path)
        assert "cannot be read" in told or "cannot read" in told
