"""The warm-up at the start: what each mode brings into memory, as the kernel tells it; what the
daemon says meanwhile; and all that may happen to the process that does it."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from lib import cold, http, paths
from lib.cgroup import MemoryLimit
from lib.daemon import environment, is_sanitized
from lib.processes import wait_gone
from lib.slow_disk import residency
from lib.waiting import Clock, eventually
from lib.warming import is_there, is_warming, slow_enough_to_look, started, warmer_of, was_read

PAGE = cold.PAGE


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return cold.build(tmp_path_factory.mktemp("warmup") / "tree.act", 2000, 2000)


@pytest.fixture
def untouched(disk):
    """How many pages are in memory after a start without a warm-up."""
    with started(disk, {}):
        n = disk.resident_pages()
    assert n < len(residency(disk.path)) // 4
    return n


def check_answers(daemon, tree, n=20):
    with daemon.client() as client:
        for key in tree.keys[:n]:
            assert client.call("get", key) == tree.values[key]


# What each mode brings in.


@pytest.mark.parametrize("mode", ["read", "traverse"])
def test_all_of_it_is_in_memory_when_it_is_ready(disk, tree, mode):
    with started(disk, {"warmup.mode": mode}) as daemon:
        assert is_there(disk)
        size = disk.path.stat().st_size
        assert daemon.stats()["warmup"] == {
            "state": "done", "mode": mode, "read_bytes": size, "total_bytes": size,
            "eta_ms": None, "generation": 1,
        }
        daemon.wait_log(re.escape(f"warm-up ({mode}) of generation 1: {size / 2**20:.1f} MiB in "))
        gone = residency(disk.path).count(False)  # what the kernel has taken back
        disk.reset_counts()
        check_answers(daemon, tree, 500)
        assert disk.reads <= gone + 5  # and meanwhile


def test_with_willneed_all_of_it_is_in_memory_a_while_later(disk):
    with started(disk, {"warmup.mode": "willneed"}) as daemon:
        assert daemon.stat("warmup", "state") == "done"
        eventually(lambda: is_there(disk), "the kernel to read it")


@pytest.mark.parametrize("mode", ["read", "traverse", "willneed"])
def test_no_more_than_max_bytes_are_brought_in(disk, untouched, mode):
    n = 64
    settings = {"warmup.mode": mode, "warmup.max_bytes": n * PAGE}
    with started(disk, settings) as daemon:
        warmup = daemon.stats()["warmup"]
        assert warmup["state"] == "done"
        assert 0 < warmup["read_bytes"] <= warmup["total_bytes"] == n * PAGE
        if mode != "willneed":
            assert disk.resident_pages() >= n * 95 // 100
            assert warmup["read_bytes"] > (n - 1) * PAGE  # the last page of the file is a part
        assert disk.resident_pages() <= n + untouched


def test_traversing_brings_in_what_lookups_pass(tmp_path, disk, tree):
    """With a tenth of the file: fewer pages are missing than if the file's begin is there."""
    def reads_after(mode):
        settings = {"warmup.mode": mode, "warmup.max_bytes": disk.path.stat().st_size // 10}
        with started(disk, settings) as daemon:
            disk.reset_counts()
            check_answers(daemon, tree, 60)
            return disk.reads

    assert reads_after("traverse") < reads_after("read")


@pytest.mark.parametrize("mode", ["read", "traverse"])
def test_max_bytes_by_itself_is_what_memory_has_room_for(disk, mode):
    with started(disk, {"warmup.mode": mode, "warmup.max_bytes": "auto"}) as daemon:
        assert daemon.stat("warmup", "total_bytes") == disk.path.stat().st_size


def test_in_a_group_of_processes_it_is_what_that_has_room_for(actd, tmp_path):
    path = tmp_path / "sparse.act"
    shutil.copyfile(paths.CITIES, path)
    os.truncate(path, 256 << 20)
    with MemoryLimit(64 << 20) as limit:
        daemon = actd(path, {"warmup.mode": "read", "daemon.workers": 1}, preexec=limit.join)
        warmup = daemon.stats()["warmup"]
        assert warmup["state"] == "done"
        assert 16 << 20 < warmup["total_bytes"] <= 64 << 20
        assert warmup["read_bytes"] == warmup["total_bytes"]
        daemon.stop()


def test_a_rate_is_kept(disk):
    size = disk.path.stat().st_size
    begin = time.monotonic()
    with started(disk, {"warmup.mode": "read", "warmup.rate_bytes_per_s": size}):
        assert time.monotonic() - begin > 0.5
        assert was_read(disk)


def test_without_a_mode_nothing_is_brought_in(disk, untouched):
    with started(disk, {}) as daemon:
        warmup = daemon.stats()["warmup"]
        assert (warmup["state"], warmup["mode"], warmup["generation"]) == ("off", "none", 0)
        assert "warm-up" not in daemon.log


def test_a_copy_in_memory_needs_none(actd):
    settings = {"warmup.mode": "read", "tree.map_min_bytes": "1G", "log.level": "debug"}
    daemon = actd(settings=settings)
    assert daemon.stat("warmup", "state") == "off"
    daemon.wait_log(re.escape("no warm-up of generation 1: it is a copy in memory"))


# What is said meanwhile.


def test_who_asks_whether_it_is_up_waits_and_queries_do_not(disk, tree, manager):
    disk.delay_us = slow_enough_to_look
    settings = {"warmup.mode": "read", "warmup.ready": "after"}
    with started(disk, settings, wait="warm-up .* begins", env=manager.env) as daemon:
        daemon.wait_stat("warmup", "read_bytes", lambda n: n > 0)
        warmup = daemon.stats()["warmup"]
        assert warmup["state"] == "running" and warmup["mode"] == "read"
        assert warmup["read_bytes"] < warmup["total_bytes"] == disk.path.stat().st_size
        status, _, text = http.fetch(daemon.admin_unix, "/readyz")
        assert status == 503 and text.startswith("not ready: warming up: "), text
        assert f" % of {warmup['total_bytes'] / 2**20:.1f} MiB" in text
        check_answers(daemon, tree, 3)
        daemon.wait_stat("warmup", "eta_ms", lambda ms: ms is not None)
        assert "s left" in http.fetch(daemon.admin_unix, "/readyz")[2]
        assert "ready:" not in daemon.log
        assert is_warming(daemon)
        disk.delay_us = 0
        daemon.wait_log("ready:")
        assert is_there(disk)
        assert http.fetch(daemon.admin_unix, "/readyz")[0] == 200
        ready = manager.wait("READY")
        told = [message["STATUS"] for message in manager.heard if "STATUS" in message]
        assert any(", warming " in text for text in told[:-1])
        # However long it takes, the manager is to wait for it.
        assert any("EXTEND_TIMEOUT_USEC" in message for message in manager.heard)
        assert "EXTEND_TIMEOUT_USEC" not in ready
        assert "warming" not in ready["STATUS"]
        eventually(lambda: warmer_of(daemon) is None, "its process to end")


def test_it_may_be_said_before(disk, manager):
    disk.delay_us = slow_enough_to_look
    settings = {"warmup.mode": "read", "warmup.ready": "before"}
    with started(disk, settings, env=manager.env) as daemon:
        assert is_warming(daemon)
        assert http.fetch(daemon.admin_unix, "/readyz")[0] == 200
        manager.wait("READY")
        manager.wait_status(", warming ")
        disk.delay_us = 0
        daemon.wait_stat("warmup", "state", "done")
        eventually(lambda: "warming" not in manager.wait("STATUS")["STATUS"], "a status without")
        assert daemon.log.count("ready:") == 1


def test_it_steps_back_for_those_who_serve(disk):
    disk.delay_us = slow_enough_to_look
    with started(disk, {"warmup.mode": "read", "warmup.ready": "before"}) as daemon:
        pid = eventually(lambda: warmer_of(daemon), "the process that warms up")
        eventually(lambda: os.getpriority(os.PRIO_PROCESS, pid) == 10, "its priority")
        assert os.sched_getscheduler(pid) == os.SCHED_BATCH
        eventually(lambda: "1000" in pathlib.Path(f"/proc/{pid}/oom_score_adj").read_text(), "oom")


# What happens to it.


def in_the_middle(daemon, disk):
    """It hangs, with something done: its process."""
    daemon.wait_stat("warmup", "read_bytes", lambda n: n > 0)
    disk.hang()
    return warmer_of(daemon)


@pytest.fixture
def waiting(disk):
    """A daemon that is ready after its warm-up, which hangs in the middle."""
    disk.delay_us = slow_enough_to_look
    settings = {"warmup.mode": "read", "warmup.ready": "after"}
    with started(disk, settings, wait="warm-up .* begins") as daemon:
        daemon.warmer = in_the_middle(daemon, disk)
        yield daemon


KILLED = {
    signal.SIGKILL: r"the process that does it was ended by signal 9 \(Killed\)",
    signal.SIGSEGV: r"the process that does it was ended by signal 11 \(Segmentation fault\)",
    signal.SIGBUS: "the file was truncated while it was read, or reading failed",
}
if is_sanitized():  # a sanitizer would report the others
    KILLED = {signal.SIGKILL: KILLED[signal.SIGKILL]}


@pytest.mark.parametrize("number", KILLED)
def test_the_service_goes_on_when_it_is_killed(waiting, disk, tree, number):
    os.kill(waiting.warmer, number)
    if number != signal.SIGKILL:  # the others come when what it reads is there
        disk.go_on()
    waiting.wait_log(rf"actd warning: warm-up \(read\) of generation 1: {KILLED[number]}, "
                     r"after \d+\.\d MiB; serving without it")
    waiting.wait_log("ready:")
    assert waiting.stat("warmup", "state") == "failed"
    assert waiting.stat("warmup", "eta_ms") is None
    disk.go_on()
    check_answers(waiting, tree)


def test_the_stop_does_not_wait_for_it(waiting):
    waiting.stop()
    wait_gone(waiting.warmer)
    assert "not waiting" not in waiting.log and "ready:" not in waiting.log


def test_it_ends_with_the_supervisor(waiting, disk):
    waiting.crash()
    wait_gone(waiting.warmer)


def test_signals_to_the_whole_group_do_not_end_it(waiting, disk):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(waiting.warmer, number)
    disk.go_on()
    disk.delay_us = 0
    waiting.wait_log("ready:")
    assert waiting.stat("warmup", "state") == "done"


def test_a_disk_that_fails_is_told(disk, tree):
    disk.delay_us = slow_enough_to_look
    with started(disk, {"warmup.mode": "read"}, wait="warm-up .* begins") as daemon:
        daemon.wait_stat("warmup", "read_bytes", lambda n: n > 0)
        disk.fail()
        daemon.wait_log(r"actd warning: warm-up \(read\) of generation 1: reading \S+: "
                        "Input/output error, after .*; serving without it")
        daemon.wait_log("ready:")
        disk.go_on()
        check_answers(daemon, tree)


def test_a_disk_that_hangs_is_not_waited_for_for_ever(disk):
    disk.delay_us = slow_enough_to_look
    settings = {"warmup.mode": "read", "tree.check_timeout_ms": 2000}
    with started(disk, settings, wait="warm-up .* begins") as daemon:
        pid = in_the_middle(daemon, disk)
        daemon.wait_log(r"nothing has come from the disk for tree\.check_timeout_ms = 2000, after")
        daemon.wait_log("ready:")
        wait_gone(pid)


@pytest.mark.parametrize("timeout_ms", [1000] if is_sanitized() else [300, 1000])
def test_a_low_rate_is_not_taken_for_a_disk_that_hangs(disk, timeout_ms):
    size = disk.path.stat().st_size
    settings = {
        "warmup.mode": "read",
        "warmup.rate_bytes_per_s": size // 4,
        "tree.check_timeout_ms": timeout_ms,
    }
    with started(disk, settings) as daemon:
        assert daemon.stat("warmup", "state") == "done"
        assert was_read(disk)


def test_nothing_is_left_of_it(disk):
    with started(disk, {"warmup.mode": "read"}) as daemon:
        eventually(lambda: warmer_of(daemon) is None, "its process to end")
        files = os.listdir(f"/proc/{daemon.pid}/fd")
        with started(disk, {}) as other:
            eventually(
                lambda: len(files) == len(os.listdir(f"/proc/{other.pid}/fd")), "as many files"
            )


def test_a_damaged_tree_is_told_and_served_as_ever(tmp_path, actd, tree):
    """Traversing finds what a check of the header does not."""
    data = bytearray(tree.path.read_bytes())
    root = int.from_bytes(data[8:16], "little")
    data[root : root + 2] = b"\xff\xff"
    path = tmp_path / "damaged.act"
    path.write_bytes(data)
    daemon = actd(path, {"warmup.mode": "traverse"})
    daemon.wait_log(r"actd warning: warm-up \(traverse\) of generation 1: the tree in \S+ is "
                    "damaged, after .*; serving without it")
    assert daemon.stat("warmup", "state") == "failed"


@pytest.mark.parametrize("mode", ["read", "willneed", "traverse"])
def test_a_file_that_is_cut_meanwhile_ends_it_and_nothing_else(tmp_path, actd, tree, mode):
    path = tmp_path / "cut.act"
    path.write_bytes(tree.path.read_bytes())
    size = path.stat().st_size
    settings = {"warmup.mode": mode, "warmup.ready": "before", "warmup.rate_bytes_per_s": size // 4}
    daemon = actd(path, settings, wait=" ready: ")
    workers = daemon.worker_pids()
    daemon.wait_stat("warmup", "read_bytes", lambda n: n > 0)
    os.truncate(path, 4096)
    daemon.wait_log(rf"actd warning: warm-up \({mode}\) of generation 1: .*; serving without it")
    assert daemon.stat("warmup", "state") == "failed"
    assert daemon.worker_pids() == workers


@pytest.mark.parametrize("arguments", [["read", "0"], ["none", "0"], ["x", "0"]])
def test_people_who_call_it_are_told_what_it_is(arguments):
    result = subprocess.run(
        [paths.ACTD, "--warmer", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, env=environment(), timeout=Clock().left("actd"),
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "--warmer is for actd's own use" in result.stderr
