"""How it is known whether a page is in memory: each way that the kernel has, for a file and a user
of each kind."""


import pytest

from lib import cold
from lib.slow_disk import LoopDisk, SlowDisk

NOBODY = 65534
DELAY_US = 5000


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    made = cold.build(tmp_path_factory.mktemp("cold") / "tree.act", 2000, 2000)
    made.path.chmod(0o644)
    return made


def check_cold(daemon, disk, tree, probe):
    """What is not in memory is answered rightly, and the loop waits for none of it; then it is
    known to be there. Only `none` asks nobody."""
    keys = tree.keys[:100]
    pid = cold.worker_pid(daemon)
    with daemon.client() as client:
        assert client.call("info")["tree"]["probe"] == probe
        disk.delay_us = DELAY_US
        faults = cold.loop_faults(pid)
        for key in keys[:20]:
            assert client.call("get", key) == tree.values[key]
        assert client.results([["get", key] for key in keys]) == [tree.values[key] for key in keys]
        assert client.call("mget", keys) == [tree.values[key] for key in keys]
        assert cold.loop_faults(pid) == faults
        cold.check_loop(daemon)
        told = daemon.stats()
        assert told["cold"]["pages_read"] >= 100
        assert told["methods"]["get"]["offloaded"] >= 20
        cold.settle(daemon)
        # Now that all of it is known nobody waits, and nobody asks the kernel for long.
        told = daemon.stats()
        assert client.call("mget", keys) == [tree.values[key] for key in keys]
        again = daemon.stats()
        assert again["cold"]["pages_read"] == told["cold"]["pages_read"]
        assert again["methods"]["mget"]["offloaded"] == told["methods"]["mget"]["offloaded"]
        # These are told now and then.
        daemon.wait_stat("workers", 0, lambda worker: worker["cold"]["known_pages"] >= 100)
        assert (daemon.stat("cold", "probes") > 0) == (probe != "none")


def asked_by(probe):
    return rf"actd info: .*: whether a page is in memory is asked by {probe}$"


NOT_ASKED = r"actd info: .*: whether a page is in memory cannot be asked here .*cold.probe"


@pytest.mark.parametrize("probe", ["auto", "mincore"])
def test_mincore(directory, tree, probe):
    """We own the file."""
    with SlowDisk(directory, tree.path) as disk:
        with cold.serving(disk, {"cold.probe": probe}) as daemon:
            assert daemon.wait_log(asked_by("mincore"))
            check_cold(daemon, disk, tree, "mincore")


@pytest.fixture
def loop(directory, tree):
    with LoopDisk(directory, [tree.path]) as mounted:
        mounted.forget(tree.path.name)
        yield mounted


def serving_loop(loop, tree, settings=None, **options):
    return cold.serving(loop.disk, settings, loop.path(tree.path.name), **options)


def test_nowait(loop, tree):
    with serving_loop(loop, tree, {"cold.probe": "nowait"}) as daemon:
        assert daemon.wait_log(asked_by("nowait"))
        check_cold(daemon, loop.disk, tree, "nowait")


def test_nowait_is_what_another_user_has(loop, tree):
    """To who neither owns the file nor may write it mincore would not tell the truth."""
    with serving_loop(loop, tree, user=NOBODY) as daemon:
        assert daemon.wait_log(asked_by("nowait"))
        check_cold(daemon, loop.disk, tree, "nowait")


def test_mincore_is_what_the_owner_has_there(loop, tree):
    with serving_loop(loop, tree) as daemon:
        assert daemon.wait_log(asked_by("mincore"))
        check_cold(daemon, loop.disk, tree, "mincore")


@pytest.mark.parametrize("user, probe", [(NOBODY, "auto"), (None, "none")])
def test_none(directory, tree, user, probe):
    """FUSE has no RWF_NOWAIT. Each page goes to the threads once, also one that is in memory."""
    with SlowDisk(directory, tree.path) as disk:
        with cold.serving(disk, {"cold.probe": probe}, user=user) as daemon:
            assert daemon.wait_log(NOT_ASKED)
            check_cold(daemon, disk, tree, "none")


def test_none_and_a_file_in_memory(directory, tree):
    with SlowDisk(directory, tree.path) as disk:
        with cold.serving(disk, {"cold.probe": "none"}) as daemon, daemon.client() as client:
            disk.path.read_bytes()
            disk.hang()
            right = [tree.values[key] for key in tree.keys]
            assert client.call("mget", tree.keys) == right
            n = daemon.stats()["methods"]["mget"]["offloaded"], daemon.stat("cold", "pages_read")
            assert n[0] == 1 and n[1] > 0
            assert client.call("mget", tree.keys) == right
            told = daemon.stats()
            assert (told["methods"]["mget"]["offloaded"], told["cold"]["pages_read"]) == n
            assert told["cold"]["major_faults"] == 0
            cold.check_loop(daemon)


def test_off(directory, tree):
    """Nothing is asked, nothing leaves the loop."""
    with SlowDisk(directory, tree.path) as disk:
        with cold.serving(disk, {"cold.mode": "inline"}) as daemon, daemon.client() as client:
            assert client.call("info")["tree"]["probe"] == "off"
            keys = tree.keys[:50]
            assert client.call("mget", keys) == [tree.values[key] for key in keys]
            told = daemon.stats()
            assert set(told["cold"].values()) == {0}
            assert told["methods"]["mget"]["offloaded"] == 0
            assert told["loop"]["major_faults"] > 0
        assert "whether a page is in memory" not in daemon.log
