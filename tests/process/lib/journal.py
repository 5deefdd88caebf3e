"""The journal's end of its socket: a reader of the native protocol that takes nothing on trust.

The socket's path is fixed, so actd runs where that path leads here (a mount namespace; needs root),
and where its standard error is said to be the journal.
"""

import array
import os
import pathlib
import re
import shutil
import socket
import struct
import threading

import pytest

from . import paths
from .waiting import Clock

DATAGRAM_BYTES = 1 << 20
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
NAME = re.compile(rb"[A-Z][A-Z0-9_]{0,63}")

# What each entry has.
COMMON = {"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "CODE_FILE", "CODE_LINE", "CODE_FUNC"}

BECOME_A_SERVICE = """
mount -t tmpfs none /run && mkdir -p /run/systemd/journal &&
mount --bind "$0" /run/systemd/journal || exit 99
JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$@"
"""


def known_events():
    """{name: (id, fields)}, as the daemon's table has them."""
    table = (paths.ROOT / "daemon" / "events.h").read_text().replace("\\\n", "")
    rows = re.findall(r'X\((\w+), \w+, "(\w+)",\s*"([A-Z_ ]+)"\)', table)
    assert len(rows) > 10
    return {name: (number, set(fields.split())) for name, number, fields in rows}


EVENTS = known_events()


def parse(data):
    """An entry's fields: {name: bytes}."""
    fields = {}
    at = 0
    while at < len(data):
        name = NAME.match(data, at)
        assert name, f"no field begins at {at} of {data!r}"
        name, at = name[0].decode(), name.end()
        if data[at : at + 1] == b"=":
            end = data.index(b"\n", at)
            value = data[at + 1 : end]
        else:
            assert data[at : at + 1] == b"\n", (name, data)
            [size] = struct.unpack_from("<Q", data, at + 1)
            end = at + 9 + size
            value = data[at + 9 : end]
            assert len(value) == size and data[end : end + 1] == b"\n", (name, size, data)
        assert name not in fields, f"{name} is there twice: {data!r}"
        fields[name] = value
        at = end + 1
    return fields


def check_place(entry):
    """The place in the source is one where something is logged, and its file is named from the
    root."""
    lines = (paths.ROOT / entry["CODE_FILE"]).read_text().splitlines()
    line = int(entry["CODE_LINE"])
    near = "\n".join(lines[max(0, line - 8) : line + 8])
    assert re.search(r"\blog_\w+\(", near), (entry, near)
    function = entry["CODE_FUNC"]
    assert any(re.search(rf"\b{function}\(", text) for text in lines[:line]), entry


def check(entry):
    """What holds for each of them."""
    assert entry["MESSAGE"].isprintable(), entry
    assert COMMON <= entry.keys(), entry
    assert entry["SYSLOG_IDENTIFIER"] == "actd" and entry["PRIORITY"] in ("3", "4", "6", "7")
    check_place(entry)
    assert ("EVENT" in entry) == ("MESSAGE_ID" in entry), entry
    if "EVENT" in entry:
        number, fields = EVENTS[entry["EVENT"]]
        assert entry["MESSAGE_ID"] == number and fields <= entry.keys(), entry


class Journal:
    """with Journal(directory) as journal: start(..., launcher=journal.command)"""

    def __init__(self, directory):
        if os.geteuid() != 0 or not shutil.which("unshare"):
            pytest.skip("needs root and unshare: has a path of the system lead elsewhere")
        self.path = pathlib.Path(directory) / "socket"
        self.command = ["unshare", "--mount", "sh", "-c", BECOME_A_SERVICE, str(directory)]
        self.entries = []
        self.problem = None
        self.heard = threading.Condition()
        self.thread = None

    def __enter__(self):
        self.listen()
        self.start_reading()
        return self

    def __exit__(self, kind, *_):
        self.go()
        if kind is None:
            assert self.problem is None, self.problem

    def listen(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.sock.bind(str(self.path))

    def start_reading(self):
        self.thread = threading.Thread(target=self._read, args=[self.sock], daemon=True)
        self.thread.start()

    def go(self, is_path_left=False):
        """Nobody listens any more."""
        if self.thread:
            self.sock.shutdown(socket.SHUT_RDWR)
            self.thread.join()
            self.thread = None
        self.sock.close()
        if not is_path_left:
            self.path.unlink(missing_ok=True)

    def _read(self, sock):
        while True:
            data, more, flags, _ = sock.recvmsg(DATAGRAM_BYTES, socket.CMSG_SPACE(256))
            if not data and not more:
                return
            try:
                assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
                self._take(data, more)
            except (AssertionError, KeyError, ValueError, OSError) as problem:
                with self.heard:
                    self.problem = self.problem or repr(problem)
                    self.heard.notify_all()

    def _take(self, data, more):
        pid = None
        for level, kind, content in more:
            assert level == socket.SOL_SOCKET
            if kind == socket.SCM_CREDENTIALS:
                pid = CREDENTIALS.unpack(content)[0]
            elif kind == socket.SCM_RIGHTS:  # an entry that is too large for a datagram
                [fd] = array.array("i", content)
                assert not data
                with open(fd, "rb") as file:
                    file.seek(0)
                    data = file.read()
        fields = parse(data)
        path = fields.pop("TREE_PATH", None)  # any bytes, unlike all others
        entry = {name: value.decode() for name, value in fields.items()}
        if path is not None:
            entry["TREE_PATH"] = path
        check(entry)
        with self.heard:
            self.entries.append({**entry, "_PID": pid})
            self.heard.notify_all()

    # What it has heard.

    def find(self, text="", since=0, **fields):
        """The entries with this (regular expression) in their text, and with these fields."""
        wanted = {name: str(value) for name, value in fields.items()}
        if "TREE_PATH" in fields:
            wanted["TREE_PATH"] = fields["TREE_PATH"]
        with self.heard:
            return [
                entry
                for entry in self.entries[since:]
                if re.search(text, entry["MESSAGE"])
                and all(entry.get(name) == value for name, value in wanted.items())
            ]

    def wait(self, text="", since=0, **fields):
        """The first one of them; waits for it."""
        clock = Clock()
        with self.heard:
            while True:
                assert self.problem is None, self.problem
                found = self.find(text, since, **fields)
                if found:
                    return found[0]
                self.heard.wait(clock.left(f"{text!r} {fields} in {self.entries}"))

    def event(self, name, since=0, **fields):
        """The first of that kind."""
        assert name in EVENTS
        return self.wait(since=since, EVENT=name, **fields)

    def events(self, name):
        return self.find(EVENT=name)
