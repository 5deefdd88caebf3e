"""Every tree of the test data is served, and every key comes back right."""

import pytest

from lib import paths, rpc
from lib.daemon import Daemon, refused
from lib.tree_data import chunks, good_trees, oracle_of
from lib.waiting import eventually

TREES = [pytest.param(tree, id=tree.name) for tree in good_trees()]


def check_values(client, oracle, keys):
    calls = [["mget", chunk] for chunk in chunks(keys)]
    for call, values in zip(calls, client.results(calls)):
        assert values == [oracle.get(key) for key in call[1]]


@pytest.mark.parametrize("tree", TREES)
def test_all_keys_come_back_through_both_sockets(tree):
    oracle = oracle_of(tree)
    with Daemon(tree) as daemon:
        for address in daemon.both:
            with daemon.client(address) as client:
                check_values(client, oracle, oracle.keys)
                some = oracle.sample(2000)
                gets = client.results([["get", key] for key in some])
                assert gets == [oracle.get(key) for key in some]


@pytest.mark.parametrize("tree", TREES)
def test_near_misses_are_what_the_oracle_says(tree):
    oracle = oracle_of(tree)
    near = [miss for key in oracle.sample(500) for miss in oracle.near_misses(key)]
    with Daemon(tree) as daemon, daemon.client() as client:
        check_values(client, oracle, near)
        near = near[::7]
        found = client.results([["exists", key] for key in near])
        assert found == [oracle.exists(key) for key in near]


@pytest.mark.parametrize("tree", TREES)
def test_positions_are_what_the_oracle_says(tree):
    oracle = oracle_of(tree)
    keys = {b""}
    for key in oracle.sample(100):
        keys |= {key, key + b"x", *oracle.near_misses(key)}
    keys = sorted(keys)
    with Daemon(tree) as daemon, daemon.client() as client:
        nodes = client.results([["node", key] for key in keys])
        assert nodes == [oracle.node(key) for key in keys]


def test_every_key_of_a_large_tree_comes_back_by_get(kind):
    oracle = oracle_of(paths.CITIES)
    with Daemon(paths.CITIES) as daemon, daemon.client(getattr(daemon, kind)) as client:
        for chunk in chunks(oracle.keys, max_keys=20000, max_bytes=1 << 30):
            values = client.results([["get", key] for key in chunk])
            assert values == [oracle.get(key) for key in chunk]


C = rpc.CORRUPT

# What is served of the odd and damaged files, from their bytes and section 10 of the format:
# (value, position exists, children) by key, or the error.
ODD = {
    "child_self.act": {b"": C, b"a": C, b"aa": C},
    "count33.act": {b"": C, b"\x00": C, b"z": C},
    "dangling_leaf.act": {
        b"": (None, True, b"ab"),
        b"a": (None, True, b""),
        b"b": (1, True, b""),
        b"ab": (None, False, b""),
    },
    "garbage_tail.act": {b"": (1, True, b""), b"a": (None, False, b"")},
    # Its set is 00 61 62, the first from the padding, and its run has one node.
    "kids_overrun.act": {b"": (None, True, b"\x00ab"), b"\x00": (1, True, b""), b"a": C, b"b": C},
    "line_bits.act": {b"": (None, True, b"a"), b"a": (None, True, b"b"), b"ab": (9, True, b"")},
    "line_fwd.act": {b"": C, b"a": C},
    "line_len0.act": {b"": C, b"a": C},
    "line_line.act": {
        b"": (None, True, b"r"),
        b"ro": (None, True, b"a"),
        b"road": (7, True, b""),
        b"roads": (None, False, b""),
    },
    "line_value_child.act": {
        b"roa": (None, True, b"d"),
        b"road": (1, True, b"x"),
        b"roadx": (3, True, b""),
        b"roady": (None, False, b""),
    },
    "line_value_child2.act": {
        b"road": (1, True, b"xy"),
        b"roadx": (3, True, b""),
        b"roady": (4, True, b""),
    },
    "mask_field32_pop5.act": {
        b"": (None, True, b"!\"#$%"),
        b"!": (1, True, b""),
        b"%": (5, True, b""),
        b"&": (None, False, b""),
    },
    "noncanon.act": {b"": (None, True, b"ab"), b"a": (5, True, b""), b"b": (6, True, b"")},
    "nopad_page.act": {b"": (None, True, b"q"), b"q": (5, True, b""), b"qq": (None, False, b"")},
    "trailer_loop.act": {b"": (1, True, b""), b"a": (None, False, b"")},
    "unsorted.act": {
        b"": (None, True, b"ab"),
        b"a": (1, True, b""),
        b"b": (2, True, b""),
        b"c": (None, False, b""),
    },
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_an_odd_tree_is_answered_or_corrupt(name):
    with Daemon(paths.CRAFTED / name) as daemon, daemon.client() as client:
        for key, wanted in ODD[name].items():
            if wanted == C:
                assert client.error_of("get", key) == C, key
                assert client.error_of("exists", key) == C, key
                assert client.error_of("node", key) == C, key
                continue
            value, exists, children = wanted
            assert client.call("get", key) == value, key
            assert client.call("exists", key) == (value is not None), key
            node = {"exists": exists, "value": value, "children": children}
            assert client.call("node", key) == node, key


def test_an_aborted_merge_serves_what_was_there_before():
    oracle = oracle_of(paths.EDGE / "m_base.stream.act")
    near = [miss for key in oracle.keys for miss in oracle.near_misses(key)]
    with Daemon(paths.CRAFTED / "aborted_merge.act") as daemon, daemon.client() as client:
        check_values(client, oracle, oracle.keys + near)
        nodes = client.results([["node", key] for key in near])
        assert nodes == [oracle.node(key) for key in near]


REFUSED = {
    "badmagic.act": "an old version of the format (ACTree02)",
    "root0.act": "still being written",
    "root_eof.act": "the root offset 26 lies outside the file (26 bytes)",
    "short0.act": "too short for an ACT file: 0 bytes",
    "short12.act": "too short for an ACT file: 12 bytes",
    "short24.act": "too short for an ACT file: 24 bytes",
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_file_that_is_no_tree_is_refused_with_its_name_and_the_reason(name):
    log = refused(paths.CRAFTED / name)
    assert f"{paths.CRAFTED / name}: {REFUSED[name]}" in log


def test_a_file_of_another_kind_is_refused(tmp_path):
    other = tmp_path / "other.act"
    other.write_bytes(b"PK\x03\x04" + bytes(100))
    assert f"{other}: not an ACT file" in refused(other)


def test_every_crafted_file_has_its_expectation():
    names = {path.name for path in paths.CRAFTED.glob("*.act")}
    assert names == {*ODD, *REFUSED, "aborted_merge.act"}


def is_asleep(pid):
    """The state of the process's main thread, as the kernel tells it."""
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


def test_busy_polling_answers_and_goes_to_sleep_afterwards():
    oracle = oracle_of(paths.CITIES)
    with Daemon(paths.CITIES, settings={"daemon.busy_poll_us": 20000}) as daemon:
        for address in daemon.both:
            with daemon.client(address) as client:
                for key in oracle.sample(500):
                    assert client.call("get", key) == oracle.get(key)
        eventually(lambda: is_asleep(daemon.process.pid), "the daemon asleep")
        with daemon.client(daemon.unix) as client:
            assert client.is_usable()
