"""Every query method against a sorted list, over trees of many shapes, by random calls."""

import contextlib
import itertools
import random

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import actctl, paths, rpc, tree_data, tree_maker
from lib.daemon import Daemon
from lib.flood import Flood
from lib.oracle import Model, after_all, left_at
from lib.queries import (
    BAD_CURSOR, LARGE, LIMIT, Bounds, Call, Maker, View, ask, cursor_at, follow, follow_all,
    near_key, number_of,
)
from lib.seed import SEED

# A round of random calls is one example: hypothesis gives its seed, and says it where one fails.
SEEDS = st.integers(0, 2**32 - 1)


# The oracle itself, against what the words of the specification say.


def plain_explore(keys, paths_, prefix):
    rows = []
    for byte in range(256):
        path = prefix + bytes([byte])
        if any(other.startswith(path) for other in paths_):
            below = sorted(key for key in keys if key.startswith(path))
            rows.append([byte, below[0] if below else None, len(below)])
    return rows


SHORT = st.text(alphabet="\x00a\xff", max_size=4).map(lambda text: text.encode("latin-1"))


@settings(max_examples=150)
@given(values=st.dictionaries(SHORT, st.integers(0, 2**64 - 1), max_size=12),
       dangling=st.lists(SHORT, max_size=3), key=SHORT, other=SHORT)
def test_the_oracle_says_what_the_words_say(values, dangling, key, other):
    model = Model(values.items(), dangling)
    keys = sorted(values)
    stored = {*values, *dangling}
    assert model.between(key, other) == [k for k in keys if key <= k < other]
    assert model.between(None, other) == [k for k in keys if k < other]
    assert model.between(key, None) == [k for k in keys if key <= k]
    assert model.below(key) == [k for k in keys if k.startswith(key)]
    assert model.count(key) == len(model.below(key))
    assert left_at(keys, key, False) == [k for k in keys if k >= key]
    assert left_at(keys, key, True) == [k for k in reversed(keys) if k < key]
    assert model.get(key) == values.get(key) and model.exists(key) == (key in values)
    assert model.next(key) == min(([k, v] for k, v in values.items() if k > key), default=None)
    assert model.prev(key) == max(([k, v] for k, v in values.items() if k < key), default=None)
    cuts = [key[:n] for n in range(len(key) + 1)]
    assert model.prefixes(key) == [[cut, values[cut]] for cut in cuts if cut in values]
    assert model.longest_prefix(key) == (model.prefixes(key) or [None])[-1]
    rows = plain_explore(keys, stored, key)
    assert [[row[0], row[1], row[3]] for row in model.explore(key)] == rows
    assert all(row[2] == values.get(row[1]) for row in model.explore(key))
    exists = key == b"" or any(path.startswith(key) for path in stored)
    children = bytes(row[0] for row in rows)
    assert model.node(key) == {"exists": exists, "value": values.get(key), "children": children}


@given(prefix=st.binary(max_size=3), key=st.binary(max_size=4))
def test_the_end_of_a_prefix_is_the_least_above_it(prefix, key):
    end = after_all(prefix)
    is_between = prefix <= key and (end is None or key < end)
    assert key.startswith(prefix) == is_between


def test_the_writer_for_odd_shapes_writes_what_it_is_told(tmp_path):
    for family in tree_maker.FAMILIES:
        pairs = tree_maker.contents(random.Random(3), family)
        tree = tree_maker.write(tmp_path / "t.act", dict(pairs))
        actctl.run("verify", tree)
        assert actctl.decode(actctl.output("dump", "--hex", tree), is_hex=True) == sorted(pairs)


def test_a_page_that_loses_or_repeats_an_entry_is_noticed():
    """The checks of pages, held against a right page and what may be wrong with one."""
    keys = [b"%d" % i for i in range(10)]
    view = View(Model((key, 1) for key in keys), {"number": 1, "identity": 7})
    options = {"limit": 3, "cursor": cursor_at(b"2")}
    entries = [[key, 1] for key in keys]
    right = {"entries": entries[2:5], "cursor": cursor_at(b"4\0", 7), "generation": view.generation}
    view.check_page(keys, options, right)
    view.check_page(keys, options, {**right, "cursor": cursor_at(b"5", 7)})
    view.check_page(keys, {"cursor": cursor_at(b"7")}, {**right, "entries": entries[7:],
                                                       "cursor": None})
    wrong = [
        {"entries": entries[2:4]}, {"entries": entries[3:6]}, {"entries": entries[1:4]},
        {"entries": entries[2:6]}, {"entries": []}, {"entries": keys[2:5]}, {"cursor": None},
        {"entries": [[b"2", 1], [b"3", 2], [b"4", 1]]}, {"cursor": cursor_at(b"4", 7)},
        {"cursor": cursor_at(b"5\0", 7)}, {"cursor": cursor_at(b"5", 7, True)},
        {"cursor": cursor_at(b"5", 8)}, {"generation": {"number": 2, "identity": 7}}, {"more": 1},
    ]
    for change in wrong:
        with pytest.raises(AssertionError):
            view.check_page(keys, options, {**right, **change})


# Random trees.


class Served:
    """A tree with its model, a daemon that serves it, and perhaps a flood of other requests."""

    def __init__(self, tree, model, options=None, has_flood=False):
        self.model = model
        self.budget = (options or {}).get("limits.max_visited_nodes")
        self.stack = contextlib.ExitStack()
        self.daemon = self.stack.enter_context(Daemon(tree, options))
        try:
            self.client = self.stack.enter_context(self.daemon.client())
            if has_flood:
                self.stack.enter_context(Flood.of(self.daemon, self.view()))
        except BaseException:
            self.daemon.kill()
            raise

    def view(self, u64="int", errors="array"):
        """The connection is in these modes from now on."""
        hello = self.client.call("hello", {"u64": u64, "errors": errors})
        return View(self.model, hello["generation"], u64 == "str", self.budget)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self.stack.__exit__(*error)


def dangling_paths(rng, model):
    """Paths to store without a value, none of which is a key."""
    found = {near_key(rng, model) + tree_maker.random_bytes(rng, rng.randrange(3))
             for _ in range(len(model.keys) // 4 + 3)}
    return sorted(found - set(model.keys))


def make_tree(directory, family, kind):
    rng = random.Random(f"{SEED} {family.__name__} {kind}")
    tree = directory / f"{family.__name__}.{kind}.act"
    pairs = tree_maker.contents(rng, family, kind == "bytes")
    model = Model(pairs)
    if kind == "dangling":
        model = Model(pairs, dangling_paths(rng, model))
        tree_maker.write(tree, {**dict.fromkeys(model.paths), **model.values})
    else:
        args = ["--plain"] if kind == "plain" else []
        tree_maker.build(tree, pairs, *args, is_bytes=kind == "bytes")
    return tree, model


def random_trees():
    """Each family with tables and with byte values, and without tables or with dangling paths."""
    for i, family in enumerate(tree_maker.FAMILIES):
        for kind in ("tables", "bytes", ("plain", "dangling")[i % 2]):
            yield pytest.param((family, kind, i), id=f"{family.__name__}-{kind}-{SEED}")


@pytest.fixture(scope="module", params=random_trees())
def served(request, tmp_path_factory):
    family, kind, i = request.param
    tree, model = make_tree(tmp_path_factory.mktemp("tree"), family, kind)
    with Served(tree, model, has_flood=kind == "tables" and i % 3 == 1) as one:
        yield one


MODES = st.fixed_dictionaries({"u64": st.sampled_from(["int", "str"]),
                               "errors": st.sampled_from(["array", "string"])})


@settings(max_examples=15)
@given(seed=SEEDS, modes=MODES)
def test_random_queries_are_answered_as_the_oracle_says(served, seed, modes):
    maker = Maker(served.view(**modes), random.Random(seed))
    ask(served.client, [maker.call() for _ in range(60)])


PAGES = [{"limit": 1}, {"max_bytes": 1}, {"limit": 7}, {"max_bytes": 100}, {"limit": 3,
         "max_bytes": 60}, {"max_visited_nodes": 50}, {"limit": 2**64 - 1}, {}]


@settings(max_examples=8)
@given(seed=SEEDS, size=st.sampled_from(PAGES), is_reverse=st.booleans(), keys_only=st.booleans())
def test_cursors_lead_through_all_entries(served, seed, size, is_reverse, keys_only):
    view = served.view()
    maker = Maker(view, random.Random(seed))
    options = {**size, "reverse": is_reverse, "keys_only": keys_only}
    if "max_visited_nodes" in options:
        options["max_visited_nodes"] = max(50, view.enough)
    prefixes = [prefix for prefix in [maker.prefix() for _ in range(4)]
                if served.model.count(prefix) < 400]
    for prefix in prefixes:
        follow(served.client, view, "scan", [prefix], served.model.below(prefix), options)
    start, end = maker.range_bounds()
    keys = Bounds(served.model, start, end).keys
    if len(keys) < 400:
        follow(served.client, view, "range", [start, end], keys, options)
    if "max_visited_nodes" not in options:
        follow_all(served.client, view, prefixes, options)


VALUES = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))


@settings(max_examples=40)
@given(values=st.dictionaries(SHORT, VALUES, max_size=8), dangling=st.lists(SHORT, max_size=2),
       rng=st.randoms(use_true_random=False))
def test_small_trees_are_answered_as_the_oracle_says(tmp_path, values, dangling, rng):
    """Where the others find something, this one finds a small example of it."""
    model = Model(values.items(), dangling)
    tree = tree_maker.write(tmp_path / "t.act", {**dict.fromkeys(dangling), **values})
    with Served(tree, model) as one:
        maker = Maker(one.view(), rng)
        ask(one.client, [maker.call() for _ in range(25)])


# The trees of the test data.

EDGES = [tree for tree in tree_data.good_trees() if ".zipper" not in tree.name
         and tree not in (paths.CITIES, paths.SHAKESPEARE)]


def model_of(tree):
    return Model(tree_data.oracle_of(tree).pairs)


@pytest.mark.parametrize("tree", [pytest.param(tree, id=tree.name) for tree in EDGES[::2]])
def test_the_trees_of_the_test_data_are_answered_as_the_oracle_says(tree):
    with Served(tree, model_of(tree), {"limits.max_key_bytes": "128K"}) as one:
        maker = Maker(one.view(), random.Random(SEED))
        ask(one.client, [maker.call() for _ in range(60)])
        for is_reverse in (False, True):
            if len(one.model.keys) < 300:
                keys, options = one.model.keys, {"limit": 1, "reverse": is_reverse}
                follow(one.client, maker.view, "scan", [b""], keys, options)


def test_a_large_tree_is_answered_as_the_oracle_says_while_others_scan_it():
    with Served(paths.CITIES, model_of(paths.CITIES), has_flood=True) as one:
        maker = Maker(one.view(), random.Random(SEED))
        for _ in range(3):
            ask(one.client, [maker.call() for _ in range(60)])
        for is_reverse in (False, True):
            options = {"limit": LARGE, "max_bytes": 300000, "reverse": is_reverse}
            follow(one.client, maker.view, "scan", [b""], one.model.keys, options)


# What an odd file holds: keys, and paths without a value.
ODD = {
    "dangling_leaf": ({b"b": 1}, [b"a"]),
    "garbage_tail": ({b"": 1}, []),
    "line_bits": ({b"ab": 9}, []),
    "line_line": ({b"road": 7}, []),
    "line_value_child": ({b"road": 1, b"roadx": 3}, []),
    "line_value_child2": ({b"road": 1, b"roadx": 3, b"roady": 4}, []),
    "mask_field32_pop5": ({b"!": 1, b'"': 2, b"#": 3, b"$": 4, b"%": 5}, []),
    "noncanon": ({b"a": 5, b"b": 6}, []),
    "nopad_page": ({b"q": 5}, []),
    "trailer_loop": ({b"": 1}, []),
    "unsorted": ({b"a": 1, b"b": 2}, []),
}


@pytest.mark.parametrize("name", sorted(ODD))
def test_odd_trees_are_answered_as_the_oracle_says(name):
    values, dangling = ODD[name]
    with Served(paths.CRAFTED / f"{name}.act", Model(values.items(), dangling)) as one:
        maker = Maker(one.view(), random.Random(SEED))
        ask(one.client, [maker.call() for _ in range(120)])


def corrupt(*calls):
    return [Call(*call, fails=rpc.CORRUPT) for call in calls]


ALL_METHODS = [
    ["scan", b""], ["scan", b"", {"reverse": True}], ["range", None, None], ["mscan", [b""]],
    ["count", b""], ["explore", b""],
]


@pytest.mark.parametrize("name", ["child_self", "count33", "line_fwd", "line_len0"])
def test_a_tree_whose_root_is_damaged_is_corrupt_for_every_method(actd, name):
    with actd(paths.CRAFTED / f"{name}.act").client() as client:
        ask(client, corrupt(*ALL_METHODS, ["prefixes", b"a"], ["longest_prefix", b"a"],
                            ["next", b""], ["prev", b"b"]))
        assert client.call("longest_prefix", [b"a", b"a"]) == [None, None]
        assert client.call("prefixes", [b"a"]) == [None]
        for method in ("longest_prefix", "prefixes"):
            result = client.call(method, [b"a", b"b"], {"errors": True})
            assert result["values"] == [None, None]
            assert [index for index, _ in result["errors"]] == [0, 1]


def test_what_lies_beside_the_damage_is_answered(actd):
    """Of the children 00, a and b only the first is there."""
    with actd(paths.CRAFTED / "kids_overrun.act").client() as client:
        ask(client, corrupt(["scan", b"", {"reverse": True}], ["count", b""], ["explore", b""],
                            ["scan", b"a"], ["count", b"b"], ["next", b"\0"],
                            ["mscan", [b"\0", b"a"]], ["longest_prefix", b"ab"],
                            ["prefixes", b"b"]))
        first = [b"\0", 1]
        assert client.call("scan", b"\0")["entries"] == [first]
        assert client.call("count", b"\0") == {"count": 1, "exact": True}
        assert client.call("scan", b"z")["entries"] == []
        assert client.call("next", b"") == first
        assert client.call("prev", b"\1") == first
        keys = [b"\0x", b"a", b"z", b"bb"]
        assert client.call("longest_prefix", keys) == [first, None, None, None]
        assert client.call("prefixes", keys) == [[first], None, [], None]
        for method in ("longest_prefix", "prefixes"):
            errors = client.call(method, keys, {"errors": True})["errors"]
            assert [(index, number_of(error)) for index, error in errors] == [
                (1, rpc.CORRUPT), (3, rpc.CORRUPT)
            ]


def page_before(client, number, method, *params):
    """The entries of a page behind which a walk fails with that error; the next page tells it."""
    page = client.call(method, *params)
    ask(client, [Call(method, *params, {"cursor": page["cursor"]}, fails=number)])
    return page["entries"]


def test_what_comes_before_the_damage_can_be_read(actd):
    with actd(paths.CRAFTED / "kids_overrun.act").client() as client:
        for call in (["scan", b""], ["range", None, None], ["range", b"\0", b"b"]):
            assert page_before(client, rpc.CORRUPT, *call) == [[b"\0", 1]]
        keys = client.call("scan", b"", {"limit": 1, "keys_only": True})
        assert keys["entries"] == [b"\0"] and keys["cursor"] is not None
        [page] = client.call("mscan", [b""])
        assert page["entries"] == [[b"\0", 1]]
        ask(client, corrupt(["mscan", [b""], {"cursors": [page["cursor"]]}]))


# Cursors and parameters that make no sense.

# doc/a.act: bar, barrel, dog, elog, fog.
REFUSED_CURSORS = [
    # (prefix, reverse, cursor)
    *[(b"", False, cursor_at(b"")[:n]) for n in range(9)],
    *[(b"", False, bytes([head]) + cursor_at(b"dog")[1:]) for head in (0, 3, 49, 128, 255)],
    (b"", False, cursor_at(b"dog", 0, True)),
    (b"", True, cursor_at(b"dog")),
    (b"", True, b"dog"),
    (b"bar", False, cursor_at(b"ba")),
    (b"bar", False, cursor_at(b"")),
    (b"bar", False, cursor_at(b"bas\0")),
    (b"bar", False, cursor_at(b"dog")),
    (b"bar", True, cursor_at(b"baq\xff", 0, True)),
    (b"bar", True, cursor_at(b"b", 0, True)),
    (b"bar", True, cursor_at(b"elog", 0, True)),
    (b"\xff", False, cursor_at(b"\xfe\xff\xff")),
    (b"nothing", False, cursor_at(b"dog")),
]

REFUSED_IN_RANGES = [
    # (from, to, reverse, position)
    (b"bar", b"dog", False, b"ba"),
    (b"bar", b"dog", False, b"doga"),
    (b"bar", b"dog", True, b"ba"),
    (b"bar", b"dog", True, b"elog"),
    (None, b"dog", False, b"fog"),
    (b"dog", None, False, b"bar"),
    (b"dog", None, True, b"bar"),
]


def test_cursors_of_no_page_of_the_scan_are_refused(actd):
    with actd(paths.DOC / "a.act").client() as client:
        calls = []
        for prefix, is_reverse, cursor in REFUSED_CURSORS:
            options = {"reverse": is_reverse}
            calls.append(["scan", prefix, {**options, "cursor": cursor}])
            calls.append(["mscan", [b"", prefix], {**options, "cursors": [None, cursor]}])
        for start, end, is_reverse, position in REFUSED_IN_RANGES:
            cursor = cursor_at(position, 0, is_reverse)
            calls.append(["range", start, end, {"cursor": cursor, "reverse": is_reverse}])
        ask(client, [Call(*call, fails=BAD_CURSOR) for call in calls])
        assert client.is_usable()


def test_a_cursor_goes_on_in_another_tree(actd, tmp_path):
    """In what is served now: a key that has come behind the cursor is there, one before is not."""
    keys = [b"a", b"b", b"c", b"d", b"e"]
    others = [b"aa", b"b", b"bb", b"d", b"dd", b"e"]
    tree_maker.build(tmp_path / "1.act", [(key, 1) for key in keys])
    tree_maker.build(tmp_path / "2.act", [(key, 2) for key in others])
    with actd(tmp_path / "1.act").client() as first, actd(tmp_path / "2.act").client() as second:
        page = first.call("scan", b"", {"limit": 3, "keys_only": True})
        assert page["entries"] == keys[:3]
        assert page["cursor"][1:9] == page["generation"]["identity"].to_bytes(8, "big")
        options = {"cursor": page["cursor"], "keys_only": True}
        later = second.call("scan", b"", options)
        assert later["entries"] == [b"d", b"dd", b"e"]
        assert later["generation"]["identity"] != page["generation"]["identity"]
        page = first.call("range", b"b", None, {"limit": 2, "keys_only": True, "reverse": True})
        options = {"cursor": page["cursor"], "keys_only": True, "reverse": True}
        assert second.call("range", b"b", None, options)["entries"] == [b"bb", b"b"]


EXT = msgpack.ExtType(5, b"abcdef")
NO_BYTES = [True, False, 0, -1, 1.5, [], [b"a"], {}, EXT]
NO_COUNT = [None, True, 0, -1, -(2**63), 1.0, "1", b"1", [], [1], {}, EXT]
NO_PIN = [None, True, -1, 1.0, "", "x", "1 ", [], {}, EXT]
NO_BOOL = [None, 0, 1, "true", b"", [], {}, 1.0, EXT]
NO_OPTIONS = [None, True, 0, "limit", b"", [], [["limit", 1]], EXT, {"other": 1}, {"": 1}, {1: 1},
              {None: 1}, {"limit\0": 1}, {"x" * 1000: 1}]

# A call without options, the options that it takes, and some that it does not.
PAGE = {"limit": NO_COUNT, "max_bytes": NO_COUNT, "reverse": NO_BOOL, "keys_only": NO_BOOL,
        "max_visited_nodes": NO_COUNT, "pin": NO_PIN}
BUDGET = {"max_visited_nodes": NO_COUNT, "pin": NO_PIN}
LIST = {"errors": NO_BOOL, "pin": NO_PIN}
OPTIONS = [
    (["scan", b"a"], {**PAGE, "cursor": NO_BYTES}, ["cursors", "errors", "u64"]),
    (["range", None, None], {**PAGE, "cursor": NO_BYTES}, ["cursors", "errors", "prefix"]),
    (["mscan", [b"a", b"b"]],
     {**PAGE, "cursors": [True, 1, b"a", "a", {}, [], [None], [None] * 3, [None, 1], [1, None],
                          [None, True], [[], []], [None, EXT]]}, ["cursor", "errors"]),
    (["count", b"a"], BUDGET, ["limit", "cursor", "keys_only"]),
    (["explore", b"a"], BUDGET, ["limit", "cursor", "reverse"]),
    (["longest_prefix", [b"a"]], LIST, ["limit", "max_visited_nodes"]),
    (["prefixes", [b"a"]], LIST, ["limit", "cursor", "max_visited_nodes"]),
]

ONE_KEY = ["scan", "count", "explore", "next", "prev", "longest_prefix", "prefixes"]

BAD_CALLS = [
    *[[method, bad] for method in ONE_KEY for bad in [None, *NO_BYTES]
      if not (isinstance(bad, list) and method in ("longest_prefix", "prefixes"))],
    *[[method, [b"a", bad]] for method in ("longest_prefix", "prefixes", "mscan")
      for bad in [None, *NO_BYTES]],
    *[["range", bad, b"a"] for bad in NO_BYTES],
    *[["range", b"a", bad] for bad in NO_BYTES],
    *[["mscan", bad] for bad in [None, True, 0, 1.5, "a", b"a", {}, {b"a": 1}, EXT]],
    *[[method] for method in [*ONE_KEY, "mscan", "range"]],
    ["range", b"a"], ["range", b"a", b"b", {}, {}], ["range", b"a", {}], ["scan", b"a", {}, {}],
    ["mscan", [b"a"], {}, {}], ["next", b"a", {}], ["prev", b"a", {}], ["next", b"a", b"b"],
    ["count", b"a", {}, {}], ["explore", b"a", b"b"], ["longest_prefix", b"a", b"b"],
    ["prefixes", [b"a"], {}, {}], ["scan", *[b"a"] * 100],
    *[[*call, bad] for call, _, _ in OPTIONS for bad in NO_OPTIONS],
    *[[*call, {name: bad}] for call, taken, _ in OPTIONS
      for name, bads in taken.items() for bad in bads],
    *[[*call, {name: 1}] for call, _, others in OPTIONS for name in others],
    *[[*call, {name: True, "errors": True}] for call, _, others in OPTIONS for name in others
      if name != "errors"],
]


def test_every_prefix_of_a_key_is_counted(actd):
    """Also those that end within a line."""
    model = model_of(paths.DOC / "a.act")
    cuts = {key[:n] for key in model.keys for n in range(len(key) + 1)}
    with actd(paths.DOC / "a.act").client() as client:
        ask(client, [Call("count", cut, wanted={"count": model.count(cut), "exact": True})
                     for cut in sorted(cuts)])


def test_what_does_not_fit_a_query_is_bad_params(actd, kind):
    daemon = actd(paths.DOC / "a.act")
    with daemon.client(getattr(daemon, kind)) as client:
        calls = [Call(*call, fails=rpc.BAD_PARAMS) for call in BAD_CALLS]
        ask(client, calls)
        view = View(model_of(paths.DOC / "a.act"), client.call("hello")["generation"])
        maker = Maker(view, random.Random(SEED))
        mixed = [call for bad in calls for call in (bad, maker.call())]
        ask(client, mixed)


def test_options_and_bounds_may_be_str_or_bin(actd):
    with actd(paths.DOC / "a.act").client() as client:
        wanted = client.call("scan", b"bar", {"limit": 1, "keys_only": True})
        assert client.call("scan", "bar", {b"limit": 1, b"keys_only": True}) == wanted
        keys = client.call("range", "bar", b"dog", {"keys_only": True})["entries"]
        assert keys == [b"bar", b"barrel"]


# Limits.


def small(tmp_path, name="t.act", family=tree_maker.numbers):
    rng = random.Random(SEED)
    pairs = tree_maker.contents(rng, family)
    return tree_maker.build(tmp_path / name, pairs), Model(pairs)


@pytest.mark.parametrize("family", [tree_maker.three_letters, tree_maker.syllables,
                                    tree_maker.least_and_greatest_bytes, tree_maker.numbers],
                         ids=lambda family: family.__name__)
def test_a_small_budget_ends_requests_and_cursors_go_on(tmp_path, family):
    tree, model = small(tmp_path, family=family)
    for budget in (1, 7, 30, View(model, {"identity": 0}).enough):
        with Served(tree, model, {"limits.max_visited_nodes": budget}) as one:
            maker = Maker(one.view(), random.Random(SEED))
            ask(one.client, [maker.call() for _ in range(100)])
            for options in ({}, {"reverse": True}, {"limit": 3, "max_visited_nodes": LARGE}):
                found = follow(one.client, maker.view, "scan", [b""], model.keys, options)
                assert found or budget < maker.view.enough
            # Each key is a node at least.
            count = one.client.call("count", b"", {"max_visited_nodes": LARGE})
            assert count["exact"] is False or budget >= len(model.keys)


def test_pages_fit_into_the_greatest_reply(tmp_path):
    tree, model = small(tmp_path)
    with Served(tree, model, {"limits.max_reply_bytes": "1K"}) as one:
        view = one.view()
        view.budget = LARGE  # What does not fit is cut off, as where a budget ends.
        for options in ({}, {"reverse": True}, {"keys_only": True, "max_bytes": LARGE}):
            follow(one.client, view, "scan", [b""], model.keys, options)
            follow(one.client, view, "range", [b"1", b"3"], model.between(b"1", b"3"), options)
        page = one.client.call("scan", b"")
        assert 512 < len(rpc.pack([1, 2, None, page])) <= 1024


def test_an_entry_that_fits_no_reply_is_too_large(actd, tmp_path):
    tree = tree_maker.build(tmp_path / "t.act", [(b"a" * 2000, 1), (b"b", 2)])
    with actd(tree, {"limits.max_reply_bytes": "1K"}).client() as client:
        ask(client, [Call(*call, fails=rpc.TOO_LARGE) for call in (
            ["scan", b""], ["next", b""], ["prev", b"b"], ["explore", b""], ["mscan", [b"a"]],
            ["prefixes", b"a" * 3000], ["longest_prefix", b"a" * 2000])])
        assert client.call("scan", b"b")["entries"] == [[b"b", 2]]
        assert client.call("count", b"") == {"count": 2, "exact": True}


def test_keys_up_to_the_limit_are_walked_and_longer_ones_are_too_large(tmp_path):
    """Cursors behind the longest key that is allowed, in both directions."""
    keys = [b"", b"k" * 1023, b"k" * 1024, b"\xff" * 1024, b"\xff" * 1023 + b"\0", b"a" * 1024]
    model = Model((key, i) for i, key in enumerate(keys))
    tree = tree_maker.build(tmp_path / "t.act", model.values.items())
    with Served(tree, model, {"limits.max_key_bytes": "1K"}) as one:
        view = one.view()
        for prefix in (b"", b"k", b"\xff" * 1023, b"k" * 1024):
            for is_reverse in (False, True):
                options = {"limit": 1, "reverse": is_reverse}
                follow(one.client, view, "scan", [prefix], model.below(prefix), options)
        for entry in model.values.items():
            key = entry[0]
            ask(one.client, [Call("next", key, wanted=model.next(key)),
                             Call("prev", key, wanted=model.prev(key)),
                             Call("get", key, wanted=entry[1])])
        long = b"k" * 1025
        ask(one.client, [Call(*call, fails=rpc.TOO_LARGE) for call in (
            ["get", long], ["scan", long], ["range", long, None], ["range", None, long],
            ["mscan", [b"", long]], ["count", long], ["next", long], ["prev", long],
            ["explore", long], ["longest_prefix", long], ["prefixes", [b"", long]])])
        assert one.client.is_usable()


def test_a_longer_key_on_the_way_is_too_large(actd, tmp_path):
    tree = tree_maker.build(tmp_path / "t.act", [(b"a", 1), (b"b" * 1025, 2), (b"c", 3)])
    with actd(tree, {"limits.max_key_bytes": "1K"}).client() as client:
        ask(client, [Call(*call, fails=rpc.TOO_LARGE) for call in (
            ["count", b""], ["explore", b""], ["next", b"a"], ["prev", b"c"], ["scan", b"b"])])
        assert page_before(client, rpc.TOO_LARGE, "scan", b"") == [[b"a", 1]]
        reverse = client.call("scan", b"", {"reverse": True})
        assert reverse["entries"] == [[b"c", 3]]
        ask(client, [Call("scan", b"", {"reverse": True, "cursor": reverse["cursor"]},
                          fails=rpc.TOO_LARGE)])
        for is_reverse in (False, True):
            assert client.call("scan", b"a", {"reverse": is_reverse})["entries"] == [[b"a", 1]]
            assert client.call("scan", b"c", {"reverse": is_reverse})["entries"] == [[b"c", 3]]
        assert client.call("next", b"") == [b"a", 1]
        assert client.call("longest_prefix", b"b" * 1024) is None


def test_lists_have_the_limit_of_keys(actd):
    with actd(paths.DOC / "a.act", {"limits.max_keys": 3}).client() as client:
        for method in ("mscan", "longest_prefix", "prefixes"):
            ask(client, [Call(method, [b"a"] * 4, fails=rpc.TOO_LARGE)])
            assert len(client.call(method, [b"a"] * 3)) == 3


def test_wide_gaps_between_entries_are_crossed(tmp_path):
    """Some thousand positions without a value stand between two entries: several slices."""
    rng = random.Random(SEED)
    dangling = [bytes(digits) for digits in itertools.product(range(97, 109), repeat=4)]
    pairs = [(rng.choice(dangling) + b"x", i) for i in range(4)] + [(b"", 9), (b"\xff", 10)]
    model = Model(pairs, dangling)
    tree = tree_maker.write(tmp_path / "t.act", {**dict.fromkeys(dangling), **model.values})
    with Served(tree, model) as one:
        maker = Maker(one.view(), rng)
        steps = ["next", "prev", "scan", "range", "mscan", "explore", "count"]
        ask(one.client, [maker.call(steps) for _ in range(300)])
        for is_reverse in (False, True):
            options = {"limit": 1, "reverse": is_reverse}
            follow(one.client, maker.view, "scan", [b""], model.keys, options)


# Files that hold more than they have bytes: only a budget ends what goes through them.


def test_a_budget_ends_a_walk_through_a_shared_tree(actd, tmp_path):
    tree = tree_maker.write_shared(tmp_path / "t.act", 5, 200, 7, {b"\xff": 1, b"\xfeab": None})
    with actd(tree, {"limits.max_visited_nodes": 100000}).client() as client:
        count = client.call("count", b"")
        assert count["exact"] is False and 10000 < count["count"] < 200**5
        assert client.call("count", b"\1\2\3\4")["count"] == 200
        rows = client.call("explore", b"")
        assert [row[0] for row in rows] == [*range(200), 254, 255]
        assert [row[1:3] for row in rows[:200]] == [[bytes([i, 0, 0, 0, 0]), 7] for i in range(200)]
        assert rows[200:] == [[254, None, None, 0], [255, b"\xff", 1, 1]]
        assert rows[7][3] is None
        page = client.call("scan", b"\3\3", {"keys_only": True, "limit": 50000})
        every = [b"\3\3" + bytes([i, j, k])
                 for i in range(2) for j in range(200) for k in range(200)]
        assert page["entries"] == every[:50000]
        assert left_at(every, page["cursor"][9:], False) == every[50000:]


def test_a_budget_ends_a_walk_that_finds_nothing(actd, tmp_path):
    tree = tree_maker.write_shared(tmp_path / "t.act", 5, 200, None, {b"\xff": 1})
    with actd(tree).client() as client:
        options = {"max_visited_nodes": 100000}
        ask(client, [
            Call("scan", b"", options, fails=LIMIT),
            Call("scan", b"\1", {**options, "reverse": True}, fails=LIMIT),
            Call("mscan", [b"\xff", b"\1"], options, fails=LIMIT),
            Call("explore", b"", options, fails=LIMIT),
            Call("count", b"\1", options, wanted={"count": 0, "exact": False}),
            Call("next", b"", fails=LIMIT),
            Call("prev", b"\xff", fails=LIMIT),
            Call("get", b"\xff", wanted=1),
            Call("longest_prefix", b"\1\1\1\1\1\1", wanted=None),
        ])
        page = client.call("scan", b"", {**options, "reverse": True})
        assert page["entries"] == [[b"\xff", 1]] and page["cursor"] is not None
        options = {**options, "reverse": True, "cursor": page["cursor"]}
        ask(client, [Call("scan", b"", options, fails=LIMIT)])
