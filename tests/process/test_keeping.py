"""How the served file is kept in memory, as the kernel sees it: advice, locks, copies, huge pages,
and what leaves the page cache; and what is said where the system does not allow it."""

import contextlib
import ctypes
import fcntl
import mmap
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import tempfile

import pytest

from lib import actctl, paths, reload, tree_maker, versions
from lib.bad_disk import BadDisk
from lib.daemon import is_sanitized, refused
from lib.processes import files_of, mappings_of
from lib.waiting import eventually

PAGE = mmap.PAGESIZE
MIB = 1 << 20
TWO = {"daemon.workers": 2}
COPIED = {**TWO, "tree.map_min_bytes": "1G"}
HUGE = {**TWO, "tree.hugepages": "copy"}
COPY = "/memfd:actd-tree"

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


@pytest.fixture
def path(tmp_path):
    """Where the served file lies: version 1."""
    return versions.build(tmp_path / "tree.act", 1)


def whole_pages(size):
    return (size + PAGE - 1) // PAGE * PAGE


def each_worker(daemon, path):
    """The mappings of that path of each of both workers."""
    found = [mappings_of(pid, path) for pid in daemon.worker_pids()]
    assert len(found) == 2 and all(found), found
    return found


def held(daemon):
    with daemon.client() as client:
        return client.call("info")["tree"]["held"]


def identity(daemon):
    with daemon.client() as client:
        return client.call("hello")["generation"]["identity"]


def check_serves(daemon, version):
    assert versions.served(daemon) == version
    with daemon.client() as client:
        assert client.call("info")["tree"]["damage"] is None
    assert daemon.stat("tree", "damaged") == 0
    assert "IO_ERROR" not in daemon.log


#
# Advice.
#


@pytest.mark.parametrize(
    "advice, flag", [(None, "rr"), ("random", "rr"), ("normal", None), ("sequential", "sr")]
)
@pytest.mark.parametrize("mlock", ["no", "yes"])
def test_advice(actd, path, advice, flag, mlock):
    daemon = actd(path, {**TWO, "tree.advice": advice, "tree.mlock": mlock})
    for [mapping] in each_worker(daemon, path):
        assert mapping.flags & {"rr", "sr"} == ({flag} if flag else set())
    check_serves(daemon, 1)


#
# Locks.
#


def locked(daemon):
    """What each worker has locked, in bytes, as the kernel says and as it says itself."""
    told = [worker["tree"]["locked_bytes"] for worker in daemon.workers()]
    assert daemon.stat("tree", "locked_bytes") == max(told)
    assert [daemon.proc_status(pid)["VmLck"] for pid in daemon.worker_pids()] == told
    return told


def test_nothing_is_locked_unless_asked_for(actd, path):
    daemon = actd(path, TWO)
    assert locked(daemon) == [0, 0]
    assert not any("lo" in mapping.flags for [mapping] in each_worker(daemon, path))


def test_all_is_locked_and_read_before_it_is_served(actd, path):
    daemon = actd(path, {**TWO, "tree.mlock": "yes"})
    size = whole_pages(path.stat().st_size)
    assert locked(daemon) == [size, size]
    for [mapping] in each_worker(daemon, path):
        assert "lo" in mapping.flags
        assert mapping.kib["Rss"] * 1024 == size
    check_serves(daemon, 1)


def test_all_is_locked_as_it_is_touched(actd, path):
    daemon = actd(path, {**TWO, "tree.mlock": "onfault"})
    size = whole_pages(path.stat().st_size)
    assert locked(daemon) == [size, size]
    for [mapping] in each_worker(daemon, path):
        assert {"lo", "lf"} <= mapping.flags
    check_serves(daemon, 1)


def test_the_top_is_locked(actd, tmp_path):
    path = tmp_path / "large.act"
    pairs = [(b"%07d" % (i * 7919 % 10**7), i) for i in range(300000)]
    tree_maker.build(path, sorted(pairs))
    daemon = actd(path, {**TWO, "tree.mlock": "top"})
    with daemon.client() as client:
        root = client.call("info")["tree"]["root_offset"]
        assert client.call("get", pairs[7][0]) == 7
    assert path.stat().st_size > MIB
    for mappings in each_worker(daemon, path):
        # In the order of the file, since they were one mapping.
        kept = [mapping for mapping in mappings if "lo" in mapping.flags]
        assert 0 < sum(mapping.size for mapping in kept) <= MIB
        place = mappings[0].start + root
        assert any(mapping.start <= place < mapping.end for mapping in kept)
        assert all(mapping.kib["Rss"] * 1024 == mapping.size for mapping in kept)
    first, second = locked(daemon)
    assert first == second
    assert first == sum(m.size for m in each_worker(daemon, path)[0] if "lo" in m.flags)


@pytest.mark.parametrize("mode", ["top", "yes", "onfault"])
def test_locks_go_with_the_generation(actd, path, mode):
    daemon = actd(path, {**TWO, "tree.mlock": mode})
    versions.put(path, 2)
    assert reload.accepted(daemon) == 2
    check_serves(daemon, 2)
    size = whole_pages(path.stat().st_size)
    # The one before is unmapped in a thread.
    eventually(lambda: len(each_worker(daemon, path)[0]) == 1, "one mapping")
    eventually(lambda: len(each_worker(daemon, path)[1]) == 1, "one mapping")
    assert all(0 < n <= size for n in locked(daemon))


@contextlib.contextmanager
def open_to_all(version):
    """A file that any user may read."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        path = versions.build(pathlib.Path(directory) / "tree.act", version)
        path.chmod(0o644)
        yield path


@pytest.mark.parametrize("limit", [0, 2 * PAGE])
def test_a_limit_of_locked_memory_is_told_and_the_file_served_without(actd, limit):
    if not actctl.is_root():
        pytest.skip("needs root: runs the daemon as another user, whom the limit binds")
    with open_to_all(1) as path:
        daemon = actd(
            path,
            {**TWO, "tree.mlock": "yes"},
            user=65534,
            preexec=lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit)),
        )
        check_serves(daemon, 1)
        size = whole_pages(path.stat().st_size)
        wanted = (
            f"{path}: served without being locked in memory: tree.mlock = yes needs {size} bytes, "
            f"and the limit is {limit} bytes for all that the process has locked, also of the "
            "generation before (RLIMIT_MEMLOCK): raise LimitMEMLOCK= of the unit, or ulimit -l, "
            "to twice as much as is needed"
        )
        for worker in range(2):
            daemon.wait_log(re.escape(f"warning: worker {worker}: {wanted}"))
        assert locked(daemon) == [0, 0]
        versions.put(path, 2)
        path.chmod(0o644)
        reload.accepted(daemon)
        check_serves(daemon, 2)
        # Once for each generation and worker.
        without = "served without being locked"
        eventually(lambda: daemon.log.count(without) == 4, "four warnings")
        daemon.stop()


def test_a_top_that_cannot_be_read_is_refused(actd, path, tmp_path):
    content = versions.build(tmp_path / "other.act", 2).read_bytes()
    link = tmp_path / "link.act"
    link.symlink_to(path)
    with BadDisk(tmp_path / "disk.act", content) as disk:
        daemon = actd(link, {**TWO, "tree.mlock": "top"})
        # Header, root and end can be read; what is below the root cannot.
        disk.bad_from, disk.bad_to = PAGE, (len(content) - 1) // PAGE * PAGE
        reload.swap_link(link, disk.path)
        assert "could not be read" in reload.refused(daemon)
        check_serves_as_ever(daemon)
        reload.swap_link(link, path)
        reload.accepted(daemon)
        daemon.stop()


def test_what_cannot_all_be_read_is_served_without_being_locked(actd, path, tmp_path):
    content = versions.build(tmp_path / "other.act", 2).read_bytes()
    link = tmp_path / "link.act"
    link.symlink_to(path)
    with BadDisk(tmp_path / "disk.act", content) as disk:
        daemon = actd(link, {**TWO, "tree.mlock": "yes"})
        disk.bad_from, disk.bad_to = PAGE, (len(content) - 1) // PAGE * PAGE
        reload.swap_link(link, disk.path)
        assert reload.accepted(daemon) == 2
        why = "a part of the file could not be read: check the disk"
        eventually(lambda: daemon.log.count(why) == 2, "two warnings")
        for pid in daemon.worker_pids():
            eventually(lambda pid=pid: not mappings_of(pid, path), "the one before to go")
        assert locked(daemon) == [0, 0]
        daemon.stop()


def check_serves_as_ever(daemon):
    assert versions.served(daemon) == 1
    assert daemon.stat("tree", "damaged") == 0


#
# Copies.
#


def seals_of(pid, inode):
    """The seals of what the process has open under this inode number."""
    found = []
    for link, name in files_of(pid).items():
        with contextlib.suppress(FileNotFoundError):
            if COPY in name and os.stat(link).st_ino == inode:
                with open(link, "rb") as file:
                    found.append(fcntl.fcntl(file, fcntl.F_GET_SEALS))
    return found


def test_a_small_file_is_copied_to_memory_that_all_share(actd, path):
    mapped = actd(path, TWO)
    daemon = actd(path, COPIED)
    assert (held(mapped), held(daemon)) == ("mapped", "copied")
    assert identity(daemon) == identity(mapped)
    [first], [second] = each_worker(daemon, COPY)
    assert first.inode == second.inode != path.stat().st_ino
    assert first.device == second.device and first.perms == second.perms == "r--s"
    for pid in [daemon.pid, *daemon.worker_pids()]:
        assert set(seals_of(pid, first.inode)) == {SEALS}
        assert not mappings_of(pid, path)
    assert ", copied to memory: all workers serve it" in daemon.log
    check_serves(daemon, 1)
    # It is memory like other's: what is told of a file that is mapped is told of it.
    told = daemon.wait_stat("tree", "pss_bytes", lambda pss: pss)
    assert told <= whole_pages(path.stat().st_size)


def test_of_a_copy_neither_advice_nor_locks(actd, path):
    daemon = actd(path, {**COPIED, "tree.mlock": "yes", "tree.advice": "sequential"})
    assert locked(daemon) == [0, 0]
    for [mapping] in each_worker(daemon, COPY):
        assert not mapping.flags & {"lo", "sr"}
    assert "warning" not in daemon.log


def test_what_happens_to_the_file_does_not_matter(actd, path):
    daemon = actd(path, {**COPIED, "daemon.heartbeat_timeout_ms": 500})
    content = path.read_bytes()
    with daemon.client() as client:
        for data in [b"", b"nonsense", bytes(len(content)), content[:100], content[::-1]]:
            with open(path, "r+b") as file:
                file.write(data)
                file.truncate()
            assert client.call("get", versions.KEYS[0]) == versions.STEP
        assert client.call("info")["tree"]["size_bytes"] == len(content)
    check_serves(daemon, 1)
    # Also a worker that starts now has it.
    [pid, _] = daemon.worker_pids()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: pid not in daemon.worker_pids(), "another worker")
    daemon.wait_stat("process", "serving", 2)
    check_serves(daemon, 1)
    path.unlink()
    check_serves(daemon, 1)


def test_the_path_is_watched_though_the_file_is_a_copy(actd, path, tmp_path):
    daemon = actd(path, {**COPIED, "tree.watch": "yes", "tree.settle_ms": 10})
    other = versions.build(tmp_path / "other.act", 2)
    shutil.copyfile(other, path)  # in place
    eventually(lambda: versions.served(daemon) == 2, "version 2")
    versions.put(path, 3)
    eventually(lambda: versions.served(daemon) == 3, "version 3")
    check_serves(daemon, 3)
    assert held(daemon) == "copied"


def test_from_a_copy_to_a_mapping_and_back(actd, path, tmp_path):
    small, large = path.stat().st_size, tmp_path / "large.act"
    versions.build(large, 2)
    os.truncate(large, small + 100000)
    daemon = actd(path, {**TWO, "tree.map_min_bytes": small + 1})
    copy = each_worker(daemon, COPY)[0][0].inode
    assert held(daemon) == "copied"
    reload.put(large, path)
    assert reload.accepted(daemon) == 2
    assert held(daemon) == "mapped"
    check_serves(daemon, 2)
    for pid in [daemon.pid, *daemon.worker_pids()]:
        eventually(lambda pid=pid: not seals_of(pid, copy), "the copy to be given back")
    versions.put(path, 1)
    assert reload.accepted(daemon) == 3
    assert held(daemon) == "copied"
    assert each_worker(daemon, COPY)[0][0].inode != copy
    check_serves(daemon, 1)
    # A file of that size is mapped.
    os.truncate(path, small + 1)
    assert reload.accepted(daemon) == 4
    assert held(daemon) == "mapped"


@pytest.mark.parametrize("verify", ["header", "structure", "digest"])
def test_a_copy_is_checked_as_a_file_is(actd, path, verify):
    daemon = actd(path, {**COPIED, "tree.verify": verify})
    check_serves(daemon, 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    reload.put_bytes(content, path)
    if verify == "header":
        reload.accepted(daemon)
    else:
        assert f"{path}: it is damaged at offset" in reload.refused(daemon)
        check_serves(daemon, 1)
    reload.put_bytes(b"no tree at all, and long enough", path)
    assert "not an ACT file" in reload.refused(daemon)


@pytest.mark.parametrize("how", ["tree.map_min_bytes=1G", "tree.hugepages=copy"])
def test_what_cannot_be_read_cannot_be_copied(actd, path, tmp_path, how, huge_pages):
    huge_pages(16)
    content = versions.build(tmp_path / "other.act", 2).read_bytes()
    link = tmp_path / "link.act"
    link.symlink_to(path)
    with BadDisk(tmp_path / "disk.act", content) as disk:
        daemon = actd(link, {**TWO, **dict([how.split("=")])})
        disk.bad_from, disk.bad_to = 2 * PAGE, (len(content) - 1) // PAGE * PAGE
        reload.swap_link(link, disk.path)
        why = reload.refused(daemon)
        assert why.startswith(f"{link}: it cannot be copied to memory, since it cannot be read at ")
        assert why.endswith(": Input/output error: check the disk")
        check_serves_as_ever(daemon)
        daemon.stop()


def limit_files():
    """Enough for what actd has in memory files of its own."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))


def test_what_finds_no_room_is_not_copied():
    size = paths.CITIES.stat().st_size
    assert size > MIB
    log = refused(paths.CITIES, {"tree.map_min_bytes": size + 1}, preexec_fn=limit_files)
    wanted = f"{paths.CITIES}: copying it to memory takes {size} bytes: File too large: raise the "
    assert wanted + "limit of file sizes (LimitFSIZE=, ulimit -f)" in log


#
# Huge pages.
#


def meminfo(name):
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {name}")


@pytest.fixture
def huge_pages():
    """huge_pages(n): there are n free ones; as many as before afterwards."""
    if not actctl.is_root():
        pytest.skip("needs root: sets huge pages aside")
    setting = pathlib.Path("/proc/sys/vm/nr_hugepages")
    before = setting.read_text()

    def provide(n):
        setting.write_text(str(n))
        if meminfo("HugePages_Free") != n:
            pytest.skip(f"{n} free huge pages cannot be had")

    try:
        yield provide
    finally:
        setting.write_text(before)


def test_a_copy_in_huge_pages(actd, path, huge_pages):
    huge_pages(8)
    size = meminfo("Hugepagesize")
    mapped = actd(path, TWO)
    daemon = actd(path, HUGE)
    assert held(daemon) == "huge pages"
    assert identity(daemon) == identity(mapped)
    [first], [second] = each_worker(daemon, COPY)
    assert first.inode == second.inode
    for mapping in (first, second):
        assert mapping.kib["KernelPageSize"] == size
        assert mapping.start % (size * 1024) == mapping.size % (size * 1024) == 0
    assert set(seals_of(daemon.pid, first.inode)) == {SEALS}
    assert meminfo("HugePages_Free") == 8 - first.size // (size * 1024)
    check_serves(daemon, 1)
    assert daemon.stat("tree", "pss_bytes") is None
    assert daemon.stat("tree", "mapped_bytes") == path.stat().st_size
    os.truncate(path, 0)
    check_serves(daemon, 1)
    versions.put(path, 2)
    assert reload.accepted(daemon) == 2
    check_serves(daemon, 2)
    assert held(daemon) == "huge pages"
    eventually(lambda: len(each_worker(daemon, COPY)[0]) == 1, "the copy before to go")
    daemon.stop()
    assert meminfo("HugePages_Free") == 8


@pytest.mark.parametrize("map_min_bytes, fallback", [(0, "mapped"), ("1G", "copied")])
def test_too_few_huge_pages_are_told_and_the_file_served_without(
    actd, path, huge_pages, map_min_bytes, fallback
):
    huge_pages(0)
    size = meminfo("Hugepagesize")
    n = (path.stat().st_size + size * 1024 - 1) // (size * 1024)
    daemon = actd(path, {**HUGE, "tree.map_min_bytes": map_min_bytes})
    assert held(daemon) == fallback
    wanted = (
        f"actd warning: {path}: not in huge pages (tree.hugepages): it takes {n} huge pages of "
        f"{size} KiB, and 0 are free: sysctl vm.nr_hugepages={n}"
    )
    assert daemon.log.count(wanted) == 1
    check_serves(daemon, 1)
    huge_pages(8)
    reload.accepted(daemon)
    assert held(daemon) == "huge pages"
    check_serves(daemon, 1)
    assert daemon.log.count("not in huge pages") == 1
    daemon.stop()


#
# Address space.
#


def limit_address_space():
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))


def test_too_little_address_space_is_told(actd, path):
    if is_sanitized():
        return  # the shadow memory itself needs more
    os.truncate(path, 4 << 30)
    limit = (
        "cannot map: Cannot allocate memory: this takes {} bytes of address space beside what is "
        "in use, and the limit for all of it is 3221225472 bytes (RLIMIT_AS): raise LimitAS= of "
        "the unit, or ulimit -v"
    )
    log = refused(path, preexec_fn=limit_address_space)
    assert f"{path}: {limit.format(4 << 30)}" in log
    versions.put(path, 1)
    os.truncate(path, 2 << 30)
    daemon = actd(path, TWO, preexec=limit_address_space)
    check_serves(daemon, 1)
    # The checker has room for it, and a worker, which has the one before as well, has not.
    other = versions.build(path.with_name("other.act"), 2)
    os.truncate(other, 2 << 30)
    other.rename(path)
    wanted = f"{path}: a worker cannot map it: {limit.format(2 << 30)}"
    assert reload.refused(daemon) == wanted
    check_serves_as_ever(daemon)
    daemon.wait_log(re.escape(f"actd error: {wanted}; generation 1"))


#
# What leaves the page cache.
#


class Cached:
    """The pages of a file that are in memory, whoever has them."""

    def __init__(self, path):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.size = path.stat().st_size
        with open(path, "r+b") as file:
            os.fsync(file)  # dirty pages would stay
            # For writing: else the kernel tells the truth to nobody but the owner. Not touched.
            self.map = mmap.mmap(file.fileno(), self.size)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.map))

    def n(self):
        n_pages = whole_pages(self.size) // PAGE
        resident = (ctypes.c_ubyte * n_pages)()
        address, size = ctypes.c_void_p(self.address), ctypes.c_size_t(self.size)
        assert self.libc.mincore(address, size, resident) == 0
        return sum(page & 1 for page in resident)


def touch_all(daemon, path):
    """Every page is in memory, and many are mapped."""
    assert path.read_bytes()
    return versions.served(daemon)


def need_disk(path):
    """Files that are in memory and nowhere else stay there."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], stdout=subprocess.PIPE, text=True)
    if kind.stdout.strip() in ("tmpfs", "ramfs", "overlayfs"):
        pytest.skip("needs a directory for temporary files that lies on a disk")


def test_the_pages_of_a_retired_file_leave_memory(actd, path, tmp_path):
    need_disk(path)
    old = tmp_path / "old.act"
    daemon = actd(path, TWO)
    os.link(path, old)
    cached = Cached(old)
    assert touch_all(daemon, old) == 1
    assert cached.n() == whole_pages(cached.size) // PAGE
    versions.put(path, 2)
    assert reload.accepted(daemon) == 2
    eventually(lambda: cached.n() == 0, "the old file's pages to go")
    check_serves(daemon, 2)


def wait_buried(daemon, path):
    """Of what was served before nothing is left to do: workers have one mapping and one thread."""
    pids = daemon.worker_pids()
    for pid in pids:
        eventually(lambda pid=pid: len(mappings_of(pid, path)) == 1, "one mapping")
        eventually(lambda pid=pid: len(os.listdir(f"/proc/{pid}/task")) == 1, "one thread")


def test_the_pages_of_the_same_file_stay(actd, path):
    need_disk(path)
    daemon = actd(path, TWO)
    cached = Cached(path)
    touch_all(daemon, path)
    os.utime(path)
    assert reload.accepted(daemon) == 2
    wait_buried(daemon, path)
    assert cached.n() == whole_pages(cached.size) // PAGE
    check_serves(daemon, 1)
