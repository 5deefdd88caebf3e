"""scan, range, mscan, count, longest_prefix, prefixes, next, prev, explore: what they refuse and
why, byte values, damage, and what happens to requests that take long.

What they find is test_oracle.py's matter, and what overtakes what test_slices.py's.
"""

import msgpack
import pytest

from lib import paths, rpc, tree_maker
from lib.daemon import Daemon, counts_of
from lib.oracle import Model
from lib.queries import BAD_CURSOR, LIMIT, Call, ask, cursor_at
from lib.tree_data import oracle_of
from lib.waiting import Clock

A = paths.DOC / "a.act"  # bar 1, barrel 300, dog 7, elog 0, fog 248
EXT = msgpack.ExtType(5, b"abcdef")

# A good call of each method, without options.
CALLS = {
    "scan": ["scan", b"a"],
    "range": ["range", b"a", None],
    "mscan": ["mscan", [b"a", b"b"]],
    "count": ["count", b"a"],
    "explore": ["explore", b"a"],
    "longest_prefix": ["longest_prefix", [b"a"]],
    "prefixes": ["prefixes", [b"a"]],
    "mget": ["mget", [b"a"]],
}

PAGE = ["limit", "max_bytes", "max_visited_nodes", "reverse", "keys_only", "pin"]
OPTIONS = {
    "scan": [*PAGE, "cursor"],
    "range": [*PAGE, "cursor"],
    "mscan": [*PAGE, "cursors"],
    "count": ["max_visited_nodes", "pin"],
    "explore": ["max_visited_nodes", "pin"],
    "longest_prefix": ["errors", "pin"],
    "prefixes": ["errors", "pin"],
    "mget": ["errors", "pin"],
}
ALL_OPTIONS = [*PAGE, "cursor", "cursors", "errors"]

# What an option is, in words, and what it is not.
NUMBER = "an integer of 1 or more", [None, True, 0, -1, -(2**63), 1.0, "1", b"1", [], {}, EXT]
IDENTITY = (
    "neither an integer nor decimal text",
    [None, True, -1, 1.0, "", "x", "-1", b"1 ", "1" * 21, str(2**64), [], {}, EXT],
)
BOOL = "true or false", [None, 0, 1, 1.0, "true", b"", [], {}, EXT]
KINDS = {
    "limit": NUMBER,
    "max_bytes": NUMBER,
    "max_visited_nodes": NUMBER,
    "reverse": BOOL,
    "keys_only": BOOL,
    "errors": BOOL,
    "pin": IDENTITY,
}
# The identity of the tree is put in by the test.
GOOD = {**dict.fromkeys(PAGE[:3], 2**64 - 1), "reverse": True, "keys_only": False, "errors": True}


@pytest.fixture(scope="module")
def daemon():
    with Daemon(A) as started:
        yield started




@pytest.fixture
def client(daemon, kind):
    with daemon.client(getattr(daemon, kind)) as connection:
        yield connection


def texts_of(client, calls):
    """The errors of calls that must all be BAD_PARAMS, without their name. The connection stays."""
    replies = client.pipeline([call for each in calls for call in (each, ["ping"])])
    assert replies[1::2] == [(None, "pong")] * len(calls)
    texts = []
    for call, (error, _) in zip(calls, replies[::2]):
        assert error and error[0] == rpc.BAD_PARAMS, (call, error)
        assert error[1].startswith("BAD_PARAMS: "), (call, error)
        texts.append(error[1][len("BAD_PARAMS: ") :])
    return texts


# Options.


@pytest.mark.parametrize("method", OPTIONS)
def test_an_option_of_a_wrong_type_is_named(client, method):
    wrong = [(name, bad) for name in OPTIONS[method] if name in KINDS for bad in KINDS[name][1]]
    texts = texts_of(client, [[*CALLS[method], {name: bad}] for name, bad in wrong])
    assert texts == [f"the option {name} is {KINDS[name][0]}" for name, _ in wrong]


def test_cursors_of_a_wrong_type_are_bad_params(client):
    for method in ("scan", "range"):
        calls = [[*CALLS[method], {"cursor": bad}] for bad in (True, 0, 1.5, [], [b"a"], {}, EXT)]
        assert set(texts_of(client, calls)) == {"the option cursor is neither bin nor nil"}
    wrong = [None, True, 0, 1.5, b"a", "a", {}, EXT]
    texts = texts_of(client, [[*CALLS["mscan"], {"cursors": bad}] for bad in wrong])
    assert set(texts) == {"the option cursors is not an array"}
    wrong = [[], [None], [None] * 3, [b""] * 1000]
    texts = texts_of(client, [[*CALLS["mscan"], {"cursors": bad}] for bad in wrong])
    wanted = "the option cursors has not as many elements as there are prefixes"
    assert set(texts) == {wanted}
    wrong = [[None, True], [1, None], [[], []], [None, 1.5], [None, EXT], [{}, None]]
    texts = texts_of(client, [[*CALLS["mscan"], {"cursors": bad}] for bad in wrong])
    assert set(texts) == {"an element of the option cursors is neither bin nor nil"}


@pytest.mark.parametrize("method", OPTIONS)
def test_an_option_that_the_method_has_not_is_named_and_those_that_it_has(client, method):
    names = OPTIONS[method]
    listed = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
    others = [name for name in ALL_OPTIONS if name not in names]
    others += ["", "Limit", "limits", "x" * 40, "pins"]
    texts = texts_of(client, [[*CALLS[method], {name: 1}] for name in others])
    plural = "s" if len(names) > 1 else ""
    assert texts == [
        f'{method} has the option{plural} {listed}, and not "{name}"' for name in others
    ]


@pytest.mark.parametrize("method", OPTIONS)
def test_options_that_are_no_map_and_names_that_are_no_strings(client, method):
    wrong = [None, True, 0, 1.5, "limit", b"", [], [["limit", 1]], EXT]
    texts = texts_of(client, [[*CALLS[method], bad] for bad in wrong])
    assert set(texts) == {"the options are not a map"}
    texts = texts_of(client, [[*CALLS[method], {bad: 1}] for bad in (None, True, 1, 1.5)])
    assert set(texts) == {"an option's name is not a string"}


@pytest.mark.parametrize("method", OPTIONS)
def test_an_option_that_stands_twice_is_bad_params(client, method):
    for name in OPTIONS[method]:
        good = GOOD.get(name, {"cursors": [None, None], "pin": "1"}.get(name))
        for second in (name, name.encode()):
            head = rpc.pack([0, client.next_msgid(), *CALLS[method][:1]])
            params = b"".join(rpc.pack(param) for param in CALLS[method][1:])
            options = rpc.pack(name) + rpc.pack(good) + rpc.pack(second) + rpc.pack(good)
            n_params = bytes([0x90 + len(CALLS[method])])
            client.send(b"\x94" + head[1:] + n_params + params + b"\x82" + options)
            _, error, _ = client.reply()
            assert error == [rpc.BAD_PARAMS, f"BAD_PARAMS: the option {name} stands twice"]
    assert client.is_usable()


@pytest.mark.parametrize("method", OPTIONS)
def test_all_options_together_are_fine_as_str_and_bin(client, method):
    options = {name: GOOD[name] for name in OPTIONS[method] if name in GOOD}
    options["pin"] = client.call("hello")["generation"]["identity"]
    wanted = client.call(*CALLS[method], options)
    assert client.call(*CALLS[method], {name.encode(): v for name, v in options.items()}) == wanted


def test_options_go_with_lists_of_keys_only(client):
    calls = [[method, b"a", options] for method in ("longest_prefix", "prefixes")
             for options in ({}, {"errors": True}, None, b"b")]
    assert set(texts_of(client, calls)) == {"options go with a list of keys only"}


# Keys, prefixes, bounds, and how many there are.


def test_what_is_no_key_is_named(client):
    bad = [None, True, 0, -1, 1.5, {}, {b"a": 1}, EXT]
    for method, what in (("scan", "prefix"), ("count", "prefix"), ("explore", "prefix"),
                         ("next", "key"), ("prev", "key"), ("longest_prefix", "key"),
                         ("prefixes", "key")):
        texts = texts_of(client, [[method, key] for key in bad])
        assert set(texts) == {f"the {what} is neither str nor bin"}, method
    for method in ("scan", "count", "explore", "next", "prev"):
        assert texts_of(client, [[method, [b"a"]]]) == texts_of(client, [[method, 1]])
    for method, what in (("mscan", "prefix"), ("longest_prefix", "key"), ("prefixes", "key")):
        texts = texts_of(client, [[method, [b"a", b"b", key]] for key in [*bad, [], [b"a"]]])
        assert set(texts) == {f"{what} 2 is neither str nor bin"}, method
    texts = texts_of(client, [["mscan", bad] for bad in (None, True, 1, 1.5, "a", b"a", {}, EXT)])
    assert set(texts) == {"the prefixes are not an array"}


def test_a_bound_of_a_range_is_a_key_or_nil(client):
    every = client.call("scan", b"")["entries"]
    assert client.call("range", None, None)["entries"] == every
    assert client.call("range", b"", None)["entries"] == every
    assert client.call("range", None, b"")["entries"] == []
    assert client.call("range", "dog", "dog\0")["entries"] == [[b"dog", 7]]
    assert client.call("range", b"fog", b"bar")["entries"] == []
    assert client.call("range", b"bar", b"bar")["entries"] == []
    bad = [True, False, 0, -1, 1.5, [], [b"a"], {}, EXT]
    calls = [["range", key, None] for key in bad] + [["range", b"a", key] for key in bad]
    assert set(texts_of(client, calls)) == {"the bound is neither str nor bin"}


COUNTS = {
    "scan": "1 or 2 parameters", "range": "2 or 3 parameters", "mscan": "1 or 2 parameters",
    "count": "1 or 2 parameters", "longest_prefix": "1 or 2 parameters",
    "prefixes": "1 or 2 parameters", "explore": "1 or 2 parameters",
    "next": "exactly 1 parameter", "prev": "exactly 1 parameter",
}


def test_the_number_of_parameters_is_named(client):
    for method, takes in COUNTS.items():
        wrong = [n for n in (0, 1, 2, 3, 4, 100) if str(n) not in takes.split()]
        texts = texts_of(client, [[method, *[b"a"] * n] for n in wrong])
        assert texts == [f"{method} takes {takes}, and not {n}" for n in wrong]


def test_lists_and_keys_are_taken_up_to_their_limits_and_no_further(actd, kind):
    daemon = actd(A, {"limits.max_keys": 3, "limits.max_key_bytes": 6})
    with daemon.client(getattr(daemon, kind)) as client:
        good, long = b"barrel", b"barrels"
        for method in ("mscan", "longest_prefix", "prefixes", "mget"):
            assert len(client.call(method, [good] * 3)) == 3
            assert client.error_of(method, [good] * 4) == rpc.TOO_LARGE
            assert client.error_of(method, [good, long]) == rpc.TOO_LARGE
        for method in ("scan", "count", "explore", "next", "prev", "longest_prefix", "prefixes",
                       "get", "exists", "node"):
            client.call(method, good)
            assert client.error_of(method, long) == rpc.TOO_LARGE
            with pytest.raises(rpc.RpcError) as caught:
                client.call(method, long)
            assert caught.value.text.endswith(" has 7 bytes, more than 6 (limits.max_key_bytes)")
        assert client.call("range", good, good)["entries"] == []
        assert client.error_of("range", long, None) == rpc.TOO_LARGE
        assert client.error_of("range", None, long) == rpc.TOO_LARGE
        assert client.is_usable()


def test_a_cursor_reaches_one_byte_behind_the_longest_key(actd, kind):
    daemon = actd(A, {"limits.max_key_bytes": 6})
    with daemon.client(getattr(daemon, kind)) as client:
        for is_reverse, wanted in ((False, []), (True, [b"barrel", b"bar"])):
            options = {"reverse": is_reverse, "keys_only": True}
            cursor = cursor_at(b"barrel\0", 0, is_reverse)
            assert client.call("scan", b"bar", {**options, "cursor": cursor})["entries"] == wanted
            pages = client.call("mscan", [b"bar"], {**options, "cursors": [cursor]})
            assert pages[0]["entries"] == wanted
            longer = cursor + b"\0"
            ask(client, [
                Call("scan", b"bar", {**options, "cursor": longer}, fails=BAD_CURSOR),
                Call("range", b"bar", None, {**options, "cursor": longer}, fails=BAD_CURSOR),
                Call("mscan", [b"bar"], {**options, "cursors": [longer]}, fails=BAD_CURSOR),
            ])


def test_a_bad_cursor_says_why(client):
    reasons = {
        b"": "that is no cursor of this server",
        b"\1" + bytes(7): "that is no cursor of this server",
        b"\3" + bytes(8) + b"bar": "that is no cursor of this server",
        cursor_at(b"barrel", 0, True): "the cursor is of a scan in the other direction",
        cursor_at(b"dog"): "the cursor is outside the scan's prefix or range",
        cursor_at(b"ba"): "the cursor is outside the scan's prefix or range",
    }
    for cursor, reason in reasons.items():
        calls = [["scan", b"bar", {"cursor": cursor}],
                 ["range", b"bar", b"bas", {"cursor": cursor}],
                 ["mscan", [b"", b"bar"], {"cursors": [None, cursor]}]]
        wanted = ([BAD_CURSOR, f"BAD_CURSOR: {reason}"], None)
        assert client.pipeline([*calls, ["ping"]]) == [wanted] * 3 + [(None, "pong")]


def test_a_cursor_at_the_end_of_a_range_has_nothing_left_or_everything(client):
    options = {"keys_only": True, "cursor": cursor_at(b"dog")}
    assert client.call("range", b"bar", b"dog", options)["entries"] == []
    options = {"keys_only": True, "reverse": True, "cursor": cursor_at(b"dog", 0, True)}
    assert client.call("range", b"bar", b"dog", options)["entries"] == [b"barrel", b"bar"]


def test_errors_come_as_text_where_the_client_wants_that(client):
    client.call("hello", {"errors": "string"})
    replies = client.pipeline([["scan", b"", {"limit": 0}], ["scan", b"", {"cursor": b""}],
                               ["scan", b"", {"max_visited_nodes": 1}]])
    names = [error.split(":")[0] for error, _ in replies]
    assert names == ["BAD_PARAMS", "BAD_CURSOR", "LIMIT"]


# Values.


def test_decimal_text_changes_values_and_identities_and_no_counts(client):
    plain = client.call("scan", b"")["generation"]
    client.call("hello", {"u64": "str"})
    generation = {"number": 1, "identity": str(plain["identity"])}
    page = client.call("scan", b"", {"limit": 2})
    identity = plain["identity"].to_bytes(8, "big")
    assert page == {"entries": [[b"bar", "1"], [b"barrel", "300"]], "generation": generation,
                    "cursor": b"\1" + identity + b"barrel\0"}
    wanted = {"entries": [[b"dog", "7"]], "cursor": None, "generation": generation}
    assert client.call("range", b"d", b"e") == wanted
    assert client.call("mscan", [b"d"]) == [wanted]
    assert client.call("count", b"") == {"count": 5, "exact": True}
    assert client.call("next", b"dog") == [b"elog", "0"]
    assert client.call("prev", b"dog") == [b"barrel", "300"]
    assert client.call("longest_prefix", b"barn") == [b"bar", "1"]
    assert client.call("prefixes", b"barrel") == [[b"bar", "1"], [b"barrel", "300"]]
    result = client.call("longest_prefix", [b"dogs", b"x"], {"errors": True})
    assert result == {"values": [[b"dog", "7"], None], "errors": []}
    assert client.call("explore", b"ba") == [[114, b"bar", "1", 2]]


def pairs_of_e():
    lines = (paths.BUILT / "e.tsv").read_bytes().splitlines()
    return [tuple(line.split(b"\t")) for line in lines]


def test_byte_values_come_as_bin_from_every_method(actd, kind):
    model = Model(pairs_of_e())
    daemon = actd(paths.BUILT / "e.act")
    with daemon.client(getattr(daemon, kind)) as client:
        for mode in ("int", "str"):
            client.call("hello", {"u64": mode})
            every = [model.entry(key) for key in model.keys]
            assert client.call("scan", b"")["entries"] == every
            assert client.call("scan", b"", {"reverse": True})["entries"] == every[::-1]
            assert client.call("range", b"kb", b"kd")["entries"] == [[b"kb", b"x"], [b"kc", b""]]
            pages = client.call("mscan", [b"kc", b"kp"])
            assert [page["entries"] for page in pages] == [
                [[b"kc", b""]], [[b"kp", b"x"], [b"kpq", b"x"]]
            ]
            assert client.call("count", b"k") == {"count": 18, "exact": True}
            assert client.call("next", b"k") == [b"ka", b"x"]
            assert client.call("prev", b"kd") == [b"kc", b""]
            assert client.call("longest_prefix", b"kc\0") == [b"kc", b""]
            assert client.call("prefixes", b"kpqr") == model.prefixes(b"kpqr")
            assert client.call("explore", b"k") == model.explore(b"k")
            assert client.call("explore", b"") == [[107, b"k", b"keys", 18]]


# How arrays are encoded whose length is not known before.


def raw_reply(client, *call):
    """The bytes of a reply."""
    client.send(rpc.request(1, *call))
    received, clock = b"", Clock()
    while True:
        unpacker = rpc.unpacker()
        unpacker.feed(received)
        try:
            unpacker.skip()
            return received
        except msgpack.OutOfData:
            client.sock.settimeout(clock.left("a reply"))
            received += client.sock.recv(1 << 20)


def test_array_heads_are_the_shortest_up_to_64_kib(actd, tmp_path):
    pairs = [(b"%02d" % i + bytes(1998), 1) for i in range(40)]
    pairs += [(b"a" * i, 2) for i in range(1, 1001)]
    tree = tree_maker.build(tmp_path / "t.act", pairs)
    with actd(tree).client() as client:
        for limit, head in ((1, b"\x91"), (15, b"\x9f"), (16, b"\xdc\x00\x10"),
                            (30, b"\xdc\x00\x1e"), (40, b"\xdd\x00\x00\x00\x28")):
            reply = raw_reply(client, "scan", b"", {"limit": limit})
            assert reply.startswith(b"\x94\x01\x01\xc0\x83\xa7entries" + head + b"\x92\xc5\x07\xd0")
            reply = raw_reply(client, "mscan", [b"x", b""], {"limit": limit})
            assert b"\xa7entries" + head + b"\x92\xc5\x07\xd0" in reply
        for n, head in ((0, b"\x90"), (1, b"\x91"), (15, b"\x9f"), (16, b"\xdc\x00\x10"),
                        (300, b"\xdc\x01\x2c"), (1000, b"\xdd\x00\x00\x03\xe8")):
            wanted = [[b"a" * i, 2] for i in range(1, n + 1)]
            body = b"".join(rpc.pack(entry) for entry in wanted)
            assert raw_reply(client, "prefixes", b"a" * n) == b"\x94\x01\x01\xc0" + head + body
            assert client.call("prefixes", [b"x", b"a" * n, b"a"]) == [[], wanted, [[b"a", 2]]]


def test_pages_that_fill_the_reply_together_are_too_large(actd):
    with actd(settings={"limits.max_reply_bytes": "4K"}).client() as client:
        page = client.call("scan", b"", {"keys_only": True})
        assert page["cursor"] is not None and len(rpc.pack(page)) <= 4096
        assert client.error_of("mscan", [b""] * 10) == rpc.TOO_LARGE
        pages = client.call("mscan", [b""] * 10, {"max_bytes": 200})
        assert all(0 < len(page["entries"]) < 50 and page["cursor"] for page in pages)


# Damage.


def test_damage_is_told_with_its_place(actd, kind):
    tree = paths.CRAFTED / "kids_overrun.act"
    daemon = actd(tree)
    text = (f"CORRUPT: {tree} is damaged at offset 18: "
            "fewer children than the child set says")
    with daemon.client(getattr(daemon, kind)) as client:
        identity = client.call("hello")["generation"]["identity"]
        cursor = cursor_at(b"\0\0", identity)
        for call in (["scan", b""], ["range", b"\0", b"b"], ["range", None, None, {"limit": 1}]):
            page = client.call(*call)
            assert (page["entries"], page["cursor"]) == ([[b"\0", 1]], cursor)
        calls = [["scan", b"", {"cursor": cursor}], ["range", None, b"b", {"cursor": cursor}],
                 ["scan", b"", {"reverse": True}], ["scan", b"a"], ["range", b"\1", b"b"],
                 ["mscan", [b"\0", b"a", b"\0"]], ["mscan", [b""], {"cursors": [cursor]}],
                 ["count", b""], ["next", b"\0"], ["prev", b"z"], ["explore", b""],
                 ["longest_prefix", b"ab"], ["prefixes", b"ab"]]
        assert client.pipeline(calls) == [([rpc.CORRUPT, text], None)] * len(calls)
        client.call("hello", {"errors": "string"})
        assert client.pipeline(calls) == [(text, None)] * len(calls)
        result = client.call("prefixes", [b"\0z", b"a"], {"errors": True})
        text = "CORRUPT: offset 18: fewer children than the child set says"
        assert result == {"values": [[[b"\0", 1]], None], "errors": [[1, text]]}


@pytest.fixture
def spoilt_values(tmp_path):
    """e.act, where the string that most keys have as value reaches out of the file."""
    data = bytearray((paths.BUILT / "e.act").read_bytes())
    assert data[101:103] == b"\1x"
    data[101] = 0xFF
    tree = tmp_path / "e.act"
    tree.write_bytes(data)
    return tree


def test_a_damaged_value_is_found_by_what_reads_it_and_no_other(actd, kind, spoilt_values):
    daemon = actd(spoilt_values)
    keys = [key for key, _ in pairs_of_e()]
    with daemon.client(getattr(daemon, kind)) as client:
        ask(client, [Call(*call, fails=rpc.CORRUPT) for call in (
            ["scan", b"ka"], ["scan", b"k", {"reverse": True}], ["range", b"kb", None],
            ["mscan", [b"kc", b"kd"]], ["next", b"k"], ["prev", b"kc"], ["explore", b"k"],
            ["longest_prefix", b"kaz"], ["prefixes", b"kpqr"])])
        for method, params, options, entry in (
            ("scan", [b""], {}, [b"k", b"keys"]),
            ("scan", [b""], {"limit": 1}, [b"k", b"keys"]),
            ("range", [b"kc", None], {}, [b"kc", b""]),
            ("range", [b"a", b"kd"], {"reverse": True}, [b"kc", b""]),
        ):
            page = client.call(method, *params, options)
            assert page["entries"] == [entry]
            after = {**options, "cursor": page["cursor"]}
            ask(client, [Call(method, *params, after, fails=rpc.CORRUPT)])
        assert client.call("scan", b"", {"keys_only": True})["entries"] == keys
        assert client.call("range", b"kc", b"kd")["entries"] == [[b"kc", b""]]
        assert client.call("count", b"") == {"count": 18, "exact": True}
        assert client.call("next", b"") == [b"k", b"keys"]
        assert client.call("prev", b"kd") == [b"kc", b""]
        assert client.call("explore", b"") == [[107, b"k", b"keys", 18]]
        assert client.call("longest_prefix", [b"ka", b"kcc"]) == [None, [b"kc", b""]]
        # The entry before the damaged one is taken back with it.
        result = client.call("prefixes", [b"kaz", b"kcz", b"z"], {"errors": True})
        assert result["values"] == [None, [[b"k", b"keys"], [b"kc", b""]], []]
        assert [index for index, _ in result["errors"]] == [0]


def test_damage_behind_a_thousand_prefixes_takes_them_all_back(actd, kind, tmp_path):
    """Over several slices, in the results and again where the errors are told."""
    pairs = [(b"a" * i, b"v") for i in range(1, 3000)] + [(b"a" * 3000, b"broken")]
    tree = tree_maker.build(tmp_path / "t.act", pairs, is_bytes=True)
    data = tree.read_bytes()
    assert data.count(b"\6broken") == 1
    tree.write_bytes(data.replace(b"\6broken", b"\xffbroken"))
    daemon = actd(tree)
    with daemon.client(getattr(daemon, kind)) as client:
        good = [[b"a" * i, b"v"] for i in range(1, 3000)]
        assert client.error_of("prefixes", b"a" * 3000) == rpc.CORRUPT
        assert client.call("prefixes", b"a" * 2999) == good
        keys = [b"a" * 3000, b"aa", b"a" * 3001, b"a" * 2999]
        assert client.call("prefixes", keys) == [None, good[:2], None, good]
        result = client.call("prefixes", keys, {"errors": True})
        assert result["values"] == [None, good[:2], None, good]
        assert [(index, error[0]) for index, error in result["errors"]] == [
            (0, rpc.CORRUPT), (2, rpc.CORRUPT)
        ]


# Requests that would take for ever.

FOREVER = 10**15
ENDLESS = [
    ["count", b""], ["scan", b""], ["scan", b"\1", {"reverse": True}], ["range", b"\1", b"\2"],
    ["mscan", [b"\xff", b"\2"]], ["next", b""], ["prev", b"\xff"],
    ["explore", b"\3", {"max_visited_nodes": FOREVER}],
]


@pytest.fixture
def endless(tmp_path):
    """A tree of 200^8 paths without a value, and one entry behind them."""
    return tree_maker.write_shared(tmp_path / "t.act", 8, 200, None, {b"\xff": 1})


@pytest.fixture
def start_endless(actd, endless):
    return lambda **settings: actd(endless, {
        "limits.max_visited_nodes": FOREVER,
        **{f"limits.{name}": value for name, value in settings.items()},
    })


def send_all(client, calls):
    client.send(b"".join(rpc.request(client.next_msgid(), *call) for call in calls))


def spoil(tree, how):
    """Cut off is a byte of a page that stays in memory."""
    size = tree.stat().st_size
    with open(tree, "r+b") as file:
        if how == "overwritten":
            file.write(bytes(size))
        else:
            file.truncate(size - 1)


@pytest.mark.parametrize("how", ["overwritten", "truncated"])
def test_a_file_spoilt_during_long_requests_makes_them_io_errors(start_endless, endless, kind, how):
    daemon = start_endless()
    with daemon.client(getattr(daemon, kind)) as client:
        send_all(client, ENDLESS)
        daemon.wait_stat("requests", "running", len(ENDLESS))
        assert client.is_usable()
        spoil(endless, how)
        replies = [client.reply() for _ in ENDLESS]
        assert sorted(msgid for msgid, _, _ in replies) == list(range(1, len(ENDLESS) + 1))
        text = f"IO_ERROR: the file was {how} in place"
        assert all(error == [rpc.IO_ERROR, text] for _, error, _ in replies)
        assert client.is_usable()
        stats = daemon.stats()
        assert stats["requests"] == {"sliced": len(ENDLESS), "running": 0}
        for method in {call[0] for call in ENDLESS}:
            n = sum(call[0] == method for call in ENDLESS)
            assert (stats["methods"][method]["requests"], stats["methods"][method]["errors"]) == (
                n, n
            )
        ask(client, [Call(*call, fails=rpc.IO_ERROR) for call in ENDLESS])
        daemon.wait_log("IO_ERROR")
        assert daemon.log.count("IO_ERROR") == 1


def test_beyond_max_sliced_requests_the_rest_of_the_connection_waits(start_endless, endless, kind):
    daemon = start_endless(max_sliced_requests=2)
    with daemon.client(getattr(daemon, kind)) as client, daemon.client() as other:
        send_all(client, [["count", b""], ["next", b""], ["ping"], ["ping"]])
        daemon.wait_stat("requests", "running", 2)
        assert daemon.stats()["methods"]["ping"]["requests"] == 0
        assert other.is_usable()
        spoil(endless, "overwritten")
        replies = {msgid: (error and error[0], result)
                   for msgid, error, result in [client.reply() for _ in range(4)]}
        failed, pong = (rpc.IO_ERROR, None), (None, "pong")
        assert replies == {1: failed, 2: failed, 3: pong, 4: pong}


@pytest.mark.alone
def test_a_connection_with_a_long_request_is_not_idle(start_endless, endless, kind):
    daemon = start_endless(idle_timeout_ms=1)
    with daemon.client(getattr(daemon, kind)) as client:
        send_all(client, [["count", b""]])
        daemon.wait_stat("requests", "running", 1)
        with daemon.client() as other:
            assert other.at_end()
        assert daemon.stats()["requests"]["running"] == 1
        spoil(endless, "overwritten")
        _, error, result = client.reply()
        assert error and error[0] == rpc.IO_ERROR, result
        assert client.at_end()


@pytest.mark.parametrize("n", [1, 15])
def test_a_client_that_resets_its_connection_takes_its_long_requests_along(start_endless, n):
    daemon = start_endless()
    client = daemon.client(daemon.tcp)
    send_all(client, [["count", b""]] * n)
    daemon.wait_stat("requests", "running", n)
    client.reset()
    daemon.wait_stat("requests", "running", 0)
    daemon.wait_stat("connections", "open", 0)
    assert daemon.stat("memory", "buffer_bytes") == 0


def test_a_request_that_does_not_end_ends_with_the_time_to_stop(start_endless, kind):
    daemon = start_endless(drain_timeout_ms=100)
    with daemon.client(getattr(daemon, kind)) as client:
        send_all(client, ENDLESS)
        daemon.wait_stat("requests", "running", len(ENDLESS))
        daemon.send_signal()
        assert client.at_end()


@pytest.mark.parametrize("call", ENDLESS, ids=lambda call: call[0])
def test_a_budget_ends_what_would_not_end(actd, endless, kind, call):
    daemon = actd(endless, {"limits.max_visited_nodes": 100000})
    with daemon.client(getattr(daemon, kind)) as client:
        wanted = {"count": 0, "exact": False} if call[0] == "count" else None
        ask(client, [Call(*call, wanted=wanted, fails=None if wanted else LIMIT)])
        assert client.is_usable()


# What is counted.


def test_hits_and_misses_are_entries_found_and_not_found(actd):
    with actd(A).client() as client:
        calls = [
            ["scan", b""], ["scan", b"bar", {"limit": 1}], ["scan", b"x"],
            ["range", b"d", None], ["range", b"e", b"d"],
            ["mscan", [b"bar", b"x", b"dog"]],
            ["count", b""], ["count", b"x"],
            ["longest_prefix", b"barn"], ["longest_prefix", [b"x", b"dogs", b"y"]],
            ["prefixes", b"barrel"], ["prefixes", b"x"], ["prefixes", [b"x", b"dogs"]],
            ["next", b"dog"], ["next", b"fog"], ["prev", b"bar"], ["prev", b"dog"],
            ["explore", b"ba"], ["explore", b"x"],
        ]
        client.results(calls)
        client.pipeline([[method] for method in COUNTS])
        methods = client.call("stats")["methods"]
    found = {name: (row["hits"], row["misses"]) for name, row in methods.items() if name in COUNTS}
    assert found == {
        "scan": (6, 0), "range": (3, 0), "mscan": (3, 0), "count": (0, 0),
        "longest_prefix": (2, 2), "prefixes": (2, 2), "next": (1, 1), "prev": (1, 1),
        "explore": (1, 1),
    }
    for method in COUNTS:
        n = sum(call[0] == method for call in calls)
        assert (methods[method]["requests"], methods[method]["errors"]) == (n + 1, 1)


def test_a_long_request_counts_each_entry_once(actd):
    oracle = oracle_of(paths.CITIES)
    with actd().client() as client:
        n = len(oracle.keys)
        page = client.call("scan", b"", {"limit": n, "max_bytes": 2**63, "keys_only": True})
        assert page["entries"] == oracle.keys
        keys = oracle.keys[:9000]
        assert client.call("mget", keys) == [oracle.get(key) for key in keys]
        stats = client.call("stats")
    counts = {"requests": 1, "errors": 0, "hits": n, "misses": 0}
    assert counts_of(stats["methods"]["scan"]) == counts
    assert stats["methods"]["mget"]["hits"] == 9000
    assert stats["requests"] == {"sliced": 2, "running": 0}
