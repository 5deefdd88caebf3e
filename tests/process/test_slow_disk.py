"""The slow disk of other tests: it is as slow as it is told to be, and counts truly."""

import contextlib
import errno
import mmap
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from lib import paths
from lib.processes import state_of, wait_gone
from lib.slow_disk import LoopDisk, SlowDisk, opened, residency, run, unmount
from lib.waiting import DEADLINE_S, eventually

PAGE = 4096
N_PAGES = 256
LAST_BYTES = 100  # of a page that is not full
FOR_EVER_US = 3600 * 10**6


@pytest.fixture
def backing(tmp_path):
    path = tmp_path / "backing"
    path.write_bytes(random.Random(1).randbytes(N_PAGES * PAGE + LAST_BYTES))
    return path


@pytest.fixture
def disk(tmp_path, backing):
    with SlowDisk(tmp_path, backing) as mounted:
        yield mounted


@pytest.fixture
def loop(tmp_path, backing):
    directory = tmp_path / "loop"
    directory.mkdir()
    with LoopDisk(directory, [backing]) as mounted:
        yield mounted


def read_page(path, page):
    with opened(path) as fd:
        return os.pread(fd, PAGE, page * PAGE)


def page_of(backing, page):
    return backing.read_bytes()[page * PAGE : (page + 1) * PAGE]


def seconds_of(do, *arguments):
    begin = time.monotonic()
    do(*arguments)
    return time.monotonic() - begin


@contextlib.contextmanager
def reading(path, pages):
    """Threads that read a page each; they have ended without an error when the block ends."""
    results = {}

    def read(page):
        results[page] = read_page(path, page)

    threads = [threading.Thread(target=read, args=(page,), daemon=True) for page in pages]
    for thread in threads:
        thread.start()
    yield results
    for thread in threads:
        thread.join(DEADLINE_S)
    assert len(results) == len(threads)


READ = "os.pread(os.open(sys.argv[1], os.O_RDONLY), 1, int(sys.argv[2]))"
TOUCH = "mmap.mmap(os.open(sys.argv[1], os.O_RDONLY), 0, prot=mmap.PROT_READ)[int(sys.argv[2])]"


def reader_process(path, page, how=READ):
    """A process that reads a byte of a page, and ends; SIGUSR1 does nothing to it."""
    code = f"import mmap, os, signal, sys; signal.signal(signal.SIGUSR1, lambda *_: None); {how}"
    return subprocess.Popen([sys.executable, "-c", code, path, str(page * PAGE)])


def interrupt(reader, disk):
    """Sends a signal to who waits in a page fault. The disk is told of it, and has seen that."""
    reader.send_signal(signal.SIGUSR1)
    # The kernel tells the disk, and only then waits for its answer or a SIGKILL.
    eventually(lambda: state_of(reader.pid) == "D", "the signal")
    reads = disk.reads
    with opened(disk.path) as fd:
        os.posix_fadvise(fd, (N_PAGES - 1) * PAGE, PAGE, os.POSIX_FADV_WILLNEED)
    eventually(lambda: disk.reads > reads, "a later request")


def is_mounted(path):
    with open("/proc/self/mountinfo") as file:
        return any(line.split()[4] == str(path) for line in file)


def test_the_content(disk, backing):
    assert disk.path.read_bytes() == backing.read_bytes()
    assert disk.path.stat().st_mtime == backing.stat().st_mtime
    assert disk.reads == N_PAGES + 1
    assert disk.bytes == N_PAGES * PAGE + LAST_BYTES
    assert disk.reads_of_pages() == [1] * (N_PAGES + 1)
    assert disk.reads_in_flight == 0
    with pytest.raises(OSError) as refused:
        disk.path.open("r+b")
    assert refused.value.errno == errno.EROFS


@pytest.mark.alone
def test_a_delay_is_real(disk):
    n, delay_us = 4, 20000
    fast = [seconds_of(read_page, disk.path, page) for page in range(n)]
    disk.delay_us = delay_us
    slow = [seconds_of(read_page, disk.path, page) for page in range(n, 2 * n)]
    assert min(slow) >= delay_us / 1e6
    assert min(slow) > 4 * min(fast)
    # What is in memory takes no time.
    assert min(seconds_of(read_page, disk.path, page) for page in range(n)) < delay_us / 1e6
    assert disk.reads == 2 * n


@pytest.mark.alone
def test_reads_wait_side_by_side(disk):
    n = 64
    disk.delay_us = 100000
    one = seconds_of(read_page, disk.path, n)

    def read_all():
        with reading(disk.path, range(n)):
            pass

    assert seconds_of(read_all) < n * one / 4


def test_any_number_of_reads_is_in_flight(disk):
    n = 200
    disk.delay_us = FOR_EVER_US
    with reading(disk.path, range(n)):
        eventually(lambda: disk.reads_in_flight == n, "all reads")
        # They keep nobody waiting who asks for something else.
        assert disk.path.stat().st_size == N_PAGES * PAGE + LAST_BYTES
        disk.delay_us = 0  # for those that wait, too
    assert disk.most_in_flight == n
    assert disk.reads_in_flight == 0
    disk.reset_counts()
    assert (disk.reads, disk.bytes, disk.most_in_flight) == (0, 0, 0)
    assert disk.reads_of_pages() == [0] * (N_PAGES + 1)


def test_a_disk_that_fails(disk, backing):
    disk.fail()
    with pytest.raises(OSError) as failed:
        read_page(disk.path, 3)
    assert failed.value.errno == errno.EIO
    disk.go_on()
    assert read_page(disk.path, 3) == page_of(backing, 3)


def test_a_disk_that_hangs(disk, backing):
    disk.hang()
    with reading(disk.path, [3, 5]) as results:
        eventually(lambda: disk.reads_in_flight == 2, "both reads")
        assert not results
        disk.go_on()
    assert results == {page: page_of(backing, page) for page in (3, 5)}


@pytest.mark.parametrize("how", [READ, TOUCH])
def test_who_waits_can_be_killed(disk, how):
    disk.hang()
    reader = reader_process(disk.path, 3, how)
    eventually(lambda: disk.reads_in_flight == 1, "the read")
    reader.kill()
    assert reader.wait(DEADLINE_S) == -signal.SIGKILL


def test_other_signals_do_not_end_a_page_fault(disk):
    disk.hang()
    reader = reader_process(disk.path, 3, TOUCH)
    eventually(lambda: disk.reads_in_flight == 1, "the page fault")
    interrupt(reader, disk)
    disk.go_on()
    assert reader.wait(DEADLINE_S) == 0
    assert disk.reads_of(3) == 1


def test_who_has_had_another_signal_can_be_killed(disk):
    disk.hang()
    reader = reader_process(disk.path, 3, TOUCH)
    eventually(lambda: disk.reads_in_flight == 1, "the page fault")
    interrupt(reader, disk)
    reader.kill()
    assert reader.wait(DEADLINE_S) == -signal.SIGKILL
    assert disk.reads_in_flight == 1  # the later one


def test_one_page_fault_is_one_read_of_a_page(disk):
    wanted = random.Random(2).sample(range(N_PAGES), 50)
    with opened(disk.path) as fd:
        mapping = mmap.mmap(fd, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    mapping.madvise(mmap.MADV_RANDOM)
    for i, page in enumerate(wanted, 1):
        mapping[page * PAGE]
        assert (disk.reads, disk.bytes) == (i, i * PAGE)
    assert disk.reads_of_pages() == [int(page in wanted) for page in range(N_PAGES + 1)]
    assert residency(disk.path) == [page in wanted for page in range(N_PAGES + 1)]
    # What a process has touched stays.
    disk.forget()
    assert disk.resident_pages() == len(wanted)
    mapping.close()
    disk.forget()
    assert disk.resident_pages() == 0


def test_what_is_forgotten_is_read_again(disk):
    assert disk.resident_pages() == 0
    read_page(disk.path, 7)
    read_page(disk.path, 7)
    assert (disk.reads, disk.reads_of(7), disk.resident_pages()) == (1, 1, 1)
    disk.forget()
    assert (disk.reads, disk.resident_pages()) == (1, 0)
    read_page(disk.path, 7)
    assert (disk.reads, disk.reads_of(7)) == (2, 2)


def test_reading_ahead(tmp_path, backing):
    with SlowDisk(tmp_path, backing, read_ahead=32 * PAGE) as disk:
        disk.path.read_bytes()
        assert disk.reads < N_PAGES / 4
        assert disk.reads_of_pages() == [1] * (N_PAGES + 1)


def test_the_end_waits_for_nobody(tmp_path, backing):
    with SlowDisk(tmp_path, backing) as disk:
        disk.hang()
        reader = reader_process(disk.path, 3)
        eventually(lambda: disk.reads_in_flight == 1, "the read")
    assert reader.wait(DEADLINE_S) == 1  # an OSError
    assert not is_mounted(disk.path)


def test_it_ends_with_its_mount(disk):
    unmount(disk.path)
    eventually(lambda: disk.process.poll() is not None, "its end")
    assert disk.process.returncode == 0


def test_it_ends_with_who_started_it(disk, tmp_path, backing):
    code = f"""if True:
        import os, signal
        from lib.slow_disk import SlowDisk
        with SlowDisk({str(tmp_path)!r}, {str(backing)!r}, name="other") as disk:
            disk.hang()
            print(disk.process.pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    where = paths.ROOT / "tests" / "process"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=where, stdout=subprocess.PIPE, timeout=DEADLINE_S
    )
    assert ended.returncode == -signal.SIGKILL
    wait_gone(int(ended.stdout))
    assert not is_mounted(tmp_path / "other")


def read_at_once(fd, page):
    """What is in memory of the page; None: nothing is."""
    try:
        buffer = bytearray(PAGE)
        n = os.preadv(fd, [buffer], page * PAGE, os.RWF_NOWAIT)
    except BlockingIOError:
        return None
    return bytes(buffer[:n])


def test_reading_without_waiting(loop, backing):
    path = loop.path("backing")
    loop.disk.hang()
    with opened(path) as fd:
        assert read_at_once(fd, 9) is None
        # That has begun to read it.
        eventually(lambda: loop.disk.reads_in_flight >= 1, "the read")
        assert residency(path)[9] is False
        assert read_at_once(fd, 9) is None
        loop.disk.go_on()
        assert os.pread(fd, PAGE, 9 * PAGE) == page_of(backing, 9)
        assert read_at_once(fd, 9) == page_of(backing, 9)
        assert loop.resident_pages("backing") == 1
        loop.forget("backing")
        assert loop.resident_pages("backing") == 0
        assert read_at_once(fd, 9) is None


def test_a_loop_device_reads_side_by_side(loop, backing):
    n = 64
    path = loop.path("backing")
    loop.disk.hang()
    # Pages apart, since neighbours are asked for by one read.
    with reading(path, range(0, 3 * n, 3)) as results:
        eventually(lambda: loop.disk.reads_in_flight >= n, "all reads")
        loop.disk.go_on()
    assert results == {page: page_of(backing, page) for page in range(0, 3 * n, 3)}
    assert loop.disk.resident_pages() == 0  # not kept twice


def test_a_loop_device_that_fails(loop, backing):
    loop.disk.fail()
    with pytest.raises(OSError) as failed:
        read_page(loop.path("backing"), 3)
    assert failed.value.errno == errno.EIO
    loop.disk.go_on()
    assert read_page(loop.path("backing"), 3) == page_of(backing, 3)


def test_nothing_is_left_of_a_loop_device(tmp_path, backing):
    with LoopDisk(tmp_path, [backing]) as loop:
        loop.disk.hang()
        reader = reader_process(loop.path("backing"), 3)
        eventually(lambda: loop.disk.reads_in_flight >= 1, "the read")
    assert reader.wait(DEADLINE_S) == 0
    assert not is_mounted(loop.mounted)
    assert not is_mounted(loop.disk.path)
    eventually(lambda: str(loop.disk.path) not in run("losetup", "-a"), "its device to be free")
