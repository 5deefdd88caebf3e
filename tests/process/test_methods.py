"""What each method takes and gives."""

import os
import time

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import actctl, paths, rpc
from lib.daemon import Daemon, counts_of
from lib.tree_data import oracle_of

ORACLE = oracle_of(paths.CITIES)

METHODS = [
    "hello", "ping", "get", "mget", "exists", "node", "scan", "range", "mscan", "count",
    "longest_prefix", "prefixes", "next", "prev", "explore", "info", "stats", "watch",
    "wait_generation",
]


# hello


def test_hello_tells_what_the_server_is(client):
    hello = client.call("hello")
    assert set(hello) == {"server", "version", "protocol", "methods", "limits", "generation"}
    assert hello["server"] == "actd"
    assert hello["version"].count(".") == 2
    assert hello["protocol"] == 1
    assert hello["methods"] == METHODS
    limits = {
        "max_request_bytes": 1 << 20,
        "max_reply_bytes": 16 << 20,
        "max_keys": 10000,
        "max_key_bytes": 1 << 20,
        "max_visited_nodes": 10000000,
        "max_wait_ms": 600000,
    }
    assert hello["limits"] == limits
    assert set(hello["generation"]) == {"number", "identity"}
    assert hello["generation"]["number"] == 1
    assert 0 <= hello["generation"]["identity"] < 2**64


def test_hello_without_options_and_with_an_empty_map_are_the_same(client):
    assert client.call("hello") == client.call("hello", {})


def test_hello_switches_errors_to_strings_and_back(client):
    client.call("hello", {"errors": "string"})
    with pytest.raises(rpc.RpcError) as caught:
        client.call("nonsense")
    assert caught.value.error.startswith("UNKNOWN_METHOD: ")
    client.call("hello", {"errors": "array"})
    assert client.error_of("nonsense") == rpc.UNKNOWN_METHOD


def test_hello_switches_values_to_decimal_strings_and_back(client):
    key = ORACLE.keys[1000]
    first = client.call("hello", {"u64": "str"})
    assert first["generation"]["identity"].isdigit()
    assert first["protocol"] == 1
    assert client.call("get", key) == str(ORACLE.get(key))
    assert client.call("mget", [key, b"\xff"]) == [str(ORACLE.get(key)), None]
    assert client.call("node", key)["value"] == str(ORACLE.get(key))
    assert client.call("exists", key) is True
    assert isinstance(client.call("stats")["tree"]["mapped_bytes"], int)
    client.call("hello", {"u64": "int"})
    assert client.call("get", key) == ORACLE.get(key)


def test_the_greatest_value_is_a_full_u64(actd):
    tree = paths.EDGE / "values.stream.act"
    oracle = oracle_of(tree)
    with actd(tree).client() as client:
        assert max(oracle.values.values()) == 2**64 - 1
        assert client.call("mget", oracle.keys) == [oracle.get(key) for key in oracle.keys]
        client.call("hello", {"u64": "str"})
        assert client.call("mget", oracle.keys) == [str(oracle.get(key)) for key in oracle.keys]


def test_hello_options_hold_for_their_connection_only(cities):
    with cities.client() as first, cities.client() as second:
        first.call("hello", {"errors": "string", "u64": "str"})
        assert second.error_of("nonsense") == rpc.UNKNOWN_METHOD


def test_hello_takes_names_as_bin(client):
    client.call("hello", {b"errors": b"string"})
    assert client.error_of("nonsense") is None


BAD_HELLO = [
    {"errors": "strings"},
    {"errors": ""},
    {"errors": True},
    {"errors": None},
    {"errors": 1},
    {"errors": ["string"]},
    {"u64": "string"},
    {"u64": 64},
    {"u64": b"\x00int"},
    {"u64": "int\x00"},
    {"other": 1},
    {"": ""},
    {1: "string"},
    {None: "string"},
    {("errors",): "string"},
    {"errors": "string", "other": 1},
    {"x" * 1000: "y"},
    {b"\xff\x00": 1},
]


@pytest.mark.parametrize("options", BAD_HELLO, ids=repr)
def test_hello_refuses_bad_options_and_changes_nothing(client, options):
    assert client.error_of("hello", options) == rpc.BAD_PARAMS
    assert client.error_of("nonsense") == rpc.UNKNOWN_METHOD
    assert isinstance(client.call("hello")["generation"]["identity"], int)


# ping, get, mget, exists, node


def test_ping_says_pong(client):
    assert client.call("ping") == "pong"


def test_keys_and_method_names_may_be_str_or_bin(client):
    key = next(key for key in ORACLE.keys if key.isascii() and len(key) > 40)
    value = ORACLE.get(key)
    for method in ("get", b"get"):
        for form in (key, key.decode()):
            assert client.call(method, form) == value
    assert client.call(b"mget", [key, key.decode()]) == [value, value]
    assert client.call(b"exists", key.decode()) is True
    assert client.call(b"node", key.decode())["value"] == value


def test_mget_answers_in_the_order_asked_and_repeats(client):
    a, b = ORACLE.keys[10], ORACLE.keys[20]
    wanted = [ORACLE.get(b), None, ORACLE.get(a), ORACLE.get(b), ORACLE.get(b"")]
    assert client.call("mget", [b, b"\xff", a, b, b""]) == wanted


def test_mget_of_no_keys_is_an_empty_list(client):
    assert client.call("mget", []) == []
    assert client.call("mget", [], {}) == []
    assert client.call("mget", [], {"errors": True}) == {"values": [], "errors": []}


def test_mget_tells_errors_only_where_it_is_asked_to(client):
    key = ORACLE.keys[5]
    assert client.call("mget", [key, b"\xff"], {"errors": False}) == [ORACLE.get(key), None]
    wanted = {"values": [ORACLE.get(key), None], "errors": []}
    assert client.call("mget", [key, b"\xff"], {"errors": True}) == wanted
    assert client.call("mget", [key, b"\xff"], {b"errors": True}) == wanted


def test_mget_names_the_keys_that_failed_in_a_damaged_file(actd):
    tree = paths.CRAFTED / "kids_overrun.act"
    with actd(tree).client() as client:
        keys = [b"\x00", b"a", b"z", b"b", b"\x00"]
        assert client.call("mget", keys) == [1, None, None, None, 1]
        result = client.call("mget", keys, {"errors": True})
        assert set(result) == {"values", "errors"}
        assert result["values"] == [1, None, None, None, 1]
        assert [index for index, _ in result["errors"]] == [1, 3]
        for _, (number, text) in result["errors"]:
            assert number == rpc.CORRUPT
            assert text.startswith("CORRUPT: ")
        client.call("hello", {"errors": "string"})
        result = client.call("mget", keys, {"errors": True})
        assert [index for index, _ in result["errors"]] == [1, 3]
        assert all(text.startswith("CORRUPT: ") for _, text in result["errors"])


def test_a_corrupt_answer_names_the_file_and_the_offset(actd):
    tree = paths.CRAFTED / "kids_overrun.act"
    with actd(tree).client() as client, pytest.raises(rpc.RpcError) as caught:
        client.call("get", b"a")
    assert caught.value.text.startswith(f"CORRUPT: {tree} is damaged at offset 18: ")


KNOWN = st.sampled_from(ORACLE.keys)


@st.composite
def near_keys(draw):
    key = bytearray(draw(KNOWN))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(key)))
        edit = draw(st.sampled_from(["cut", "insert", "change"]))
        if edit == "insert":
            key.insert(at, draw(st.integers(0, 255)))
        elif edit == "cut":
            del key[at:]
        elif at < len(key):
            key[at] = draw(st.integers(0, 255))
    return bytes(key)


KEYS = st.lists(st.one_of(KNOWN, near_keys(), st.binary(max_size=50)), max_size=50)


@settings(max_examples=200)
@given(keys=KEYS)
def test_any_keys_are_answered_as_the_oracle_says(cities, keys):
    with cities.client() as client:
        assert client.call("mget", keys) == [ORACLE.get(key) for key in keys]
        assert client.results([["get", key] for key in keys]) == [ORACLE.get(key) for key in keys]
        found = client.results([["exists", key] for key in keys])
        assert found == [ORACLE.exists(key) for key in keys]
        nodes = client.results([["node", key] for key in keys])
        assert nodes == [ORACLE.node(key) for key in keys]


# info, stats

NO_METADATA = {
    "state": "none",
    "n_keys": None,
    "longest_key_bytes": None,
    "created_s": None,
    "table_min_children": None,
    "digest": None,
}


def test_info_tells_what_is_served(cities, client):
    info = client.call("info")
    assert set(info) == {"server", "version", "pid", "tree", "generation", "refused"}
    assert info["refused"] is None
    assert info["server"] == "actd"
    assert info["version"] == client.call("hello")["version"]
    assert info["pid"] in [worker["pid"] for worker in cities.stats()["workers"]]
    assert info["generation"] == client.call("hello")["generation"]
    stat = paths.CITIES.stat()
    data = paths.CITIES.read_bytes()
    assert info["tree"].pop("probe") in ("mincore", "nowait", "none")
    assert info["tree"] == {
        "path": bytes(paths.CITIES),
        "format": "ACTree03",
        "values": "u64",
        "size_bytes": stat.st_size,
        "root_offset": int.from_bytes(data[8:16], "little"),
        "mtime_ms": stat.st_mtime_ns // 1000000,
        "held": "mapped",
        "damage": None,
        "metadata": NO_METADATA,
        "roots": [int.from_bytes(data[8:16], "little")],
    }


@pytest.mark.parametrize("probe", ["mincore", "nowait", "none"])
def test_info_tells_how_pages_are_asked_for(actd, probe):
    with actd(settings={"cold.probe": probe}).client() as client:
        assert client.call("info")["tree"]["probe"] == probe


def test_where_lookups_wait_pages_are_not_asked_for(actd):
    key = oracle_of(paths.CITIES).keys[5]
    with actd(settings={"cold.mode": "inline"}).client() as client:
        assert client.call("info")["tree"]["probe"] == "off"
        assert client.call("get", key) is not None
        stats = client.call("stats")
    assert set(stats["cold"].values()) == {0}
    assert stats["methods"]["get"]["offloaded"] == 0


def test_info_tells_the_metadata_of_a_built_file(actd, tmp_path):
    tree = tmp_path / "tree.act"
    before = int(time.time())
    actctl.build(tree, b"a\t1\nabc\t2\n", env={"SOURCE_DATE_EPOCH": ""})
    data = tree.read_bytes()
    with actd(tree).client() as client:
        metadata = client.call("info")["tree"]["metadata"]
    assert len(metadata["digest"]) == 16 and metadata.pop("digest") in data
    assert before <= metadata.pop("created_s") <= time.time()
    assert metadata.pop("table_min_children") > 1
    assert metadata == {"state": "full", "n_keys": 2, "longest_key_bytes": 3}


def test_info_tells_byte_values_and_a_time_that_is_not_recorded(actd):
    with actd(paths.BUILT / "e.act").client() as client:
        tree = client.call("info")["tree"]
    assert tree["values"] == "bytes"
    assert tree["metadata"]["n_keys"] == 18 and tree["metadata"]["longest_key_bytes"] == 3
    assert tree["metadata"]["digest"].hex() == "fb2a9aa1229e14ff0c6920021711d2e2"
    assert tree["metadata"]["created_s"] is None


def test_info_tells_damaged_metadata(actd, tmp_path):
    tree = tmp_path / "tree.act"
    actctl.build(tree, b"a\t1\n")
    with actd(tree).client() as client:
        digest = client.call("info")["tree"]["metadata"]["digest"]
    data = tree.read_bytes()
    tree.write_bytes(data.replace(digest, bytes(16)))
    with actd(tree).client() as client:
        metadata = client.call("info")["tree"]["metadata"]
        assert metadata == {**NO_METADATA, "state": "damaged"}
        assert client.call("get", b"a") == 1


def test_info_tells_the_roots_of_a_merged_file_newest_first(actd):
    base = (paths.EDGE / "m_base.stream.act").read_bytes()
    merged = (paths.EDGE / "merged1_stream.act").read_bytes()
    with actd(paths.EDGE / "merged1_stream.act").client() as client:
        roots = client.call("info")["tree"]["roots"]
    assert roots == [int.from_bytes(data[8:16], "little") for data in (merged, base)]


def test_the_identity_is_that_of_the_file_and_not_of_the_process(actd):
    with actd().client() as first, actd().client() as second:
        assert first.call("hello")["generation"] == second.call("hello")["generation"]
    with actd(paths.SHAKESPEARE).client() as other, actd().client() as first:
        assert other.call("hello")["generation"] != first.call("hello")["generation"]


def test_a_path_that_is_no_utf8_is_told_as_it_is(actd, tmp_path):
    tree = bytes(tmp_path) + b"/tree-\xff\xc3.act"
    with open(tree, "wb") as file:
        file.write((paths.CRAFTED / "kids_overrun.act").read_bytes())
    with actd(os.fsdecode(tree)).client() as client:
        assert client.call("info")["tree"]["path"] == tree
        with pytest.raises(rpc.RpcError) as caught:
            client.call("get", b"a")
        assert "tree-\\xff\\xc3.act" in caught.value.text


COUNTED = {
    "connections": {"open", "accepted", "timed_out", "broken", "evicted"},
    "requests": {"sliced", "running"},
    "traffic": {"read_bytes", "written_bytes"},
    "messages": {
        "refused", "notifications_ignored", "responses_ignored", "notifications_sent"
    },
    "cold": {
        "waiting", "queued", "threads", "probes", "gone_pages", "pages_read", "pages_shared",
        "refused", "timed_out", "released_bytes", "major_faults",
    },
    "loop": {"turns", "turns_measured", "major_faults", "switches"},
    "methods": set(METHODS),
}
STATS = COUNTED | {
    "process": {"uptime_ms", "workers", "serving"},
    "restarts": {"killed", "exited", "hung", "failed"},
    "faults": {"minor", "major"},
    "memory": {"rss_anon_bytes", "buffer_bytes", "age_ms", "refaults"},
    "profile": {"pages", "age_ms", "saves", "failures"},
    "tree": {
        "mapped_bytes",
        "pss_bytes",
        "pss_age_ms",
        "locked_bytes",
        "generation",
        "identity",
        "damaged",
        "reloading",
        "reloads",
        "refused",
    },
    "warmup": {"state", "mode", "read_bytes", "total_bytes", "eta_ms", "generation"},
}
WORKER_STATS = COUNTED | {
    "process": {"uptime_ms"},
    "faults": {"minor", "major"},
    "memory": {
        "rss_bytes",
        "rss_file_bytes",
        "rss_anon_bytes",
        "rss_shmem_bytes",
        "buffer_bytes",
        "age_ms",
    },
    "tree": {"generation", "pss_bytes", "locked_bytes"},
    "cold": COUNTED["cold"] | {"known_pages"},
}
METHOD_STATS = {
    "requests", "errors", "hits", "misses", "offloaded",
    "warm_p50_ns", "warm_p99_ns", "cold_p50_ns", "cold_p99_ns",
}


def test_stats_has_every_group_and_name(cities, client):
    cities.wait_stat("connections", "open", 1)  # another worker may still be closing one
    stats = client.call("stats")
    workers = stats.pop("workers")
    assert {group: set(names) for group, names in stats.items()} == STATS
    for counts in stats["methods"].values():
        assert set(counts) == METHOD_STATS
    assert stats["process"]["serving"] == stats["process"]["workers"] == len(workers)
    assert stats["restarts"] == {"killed": 0, "exited": 0, "hung": 0, "failed": 0}
    assert stats["tree"]["mapped_bytes"] == paths.CITIES.stat().st_size
    assert stats["tree"]["generation"] == stats["tree"]["reloads"] == 1
    assert stats["tree"]["identity"] == client.call("hello")["generation"]["identity"]
    assert stats["tree"]["damaged"] == stats["tree"]["refused"] == 0
    assert stats["connections"]["open"] == 1
    assert stats["warmup"] == {
        "state": "off",
        "mode": "none",
        "read_bytes": 0,
        "total_bytes": 0,
        "eta_ms": None,
        "generation": 0,
    }
    assert [worker["worker"] for worker in workers] == list(range(len(workers)))
    for worker in workers:
        os.stat(f"/proc/{worker.pop('pid')}")
        worker.pop("worker")
        assert {group: set(names) for group, names in worker.items()} == WORKER_STATS
        assert worker["tree"]["generation"] == 1


def test_an_identity_is_text_for_clients_that_ask_for_that(client):
    identity = client.call("stats")["tree"]["identity"]
    client.call("hello", {"u64": "str"})
    assert client.call("stats")["tree"]["identity"] == str(identity)


def count_of(before, after, method):
    first, last = (counts_of(stats["methods"][method]) for stats in (before, after))
    return {name: last[name] - first[name] for name in last}


def test_hits_misses_and_errors_are_counted_by_method(client):
    here, gone = ORACLE.keys[7], b"\xff"
    before = client.call("stats")
    calls = [["get", here]] * 3 + [["get", gone]] * 2 + [["get", 1]]
    calls += [["mget", [here, gone, here]]] * 4 + [["mget", 1]]
    calls += [["exists", here], ["exists", gone], ["node", here[:1]], ["node", gone]]
    calls += [["ping"], ["ping", 1]]
    client.pipeline(calls)
    after = client.call("stats")
    assert count_of(before, after, "get") == {"requests": 6, "hits": 3, "misses": 2, "errors": 1}
    assert count_of(before, after, "mget") == {"requests": 5, "hits": 8, "misses": 4, "errors": 1}
    assert count_of(before, after, "exists") == {"requests": 2, "hits": 1, "misses": 1, "errors": 0}
    assert count_of(before, after, "node") == {"requests": 2, "hits": 1, "misses": 1, "errors": 0}
    assert count_of(before, after, "ping") == {"requests": 2, "hits": 0, "misses": 0, "errors": 1}
    assert count_of(before, after, "stats")["requests"] == 1


# What does not fit.

EXT = msgpack.ExtType(5, b"abcdef")

NO_KEYS = [None, True, False, 0, 1, -1, -(2**40), 2**64 - 1, 1.5, [], [b"a"], {}, {b"a": 1}, EXT]
NO_KEY_LISTS = [None, True, 0, -1, 2**64 - 1, 1.5, "a", b"a", {}, {0: b"a"}, EXT]
NO_KEY_LISTS += [[bad] for bad in NO_KEYS] + [[b"a", b"b", None], [b"a"] * 100 + [1]]
NO_OPTIONS = [None, True, 0, -1, 1.5, "errors", b"errors", [], [["errors", True]], EXT]
NO_OPTIONS += [{"errors": bad} for bad in (None, 0, 1, "true", 1.0, [], {}, b"")]
NO_OPTIONS += [{"other": True}, {"errors": True, "other": 1}, {1: True}, {None: None}]

BAD_CALLS = (
    [[method, bad] for method in ("get", "exists", "node") for bad in NO_KEYS]
    + [["mget", bad] for bad in NO_KEY_LISTS]
    + [["mget", [b"a"], bad] for bad in NO_OPTIONS]
    + [["hello", bad] for bad in [None, True, 0, -1, 1.5, "errors", b"", [], [[]], EXT]]
    # The number of parameters.
    + [[method] for method in ("get", "mget", "exists", "node")]
    + [[method, b"a", b"b"] for method in ("get", "exists", "node")]
    + [["mget", [b"a"], {}, {}], ["hello", {}, {}]]
    + [[method, extra] for method in ("ping", "info", "stats") for extra in (None, b"a", {}, [])]
    + [["get", *[b"a"] * 1000]]
)


def test_whatever_does_not_fit_a_parameter_is_bad_params(client):
    calls = []
    for call in BAD_CALLS:
        calls += [call, ["ping"]]
    replies = client.pipeline(calls)
    for call, (error, _) in zip(calls[::2], replies[::2]):
        assert error and error[0] == rpc.BAD_PARAMS, (call, error)
        assert error[1].startswith("BAD_PARAMS: "), call
    assert all(result == "pong" for _, result in replies[1::2])


def twice(name, first, second):
    """A map of options in which one stands twice; also as bin, which is the same name."""
    return b"\x82" + rpc.pack(name) + rpc.pack(first) + rpc.pack(name.encode()) + rpc.pack(second)


@pytest.mark.parametrize("options", [twice("errors", True, False), twice("errors", True, True)])
def test_an_option_that_stands_twice_is_bad_params(client, options):
    client.send(b"\x94\x00\x63\xa4mget\x92\x91\xa1a" + options)
    _, error, _ = client.reply()
    assert error == [rpc.BAD_PARAMS, "BAD_PARAMS: the option errors stands twice"]
    assert client.is_usable()


@pytest.mark.parametrize("name, first, second", [("errors", "array", "string"),
                                                 ("u64", "str", "str")])
def test_an_option_of_hello_that_stands_twice_is_bad_params(client, name, first, second):
    client.send(b"\x94\x00\x63\xa5hello\x91" + twice(name, first, second))
    _, error, _ = client.reply()
    assert error == [rpc.BAD_PARAMS, f"BAD_PARAMS: the option {name} stands twice"]
    assert client.error_of("nonsense") == rpc.UNKNOWN_METHOD
    assert isinstance(client.call("hello")["generation"]["identity"], int)


UNKNOWN = ["scans", "GET", "get ", "", "get\x00", b"\xff\xfe", "x" * 100000, "ge", "gett"]


@pytest.mark.parametrize("method", UNKNOWN, ids=lambda name: repr(name)[:20])
def test_an_unknown_method_is_said_to_be_unknown(client, method):
    assert client.error_of(method) == rpc.UNKNOWN_METHOD
    assert client.error_of(method, b"a", {}) == rpc.UNKNOWN_METHOD
    assert client.is_usable()


def test_the_name_of_an_unknown_method_comes_back_printable(client):
    with pytest.raises(rpc.RpcError) as caught:
        client.call(b"\x1b[31m\xff\n")
    assert caught.value.text.isprintable() and caught.value.text.isascii()


BAD_REQUESTS = [
    [0, 7],
    [0, 7, "ping"],
    [0, 7, "ping", [], []],
    [0, 7, "ping", [], [], 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    [0, 7, "ping", None],
    [0, 7, "ping", {}],
    [0, 7, "ping", "params"],
    [0, 7, "ping", 1],
    [0, 7, 1, []],
    [0, 7, None, []],
    [0, 7, ["ping"], []],
    [0, 7, {}, []],
    [0, 7, True, []],
    [0, 7, 1.5, []],
    [0, 7, EXT, []],
]


@pytest.mark.parametrize("message", BAD_REQUESTS, ids=repr)
def test_a_message_that_is_no_request_is_answered_and_the_connection_stays(client, message):
    client.send(rpc.pack(message))
    msgid, error, result = client.reply()
    assert (msgid, result) == (7, None)
    assert error[0] == rpc.BAD_REQUEST and error[1].startswith("BAD_REQUEST: ")
    client.last_msgid = 100
    assert client.is_usable()


NO_MESSAGES = [
    b"\xc0",
    b"\x01",
    b"\xa4ping",
    b"\x80",
    b"\x90",
    b"\x91\x00",
    b"\x94\x03\x01\xa4ping\x90",
    b"\x94\xff\x01\xa4ping\x90",
    b"\x94\xa10\x01\xa4ping\x90",
    b"\x94\xca\x00\x00\x00\x00\x01\xa4ping\x90",
    b"\x94\xc0\x01\xa4ping\x90",
    b"\x94\x00\xff\xa4ping\x90",
    b"\x94\x00\xc0\xa4ping\x90",
    b"\x94\x00\xa11\xa4ping\x90",
    b"\x94\x00\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xa4ping\x90",
    b"\x94\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xa4ping\x90",
    b"\x94\x00\xd3\x80\x00\x00\x00\x00\x00\x00\x01\xa4ping\x90",
    b"\x94\x00\x90\xa4ping\x90",
    b"\xc1",
    b"\x94\x00\x07\xc1\x90",
    b"\x94\x00\x07\xa4ping\x91\xc1",
]


@pytest.mark.parametrize("message", NO_MESSAGES, ids=lambda message: message.hex())
def test_what_is_no_message_ends_the_connection_after_the_replies_before_it(cities, kind, message):
    with cities.client(getattr(cities, kind)) as client:
        broken = cities.stat("connections", "broken")
        client.send(rpc.request(1, "ping") + message + rpc.request(3, "ping"))
        assert client.rest() == [[1, 1, None, "pong"]]
        assert cities.stat("connections", "broken") == broken + 1


MSGIDS = [
    (b"\x00", 0),
    (b"\x7f", 127),
    (b"\xcc\x05", 5),
    (b"\xcd\x00\x06", 6),
    (b"\xce\xff\xff\xff\xff", 2**32 - 1),
    (b"\xcf\x00\x00\x00\x00\xff\xff\xff\xfe", 2**32 - 2),
    (b"\xd0\x08", 8),
    (b"\xd1\x00\x09", 9),
    (b"\xd2\x7f\xff\xff\xff", 2**31 - 1),
    (b"\xd3\x00\x00\x00\x00\x00\x00\x00\x0a", 10),
]


def test_message_ids_come_back_however_they_are_encoded(client):
    for encoded, msgid in MSGIDS:
        client.send(b"\x94\x00" + encoded + b"\xa4ping\x90")
        assert client.reply() == (msgid, None, "pong")
    # So do requests whose array, strings and type are not in their shortest form.
    head = b"\xdd\x00\x00\x00\x04\xcf" + bytes(8)
    client.send(head + b"\x0b\xdb\x00\x00\x00\x04ping\xdc\x00\x00")
    assert client.reply() == (11, None, "pong")


def test_notifications_and_responses_are_ignored_and_counted(actd, kind):
    daemon = actd()
    with daemon.client(getattr(daemon, kind)) as client:
        notifications = [[2, "ping", []], [2, b"nvim", [{}]], [2, "x"], [2, 1, 2], [2, None, None]]
        responses = [[1, 5, None, "pong"], [1, 5, [1, "x"], None], [1, 0]]
        for message in notifications + responses:
            client.send(rpc.pack(message))
        assert client.is_usable()
        messages = client.call("stats")["messages"]
        assert messages["notifications_ignored"] == len(notifications)
        assert messages["responses_ignored"] == len(responses)
        assert messages["refused"] == 0


def test_the_same_message_id_may_be_used_again(client):
    client.send(rpc.request(1, "ping") * 3)
    assert [client.message() for _ in range(3)] == [[1, 1, None, "pong"]] * 3


def test_refused_requests_are_counted(actd):
    with actd().client() as client:
        client.error_of("nonsense")
        client.send(rpc.pack([0, 2, "ping"]))
        client.reply()
        client.last_msgid = 2
        assert client.call("stats")["messages"]["refused"] == 2
