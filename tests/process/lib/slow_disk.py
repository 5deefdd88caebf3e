"""Files on a disk that is as slow as a test wants, fails or hangs when it is told to, and counts
what is read. Needs root and /dev/fuse.

SlowDisk is one file (tests/lib/slowdisk.c serves it); LoopDisk is an ext4 file system on such a
file, for what the kernel can do with ext4 and not with FUSE: preadv2 with RWF_NOWAIT.

What is not in memory is read in pages of 4096 bytes, one for each page fault, unless read_ahead
allows for more. Reads wait side by side, any number of them. In Python a page fault keeps all
threads waiting, for who touches a mmap holds the interpreter; os.pread does not.
"""

import contextlib
import ctypes
import mmap
import os
import pathlib
import select
import shutil
import subprocess

import pytest

from . import paths
from .daemon import environment
from .waiting import Clock, Deadline

SLOWDISK = paths.BUILD / "tests" / "slowdisk"
MOUNT_REFUSED = 3  # its exit status

# struct control in tests/lib/slowdisk.c: these, of 8 bytes, and one of 4 for each page.
DELAY_US, IS_FAILING, IS_HANGING, READS, BYTES, IN_FLIGHT, MOST_IN_FLIGHT = range(7)
FIELDS_BYTES = 7 * 8

MS_RDONLY, MS_NOSUID, MS_NODEV, MNT_DETACH = 1, 2, 4, 2
SECTOR_BYTES = 512
MIN_IMAGE_BYTES = 4 << 20

libc = ctypes.CDLL(None, use_errno=True)


def skip_unless_possible():
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse: mounts a file system")
    if not SLOWDISK.exists():
        pytest.skip(f"{SLOWDISK} is missing: needs libfuse3-dev when it is built")


def run(*command):
    """What it says."""
    return subprocess.run(
        [str(part) for part in command],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=Clock().left(command[0]),
    ).stdout.strip()


def unmount(path):
    """Waits for nobody. It may be unmounted already."""
    libc.umount2(os.fsencode(path), MNT_DETACH)


def n_pages(path):
    return -(-os.stat(path).st_size // mmap.PAGESIZE)


@contextlib.contextmanager
def opened(path, flags=os.O_RDONLY):
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def forget(path):
    """Drops its pages from memory, but those that a process has mapped and touched."""
    with opened(path) as fd:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def residency(path):
    """For each page of a file, whether it is in memory. Touches none."""
    pages = (ctypes.c_ubyte * n_pages(path))()
    with opened(path) as fd:
        mapping = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE)
    start = ctypes.c_char.from_buffer(mapping)
    failed = libc.mincore(ctypes.byref(start), ctypes.c_size_t(len(mapping)), pages)
    del start
    mapping.close()
    if failed:
        raise OSError(ctypes.get_errno(), f"mincore of {path}")
    return [bool(page & 1) for page in pages]


class SlowDisk:
    """with SlowDisk(directory, backing) as disk: disk.path is a file with backing's content."""

    def __init__(self, directory, backing, *, name="data", read_ahead=0):
        """
        directory   where the file appears, under that name
        backing     the file that is read, of at least a byte; nobody may cut it meanwhile
        read_ahead  bytes that the kernel may read ahead
        """
        skip_unless_possible()
        self.path = pathlib.Path(directory).resolve() / name
        self.backing = backing
        self.read_ahead = read_ahead

    def __enter__(self):
        self.path.touch()
        control = os.memfd_create("slowdisk")
        try:
            self._map_control(control)
            # A session of its own: what ends the tests by Ctrl-C lets them unmount it.
            self.process = subprocess.Popen(
                [SLOWDISK, str(control), self.backing, self.path, str(self.read_ahead)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[control],
                env=environment(),
                start_new_session=True,
            )
        finally:
            os.close(control)
        try:
            self._wait_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind, *_):
        status = self._end()
        assert kind or status == 0, f"slowdisk ended with status {status}"

    def _map_control(self, fd):
        os.ftruncate(fd, FIELDS_BYTES + 4 * n_pages(self.backing))
        memory = memoryview(mmap.mmap(fd, 0))
        self.fields = memory[:FIELDS_BYTES].cast("Q")
        self.counts = memory[FIELDS_BYTES:].cast("I")

    def _wait_ready(self):
        left = Clock().left("slowdisk")
        if not select.select([self.process.stdout], [], [], left)[0]:
            raise Deadline("slowdisk does not begin")
        line = self.process.stdout.readline()
        if line != b"ready\n":
            status = self.process.wait(Clock().left("slowdisk's end"))
            if status == MOUNT_REFUSED:
                pytest.skip("cannot mount here")
            raise OSError(f"slowdisk ended with status {status}")

    def _end(self):
        """Whoever waits for a read gets an error."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            return self.process.wait(Clock().left("slowdisk's end"))
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Deadline("slowdisk does not end") from None
        finally:
            unmount(self.path)
            self.process.stdout.close()
            self.process.wait()

    # What it does.

    def _set(self, field, value):
        """In force for what is asked for from now on, and soon for what waits."""
        self.fields[field] = value
        with contextlib.suppress(BrokenPipeError):
            os.write(self.process.stdin.fileno(), b"\n")

    @property
    def delay_us(self):
        return self.fields[DELAY_US]

    @delay_us.setter
    def delay_us(self, delay):
        """How long each read takes, also those that go on."""
        self._set(DELAY_US, delay)

    def fail(self):
        """What is not in memory cannot be read (EIO), before go_on."""
        self._set(IS_FAILING, 1)

    def hang(self):
        """What is not in memory is not read, before go_on. Who waits for it can be killed."""
        self._set(IS_HANGING, 1)

    def go_on(self):
        """Neither fails nor hangs; the delay stays."""
        self._set(IS_FAILING, 0)
        self._set(IS_HANGING, 0)

    # What it counts: a read from when it is asked for.

    @property
    def reads(self):
        return self.fields[READS]

    @property
    def bytes(self):
        return self.fields[BYTES]

    @property
    def reads_in_flight(self):
        return self.fields[IN_FLIGHT]

    @property
    def most_in_flight(self):
        return self.fields[MOST_IN_FLIGHT]

    def reads_of(self, page):
        """How often a read asked for this page of 4096 bytes."""
        return self.counts[page]

    def reads_of_pages(self):
        """The same of each page."""
        return list(self.counts)

    def reset_counts(self):
        """To 0, but for reads that go on."""
        self.fields[READS] = self.fields[BYTES] = 0
        self.fields[MOST_IN_FLIGHT] = self.fields[IN_FLIGHT]
        self.counts.cast("B")[:] = bytes(self.counts.nbytes)

    # What the kernel has of it.

    def forget(self):
        """Drops its pages from memory, but those that a process has mapped and touched."""
        forget(self.path)

    def resident_pages(self):
        return sum(residency(self.path))


class LoopDisk:
    """with LoopDisk(directory, files) as loop: loop.path(name) is a copy of each file, by its
    name, on an ext4 file system on loop.disk, a SlowDisk.

    The way to each file and its inode are in memory already. loop.disk counts in pages of the
    image, not of a file.
    """

    def __init__(self, directory, files, *, read_ahead=0):
        skip_unless_possible()
        for program in ("mkfs.ext4", "losetup", "blockdev"):
            if not shutil.which(program):
                pytest.skip(f"needs {program}")
        self.directory = pathlib.Path(directory).resolve()
        self.files = [pathlib.Path(file) for file in files]
        self.mounted = self.directory / "mounted"
        self.read_ahead = read_ahead

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            image = self._make_image()
            self.disk = stack.enter_context(
                SlowDisk(self.directory, image, name="disk", read_ahead=self.read_ahead)
            )
            self._mount()
            stack.callback(unmount, self.mounted)
            # What hangs would keep the kernel from unmounting it.
            stack.callback(self._calm)
            for file in self.files:
                os.stat(self.path(file.name))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self.stack.__exit__(*error)

    def path(self, name):
        return self.mounted / name

    def _make_image(self):
        content, image = self.directory / "content", self.directory / "image"
        content.mkdir()
        for file in self.files:
            shutil.copyfile(file, content / file.name)
        used = sum(file.stat().st_size for file in self.files)
        with open(image, "xb") as file:
            file.truncate(MIN_IMAGE_BYTES + used + used // 8)
        run("mkfs.ext4", "-q", "-b", "4096", "-m", "0", "-O", "^has_journal", "-d", content, image)
        shutil.rmtree(content)
        return image

    def _mount(self):
        # Direct: it keeps no pages of the image in memory, and its reads wait side by side.
        device = run("losetup", "-r", "-f", "--show", "--direct-io=on", self.disk.path)
        try:
            run("blockdev", "--setra", self.read_ahead // SECTOR_BYTES, device)
            self.mounted.mkdir()
            flags = MS_RDONLY | MS_NOSUID | MS_NODEV
            where = os.fsencode(device), os.fsencode(self.mounted)
            if libc.mount(*where, b"ext4", flags, b"noload") != 0:
                pytest.skip(f"cannot mount ext4 here: {os.strerror(ctypes.get_errno())}")
        finally:
            run("losetup", "-d", device)  # now, or else when it is unmounted and nobody uses it

    def _calm(self):
        self.disk.go_on()
        self.disk.delay_us = 0

    def forget(self, name):
        """Drops the file's pages from memory, but those that a process has mapped and touched."""
        forget(self.path(name))

    def resident_pages(self, name):
        return sum(residency(self.path(name)))
