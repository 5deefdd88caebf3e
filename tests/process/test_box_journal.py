"""What actd tells the journal of a real systemd, read back by journalctl: fields, ids, and what the
catalog says to them. docs/EVENTS.md says what there must be."""

import os
import re
import signal

import pytest

from lib import paths
from lib.box_service import box, service, trees  # noqa: F401: fixtures
from lib.processes import is_gone
from lib.waiting import eventually

GARBAGE = b"this was a tree once\n" * 500
CATALOG = "/usr/lib/systemd/catalog/actd.catalog"

PRIORITIES = {"error": "3", "warning": "4", "info": "6"}


def documented():
    """{name: (priority, id, fields)} of docs/EVENTS.md."""
    text = (paths.ROOT / "docs" / "EVENTS.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| `([0-9a-f]{32})` \| .* \| ([A-Z_, ]+) \|$", text,
                      re.M)
    return {name: (PRIORITIES[level], number, set(fields.split(", ")))
            for name, level, number, fields in rows}


EVENTS = documented()


class Log:
    """What actd.service says from now on."""

    def __init__(self, service):
        self.service, self.box = service, service.box
        self.since = self.box.now()

    def event(self, name, **wanted):
        """The first such entry with these fields; what is documented of it must be true."""
        priority, number, fields = EVENTS[name]
        entry = self.box.wait_journal(
            f"MESSAGE_ID={number}", since=self.since,
            wanted=lambda e: all(e.get(field) == value for field, value in wanted.items()))
        assert entry["EVENT"] == name and entry["PRIORITY"] == priority
        assert fields <= set(entry), fields - set(entry)
        self.check(entry)
        return entry

    def check(self, entry):
        """What all entries of actd have."""
        assert entry["SYSLOG_IDENTIFIER"] == "actd"
        assert entry["_TRANSPORT"] == "journal"
        assert entry["_SYSTEMD_UNIT"] == self.service.unit
        source = paths.ROOT / entry["CODE_FILE"]
        lines = source.read_text().splitlines()
        assert 0 < int(entry["CODE_LINE"]) <= len(lines)
        assert re.search(rf"\b{entry['CODE_FUNC']}\(", "\n".join(lines))
        if "TREE_PATH" in entry:
            assert entry["TREE_PATH"] == self.service.tree


def explained(box, entry):
    """What journalctl says to an entry with -x."""
    return box.run("journalctl", "-x", "--no-pager", "-q", f"--cursor={entry['__CURSOR']}",
                   "-n", "1").stdout


def subject(box, entry):
    """Of the catalog, with the entry's fields in it."""
    text = box.path(CATALOG).read_text()
    line = re.search(rf"^-- {entry['MESSAGE_ID']}\nSubject: (.*)$", text, re.M)[1]
    return re.sub(r"@(\w+)@", lambda match: entry[match[1]], line)


def test_the_catalog_of_the_journal_has_all_of_them(box):
    listed = box.run("journalctl", "--list-catalog").stdout
    for name, (_, number, _) in EVENTS.items():
        assert number in listed, name


def check_explained(box, entry):
    told = explained(box, entry)
    assert subject(box, entry) in told, told
    assert not re.search(r"@[A-Z_]+@", told), told
    assert "man:actd" in told


def test_a_life_in_good_order(service, trees):
    log = Log(service)
    service.start()
    ready = log.event("ready", GENERATION="1")
    served = log.event("generation_served", GENERATION="1")
    identity = str(service.generation()["identity"])
    assert ready["IDENTITY"] == served["IDENTITY"] == identity
    assert ready["WORKERS"] == "2"
    assert served["SIZE_BYTES"] == str(trees[1].stat().st_size)
    service.put(trees[2])
    service.ctl("reload")
    assert log.event("generation_served", GENERATION="2")["IDENTITY"] != identity
    service.ctl("stop")
    stopping = log.event("stopping")
    assert stopping["SIGNAL"] == "SIGTERM"
    stopped = log.event("stopped")
    for entry in (ready, served, stopping, stopped):
        check_explained(service.box, entry)


def test_every_entry_has_its_place_and_lines_of_workers_tell_which(service):
    service.configure({"log.level": "debug"})
    log = Log(service)
    service.start()
    entries = service.box.journal("SYSLOG_IDENTIFIER=actd", since=log.since)
    assert len(entries) > 4
    for entry in entries:
        log.check(entry)
    of_workers = [entry for entry in entries if re.match(r"worker \d", entry["MESSAGE"])]
    for entry in of_workers:
        assert entry["WORKER"] == re.match(r"worker (\d)", entry["MESSAGE"])[1]
    assert {entry["WORKER"] for entry in of_workers} == {"0", "1"}


def test_a_file_that_is_refused(service):
    service.start()
    log = Log(service)
    service.put_bytes(GARBAGE)
    assert service.ctl("reload", status=None).returncode != 0
    entry = log.event("generation_refused")
    assert entry["GENERATION"] == "1"  # which goes on
    assert "not an ACT file" in entry["REASON"]
    check_explained(service.box, entry)


def test_a_file_that_is_damaged(service):
    service.start()
    log = Log(service)
    path = service.box.path(service.tree)
    with open(path, "r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    entry = log.event("generation_damaged")
    assert entry["GENERATION"] == "1" and entry["REASON"]
    check_explained(service.box, entry)


def outside(service, number):
    """Process id of that worker, in the container and for us."""
    pid = service.stats()["workers"][number]["pid"]
    return pid, service.box.pid_outside(pid)


def test_a_worker_that_is_killed(service):
    service.start()
    log = Log(service)
    inside, pid = outside(service, 1)
    os.kill(pid, signal.SIGKILL)
    entry = log.event("worker_ended", WORKER="1")
    assert entry["WORKER_PID"] == str(inside) and "signal 9" in entry["REASON"]
    check_explained(service.box, entry)


def test_a_worker_that_hangs(service):
    service.configure({"daemon.heartbeat_timeout_ms": 2000})
    service.start()
    log = Log(service)
    inside, pid = outside(service, 0)
    os.kill(pid, signal.SIGSTOP)
    entry = log.event("worker_hung", WORKER="0")
    assert entry["WORKER_PID"] == str(inside) and int(entry["SILENT_MS"]) >= 2000
    check_explained(service.box, entry)
    eventually(lambda: is_gone(pid), "it to end")


@pytest.mark.parametrize("how, number", [("missing", "2"), ("garbage", None)])
def test_a_start_that_fails(service, how, number):
    service.drop_in({"Service": {"Restart": "no"}})
    if how == "missing":
        service.box.path(service.tree).unlink()
    else:
        service.put_bytes(GARBAGE)
    log = Log(service)
    assert service.ctl("start", status=None).returncode != 0
    entry = log.event("cannot_start")
    assert entry.get("ERRNO") == number
    assert service.tree in entry["REASON"]
    check_explained(service.box, entry)


def test_a_lock_that_is_refused(service):
    service.configure({"tree.mlock": "yes"})
    service.drop_in({"Service": {"LimitMEMLOCK": "4K"}})
    log = Log(service)
    service.start()
    entry = log.event("lock_refused", WORKER="1")
    assert entry["GENERATION"] == "1"
    check_explained(service.box, entry)


def test_events_are_found_as_the_document_says(service):
    """With the very commands of docs/EVENTS.md."""
    service.start()
    os.kill(outside(service, 1)[1], signal.SIGKILL)
    Log(service)
    service.box.wait_journal("EVENT=worker_ended")
    text = (paths.ROOT / "docs" / "EVENTS.md").read_text()
    commands = re.findall(r"^ {4}(journalctl [^#\n]*)", text, re.M)
    assert len(commands) >= 4
    for command in commands:
        told = service.box.run("sh", "-c", command.replace(" -f ", " ") + " --no-pager")
        if "WORKER=1" in command:
            assert "was ended by signal 9" in told.stdout
