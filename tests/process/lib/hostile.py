"""Hostile clients in bulk, and a good client that measures what they do to it.

The daemon has CPU 0. The hostile clients (hostile_clients.c) and the good one (hostile_probe.c)
share CPU 1, where the good one goes first: it never waits for a CPU, only for the daemon. Rounds
without and with hostile clients alternate, so that what else the machine does hits both.
"""

import os
import statistics
import struct
import subprocess

from . import paths, rpc
from .daemon import is_sanitized
from .waiting import eventually

DAEMON_CPU, CLIENTS_CPU = 0, 1


def compile_program(name, directory):
    source = paths.ROOT / "tests" / "process" / f"{name}.c"
    program = directory / name
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)
    return program


def put_first(pid, cpu):
    """On a CPU, before all that is not real-time. False: that is not possible here."""
    try:
        os.sched_setaffinity(pid, {cpu})
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
        return True
    except OSError:
        return False


class Program:
    """One of the two: commands are lines in, answers are lines out."""

    def __init__(self, program, daemon, *arguments):
        _, path = daemon.unix
        _, _, port = daemon.tcp
        self.name = program.name
        self.process = subprocess.Popen(
            [program, path, str(port), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
        )

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        assert line, f"{self.name} has ended: {self.process.stderr.read()}"
        return line.split()

    def close(self):
        self.process.kill()
        self.process.communicate()


class Probe(Program):
    """The good client: gets whose values are known, one after the other."""

    def __init__(self, program, daemon, pairs, directory):
        file = directory / "questions"
        with open(file, "wb") as out:
            for key, value in pairs:
                request, reply = rpc.request(7, "get", key), rpc.pack([1, 7, None, value])
                out.write(struct.pack("<II", len(request), len(reply)) + request + reply)
        super().__init__(program, daemon, file)
        # Both go first, or the scheduler is measured.
        self.is_fair = put_first(daemon.worker_pids()[0], DAEMON_CPU) and put_first(
            self.process.pid, CLIENTS_CPU
        )

    def p99_us(self, n):
        self.tell(str(n))
        _, p99, _ = self.answer()
        return int(p99) / 1000


class Group:
    """n connections that send `data` and read the replies, each as it is told.

    write    "fast": over and over again; "once"; "slow": a byte a second
    read     "fast", "slow" or "never"
    reset    after so many bytes received the connection is reset; 0: it is not
    """

    def __init__(self, n, data, write, read, reset=0):
        self.n, self.data, self.write, self.read, self.reset = n, data, write, read, reset


class Hostile(Program):
    def __init__(self, program, daemon, groups, directory):
        super().__init__(program, daemon)
        try:
            os.sched_setaffinity(self.process.pid, {CLIENTS_CPU})
        except OSError:
            pass  # then nothing is measured either
        self.daemon = daemon
        for number, group in enumerate(groups):
            file = directory / f"group{number}"
            file.write_bytes(group.data)
            self.tell(f"group {group.n} {group.write} {group.read} {group.reset} {file}")

    def on(self, has_felt):
        """Opens the connections, and waits until the daemon has felt them: has_felt(statistics
        before, statistics now)."""
        before = self.daemon.stats()
        self.tell("on")
        assert self.answer() == ["on"]
        eventually(lambda: has_felt(before, self.daemon.stats()), "the hostile clients to be felt")

    def off(self, n_others):
        """Closes them, and waits until the daemon has nothing of theirs any more."""
        self.tell("off")
        assert self.answer()[0] == "off"
        self.daemon.wait_stat("connections", "open", n_others)
        self.daemon.wait_stat("memory", "buffer_bytes", 0)


class Waits:
    """The p99s of the good client, without and with hostile clients in turn."""

    def __init__(self, probe):
        self.probe = probe
        self.without, self.beside = [], []

    def ratio(self):
        return statistics.median(self.beside) / statistics.median(self.without)

    def are_enough(self, factor, least, most):
        """A machine with other work has bad rounds: more of them are made before that counts."""
        n = len(self.beside)
        return n >= most or (n >= least and self.ratio() < factor)

    def check(self, factor):
        text = f"p99 without {self.without}, with hostile clients {self.beside} us"
        print(f"{text}: {self.ratio():.1f} x")
        if self.probe.is_fair and not is_sanitized():
            assert self.ratio() < factor, text
