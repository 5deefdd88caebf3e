"""The service manager's end of NOTIFY_SOCKET."""

import os
import select
import socket
import time

from .waiting import Clock


class Message(dict):
    """{name: value}, in the order of its lines. at: when it was read, time.monotonic()."""

    def __init__(self, text):
        super().__init__(line.split("=", 1) for line in text.rstrip("\n").split("\n"))
        self.at = time.monotonic()


class Manager:
    def __init__(self, directory, *, name="notify.sock", watchdog_us=None):
        """name: beginning with @ it is no file's. watchdog_us: when it takes silence for a hang."""
        self.path = name if name.startswith("@") else str(directory / name)
        self.env = {"NOTIFY_SOCKET": self.path}
        if watchdog_us is not None:
            self.env["WATCHDOG_USEC"] = str(watchdog_us)
        self.heard = []
        self.listen()

    def listen(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path.replace("@", "\0") if self.path.startswith("@") else self.path)

    def close(self):
        self.sock.close()
        if not self.path.startswith("@"):
            os.unlink(self.path)

    def next(self, clock=None):
        """The next message: {name: value}; but for those about descriptors, none of which it keeps
        (lib/fd_store.py has a manager that does)."""
        clock = clock or Clock()
        while not (message := self._receive(clock)):
            pass
        return message

    def _receive(self, clock):
        """None: it was one about descriptors."""
        self.sock.settimeout(clock.left("a notification"))
        message = Message(self.sock.recv(65536).decode())
        if message.keys() & {"FDSTORE", "FDSTOREREMOVE", "BARRIER"}:
            return None
        self.heard.append(message)
        return message

    def wait(self, name, clock=None):
        """The first message from now on that has this name."""
        clock = clock or Clock()  # others, which come again and again, are no reason to go on
        while name not in (message := self.next(clock)):
            pass
        return message

    def wait_status(self, text):
        """The first status from now on that holds this."""
        clock = Clock()
        while text not in (message := self.wait("STATUS", clock))["STATUS"]:
            pass
        return message

    def rest(self):
        """What lies there, of a process that has ended."""
        while self.has_more():
            self._receive(Clock())
        return self.heard

    def has_more(self):
        """Is there a message now?"""
        return bool(select.select([self.sock], [], [], 0)[0])

    def fill(self):
        """Until there is no room for another message: how many it took."""
        n = 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            try:
                while True:
                    sock.sendto(b"X_FILLED=1", self.sock.getsockname())
                    n += 1
            except BlockingIOError:
                return n
