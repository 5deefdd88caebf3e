"""A limit of memory for some processes and what they read: a cgroup of the first version. Needs
root."""

import contextlib
import os
import pathlib
import uuid

import pytest

from .waiting import eventually

MEMORY = pathlib.Path("/sys/fs/cgroup/memory")


class MemoryLimit:
    """with MemoryLimit(n_bytes) as limit: a process that calls limit.join() stays below, with its
    children; pages of files count that they have read first."""

    def __init__(self, limit_bytes):
        if not (MEMORY / "memory.limit_in_bytes").exists() or not os.access(MEMORY, os.W_OK):
            pytest.skip(f"needs root and a cgroup of version 1 at {MEMORY}")
        self.path = MEMORY / f"actd-test-{uuid.uuid4().hex}"
        self.limit_bytes = limit_bytes

    def __enter__(self):
        self.path.mkdir()
        (self.path / "memory.limit_in_bytes").write_text(str(self.limit_bytes))
        return self

    def join(self):
        """For preexec."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def _number(self, name):
        return int((self.path / name).read_text())

    @property
    def most_bytes(self):
        """That they have ever used."""
        return self._number("memory.max_usage_in_bytes")

    def remove(self):
        """Fails while processes of it are there."""
        try:
            self.path.rmdir()
            return True
        except OSError:
            return False

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            (self.path / "memory.force_empty").write_text("0")
        eventually(self.remove, f"{self.path} to be empty")
