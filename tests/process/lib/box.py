"""A container with a systemd of its own as its first process, and our packages in it.

with Box(box_root.installed()) as box: it has booted; box.run(...) runs a command in it. Its files
are below box.path("/"), also for those who are outside; its network is box.network. What is written
in it is gone with it. box_keeper.py, a process beside us, sees to it that nothing stays behind.
"""

import contextlib
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time
import uuid

from . import http, rpc
from .waiting import Clock, Deadline, eventually

KEEPER = pathlib.Path(__file__).with_name("box_keeper.py")

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "SYSTEMD_PAGER": "cat",
    "SYSTEMD_COLORS": "0",
    "DEBIAN_FRONTEND": "noninteractive",
    "HOME": "/root",
}

# nspawn's own filter would forbid mlock and cachestat, whatever the service's filter says.
NO_FILTER = {"SYSTEMD_SECCOMP": "0"}

MEMORY_V1 = pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Kept:
    """A process that keeps a container."""

    def __init__(self, *, lower=(), root=None, arguments, environment=None, controllers=()):
        # A name that is one of a machine as well.
        self.directory = pathlib.Path(tempfile.gettempdir(), f"actd-box-{uuid.uuid4().hex[:12]}")
        self.directory.mkdir(mode=0o700)
        self.console = self.directory / "console"
        self.console.touch()
        wanted = {
            "name": self.directory.name,
            "directory": str(self.directory),
            "lower": [str(path) for path in lower],
            "root": root and str(root),
            "arguments": arguments,
            "environment": NO_FILTER | (environment or {}),
            "controllers": list(controllers),
        }
        self.process = subprocess.Popen([sys.executable, KEEPER, json.dumps(wanted)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def hear(self, what):
        """The number on its next line, which must be about that."""
        if not select.select([self.process.stdout], [], [], Clock().left(what))[0]:
            raise Deadline(f"no {what} of a container:\n{self.console_text()}")
        line = self.process.stdout.readline().decode().split()
        assert line[:1] == [what], f"{line}, no {what}, of a container:\n{self.console_text()}"
        return int(line[1])

    def say(self, line):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def console_text(self):
        with contextlib.suppress(FileNotFoundError):
            return self.console.read_text(errors="backslashreplace")
        return "(its keeper has failed, and says why on standard error)"

    def end(self):
        """At once, if it has not ended; nothing is left of it."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait(Clock().left("a container's end"))
        self.process.stdout.close()


def install_offline(root, packages, names):
    """Into a directory, which is changed; nothing is started."""
    wanted = " ".join(f"./{name}" for name in names)
    kept = Kept(root=root, arguments=["--quiet", f"--bind-ro={packages}:/packages", "--as-pid2",
                                      "sh", "-c", f"cd /packages && apt-get -qy install {wanted}"])
    try:
        status = kept.hear("ended")
        assert status == 0, f"apt-get install failed:\n{kept.console_text()}"
    finally:
        kept.end()


def number_of_user(root, name):
    """(uid, gid) of a user of the container."""
    for line in (root / "etc" / "passwd").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2]), int(fields[3])
    raise KeyError(name)


class Box:
    def __init__(self, lower, *, has_memory=False, arguments=()):
        """
        lower       directories from box_root
        has_memory  MemoryMax= works in it, where the host can
        arguments   more of systemd-nspawn
        """
        self.is_v1 = has_memory and MEMORY_V1.exists()
        environment = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0" if self.is_v1 else "1"}
        self.kept = Kept(lower=lower, arguments=["-b", *arguments], environment=environment,
                         controllers=["memory", "pids"] if self.is_v1 else [])
        try:
            self.leader = self.kept.hear("leader")
            self.network = f"/proc/{self.leader}/ns/net"
            self.wait_booted()
            if self.is_v1:
                # nspawn lets the container look at it only.
                self.run("mount", "-o", "remount,bind,rw", "/sys/fs/cgroup/memory")
                self.run("systemctl", "daemon-reexec")
        except BaseException:
            self.kept.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.power_off()
        finally:
            self.kept.end()

    def wait_booted(self):
        def look():
            assert self.kept.process.poll() is None, self.kept.console_text()
            told = self.run("systemctl", "is-system-running", status=None).stdout.strip()
            return told in ("running", "degraded") and told

        try:
            state = eventually(look, "systemd to have booted")
        except Deadline as deadline:
            raise Deadline(f"{deadline}:\n{self.kept.console_text()}") from None
        if state == "degraded":
            failed = self.run("systemctl", "--failed", "--plain", "--no-legend").stdout
            raise AssertionError(f"these units fail at boot:\n{failed}")

    def power_off(self):
        """All services are stopped, as on a machine that is switched off."""
        self.kept.say(b"poweroff\n")
        status = self.kept.hear("ended")
        assert status == 0, f"the container ended with {status}:\n{self.kept.console_text()}"

    # Commands.

    def start(self, *command, env=None, **options):
        """A command in it, running."""
        # A session of its own: its terminal is not ours.
        entered = ["nsenter", "-t", str(self.leader), "-a", "--", *map(str, command)]
        return subprocess.Popen(entered, env=ENVIRONMENT | (env or {}), start_new_session=True,
                                **{"stdin": subprocess.DEVNULL, **options})

    def run(self, *command, status=0, **options):
        """A command in it to its end, which must be with this status; None: any."""
        process = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             errors="backslashreplace", **options)
        try:
            stdout, stderr = process.communicate(timeout=Clock().left(str(command)))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Deadline(f"{command} does not end") from None
        told = f"{' '.join(map(str, command))}: status {process.returncode}\n{stdout}{stderr}"
        assert status in (None, process.returncode), told
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    def systemctl(self, *arguments, **options):
        return self.run("systemctl", *arguments, **options)

    def actctl(self, *arguments, **options):
        """Its standard output."""
        return self.run("actctl", *arguments, **options).stdout

    # Files.

    def path(self, path):
        """One of its files, for us."""
        return pathlib.Path(f"/proc/{self.leader}/root{path}")

    def write(self, path, text):
        """With the directories on the way, as root's."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def put(self, source, path="/var/lib/actd/tree.act", user="actd"):
        """A copy of the file source comes there by rename."""
        target = self.path(path)
        new = target.with_name(target.name + ".new")
        shutil.copyfile(source, new)
        os.chown(new, *number_of_user(self.path("/"), user))
        new.rename(target)

    def put_bytes(self, data, path="/var/lib/actd/tree.act", user="actd"):
        with tempfile.NamedTemporaryFile(dir=self.kept.directory) as file:
            file.write(data)
            file.flush()
            self.put(file.name, path, user)

    # Units.

    def show(self, unit, *names):
        """{property: value} of a unit; the value, where there is one name."""
        told = self.systemctl("show", unit, "-p", ",".join(names)).stdout.splitlines()
        found = dict(line.split("=", 1) for line in told)
        return found[names[0]] if len(names) == 1 else found

    def wait_show(self, unit, **wanted):
        """Until the unit's properties have these values."""
        last = {}

        def look():
            last.clear()
            last.update(self.show(unit, *wanted, "StatusText"))
            return all(last[name] == value for name, value in wanted.items())

        try:
            eventually(look, f"{unit} to have {wanted}")
        except Deadline as deadline:
            raise Deadline(f"{deadline}: it is {last}") from None
        return last

    def main_pid(self, unit="actd.service"):
        """Of its main process, as it is known outside."""
        inside = int(self.show(unit, "MainPID"))
        assert inside > 1, f"{unit} has no main process"
        return self.pid_outside(inside)

    def pid_outside(self, inside):
        for directory in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                status = (directory / "status").read_text()
                numbers = next(line for line in status.splitlines() if line.startswith("NSpid:"))
                if numbers.split()[2:] == [str(inside)] and self.is_inside(directory):
                    return int(directory.name)
        raise ProcessLookupError(f"process {inside} of the container")

    def is_inside(self, directory):
        ours = os.readlink(f"/proc/{self.leader}/ns/pid")
        return os.readlink(directory / "ns" / "pid") == ours

    # The journal.

    @staticmethod
    def now():
        """For since. Not a cursor: journalctl of systemd 252 skips the first that matches after
        it."""
        return f"@{time.time():.6f}"

    def journal(self, *matches, since=None):
        """Its entries, oldest first, each {field: value}."""
        self.run("journalctl", "--sync")
        after = [f"--since={since}"] if since else []
        told = self.run("journalctl", "-o", "json", "--no-pager", "-q", *after, *matches).stdout
        return [json.loads(line) for line in told.splitlines()]

    def wait_journal(self, *matches, since=None, wanted=lambda entry: True):
        """The first such entry."""

        def look():
            return next(filter(wanted, self.journal(*matches, since=since)), None)

        return eventually(look, f"{matches} in the journal")

    def log(self):
        """Its end, for people."""
        return self.run("journalctl", "-n", "60", "--no-pager", "-o", "short-monotonic").stdout

    # Who serves.

    def unix(self, name=None, socket="actd.sock"):
        """Address of a socket of actd.service, or of the instance with that name."""
        return ("unix", str(self.path(f"/run/actd/{name + '/' if name else ''}{socket}")))

    def admin(self, name=None):
        return self.unix(name, "admin.sock")

    def tcp(self, host="127.0.0.1", port=7411):
        return ("tcp", host, port, self.network)

    def client(self, address=None):
        return rpc.Client(address or self.unix())

    def stats(self, name=None):
        return http.stats(self.admin(name))
