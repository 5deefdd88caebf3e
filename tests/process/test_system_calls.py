"""Every system call of every process of actd is one that its unit allows.

The unit's filter answers EPERM to all others, which mostly is a silent loss: what is asked for is
optional, and then it does not happen.
"""

import os
import re
import shutil
import signal
import subprocess

import pytest

from lib import http, paths, reload
from lib.daemon import Daemon, is_sanitized
from lib.waiting import eventually

pytestmark = [
    pytest.mark.skipif(not shutil.which("strace"), reason="needs strace"),
    pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze"),
]

UNIT = paths.ROOT / "systemd" / "actd.service.in"

# What may be refused: to give a new profile to the owner of the one before, who is the same user.
REFUSED = {"fchown"}


def group(name):
    """The system calls of a @group, with those of the groups in it."""
    told = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name],
                          capture_output=True, check=True, text=True).stdout
    calls = set()
    for word in (line.strip() for line in told.splitlines()[1:]):
        if word.startswith("@"):
            calls |= group(word)
        elif word and not word.startswith("#"):
            calls.add(word)
    return calls


def allowed():
    """By the lines SystemCallFilter= of the unit, of which the first one allows."""
    calls = group("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
        named = set()
        for word in line.removeprefix("~").split():
            named |= group(word) if word.startswith("@") else {word}
        calls = calls - named if line.startswith("~") else calls | named
    # Whatever a later line takes away, these stay.
    return calls | group("@default")


class Traced:
    """Daemons whose system calls are written down, with those of their children."""

    def __init__(self, directory):
        self.out = directory / "calls"
        self.text = ""

    def run(self, tree, settings, use):
        # -D: the daemon is our child, and strace its; so signals reach the daemon.
        launcher = ["strace", "-D", "-f", "-qq", "-e", "signal=none", "-o", self.out]
        with Daemon(tree, settings, launcher=launcher) as daemon:
            pid = daemon.pid
            use(daemon)
        eventually(lambda: re.search(rf"^{pid} .*exit_group\(", self.read(), re.MULTILINE),
                   "the last call")
        self.text += self.read()

    def read(self):
        return self.out.read_text(errors="replace")

    def calls(self):
        return set(re.findall(r"^\d+ +(\w+)\(", self.text, re.MULTILINE))


@pytest.fixture
def traced(tmp_path):
    return Traced(tmp_path)


def ask(daemon):
    for address in daemon.both:
        with daemon.client(address) as client:
            assert client.call("count", "")["count"] > 0
            client.call("scan", "", {"limit": 1000})
            client.call("explore", "")
            client.call("watch")


def post(daemon, path):
    status, _, text = http.fetch(daemon.admin_unix, path, method="POST")
    assert status in (200, 202), text


def wait_state(daemon, path, state):
    eventually(lambda: f'"state":"{state}"' in http.fetch(daemon.admin_unix, path)[2].replace(
        " ", ""), f"{path} to be {state}")


def test_no_call_of_a_mapped_tree_is_refused(traced, directory):
    if is_sanitized():
        return  # the sanitizers make calls of their own
    tree = directory / "tree.act"
    shutil.copyfile(paths.CITIES, tree)
    settings = {
        "tree.verify": "structure",
        "tree.watch": "yes",
        "tree.mlock": "top",
        "tree.max_resident_bytes": 1 << 20,
        "warmup.mode": "traverse",
        "warmup.rate_bytes_per_s": "100M",
        "warmup.profile": directory / "profile",
        "warmup.profile_interval_ms": 1000,
        "daemon.workers": 2,
    }

    def use(daemon):
        ask(daemon)
        for mode in ("read", "willneed", "traverse"):
            post(daemon, f"/warm?mode={mode}")
            wait_state(daemon, "/warm", "done")
        post(daemon, "/verify")
        wait_state(daemon, "/verify", "good")
        # Pages that are not there go to the threads.
        with open(tree, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        ask(daemon)
        daemon.wait_stat("profile", "saves", lambda n: n and n > 1)
        post(daemon, "/warm?mode=restore")
        wait_state(daemon, "/warm", "done")
        assert reload.post(daemon)[0] == 200
        reload.put(paths.SHAKESPEARE, tree)
        daemon.wait_log("generation 3 .*all workers serve it")
        http.fetch(daemon.admin_unix, "/residency")
        http.fetch(daemon.admin_tcp, "/metrics")
        gone = daemon.worker_pids()[0]
        os.kill(gone, signal.SIGKILL)
        eventually(lambda: gone not in daemon.worker_pids(), "another worker")
        ask(daemon)

    traced.run(tree, settings, use)
    used = traced.calls()
    assert {"mincore", "mlock2", "ioprio_set", "setpriority", "inotify_add_watch"} <= used
    assert used - allowed() - REFUSED == set()


@pytest.mark.parametrize("copy", [{"tree.map_min_bytes": "1G"}, {"tree.hugepages": "copy"}])
def test_no_call_of_a_copied_tree_is_refused(traced, copy):
    if is_sanitized():
        return
    traced.run(paths.CITIES, {**copy, "cold.mode": "inline"}, ask)
    assert "memfd_create" in traced.calls()
    assert traced.calls() - allowed() - REFUSED == set()
