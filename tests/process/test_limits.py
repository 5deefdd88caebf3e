"""More clients than there is room for: they wait in the kernel's queue and none is lost."""

import contextlib
import resource
import selectors

import pytest

from lib import rpc, tree_maker
from lib.daemon import with_one_worker
from lib.waiting import Clock, eventually

PING = rpc.request(1, "ping")
PONG = rpc.pack([1, 1, None, "pong"])


@pytest.fixture
def actd(actd):
    """With one worker: what clients do to each other is what counts here."""
    return with_one_worker(actd)


def with_files(n):
    """A preexec function that sets the limit of open files, soft and hard."""

    def set_limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))

    return set_limit


@pytest.fixture(scope="module", autouse=True)
def many_files():
    """Room for the connections on our side."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the hard limit of open files is {hard}; this needs {wanted} (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def read_pong(sock):
    """Reads from a socket that is readable: a pong, whole, and nothing else."""
    received = sock.recv(1000)
    assert received, "a connection was closed unserved"
    assert received == PONG


class Crowd:
    """Connections that have all sent a ping."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.waiting, self.served = set(), []

    def add(self, address):
        sock = rpc.connect(address)
        sock.sendall(PING)
        self.selector.register(sock, selectors.EVENT_READ)
        self.waiting.add(sock)

    def drop(self, sock):
        if sock in self.waiting:
            self.waiting.remove(sock)
            self.selector.unregister(sock)
        else:
            self.served.remove(sock)
        sock.close()

    def take(self, timeout):
        """Moves those that are answered to the served ones: how many."""
        ready = self.selector.select(timeout)
        for key, _ in ready:
            read_pong(key.fileobj)
            self.selector.unregister(key.fileobj)
            self.waiting.remove(key.fileobj)
            self.served.append(key.fileobj)
        return len(ready)

    def wait_served(self, n):
        clock = Clock()
        while len(self.served) < n:
            self.take(clock.left(f"{n} pongs: there are {len(self.served)}"))

    def close(self):
        for sock in [*self.waiting, *self.served]:
            sock.close()
        self.selector.close()


def crowd_through(daemon, address, room, at_once, total):
    """total connections, at_once of them at any time where only `room` are let in."""
    with contextlib.closing(Crowd()) as crowd:
        for _ in range(at_once):
            crowd.add(address)
        crowd.wait_served(room)
        daemon.wait_stat("connections", "open", room)
        # The others wait. Were one let in, its answer would be there when the next statistics are.
        for _ in range(3):
            assert daemon.stat("connections", "open") == room
            assert crowd.take(0) == 0
        assert len(crowd.served) == room
        opened = at_once
        clock = Clock()
        n_served = room
        while n_served < total:
            for sock in list(crowd.served):
                crowd.drop(sock)
                if opened < total:
                    crowd.add(address)
                    opened += 1
            n_served += crowd.take(clock.left("the queue to be served"))
        assert n_served == total and not crowd.waiting
    assert daemon.stat("connections", "accepted") == total
    daemon.wait_stat("connections", "open", 0)


def room_of(daemon):
    """How many connections it says that it has room for."""
    return int(daemon.wait_log(r"(\d+) connections at most").group(1))


def test_two_thousand_connections_pass_through_a_low_limit_of_open_files(actd, kind):
    daemon = actd(preexec=with_files(120))
    room = room_of(daemon)
    assert 20 < room < 120
    crowd_through(daemon, getattr(daemon, kind), room, at_once=300, total=2000)


def test_max_connections_is_exact_and_the_others_wait(actd, kind):
    daemon = actd(settings={"limits.max_connections": 7})
    crowd_through(daemon, getattr(daemon, kind), 7, at_once=100, total=300)


def test_one_connection_at_a_time_serves_everybody(actd):
    daemon = actd(settings={"limits.max_connections": 1})
    crowd_through(daemon, daemon.unix, 1, at_once=20, total=100)


def test_clients_that_drop_out_of_the_queue_hold_nobody_up(actd, kind):
    daemon = actd(settings={"limits.max_connections": 5})
    address = getattr(daemon, kind)
    with contextlib.closing(Crowd()) as crowd:
        for _ in range(5):
            crowd.add(address)
        crowd.wait_served(5)
        for i in range(1000):
            with contextlib.closing(rpc.connect(address)) as sock:
                if i % 2:
                    sock.sendall(PING)
        for _ in range(20):
            crowd.add(address)
        clock = Clock()
        while crowd.waiting:
            for sock in list(crowd.served):
                crowd.drop(sock)
            crowd.take(clock.left("the queue to be served"))
    daemon.wait_stat("connections", "open", 0)


def test_both_listeners_share_the_room(actd):
    daemon = actd(settings={"limits.max_connections": 4})
    with contextlib.closing(Crowd()) as crowd:
        for _ in range(10):
            crowd.add(daemon.unix)
            crowd.add(daemon.tcp)
        crowd.wait_served(4)
        assert daemon.stat("connections", "open") == 4
        clock = Clock()
        while crowd.waiting:
            for sock in list(crowd.served):
                crowd.drop(sock)
            crowd.take(clock.left("the queue to be served"))


def test_no_descriptor_left_means_waiting_and_not_being_closed(actd, kind):
    """The limit sinks under what was promised at the start: accept fails with EMFILE."""
    daemon = actd(settings={"admin.tcp": None, "admin.unix": None})
    with contextlib.closing(Crowd()) as crowd, daemon.client() as client:
        assert client.is_usable()
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, hard))
        for _ in range(200):
            crowd.add(getattr(daemon, kind))
        daemon.wait_log("cannot accept connections now, they wait: Too many open files")
        assert client.is_usable()
        assert crowd.take(0) == 0
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
        crowd.wait_served(200)


def test_a_high_limit_of_open_files_takes_many_connections_at_once(actd):
    daemon = actd()
    with contextlib.closing(Crowd()) as crowd:
        for i in range(1500):
            crowd.add(daemon.both[i % 2])
        crowd.wait_served(1500)
        assert daemon.stat("connections", "open") == 1500
    daemon.wait_stat("connections", "open", 0)


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(actd):
    def lower_soft():
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))

    daemon = actd(preexec=lower_soft, settings={"limits.max_connections": 500})
    with contextlib.closing(Crowd()) as crowd:
        for _ in range(500):
            crowd.add(daemon.unix)
        crowd.wait_served(500)
    assert "connections at most" not in daemon.log


def test_a_thousand_idle_connections_cost_no_buffers(actd):
    daemon = actd()
    with daemon.client() as first:
        assert first.is_usable()
        anon = daemon.stat("memory", "rss_anon_bytes")
        socks = [rpc.connect(daemon.unix) for _ in range(1000)]
        try:
            daemon.wait_stat("connections", "open", 1001)
            memory = daemon.stats()["memory"]
            assert memory["buffer_bytes"] == 0
            assert memory["rss_anon_bytes"] - anon < 16 << 20
        finally:
            for sock in socks:
                sock.close()


def test_connections_that_are_dropped_at_once_are_all_counted_and_gone(actd, kind):
    daemon = actd()
    for _ in range(2000):
        rpc.connect(getattr(daemon, kind)).close()
    daemon.wait_stat("connections", "open", 0)
    eventually(lambda: daemon.stat("connections", "accepted") == 2000, "2000 connections")


def test_a_value_that_no_reply_holds_is_not_read(actd, tmp_path):
    path = tmp_path / "tree.act"
    tree_maker.build(path, [(b"long", bytes(4 << 20)), (b"short", bytes(1 << 19))], is_bytes=True)
    # Each page that is needed for the first time goes to the threads, and is counted.
    daemon = actd(path, {"cold.probe": "none", "limits.max_reply_bytes": 1 << 20})
    with daemon.client() as client:
        assert client.error_of("get", b"long") == rpc.TOO_LARGE
        assert daemon.stat("cold", "pages_read") < 16
        assert client.call("get", b"short") == bytes(1 << 19)
        assert daemon.stat("cold", "pages_read") >= (1 << 19) // 4096
