"""Clients that are slow, broken, greedy or malicious: none harms the daemon or another client."""

import select
import socket
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import paths, rpc
from lib.daemon import is_sanitized, with_one_worker
from lib.tree_data import oracle_of
from lib.waiting import POLL_S, Clock, eventually

ORACLE = oracle_of(paths.CITIES)
MIB = 1 << 20

# What the process may need beside its buffers: the decoder's zone, the heap's slack; a sanitizer's
# quarantine and shadow.
ANON_SLACK_BYTES = (24 if not is_sanitized() else 200) * MIB


# Messages in pieces.


@pytest.fixture
def actd(actd):
    """With one worker: what clients do to each other is what counts here."""
    return with_one_worker(actd)


def test_a_request_that_comes_byte_by_byte_is_answered(client):
    keys = ORACLE.sample(3)
    data = rpc.request(1, "mget", keys) + rpc.request(2, "get", keys[0]) + rpc.request(3, "ping")
    for i in range(len(data)):
        client.send(data[i : i + 1])
    replies = {client.reply()[0]: None for _ in range(3)}
    assert set(replies) == {1, 2, 3}


def test_replies_come_while_the_next_request_is_still_unfinished(client):
    for msgid in range(1, 20):
        client.send(rpc.request(msgid, "ping") + rpc.request(100, "get", b"key")[:msgid])
        assert client.reply() == (msgid, None, "pong")
        client.send(rpc.request(100, "get", b"key")[msgid:])
        client.answered.discard(100)
        assert client.reply() == (100, None, None)


def test_every_prefix_of_a_request_and_then_the_end_is_just_an_end(cities, kind):
    request = rpc.request(1, "mget", [ORACLE.keys[3], b"\xff"], {"errors": True})
    for length in range(len(request)):
        with cities.client(getattr(cities, kind)) as client:
            client.send(request[:length])
            client.end()
            assert client.at_end()


def test_every_prefix_and_then_a_reset_leaves_no_connection(cities, kind):
    request = rpc.request(1, "mget", [ORACLE.keys[3], b"\xff"], {"errors": True})
    for length in range(len(request)):
        client = cities.client(getattr(cities, kind))
        client.send(request[:length])
        client.reset()
    cities.wait_stat("connections", "open", 0)


def test_what_was_asked_before_the_end_is_answered(client):
    client.send(b"".join(rpc.request(msgid, "ping") for msgid in range(1000)))
    client.end()
    assert sorted(message[1] for message in client.rest()) == list(range(1000))


# Many at once.


@pytest.mark.parametrize("n", [1000, 20000])
def test_pipelined_requests_are_all_answered_once(client, n):
    keys = [ORACLE.keys[i % len(ORACLE.keys)] + (b"" if i % 3 else b"?") for i in range(n)]
    values = client.results([["get", key] for key in keys])
    assert values == [ORACLE.get(key) for key in keys]


def test_a_thousand_requests_in_one_write_are_all_answered(client):
    data = b"".join(rpc.request(msgid, "get", ORACLE.keys[msgid]) for msgid in range(1000))
    client.send(data)
    for _ in range(1000):
        msgid, error, value = client.reply()
        assert error is None and value == ORACLE.get(ORACLE.keys[msgid])


def test_requests_that_all_use_up_their_turn_are_all_answered(actd):
    with actd(settings={"limits.turn_requests": 1}).client() as client:
        assert client.results([["ping"]] * 500) == ["pong"] * 500
        keys = ORACLE.sample(100)
        wanted = [ORACLE.get(key) for key in keys]
        assert client.results([["mget", keys]] * 50) == [wanted] * 50


def test_a_greedy_pipeline_does_not_starve_another_client(actd, kind):
    daemon = actd()
    keys = ORACLE.sample(1000)
    greedy_request = rpc.request(1, "mget", keys)
    wanted = rpc.request(2, "ping")
    with daemon.client(getattr(daemon, kind)) as greedy, daemon.client() as modest:
        greedy.sock.setblocking(False)
        clock = Clock()
        pongs, taken = 0, 0
        modest.send(wanted)
        pending = memoryview(b"")
        while pongs < 50 or taken == 0:
            readable, writable, _ = select.select(
                [greedy.sock, modest.sock], [greedy.sock], [], clock.left("a turn")
            )
            if greedy.sock in writable:
                pending = pending or memoryview(greedy_request)
                pending = pending[greedy.sock.send(pending) :]
            if greedy.sock in readable:
                taken += len(greedy.sock.recv(MIB))
            if modest.sock in readable:
                assert modest.message() == [1, 2, None, "pong"]
                pongs += 1
                modest.send(wanted)


# Clients that do not read.


def big_mgets(n, keys):
    return b"".join(rpc.request(msgid, "mget", keys) for msgid in range(1, n + 1))


def send_until_full(daemon, client, data):
    """Sends until the server reads no more: how much. The worker answers our looks at its counters
    from the loop that would also read and look up, so three looks without another key looked up
    mean that it waits."""
    client.sock.setblocking(False)
    sent, looks, last = 0, 0, None
    clock = Clock()
    with daemon.client() as looker:
        while sent < len(data) and looks < 3:
            if select.select([], [client.sock], [], 0)[1]:
                sent += client.sock.send(data[sent : sent + MIB])
                looks = 0
                continue
            clock.left("the server to read or to stop reading")
            time.sleep(POLL_S)  # looks without a pause would leave it little time for anything else
            done = looker.call("stats")["methods"]["mget"]
            looks = looks + 1 if done == last else 0
            last = done
    client.sock.setblocking(True)
    return sent


def read_rest(client, data, sent, n):
    """Sends what is left while reading: all n replies."""
    return client.exchange(data[sent:], n)


def test_a_slow_reader_costs_bounded_memory_and_nobody_waits_for_it(actd, kind):
    high_water = MIB
    daemon = actd(settings={"limits.high_water_bytes": high_water})
    keys = [b"nowhere"] * 10 + ORACLE.sample(9990)
    values = [ORACLE.get(key) for key in keys]
    n = 200  # about 10 MB of requests for 10 MB of replies... each way many times the sockets' room
    data = big_mgets(n, keys)
    reply_bytes = len(rpc.pack([1, 1, None, values]))
    assert n * reply_bytes > 8 * high_water
    with daemon.client(getattr(daemon, kind), receive_buffer_bytes=65536) as slow:
        sent = send_until_full(daemon, slow, data)
        assert sent < len(data), "the server must stop reading"
        stats = daemon.stats()
        # One reply over the mark, and blocks that grow by doubling; one request being read.
        most = 2 * (high_water + reply_bytes) + 4 * MIB
        assert high_water / 2 < stats["memory"]["buffer_bytes"] < most
        assert stats["memory"]["rss_anon_bytes"] < most + ANON_SLACK_BYTES
        with daemon.client() as other:
            for _ in range(100):
                assert other.call("get", ORACLE.keys[1]) == ORACLE.get(ORACLE.keys[1])
        replies = read_rest(slow, data, sent, n)
        assert all(replies[msgid] == (None, values) for msgid in range(1, n + 1))
        slow.last_msgid = n
        assert slow.is_usable()
    daemon.wait_stat("memory", "buffer_bytes", 0)


def test_a_hundred_slow_readers_stay_below_the_buffer_limit(actd):
    limit = 16 * MIB
    daemon = actd(settings={"limits.max_buffer_bytes": limit})
    keys = ORACLE.sample(5000)
    values = [ORACLE.get(key) for key in keys]
    data = big_mgets(4, keys)
    clients = [daemon.client() for _ in range(100)]
    try:
        for client in clients:
            client.sock.setblocking(False)
            try:
                client.sock.send(data)
            except BlockingIOError:
                pass
            client.sock.setblocking(True)
        stats = daemon.stats()
        assert stats["memory"]["buffer_bytes"] <= limit
        assert stats["memory"]["rss_anon_bytes"] < limit + 2 * ANON_SLACK_BYTES
    finally:
        for client in clients:
            client.close()
    daemon.wait_stat("connections", "open", 0)
    daemon.wait_stat("memory", "buffer_bytes", 0)
    with daemon.client() as client:
        assert client.call("mget", keys) == values


def fill_buffers(daemon, clients, limit):
    """Each asks for much and reads nothing."""
    data = big_mgets(20, ORACLE.sample(9000))
    for client in clients:
        client.sock.setblocking(False)
        try:
            client.sock.send(data)
        except BlockingIOError:
            pass
    daemon.wait_stat("memory", "buffer_bytes", lambda n: limit // 2 < n <= limit)


def check_served_or_busy(clients):
    for client in clients:
        _, error, value = client.reply()
        assert value == ORACLE.get(ORACLE.keys[1]) or error[0] == rpc.BUSY
        client.close()


def test_clients_wait_while_the_buffers_are_full_and_are_served_then(actd):
    limit = 4 * MIB
    daemon = actd(settings={"limits.max_buffer_bytes": limit})
    slow = [daemon.client() for _ in range(20)]
    waiting = [daemon.client() for _ in range(100)]
    # Half requests, so that some hold a buffer when the others come.
    request = rpc.request(1, "get", ORACLE.keys[1])
    for client in waiting:
        client.send(request[:5])
    fill_buffers(daemon, slow, limit)
    for client in waiting:
        client.send(request[5:])
    assert daemon.stat("memory", "buffer_bytes") <= limit
    for client in slow:
        client.reset()
    check_served_or_busy(waiting)
    daemon.wait_stat("memory", "buffer_bytes", 0)


def test_time_limits_free_buffers_that_are_full(actd):
    limit = 4 * MIB
    times = {"limits.write_timeout_ms": 500, "limits.frame_timeout_ms": 500}
    daemon = actd(settings={"limits.max_buffer_bytes": limit, **times})
    slow = [daemon.client() for _ in range(20)]
    waiting = [daemon.client() for _ in range(100)]
    fill_buffers(daemon, slow, limit)
    for client in waiting:
        client.send(rpc.request(1, "get", ORACLE.keys[1]))
    check_served_or_busy(waiting)
    daemon.wait_stat("memory", "buffer_bytes", 0)
    assert daemon.stat("connections", "timed_out") > 0
    for client in slow:
        client.close()


def test_write_timeout_closes_a_client_that_never_reads(actd, kind):
    daemon = actd(settings={"limits.write_timeout_ms": 300})
    data = big_mgets(200, ORACLE.sample(9000))
    with daemon.client(getattr(daemon, kind), receive_buffer_bytes=65536) as client:
        with pytest.raises(OSError):
            client.send(data)
    daemon.wait_stat("connections", "timed_out", 1)
    daemon.wait_stat("connections", "open", 0)
    daemon.wait_stat("memory", "buffer_bytes", 0)


@pytest.mark.alone
def test_write_timeout_spares_a_client_that_reads_slowly(actd, kind):
    # Longer than it takes to fill the sockets, during which nothing is read.
    timeout_ms = 5000 if is_sanitized() else 1000
    n = 200
    daemon = actd(settings={"limits.write_timeout_ms": timeout_ms})
    keys = ORACLE.sample(9000)
    values = [ORACLE.get(key) for key in keys]
    data = big_mgets(n, keys)
    with daemon.client(getattr(daemon, kind), receive_buffer_bytes=65536) as client:
        sent = send_until_full(daemon, client, data)
        taken = b""
        # Takes a little in each quarter of the time limit, over several time limits.
        start = daemon.stat("process", "uptime_ms")
        for quarter in range(1, 13):
            while len(taken) < quarter * 65536:
                part = client.sock.recv(65536)
                assert part, f"the server has closed the connection:\n{daemon.log}"
                taken += part
            until = start + quarter * timeout_ms // 4
            daemon.wait_stat("process", "uptime_ms", lambda now, until=until: now >= until)
        assert daemon.stat("connections", "timed_out") == 0
        client.unpacker.feed(taken)
        replies = read_rest(client, data, sent, n)
        assert all(result == values for _, result in replies.values())


def test_a_reset_in_mid_reply_harms_nobody(actd, kind):
    daemon = actd()
    data = big_mgets(100, ORACLE.sample(9000))
    with daemon.client() as other:
        for _ in range(20):
            client = daemon.client(getattr(daemon, kind), receive_buffer_bytes=65536)
            send_until_full(daemon, client, data[: 2 * MIB])
            client.sock.recv(1000)
            client.reset()
            assert other.is_usable()
        daemon.wait_stat("connections", "open", 1)
        eventually(lambda: daemon.stat("memory", "buffer_bytes") == 0, "the buffers to be free")


# Claims and sizes.

FOUR_BILLION = b"\xff\xff\xff\xff"
CLAIMS = [
    b"\xdd" + FOUR_BILLION,
    b"\xdf" + FOUR_BILLION,
    b"\xc6" + FOUR_BILLION,
    b"\xc9" + FOUR_BILLION,
    b"\xdb" + FOUR_BILLION,
]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.hex())
def test_five_bytes_that_claim_four_billion_elements_end_the_connection(cities, kind, claim):
    anon = cities.stat("memory", "rss_anon_bytes")
    with cities.client(getattr(cities, kind)) as client:
        client.send(claim)
        assert client.at_end()
    assert cities.stat("memory", "rss_anon_bytes") < anon + ANON_SLACK_BYTES


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.hex())
@pytest.mark.parametrize("inside", [b"", b"\xa3get", b"\xa3get\x91"])
def test_a_claim_inside_a_request_is_too_large(cities, kind, inside, claim):
    with cities.client(getattr(cities, kind)) as client:
        client.send(rpc.request(1, "ping") + b"\x94\x00\x07" + inside + claim)
        assert client.reply() == (1, None, "pong")
        msgid, error, _ = client.reply()
        assert msgid == 7 and error[0] == rpc.TOO_LARGE
        assert error[1].startswith("TOO_LARGE: ")
        assert client.at_end()


def test_many_claims_that_are_each_too_small_to_refuse_are_refused_together(client):
    client.send(b"\x94\x00\x07\xa3get" + b"\xdd\x00\x0f\x00\x00" * 3)
    msgid, error, _ = client.reply()
    assert msgid == 7 and error[0] == rpc.TOO_LARGE
    assert client.at_end()


def test_a_request_of_two_mib_is_too_large_and_those_before_it_are_answered(cities, kind):
    before = b"".join(rpc.request(msgid, "get", ORACLE.keys[msgid]) for msgid in range(50))
    large = rpc.request(77, "get", b"x" * (2 * MIB))
    with cities.client(getattr(cities, kind)) as client:
        try:
            client.send(before + large + rpc.request(78, "ping"))
        except OSError:
            pass  # the server may have closed before it was all sent
        replies = {}
        for _ in range(51):
            msgid, error, value = client.reply()
            replies[msgid] = [error, value]
        error, _ = replies.pop(77)
        assert error[0] == rpc.TOO_LARGE
        assert replies == {i: [None, ORACLE.get(ORACLE.keys[i])] for i in range(50)}
        assert client.at_end()


def request_of(size, msgid=1):
    """A get request of exactly so many bytes."""
    request = rpc.request(msgid, "get", b"x" * size)
    return rpc.request(msgid, "get", b"x" * (size - (len(request) - size)))


@pytest.mark.parametrize("most", [64, 1000, 4096, 65000, 70000, 300000])
def test_max_request_bytes_is_exact(actd, most):
    daemon = actd(settings={"limits.max_request_bytes": most})
    with daemon.client() as client:
        for size in (most - 1, most):
            request = request_of(size)
            assert len(request) == size
            client.answered.clear()
            client.send(request)
            assert client.reply() == (1, None, None)
        client.answered.clear()
        client.send(request_of(most + 1))
        msgid, error, _ = client.reply()
        assert msgid == 1 and error[0] == rpc.TOO_LARGE
        assert client.at_end()


def test_the_largest_request_is_read_however_it_comes(client):
    request = request_of(MIB)
    for piece in (1000, 65536, MIB):
        for at in range(0, MIB, piece):
            client.send(request[at : at + piece])
        client.answered.clear()
        assert client.reply() == (1, None, None)


def nested(depth, opener=b"\x91"):
    return opener * depth + b"\xc0"


@pytest.mark.parametrize("opener", [b"\x91", b"\x81\x01", b"\xdc\x00\x01", b"\x92\x01"])
@pytest.mark.parametrize("depth", [8, 9, 1000, 100000])
def test_a_request_nested_too_deep_is_refused_and_the_connection_stays(client, depth, opener):
    client.send(b"\x94\x00\x07\xa4mget\x92" + nested(depth, opener) + b"\xc0")
    msgid, error, _ = client.reply()
    assert msgid == 7 and error[0] == rpc.BAD_REQUEST
    client.last_msgid = 10
    assert client.is_usable()


def test_nesting_up_to_the_limit_reaches_the_method(client):
    for depth in range(1, 7):
        client.answered.clear()
        client.send(b"\x94\x00\x07\xa4mget\x91" + nested(depth))
        _, error, _ = client.reply()
        assert error[0] == rpc.BAD_PARAMS, depth
    client.answered.clear()
    client.send(b"\x94\x00\x07\xa4mget\x91" + nested(7))
    assert client.reply()[1][0] == rpc.BAD_REQUEST


def test_a_notification_nested_too_deep_is_ignored(client):
    client.send(b"\x93\x02\xa1x\x91" + nested(1000))
    assert client.is_usable()


def test_max_keys_is_exact(actd):
    daemon = actd(settings={"limits.max_keys": 100})
    keys = ORACLE.keys[:101]
    with daemon.client() as client:
        assert client.call("mget", keys[:100]) == [ORACLE.get(key) for key in keys[:100]]
        assert client.error_of("mget", keys) == rpc.TOO_LARGE
        assert client.is_usable()
        assert client.call("hello")["limits"]["max_keys"] == 100


def test_a_reply_beyond_max_reply_bytes_is_too_large_and_the_connection_stays(actd):
    daemon = actd(settings={"limits.max_reply_bytes": "1K"})
    with daemon.client() as client:
        # [1, 1, nil, array of nil]: 3 bytes, the id, nil, 3 bytes, one a key.
        fits = 1024 - 7
        assert client.call("mget", [b"\xff"] * (fits - 10)) == [None] * (fits - 10)
        assert client.error_of("mget", [b"\xff"] * (fits + 10)) == rpc.TOO_LARGE
        assert client.error_of("mget", [b"\xff"] * 10000) == rpc.TOO_LARGE
        assert client.error_of("stats", 1) == rpc.BAD_PARAMS
        assert client.is_usable()


def test_replies_around_one_that_is_too_large_are_whole(actd):
    daemon = actd(settings={"limits.max_reply_bytes": "1K"})
    calls = [["mget", [b"\xff"] * 5000], ["get", ORACLE.keys[9]]] * 20
    with daemon.client() as client:
        for i, (error, result) in enumerate(client.pipeline(calls)):
            if i % 2 == 0:
                assert error[0] == rpc.TOO_LARGE
            else:
                assert result == ORACLE.get(ORACLE.keys[9])


# Garbage.


@settings(max_examples=300)
@given(garbage=st.binary(max_size=2000))
def test_garbage_never_harms_the_daemon(cities, garbage):
    with cities.client() as client:
        client.send(garbage)
        client.end()
        client.rest()
    assert cities.process.poll() is None


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.binary(max_size=20),
        st.text(max_size=20),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.one_of(st.text(max_size=5), st.integers(0, 10)), inner, max_size=3),
    ),
    max_leaves=20,
)


@settings(max_examples=300)
@given(
    method=st.one_of(st.sampled_from(["hello", "get", "mget", "exists", "node"]), VALUES),
    params=st.one_of(st.lists(VALUES, max_size=4), VALUES),
)
def test_any_request_is_answered_and_the_connection_stays(cities, method, params):
    with cities.client() as client:
        client.send(rpc.pack([0, 5, method, params]) + rpc.request(6, "ping"))
        msgid, error, _ = client.reply()
        assert msgid == 5
        if error is not None:
            text = error if isinstance(error, str) else error[1]
            assert text.split(":")[0] in ("BAD_REQUEST", "BAD_PARAMS", "UNKNOWN_METHOD"), error
        assert client.reply() == (6, None, "pong")


@settings(max_examples=300)
@given(data=st.data())
def test_a_flipped_byte_ends_in_a_reply_or_an_end(cities, data):
    request = bytearray(rpc.request(5, "mget", [ORACLE.keys[3], b"\xff"], {"errors": True}))
    at = data.draw(st.integers(0, len(request) - 1))
    request[at] = data.draw(st.integers(0, 255))
    with cities.client() as client:
        client.send(bytes(request))
        client.end()
        messages = client.rest()
        assert len(messages) <= 1
        assert all(message[0] == 1 and len(message) == 4 for message in messages)


# Time limits.


def test_frame_timeout_closes_a_half_request_and_no_other(actd, kind):
    daemon = actd(settings={"limits.frame_timeout_ms": 300})
    with daemon.client(getattr(daemon, kind)) as half, daemon.client() as idle:
        half.send(rpc.request(1, "ping") + rpc.request(2, "ping")[:-3])
        assert half.reply() == (1, None, "pong")
        assert half.at_end()
        assert daemon.stat("connections", "timed_out") == 1
        assert idle.is_usable()


def test_frame_timeout_counts_from_the_request_and_not_from_its_last_byte(actd):
    daemon = actd(settings={"limits.frame_timeout_ms": 500})
    with daemon.client() as client:
        client.send(b"\x94\x00\x01\xa3get\x91\xc6\x00\x00\xff\xff")
        clock = Clock()
        ended = False
        while not ended:
            try:
                client.send(b"x")
            except OSError:
                break
            clock.left("the end of a request that never ends")
            ended = bool(select.select([client.sock], [], [], 0.02)[0])
        daemon.wait_stat("connections", "timed_out", 1)


@pytest.mark.alone
def test_idle_timeout_closes_an_idle_connection(actd, kind):
    daemon = actd(settings={"limits.idle_timeout_ms": 300})
    with daemon.client(getattr(daemon, kind)) as client:
        assert client.is_usable()
        assert client.at_end()
    assert daemon.stat("connections", "timed_out") == 1


def test_without_idle_timeout_nothing_is_closed(actd):
    daemon = actd(settings={"limits.frame_timeout_ms": 100, "limits.write_timeout_ms": 100})
    with daemon.client() as client:
        assert client.is_usable()
        daemon.wait_stat("process", "uptime_ms", lambda now: now > 1500)
        assert client.is_usable()


def test_linger_timeout_ends_a_client_that_is_refused_and_goes_on_sending(actd, kind):
    daemon = actd(settings={"limits.linger_timeout_ms": 300})
    with daemon.client(getattr(daemon, kind)) as client:
        client.send(b"\xc1")
        clock = Clock()
        while True:
            try:
                client.send(b"x" * 1000)
            except OSError:
                break
            clock.left("the end of a refused connection")
    daemon.wait_stat("connections", "open", 0)
    assert daemon.stat("connections", "timed_out") == 0


def test_half_closed_sockets_go_when_their_replies_are_read(actd, kind):
    daemon = actd()
    clients = [daemon.client(getattr(daemon, kind)) for _ in range(50)]
    for client in clients:
        client.send(rpc.request(1, "ping"))
        client.sock.shutdown(socket.SHUT_WR)
    for client in clients:
        assert client.rest() == [[1, 1, None, "pong"]]
        client.close()
    daemon.wait_stat("connections", "open", 0)
