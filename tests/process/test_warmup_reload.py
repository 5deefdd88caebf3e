"""A new generation is brought into memory before it is switched to; and nothing that happens to
that keeps it from being served."""

import contextlib
import os
import shutil
import signal
import time

import pytest

from lib import cold, profile_writer, reload
from lib.daemon import Daemon
from lib.slow_disk import SlowDisk, forget, residency
from lib.waiting import eventually
from lib.warming import is_there, slow_enough_to_look, warmer_of

PAGE = cold.PAGE


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Three with the same keys, and other values."""
    directory = tmp_path_factory.mktemp("trees")
    built = [cold.build(directory / f"{i}.act", 1500, 2000 - 300 * i) for i in range(3)]
    assert built[0].keys == built[1].keys == built[2].keys
    return built


@pytest.fixture
def disks(tmp_path, trees):
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(SlowDisk(tmp_path, tree.path, name=f"disk{i}"))
            for i, tree in enumerate(trees)
        ]


@pytest.fixture
def path(tmp_path, disks):
    path = tmp_path / "served.act"
    path.symlink_to(disks[0].path)
    return path


@contextlib.contextmanager
def serving(disks, path, mode="read", **options):
    with cold.serving(disks[0], {"warmup.mode": mode}, path=path, **options) as daemon:
        yield daemon
        for disk in disks:
            disk.go_on()
            disk.delay_us = 0


def is_served(daemon, tree, number):
    with daemon.client() as client:
        key = tree.keys[0]
        assert client.call("get", key) == tree.values[key]
        assert client.call("hello")["generation"]["number"] == number


def begin_warming(daemon, path, disk, number, times=1):
    """Reloads a disk that is slow: the one who asks, when its warm-up is under way."""
    disk.forget()
    disk.reset_counts()
    disk.delay_us = slow_enough_to_look * times
    reload.swap_link(path, disk.path)
    asking = reload.Asking(daemon)
    daemon.wait_stat("warmup", "generation", number)
    daemon.wait_stat("warmup", "read_bytes", lambda n: n > 0)
    assert daemon.stat("warmup", "state") == "running"
    return asking


def answered(asking, number):
    status, told = asking.answer()
    assert status == 200, told
    assert told["generation"]["number"] == number


@pytest.mark.parametrize("mode", ["read", "traverse"])
def test_a_new_generation_is_warm_before_it_is_switched_to(disks, path, trees, mode):
    with serving(disks, path, mode) as daemon:
        # The top of the tree is read by many at once.
        asking = begin_warming(daemon, path, disks[1], 2, 10 if mode == "traverse" else 1)
        stats = daemon.stats()
        assert stats["tree"]["generation"] == 1 and stats["tree"]["reloading"] == 1
        assert stats["warmup"]["total_bytes"] == disks[1].path.stat().st_size
        is_served(daemon, trees[0], 1)
        assert "generation 2 (" not in daemon.log
        disks[1].delay_us = 0
        answered(asking, 2)
        assert is_there(disks[1])
        assert daemon.stat("warmup", "state") == "done"
        assert daemon.stat("tree", "reloading") == 0
        is_served(daemon, trees[1], 2)


def test_a_warm_up_may_take_longer_than_the_check(disks, path, trees):
    settings = {"warmup.mode": "read", "warmup.ready": "before", "tree.check_timeout_ms": 1000}
    with cold.serving(disks[0], settings, path=path) as daemon:
        daemon.wait_stat("warmup", "state", "done")
        begin = time.monotonic()
        asking = begin_warming(daemon, path, disks[1], 2)
        eventually(lambda: time.monotonic() - begin > 2, "two limits")
        disks[1].delay_us = 0
        answered(asking, 2)
        assert daemon.stat("warmup", "state") == "done"


def test_who_asks_again_does_not_wait_for_it(disks, path, trees):
    with serving(disks, path) as daemon:
        first = begin_warming(daemon, path, disks[1], 2)
        disks[1].hang()
        pid = warmer_of(daemon)
        reload.swap_link(path, disks[2].path)
        second = reload.Asking(daemon)
        answered(first, 2)
        answered(second, 3)
        assert warmer_of(daemon) != pid
        daemon.wait_log(r"POST /reload: not waiting for the warm-up any more")
        daemon.wait_log(r"warm-up \(read\) of generation 2: ended early, after \d+\.\d MiB")
        is_served(daemon, trees[2], 3)
        assert is_there(disks[2])


def test_a_stop_does_not_wait_for_it(disks, path):
    with serving(disks, path) as daemon:
        asking = begin_warming(daemon, path, disks[1], 2)
        disks[1].hang()
        daemon.stop()
        status, told = asking.answer()
        assert status != 200 and "stopping" in str(told)
        assert "not waiting for it" not in daemon.log


@pytest.mark.parametrize("what", ["kill", "fail"])
def test_a_warm_up_that_fails_does_not_refuse_the_file(disks, path, trees, what):
    with serving(disks, path) as daemon:
        asking = begin_warming(daemon, path, disks[1], 2)
        if what == "kill":
            os.kill(warmer_of(daemon), signal.SIGKILL)
        else:
            disks[1].fail()
        answered(asking, 2)
        daemon.wait_log(r"actd warning: warm-up \(read\) of generation 2: .*; serving without it")
        disks[1].go_on()
        is_served(daemon, trees[1], 2)
        assert daemon.stat("tree", "refused") == 0


def test_a_file_that_is_damaged_meanwhile_is_refused(tmp_path, trees):
    path = tmp_path / "served.act"
    shutil.copyfile(trees[0].path, path)
    rate = trees[1].path.stat().st_size // 1000
    settings = {"warmup.mode": "read", "warmup.ready": "before", "daemon.workers": 1,
                "daemon.heartbeat_timeout_ms": 500}
    with Daemon(path, {**settings, "warmup.rate_bytes_per_s": rate}) as daemon:
        reload.put(trees[1].path, path)
        forget(path)
        asking = reload.Asking(daemon)
        daemon.wait_stat("warmup", "generation", 2)
        with open(path, "r+b") as file:
            file.write(b"x" * 100)
        status, told = asking.answer()
        assert status == 409, told
        assert daemon.stat("warmup", "state") == "cancelled"
        is_served(daemon, trees[0], 1)
        eventually(lambda: warmer_of(daemon) is None, "its process to end")


def test_ready_comes_after_the_warm_up_that_takes_the_place_of_the_first(disks, path, trees):
    disks[0].delay_us = slow_enough_to_look
    with serving(disks, path, wait="warm-up .* begins") as daemon:
        daemon.wait_stat("warmup", "read_bytes", lambda n: n > 0)
        disks[0].hang()
        asking = begin_warming(daemon, path, disks[1], 2)
        assert "ready:" not in daemon.log
        daemon.wait_log(r"warm-up \(read\) of generation 1: ended early")
        disks[1].delay_us = 0
        daemon.wait_log("ready:")
        answered(asking, 2)
        assert is_there(disks[1])


# With restore.


@pytest.fixture
def profiled(tmp_path, disks, path):
    """Settings, and a profile of the first disk with 40 pages."""
    with Daemon(path, {"daemon.workers": 1}) as daemon:
        identity = daemon.stat("tree", "identity")
    profile = tmp_path / "warm.profile"
    pages = set(range(50, 90))
    profile.write_bytes(profile_writer.encode(disks[0].path, identity, pages))
    return {"warmup.mode": "restore", "warmup.profile": profile, "warmup.max_bytes": "1G",
            "warmup.profile_interval_ms": 24 * 3600000}


def test_another_file_gets_as_much_as_the_profile_held(disks, path, trees, profiled):
    with cold.serving(disks[0], profiled, path=path) as daemon:
        disks[1].forget()
        reload.swap_link(path, disks[1].path)
        reload.accepted(daemon)
        warmup = daemon.stats()["warmup"]
        assert (warmup["state"], warmup["mode"]) == ("done", "traverse")
        assert warmup["total_bytes"] == 40 * PAGE
        daemon.wait_log("the top of the tree is warmed up instead")
        assert 38 <= disks[1].resident_pages() < 60


def test_without_a_profile_nothing_is_brought_in_of_another_file(disks, path, profiled):
    profiled["warmup.profile"].unlink()
    with cold.serving(disks[0], profiled, path=path) as daemon:
        reload.swap_link(path, disks[1].path)
        reload.accepted(daemon)
        daemon.wait_log("no warm-up of generation 2: there is no profile of the one before")
        assert daemon.stat("warmup", "generation") == 1


def test_the_same_file_again_is_restored_again(disks, path, profiled):
    with cold.serving(disks[0], profiled, path=path) as daemon:
        disks[0].forget()
        reload.accepted(daemon)
        warmup = daemon.stats()["warmup"]
        assert (warmup["state"], warmup["mode"]) == ("done", "restore")
        assert warmup["total_bytes"] == 40 * PAGE and warmup["generation"] == 2
        assert sum(residency(disks[0].path)[50:90]) >= 38
