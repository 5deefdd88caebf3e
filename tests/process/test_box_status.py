"""What systemctl shows of actd.service: what it does, how far it is, and why it does not."""

import contextlib
import re

import pytest

from lib import reload, rpc, versions
from lib.box_service import SOCKETS, box, service, trees  # noqa: F401: fixtures
from lib.waiting import eventually

GARBAGE = b"this was a tree once\n" * 500

# Three seconds for one of the trees, which is longer than systemd is told to wait.
SLOWLY = {"warmup.mode": "read", "warmup.rate_bytes_per_s": 8000}
LIMIT_S = 2
IMPATIENT = {"Service": {"TimeoutStartSec": f"{LIMIT_S}s"}}


class Seen:
    """Looks at the unit again and again, and keeps what it has seen."""

    def __init__(self, service):
        self.service = service
        self.looks = []

    def look(self):
        now = self.service.show("ActiveState", "SubState", "StatusText", "Result")
        self.looks.append((now["ActiveState"], now["StatusText"]))
        return now

    def until(self, state):
        """Its state is that: what systemd then says."""

        def is_there():
            now = self.look()
            return now["ActiveState"] == state and now

        return eventually(is_there, f"{self.service.unit} to be {state}")

    def texts(self, state):
        """Its sentences while it was in this state."""
        return [text for was, text in self.looks if was == state]


#
# What it does.
#


def test_a_sentence_tells_what_is_served(service, trees):
    service.start()
    text = service.show("StatusText")
    assert re.match(r"generation 1, 2\.0 k keys\b", text), text
    assert service.tree in text
    assert text in service.box.systemctl("status", service.unit).stdout
    service.put(trees[2])
    service.ctl("reload")
    eventually(lambda: service.show("StatusText").startswith("generation 2, "), "the next one")


def test_a_refusal_is_told_until_a_good_file_is_there(service, trees):
    service.start()
    service.put_bytes(GARBAGE)
    assert service.ctl("reload", status=None).returncode != 0

    def tells():
        text = service.show("StatusText")
        return "refused" in text and "not an ACT file" in text and text.startswith("generation 1, ")

    eventually(tells, "the refusal in the status")
    service.put(trees[2])
    service.ctl("reload")
    eventually(lambda: "refused" not in service.show("StatusText"), "it to be forgotten")


def test_a_start_that_warms_up_may_take_longer_than_the_limit(service):
    """It asks for more time, and says how far it is; it is there when all is warm."""
    service.configure(SLOWLY)
    service.drop_in(IMPATIENT)
    service.box.systemctl("start", "--no-block", service.unit)
    seen = Seen(service)
    seen.until("activating")
    now = seen.until("active")
    assert now["Result"] == "success" and service.show("NRestarts") == "0"
    warming = [text for text in seen.texts("activating") if "warming" in text]
    assert warming, seen.looks
    assert all(re.search(r"warming \d+ %", text) for text in warming)
    assert "warming" not in now["StatusText"]
    began, ended = [int(service.show(name)) for name in ("ExecMainStartTimestampMonotonic",
                                                         "ActiveEnterTimestampMonotonic")]
    assert ended - began > LIMIT_S * 10**6, "the limit was not reached: this tests nothing"


def test_it_answers_while_it_starts(service):
    service.configure(SLOWLY)
    with service.client() as client:
        assert client.call("get", versions.KEYS[0]) == versions.STEP
        assert service.is_active() == "activating"
    service.wait_show(ActiveState="active")


def test_a_reload_may_take_longer_than_the_limit(service, trees):
    service.configure({**SLOWLY, "warmup.ready": "before"})
    service.start()
    service.drop_in(IMPATIENT)
    service.put(trees[2])
    service.box.systemctl("reload", "--no-block", service.unit)
    seen = Seen(service)
    assert seen.until("reloading")["SubState"] == "reload"
    assert service.served() == 1
    assert seen.until("active")["Result"] == "success"
    assert service.served() == 2
    assert any(re.search(r"warming generation 2: \d+ %", text) for text in seen.texts("reloading"))
    for text in seen.texts("reloading"):
        assert text.startswith("generation 1, ") or text.startswith("generation 2, ")


def test_what_the_watcher_does_is_a_reload(service, trees):
    service.configure({**SLOWLY, "warmup.ready": "before", "tree.watch": "yes",
                       "tree.settle_ms": 100})
    service.start()
    service.drop_in(IMPATIENT)
    service.put(trees[2])
    seen = Seen(service)
    seen.until("reloading")
    assert service.is_active() == "reloading"
    seen.until("active")
    assert service.served() == 2


@pytest.fixture
def endless(service, trees):
    """Its next reload would take minutes."""
    service.configure({**SLOWLY, "warmup.rate_bytes_per_s": 100, "warmup.ready": "before"})
    service.start()
    service.put(trees[2])
    return service


def test_a_stop_does_not_wait_for_a_reload(endless):
    service = endless
    asking = reload.Asking(service)
    Seen(service).until("reloading")
    service.ctl("stop")
    assert service.show("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}
    asking.leave()


def test_nor_for_systemctl_reload(endless):
    """systemd ends that command, too, and takes its end for the service's; actd's own is good."""
    service = endless
    service.box.systemctl("reload", "--no-block", service.unit)
    Seen(service).until("reloading")
    service.ctl("stop")
    assert service.show("ExecMainCode", "ExecMainStatus") == {"ExecMainCode": "1",
                                                              "ExecMainStatus": "0"}
    assert service.show("MainPID", "ControlPID") == {"MainPID": "0", "ControlPID": "0"}
    service.start()
    assert service.served() == 2


def test_nor_for_a_start(service):
    service.configure({**SLOWLY, "warmup.rate_bytes_per_s": 100})
    service.box.systemctl("start", "--no-block", service.unit)
    Seen(service).until("activating")
    service.ctl("stop")
    assert service.show("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}


def test_a_restart_in_the_middle_of_a_reload(service, trees):
    service.start()
    service.configure({**SLOWLY, "warmup.ready": "before"})
    service.ctl("restart")
    service.put(trees[2])
    service.box.systemctl("reload", "--no-block", service.unit)
    Seen(service).until("reloading")
    service.ctl("restart")
    assert service.is_active() == "active" and service.served() == 2
    assert service.show("NRestarts") == "0"


#
# Why it does not.
#


def start_in_vain(service):
    """What systemd tells then."""
    service.drop_in({"Service": {"Restart": "no"}})
    assert service.ctl("start", status=None).returncode != 0
    told = service.show("ActiveState", "StatusText", "StatusErrno", "ExecMainStatus")
    assert told["ActiveState"] == "failed"
    assert told["StatusText"] in service.box.systemctl("status", service.unit, status=3).stdout
    return told


def test_a_file_that_is_missing(service):
    service.box.path(service.tree).unlink()
    told = start_in_vain(service)
    assert told["StatusErrno"] == "2" and told["ExecMainStatus"] == "1"
    assert service.tree in told["StatusText"] and "No such file" in told["StatusText"]


def test_a_file_that_is_none_of_ours(service):
    service.put_bytes(GARBAGE)
    told = start_in_vain(service)
    assert f"{service.tree}: not an ACT file" in told["StatusText"]
    assert told["StatusErrno"] == "0"


def test_a_file_that_may_not_be_read(service):
    service.box.run("chown", "root:root", service.tree)
    service.box.run("chmod", "600", service.tree)
    told = start_in_vain(service)
    assert told["StatusErrno"] == "13" and service.tree in told["StatusText"]


def test_a_configuration_that_is_wrong_is_not_tried_again(service):
    service.configure({"tree.advise": "random"})
    assert service.ctl("start", status=None).returncode != 0
    assert service.show("ActiveState", "ExecMainStatus", "NRestarts") == {
        "ActiveState": "failed", "ExecMainStatus": "2", "NRestarts": "0"}
    log = service.box.run("journalctl", "-u", service.unit, "--no-pager").stdout
    for told in (log, service.show("StatusText")):
        assert "cannot start: " in told and "test.conf" in told and "advise" in told


#
# A crash loop.
#


@pytest.fixture
def limited(service):
    """With the limit of starts that the unit has of itself."""
    source = service.box.path("/lib/systemd/system/actd.service").read_text()
    own = dict(re.findall(r"^(StartLimit\w+)=(.*)$", source, re.M))
    assert int(own["StartLimitBurst"]) > 1
    service.drop_in({"Unit": own})
    service.box.systemctl("reset-failed")
    return service


def test_a_crash_loop_ends_where_an_operator_sees_it(limited, trees):
    service = limited
    service.put_bytes(GARBAGE)
    # Somebody connects, and waits in vain.
    client = service.client()
    client.send(rpc.request(1, "ping"))
    service.wait_show(ActiveState="failed")
    status = service.box.systemctl("status", service.unit, status=3).stdout
    assert "failed" in status and "not an ACT file" in status
    # Whoever waited is told by the end of his connection; the next one is refused.
    with contextlib.suppress(ConnectionResetError):
        assert client.rest() == []
    for socket in ("actd-unix.socket", "actd-tcp.socket"):
        service.box.wait_show(socket, ActiveState="failed")
    for address in (service.unix, service.tcp):
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            rpc.connect(address)

    service.put(trees[2])
    # As the unit says it is done.
    source = service.box.path("/lib/systemd/system/actd.service").read_text()
    remedy = re.search(r"^#\s+(systemctl reset-failed .*)$", source, re.M)[1]
    service.box.run("sh", "-c", remedy)
    assert service.is_active() == "active"
    assert service.served() == 2
    # The TCP socket is not brought in by the service; started again it starts it again.
    service.ctl("stop")
    service.box.systemctl("start", *SOCKETS)
    with service.client(service.tcp) as client:
        assert client.call("get", versions.KEYS[0]) == 2 * versions.STEP
