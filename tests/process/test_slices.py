"""Long requests run in slices, and others are answered in between.

Time is nowhere measured: what overtakes what is seen by the order of replies.
"""

import random
import signal

import pytest

from lib import actctl, rpc, tree_maker
from lib.daemon import Daemon, with_one_worker
from lib.flood import Flood
from lib.processes import stopped
from lib.queries import LARGE, LIMIT, Call, ask
from lib.seed import SEED

N_NUMBERS = 2_000_000


@pytest.fixture
def actd(actd):
    """With one worker: what clients do to each other is what counts here."""
    return with_one_worker(actd)


@pytest.fixture(scope="module")
def numbers_tree(tmp_path_factory):
    """0000000 to 1999999, each with itself as value."""
    tree = tmp_path_factory.mktemp("numbers") / "numbers.act"
    text = "\n".join(map("{0:07d}\t{0}".format, range(N_NUMBERS)))
    actctl.build(tree, text.encode())
    return tree


@pytest.fixture(scope="module")
def numbers(numbers_tree):
    with Daemon(numbers_tree, {"daemon.workers": 1}) as daemon:
        yield daemon


def number_key(number):
    return b"%07d" % number


def is_all_of_them(result):
    return result == {"count": N_NUMBERS, "exact": True}


# As many as any page here has.
FIRST = [[number_key(i), i] for i in range(200_000)]


def is_a_long_page(page):
    n = len(page["entries"])
    return n > 100_000 and page["entries"] == FIRST[:n]


def is_a_long_page_backwards(page):
    n = len(page["entries"])
    every = [number_key(i) for i in range(N_NUMBERS - 1, N_NUMBERS - 1 - n, -1)]
    return n > 100_000 and page["entries"] == every


def are_long_pages(pages):
    one = pages[1]["entries"] == [[number_key(1), 1]]
    return len(pages) == 3 and is_a_long_page(pages[0]) and one and is_a_long_page(pages[2])


def are_both_counts(rows):
    wanted = [[48 + i, number_key(i * 1_000_000), i * 1_000_000, 1_000_000] for i in range(2)]
    return rows == wanted


ALL = {"limit": LARGE, "max_bytes": 2_000_000}
LONG_CALLS = {
    "count": (["count", b""], is_all_of_them),
    "scan": (["scan", b"", ALL], is_a_long_page),
    "reverse": (["range", b"0", None, {**ALL, "reverse": True, "keys_only": True}],
                is_a_long_page_backwards),
    "mscan": (["mscan", [b"", b"0000001", b"0"], ALL], are_long_pages),
    "explore": (["explore", b"", {"max_visited_nodes": 10_000_000}], are_both_counts),
}


@pytest.mark.parametrize("name", LONG_CALLS)
def test_a_short_request_overtakes_a_long_one_of_its_connection(numbers, kind, name):
    call, is_right = LONG_CALLS[name]
    with numbers.client(getattr(numbers, kind)) as client:
        client.send(rpc.request(1, *call) + rpc.request(2, "ping")
                    + rpc.request(3, "get", b"0001234"))
        assert client.reply() == (2, None, "pong")
        assert client.reply() == (3, None, 1234)
        msgid, error, result = client.reply()
        assert (msgid, error) == (1, None) and is_right(result)


def test_a_walk_that_finds_nothing_is_overtaken(actd, tmp_path):
    tree = tree_maker.write_shared(tmp_path / "t.act", 5, 200, None, {b"\xff": 1})
    with actd(tree).client() as client:
        calls = [["next", b""], ["prev", b"\xff"], ["scan", b""], ["explore", b"\1", {}]]
        data = b"".join(rpc.request(i, *call) for i, call in enumerate(calls))
        client.send(data + rpc.request(10, "ping"))
        assert client.reply() == (10, None, "pong")
        replies = [client.reply() for _ in calls]
        assert sorted(msgid for msgid, _, _ in replies) == [0, 1, 2, 3]
        assert all(error[0] == LIMIT for _, error, _ in replies)


@pytest.mark.parametrize("name", ["scan", "mscan", "reverse"])
def test_a_short_request_of_another_connection_is_not_held_up(numbers, kind, name):
    """Both are there when the worker begins, the long one first. By the time of the other's reply
    nothing of the long one's has been written; so it does not matter when we look."""
    call, is_right = LONG_CALLS[name]
    address = getattr(numbers, kind)
    with numbers.client(address) as long, numbers.client(address) as short:
        before = short.call("stats")["traffic"]["written_bytes"]
        (pid,) = numbers.worker_pids()
        with stopped(pid):
            long.send(rpc.request(1, *call))
            short.send(rpc.request(99, "stats"))
        msgid, error, stats = short.reply()
        assert (msgid, error) == (99, None)
        assert stats["traffic"]["written_bytes"] - before < 100_000
        msgid, error, result = long.reply()
        assert (msgid, error) == (1, None) and is_right(result)


def long_and_short_calls(rng, n):
    calls = []
    for _ in range(n):
        number = rng.randrange(N_NUMBERS)
        key, tens = number_key(number), number_key(number)[:2]
        calls += rng.choice([
            [Call("count", tens, wanted={"count": 100_000, "exact": True})],
            [Call("count", b"", check=lambda result: is_all_of_them(result) or pytest.fail())],
            [Call("get", key, wanted=number), Call("ping", wanted="pong")],
            [Call("next", key, wanted=[number_key(number + 1), number + 1]
                  if number + 1 < N_NUMBERS else None)],
            [Call("longest_prefix", [key + b"x"], wanted=[[key, number]])],
            [Call("explore", key[:6], wanted=[
                [byte, key[:6] + bytes([byte]), int(key[:6]) * 10 + byte - 48, 1]
                for byte in range(48, 58)])],
        ])
    return calls


@pytest.mark.parametrize("options", [{}, {"limits.max_sliced_requests": 1},
                                     {"limits.max_sliced_requests": 2}], ids=repr)
def test_more_long_requests_than_are_worked_on_at_a_time_are_all_answered(actd, numbers_tree,
                                                                          options):
    daemon = actd(numbers_tree, options)
    flood = [["count", b"0"], ["get", b"0000077"], ["mget", [b"1999999", b"2"]]]
    results = [{"count": 1_000_000, "exact": True}, 77, [1999999, None]]
    with Flood(daemon.unix, flood, results), daemon.client() as client:
        ask(client, long_and_short_calls(random.Random(SEED), 60))
        # As many at once as there may be, and one more, ahead of what is short.
        replies = client.pipeline([["count", b"00000"]] * 40 + [["ping"]])
        assert replies == [(None, {"count": 100, "exact": True})] * 40 + [(None, "pong")]


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_during_long_requests_leaves_nothing_behind(numbers, kind, leave):
    for n in (1, 5, 40):
        client = numbers.client(getattr(numbers, kind))
        calls = [["count", b""], ["scan", b"", ALL], ["explore", b"", {}]]
        client.send(b"".join(rpc.request(i, *calls[i % 3]) for i in range(n))
                    + rpc.request(99, "ping"))
        client.reply()
        getattr(client, leave)()
    numbers.wait_stat("connections", "open", 0)
    with numbers.client() as client:
        assert client.is_usable()
        assert client.call("stats")["memory"]["buffer_bytes"] == 0


def test_a_client_that_ends_its_side_gets_all_its_replies(numbers, kind):
    with numbers.client(getattr(numbers, kind)) as client:
        calls = [["count", b""], ["ping"]] * 20
        client.send(b"".join(rpc.request(i, *call) for i, call in enumerate(calls)))
        client.end()
        replies = {msgid: (error, result) for _, msgid, error, result in client.rest()}
        assert len(replies) == 40
        assert all(replies[i] == (None, "pong") for i in range(1, 40, 2))
        assert all(is_all_of_them(replies[i][1]) for i in range(0, 40, 2))


def test_long_requests_in_flight_are_answered_before_the_server_stops(actd, numbers_tree):
    daemon = actd(numbers_tree)
    with daemon.client() as client:
        client.send(b"".join(rpc.request(i, "count", b"") for i in range(5))
                    + rpc.request(5, "ping"))
        assert client.reply() == (5, None, "pong")
        daemon.send_signal(signal.SIGTERM)
        replies = client.rest()
        assert sorted(msgid for _, msgid, _, _ in replies) == list(range(5))
        assert all(error is None and is_all_of_them(result) for _, _, error, result in replies)


def test_a_reply_is_in_one_mode_though_hello_changes_it_meanwhile(numbers):
    with numbers.client() as client:
        for u64, errors in (("str", "string"), ("int", "array")) * 2:
            client.send(rpc.request(1, "scan", b"", ALL)
                        + rpc.request(2, "hello", {"u64": u64, "errors": errors})
                        + rpc.request(3, "get", b"0000009"))
            replies = {msgid: result for msgid, _, result in [client.reply() for _ in range(3)]}
            client.answered.clear()
            assert replies[3] == ("9" if u64 == "str" else 9)
            values = [value for _, value in replies[1]["entries"]]
            kinds = {type(value) for value in [*values, replies[1]["generation"]["identity"]]}
            assert len(kinds) == 1
            assert [int(value) for value in values] == list(range(len(values)))


def test_long_requests_without_room_for_their_replies_are_busy(actd, numbers_tree):
    """And the room of those that are given up is free again."""
    options = {"limits.max_buffer_bytes": "1M", "limits.max_request_bytes": "64K"}
    daemon = actd(numbers_tree, options)
    with daemon.client() as client, daemon.client() as other:
        replies = client.pipeline([["scan", b"", ALL]] * 20 + [["count", b"00"], ["ping"]])
        for error, result in replies[:20]:
            assert error[0] == rpc.BUSY if error else is_a_long_page(result)
        assert other.is_usable() and client.is_usable()
        page = client.call("scan", b"00000")
        assert page["entries"] == [[number_key(i), i] for i in range(100)]
    daemon.wait_stat("connections", "open", 0)
    assert daemon.stat("memory", "buffer_bytes") == 0


def test_who_does_not_read_long_replies_holds_up_no_other(numbers):
    with numbers.client() as lazy, numbers.client() as other:
        lazy.send(b"".join(rpc.request(i, "scan", b"", ALL) for i in range(20)))
        for i in range(20):
            assert other.call("count", b"%06d" % i) == {"count": 10, "exact": True}
        for _ in range(20):
            _, error, page = lazy.reply()
            assert error is None and is_a_long_page(page)
