"""Where standard error is the journal: entries with fields, and the events that operators wait for;
what becomes of them where the journal does not take them; and that elsewhere lines are as ever."""

import contextlib
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import time

import pytest

from lib import cold, http, paths, reload, rpc, versions
from lib.daemon import Daemon, refused, run
from lib.journal import EVENTS, Journal, parse
from lib.slow_disk import SlowDisk
from lib.waiting import Clock, eventually

CATALOG = paths.ROOT / "systemd" / "actd.catalog"


@pytest.fixture
def journal(tmp_path):
    directory = tmp_path / "journal"
    directory.mkdir()
    with Journal(directory) as reader:
        yield reader


@pytest.fixture
def service(actd, journal):
    """As the fixture actd, with the journal as its standard error."""

    def start(tree=paths.CITIES, settings=None, *, wait="ready", launcher=(), **options):
        wanted = {"daemon.workers": 2, **(settings or {})}
        daemon = actd(tree, wanted, wait=None, launcher=[*journal.command, *launcher], **options)
        if wait:
            journal.event(wait)
        return daemon

    return start


@pytest.fixture
def path(tmp_path):
    """Where the served file lies: version 1."""
    return versions.build(tmp_path / "tree.act", 1)


def said(daemon):
    """What came on standard error."""
    return [line for line in daemon.lines if line]


def connect(daemon):
    with daemon.client() as client:
        return client.call("hello")


#
# A life.
#


def test_the_fields_of_a_life(service, journal):
    daemon = service()
    ready = journal.event("ready")
    served = journal.event("generation_served")
    identity = connect(daemon)["generation"]["identity"]
    where = {"GENERATION": "1", "TREE_PATH": bytes(paths.CITIES)}
    for entry in [ready, served]:
        assert entry["IDENTITY"] == str(identity) and entry["PRIORITY"] == "6"
        assert entry["_PID"] == daemon.pid
        assert entry.items() >= where.items()
    assert ready["WORKERS"] == "2" and ready["MESSAGE"].startswith("ready: generation 1")
    assert int(served["SIZE_BYTES"]) == paths.CITIES.stat().st_size
    assert int(served["DURATION_MS"]) >= 0
    pids = daemon.worker_pids()
    for number, pid in enumerate(pids):
        asked = journal.wait("whether a page is in memory", WORKER=number, **where)
        assert asked["_PID"] == pid and asked["MESSAGE"].startswith(f"worker {number}: ")
        assert asked["CODE_FILE"] == "daemon/worker/link.c"
    listening = journal.wait("^listening on unix:")
    assert listening["ADDRESS"] == f"unix:{daemon.directory}/actd.sock"
    assert journal.wait("^admin endpoint on unix:")["ADDRESS"].endswith("/admin.sock")
    daemon.stop()
    assert journal.event("stopping")["SIGNAL"] == "SIGTERM"
    assert journal.event("stopped").items() >= where.items()
    assert said(daemon) == []
    for event in ["ready", "stopping", "stopped", "generation_served"]:
        assert len(journal.events(event)) == 1


def test_statistics_name_their_method(service, journal):
    daemon = service()
    with daemon.client() as client:
        client.call("get", b"a")
    daemon.send_signal(signal.SIGUSR1)
    journal.wait("^statistics: .* generation 1$")
    assert "get: 1 requests" in journal.wait("^statistics", METHOD="get")["MESSAGE"]
    assert not journal.find(METHOD="mget")


def test_a_path_of_any_bytes_forges_nothing(service, journal, tmp_path):
    name = b"tree\xff\nMESSAGE=forged\nEVENT=ready\n.\xc2\x9b\xe2\x82\xac"
    path = pathlib.Path(os.fsdecode(bytes(tmp_path) + b"/" + name))
    shutil.copyfile(paths.CITIES, path)
    service(path)
    ready = journal.event("ready")
    assert ready["TREE_PATH"] == bytes(tmp_path) + b"/" + name
    assert ready["MESSAGE"].endswith(f"{tmp_path}/tree??MESSAGE=forged?EVENT=ready?.??€")
    escaped = r"tree\xff\x0aMESSAGE=forged\x0aEVENT=ready\x0a.\xc2\x9b€"
    assert f"{tmp_path}/{escaped}, " in journal.event("generation_served")["MESSAGE"]
    assert len(journal.events("ready")) == 1 and not journal.find("^forged")


#
# Files.
#


def test_reloads(service, journal, path):
    daemon = service(path)
    before = len(journal.entries)
    path.with_name("bad.act").write_bytes(b"no tree")
    path.with_name("bad.act").rename(path)
    why = reload.refused(daemon)
    entry = journal.event("generation_refused", before)
    assert entry["REASON"] == why and entry["GENERATION"] == "1"
    assert entry["MESSAGE"].startswith(f"{why}; generation 1 ") and entry["PRIORITY"] == "3"
    assert entry["TREE_PATH"] == bytes(path)
    versions.put(path, 2)
    number = reload.accepted(daemon)
    entry = journal.event("generation_served", before)
    assert entry["GENERATION"] == str(number) == "2"
    # Workers speak of the file that they were given, and then of the one that they answer from.
    assert journal.find("whether a page is in memory", GENERATION=2)
    daemon.stop()
    assert journal.event("stopped")["GENERATION"] == "2"
    assert said(daemon) == []


def test_a_file_that_is_damaged_in_place(service, journal, path):
    daemon = service(path, {"tree.settle_ms": 3600000})
    os.truncate(path, 100)
    with daemon.client() as client:
        assert client.error_of("get", versions.KEYS[0]) == rpc.IO_ERROR
    entry = journal.event("generation_damaged", GENERATION=1, TREE_PATH=bytes(path))
    assert entry["REASON"] in entry["MESSAGE"] and entry["PRIORITY"] == "3"
    assert len(journal.events("generation_damaged")) == 1


def test_faults_that_a_verification_finds(service, journal, path):
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 4, len(content) // 2, 97):
        content[at] ^= 0xFF
    path.write_bytes(content)
    daemon = service(path)
    assert http.fetch(daemon.admin_unix, "/verify", method="POST")[0] == 202
    entry = journal.event("faults_found", GENERATION=1, TREE_PATH=bytes(path))
    assert entry["REASON"] in entry["MESSAGE"]


#
# Workers.
#


def test_a_worker_that_is_killed(service, journal):
    daemon = service()
    pids = daemon.worker_pids()
    os.kill(pids[1], signal.SIGKILL)
    entry = journal.event("worker_ended", WORKER=1, WORKER_PID=pids[1])
    assert entry["REASON"] == "was ended by signal 9 (Killed)" and entry["_PID"] == daemon.pid
    daemon.wait_stat("process", "serving", 2)
    # Its successor has its number, and not its process.
    pid = daemon.worker_pids()[1]
    eventually(lambda: any(e["_PID"] == pid for e in journal.find(WORKER=1)), "its own entry")


def test_a_worker_that_hangs(service, journal):
    daemon = service(settings={"daemon.heartbeat_timeout_ms": 500})
    pid = daemon.worker_pids()[0]
    os.kill(pid, signal.SIGSTOP)
    entry = journal.event("worker_hung", WORKER=0, WORKER_PID=pid)
    assert int(entry["SILENT_MS"]) >= 500 and entry["PRIORITY"] == "3"
    ended = journal.event("worker_ended", WORKER=0, WORKER_PID=pid)
    assert " hung and was ended by signal 6 " in ended["MESSAGE"]


def test_a_disk_that_does_not_answer(journal, tmp_path):
    tree = cold.build(tmp_path / "cold.act", 4000, 2000)
    with SlowDisk(tmp_path, tree.path) as disk:
        settings = {"cold.timeout_ms": 200, "daemon.heartbeat_timeout_ms": 500}
        options = {"wait": None, "launcher": journal.command}
        with cold.serving(disk, settings, **options) as daemon:
            journal.event("ready")
            disk.hang()
            with cold.Waiting(daemon, tree.keys[:8]) as waiting:
                waiting.check_errors(rpc.IO_ERROR, "cold.timeout_ms")
            entry = journal.event("disk_slow", WORKER=0, GENERATION=1)
            assert entry["TIMEOUT_MS"] == "200" and 1 <= int(entry["REQUESTS"]) <= 8
            # More of the same in the same minute is counted, and not told.
            with cold.Waiting(daemon, tree.keys[8:12]) as waiting:
                waiting.check_errors(rpc.IO_ERROR, "cold.timeout_ms")
            heard = [worker["pid"] for worker in daemon.workers()]
            disk.go_on()
            cold.settle(daemon)
            assert [worker["pid"] for worker in daemon.workers()] == heard
        assert len(journal.events("disk_slow")) == 1


#
# What it cannot have.
#


def start_failed(journal, directory, settings, status=1, launcher=(), **options):
    """actd with these settings, to its end, and the one event that tells why."""
    wanted = {"tree.path": paths.CITIES, "listen.unix": directory / "actd.sock", **settings}
    done = subprocess.run(
        [*journal.command, *launcher, paths.ACTD, "--config=/dev/null",
         *(f"--set={name}={value}" for name, value in wanted.items())],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=Clock().left("actd"), **options,
    )
    assert done.returncode == status and done.stderr == b"", done
    entry = journal.event("cannot_start")
    assert len(journal.events("cannot_start")) == 1 and entry["PRIORITY"] == "3"
    assert not journal.events("stopped") and not journal.events("ready")
    assert entry["REASON"] in entry["MESSAGE"]
    return entry


def test_no_start_for_the_configuration(journal, tmp_path):
    entry = start_failed(journal, tmp_path, {"limits.max_keys": "many"}, status=2)
    assert "limits.max_keys" in entry["REASON"]


def test_no_start_for_the_file(journal, tmp_path):
    missing = tmp_path / "missing.act"
    entry = start_failed(journal, tmp_path, {"tree.path": missing})
    assert str(missing) in entry["REASON"] and "nothing is served yet" in entry["MESSAGE"]
    assert "GENERATION" not in entry and entry["TREE_PATH"] == bytes(missing)


def test_no_start_for_the_socket(journal, tmp_path):
    entry = start_failed(journal, tmp_path, {"listen.unix": tmp_path / "no" / "actd.sock"})
    assert entry["ERRNO"] == "2" and "GENERATION" in entry


def test_no_start_for_the_token(journal, tmp_path):
    (tmp_path / "token").write_text("short")
    entry = start_failed(journal, tmp_path, {"admin.token_file": tmp_path / "token"})
    assert "admin.token_file" in entry["REASON"]


def test_more_connections_than_there_may_be(service, journal):
    daemon = service(settings={"limits.max_connections": 2})
    for _ in range(5):  # full, and not full, as often as clients like
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(daemon.client()).call("ping")
            eventually(lambda: daemon.stat("connections", "open") == 2, "both")
        daemon.wait_stat("connections", "open", 0)
    entry = journal.event("connections_paused")
    assert entry["CONNECTIONS"] == "2" and "limits.max_connections" in entry["REASON"]
    assert entry["REPEATED"] == "1" and "ERRNO" not in entry
    assert len(journal.events("connections_paused")) == 1


def test_no_descriptors_are_left(service, journal):
    daemon = service(settings={"admin.tcp": None, "admin.unix": None})
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    with daemon.client() as client:
        assert client.is_usable()
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, hard))
        with contextlib.closing(rpc.connect(daemon.unix)):
            entry = journal.event("connections_paused")
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert entry["ERRNO"] == "24" and entry["REASON"] == "Too many open files"


def test_fewer_descriptors_than_connections(service, journal):
    limit = (200, 200)
    service(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit))
    entry = journal.event("connections_limited")
    assert 0 < int(entry["MAX_CONNECTIONS"]) < 200
    assert entry["MESSAGE"].startswith(f"{entry['MAX_CONNECTIONS']} connections at most")


def test_no_memory_may_be_locked(service, journal, path):
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv: the limit does not bind root")
    service(path, {"tree.mlock": "yes"}, launcher=["setpriv", "--bounding-set=-ipc_lock"],
            preexec=lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0)))
    for worker in range(2):
        entry = journal.event("lock_refused", WORKER=worker, GENERATION=1)
        assert "RLIMIT_MEMLOCK" in entry["REASON"] and entry["TREE_PATH"] == bytes(path)


def test_too_few_huge_pages(service, journal, tmp_path):
    """More than other tests, which may run at the same time, reserve."""
    path = cold.build(tmp_path / "large.act", 10000, 5000).path
    assert path.stat().st_size > 40 << 20
    service(path, {"tree.hugepages": "copy"})
    entry = journal.event("huge_pages_refused", GENERATION=1, TREE_PATH=bytes(path))
    assert "vm.nr_hugepages" in entry["REASON"]


def test_a_profile_that_is_of_no_use(service, journal, tmp_path):
    profile = tmp_path / "profile"
    profile.write_bytes(b"no profile")
    service(settings={"warmup.mode": "restore", "warmup.profile": profile})
    entry = journal.event("warmup_failed", GENERATION=1)
    assert entry["REASON"].startswith("the profile is ignored: ") and entry["PRIORITY"] == "4"


def test_a_profile_that_cannot_be_saved(service, journal, tmp_path):
    profile = tmp_path / "no" / "profile"
    service(settings={"warmup.profile": profile})
    entry = journal.event("profile_unsaved", PROFILE_PATH=profile)
    assert entry["ERRNO"] == "2" and entry["REASON"] == "No such file or directory"


def test_clients_cannot_fill_the_journal(service, journal):
    """What is no message ends its connection, and is counted."""
    daemon = service()
    before = len(journal.entries)
    for _ in range(50):
        with contextlib.closing(rpc.connect(daemon.unix)) as sock:
            sock.sendall(b"\xc1")
            assert sock.recv(1) == b""
    daemon.wait_stat("connections", "broken", 50)
    daemon.stop()
    journal.event("stopped")
    assert {entry.get("EVENT") for entry in journal.entries[before:]} == {"stopping", "stopped"}


#
# A journal that is not there, or does not read.
#


@pytest.mark.parametrize("is_path_left", [False, True])
def test_without_a_journal_lines_go_to_standard_error(service, journal, path, is_path_left):
    daemon = service(path)
    journal.go(is_path_left)
    since = len(daemon.lines)
    path.with_name("bad.act").write_bytes(b"no tree")
    path.with_name("bad.act").rename(path)
    why = reload.refused(daemon)
    daemon.wait_log(rf"^<3>{re.escape(why)}; generation 1 .* goes on serving$", since)
    os.kill(daemon.worker_pids()[0], signal.SIGKILL)
    daemon.wait_log(r"^<4>worker 0 \(pid \d+\) was ended by signal 9", since)
    daemon.wait_log(r"^<6>worker 0: .*: whether a page is in memory", since)
    # It comes back.
    journal.path.unlink(missing_ok=True)
    journal.listen()
    journal.start_reading()
    versions.put(path, 2)
    reload.accepted(daemon)
    journal.event("generation_served", GENERATION=2)
    assert "all workers serve it" not in daemon.log


def test_who_fails_at_once_waits_until_that_is_read(journal, tmp_path):
    """The journal asks /proc which service an entry is of, as long as there is its process."""

    def seconds():
        begin = time.monotonic()
        done = subprocess.run([*journal.command, paths.ACTD, "--config=/dev/null", "--set=a.b=c"],
                              stdin=subprocess.DEVNULL, timeout=Clock().left("actd"))
        assert done.returncode == 2
        return time.monotonic() - begin

    read = [seconds() for _ in range(5)]
    journal.event("cannot_start")
    journal.go()
    journal.listen()  # and nobody reads
    unread = seconds()
    assert unread > 0.1 and unread > min(read), (unread, read)


def test_nobody_waits_for_a_journal_that_does_not_read(actd, tmp_path):
    """It may hang on the disk that queries do not wait for."""
    directory = tmp_path / "journal"
    directory.mkdir()
    journal = Journal(directory)
    journal.listen()  # and nobody reads
    try:
        daemon = actd(paths.CITIES, {"daemon.workers": 1, "log.level": "debug"}, wait=None,
                      launcher=journal.command)
        daemon.wait_socket()
        queued = 0
        with contextlib.closing(rpc.connect(daemon.unix)):
            while not any("statistics" in line for line in said(daemon)):
                daemon.send_signal(signal.SIGUSR1)
                assert connect(daemon)["generation"]["number"] == 1
                queued += 1
        assert all(re.match(r"<[3467]>", line) for line in said(daemon))
        daemon.stop()
        assert any(line == "<6>stopped" for line in said(daemon))
        journal.sock.setblocking(False)
        first = parse(journal.sock.recv(1 << 20))  # what there was room for is there, whole
        assert {"MESSAGE", "CODE_FILE"} <= first.keys()
    finally:
        journal.go()


#
# Elsewhere.
#

PLAIN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z actd (error|warning|info|debug): .+")


def test_lines_elsewhere_have_no_fields(journal, path):
    """The journal is there, and standard error is something else."""
    launcher = [*journal.command, "env", "JOURNAL_STREAM=1:1"]
    with Daemon(path, {"daemon.workers": 2}, launcher=launcher) as daemon:
        path.with_name("bad.act").write_bytes(b"no tree")
        path.with_name("bad.act").rename(path)
        why = reload.refused(daemon)
        daemon.stop()
    assert all(PLAIN.fullmatch(line) for line in said(daemon)), daemon.log
    for line in [f"error: {why}; generation 1 ", "info: ready: generation 1", "info: stopped",
                 "info: SIGTERM: stopping", "info: worker 1: "]:
        assert f" actd {line}" in daemon.log
    assert journal.entries == []
    assert "cannot start" not in refused(path.with_name("missing"))
    assert run("--config=/dev/null", "--set=x").stderr.startswith("actd: ")


#
# The catalog.
#


def test_the_catalog_is_what_journalctl_understands(tmp_path):
    if not shutil.which("journalctl"):
        pytest.skip("needs journalctl (Debian: systemd)")
    for folder in ["usr/lib/systemd/catalog", "var/lib/systemd/catalog"]:
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(CATALOG, tmp_path / "usr/lib/systemd/catalog")

    def journalctl(*args):
        done = subprocess.run(["journalctl", f"--root={tmp_path}", *args], text=True,
                              capture_output=True, timeout=Clock().left("journalctl"))
        assert done.returncode == 0 and done.stderr == "", done
        return done.stdout

    journalctl("--update-catalog")
    listed = journalctl("--list-catalog").splitlines()
    numbers = {number for number, _ in EVENTS.values()}
    assert {line.split()[0] for line in listed} == numbers
    assert all(line.split()[1] == "actd:" for line in listed)
    for number in numbers:
        assert "Documentation: man:actd" in journalctl("--dump-catalog", number)


def test_each_event_is_heard_here():
    text = pathlib.Path(__file__).read_text()
    assert [name for name in EVENTS if f'"{name}"' not in text] == []
