"""Load that may lose connections: it notes which, and everything else must be right.

Connections that ask all the time (Traffic) and connections that are made all the time (Prober);
both go on where the server lets them, and what broke is judged afterwards, when it is known who was
killed, and when.
"""

import random
import selectors
import socket
import struct
import threading
import time
from typing import NamedTuple, Optional

from . import rpc
from .waiting import Clock

WHO = object()  # the result of info that a connection asks first


class Broken(NamedTuple):
    pid: Optional[int]  # of its server; None: it had not told yet
    opened_s: float     # time.monotonic()
    broken_s: float


class Kill(NamedTuple):
    pid: int
    began_s: float
    ended_s: float


def is_explained(broken, kills):
    """Was its server killed, while it was open?"""
    return any(
        broken.pid in (None, kill.pid)
        and broken.opened_s <= kill.ended_s
        and kill.began_s <= broken.broken_s
        for kill in kills
    )


class Background:
    """run() in a thread of its own, until it is told to stop."""

    def __init__(self):
        self.is_stopping = threading.Event()
        self.failure = None
        self.broken = []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            self.run()
        except BaseException as failure:
            self.failure = failure

    def stop(self):
        """Waits for its end; what it has found wrong is raised."""
        self.is_stopping.set()
        self.thread.join(Clock().left("the load's end"))
        assert not self.thread.is_alive(), "the load does not end"
        if self.failure:
            raise self.failure

    def check(self):
        """Nothing is wrong so far."""
        if self.failure:
            raise self.failure

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.is_stopping.set()
        if kind is None:
            self.stop()


class Asker:
    """A connection with requests in flight, each with the result that it must have."""

    def __init__(self, address):
        self.opened_s = time.monotonic()
        self.sock = rpc.connect(address)
        self.sock.settimeout(Clock().left("room to send"))
        self.unpacker = rpc.unpacker()
        self.pid = None
        self.n_asked = 0
        self.wanted = {}

    def reset(self):
        """Closes, and leaves no port waiting."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def ask(self, calls):
        """calls: [method, parameter or None, result]; the result of info tells who serves us."""
        data = b""
        for method, param, result in calls:
            self.n_asked += 1
            self.wanted[self.n_asked] = result
            data += rpc.request(self.n_asked, method, *([] if param is None else [param]))
        self.sock.sendall(data)

    def hear(self):
        """Takes the replies that are there: how many; -1 at the end of the connection."""
        data = self.sock.recv(1 << 18)
        if not data:
            return -1
        self.unpacker.feed(data)
        n = 0
        for message in self.unpacker:
            self.take(message)
            n += 1
        return n

    def take(self, message):
        kind, msgid, error, result = message
        assert kind == 1 and error is None, message
        assert msgid in self.wanted, f"a reply to {msgid}, which is answered or was never asked"
        wanted = self.wanted.pop(msgid)
        if wanted is WHO:
            self.pid = result["pid"]
        else:
            assert result == wanted, f"{result!r}, not {wanted!r}"


class Traffic(Background):
    """n connections, each with `depth` requests in flight. One that breaks is opened again."""

    def __init__(self, addresses, oracle, n=16, depth=20):
        super().__init__()
        self.addresses, self.n, self.depth = addresses, n, depth
        self.calls = [["get", key, oracle.get(key)] for key in oracle.sample(2000)]
        self.random = random.Random(0)
        self.selector = selectors.DefaultSelector()
        self.askers = set()
        self.n_answered = 0

    def open(self):
        asker = Asker(self.random.choice(self.addresses))
        self.askers.add(asker)
        self.selector.register(asker.sock, selectors.EVENT_READ, asker)
        self.ask(asker, [["info", None, WHO]])

    def close(self, asker):
        self.askers.remove(asker)
        self.selector.unregister(asker.sock)
        asker.sock.close()

    def lose(self, asker):
        self.broken.append(Broken(asker.pid, asker.opened_s, time.monotonic()))
        self.close(asker)

    def ask(self, asker, calls):
        try:
            asker.ask(calls)
        except (ConnectionResetError, BrokenPipeError):
            self.lose(asker)

    def hear(self, asker):
        try:
            n = asker.hear()
        except ConnectionResetError:
            n = -1
        if n < 0:
            self.lose(asker)
            return
        self.n_answered += n
        if not self.is_stopping.is_set():
            room = self.depth - len(asker.wanted)
            self.ask(asker, self.random.choices(self.calls, k=room))

    def is_done(self):
        return self.is_stopping.is_set() and not any(asker.wanted for asker in self.askers)

    def run(self):
        clock = Clock()
        while not self.is_done():
            while len(self.askers) < self.n and not self.is_stopping.is_set():
                self.open()
            for key, _ in self.selector.select(0.05):
                if key.data in self.askers:
                    self.hear(key.data)
            if not self.is_stopping.is_set():
                clock = Clock()
            clock.left("the last replies")
        for asker in list(self.askers):
            self.close(asker)


class Prober(Background):
    """Connects, asks one thing, and again."""

    def __init__(self, addresses):
        super().__init__()
        self.addresses = addresses
        self.n_served = 0

    def probe(self, address):
        asker = Asker(address)
        try:
            asker.ask([["ping", None, "pong"]])
            n = asker.hear()
        except (ConnectionResetError, BrokenPipeError):
            n = -1
        if n == 1:
            self.n_served += 1
        else:
            self.broken.append(Broken(None, asker.opened_s, time.monotonic()))
        asker.reset()

    def run(self):
        while not self.is_stopping.is_set():
            self.probe(self.addresses[self.n_served % len(self.addresses)])
