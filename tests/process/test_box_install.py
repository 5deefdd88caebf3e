"""The packages on a minimal Debian: installed and started as README.md says, upgraded, removed and
purged; and a container leaves nothing behind, however its test ends."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from lib import box_root, debian, http, paths, rpc
from lib.box import Box
from lib.box_service import SOCKETS, Service, trees  # noqa: F401: a fixture
from lib.processes import is_gone
from lib.traffic import Prober
from lib.tree_data import oracle_of
from lib.waiting import eventually

HERE = "/root/actd"


def readme_commands():
    """Of the block that README.md marks."""
    text = (paths.ROOT / "README.md").read_text()
    block = re.search(r"^<!-- commands: .*-->\n\n((?: {4}.*\n)+)", text, re.M)[1]
    return [line.strip() for line in block.splitlines()]


def box_with_sources(lower):
    """In it, what the README's commands name, where they look for it."""
    return Box(lower, arguments=[
        f"--bind-ro={debian.directory()}:{HERE}/build/packages",
        f"--bind-ro={paths.DATA}:{HERE}/tests/data"])


def do(box, command):
    return box.run("sh", "-ec", f"cd {HERE}; {command}").stdout


def install_command():
    return readme_commands()[0]


@pytest.fixture(scope="module")
def box():
    """A machine that has never seen actd, and what is there after the README's first command."""
    box_root.skip_unless_possible()
    with box_with_sources(box_root.fresh()) as made:
        assert made.run("sh", "-c", "command -v actd", status=None).returncode != 0
        do(made, install_command())
        yield made


def listed(box, what):
    told = box.systemctl(what, "--plain", "--no-legend", "--all", "actd*", status=None).stdout
    return [line.split() for line in told.splitlines()]


# Of the following tests each one goes on where the one before has ended.


def test_nothing_starts_at_installation(box):
    assert [unit for unit in listed(box, "list-units") if unit[2] == "active"] == []
    files = {name: state for name, state, *_ in listed(box, "list-unit-files")}
    assert {"actd.service", "actd@.service", *SOCKETS} <= set(files)
    assert {state for name, state in files.items()} <= {"disabled", "static"}
    assert box.systemctl("is-system-running").stdout.strip() == "running"


def test_users_groups_and_directories(box):
    def stat(path):
        return box.run("stat", "-c", "%U:%G %a %F", path).stdout.strip()

    assert stat("/var/lib/actd") == "actd:actd 750 directory"
    assert stat("/run/actd") == "actd:actd 755 directory"
    assert stat("/etc/actd/actd.conf") == "root:root 644 regular file"
    assert stat("/usr/sbin/actd") == "root:root 755 regular file"
    name, _, uid, gid, _, home, shell = box.run("getent", "passwd", "actd").stdout[:-1].split(":")
    assert (name, home) == ("actd", "/var/lib/actd") and shell.endswith("nologin")
    assert 0 < int(uid) < 1000 and 0 < int(gid) < 1000
    assert box.run("getent", "group", "actd-admin").stdout.endswith(":\n")  # nobody is in it
    # Nobody else's business.
    who = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    assert box.run(*who, "ls", "/var/lib/actd", status=None).returncode != 0


def test_the_configuration_that_is_installed_is_right(box):
    box.run("actd", "--check-config")


def test_the_commands_of_the_readme_serve_a_tree(box):
    commands = readme_commands()
    assert len(commands) == 4, "three commands and a query"
    for command in commands[1:-1]:
        do(box, command)
    answer = do(box, commands[-1])
    key = commands[-1].split()[-1].encode()
    assert answer == f"{oracle_of(paths.CITIES).get(key)}\n"
    service = Service(box)
    assert service.is_active() == "active"
    assert box.systemctl("is-enabled", "actd").stdout == "enabled\n"
    # All of it, not one key.
    keys = oracle_of(paths.CITIES).sample(500)
    with service.client() as client:
        assert client.call("mget", keys) == [oracle_of(paths.CITIES).get(key) for key in keys]
    assert http.fetch(service.admin_unix, "/readyz")[0] == 200
    with pytest.raises(ConnectionRefusedError):
        rpc.connect(service.tcp)


def test_tcp_is_opened_as_the_readme_says(box):
    text = (paths.ROOT / "README.md").read_text()
    do(box, re.search(r"`(systemctl enable actd-tcp\.socket.*)`", text)[1])
    for host in ("127.0.0.1", "::1"):
        with rpc.Client(box.tcp(host)) as client:
            assert client.call("ping") == "pong"


def test_the_manual_and_completion_are_there(box):
    """Where they are looked for; documentation is left out of the container."""
    told = box.run("dpkg-query", "-L", "actd", "actctl").stdout.splitlines()
    for wanted in ("man8/actd.8.gz", "man5/actd.conf.5.gz", "man1/actctl.1.gz",
                   "bash-completion/completions/actctl"):
        assert any(path.endswith(wanted) for path in told), wanted


def test_an_upgrade_restarts_what_runs_and_refuses_nobody(box, trees):
    """The same packages again, with somebody who connects all the time, and an instance."""
    service, instance = Service(box), Service(box, "other")
    instance.put(trees[1])
    instance.configure()
    instance.start()
    box.write("/etc/actd/actd.conf.d/own.conf", "[daemon]\nworkers = 1\n")
    box.write("/etc/actd/actd.conf", "# the operator's own\n")
    before = [one.main_pid() for one in (service, instance)]
    again = install_command().replace("install", "install --reinstall", 1)
    with Prober([service.unix, service.tcp]) as prober:
        do(box, again)
        n = prober.n_served
        eventually(lambda: prober.n_served > n, "an answer after the upgrade")
    # Those were taken before the stop and had not asked yet; nobody else may be cut off.
    assert len(prober.broken) <= 1, prober.broken
    after = [one.main_pid() for one in (service, instance)]
    assert all(old != new and is_gone(old) for old, new in zip(before, after))
    assert instance.served() == 1
    assert len(service.stats()["workers"]) == 1
    assert box.path("/etc/actd/actd.conf").read_text() == "# the operator's own\n"
    assert [unit[0] for unit in listed(box, "list-units") if unit[3] == "failed"] == []


def test_removal_stops_everything_and_keeps_the_trees(box):
    service, instance = Service(box), Service(box, "other")
    pids = [one.main_pid() for one in (service, instance)]
    box.run("apt-get", "remove", "-y", "actd")
    assert all(is_gone(pid) for pid in pids)
    assert [unit for unit in listed(box, "list-units") if unit[2] == "active"] == []
    assert listed(box, "list-unit-files") == []
    for address in (service.unix, service.admin_unix, instance.unix):
        assert not pathlib.Path(address[1]).exists()
    with pytest.raises(ConnectionRefusedError):
        rpc.connect(service.tcp)
    assert box.path("/var/lib/actd/tree.act").read_bytes() == paths.CITIES.read_bytes()
    assert box.path("/etc/actd/actd.conf").exists()
    assert box.systemctl("is-system-running").stdout.strip() == "running"


def test_it_comes_back_as_it_was(box):
    do(box, install_command())
    box.systemctl("start", "actd")
    assert len(Service(box).stats()["workers"]) == 1
    assert do(box, readme_commands()[-1]) != ""


def test_a_purge_leaves_the_trees_only(box):
    box.write("/etc/actd/actd.conf.d/own.conf",
              "[warmup]\nprofile = /var/lib/actd/warm.profile\n")
    service = Service(box)
    service.ctl("restart")
    service.ctl("stop")
    assert box.path("/var/lib/actd/warm.profile").exists()
    box.path("/etc/actd/actd.conf.d/own.conf").unlink()
    box.path(Service(box, "other").config_path).unlink()
    box.run("apt-get", "purge", "-y", "actd", "actctl")
    assert listed(box, "list-units") == [] and listed(box, "list-unit-files") == []
    assert not box.path("/etc/actd").exists()
    assert sorted(path.name for path in box.path("/var/lib/actd").iterdir() if path.is_file()) == [
        "other.act", "tree.act"]
    left = box.run("find", "/etc", "/lib", "/usr", "/run", "-name", "*actd*").stdout.split()
    assert left == [], left
    assert box.run("getent", "passwd", "actd").stdout  # who owns the trees
    assert box.systemctl("is-system-running").stdout.strip() == "running"


#
# The container itself.
#


MAKE_ONE = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from lib import box_root
from lib.box import Box
box = Box(box_root.installed())
print(box.kept.process.pid, box.leader, box.kept.directory, flush=True)
os.kill(os.getpid(), int(sys.argv[2]))
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_test_that_is_killed_leaves_no_container_behind(number):
    box_root.skip_unless_possible()
    process = subprocess.run(
        [sys.executable, "-c", MAKE_ONE, pathlib.Path(__file__).parent, str(int(number))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    keeper, leader, directory = process.stdout.split()
    eventually(lambda: is_gone(int(keeper)), "its keeper to end")
    assert is_gone(int(leader))
    assert not os.path.exists(directory)
    assert directory not in pathlib.Path("/proc/self/mountinfo").read_text()
    name = os.path.basename(directory)
    assert [path for path, _, _ in os.walk("/sys/fs/cgroup") if path.endswith(name)] == []
