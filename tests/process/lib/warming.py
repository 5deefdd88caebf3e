"""A daemon's warm-up, as seen from outside."""

import contextlib
import pathlib

from .daemon import Daemon
from .slow_disk import residency

# Of a read. Long enough for a test to look in the middle of some hundred of them.
slow_enough_to_look = 20_000


def warmer_of(daemon):
    """The process that warms up; None: there is none."""
    children = pathlib.Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
    for pid in children:
        try:
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if command.startswith(b"actd: warmer\0--warmer\0"):
            return int(pid)
    return None


def is_warming(daemon):
    return daemon.stat("warmup", "state") == "running"


@contextlib.contextmanager
def started(disk, settings, **options):
    """cold.serving, but disk counts from before the start."""
    disk.forget()
    disk.reset_counts()
    one = {"daemon.workers": 1, **settings}
    with Daemon(disk.path, one, **{"wait": " ready: ", **options}) as daemon:
        yield daemon
        disk.go_on()
        disk.delay_us = 0


def was_read(disk):
    """Every page of it was, since the disk's counts began."""
    return all(disk.reads_of_pages())


def is_there(disk):
    """The same, and it is in memory; but for a few pages that the kernel has taken back since."""
    there = residency(disk.path)
    return was_read(disk) and sum(there) >= len(there) * 95 // 100
