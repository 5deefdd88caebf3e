"""A MessagePack-RPC client for tests: it can also send what no good client would.

Replies may come in any order; they are matched by message id, and one that comes twice or that
nobody asked for fails the test.
"""

import contextlib
import ctypes
import select
import socket
import struct

import msgpack

from .waiting import Clock, Deadline

CLONE_NEWNET = 0x40000000

BAD_REQUEST = 1
UNKNOWN_METHOD = 2
BAD_PARAMS = 3
TOO_LARGE = 4
CORRUPT = 6
IO_ERROR = 7
BUSY = 8
GONE = 9
DRAINING = 11

NAMES = {
    BAD_REQUEST: "BAD_REQUEST",
    UNKNOWN_METHOD: "UNKNOWN_METHOD",
    BAD_PARAMS: "BAD_PARAMS",
    TOO_LARGE: "TOO_LARGE",
    CORRUPT: "CORRUPT",
    IO_ERROR: "IO_ERROR",
    BUSY: "BUSY",
    GONE: "GONE",
    DRAINING: "DRAINING",
}


class RpcError(Exception):
    def __init__(self, error):
        super().__init__(repr(error))
        self.error = error
        if isinstance(error, list):
            self.number, self.text = error
        else:
            self.number, self.text = None, error
        self.name = self.text.split(":")[0]


def pack(value, **options):
    return msgpack.packb(value, use_bin_type=True, **options)


def request(msgid, method, *params):
    return pack([0, msgid, method, list(params)])


def unpacker():
    return msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=2**31 - 1)


def new_socket(address):
    """Of the address's family; in another network where it names one."""
    if address[0] == "unix":
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    family = socket.AF_INET6 if ":" in address[1] else socket.AF_INET
    with network(address[3]) if len(address) > 3 else contextlib.nullcontext():
        return socket.socket(family, socket.SOCK_STREAM)


def connect(address, receive_buffer_bytes=None):
    """address: ("unix", path) or ("tcp", host, port); after the port may come a network namespace,
    as a path in /proc."""
    sock = new_socket(address)
    try:
        if receive_buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.settimeout(Clock().left("a connection"))
        sock.connect(address[1] if address[0] == "unix" else tuple(address[1:3]))
        if address[0] == "tcp":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def network(path):
    """What this thread makes meanwhile is in that network; a socket stays there. Needs root."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(fd):
        if libc.setns(fd, CLONE_NEWNET) < 0:
            raise OSError(ctypes.get_errno(), f"cannot enter {path}")

    with open("/proc/thread-self/ns/net") as ours, open(path) as theirs:
        enter(theirs.fileno())
        try:
            yield
        finally:
            enter(ours.fileno())


class Client:
    def __init__(self, address, **options):
        self.sock = connect(address, **options)
        self.unpacker = unpacker()
        self.last_msgid = 0
        self.answered = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes so that the server sees a connection reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, data):
        self.sock.settimeout(Clock().left("room to send"))
        self.sock.sendall(data)

    def end(self):
        """The server sees the end of what we send; we still read."""
        self.sock.shutdown(socket.SHUT_WR)

    def next_msgid(self):
        self.last_msgid += 1
        return self.last_msgid

    def message(self):
        """The next message, whatever it is; None at the end."""
        clock = Clock()
        while True:
            for message in self.unpacker:
                return message
            self.sock.settimeout(clock.left("a message"))
            try:
                data = self.sock.recv(1 << 18)
            except socket.timeout:
                raise Deadline("no message and no end of the connection") from None
            if not data:
                return None
            self.unpacker.feed(data)

    def reply(self):
        """(msgid, error, result) of the next reply."""
        message = self.message()
        assert message is not None, "the connection ended without a reply"
        return self.check(message)

    def check(self, message):
        assert isinstance(message, list) and len(message) == 4 and message[0] == 1, message
        _, msgid, error, result = message
        assert error is None or result is None
        assert msgid not in self.answered, f"a second reply to {msgid}"
        self.answered.add(msgid)
        return msgid, error, result

    def call(self, method, *params):
        msgid = self.next_msgid()
        self.send(request(msgid, method, *params))
        got, error, result = self.reply()
        assert got == msgid
        if error is not None:
            raise RpcError(error)
        return result

    def error_of(self, method, *params):
        """The number of the error that the call must end in."""
        try:
            result = self.call(method, *params)
        except RpcError as error:
            if error.number is not None:
                assert error.text.startswith(NAMES[error.number] + ": "), error.text
            return error.number
        raise AssertionError(f"{method} did not fail: {result!r}")

    def exchange(self, data, n_replies):
        """Sends data and meanwhile reads n_replies: {msgid: (error, result)}."""
        clock = Clock()
        replies = {}
        view = memoryview(data)
        self.sock.setblocking(False)
        while len(replies) < n_replies:
            wanted = [self.sock] if view else []
            readable, writable, _ = select.select(
                [self.sock], wanted, [], clock.left(f"{n_replies - len(replies)} replies")
            )
            if writable:
                view = view[self.sock.send(view[: 1 << 18]) :]
            if readable:
                received = self.sock.recv(1 << 18)
                assert received, f"the connection ended after {len(replies)} of {n_replies} replies"
                self.unpacker.feed(received)
                for message in self.unpacker:
                    msgid, error, result = self.check(message)
                    replies[msgid] = (error, result)
        assert not view, "all replies came before all was sent"
        return replies

    def pipeline(self, calls):
        """All calls, [method, param...] each, at once: their (error, result) in the order asked."""
        first = self.last_msgid + 1
        data = bytearray()
        for call in calls:
            data += request(self.next_msgid(), *call)
        replies = self.exchange(data, len(calls))
        return [replies[first + i] for i in range(len(calls))]

    def results(self, calls):
        """The same for calls of which none may fail: their results."""
        results = []
        for call, (error, result) in zip(calls, self.pipeline(calls)):
            assert error is None, (call, error)
            results.append(result)
        return results

    def rest(self):
        """Every message that still comes, until the server ends the connection."""
        messages = []
        while (message := self.message()) is not None:
            messages.append(message)
        return messages

    def at_end(self):
        """The server has ended the connection, cleanly, and sends nothing more."""
        rest = self.rest()
        assert rest == [], rest
        return True

    def is_usable(self):
        return self.call("ping") == "pong"
