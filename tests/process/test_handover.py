"""From one generation to the next, as clients see it: watch, wait_generation, the option pin."""

import os
import resource
import shutil
import signal
import time

import pytest

from lib import paths, rpc
from lib.daemon import Daemon
from lib.waiting import eventually

A, B, C = (paths.DOC / name for name in ("a.act", "b.act", "c.act"))


class Served:
    """A daemon whose file is replaced."""

    def __init__(self, actd, path, source, settings=None):
        self.path = path
        self.n_files = 0
        self.put(source)
        self.daemon = actd(path, {"daemon.workers": 2, **(settings or {})})
        self.identity = self.ask("hello")["generation"]["identity"]

    def put(self, source):
        """By rename. Each time of writing is another generation, also of the same contents."""
        self.n_files += 1
        new = self.path.with_name("new")
        shutil.copyfile(source, new)
        os.utime(new, (1704067200 + self.n_files, 1704067200 + self.n_files))
        os.rename(new, self.path)

    def ask(self, *call):
        with self.daemon.client() as client:
            return client.call(*call)

    def replace(self, source):
        """Until all workers serve it: its identity."""
        number = self.ask("hello")["generation"]["number"]
        self.put(source)
        self.daemon.send_signal(signal.SIGHUP)
        self.daemon.wait_log(rf"generation {number + 1} \(identity \d+\):.* all workers serve it")
        generation = self.ask("hello")["generation"]
        assert generation["number"] == number + 1
        self.identity = generation["identity"]
        return self.identity


@pytest.fixture
def serve(actd, tmp_path):
    return lambda source=A, settings=None: Served(actd, tmp_path / "tree.act", source, settings)


def watch(client):
    """The generation that is told at once."""
    assert client.call("watch") is True
    return told(client)


def told(client):
    kind, method, params = client.message()
    assert (kind, method) == (2, "generation")
    (generation,) = params
    assert list(generation) == ["number", "identity"]
    return generation


def is_stuck(daemon):
    """Nothing more goes out, and something has."""
    looks = {daemon.stat("traffic", "written_bytes") for _ in range(50)}
    return len(looks) == 1 and looks.pop() > 100000


def send(client, *call):
    msgid = client.next_msgid()
    client.send(rpc.request(msgid, *call))
    return msgid


# Watching


def test_who_watches_is_told_each_generation(serve, kind):
    served = serve()
    with served.daemon.client(getattr(served.daemon, kind)) as client:
        assert watch(client) == {"number": 1, "identity": served.identity}
        for number, source in enumerate((B, C, A), 2):
            identity = served.replace(source)
            assert told(client) == {"number": number, "identity": identity}
        assert client.is_usable()
        # Again: once more, and not twice from then on.
        assert watch(client)["number"] == 4
        identity = served.replace(B)
        assert told(client) == {"number": 5, "identity": identity}
        assert client.is_usable()
        assert client.call("hello", {"u64": "str"})["generation"]["identity"] == str(identity)
        assert watch(client) == {"number": 5, "identity": str(identity)}


def test_nobody_else_is_told(serve):
    served = serve()
    with served.daemon.client() as client:
        assert client.is_usable()
        served.replace(B)
        assert client.is_usable()
        client.end()
        assert client.at_end()


def test_what_is_told_is_what_everybody_gets(serve):
    """A client that was told asks on other connections, of whichever worker."""
    served = serve(settings={"daemon.workers": 3})
    with served.daemon.client() as watching:
        watch(watching)
        for source in (B, C, A, B):
            clients = [served.daemon.client() for _ in range(6)]
            served.put(source)
            served.daemon.send_signal(signal.SIGHUP)
            generation = told(watching)
            for client in clients:
                assert client.call("hello")["generation"] == generation
                client.close()


def test_who_does_not_read_gets_only_the_newest(serve):
    served = serve(paths.CITIES)
    with served.daemon.client() as client:
        assert watch(client)["number"] == 1
        msgids = {send(client, "scan", b"", {"limit": 100000}) for _ in range(8)}
        eventually(lambda: is_stuck(served.daemon), "a full socket")
        for _ in range(5):
            identity = served.replace(paths.CITIES)
        generations = []
        while msgids or not generations:
            message = client.message()
            if message[0] == 2:
                generations.append(message[2][0])
            else:
                assert message[2] is None
                msgids.remove(message[1])
        assert generations == [{"number": 6, "identity": identity}]
        assert client.is_usable()


def test_a_thousand_watch(serve):
    n = 1000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
    try:
        served = serve()
        clients = [served.daemon.client() for _ in range(n)]
        for client in clients:
            assert watch(client)["number"] == 1
        identity = served.replace(B)
        with served.daemon.client() as other:
            assert other.is_usable()
        for client in clients:
            assert told(client) == {"number": 2, "identity": identity}
            client.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_who_watches_is_not_idle(serve):
    served = serve(settings={"limits.idle_timeout_ms": 300})
    with served.daemon.client() as watching, served.daemon.client() as idle:
        watch(watching)
        assert idle.is_usable()
        assert idle.at_end()
        for _ in range(3):  # how long others may be idle tells that the time was over
            with served.daemon.client() as another:
                assert another.is_usable()
                assert another.at_end()
        assert watching.is_usable()


def test_the_end_of_who_watches(serve):
    served = serve()
    with served.daemon.client() as ending, served.daemon.client() as drained:
        watch(drained)
        msgid = send(ending, "watch")
        ending.end()
        assert ending.rest() == [
            [1, msgid, None, True],
            [2, "generation", [{"number": 1, "identity": served.identity}]],
        ]
        served.daemon.send_signal()
        assert drained.at_end()


# Waiting


def test_waiting_for_a_generation(serve, kind):
    served = serve()
    with served.daemon.client(getattr(served.daemon, kind)) as client:
        assert client.call("wait_generation", served.identity, 0) is True
        assert client.call("wait_generation", str(served.identity), 60000) is True
        assert client.call("wait_generation", served.identity ^ 1, 0) is False
        assert client.call("wait_generation", str(served.identity ^ 1).encode(), 0) is False
        served.put(B)
        with served.daemon.client() as other:
            # One worker may switch before the others: its clients know the identity first.
            served.daemon.send_signal(signal.SIGHUP)
            eventually(lambda: other.call("hello")["generation"]["number"] == 2, "generation 2")
            identity = other.call("hello")["generation"]["identity"]
        assert client.call("wait_generation", identity, 60000) is True
        assert client.call("wait_generation", served.identity, 0) is False


def test_waiting_before_it_comes(serve, actd, tmp_path):
    served = serve()
    # On another host, so to speak, the same file has the same identity.
    other = Served(actd, tmp_path / "other.act", A)
    other.n_files = 1
    identity = other.replace(B)
    with served.daemon.client() as client:
        msgid = send(client, "wait_generation", identity, 60000)
        assert client.call("get", b"dog") == 7
        served.replace(B)
        assert client.reply() == (msgid, None, True)


def test_waiting_in_vain(serve):
    served = serve()
    with served.daemon.client() as client:
        begin = time.monotonic()
        long = send(client, "wait_generation", 5, 400)
        short = send(client, "wait_generation", 5, 200)
        assert client.reply() == (short, None, False)
        assert time.monotonic() - begin >= 0.19
        assert client.reply() == (long, None, False)
        assert time.monotonic() - begin >= 0.39


@pytest.mark.parametrize(
    "params",
    [
        [], [1], [1, 1, 1], [None, 0], [-1, 0], [1.0, 0], [True, 0], ["", 0], ["x", 0], ["-1", 0],
        ["0x1", 0], [" 1", 0], ["18446744073709551616", 0], ["1" * 21, 0], [[1], 0], [{}, 0],
        [1, None], [1, -1], [1, 0.5], [1, "0"], [1, b"0"], [1, True], [1, []], [1, 2**64 - 1],
        [1, 5001],
    ],
)  # fmt: skip
def test_bad_parameters_of_wait_generation(limited, params):
    with limited.daemon.client() as client:
        assert client.error_of("wait_generation", *params) == rpc.BAD_PARAMS
        assert client.is_usable()


@pytest.mark.parametrize("pin", [None, -1, 1.5, True, "", "x", "1 ", b"-1", "1" * 21, [], {}, [1]])
def test_bad_pins(limited, pin):
    with limited.daemon.client() as client:
        for call in pinned(pin):
            assert client.error_of(*call) == rpc.BAD_PARAMS
        assert client.is_usable()


def test_other_bad_parameters(limited):
    with limited.daemon.client() as client:
        assert client.error_of("watch", 1) == rpc.BAD_PARAMS
        assert client.error_of("watch", {}) == rpc.BAD_PARAMS
        for call in (["get", b"a"], ["exists", b"a"], ["node", b"a"], ["next", b"a"],
                     ["prev", b"a"], ["longest_prefix", b"a"], ["prefixes", b"a"]):  # fmt: skip
            assert client.error_of(*call, {"pin": limited.identity}) == rpc.BAD_PARAMS
        assert client.error_of("hello", {"pin": limited.identity}) == rpc.BAD_PARAMS


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A daemon that tests share: they change nothing in it."""
    path = tmp_path_factory.mktemp("limited") / "tree.act"
    settings = {"limits.max_wait_ms": 5000, "limits.max_sliced_requests": 4}
    served = Served(Daemon, path, A, settings)
    with served.daemon:
        yield served


def test_the_limit_is_named(limited):
    with limited.daemon.client() as client:
        assert client.call("hello")["limits"]["max_wait_ms"] == 5000
        with pytest.raises(rpc.RpcError, match="5001.*5000.*limits.max_wait_ms"):
            client.call("wait_generation", 1, 5001)
        begin = time.monotonic()
        msgids = {send(client, "wait_generation", 1, 600) for _ in range(4)}
        last = send(client, "ping")
        for _ in range(5):
            msgid, error, result = client.reply()
            assert error is None
            if msgid == last:
                # There was no room for it before.
                assert time.monotonic() - begin >= 0.59
                assert result == "pong" and len(msgids) < 4
            else:
                assert result is False
                msgids.remove(msgid)


def test_many_wait_and_some_leave(serve):
    served = serve()
    clients = [served.daemon.client() for _ in range(50)]
    for client in clients:
        for _ in range(10):
            send(client, "wait_generation", 5, 60000)
    served.daemon.wait_stat("requests", "running", 500)
    for client in clients[:25]:
        client.reset()
    for client in clients[25:]:
        assert client.is_usable()
    served.daemon.send_signal()
    for client in clients[25:]:
        for _ in range(10):
            _, error, _ = client.reply()
            assert error[0] == rpc.DRAINING
        assert client.at_end()


def test_draining_ends_waiting(serve):
    served = serve()
    with served.daemon.client() as client:
        msgid = send(client, "wait_generation", 5, 60000)
        served.daemon.wait_stat("requests", "running", 1)
        served.daemon.send_signal()
        got, error, _ = client.reply()
        assert got == msgid and error[0] == rpc.DRAINING
        assert client.at_end()


# Pins


def pinned(identity):
    options = {"pin": identity}
    return [
        ["mget", [b"dog"], options], ["scan", b"", options], ["range", b"a", None, options],
        ["mscan", [b"a"], options], ["count", b"", options], ["explore", b"", options],
        ["longest_prefix", [b"dog"], options], ["prefixes", [b"dog"], options],
    ]  # fmt: skip


def test_pins(serve, kind):
    served = serve()
    first = served.identity
    with served.daemon.client(getattr(served.daemon, kind)) as client:
        for identity in (first, str(first), str(first).encode()):
            for call in pinned(identity):
                assert client.call(*call) == client.call(*call[:-1])
        for call in pinned(first ^ 1):
            assert client.error_of(*call) == rpc.GONE
        second = served.replace(B)
        for call in pinned(first):
            assert client.error_of(*call) == rpc.GONE
        for call in pinned(second):
            assert client.call(*call) == client.call(*call[:-1])
        with pytest.raises(rpc.RpcError, match=f"{first} .*{second} .*number 2"):
            client.call("count", b"", {"pin": first})


def test_a_pinned_scan_ends_with_its_generation(serve):
    served = serve()
    first = served.identity
    with served.daemon.client() as client:
        page = client.call("scan", b"", {"limit": 2, "pin": first})
        assert len(page["entries"]) == 2 and page["cursor"]
        second = served.replace(B)
        options = {"limit": 2, "cursor": page["cursor"]}
        assert client.error_of("scan", b"", {**options, "pin": first}) == rpc.GONE
        # Without a pin, or with the new one, it goes on in the new generation.
        free = client.call("scan", b"", options)
        assert free["generation"] == {"number": 2, "identity": second}
        assert client.call("scan", b"", {**options, "pin": second}) == free


def test_a_scan_goes_on_in_its_generation(serve):
    """Slices of one request are of one generation, whatever is served meanwhile."""
    served = serve(paths.CITIES)
    first = served.identity
    with served.daemon.client() as client:
        msgids = [
            send(client, "scan", b"", {"limit": 100000, "max_bytes": 1 << 23, "pin": first})
            for _ in range(4)
        ]
        served.daemon.wait_stat("requests", "sliced", lambda n: n >= 1)
        served.replace(A)
        for _ in msgids:
            _, error, result = client.reply()
            assert (error and error[0] == rpc.GONE) or result["generation"]["identity"] == first


def test_what_another_connection_knows_can_be_pinned(serve):
    """Workers switch one after the other: a pin on what one has told waits in the others."""
    served = serve(settings={"daemon.workers": 3})
    clients = [served.daemon.client() for _ in range(6)]
    for source in (B, C, A, B, C):
        number = clients[0].call("hello")["generation"]["number"]
        served.put(source)
        served.daemon.send_signal(signal.SIGHUP)
        generation = {}

        def has_come():
            for client in clients:
                generation.update(client.call("hello")["generation"])
                if generation["number"] > number:
                    return True
            return False

        eventually(has_come, "another generation")
        for client in clients:
            for call in pinned(generation["identity"]):
                client.call(*call)
    for client in clients:
        client.close()
