"""Processes as the kernel shows them, and what only a kernel can do to them."""

import contextlib
import ctypes
import os
import pathlib
import re
import resource
import signal

import pytest

from .waiting import eventually

PTRACE_SEIZE = 0x4206
WALL = 0x40000000  # __WALL of waitpid: who traces must say it


def state_of(pid):
    """The letter of /proc/PID/stat; None: there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_gone(pid):
    """It runs no more; who its parent is now may not have reaped it yet."""
    return state_of(pid) in (None, "Z", "X")


def wait_gone(pid):
    eventually(lambda: is_gone(pid), f"process {pid} to end")


def files_of(pid):
    """What it has open, but for what it closes meanwhile: {where: what it is called there}."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        link = f"/proc/{pid}/fd/{name}"
        with contextlib.suppress(FileNotFoundError):
            found[link] = os.readlink(link)
    return found


def sockets_of(pid):
    """The sockets that it has open, each by a name of its own."""
    return {name for name in files_of(pid).values() if name.startswith("socket:")}


class Mapping:
    """A mapping of a process, as /proc/PID/smaps tells it."""

    HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) (\S+) (\S+) (\d+) *(.*)")

    def __init__(self, head):
        start, end, self.perms, offset, self.device, inode, self.path = head.groups()
        self.offset = int(offset, 16)
        self.start, self.end, self.inode = int(start, 16), int(end, 16), int(inode)
        self.kib = {}
        self.flags = set()

    @property
    def size(self):
        return self.end - self.start


def mappings_of(pid, path):
    """Those of the process whose path has this in it, by address; none if it is gone."""
    found = []
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []
    for line in lines:
        if head := Mapping.HEAD.fullmatch(line):
            found.append(Mapping(head))
        elif line.startswith("VmFlags:"):
            found[-1].flags = set(line.split()[1:])
        elif value := re.fullmatch(r"(\w+): +(\d+) kB", line):
            found[-1].kib[value[1]] = int(value[2])
    return [mapping for mapping in found if str(path) in mapping.path]


@contextlib.contextmanager
def stopped(*pids):
    """Meanwhile they do not run; those that still exist go on afterwards."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            eventually(lambda pid=pid: state_of(pid) in "Tt", f"process {pid} to stop")
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def limited(pid, which, n):
    """Meanwhile this is its soft limit, and that of what it starts."""
    before = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (n, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, which, before)


class Traced:
    """We trace the process: where it is sent a signal it waits for us, and for ever; and it is we
    who reap it first when it is killed, then its parent can."""

    def __init__(self, pid):
        self.pid = pid
        self.threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        libc.ptrace.restype = ctypes.c_long
        for thread in self.threads:
            if libc.ptrace(PTRACE_SEIZE, thread, None, None) < 0:
                pytest.skip(f"ptrace is not allowed: {os.strerror(ctypes.get_errno())}")

    def reap(self):
        """The signal that has ended it; waits for that."""
        ended = {}

        def look():
            for thread in self.threads:
                with contextlib.suppress(ChildProcessError):
                    found, status = os.waitpid(thread, os.WNOHANG | WALL)
                    if found and os.WIFSIGNALED(status):
                        ended[thread] = os.WTERMSIG(status)
            return self.pid in ended

        eventually(look, f"the end of process {self.pid}")
        return ended[self.pid]
