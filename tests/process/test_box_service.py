"""actd.service under a real systemd: started by whoever connects first, reloaded, watched, and
stopped."""

import os
import re
import signal

import pytest

from lib import http, paths, rpc
from lib.box_service import SOCKETS, box, service, trees  # noqa: F401: fixtures
from lib.processes import is_gone
from lib.waiting import eventually

GARBAGE = b"this was a tree once\n" * 500


def processes(service):
    """Of the unit's control group."""
    group = service.show("ControlGroup")
    if not group:
        return []
    told = service.box.run("systemd-cgls", "--no-pager", "-l", group, status=None).stdout
    return [int(pid) for pid in re.findall(r"─\s*(\d+) ", told)]


def workers(service):
    """As they are known outside."""
    return [service.box.pid_outside(worker["pid"]) for worker in service.stats()["workers"]]


#
# Started by who connects.
#


def connect_unix(service):
    with service.client() as client:
        assert client.call("ping") == "pong"


def connect_tcp(service):
    with service.client(service.tcp) as client:
        assert client.call("ping") == "pong"


def connect_tcp6(service):
    with service.client(service.box.tcp("::1")) as client:
        assert client.call("ping") == "pong"


def connect_admin(service):
    assert http.fetch(service.admin_unix, "/livez")[0] == 200


@pytest.mark.parametrize("connect", [connect_unix, connect_tcp, connect_tcp6, connect_admin])
def test_the_first_connection_starts_it_and_is_answered(service, connect):
    assert service.is_active() == "inactive"
    connect(service)
    service.wait_show(ActiveState="active", SubState="running")
    assert service.show("NRestarts", "Result") == {"NRestarts": "0", "Result": "success"}
    for another in (connect_unix, connect_tcp, connect_tcp6, connect_admin):
        another(service)
    assert service.served() == 1


def test_all_connect_at_once_to_what_is_not_running(service):
    """None is refused, none is lost, and it starts once."""
    since = service.box.now()
    addresses = [service.unix, service.tcp, service.box.tcp("::1")]
    clients = [rpc.Client(address) for address in addresses * 20]
    for client in clients:
        client.send(rpc.request(1, "ping"))
    for client in clients:
        assert client.reply() == (1, None, "pong")
        client.close()
    assert service.show("NRestarts") == "0"
    service.wait_show(ActiveState="active", SubState="running")
    starts = service.box.journal("_PID=1", "UNIT=actd.service", "JOB_TYPE=start", since=since)
    assert len([e for e in starts if e.get("JOB_RESULT") == "done"]) == 1


def test_the_sockets_belong_to_whom_they_should(service):
    for name, group, mode in (("actd.sock", "actd", 0o660), ("admin.sock", "actd-admin", 0o660)):
        told = service.box.run("stat", "-c", "%U %G %a", f"/run/actd/{name}").stdout.split()
        assert told == ["actd", group, f"{mode:o}"]


def as_user(service, groups, *command):
    """The status of a command of somebody who is in these groups only."""
    who = ["setpriv", "--reuid=65534", "--regid=65534"]
    who += [f"--groups={groups}"] if groups else ["--clear-groups"]
    return service.box.run(*who, "--", *command, status=None)


def test_groups_say_who_may_ask_and_who_may_act(service):
    service.start()
    box = service.box

    def gid(name):
        return box.run("getent", "group", name).stdout.split(":")[2]

    ask = ["actctl", "--server=unix:/run/actd/actd.sock", "ping"]
    act = ["actctl", "reload", "--admin=unix:/run/actd/admin.sock"]
    for groups, may_ask, may_act in [("", False, False), (gid("actd"), True, False),
                                     (gid("actd-admin"), False, True)]:
        asked, acted = as_user(service, groups, *ask), as_user(service, groups, *act)
        assert (asked.returncode == 0) == may_ask, asked
        assert (acted.returncode == 0) == may_act, acted
        for refused in [one for one in (asked, acted) if one.returncode]:
            assert "Permission denied" in refused.stderr


#
# Reloaded.
#


def test_reload_says_how_it_went(service, trees):
    service.start()
    service.put(trees[2])
    service.ctl("reload")
    # When the command is done, so is the reload.
    assert service.served() == 2
    assert service.generation()["number"] == 2

    since = service.box.now()
    service.put_bytes(GARBAGE)
    refused = service.ctl("reload", status=None)
    assert refused.returncode != 0
    assert "Job for actd.service failed" in refused.stderr
    assert service.is_active() == "active"
    assert service.served() == 2 and service.generation()["number"] == 2
    # The daemon says why, and so does the command that has asked.
    entries = service.box.journal("-u", service.unit, since=since)
    for name in ("actd", "actctl"):
        told = [e["MESSAGE"] for e in entries if e.get("SYSLOG_IDENTIFIER") == name]
        assert any("tree.act" in text and "ACT" in text for text in told), (name, told)
    assert service.show("NRestarts") == "0"

    service.put(trees[3])
    service.ctl("reload")
    assert service.served() == 3 and service.generation()["number"] == 3


def test_reload_of_what_does_not_run_fails(service):
    assert service.ctl("reload", status=None).returncode != 0
    assert service.is_active() == "inactive"


#
# Watched.
#


def test_a_supervisor_that_hangs_is_replaced(service):
    service.drop_in({"Service": {"WatchdogSec": "2s"}})
    service.start()
    before = service.main_pid()
    there = workers(service)
    os.kill(before, signal.SIGSTOP)
    service.wait_show(NRestarts="1", ActiveState="active", SubState="running")
    assert service.main_pid() != before
    assert is_gone(before) and all(is_gone(pid) for pid in there)
    assert service.served() == 1
    killed = service.box.wait_journal("_PID=1", f"UNIT={service.unit}",
                                      wanted=lambda e: "atchdog" in e["MESSAGE"])
    assert "limit 2s" in killed["MESSAGE"]


def test_who_is_watched_lives_as_long_as_it_wants(service):
    """Its signs of life come in time: after three times the limit it is the same process."""
    service.drop_in({"Service": {"WatchdogSec": "1s"}})
    service.start()
    before = service.main_pid()
    seen = set()

    def watched():
        seen.add(service.show("WatchdogTimestampMonotonic"))
        first, last = min(map(int, seen)), max(map(int, seen))
        return last - first > 3_000_000

    eventually(watched, "signs of life for three seconds")
    assert service.main_pid() == before and service.show("NRestarts") == "0"


def test_a_worker_that_hangs_is_the_supervisors_business(service):
    service.configure({"daemon.heartbeat_timeout_ms": 2000})
    service.start()
    main, there = service.main_pid(), workers(service)
    os.kill(there[0], signal.SIGSTOP)

    def is_replaced():
        now = service.stats()["workers"]
        pids = [worker["pid"] for worker in now]
        return len(pids) == 2 and is_gone(there[0]) and service.stats()["process"]["serving"] == 2

    eventually(is_replaced, "another worker")
    assert there[1] in workers(service)
    assert service.main_pid() == main and service.show("NRestarts") == "0"
    assert service.served() == 1


def test_a_worker_that_is_killed_too(service):
    service.start()
    main, there = service.main_pid(), workers(service)
    os.kill(there[0], signal.SIGKILL)
    eventually(lambda: service.stats()["process"]["serving"] == 2 and is_gone(there[0]),
               "another worker")
    assert service.main_pid() == main and service.show("NRestarts") == "0"
    assert service.served() == 1


def test_a_supervisor_that_is_killed_comes_back(service):
    service.start()
    before, there = service.main_pid(), workers(service)
    os.kill(before, signal.SIGKILL)
    service.wait_show(NRestarts="1", ActiveState="active", SubState="running")
    assert all(is_gone(pid) for pid in there)
    assert service.served() == 1


#
# Stopped.
#


def test_stop_is_clean_and_the_sockets_stay(service, trees):
    service.start()
    everybody = [service.main_pid(), *workers(service)]
    since = service.box.now()
    service.ctl("stop")
    assert service.show("ActiveState", "Result", "ExecMainCode", "ExecMainStatus") == {
        "ActiveState": "inactive", "Result": "success", "ExecMainCode": "1", "ExecMainStatus": "0"}
    assert all(is_gone(pid) for pid in everybody) and processes(service) == []
    bad = [e["MESSAGE"] for e in service.box.journal("-u", service.unit, "-p", "warning",
                                                     since=since)]
    # systemd itself warns of the sockets, which is what is wanted of it.
    assert [text for text in bad if "can still be activated by" not in text] == []
    for socket in SOCKETS:
        assert service.box.show(socket, "ActiveState", "SubState") == {
            "ActiveState": "active", "SubState": "listening"}
    # And whoever connects gets it back.
    service.put(trees[2])
    assert service.served() == 2


def test_the_service_stops_before_its_sockets(service):
    """As when the machine is switched off: nobody is refused while there is somebody to answer."""
    service.start()
    service.box.systemctl("stop", *SOCKETS, service.unit)
    ended = int(service.show("InactiveEnterTimestampMonotonic"))
    for socket in SOCKETS:
        assert int(service.box.show(socket, "InactiveEnterTimestampMonotonic")) >= ended
    assert service.show("Result") == "success"
    assert [path.name for path in service.box.path("/run/actd").iterdir()] == []


def test_a_stop_answers_what_has_arrived(service):
    service.start()
    with service.client() as idle, service.client(service.tcp) as asking:
        assert asking.call("ping") == "pong" and idle.call("ping") == "pong"
        for _ in range(200):
            asking.send(rpc.request(asking.next_msgid(), "count", b""))
        service.box.systemctl("stop", "--no-block", service.unit)
        assert idle.at_end()
        replies = [asking.check(message) for message in asking.rest()]
        assert [msgid for msgid, error, _ in replies if error is None], "nothing was answered"
    service.wait_show(ActiveState="inactive", Result="success")


#
# The binary that is tested is the one that was built of this tree.
#


def test_it_is_this_actd(service):
    told = service.box.run("actd", "--version").stdout
    ours = os.popen(f"{paths.ACTD} --version").read()
    assert told == ours
