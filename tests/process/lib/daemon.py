"""actd under test: start it, hear its log, stop it, and hold it to a clean end."""

import functools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import threading

from . import http, paths, rpc
from .waiting import Clock, Deadline, eventually

SANITIZER_REPORT = re.compile(r"ERROR: \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer")

SANITIZER_ENV = {
    # Leaks count at the end of the process, and a report has a status of its own.
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=8",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
}


@functools.lru_cache(maxsize=None)
def is_sanitized():
    """Memory is not told apart from AddressSanitizer's own in such a build."""
    return b"__asan_init" in paths.ACTD.read_bytes()


def arguments(settings):
    """--set arguments of {"section.key": value, or a list of values}."""
    result = []
    for name, values in settings.items():
        for value in values if isinstance(values, list) else [values]:
            result.append(f"--set={name}={value}")
    return result


def environment(extra=None):
    env = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "JOURNAL_STREAM")}
    env.update(SANITIZER_ENV)
    env.update(extra or {})
    return env


def counts_of(row):
    """What a method's row in the statistics tells of its requests; the rest depends on the disk."""
    return {name: row[name] for name in ("requests", "errors", "hits", "misses")}


def run(*args, launcher=(), env=None, preexec=None, **options):
    """actd with these arguments, to its end."""
    result = subprocess.run(
        [*launcher, paths.ACTD, *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        timeout=Clock().left("actd"),
        env=environment(env),
        close_fds=not launcher,
        **{"preexec_fn": preexec, **options},
    )
    assert not SANITIZER_REPORT.search(result.stderr), result.stderr
    return result


def refused(tree, settings=None, **options):
    """The log of an actd that must not come up."""
    with tempfile.TemporaryDirectory(prefix="actd-") as directory:
        wanted = {"tree.path": tree, "listen.unix": f"{directory}/actd.sock", **(settings or {})}
        result = run("--config=/dev/null", *arguments(wanted), **options)
        assert result.returncode == 1, (result.returncode, result.stderr)
        assert "ready:" not in result.stderr
        return result.stderr


def with_one_worker(start):
    """start, as the fixture actd gives it, for what clients of the same worker do to each other."""

    def start_one(tree=paths.CITIES, settings=None, **options):
        return start(tree, {"daemon.workers": 1, **(settings or {})}, **options)

    return start_one


def can_connect(address):
    try:
        rpc.connect(address).close()
        return True
    except OSError:
        return False


class Daemon:
    """A running actd with a Unix socket, a TCP port and admin endpoints on both."""

    def __init__(
        self, tree, settings=None, *, config="/dev/null", wait="ready", env=None, preexec=None,
        user=None, program=paths.ACTD, launcher=()
    ):
        """
        tree      path of the file to serve
        settings  {"section.key": value, or a list of values} on top of those below; None leaves
                  one out
        wait      log line (regular expression) that ends the start; None: does not wait
        env       environment variables to add
        preexec   called in the child before it becomes actd
        user      number of the user that it runs as, if not as ours
        program   what is started: another actd than the build's
        launcher  command line before its own
        """
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="actd-"))
        self.lines = []
        self.heard = threading.Condition()
        self.is_log_ended = False
        self.is_crashed = False
        wanted = {
            "tree.path": tree,
            "listen.unix": self.directory / "actd.sock",
            "listen.tcp": "127.0.0.1:0",
            "admin.unix": self.directory / "admin.sock",
            "admin.tcp": "127.0.0.1:0",
            **(settings or {}),
        }
        wanted = {name: value for name, value in wanted.items() if value is not None}
        self.settings = wanted
        who = {}
        if user is not None:
            os.chown(self.directory, user, user)
            # Where it was built others may have no business.
            program = shutil.copy(program, self.directory / "actd")
            who = {"user": user, "group": user, "extra_groups": []}
        self.process = subprocess.Popen(
            [*launcher, program, f"--config={config}", *arguments(wanted)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(env),
            preexec_fn=preexec,
            close_fds=not launcher,  # which gets what preexec has put there
            **who,
        )
        self.reader = threading.Thread(target=self._read_log, daemon=True)
        self.reader.start()
        try:
            if wait:
                self.wait_log(wait)
        except BaseException:
            self.kill()
            raise

    def _read_log(self):
        with self.process.stderr as stderr:
            for line in stderr:
                with self.heard:
                    self.lines.append(line.decode(errors="backslashreplace").rstrip("\n"))
                    self.heard.notify_all()
        with self.heard:
            self.is_log_ended = True
            self.heard.notify_all()

    # What it says.

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        with self.heard:
            return "\n".join(self.lines)

    def wait_log(self, pattern, since=0):
        """The first line with pattern, as a match; waits for it. since: after so many lines."""
        clock = Clock()
        seen = since
        with self.heard:
            while True:
                for line in self.lines[seen:]:
                    match = re.search(pattern, line)
                    if match:
                        return match
                seen = len(self.lines)
                log = "\n".join(self.lines)
                assert not self.is_log_ended, f"actd ended without {pattern!r}:\n{log}"
                try:
                    self.heard.wait(clock.left(f"{pattern!r} in the log"))
                except Deadline as deadline:
                    raise Deadline(f"{deadline}:\n{log}") from None

    def wait_socket(self):
        """For one that does not log."""
        eventually(lambda: can_connect(self.unix) or self.process.poll() is not None, "a socket")

    def _port(self, what):
        return int(self.wait_log(rf"{what} on tcp:127\.0\.0\.1:(\d+)").group(1))

    # Where it listens.

    @property
    def unix(self):
        return ("unix", str(self.settings["listen.unix"]))

    @property
    def tcp(self):
        return ("tcp", "127.0.0.1", self._port("listening"))

    @property
    def admin_unix(self):
        return ("unix", str(self.settings["admin.unix"]))

    @property
    def admin_tcp(self):
        return ("tcp", "127.0.0.1", self._port("admin endpoint"))

    @property
    def both(self):
        return [self.unix, self.tcp]

    def client(self, address=None, **options):
        return rpc.Client(address or self.unix, **options)

    # What it counts.

    def stats(self):
        """By the admin endpoint, so that no client connection is added."""
        return http.stats(self.admin_unix)

    def stat(self, group, name):
        return self.stats()[group][name]

    def wait_stat(self, group, name, is_wanted):
        """Waits until the statistic is as wanted: a value or a predicate."""
        wanted = is_wanted if callable(is_wanted) else lambda value: value == is_wanted
        last = []

        def look():
            last[:] = [self.stat(group, name)]
            return wanted(last[0])

        try:
            eventually(look, f"{group}.{name}")
        except Deadline as deadline:
            raise Deadline(f"{deadline}: it is {last}") from None
        return last[0]

    def workers(self):
        """What it tells of each worker process."""
        return self.stats()["workers"]

    def worker_pids(self):
        return [worker["pid"] for worker in self.workers()]

    # The supervisor's, or another process's.

    def proc_status(self, pid=None):
        """{name: bytes} of the memory lines in /proc/PID/status."""
        text = pathlib.Path(f"/proc/{pid or self.pid}/status").read_text()
        return {m[1]: int(m[2]) * 1024 for m in re.finditer(r"^(\w+):\s+(\d+) kB$", text, re.M)}

    def proc_faults(self, pid=None):
        """(minor, major) of /proc/PID/stat."""
        fields = pathlib.Path(f"/proc/{pid or self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[7]), int(fields[9])

    # How it ends.

    def send_signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self):
        """Waits for its end: the exit status."""
        try:
            self.process.wait(Clock().left("actd's end"))
        except subprocess.TimeoutExpired:
            raise Deadline(f"actd does not end:\n{self.log}") from None
        self.reader.join()
        return self.process.returncode

    def crash(self):
        """Ends it by SIGKILL; it leaves its socket files behind."""
        self.is_crashed = True
        self.process.kill()
        self.wait()

    def stop(self, number=signal.SIGTERM):
        """Ends it by a signal, which must leave nothing behind."""
        if self.is_crashed:
            return
        if self.process.poll() is None:
            self.send_signal(number)
        self.check_end()

    def check_end(self):
        status = self.wait()
        assert not SANITIZER_REPORT.search(self.log), self.log
        assert status == 0, f"actd ended with status {status}:\n{self.log}"
        for name in ("actd.sock", "admin.sock"):
            assert not (self.directory / name).exists(), f"{name} is left behind"

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        """After a test that passed, the end must be clean; it always is the end."""
        try:
            if kind is None:
                self.stop()
        finally:
            self.kill()
