"""A MessagePack-RPC server that the test plays itself, message by message."""

import socket

import msgpack

from .waiting import Clock


class Peer:
    """Listens; the methods below speak on the connection that was accepted last."""

    def __init__(self, path):
        self.address = f"unix:{path}"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        self.connection = None

    def accept(self):
        self.close()
        self.listener.settimeout(Clock().left("a connection"))
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(Clock().left("a request"))
        self.unpacker = msgpack.Unpacker(raw=False)

    def request(self):
        """(msgid, method, params) of the next request; None: the client has closed."""
        while True:
            for message in self.unpacker:
                kind, msgid, method, params = message
                assert kind == 0
                return msgid, method, params
            data = self.connection.recv(65536)
            if not data:
                return None
            self.unpacker.feed(data)

    def send(self, *messages):
        self.connection.sendall(b"".join(map(msgpack.packb, messages)))

    def expect(self, method, *params):
        """The next request must be this one: its id."""
        msgid, got, got_params = self.request()
        assert (got, got_params) == (method, list(params))
        return msgid

    def answer(self, method, *params, result):
        """Expects this request, and answers it."""
        self.send([1, self.expect(method, *params), None, result])

    def refuse(self, method, *params, error):
        self.send([1, self.expect(method, *params), error, None])

    def notify(self, number, identity):
        self.send([2, "generation", [{"number": number, "identity": identity}]])

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        self.listener.close()
