"""A daemon of one worker, whose tree is on a slow disk and in no memory; clients that ask for what
is there; and what the worker's loop has waited for."""

import base64
import contextlib
import multiprocessing
import os
import pathlib
import random
import time
import traceback
from typing import NamedTuple

from . import actctl, rpc
from .daemon import Daemon, is_sanitized
from .slow_disk import SlowDisk, opened
from .waiting import Clock, Deadline

PAGE = 4096
FOR_EVER_US = 3600 * 10**6


class Tree(NamedTuple):
    path: pathlib.Path
    values: dict  # {key: value}
    keys: list  # in no order


def build(path, n_keys, value_bytes=0, seed=1):
    """Random keys with numbers, or with byte strings of about that length, as values."""
    rng = random.Random(seed)
    keys = list(dict.fromkeys(b"%08x" % rng.randrange(2**32) for _ in range(n_keys)))
    if value_bytes:
        values = {key: base64.b64encode(rng.randbytes(value_bytes * 3 // 4)) for key in keys}
        lines = (key + b"\t" + value + b"\n" for key, value in values.items())
        actctl.build(path, b"".join(lines), "--values=bytes")
    else:
        values = {key: rng.randrange(2**63) for key in keys}
        actctl.build(path, b"".join(b"%s\t%d\n" % pair for pair in values.items()))
    return Tree(path, values, keys)


def read_program(pid):
    """What it runs, and its libraries: where the kernel has taken them out of memory, a loop waits
    for another disk than ours."""
    lines = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
    fields = [line.split(maxsplit=5) for line in lines]
    for path in {each[5] for each in fields if len(each) == 6 and "x" in each[1]}:
        if path.startswith("/"):
            pathlib.Path(path).read_bytes()


@contextlib.contextmanager
def serving(disk, settings=None, path=None, **options):
    """A daemon with the file on a SlowDisk, or the path that leads to it. At the end the disk is
    fast again, so that the daemon can end cleanly."""
    disk.forget()
    one = {"daemon.workers": 1, **(settings or {})}
    with Daemon(path or disk.path, one, **options) as daemon:
        read_program(daemon.pid)
        disk.reset_counts()
        yield daemon
        disk.go_on()
        disk.delay_us = 0


@contextlib.contextmanager
def cold_daemon(directory, tree, settings=None, **options):
    """The same with a disk of its own: (disk, daemon)."""
    with SlowDisk(directory, tree) as disk, serving(disk, settings, **options) as daemon:
        yield disk, daemon


def worker_pid(daemon):
    """Of its only worker."""
    (pid,) = daemon.worker_pids()
    return pid


def loop_faults(pid):
    """The major page faults of the worker's loop, as the kernel counts them: it is the process's
    first thread."""
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/stat").read_text()
    return int(text.rsplit(")", 1)[1].split()[9])


def check_loop_numbers(loop, is_exact=False):
    """In the group `loop`, or what was added to it: no turn that was measured waited for the disk.

    If not is_exact, many threads may come and go, and files be mapped and unmapped: the address
    space is locked for a moment then, and the loop may meet that. A sanitizer's own locks make it
    wait for other threads in any turn, so there only faults count.
    """
    assert loop["major_faults"] == 0, loop
    may_meet = 0 if is_exact else 5 + loop["turns"] // 20
    assert is_sanitized() or loop["switches"] <= may_meet, loop
    assert loop["turns_measured"] > 0


def check_loop(daemon, is_exact=False):
    """The same for all turns of its worker; gives the group `loop`."""
    loop = daemon.stats()["loop"]
    check_loop_numbers(loop, is_exact)
    return loop


def settle(daemon):
    """Until no request waits for a page and none is on its way."""
    daemon.wait_stat("cold", "waiting", 0)
    daemon.wait_stat("cold", "queued", 0)
    daemon.wait_stat("requests", "running", 0)


def time_of_a_read(path, pages):
    """Seconds that each of these pages takes, read alone: the median. They must not be in
    memory."""
    times = []
    with opened(path) as fd:
        for page in pages:
            begin = time.monotonic()
            os.pread(fd, 1, page * PAGE)
            times.append(time.monotonic() - begin)
    return sorted(times)[len(times) // 2]


def ask_all(address, calls, results, pipe):
    """In the child: all at once. Sends True, or what went wrong."""
    try:
        with rpc.Client(address) as client:
            for call, right, got in zip(calls, results, client.results(calls)):
                assert got == right, f"{call}: {got!r}, not {right!r}"
        pipe.send(True)
    except BaseException:
        pipe.send(traceback.format_exc())
    finally:
        pipe.close()
        os._exit(0)


class Asking:
    """with Asking(address, calls, results) as asking: a process that makes these calls on one
    connection as fast as it can; at the end all replies must have been right."""

    def __init__(self, address, calls, results):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=ask_all, args=(address, calls, results, theirs), daemon=True
        )
        self.process.start()
        theirs.close()

    @classmethod
    def get(cls, daemon, tree, keys):
        calls = [["get", key] for key in keys]
        return cls(daemon.unix, calls, [tree.values[key] for key in keys])

    def is_done(self):
        return self.pipe.poll()

    def wait(self):
        if not self.pipe.poll(Clock().left("a client that asks")):
            raise Deadline("a client is not answered")
        told = self.pipe.recv()
        assert told is True, told

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.wait()
        finally:
            self.process.kill()
            self.process.join()
            self.pipe.close()


class Waiting:
    """Connections with cold requests on their way: for a disk that does not answer yet."""

    def __init__(self, daemon, keys, per_connection=4):
        """Sends a get of each key; returns when all wait for the disk, or were refused."""
        self.daemon = daemon
        self.keys = keys
        self.clients = []
        cold = daemon.stats()["cold"]
        n = cold["waiting"] + cold["refused"] + len(keys)
        for i in range(0, len(keys), per_connection):
            client = daemon.client()
            self.clients.append(client)
            for j, key in enumerate(keys[i : i + per_connection]):
                client.send(rpc.request(i + j, "get", key))

        def are_waiting(cold):
            return cold["waiting"] + cold["refused"] == n

        clock = Clock()
        while not are_waiting(daemon.stats()["cold"]):
            clock.left(f"{len(keys)} requests to wait: {daemon.stats()['cold']}")

    def replies(self):
        """{key: (error, result)}, when all have come."""
        replies = {}
        while len(replies) < len(self.keys):
            for client in self.clients:
                mine = len(client.answered) < self.n_asked(client)
                while mine:
                    msgid, error, result = client.reply()
                    replies[self.keys[msgid]] = (error, result)
                    mine = len(client.answered) < self.n_asked(client)
        return replies

    def n_asked(self, client):
        at = self.clients.index(client)
        per_connection = -(-len(self.keys) // len(self.clients))
        return min(per_connection, len(self.keys) - at * per_connection)

    def check(self, values):
        """All are answered rightly."""
        assert self.replies() == {key: (None, values[key]) for key in self.keys}

    def check_errors(self, number, text):
        """All get this error."""
        for error, _ in self.replies().values():
            assert error is not None and error[0] == number and text in error[1], error

    def close(self):
        for client in self.clients:
            client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
