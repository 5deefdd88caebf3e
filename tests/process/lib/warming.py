"""A daemon's warm-up, as seen from outside."""

import os
import pathlib

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
