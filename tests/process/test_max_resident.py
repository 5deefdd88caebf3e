"""tree.max_resident_bytes: what a worker has mapped beyond it is given back, the coldest first, as
smaps and pagemap tell; answers stay right."""

import mmap
import random
import struct

import pytest

from lib import tree_maker
from lib.daemon import with_one_worker
from lib.processes import mappings_of
from lib.waiting import eventually

PAGE = mmap.PAGESIZE
MIB = 1 << 20
N_KEYS = 2048
VALUE_BYTES = 4 * PAGE
MOST = 8 * MIB  # of some 32 MiB
# What the worker has mapped of other files since it began is held to be the tree's.
ELSE = 2 * MIB
PRESENT = 1 << 63


def key_of(i):
    return b"key %05d" % i


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Values of several pages, and what they are."""
    path = tmp_path_factory.mktemp("resident") / "tree.act"
    rng = random.Random(7)
    values = {key_of(i): rng.randbytes(VALUE_BYTES) for i in range(N_KEYS)}
    tree_maker.build(path, values.items(), is_bytes=True)
    return path, values


@pytest.fixture
def start(actd, tree):
    start_one = with_one_worker(actd)

    def start_with(settings=None):
        return start_one(tree[0], {"tree.max_resident_bytes": MOST, **(settings or {})})

    return start_with


def look_up_all(client, values):
    for first in range(0, N_KEYS, 64):
        keys = [key_of(i) for i in range(first, first + 64)]
        assert client.call("mget", keys) == [values[key] for key in keys]


def resident(daemon, path):
    (pid,) = daemon.worker_pids()
    return sum(mapping.kib["Rss"] * 1024 for mapping in mappings_of(pid, path))


def present_pages(daemon, path):
    """For each page of the file, whether the worker has it mapped."""
    (pid,) = daemon.worker_pids()
    (mapping,) = mappings_of(pid, path)
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        n = mapping.size // PAGE
        pagemap.seek(mapping.start // PAGE * 8)
        return [bool(entry & PRESENT) for (entry,) in struct.iter_unpack("Q", pagemap.read(8 * n))]


@pytest.mark.parametrize("mode", ["offload", "inline"])
def test_what_is_too_much_is_given_back(start, tree, mode):
    path, values = tree
    daemon = start({"cold.mode": mode})
    with daemon.client() as client:
        for _ in range(2):
            look_up_all(client, values)
            eventually(lambda: resident(daemon, path) <= MOST, "less of the file is mapped")
        look_up_all(client, values)
        least = 2 * (path.stat().st_size - MOST) - 2 * ELSE
        daemon.wait_stat("cold", "released_bytes", lambda n: n >= least)
        # Not all of it: the rest is needed again soonest.
        assert resident(daemon, path) > 0
        assert mode == "inline" or client.call("stats")["loop"]["major_faults"] == 0


def test_without_a_limit_it_stays(start, tree):
    path, values = tree
    daemon = start({"tree.max_resident_bytes": 0})
    with daemon.client() as client:
        look_up_all(client, values)
        size = resident(daemon, path)
        assert size >= path.stat().st_size * 0.95
        turns = client.call("stats")["loop"]["turns"]
        # As many looks as would have released it.
        probes = client.call("stats")["cold"]["probes"]
        daemon.wait_stat("cold", "probes", lambda n: n > probes + 100)
        assert turns and resident(daemon, path) == size
        assert client.call("stats")["cold"]["released_bytes"] == 0


def test_what_is_needed_stays_longest(start, tree):
    path, values = tree
    daemon = start()
    hot = [key_of(i) for i in range(1000, 1064)]  # one MiB
    content = path.read_bytes()
    pages = sorted({content.index(values[key]) // PAGE + 1 for key in hot})
    with daemon.client() as client:
        look_up_all(client, values)

        def look():
            assert client.call("mget", hot) == [values[key] for key in hot]
            return resident(daemon, path) <= MOST

        eventually(look, "less of the file is mapped, while some of it is needed")
        present = present_pages(daemon, path)
    assert all(present[page] for page in pages)
    assert sum(present) * PAGE <= MOST + ELSE


def test_what_is_locked_stays(start, tree):
    path, values = tree
    daemon = start({"tree.mlock": "top"})
    with daemon.client() as client:
        locked = client.call("stats")["tree"]["locked_bytes"]
        assert locked > 0
        look_up_all(client, values)
        eventually(lambda: resident(daemon, path) <= MOST, "less of the file is mapped")
        (pid,) = daemon.worker_pids()
        assert sum(mapping.kib["Locked"] * 1024 for mapping in mappings_of(pid, path)) == locked
        look_up_all(client, values)
