"""Queries for the oracle: random calls, each with what the model says must come of it.

Random choices are drawn from a random.Random, which may be hypothesis' own.
"""

from . import rpc
from .oracle import after_all, left_at
from .tree_maker import random_bytes

LIMIT = 5
BAD_CURSOR = 10

NAMES = {**rpc.NAMES, LIMIT: "LIMIT", BAD_CURSOR: "BAD_CURSOR"}
NUMBERS = {name: number for number, name in NAMES.items()}

LARGE = 10**9

# What explore visits at most, where it is not told.
EXPLORE_NODES = 100000


def number_of(error):
    """Of an error as a list or as a text; its text must begin with its name."""
    if isinstance(error, str):
        return NUMBERS[error.split(":")[0]]
    assert error[1].startswith(NAMES[error[0]] + ": "), error
    return error[0]


def short(thing):
    text = repr(thing)
    return text if len(text) < 1000 else f"{text[:600]} ... {text[-300:]} ({len(text)})"


# Cursors.


def cursor_at(position, identity=0, is_reverse=False):
    return bytes([2 if is_reverse else 1]) + identity.to_bytes(8, "big") + position


class Call:
    """A call, and what must come of it: `wanted`, what `check` takes, or the error `fails`; one of
    `may_fail` is fine, too."""

    def __init__(self, method, *params, wanted=None, check=None, fails=None, may_fail=()):
        self.call = [method, *params]
        self.wanted = wanted
        self.check = check
        self.fails = fails
        self.may_fail = may_fail

    def verify(self, error, result):
        if error is not None:
            number = number_of(error)
            assert number == self.fails or number in self.may_fail, (short(self.call), error)
            return
        assert self.fails is None, f"{short(self.call)} did not fail: {short(result)}"
        if self.check:
            self.check(result)
            return
        told = f"{short(self.call)}\nis {short(result)}\nnot {short(self.wanted)}"
        assert result == self.wanted, told
        assert type(result) is type(self.wanted), told


class View:
    """The model as one connection sees it.

    generation  as the server tells it, {number, identity}, in the connection's mode
    is_text     numbers come as decimal text
    budget      limits.max_visited_nodes, where it is small
    """

    def __init__(self, model, generation, is_text=False, budget=None):
        self.model = model
        self.generation = generation
        self.identity = int(generation["identity"])
        self.is_text = is_text
        self.budget = budget
        # Nodes that a walk to one entry and back needs at the very most: on a way down there are
        # two for each byte; and all of what ends without an entry may lie between.
        n_dangling = len(model.paths) - len(model.keys)
        self.enough = 4 * (2 * model.longest + 2 + n_dangling)

    def value(self, value):
        return str(value) if self.is_text and isinstance(value, int) else value

    def entry(self, entry):
        return entry and [entry[0], self.value(entry[1])]

    def entries(self, keys, is_keys_only=False):
        if is_keys_only:
            return keys
        return [[key, self.value(self.model.values[key])] for key in keys]

    def budget_of(self, options):
        budgets = [options.get("max_visited_nodes"), self.budget]
        return min((budget for budget in budgets if budget is not None), default=None)

    def may_fail(self, options):
        """A budget that may end before one entry is found."""
        budget = self.budget_of(options)
        return () if budget is None or budget >= self.enough else (LIMIT,)

    def check_page(self, keys, options, page):
        """The page of a scan over these ascending keys."""
        told = f"{short(options)}: {short(page)}"
        assert set(page) == {"entries", "cursor", "generation"}, told
        assert page["generation"] == self.generation, told
        is_reverse = options.get("reverse", False)
        left = keys[::-1] if is_reverse else keys
        if options.get("cursor") is not None:
            left = left_at(keys, options["cursor"][9:], is_reverse)
        n = len(page["entries"])
        wanted = self.entries(left[: n + 1], options.get("keys_only", False))
        assert page["entries"] == wanted[:n], f"{told}\nand not {short(wanted)}"
        self.check_size(wanted, n, options, told)
        if page["cursor"] is None:
            assert n == len(left), f"{told}: {len(left) - n} entries are lost"
            return
        assert n > 0, f"{told}: a page that leads nowhere"
        assert page["cursor"][:1] == (b"\2" if is_reverse else b"\1"), told
        assert page["cursor"][1:9] == self.identity.to_bytes(8, "big"), told
        after = left_at(keys, page["cursor"][9:], is_reverse)
        assert after == left[n:], f"{told}: goes on with {short(after)}, not {short(left[n:])}"

    def check_size(self, wanted, n, options, told):
        """n entries are as many as the limits allow; in `wanted` is one more, if there is one."""
        limit = options.get("limit", 1000)
        max_bytes = options.get("max_bytes", 1 << 20)
        assert n <= limit, told
        sizes = [len(rpc.pack(entry)) for entry in wanted]
        assert sum(sizes[:n]) <= max_bytes or n == 1, told
        if len(wanted) > n and n < limit and self.budget_of(options) is None:
            assert sum(sizes) > max_bytes, f"{told}: more would have fitted"

    def check_count(self, prefix, options, result):
        n = self.model.count(prefix)
        told = f"count {short(prefix)} {options}: {result}, there are {n}"
        assert set(result) == {"count", "exact"}, told
        assert type(result["exact"]) is bool, told
        if result["exact"]:
            assert result["count"] == n, told
        else:
            assert self.budget_of(options) is not None and 0 <= result["count"] <= n, told

    def check_explore(self, prefix, options, rows):
        wanted = [
            [byte, key, self.value(value), n] for byte, key, value, n in self.model.explore(prefix)
        ]
        told = f"explore {short(prefix)} {options}: {short(rows)}, not {short(wanted)}"
        assert len(rows) == len(wanted), told
        is_short = self.budget_of(options) is not None
        for row, right in zip(rows, wanted):
            is_counted = row[3] is not None
            assert row == (right if is_counted else [*right[:3], None]), told
            # Each byte may have its equal part of the budget; an entry takes two nodes or fewer.
            is_much = 2 * (right[3] + self.model.longest) > EXPLORE_NODES // len(wanted)
            assert is_counted or is_much or is_short, told


def near_key(rng, model):
    """A stored path, or something beside one."""
    key = bytearray(rng.choice(model.paths) if model.paths and rng.randrange(20) else b"")
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        edit = rng.randrange(5)
        if edit == 0:
            del key[rng.randrange(len(key) + 1) :]
        elif edit == 1:
            key.append(rng.choice([0, 255, 97, rng.randrange(256)]))
        elif edit == 2:
            key += random_bytes(rng, rng.randrange(4))
        elif key:
            at = len(key) - 1 if edit == 3 else rng.randrange(len(key))
            key[at] = (key[at] + rng.choice([1, 255])) % 256
    return bytes(key)


class Bounds:
    """What a scan or a range goes over."""

    def __init__(self, model, start, end):
        self.start, self.end = start or b"", end
        is_empty = end is not None and self.start >= end
        self.keys = [] if is_empty else model.between(start, end)

    def place(self, position):
        """Whether a position is inside; None where nothing has been passed or nothing is left."""
        if position in (self.start, self.end):
            return None
        return self.start < position and (self.end is None or position < self.end)


def bounds_of_prefix(model, prefix):
    return Bounds(model, prefix, after_all(prefix))


class Maker:
    """Makes random calls for a view."""

    def __init__(self, view, rng):
        self.view, self.model, self.rng = view, view.model, rng

    def key(self):
        return near_key(self.rng, self.model)

    def keys(self, at_most=12):
        return [self.key() for _ in range(self.rng.randrange(at_most + 1))]

    def prefix(self):
        """Often one with many keys below it."""
        if self.rng.randrange(3):
            return self.key()
        key = self.key()
        return key[: self.rng.randrange(min(3, len(key) + 1))]

    def is_rare(self):
        return self.rng.randrange(8) == 0

    def budget_options(self):
        budget = self.rng.choice([1, 2, 5, 20, 100, self.view.enough, LARGE])
        return {"max_visited_nodes": budget} if self.is_rare() else {}

    def page_options(self):
        rng = self.rng
        options = {
            "limit": rng.choice([1, 2, 3, 10, 100, LARGE, 2**63, 2**64 - 1]),
            "max_bytes": rng.choice([1, 10, 50, 200, 5000, LARGE, 2**64 - 1]),
            "reverse": rng.choice([True, False]),
            "keys_only": rng.choice([True, False]),
        }
        options = {name: option for name, option in options.items() if rng.randrange(2)}
        return {**options, **self.budget_options()}

    # A key.

    def get(self):
        key = self.key()
        return Call("get", key, wanted=self.view.value(self.model.get(key)))

    def exists(self):
        key = self.key()
        return Call("exists", key, wanted=self.model.exists(key))

    def node(self):
        key = self.key()
        node = self.model.node(key)
        return Call("node", key, wanted={**node, "value": self.view.value(node["value"])})

    def mget(self):
        keys = self.keys()
        return self.with_errors("mget", keys, [self.view.value(self.model.get(k)) for k in keys])

    def with_errors(self, method, keys, wanted):
        """With and without the option that tells of each key's error: there is none."""
        is_told = self.rng.choice([None, False, True])
        if is_told:
            wanted = {"values": wanted, "errors": []}
        options = [] if is_told is None else [{"errors": is_told}]
        return Call(method, keys, *options, wanted=wanted)

    def prefix_method(self, method, answer):
        if self.rng.randrange(2):
            key = self.key()
            return Call(method, key, wanted=answer(key))
        keys = self.keys()
        return self.with_errors(method, keys, [answer(key) for key in keys])

    def longest_prefix(self):
        view, model = self.view, self.model
        return self.prefix_method("longest_prefix", lambda k: view.entry(model.longest_prefix(k)))

    def prefixes(self):
        view, model = self.view, self.model
        return self.prefix_method(
            "prefixes", lambda key: [view.entry(entry) for entry in model.prefixes(key)]
        )

    def step(self, method):
        key = self.key()
        wanted = self.view.entry(getattr(self.model, method)(key))
        return Call(method, key, wanted=wanted, may_fail=self.view.may_fail({}))

    def next(self):
        return self.step("next")

    def prev(self):
        return self.step("prev")

    # What is below a prefix.

    def count(self):
        prefix, options = self.prefix(), self.budget_options()
        return Call("count", prefix, *([options] if options else []),
                    check=lambda result: self.view.check_count(prefix, options, result))

    def explore(self):
        prefix, options = self.prefix(), self.budget_options()
        # Each byte needs its sample.
        may_fail = () if self.view.budget_of(options) in (None, LARGE) else (LIMIT,)
        return Call("explore", prefix, *([options] if options else []), may_fail=may_fail,
                    check=lambda result: self.view.check_explore(prefix, options, result))

    # Pages.

    def position(self, bounds):
        """Between the bounds; None: none was found."""
        for _ in range(5):
            position = self.key()
            if bounds.keys and self.rng.randrange(2):
                position = self.rng.choice(bounds.keys) + self.rng.choice([b"", b"\0", b"\xff"])
            if self.is_rare():
                position = bounds.start + random_bytes(self.rng, 2)
            if bounds.place(position):
                return position
        return None

    def bad_cursor(self, bounds, is_reverse):
        kind = self.rng.randrange(5)
        position = self.position(bounds) or bounds.start
        identity = self.view.identity
        if kind == 0:
            return cursor_at(b"", identity, is_reverse)[: self.rng.randrange(9)]
        if kind == 1:
            return cursor_at(position, identity, not is_reverse)
        if kind == 2:
            head = self.rng.choice([0, 3, 49, 128, 255])
            return bytes([head]) + cursor_at(position, identity)[1:]
        for _ in range(5):
            outside = self.key()
            if bounds.place(outside) is False:
                return cursor_at(outside, identity, is_reverse)
        return b""

    def cursor_option(self, bounds, is_reverse):
        """(cursor or None, must it be refused)."""
        if self.rng.randrange(3):
            return None, False
        if self.is_rare():
            return self.bad_cursor(bounds, is_reverse), True
        position = self.position(bounds)
        if position is None:
            return None, False
        identity = self.rng.choice([self.view.identity, 0, 2**64 - 1])
        return cursor_at(position, identity, is_reverse), False

    def page(self, method, params, bounds):
        options = self.page_options()
        cursor, is_bad = self.cursor_option(bounds, options.get("reverse", False))
        if cursor is not None:
            options["cursor"] = cursor
        given = [options] if options or self.is_rare() else []
        return Call(method, *params, *given, fails=BAD_CURSOR if is_bad else None,
                    may_fail=() if is_bad else self.view.may_fail(options),
                    check=lambda page: self.view.check_page(bounds.keys, options, page))

    def scan(self):
        prefix = self.prefix()
        return self.page("scan", [prefix], bounds_of_prefix(self.model, prefix))

    def range_bounds(self):
        """None, below, at, between and above keys; also the wrong way round."""
        start = self.rng.choice([None, b"", self.key(), self.key(), self.key()])
        end = self.rng.choice([None, b"", start, self.key(), self.key(), self.key()])
        if start is not None and end is not None and start > end and self.rng.randrange(4):
            start, end = end, start
        return start, end

    def range(self):
        start, end = self.range_bounds()
        return self.page("range", [start, end], Bounds(self.model, start, end))

    def mscan(self):
        prefixes = [self.prefix() for _ in range(self.rng.randrange(5))]
        every = [bounds_of_prefix(self.model, prefix) for prefix in prefixes]
        options = self.page_options()
        is_bad, cursors = False, []
        for bounds in every:
            cursor, is_wrong = self.cursor_option(bounds, options.get("reverse", False))
            cursors.append(cursor)
            is_bad = is_bad or is_wrong
        if any(cursor is not None for cursor in cursors) or self.is_rare():
            options["cursors"] = cursors

        def check(pages):
            assert len(pages) == len(prefixes)
            own = {name: option for name, option in options.items() if name != "cursors"}
            for bounds, cursor, page in zip(every, cursors, pages):
                self.view.check_page(bounds.keys, {**own, "cursor": cursor}, page)

        # The budget is that of the request: the first pages may use it up.
        is_alone = len(prefixes) <= 1
        is_short = self.view.may_fail(options) if is_alone else self.view.budget_of(options)
        return Call("mscan", prefixes, *([options] if options else []), check=check,
                    fails=BAD_CURSOR if is_bad else None,
                    may_fail=(LIMIT,) if is_short else ())

    METHODS = [
        "get", "exists", "node", "mget", "longest_prefix", "prefixes", "next", "prev", "count",
        "explore", "scan", "scan", "range", "range", "mscan",
    ]

    def call(self, methods=None):
        return getattr(self, self.rng.choice(methods or self.METHODS))()


def ask(client, calls):
    """All of them at once, and each verified."""
    replies = client.pipeline([call.call for call in calls])
    for call, (error, result) in zip(calls, replies):
        call.verify(error, result)


# Scans to their end.


def call_or_limit(client, method, *params):
    """The result, or None where the budget came to its end first."""
    try:
        return client.call(method, *params)
    except rpc.RpcError as error:
        assert error.number == LIMIT, (method, short(params), error)
        return None


def follow(client, view, method, params, keys, options):
    """All pages of a scan or a range over these ascending keys: their entries, or None where the
    budget was too small for the next entry."""
    options = dict(options)
    found = []
    for _ in range(len(keys) + 2):
        page = call_or_limit(client, method, *params, options)
        if page is None:
            assert view.may_fail(options), f"{method} {short(params)} {short(options)}: LIMIT"
            return None
        view.check_page(keys, options, page)
        found += page["entries"]
        if page["cursor"] is None:
            wanted = keys[::-1] if options.get("reverse") else keys
            assert found == view.entries(wanted, options.get("keys_only", False))
            return found
        options["cursor"] = page["cursor"]
    raise AssertionError(f"{method} {short(params)} {options} does not end")


def follow_all(client, view, prefixes, options):
    """All pages of an mscan: the scans that are done are asked for no more."""
    waiting = [(i, prefix, None) for i, prefix in enumerate(prefixes)]
    found = [[] for _ in prefixes]
    while waiting:
        given = {**options, "cursors": [cursor for _, _, cursor in waiting]}
        pages = client.call("mscan", [prefix for _, prefix, _ in waiting], given)
        assert len(pages) == len(waiting)
        later = []
        for (i, prefix, cursor), page in zip(waiting, pages):
            keys = view.model.below(prefix)
            view.check_page(keys, {**options, "cursor": cursor}, page)
            found[i] += page["entries"]
            if page["cursor"] is not None:
                later.append((i, prefix, page["cursor"]))
        waiting = later
    for prefix, entries in zip(prefixes, found):
        keys = view.model.below(prefix)
        keys = keys[::-1] if options.get("reverse") else keys
        assert entries == view.entries(keys, options.get("keys_only", False)), short(prefix)
    return found
