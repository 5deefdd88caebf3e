"""What the sandbox of a service forbids is told with the remedy, as "Permission denied" is not."""

import os
import shutil
import subprocess

import pytest

from lib import paths
from lib.waiting import DEADLINE_S

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount"),
    pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("setpriv")),
                       reason="needs unshare and setpriv (util-linux)"),
]

# As a service that has no capabilities.
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


def refused_in(mount, settings, network=()):
    """What actd says at the end of a start that fails, where that was mounted before."""
    script = f'{mount} && exec "$@"'
    command = ["unshare", "--mount", *network, "sh", "-c", script, "sh", *UNPRIVILEGED, paths.ACTD,
               "--config=/dev/null"]
    command += [f"--set={name}={value}" for name, value in settings.items()]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S)
    assert result.returncode == 1, result.stderr
    return result.stderr


def test_a_tree_below_a_closed_home(tmp_path):
    log = refused_in("mount -t tmpfs -o mode=000 none /home",
                     {"tree.path": "/home/tree.act", "listen.unix": tmp_path / "actd.sock"})
    assert "/home/tree.act: cannot open: Permission denied: " in log
    assert "ProtectHome=" in log and "/var/lib/actd" in log


def test_a_tree_in_another_tmp(tmp_path):
    private = tmp_path / "systemd-private-0123-actd.service-xyz"
    private.mkdir()
    log = refused_in(f"mount --bind '{private}' /var/tmp",
                     {"tree.path": "/var/tmp/tree.act", "listen.unix": tmp_path / "actd.sock"})
    assert "/var/tmp/tree.act: cannot open: No such file or directory: " in log
    assert "PrivateTmp=" in log and "/var/lib/actd" in log


def test_a_socket_where_nothing_may_be_written(tmp_path):
    path = tmp_path / "actd.sock"
    log = refused_in(f"mount -t tmpfs -o ro none '{tmp_path}'",
                     {"tree.path": paths.CITIES, "listen.unix": path})
    assert f"unix:{path}: cannot bind: Read-only file system: " in log
    assert "/run/actd" in log and "ReadWritePaths=" in log


def test_a_socket_where_this_user_may_not_write(tmp_path):
    path = tmp_path / "actd.sock"
    log = refused_in(f"mount -t tmpfs -o mode=555 none '{tmp_path}'",
                     {"tree.path": paths.CITIES, "listen.unix": path})
    assert f"unix:{path}: cannot bind: Permission denied: " in log and "/run/actd" in log


def test_a_port_that_takes_a_privilege():
    log = refused_in("true", {"tree.path": paths.CITIES, "listen.tcp": "0.0.0.0:80"}, ["--net"])
    assert "tcp:0.0.0.0:80: cannot bind: Permission denied: " in log
    assert "actd-tcp.socket" in log
