"""Every method says the same whether or not what it looks up is in memory, byte for byte."""

import random

import msgpack
import pytest

from lib import cold, paths, rpc, tree_maker
from lib.daemon import Daemon
from lib.slow_disk import SlowDisk
from lib.tree_data import oracle_of

DELAY_US = 500


def built_cities(directory):
    """With tables."""
    oracle = oracle_of(paths.CITIES)
    path = tree_maker.build(directory / "cities.act", sorted(oracle.pairs))
    return path, oracle.keys


def long_values(directory):
    """A value goes over several pages; short ones stand between."""
    rng = random.Random(5)
    keys = [b"%03d/%s" % (i, b"x" * (i % 7)) for i in range(400)]
    pairs = [(key, rng.randbytes(rng.choice([0, 3, 100, 4096, 5000, 20000]))) for key in keys]
    return tree_maker.build(directory / "long.act", pairs, is_bytes=True), keys


TREES = {
    "plain": lambda directory: (paths.CITIES, oracle_of(paths.CITIES).keys),
    "tables": built_cities,
    "long": long_values,
}


@pytest.fixture(scope="module", params=TREES)
def tree(request, tmp_path_factory):
    """(path, its keys)"""
    return TREES[request.param](tmp_path_factory.mktemp("cold"))


@pytest.fixture(scope="module")
def warm(tree):
    """A daemon whose file is in memory, and that does not look whether it is."""
    with Daemon(tree[0], {"cold.mode": "inline"}) as daemon:
        yield daemon


@pytest.fixture
def disk(tmp_path, tree):
    with SlowDisk(tmp_path, tree[0]) as mounted:
        yield mounted


class Calls:
    """Calls of each method."""

    def __init__(self, keys):
        rng = random.Random(6)
        self.keys = rng.sample(keys, 60)
        self.near = [key[:-1] + b"\xff" for key in self.keys[:10]] + [key + b"!"
                                                                     for key in self.keys[:10]]
        self.prefixes = [key[: rng.randrange(1, len(key) + 1)] for key in self.keys[:12]]
        self.short = sorted({key[:1] for key in self.keys})[:8]

    def of_key(self, method):
        return [[method, key] for key in self.keys[:20] + self.near + [b""]]

    def of_list(self, method):
        some = self.keys + self.near
        return [[method, some], [method, some[:3], {"errors": True}], [method, []],
                [method, some * 5, {"errors": True}]]

    def get(self):
        return self.of_key("get")

    def exists(self):
        return self.of_key("exists")

    def node(self):
        return self.of_key("node")

    def mget(self):
        return self.of_list("mget")

    def longest_prefix(self):
        return self.of_key("longest_prefix") + self.of_list("longest_prefix")

    def prefixes_(self):
        return self.of_key("prefixes") + self.of_list("prefixes")

    def next(self):
        return self.of_key("next")

    def prev(self):
        return self.of_key("prev")

    def count(self):
        every = [["count", prefix] for prefix in [b"", *self.prefixes, *self.short]]
        return every + [["count", b"", {"max_visited_nodes": n}] for n in (1, 10**6)]

    def explore(self):
        return [["explore", prefix] for prefix in [b"", *self.prefixes, *self.short]]

    OPTIONS = [
        {}, {"limit": 1}, {"limit": 700}, {"max_bytes": 1}, {"max_bytes": 30000},
        {"reverse": True}, {"keys_only": True}, {"reverse": True, "keys_only": True, "limit": 300},
        {"max_visited_nodes": 50}, {"max_visited_nodes": 3000, "reverse": True},
    ]

    def scan(self):
        every = [["scan", prefix, options] for prefix in [b"", *self.short[:4]]
                 for options in self.OPTIONS]
        return every + [["scan", prefix] for prefix in self.prefixes]

    def range(self):
        bounds = sorted(self.keys[:6])
        pairs = [(None, None), (bounds[0], bounds[1]), (bounds[2], None), (None, bounds[3])]
        return [["range", *pair, options] for pair in pairs for options in self.OPTIONS]

    def mscan(self):
        lists = [self.prefixes, self.short, self.keys]
        options = [{"limit": 3}, {"limit": 50, "reverse": True}, {"limit": 20, "keys_only": True},
                   {"max_bytes": 2000}]
        return [["mscan", prefixes, each] for prefixes in lists for each in options]

    METHODS = ["get", "exists", "node", "mget", "longest_prefix", "prefixes_", "next", "prev",
               "count", "explore", "scan", "range", "mscan"]


def replies(daemon, calls, at_once):
    """The bytes of each reply, in the order of the calls."""
    found = {}
    requests = [rpc.request(i, *call) for i, call in enumerate(calls)]
    with daemon.client() as client:
        chunks = [requests[i : i + at_once] for i in range(0, len(requests), at_once)]
        for chunk in chunks:
            n = len(found) + len(chunk)
            client.send(b"".join(chunk))
            data = bytearray()
            while len(found) < n:
                client.sock.settimeout(120)
                received = client.sock.recv(1 << 18)
                assert received
                data += received
                unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=0)
                unpacker.feed(data)
                end = 0
                for message in unpacker:
                    begin, end = end, unpacker.tell()
                    found[message[1]] = bytes(data[begin:end])
                del data[:end]
    return [found[i] for i in range(len(calls))]


def check_same(warm, daemon, calls, at_once):
    cold_replies = replies(daemon, calls, at_once)
    for call, right, got in zip(calls, replies(warm, calls, 1), cold_replies):
        assert got == right, (
            f"{call}: {msgpack.unpackb(got, raw=True)!r:.2000}\n"
            f"and not {msgpack.unpackb(right, raw=True)!r:.2000}")


@pytest.mark.parametrize("method", Calls.METHODS)
def test_it_says_the_same(warm, disk, tree, method):
    calls = getattr(Calls(tree[1]), method)()
    if method.rstrip("_") in ("scan", "range", "mscan", "mget", "count", "explore"):
        random.Random(7).shuffle(calls)
    assert all(call[0] == method.rstrip("_") for call in calls)
    for at_once in (1, 8):
        with cold.serving(disk) as daemon:
            disk.delay_us = DELAY_US
            check_same(warm, daemon, calls, at_once)
            assert daemon.stats()["methods"][method.rstrip("_")]["offloaded"] > 0
            cold.check_loop(daemon)
        disk.delay_us = 0


@pytest.mark.parametrize("budget", [10, 100, 1000])
def test_a_count_with_a_budget(warm, disk, tree, budget):
    """The way back to where it was interrupted is no part of the budget, so it may come to some
    more."""
    call = ["count", b"", {"max_visited_nodes": budget}]
    with warm.client() as client:
        right = client.call(*call)
        full = client.call("count", b"")["count"]
    with cold.serving(disk) as daemon, daemon.client() as client:
        told = client.call(*call)
        assert told["exact"] == right["exact"]
        assert right["count"] <= told["count"] <= min(full, 2 * budget), (told, right)


def test_each_call_from_cold(warm, disk, tree):
    """Nothing that another one has read helps it."""
    made = Calls(tree[1])
    calls = [random.Random(8).choice(getattr(made, method)()) for method in Calls.METHODS]
    for call in calls:
        with cold.serving(disk) as daemon:
            check_same(warm, daemon, [call], 1)


def test_what_is_counted_is_the_same(disk, tree):
    """Keys found and not found, of requests that have waited."""
    made = Calls(tree[1])
    calls = [call for method in Calls.METHODS for call in getattr(made, method)()]

    def counted(daemon):
        replies(daemon, calls, 1)
        names = ("requests", "errors", "hits", "misses")
        return {method: {name: told[name] for name in names}
                for method, told in daemon.stats()["methods"].items()}

    with Daemon(tree[0]) as daemon:
        right = counted(daemon)
    with cold.serving(disk) as daemon:
        assert counted(daemon) == right
