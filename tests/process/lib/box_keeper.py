"""Keeps one container: a program of its own, so that it outlives whoever has started it by just as
long as it takes to leave nothing behind.

Its argument is JSON: name, directory (where "console" gets what the container says there; removed
at the end), lower (directories that are laid over each other, the first on top; what is written
goes to memory) or root (a directory that is written to), arguments (of systemd-nspawn),
environment, and controllers (of cgroups of the first version, for which the container gets groups
of its own). It says "leader PID" once the container's first process runs, and "ended STATUS" when
there is none any more. On its standard input "poweroff" asks the container to end in an orderly
way; the end of the input is the end of the container and of us.

Mounts are in a mount namespace of this process, so they go with it, even by SIGKILL. The container
dies with it, too.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import time

CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE, MNT_DETACH = 0x4000, 1 << 18, 2
PR_SET_PDEATHSIG = 1
POLL_S = 0.01
DEADLINE_S = 60

libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source, target, kind, flags=0, data=""):
    result = libc.mount(source.encode(), str(target).encode(), kind.encode(), flags, data.encode())
    check(result, f"cannot mount {target}")


class Cgroups:
    """Groups of the container's own, in each hierarchy that it needs; we live in them meanwhile."""

    def __init__(self, name, controllers):
        self.made = []
        self.back = []
        mounts = [line.split() for line in open("/proc/self/mountinfo")]
        ours = {}
        for line in open("/proc/self/cgroup"):
            _, which, path = line.rstrip("\n").split(":", 2)
            ours[which] = path
        for fields in mounts:
            kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
            point, top = pathlib.Path(fields[4]), fields[3]
            if kind == "cgroup2":
                self.enable(point)
                self.enter(point, top, name, ours.get("", "/"))
            elif kind == "cgroup":
                which = next((w for w in ours if w and set(w.split(",")) <= set(options)), "")
                if "name=systemd" in options or set(options) & set(controllers):
                    self.enter(point, top, name, ours.get(which, "/"))

    @staticmethod
    def enable(point):
        """The container can limit only what its parent lets it; where the host uses these
        controllers otherwise, it has none."""
        for controller in ("memory", "pids"):
            with contextlib.suppress(OSError):
                (point / "cgroup.subtree_control").write_text(f"+{controller}")

    def enter(self, point, top, name, here):
        path = point / name
        path.mkdir()
        self.made.append(path)
        relative = here[len(top):] if top != "/" and here.startswith(top) else here
        self.back.append(point / relative.lstrip("/"))
        (path / "cgroup.procs").write_text(str(os.getpid()))

    def leave(self):
        for path in self.back:
            with contextlib.suppress(OSError):
                (path / "cgroup.procs").write_text(str(os.getpid()))
        end = time.monotonic() + DEADLINE_S
        for path in self.made:
            while path.exists() and time.monotonic() < end:
                for directory, _, _ in os.walk(path, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(directory)
                if path.exists():
                    time.sleep(POLL_S)


def leader_of(nspawn):
    """The container's first process; None: not yet."""
    with contextlib.suppress(OSError):
        children = pathlib.Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
        for pid in children:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            inside = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
            # Before that it is still nspawn itself, and not in all of its namespaces.
            if inside[-1] == "1" and len(inside) > 2 and "\nName:\tsystemd\n" in "\n" + status:
                return int(pid)
    return None


def prepare_child():
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def make_root(wanted, directory):
    if wanted.get("root"):
        return wanted["root"]
    mount("actd-box", directory, "tmpfs", 0, "mode=755,size=2g")
    for name in ("upper", "work", "root"):
        (directory / name).mkdir()
    lower = ":".join(wanted["lower"])
    mount("actd-box", directory / "root", "overlay", 0,
          f"lowerdir={lower},upperdir={directory}/upper,workdir={directory}/work")
    return str(directory / "root")


def start(wanted, root, console):
    """systemd-nspawn, which starts what is in the container."""
    command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--settings=no",
               f"--machine={wanted['name']}", "--console=pipe", "--private-network",
               "--capability=all", "--resolv-conf=off", "--timezone=off", "-D", root]
    with open(console, "ab") as told:
        return subprocess.Popen([*command, *wanted["arguments"]], stdin=subprocess.DEVNULL,
                                stdout=told, stderr=told, preexec_fn=prepare_child,
                                env=os.environ | wanted["environment"])


def say(line):
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


def keep(nspawn):
    """Until the container has ended, one way or the other: its status."""
    leader = None
    is_wanted = True
    ending_s = None
    while nspawn.poll() is None:
        if leader is None:
            leader = leader_of(nspawn.pid)
            if leader:
                say(f"leader {leader}")
        watched = [sys.stdin] if is_wanted else []
        if select.select(watched, [], [], POLL_S if leader is None or not is_wanted else 0.05)[0]:
            line = os.read(0, 64)
            if line == b"poweroff\n" and leader:
                os.kill(leader, signal.SIGRTMIN + 4)
            elif not line:
                is_wanted = False
                ending_s = time.monotonic() + DEADLINE_S / 6
                if leader:
                    os.kill(leader, signal.SIGKILL)
                else:
                    nspawn.terminate()
        if ending_s and time.monotonic() > ending_s:
            nspawn.kill()
            ending_s = None
    return nspawn.returncode


def main():
    wanted = json.loads(sys.argv[1])
    # What ends the tests by Ctrl-C must not end us first: they end us by their own end.
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    directory = pathlib.Path(wanted["directory"])
    mounts = directory / "mounts"
    mounts.mkdir()
    cgroups = Cgroups(wanted["name"], wanted["controllers"])
    try:
        check(libc.unshare(CLONE_NEWNS), "cannot unshare mounts")
        mount("none", "/", "none", MS_REC | MS_PRIVATE)
        status = keep(start(wanted, make_root(wanted, mounts), directory / "console"))
        say(f"ended {status}")
        while os.read(0, 64):
            pass
    finally:
        for path in (mounts / "root", mounts):
            libc.umount2(str(path).encode(), MNT_DETACH)
        cgroups.leave()
        shutil.rmtree(directory, ignore_errors=True)


main()
