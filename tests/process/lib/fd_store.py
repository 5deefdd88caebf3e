"""A service manager with a store of descriptors, which starts actd again and again.

What it is given (FDSTORE=1 with a name) it keeps, what it is told to forget (FDSTOREREMOVE=1) it
closes, and at each start it hands all of it over by LISTEN_FDS and LISTEN_FDNAMES, after the
sockets of its socket units.
"""

import array
import fcntl
import os
import queue
import re
import select
import socket
import threading

from .daemon import Daemon
from .waiting import Clock, eventually

# Descriptors come with the process id of who gets them.
LAUNCHER = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"']
FIRST = 3  # SD_LISTEN_FDS_START
APART = 200  # above all numbers that are handed over


def hand_over(descriptors):
    """For preexec_fn: these descriptors are the process's from FIRST on."""

    def move():
        apart = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, APART) for fd in descriptors]
        for i, fd in enumerate(apart):
            os.dup2(fd, FIRST + i, inheritable=True)

    return move


def passing(named):
    """Options of Daemon or of run() for a start with these: [(name, file or descriptor)]."""
    if not named:
        return {"env": {}}
    descriptors = [f if isinstance(f, int) else f.fileno() for _, f in named]
    env = {"LISTEN_FDS": str(len(named)), "LISTEN_FDNAMES": ":".join(name for name, _ in named)}
    return {"launcher": LAUNCHER, "env": env, "preexec": hand_over(descriptors)}


class Keeper:
    """The manager; max_kept: FileDescriptorStoreMax, 0: it has no store."""

    def __init__(self, directory, max_kept=64):
        self.path = str(directory / "keeper.sock")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.max_kept = max_kept
        self.kept = []  # [(name, descriptor)]
        self.messages = queue.Queue()
        self.told = []  # all of them
        self.lock = threading.Lock()
        self.stopping, self.stop = os.pipe()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while self.stopping not in select.select([self.sock, self.stopping], [], [])[0]:
            data, ancillary, _, _ = self.sock.recvmsg(65536, socket.CMSG_SPACE(64 * 4))
            fds = array.array("i")
            for _, _, received in ancillary:
                fds.frombytes(received)
            message = dict(line.split("=", 1) for line in data.decode().rstrip("\n").split("\n"))
            with self.lock:
                self._take(message, list(fds))
            self.told.append(message)
            self.messages.put(message)

    def _take(self, message, fds):
        name = message.get("FDNAME", "stored")
        if message.get("FDSTOREREMOVE") == "1":
            for kept in [kept for kept in self.kept if kept[0] == name]:
                os.close(kept[1])
                self.kept.remove(kept)
        for fd in fds:
            os.set_inheritable(fd, False)
            if message.get("FDSTORE") == "1" and len(self.kept) < self.max_kept:
                self.kept.append((name, fd))
            else:
                os.close(fd)

    def close(self):
        os.write(self.stop, b"x")
        self.reader.join()
        for fd in (self.stopping, self.stop, *(fd for _, fd in self.kept)):
            os.close(fd)
        self.sock.close()
        os.unlink(self.path)

    # What is in the store.

    def _forget_hung_up(self):
        """As epoll tells a manager of pipes that nobody reads any more."""
        for kept in list(self.kept):
            poll = select.poll()
            poll.register(kept[1], 0)
            if poll.poll(0):
                os.close(kept[1])
                self.kept.remove(kept)

    def names(self):
        with self.lock:
            return sorted(name for name, _ in self.kept)

    def generations(self):
        """The numbers of the generations in it."""
        found = [re.fullmatch(r"kept-generation-(\d+)", name) for name in self.names()]
        return sorted(int(match[1]) for match in found if match)

    def wait_generations(self, numbers):
        """Until these are in it, with their facts, and no other."""
        facts = [f"kept-facts-{n}" for n in numbers]
        eventually(
            lambda: self.generations() == numbers
            and [n for n in self.names() if n.startswith("kept-facts-")] == sorted(facts),
            f"generations {numbers} in the store, where {self.names()} are",
        )

    def sockets(self):
        return [name for name in self.names() if re.match("kept-(data|admin)-", name)]

    def fd(self, pattern):
        """The descriptor whose name begins like that."""
        with self.lock:
            (fd,) = [fd for name, fd in self.kept if re.match(pattern, name)]
            return fd

    def put(self, name, file):
        """As if somebody had stored a copy of it."""
        fd = os.dup(file if isinstance(file, int) else file.fileno())
        with self.lock:
            self.kept.append((name, fd))

    def remove(self, pattern):
        with self.lock:
            for kept in [kept for kept in self.kept if re.match(pattern, kept[0])]:
                os.close(kept[1])
                self.kept.remove(kept)

    # The service.

    def options(self, units=()):
        """Options of Daemon for the next start; units: [(name, file)] of its socket units."""
        with self.lock:
            self._forget_hung_up()
            options = passing([*units, *self.kept])
        options["env"]["NOTIFY_SOCKET"] = self.path
        return options

    def start(self, tree, settings, units=(), **options):
        return Daemon(tree, settings, **self.options(units), **options)

    def wait(self, is_wanted):
        """The next message of that kind."""
        clock = Clock()
        while not is_wanted(message := self.messages.get(timeout=clock.left("a message"))):
            pass
        return message

    def wait_asked(self):
        """Until actd can know that there is a store: it has been asked, and everything before."""
        for _ in range(2):  # at its begin, and when all is there
            self.wait(lambda m: m.get("FDSTORE") and m.get("FDNAME") == "kept-probe")
        self.wait(lambda m: "BARRIER" in m)
