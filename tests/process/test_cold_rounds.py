"""Pages that are not in memory are read side by side: a request waits for the disk as often as the
way to one key is deep, not for each key."""

import random
import time

import pytest

from lib import cold, rpc
from lib.slow_disk import SlowDisk

N_KEYS = 64
DELAY_US = 40000


@pytest.fixture(scope="module", params=[2000, 0], ids=["bytes", "numbers"])
def tree(request, tmp_path_factory):
    """Values that are mostly on pages of their own, or numbers."""
    value_bytes = request.param
    path = tmp_path_factory.mktemp("cold") / "tree.act"
    return cold.build(path, 4000 if value_bytes else 100_000, value_bytes)


def n_turns(daemon):
    return daemon.stat("loop", "turns")


def rounds_alone(disk, tree, key):
    """How often a get of this key waits when nothing is in memory: slices but the first one."""
    with cold.serving(disk) as daemon, daemon.client() as client:
        before = n_turns(daemon)
        assert client.call("get", key) == tree.values[key]
        return n_turns(daemon) - before - 1


def time_of_reads(disk, tree):
    """What one read takes now, of pages that no key needs here: no daemon runs."""
    disk.forget()
    disk.delay_us = DELAY_US
    last = tree.path.stat().st_size // cold.PAGE
    seconds = cold.time_of_a_read(disk.path, random.Random(2).sample(range(last), 5))
    disk.delay_us = 0
    assert seconds >= DELAY_US / 1e6
    return seconds


@pytest.fixture(scope="module")
def deepest(tree, tmp_path_factory):
    """The most that one of the keys waits."""
    with SlowDisk(tmp_path_factory.mktemp("cold"), tree.path) as disk:
        return max(rounds_alone(disk, tree, key) for key in tree.keys[:N_KEYS])


def check_rounds(disk, tree, deepest, what, call, right):
    """The call, from cold: it takes two disk times more than the deepest key does, at most; no page
    is read twice."""
    one = time_of_reads(disk, tree)
    with cold.serving(disk) as daemon, daemon.client() as client:
        disk.delay_us = DELAY_US
        begin = time.monotonic()
        result = client.call(*call)
        seconds = time.monotonic() - begin
        assert result == right if not callable(right) else right(result)
        print(f"{what}: {seconds / one:.1f} disk times of {one * 1000:.1f} ms, {deepest} levels, "
              f"{disk.reads} reads")
        assert 2 <= deepest <= 8
        assert disk.reads > N_KEYS / 2 and max(disk.reads_of_pages()) == 1
        assert seconds <= (deepest + 2) * one
        cold.check_loop(daemon)


@pytest.mark.alone
def test_many_keys_take_the_disk_as_long_as_the_deepest_one(disk, tree, deepest):
    keys = tree.keys[:N_KEYS]
    right = [tree.values[key] for key in keys]
    check_rounds(disk, tree, deepest, "mget", ["mget", keys], right)


def pages_of(tree, keys):
    """What mscan gives, as far as it matters here."""

    def are_right(pages):
        entries = [page["entries"] for page in pages]
        return entries == [[[key, tree.values[key]]] for key in keys]

    return are_right


LISTS = {
    "mscan": lambda tree, keys: (["mscan", keys], pages_of(tree, keys)),
    "longest_prefix": lambda tree, keys: (
        ["longest_prefix", keys], [[key, tree.values[key]] for key in keys]),
    "prefixes": lambda tree, keys: (
        ["prefixes", keys], [[[key, tree.values[key]]] for key in keys]),
}


@pytest.mark.alone
@pytest.mark.parametrize("method", LISTS)
def test_other_lists_likewise(disk, tree, deepest, method):
    check_rounds(disk, tree, deepest, method, *LISTS[method](tree, tree.keys[:N_KEYS]))


@pytest.mark.alone
@pytest.mark.parametrize("options", [{}, {"reverse": True}], ids=["forward", "backward"])
def test_a_scan_reads_ahead(disk, tree, options):
    keys = sorted(tree.keys)[: len(tree.keys) // 4]
    wanted = [[key, tree.values[key]] for key in keys]
    call = ["range", None, keys[-1] + b"\0", {**options, "limit": len(keys), "max_bytes": 4 << 20}]
    one = time_of_reads(disk, tree)
    with cold.serving(disk) as daemon, daemon.client() as client:
        disk.delay_us = DELAY_US // 4
        begin = time.monotonic()
        entries = client.call(*call)["entries"]
        seconds = time.monotonic() - begin
        assert entries == (wanted[::-1] if options else wanted)
        print(f"scan: {seconds / (one / 4):.1f} disk times, {disk.reads} reads, "
              f"{disk.most_in_flight} at once")
        assert disk.reads > 30 and max(disk.reads_of_pages()) == 1
        assert disk.most_in_flight > 4
        assert seconds < disk.reads * DELAY_US / 4e6 / 2
        cold.check_loop(daemon)


def test_what_is_read_ahead_is_not_waited_for(disk, tree):
    """A request that needs what others wait for goes on with them."""
    with cold.serving(disk) as daemon:
        disk.hang()
        with daemon.client() as scanning, daemon.client() as other:
            scanning.send(rpc.request(1, "scan", b"", {"limit": 100}))
            daemon.wait_stat("cold", "waiting", 1)
            other.send(rpc.request(1, "count", b""))
            daemon.wait_stat("cold", "waiting", 2)
            disk.go_on()
            keys = sorted(tree.keys)[:100]
            _, error, page = scanning.reply()
            assert error is None
            assert page["entries"] == [[key, tree.values[key]] for key in keys]
            result = {"count": len(tree.keys), "exact": True}
            assert other.reply() == (1, None, result)
        assert max(disk.reads_of_pages()) == 1
        cold.check_loop(daemon)
