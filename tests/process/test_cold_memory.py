"""A tree several times as large as the memory that there is for it."""

import base64
import os
import random
import subprocess

import pytest

from lib import actctl, cold
from lib.cgroup import MemoryLimit
from lib.slow_disk import SlowDisk
from lib.waiting import eventually

MIB = 1 << 20
N_KEYS = 64 * 1024
VALUE_BYTES = 4096
LIMIT_BYTES = 64 * MIB
N_LOOKUPS = 24_000
DELAY_US = 1000
# Of the program and its libraries, which others have in memory as well.
OTHER_BYTES = 8 * MIB


def key_of(i):
    """Spread, so that what is asked one after the other does not stand together."""
    return b"%08x" % (i * 2654435761 % 2**32)


def value_of(i):
    """As long as a page, so each lookup touches pages of its own; no two are equal."""
    head = b"%08d" % i
    return head + NOISE[i % 1000 : i % 1000 + VALUE_BYTES - len(head)]


NOISE = base64.b64encode(random.Random(9).randbytes(VALUE_BYTES + 1000))


@pytest.fixture(scope="module")
def large_tree(tmp_path_factory):
    """256 MiB and more."""
    path = tmp_path_factory.mktemp("cold") / "large.act"
    options = {"stdin": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with actctl.start("build", "--values=bytes", "-o", path, **options) as build:
        for i in range(N_KEYS):
            build.stdin.write(key_of(i) + b"\t" + value_of(i) + b"\n")
        build.stdin.close()
        assert build.wait() == 0
    assert path.stat().st_size >= 4 * LIMIT_BYTES
    return path


def resident_bytes(daemon, pid):
    return daemon.proc_status(pid)["VmRSS"]


@pytest.mark.alone
def test_random_lookups(tmp_path, large_tree):
    rng = random.Random(10)
    with MemoryLimit(LIMIT_BYTES) as limit, SlowDisk(tmp_path, large_tree) as disk:
        with cold.serving(disk, preexec=limit.join) as daemon, daemon.client() as client:
            disk.delay_us = DELAY_US
            pid = cold.worker_pid(daemon)
            faults = cold.loop_faults(pid)
            most = 0
            for _ in range(N_LOOKUPS // 100):
                wanted = [rng.randrange(N_KEYS) for _ in range(100)]
                calls = [["get", key_of(i)] for i in wanted]
                assert client.results(calls) == [value_of(i) for i in wanted]
                client.answered.clear()
                most = max(most, resident_bytes(daemon, pid))
            faults = cold.loop_faults(pid) - faults
            # It has gone through its memory twice at least, and much that it knew is gone.
            assert disk.bytes > 2 * LIMIT_BYTES
            daemon.wait_stat("cold", "gone_pages", lambda n: n > 0)
            told = daemon.stats()
            print(f"{faults} faults of the loop in {N_LOOKUPS} lookups, {disk.reads} reads, "
                  f"{most >> 20} MiB, {told['cold']}, {told['loop']}")
            assert most <= LIMIT_BYTES + OTHER_BYTES
            # A page that the kernel has taken is taken for there until it is looked at again, some
            # second later where so many go. A lookup in between waits in the loop: that is as
            # likely as that a page is asked for within this time, here some thirtieth. If nothing
            # left the loop, each read would be one.
            assert faults * 10 < N_LOOKUPS < disk.reads
            assert daemon.worker_pids() == [pid]
            cold.settle(daemon)
