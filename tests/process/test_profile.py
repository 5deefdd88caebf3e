"""warmup.profile: the set of pages in memory is kept, whatever ends the daemon, and never in place
of a better one."""

import contextlib
import os
import random
import shutil
import signal
import struct
import subprocess

import pytest

from lib import cold, http, paths, profile
from lib.processes import wait_gone
from lib.slow_disk import forget, libc, opened, residency, run, unmount
from lib.waiting import eventually

PAGE = 4096
NOBODY = 65534
GIB = 1 << 30
SECOND = {"warmup.profile_interval_ms": 1000}  # the shortest


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return cold.build(tmp_path_factory.mktemp("profile") / "tree.act", 5000, 2000)


def place(source, path):
    """A copy of the file that nobody else maps, and that is not in memory."""
    shutil.copyfile(source, path)
    path.chmod(0o644)
    with opened(path) as fd:
        os.fsync(fd)  # dirty pages stay in memory
    forget(path)
    return path


@pytest.fixture
def tree(built, directory):
    return built._replace(path=place(built.path, directory / "tree.act"))


@pytest.fixture
def kept(directory):
    """Where the profile is."""
    folder = directory / "state"
    folder.mkdir()
    return folder / "warm.profile"


def resident_pages(path):
    return {page for page, is_there in enumerate(residency(path)) if is_there}


def use(daemon, tree, keys):
    with daemon.client() as client:
        assert client.call("mget", keys) == [tree.values[key] for key in keys]


def wait_saves(daemon, n=1):
    """Until it has saved so often from now on."""
    n += daemon.stat("profile", "saves")
    daemon.wait_stat("profile", "saves", lambda saves: saves >= n)


def wait_ms(daemon, ms):
    end = daemon.stat("process", "uptime_ms") + ms
    daemon.wait_stat("process", "uptime_ms", lambda now: now >= end)


def check_facts(found, daemon_identity, path):
    with opened(path) as fd:
        assert found.root_offset == struct.unpack("<Q", os.pread(fd, 8, 8))[0]
    assert found.identity == daemon_identity
    assert found.size_bytes == path.stat().st_size


def write_good(path):
    """What must not be lost: any bytes will do for who only writes."""
    path.write_bytes(b"ACTPROF1: the good one")
    return path.read_bytes()


# What is in it.


def test_a_stop_saves_what_is_in_memory(actd, tree, kept):
    """All of it, whoever has brought it there."""

    def stop():
        daemon = actd(tree.path, {"warmup.profile": kept})
        use(daemon, tree, tree.keys[:300])
        identity = daemon.stat("tree", "identity")
        before = resident_pages(tree.path)
        daemon.stop()
        found = profile.read(kept)
        check_facts(found, identity, tree.path)
        assert found.source == "mincore"
        # Unless the kernel has taken some meanwhile.
        return before == resident_pages(tree.path) and (before, found)

    there, found = eventually(stop, "the page cache to rest")
    assert found.pages == there
    assert 100 < len(there) < len(residency(tree.path))
    assert os.listdir(kept.parent) == [kept.name]
    assert kept.stat().st_mode & 0o777 == 0o600


def test_the_stop_waits_for_a_look_that_takes_seconds(actd, directory, kept):
    """But not for a disk that hangs: see below."""
    path = sparse(directory, 150 * GIB)
    actd(path, {"warmup.profile": kept, "daemon.workers": 1}).stop()
    assert profile.read(kept).size_bytes == 150 * GIB


def test_it_is_saved_now_and_then(actd, tree, kept):
    daemon = actd(tree.path, {"warmup.profile": kept, **SECOND})
    told = daemon.stats()["profile"]
    assert told == {"pages": None, "age_ms": None, "saves": 0, "failures": 0}
    use(daemon, tree, tree.keys[:300])
    wait_saves(daemon)
    told = daemon.stats()["profile"]
    assert told["age_ms"] < 60000 and told["failures"] == 0
    wait_saves(daemon)
    found = profile.read(kept)
    assert len(found.pages) > 100
    # Others still run when the supervisor is killed, and end by themselves.
    pids = daemon.worker_pids()
    daemon.crash()
    for pid in pids:
        wait_gone(pid)
    found = profile.read(kept)
    assert len(found.pages) > 100


def test_without_the_option_nothing_is_saved(actd, tree, directory):
    daemon = actd(tree.path, SECOND)
    wait_ms(daemon, 1500)
    assert daemon.stats()["profile"] == {
        "pages": None, "age_ms": None, "saves": 0, "failures": 0
    }
    daemon.stop()
    assert os.listdir(directory) == ["tree.act"]


def test_of_a_file_of_others_it_is_what_the_workers_have_mapped(actd, tree, kept):
    """Who ask for nothing more end at once: not before they have been looked at."""
    os.chown(kept.parent, NOBODY, NOBODY)
    daemon = actd(tree.path, {"warmup.profile": kept, "daemon.workers": 3}, user=NOBODY)
    for i in range(6):
        use(daemon, tree, tree.keys[i * 30 : i * 30 + 30])
    tree.path.read_bytes()  # in memory, and nobody has mapped it
    cold.settle(daemon)
    mapped = profile.mapped_pages(daemon.worker_pids(), tree.path)
    daemon.stop()
    found = profile.read(kept)
    assert found.source == "pagemap"
    # The kernel may take some, and a thread that looks whether pages are there maps none.
    assert found.pages <= mapped and len(found.pages) > 0.9 * len(mapped)
    assert 50 < len(mapped) < len(residency(tree.path))


def test_after_a_reload_it_is_of_the_new_file(actd, tree, kept):
    daemon = actd(tree.path, {"warmup.profile": kept, **SECOND})
    wait_saves(daemon)
    assert profile.read(kept).size_bytes == tree.path.stat().st_size
    os.rename(place(paths.CITIES, tree.path.with_name("new.act")), tree.path)
    daemon.send_signal(signal.SIGHUP)
    daemon.wait_stat("tree", "generation", 2)
    wait_saves(daemon, 2)  # one may have been on its way
    check_facts(profile.read(kept), daemon.stat("tree", "identity"), tree.path)
    assert tree.path.stat().st_size == paths.CITIES.stat().st_size


# What must not be saved.


def sparse(directory, size=64 * GIB):
    """A tree in its first pages, and much that a warm-up reads for nothing."""
    path = place(paths.CITIES, directory / "sparse.act")
    os.truncate(path, size)
    return path


ENDS = {"stop": lambda daemon: daemon.stop(), "kill": lambda daemon: daemon.crash()}
WARMING = {"warmup.mode": "read", "warmup.max_bytes": 64 * GIB, **SECOND}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("ready", ["before", "after"])
def test_a_warm_up_that_is_ended_leaves_the_one_before(actd, directory, kept, ready, end):
    good = write_good(kept)
    settings = {**WARMING, "warmup.profile": kept, "warmup.ready": ready}
    daemon = actd(sparse(directory), settings, wait="admin endpoint on tcp")
    daemon.wait_stat("warmup", "read_bytes", lambda n: n > 0)
    wait_ms(daemon, 2500)
    assert daemon.stats()["warmup"]["state"] == "running"
    assert daemon.stats()["profile"]["saves"] == 0
    ENDS[end](daemon)
    assert kept.read_bytes() == good


def test_a_start_that_does_not_come_to_its_warm_up_leaves_the_one_before(actd, kept, directory):
    """SIGTERM as soon as the supervisor hears it."""
    good = write_good(kept)
    path = place(paths.CITIES, directory / "tree.act")
    settings = {"warmup.profile": kept, "warmup.mode": "read"}
    for _ in range(5):
        daemon = actd(path, settings, wait="listening")
        daemon.stop()
        is_warm = "ready:" in daemon.log
        assert is_warm or kept.read_bytes() == good


def test_what_is_damaged_is_not_saved(actd, tree, kept):
    daemon = actd(tree.path, {"warmup.profile": kept, **SECOND})
    wait_saves(daemon)
    with opened(tree.path, os.O_RDWR) as fd:
        os.pwrite(fd, b"ACTree0X", 0)
    daemon.wait_stat("tree", "damaged", 1)
    saved = kept.stat().st_mtime_ns
    saves = daemon.stat("profile", "saves")
    wait_ms(daemon, 2500)
    assert daemon.stat("profile", "saves") <= saves + 1  # one may have been on its way
    saved = kept.stat().st_mtime_ns
    daemon.stop()
    assert kept.stat().st_mtime_ns == saved


def test_a_copy_is_not_saved(actd, tree, kept):
    settings = {"warmup.profile": kept, "tree.map_min_bytes": GIB, **SECOND}
    daemon = actd(tree.path, settings)
    assert daemon.wait_log("a copy in memory.*no profile of it is saved")
    wait_ms(daemon, 1500)
    daemon.stop()
    assert not kept.exists()


# What goes wrong.


def warnings(daemon, text):
    return [line for line in daemon.log.splitlines() if " warning: " in line and text in line]


@pytest.mark.parametrize("mode", ["none", "restore"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_is_no_profile_is_not_replaced(actd, tree, kept, mode, link):
    """The tree itself, if somebody has named it so."""
    before = tree.path.read_bytes()
    link(tree.path, kept)
    daemon = actd(tree.path, {"warmup.profile": kept, "warmup.mode": mode, **SECOND})
    daemon.wait_stat("profile", "failures", lambda n: n >= 2)
    daemon.stop()
    told = [line for line in warnings(daemon, str(kept)) if "is not saved" in line]
    assert len(told) == 1 and "not a profile" in told[0] and "name another file" in told[0]
    assert "delete it" not in daemon.log
    assert tree.path.read_bytes() == kept.read_bytes() == before
    assert os.listdir(kept.parent) == [kept.name]


def test_a_folder_that_is_missing_is_told_at_the_start(actd, tree, kept):
    kept.parent.rmdir()
    daemon = actd(tree.path, {"warmup.profile": kept, **SECOND})
    daemon.wait_stat("profile", "failures", lambda n: n >= 2)
    (told,) = warnings(daemon, str(kept))
    assert f"{kept.parent}: No such file or directory" in told and "StateDirectory" in told
    # Repaired, it goes on by itself, and says so.
    kept.parent.mkdir()
    wait_saves(daemon)
    assert daemon.wait_log(f"{kept}: what is in memory is saved again")
    profile.read(kept)
    # Another time it is news again.
    shutil.rmtree(kept.parent)
    failures = daemon.stat("profile", "failures")
    daemon.wait_stat("profile", "failures", lambda n: n >= failures + 2)
    assert len(warnings(daemon, str(kept))) == 2


def test_a_folder_of_others_is_told_at_the_start(actd, tree, kept):
    daemon = actd(tree.path, {"warmup.profile": kept, **SECOND}, user=NOBODY)
    (told,) = eventually(lambda: warnings(daemon, str(kept)), "a warning")
    assert f"{kept.parent}: Permission denied" in told and str(NOBODY) in told
    daemon.wait_stat("profile", "failures", lambda n: n >= 2)
    daemon.stop()
    assert len(warnings(daemon, str(kept))) == 1
    assert not kept.exists()


@contextlib.contextmanager
def small_disk(where):
    where.mkdir(exist_ok=True)
    if libc.mount(b"none", os.fsencode(where), b"tmpfs", 0, b"size=64k") != 0:
        pytest.skip("cannot mount here")
    try:
        yield where
    finally:
        unmount(where)


def test_a_full_disk_keeps_the_one_before(actd, tree, directory):
    with small_disk(directory / "small") as where:
        kept = where / "warm.profile"
        daemon = actd(tree.path, {"warmup.profile": kept, **SECOND})
        wait_saves(daemon)
        before = profile.read(kept)
        filler = where / "filler"
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(1 << 20))
        assert filler.stat().st_size > 0
        daemon.wait_stat("profile", "failures", lambda n: n >= 2)
        (told,) = warnings(daemon, str(kept))
        assert "No space left on device" in told
        assert profile.read(kept).identity == before.identity
        assert set(os.listdir(where)) == {"filler", "warm.profile"}
        filler.unlink()
        wait_saves(daemon)
        daemon.stop()
        profile.read(kept)


def test_a_kill_during_saving_leaves_a_whole_one(actd, tree, kept):
    rng = random.Random(8)
    daemon = actd(tree.path, {"warmup.profile": kept})
    use(daemon, tree, tree.keys[:1000:2])
    daemon.stop()
    for _ in range(20):
        daemon = actd(tree.path, {"warmup.profile": kept})
        daemon.send_signal(signal.SIGTERM)
        # Somewhere in the last steps, in which it saves.
        daemon.wait_log("SIGTERM: stopping")
        for _ in range(rng.randrange(200_000)):
            pass
        daemon.crash()
        assert len(profile.read(kept).pages) > 100
        # A file gets its name and then the place of the old one: in between it has a second name.
        others = set(os.listdir(kept.parent)) - {kept.name}
        assert len(others) <= 1 and all(name.startswith(".act-") for name in others)
    actd(tree.path, {"warmup.profile": kept}).stop()
    assert os.listdir(kept.parent) == [kept.name]


@contextlib.contextmanager
def frozen_disk(directory):
    """(folder, freeze, thaw): a file system on which, while it is frozen, who writes waits."""
    for program in ("mkfs.ext4", "losetup", "fsfreeze"):
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a file system")
    image, where = directory / "image", directory / "frozen"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    run("mkfs.ext4", "-q", "-O", "^has_journal", image)
    device = run("losetup", "-f", "--show", image)
    try:
        where.mkdir()
        if libc.mount(os.fsencode(device), os.fsencode(where), b"ext4", 0, b"") != 0:
            pytest.skip("cannot mount ext4 here")
    finally:
        run("losetup", "-d", device)
    try:
        yield (
            where,
            lambda: run("fsfreeze", "--freeze", where),
            lambda: run("fsfreeze", "--unfreeze", where),
        )
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            run("fsfreeze", "--unfreeze", where)
        unmount(where)


def test_a_disk_that_hangs_does_not_keep_the_daemon(actd, tree, directory):
    with frozen_disk(directory) as (where, freeze, thaw):
        kept = where / "warm.profile"
        daemon = actd(tree.path, {"warmup.profile": kept, **SECOND})
        wait_saves(daemon)
        freeze()
        try:
            wait_ms(daemon, 1500)  # now one waits
            saves = daemon.stat("profile", "saves")
            wait_ms(daemon, 1500)
            assert daemon.stat("profile", "saves") == saves
            # Who asks for something else is answered.
            use(daemon, tree, tree.keys[:100])
            assert http.fetch(daemon.admin_unix, "/residency")[0] == 200
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait_log("not done in time: not waiting for it")
            assert daemon.wait_log("stopped$")
        finally:
            thaw()  # only then can the kernel end the thread that waits there
        daemon.check_end()
        profile.read(kept)
