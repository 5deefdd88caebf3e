"""Profiles that the warm-up is given: what is restored from a right one, and what all others
cost."""

import os
import random
import re

import pytest

from lib import cold, profile_writer
from lib.daemon import Daemon
from lib.slow_disk import residency

PAGE = cold.PAGE
NOBODY = 65534


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return cold.build(tmp_path_factory.mktemp("profile") / "tree.act", 2000, 2000)


@pytest.fixture
def start(disk):
    """(identity, pages that are in memory without a warm-up)."""
    with cold.serving(disk) as daemon:
        known = residency(disk.path)
        return daemon.stat("tree", "identity"), {i for i, is_there in enumerate(known) if is_there}


@pytest.fixture
def profile(tmp_path):
    return tmp_path / "warm.profile"


def settings_for(profile, **more):
    return {"warmup.mode": "restore", "warmup.profile": profile,
            "warmup.profile_interval_ms": 24 * 3600000, **more}


def scattered(n, n_pages, seed=1):
    rng = random.Random(seed)
    return set(rng.sample(range(n_pages), n))


def test_its_pages_are_brought_back_and_nearly_nothing_else(disk, start, profile):
    identity, before = start
    n_pages = len(residency(disk.path))
    pages = scattered(n_pages // 4, n_pages)
    profile.write_bytes(profile_writer.encode(disk.path, identity, pages))
    with cold.serving(disk, settings_for(profile)) as daemon:
        there = {i for i, is_there in enumerate(residency(disk.path)) if is_there}
        assert len(pages & there) >= len(pages) * 95 // 100
        assert len(there - pages - before) <= len(pages) // 10
        warmup = daemon.stats()["warmup"]
        assert (warmup["state"], warmup["mode"]) == ("done", "restore")
        assert warmup["read_bytes"] == warmup["total_bytes"]
        assert "actd warning" not in daemon.log


def test_none_yet_is_nothing_to_worry_about(disk, start, profile):
    with cold.serving(disk, settings_for(profile)) as daemon:
        daemon.wait_log(re.escape(f"no profile yet: {profile}; it will be written"))
        assert "actd warning" not in daemon.log and "actd error" not in daemon.log
        warmup = daemon.stats()["warmup"]
        assert (warmup["state"], warmup["read_bytes"]) == ("done", 0)


@pytest.mark.parametrize("limit", [16, 100])
def test_one_that_claims_everything_costs_max_bytes(disk, start, profile, limit):
    identity, before = start
    n_pages = len(residency(disk.path))
    profile.write_bytes(profile_writer.encode(disk.path, identity, set(range(n_pages))))
    more = {"warmup.max_bytes": limit * PAGE}
    with cold.serving(disk, settings_for(profile, **more)) as daemon:
        assert daemon.stat("warmup", "total_bytes") == limit * PAGE
        assert limit * 95 // 100 <= disk.resident_pages() <= limit + len(before)


def check_ignored(daemon, disk, before, profile):
    """With a warning that names it; nothing was brought in."""
    daemon.wait_log(rf"actd warning: warm-up \(restore\) of generation 1: the profile is ignored: "
                    rf"{profile}: .*; serving without it")
    assert daemon.stat("warmup", "state") == "failed"
    assert disk.resident_pages() <= len(before)


def make(kind, profile, disk, identity):
    good = profile_writer.encode(disk.path, identity, set(range(100)))
    if kind == "fifo":
        os.mkfifo(profile)
    elif kind == "directory":
        profile.mkdir()
    elif kind == "device":
        profile.symlink_to("/dev/zero")
    elif kind == "loop":
        profile.symlink_to(profile)
    elif kind == "sparse":
        profile.touch()
        os.truncate(profile, 1 << 40)
    else:
        profile.write_bytes({
            "empty": b"",
            "garbage": random.Random(1).randbytes(5000),
            "text": b"not a profile\n" * 100,
            "truncated": good[:-9],
            "head": good[:40],
            "flipped": good[:70] + bytes([good[70] ^ 1]) + good[71:],
            "identity": profile_writer.encode(disk.path, identity ^ 1, set(range(100))),
        }[kind])


@pytest.mark.parametrize(
    "kind",
    ["empty", "garbage", "text", "truncated", "head", "flipped", "identity", "fifo", "directory"]
    + ["device", "loop", "sparse"],
)
def test_what_is_no_profile_of_this_file_is_ignored(disk, start, profile, kind):
    identity, before = start
    make(kind, profile, disk, identity)
    with cold.serving(disk, settings_for(profile)) as daemon:
        check_ignored(daemon, disk, before, profile)


def test_one_of_another_tree_is_ignored(tmp_path, disk, start, profile):
    identity, before = start
    other = cold.build(tmp_path / "other.act", 500, 2000)
    profile.write_bytes(profile_writer.encode(other.path, identity, set(range(10))))
    with cold.serving(disk, settings_for(profile)) as daemon:
        check_ignored(daemon, disk, before, profile)


def test_one_that_must_not_be_read_is_named(tmp_path, tree):
    path = tmp_path / "tree.act"
    path.write_bytes(tree.path.read_bytes())
    profile = tmp_path / "warm.profile"
    profile.write_bytes(b"x")
    profile.chmod(0o600)
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_mode & 0o005 != 0o005 and directory.stat().st_uid == os.geteuid():
            directory.chmod(directory.stat().st_mode | 0o005)
    with Daemon(path, settings_for(profile), user=NOBODY) as daemon:
        daemon.wait_log(rf"the profile is ignored: {profile}: .*Permission denied")
        assert daemon.stat("warmup", "state") == "failed"
