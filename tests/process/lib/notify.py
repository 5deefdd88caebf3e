"""The service manager's end of NOTIFY_SOCKET."""

import os
import socket

from .waiting import Clock


class Manager:
    def __init__(self, directory):
        self.path = str(directory / "notify.sock")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.env = {"NOTIFY_SOCKET": self.path}
        self.heard = []

    def close(self):
        self.sock.close()
        os.unlink(self.path)

    def next(self):
        """The next message: {name: value}; but for those about descriptors, none of which it keeps
        (lib/fd_store.py has a manager that does)."""
        message = {"FDSTORE": "1"}
        while message.keys() & {"FDSTORE", "FDSTOREREMOVE", "BARRIER"}:
            self.sock.settimeout(Clock().left("a notification"))
            text = self.sock.recv(65536).decode()
            message = dict(line.split("=", 1) for line in text.rstrip("\n").split("\n"))
        self.heard.append(message)
        return message

    def wait(self, name):
        """The first message from now on that has this name."""
        while name not in (message := self.next()):
            pass
        return message
