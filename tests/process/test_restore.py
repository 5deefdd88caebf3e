"""warmup.mode = restore: after a restart with cold caches what was in memory is there again, and
little else was read."""

import os
import pathlib
import random
import signal

import pytest

from lib import cold, profile
from lib.daemon import Daemon
from lib.slow_disk import LoopDisk, residency
from lib.waiting import eventually

PAGE = 4096
NOBODY = 65534


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    made = cold.build(tmp_path_factory.mktemp("restore") / "tree.act", 10000, 2000)
    made.path.chmod(0o644)
    return made


class Place:
    """The tree on a disk that counts what is read, and what was in memory when it was used."""

    def __init__(self, loop, tree, kept):
        self.loop, self.disk, self.tree, self.kept = loop, loop.disk, tree, kept
        self.path = loop.path(tree.path.name)

    def daemon(self, settings=None, **options):
        wanted = {"warmup.profile": self.kept, "warmup.profile_interval_ms": 1000}
        return Daemon(self.path, {**wanted, **(settings or {})}, **options)

    def restoring(self, settings=None, **options):
        wanted = {"warmup.mode": "restore", "warmup.ready": "after", **(settings or {})}
        return self.daemon(wanted, **options)

    def forget(self):
        """Cold caches; nobody may have mapped it."""
        self.loop.forget(self.tree.path.name)
        assert sum(residency(self.path)) < 10
        self.disk.reset_counts()

    def resident_pages(self):
        return {page for page, is_there in enumerate(residency(self.path)) if is_there}

    def use(self, daemon, n=1000, seed=1):
        """A part of the tree, here and there."""
        keys = random.Random(seed).sample(self.tree.keys, n)
        with daemon.client() as client:
            assert client.call("mget", keys) == [self.tree.values[key] for key in keys]

    def work(self, **options):
        """A daemon's life; gives the profile that it leaves."""
        with self.daemon(**options) as daemon:
            self.use(daemon)
        saved = profile.read(self.kept)
        assert 800 < len(saved.pages) < len(residency(self.path)) * 0.6
        return saved


@pytest.fixture(params=[0, 128 << 10], ids=["no read-ahead", "read-ahead"])
def place(request, directory, tree):
    state = directory / "state"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    with LoopDisk(directory, [tree.path], read_ahead=request.param) as loop:
        made = Place(loop, tree, state / "warm.profile")
        made.forget()
        yield made


def check_restored(place, saved):
    """By the kernel: it is there; by the disk: not much else was read."""
    there = place.resident_pages()
    assert len(saved.pages & there) >= 0.95 * len(saved.pages)
    assert place.disk.bytes <= 1.1 * len(saved.pages) * PAGE


@pytest.mark.parametrize("user", [None, NOBODY], ids=["owner", "other"])
def test_what_was_in_memory_is_there_again(place, user):
    saved = place.work(user=user)
    assert saved.source == ("pagemap" if user else "mincore")
    place.forget()
    with place.restoring(user=user) as daemon:
        check_restored(place, saved)
        told = daemon.stats()["warmup"]
        assert told["state"] == "done"
        assert told["read_bytes"] == pytest.approx(len(saved.pages) * PAGE, rel=0.01)
        # The same work needs the disk no more.
        place.disk.reset_counts()
        place.use(daemon)
        assert place.disk.bytes <= 0.05 * len(saved.pages) * PAGE


@pytest.mark.parametrize("user", [None, NOBODY], ids=["owner", "other"])
def test_it_is_as_good_after_many_restarts(place, user):
    """Also where nobody asks for anything, so that no worker touches what was restored."""
    saved = first = place.work(user=user)
    for _ in range(3):
        place.forget()
        with place.restoring(user=user):
            check_restored(place, saved)
        saved = profile.read(place.kept)
    assert len(saved.pages & first.pages) >= 0.9 * len(first.pages)


def test_what_a_kill_leaves_is_restored(place):
    with place.daemon() as daemon:
        place.use(daemon)
        saves = daemon.stat("profile", "saves")
        daemon.wait_stat("profile", "saves", lambda n: n >= saves + 2)
        daemon.crash()
    saved = profile.read(place.kept)
    assert len(saved.pages) > 800
    # Its workers end by themselves.
    eventually(lambda: place.loop.forget(place.path.name) or sum(residency(place.path)) < 10, "")
    place.forget()
    with place.restoring():
        check_restored(place, saved)


def warmer_of(daemon):
    """The process that restores; None: there is none."""
    children = pathlib.Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text()
    for pid in children.split():
        if b"--warmer" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    return None


def end_by_stop(daemon):
    daemon.stop()


def end_by_kill(daemon):
    daemon.crash()


def end_by_stop_without_warmer(daemon):
    """Half of it is there then, and will be saved when it has been in use for a while."""
    os.kill(warmer_of(daemon), signal.SIGKILL)
    daemon.wait_stat("warmup", "state", "failed")
    daemon.stop()


@pytest.mark.parametrize("end", [end_by_stop, end_by_kill, end_by_stop_without_warmer])
@pytest.mark.parametrize("ready", ["before", "after"])
def test_a_restore_that_is_cut_off_costs_nothing(place, ready, end):
    """The next one has all of it."""
    saved, good = place.work(), place.kept.read_bytes()
    place.forget()
    slow = {"warmup.ready": ready, "warmup.rate_bytes_per_s": 20 * PAGE}
    slow["warmup.profile_interval_ms"] = 1500
    with place.restoring(slow, wait="admin endpoint on tcp") as daemon:
        daemon.wait_stat("warmup", "read_bytes", lambda n: n > 0)
        # Long enough to be saved, were it not for the warm-up.
        daemon.wait_stat("process", "uptime_ms", lambda now: now > 3000)
        assert daemon.stats()["warmup"]["state"] == "running"
        assert daemon.stats()["profile"]["saves"] == 0
        end(daemon)
    assert place.kept.read_bytes() == good
    eventually(lambda: place.loop.forget(place.path.name) or sum(residency(place.path)) < 10, "")
    place.forget()
    with place.restoring():
        check_restored(place, saved)


def test_after_a_restore_that_failed_it_is_saved_later(place):
    """What has been in use for a while is as good as any."""
    place.work()
    place.forget()
    slow = {"warmup.rate_bytes_per_s": 20 * PAGE, "warmup.ready": "before"}
    with place.restoring(slow) as daemon:
        daemon.wait_stat("warmup", "read_bytes", lambda n: n > 0)
        os.kill(warmer_of(daemon), signal.SIGKILL)
        daemon.wait_stat("warmup", "state", "failed")
        place.use(daemon, seed=2)
        daemon.wait_stat("profile", "saves", lambda n: n > 1)
        used = place.resident_pages()
    assert len(profile.read(place.kept).pages & used) > 0.9 * len(used)


def test_one_that_is_broken_is_replaced(place):
    """Later, as after other warm-ups that have failed."""
    saved = place.work()
    data = bytearray(place.kept.read_bytes())
    data[100] ^= 1
    place.kept.write_bytes(data)
    place.forget()
    with place.restoring() as daemon:
        assert daemon.wait_log(f"warning: .*{place.kept}: ")
        place.use(daemon)
        daemon.wait_stat("profile", "saves", lambda n: n > 1)
    found = profile.read(place.kept)
    assert len(found.pages & saved.pages) > 0.9 * len(saved.pages)
