"""Two trees on one machine: instances of actd@.service that know nothing of each other."""

import os
import signal

import pytest

from lib import http
from lib.box_service import Service, box, reset, trees  # noqa: F401: fixtures

# Nothing that systemd would have to escape, and something that looks as if.
NAMES = ["one", "my-tree"]


@pytest.fixture
def pair(box, trees):
    """Versions 1 and 2, each with sockets of its own; TCP ports as the example says."""
    reset(box)
    made = []
    for n, name in enumerate(NAMES):
        service = Service(box, name)
        service.port = 7421 + n
        service.put(trees[n + 1])
        service.configure()
        service.drop_in({"Socket": {"ListenStream": [f"127.0.0.1:{service.port}",
                                                     f"[::1]:{service.port}"]}},
                        unit=f"actd-tcp@{name}.socket")
        service.listen()
        made.append(service)
    return made


def versions_of(pair):
    return [service.served() for service in pair]


def test_each_serves_its_tree_on_all_of_its_sockets(box, pair):
    for service in pair:
        assert service.is_active() == "inactive"
    for version, service in enumerate(pair, 1):
        for address in (service.unix, box.tcp(port=service.port), box.tcp("::1", service.port)):
            with service.client(address) as client:
                assert client.call("info")["tree"]["path"] == service.tree.encode()
        assert http.fetch(service.admin_unix, "/readyz")[0] == 200
        assert service.served() == version
    assert box.show("actd.service", "ActiveState") == "inactive"
    assert pair[0].main_pid() != pair[1].main_pid()


def test_one_started_by_its_socket_leaves_the_other_alone(pair):
    one, other = pair
    assert one.served() == 1
    assert one.is_active() == "active" and other.is_active() == "inactive"


def test_they_reload_and_stop_for_themselves(box, pair, trees):
    one, other = pair
    assert versions_of(pair) == [1, 2]
    pids = [service.main_pid() for service in pair]
    one.put(trees[3])
    one.ctl("reload")
    assert versions_of(pair) == [3, 2]
    one.put_bytes(b"no tree " * 600)
    assert one.ctl("reload", status=None).returncode != 0
    other.ctl("reload")
    assert versions_of(pair) == [3, 2]
    assert [service.generation()["number"] for service in pair] == [2, 2]
    assert [service.main_pid() for service in pair] == pids

    one.ctl("stop")
    assert one.is_active() == "inactive" and other.served() == 2
    assert other.main_pid() == pids[1]
    one.put(trees[1])
    assert versions_of(pair) == [1, 2]

    os.kill(other.main_pid(), signal.SIGKILL)
    other.wait_show(NRestarts="1", ActiveState="active", SubState="running")
    assert versions_of(pair) == [1, 2]
    assert one.show("NRestarts") == "0"


def test_the_service_without_a_name_is_a_third_one(box, pair, trees):
    third = Service(box)
    third.put(trees[3])
    third.configure()
    third.listen()
    assert versions_of([*pair, third]) == [1, 2, 3]
    third.ctl("stop")
    assert versions_of(pair) == [1, 2]


def test_each_keeps_its_own_last_good_file(pair):
    assert versions_of(pair) == [1, 2]
    for service in pair:
        service.put_bytes(b"no tree " * 600)
        service.ctl("restart")
    assert versions_of(pair) == [1, 2]


def test_a_tcp_socket_without_an_address_is_refused(box, pair):
    """Rather than that two instances are in each other's way."""
    told = box.systemctl("start", "actd-tcp@third.socket", status=None)
    assert told.returncode != 0
    log = box.run("journalctl", "-u", "actd-tcp@third.socket", "--no-pager").stdout
    assert "Listen" in log, log


def test_an_instance_without_a_configuration_says_which(box, pair):
    third = Service(box, "third")
    third.drop_in({"Service": {"Restart": "no"}})
    assert third.ctl("start", status=None).returncode != 0
    told = box.journal("-u", third.unit, "SYSLOG_IDENTIFIER=actd")
    assert any("/etc/actd/third.conf" in e["MESSAGE"] for e in told), told
