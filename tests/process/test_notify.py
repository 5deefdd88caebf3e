"""What the service manager is told: each message, and in which order. The manager is a socket."""

import contextlib
import errno
import os
import pathlib
import resource
import signal
import socket
import statistics
import subprocess
import time

import msgpack
import pytest

from lib import cold, paths
from lib.daemon import Daemon
from lib.notify import Manager
from lib.processes import stopped
from lib.reload import Asking, post, put, put_bytes
from lib.waiting import Clock, eventually
from lib.warming import slow_enough_to_look, started, warmer_of

NOBODY = 65534
WATCHDOG_US = 1_500_000
ALIVE = {"WATCHDOG": "1"}
STOPPED = {"STATUS": "stopped"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return cold.build(tmp_path_factory.mktemp("notify") / "tree.act", 1234, 2000)


@pytest.fixture
def path(tmp_path, tree):
    """A copy of it, which may be replaced."""
    put(tree.path, tmp_path / "served.act")
    return tmp_path / "served.act"


@pytest.fixture
def watchdog(tmp_path):
    with contextlib.closing(Manager(tmp_path, watchdog_us=WATCHDOG_US)) as listening:
        yield listening


def status_of(path, generation=1, more="", after=""):
    return f"generation {generation}, 1.2 k keys{more}: {path}{after}"


def reach(manager):
    """Everybody may."""
    os.chmod(manager.path, 0o777)
    for parent in pathlib.Path(manager.path).parents:
        if parent.is_relative_to("/tmp") and parent != pathlib.Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)


def turns(messages):
    """READY, RELOADING and STOPPING as they came."""
    words = ("READY", "RELOADING", "STOPPING")
    return [word for message in messages for word in message if word in words]


# Start and stop.


def test_a_start_and_a_stop(actd, manager, path):
    daemon = actd(path, env=manager.env)
    assert manager.next() == {"READY": "1", "STATUS": status_of(path)}
    assert f"ready: {status_of(path)}" in daemon.log
    with daemon.client() as client:
        assert client.is_usable()
    daemon.stop()
    stopping = manager.wait("STOPPING")
    assert list(stopping) == ["STOPPING", "EXTEND_TIMEOUT_USEC", "STATUS"]
    assert stopping["STATUS"] == "stopping: answering what is in flight"
    assert manager.rest()[-1] == STOPPED
    assert turns(manager.heard) == ["READY", "STOPPING"]
    assert "WATCHDOG" not in {name for message in manager.heard for name in message}


def test_a_stop_may_take_as_long_as_connections_have(actd, manager, path):
    timeout_ms = 200_000
    daemon = actd(path, {"limits.drain_timeout_ms": timeout_ms}, env=manager.env)
    manager.wait("READY")  # its queue is short
    daemon.stop()
    within_us = int(manager.wait("STOPPING")["EXTEND_TIMEOUT_USEC"])
    assert timeout_ms * 1000 < within_us < 2 * timeout_ms * 1000


def test_keys_are_told_only_where_the_file_tells_them(actd, manager):
    actd(paths.CITIES, env=manager.env)
    assert manager.next() == {"READY": "1", "STATUS": f"generation 1: {paths.CITIES}"}


def test_how_much_is_in_memory_is_told_when_it_is_known(actd, manager, path):
    daemon = actd(path, env=manager.env)
    assert "resident" not in manager.wait("READY")["STATUS"]
    told = manager.wait_status(" % resident: ")["STATUS"]
    assert told.startswith("generation 1, 1.2 k keys, ")
    # It was another generation's.
    daemon.send_signal(signal.SIGHUP)
    assert manager.wait("READY")["STATUS"] == status_of(path, 2)
    manager.wait_status("generation 2, 1.2 k keys, ")


def test_to_who_does_not_own_the_file_what_is_mapped_is_told(actd, manager, directory, tree):
    path = directory / "tree.act"
    put(tree.path, path)
    path.chmod(0o644)
    directory.chmod(0o755)
    reach(manager)
    actd(path, user=NOBODY, env=manager.env)
    assert "resident" not in manager.wait_status(" % mapped: ")["STATUS"]


def failed(manager, path, settings=None, status=1, **options):
    """Of a start: what is told at its end."""
    with Daemon(path, settings, wait=None, env=manager.env, **options) as daemon:
        assert daemon.wait() == status
        daemon.is_crashed = True
    assert turns(manager.rest()) == ["STOPPING"]
    told = [message for message in manager.heard if "STATUS" in message][-1]
    assert told["STATUS"].startswith("cannot start: ")
    assert told["STATUS"].removeprefix("cannot start: ") in daemon.log
    assert list(told) in (
        ["STOPPING", "EXTEND_TIMEOUT_USEC", "ERRNO", "STATUS"],
        ["STOPPING", "EXTEND_TIMEOUT_USEC", "STATUS"],
    )
    return int(told.get("ERRNO", 0)), told["STATUS"]


def test_a_file_that_is_missing(manager, tmp_path):
    error, status = failed(manager, tmp_path / "none")
    assert error == errno.ENOENT
    assert status == (
        f"cannot start: {tmp_path}/none: cannot open: No such file or directory: put a file "
        "there, or correct tree.path"
    )


def test_a_configuration_that_is_wrong(manager, path):
    error, status = failed(manager, path, {"tree.watch": "maybe"}, status=2)
    assert error == 0 and "tree.watch=maybe" in status


def test_a_configuration_that_is_checked_is_nobody_elses_business(manager):
    checked = subprocess.run([paths.ACTD, "--check-config", "--set=tree.watch=maybe"],
                             env=os.environ | manager.env, capture_output=True, check=False)
    assert checked.returncode == 2 and manager.rest() == []


def test_a_file_that_may_not_be_read(manager, path, directory):
    mine = directory / "tree.act"
    put(path, mine)
    mine.chmod(0o600)
    reach(manager)
    error, status = failed(manager, mine, user=NOBODY)
    assert error == errno.EACCES and "Permission denied" in status


def test_a_link_that_leads_to_itself(manager, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(link)
    error, status = failed(manager, link)
    assert error == errno.ELOOP and f"{link}: " in status


def test_a_file_that_is_no_tree_has_no_errno(manager, path):
    put_bytes(b"X" * 5000, path)
    error, status = failed(manager, path)
    assert error == 0 and f"{path}: " in status


def test_a_disk_that_fails(manager, disk):
    disk.forget()
    disk.fail()
    error, status = failed(manager, disk.path)
    disk.go_on()
    assert error == errno.EIO and f"{disk.path}: " in status


def test_a_disk_that_hangs(manager, disk):
    disk.forget()
    disk.hang()
    error, status = failed(manager, disk.path, {"tree.check_timeout_ms": 1500})
    disk.go_on()
    assert error == errno.ETIMEDOUT and "tree.check_timeout_ms = 1500" in status
    # It has taken longer than a second.
    assert manager.heard[0]["STATUS"] == f"starting: checking: {disk.path}"
    assert int(manager.heard[0]["EXTEND_TIMEOUT_USEC"]) == 60_000_000


def test_a_copy_for_which_there_is_no_room(manager, path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    error, status = failed(manager, path, {"tree.map_min_bytes": 1 << 30}, preexec=limit)
    assert error == errno.ENOMEM and "copying it to memory takes" in status


@pytest.mark.parametrize("option", ["listen.tcp", "admin.tcp"])
def test_a_port_that_is_in_use(manager, path, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error, status = failed(manager, path, {option: f"127.0.0.1:{port}"})
    assert error == errno.EADDRINUSE
    assert f"tcp:127.0.0.1:{port}: cannot bind: Address already in use" in status


def test_a_socket_in_a_directory_that_is_missing(manager, path, tmp_path):
    error, status = failed(manager, path, {"listen.unix": tmp_path / "none" / "actd.sock"})
    assert error == errno.ENOENT and f"{tmp_path}/none/actd.sock" in status


def test_a_token_that_is_missing(manager, path, tmp_path):
    error, status = failed(manager, path, {"admin.token_file": tmp_path / "token"})
    assert error == errno.ENOENT and f"admin.token_file: {tmp_path}/token" in status


def test_a_stop_while_it_starts(manager, disk):
    disk.forget()
    disk.hang()
    with Daemon(disk.path, wait=None, env=manager.env) as daemon:
        assert manager.wait("STATUS")["STATUS"] == f"starting: checking: {disk.path}"
        daemon.stop()
        disk.go_on()
    assert turns(manager.rest()) == ["STOPPING"]
    assert manager.heard[-1] == STOPPED


def test_a_start_that_reads_and_locks_the_file(disk, manager):
    """Its workers do, after the check; with signs of life for whoever waits."""
    disk.forget()
    disk.delay_us = slow_enough_to_look
    settings = {"tree.mlock": "yes", "daemon.workers": 1}
    with Daemon(disk.path, settings, wait=None, env=manager.env) as daemon:
        clock = Clock()
        message = manager.wait("EXTEND_TIMEOUT_USEC", clock)
        while "checking" in message["STATUS"]:
            message = manager.wait("EXTEND_TIMEOUT_USEC", clock)
        assert "READY" not in message and int(message["EXTEND_TIMEOUT_USEC"]) == 60_000_000
        assert "serving 0 of 1 workers, taking over a file" in message["STATUS"]
        disk.delay_us = 0
        manager.wait("READY")
        daemon.stop()


# A warm-up.


def test_a_warm_up_before_it_is_ready(disk, manager):
    disk.delay_us = slow_enough_to_look
    settings = {"warmup.mode": "read", "warmup.ready": "after"}
    with started(disk, settings, wait="warm-up .* begins", env=manager.env) as daemon:
        first = manager.next()
        while "EXTEND_TIMEOUT_USEC" not in first or "warming" not in first["STATUS"]:
            first = manager.next()
        assert list(first) == ["EXTEND_TIMEOUT_USEC", "STATUS"]
        assert first["STATUS"] == status_of(disk.path, more=", warming 0 %")
        later = manager.wait_status(" s): ")["STATUS"]
        assert later.startswith("generation 1, 1.2 k keys, warming ")
        disk.delay_us = 0
        assert manager.wait("READY")["STATUS"] == status_of(disk.path)
        assert turns(manager.heard) == ["READY"]
        daemon.wait_log("ready:")


def test_a_warm_up_of_a_candidate_is_a_part_of_its_reload(actd, disk, manager, path):
    daemon = actd(path, {"warmup.mode": "read"}, env=manager.env)
    manager.wait("READY")
    disk.forget()
    disk.delay_us = slow_enough_to_look
    path.unlink()
    path.symlink_to(disk.path)
    daemon.send_signal(signal.SIGHUP)
    manager.wait("RELOADING")
    told = manager.wait_status("warming generation 2: ")
    assert told["STATUS"].startswith("generation 1, 1.2 k keys, ")
    eventually(lambda: warmer_of(daemon), "the process that warms up")
    disk.delay_us = 0
    assert manager.wait("READY")["STATUS"] == status_of(path, 2)


# Reloads.


def ask_by_signal(daemon, path):
    daemon.send_signal(signal.SIGHUP)


def ask_by_post(daemon, path):
    assert post(daemon)[0] == 200


def ask_by_rename(daemon, path):
    put(path, path)


@pytest.mark.parametrize("ask", [ask_by_signal, ask_by_post, ask_by_rename])
def test_a_reload(actd, manager, path, ask):
    daemon = actd(path, {"tree.watch": "yes", "tree.settle_ms": 10}, env=manager.env)
    manager.wait("READY")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    ask(daemon, path)
    reloading = manager.wait("RELOADING")
    assert list(reloading) == ["RELOADING", "MONOTONIC_USEC", "EXTEND_TIMEOUT_USEC", "STATUS"]
    assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert reloading["STATUS"].endswith(f", checking a file: {path}")
    ready = manager.wait("READY")
    assert ready == {"READY": "1", "STATUS": status_of(path, 2)}
    daemon.stop()
    manager.rest()
    assert turns(manager.heard) == ["READY", "RELOADING", "READY", "STOPPING"]
    assert daemon.log.count("ready:") == 1


def test_a_reload_that_is_refused(actd, manager, path, tree):
    daemon = actd(path, env=manager.env)
    manager.wait("READY")
    put_bytes(b"no tree", path)
    status, told = post(daemon)
    assert status != 200
    manager.wait("RELOADING")
    why = daemon.wait_log(r"actd error: (.*); generation 1 .* goes on serving")[1]
    ready = manager.wait("READY")
    assert ready["STATUS"].startswith("generation 1, 1.2 k keys")
    assert ready["STATUS"].endswith(f": {path}; the last reload was refused: {why}")
    # It is not told for ever.
    put(tree.path, path)
    assert post(daemon)[0] == 200
    manager.wait("RELOADING")
    assert manager.wait("READY")["STATUS"] == status_of(path, 2)


def test_of_several_in_a_row_each_is_ended(actd, manager, path):
    daemon = actd(path, env=manager.env)
    manager.wait("READY")
    for _ in range(5):
        asking = [Asking(daemon) for _ in range(3)]
        for one in asking:
            assert one.answer()[0] == 200
        manager.rest()  # there is room for ten
    reloads = daemon.stat("tree", "reloads")
    daemon.stop()
    words = turns(manager.rest())
    assert words == ["READY"] + ["RELOADING", "READY"] * (len(words) // 2 - 1) + ["STOPPING"]
    assert words.count("RELOADING") == reloads - 1 >= 10


def test_a_stop_during_a_reload(actd, manager, disk, path):
    daemon = actd(path, env=manager.env)
    manager.wait("READY")
    disk.forget()
    disk.hang()
    path.unlink()
    path.symlink_to(disk.path)
    daemon.send_signal(signal.SIGHUP)
    manager.wait("RELOADING")
    daemon.stop()
    disk.go_on()
    assert turns(manager.rest()) == ["READY", "RELOADING", "STOPPING"]


# What happens to it.


def test_damage(actd, manager, path):
    actd(path, {"tree.settle_ms": 3600000}, env=manager.env)
    manager.wait("READY")
    with open(path, "r+b") as file:
        file.write(bytes(path.stat().st_size))
    told = manager.wait_status("damaged")["STATUS"]
    assert told.endswith(
        f": {path}; damaged, queries are refused: the file was overwritten in place"
    )


def test_workers_that_are_missing(actd, manager, path):
    daemon = actd(path, {"daemon.workers": 2}, env=manager.env)
    manager.wait("READY")
    # Its place is taken soon, and no more than four times a second something is told.
    while not any("serving 1 of 2 workers" in message["STATUS"] for message in manager.heard):
        with contextlib.suppress(ProcessLookupError):
            os.kill(daemon.worker_pids()[0], signal.SIGKILL)
        eventually(lambda: len(daemon.worker_pids()) == 2, "another one")
        manager.rest()
    assert "serving" not in manager.next()["STATUS"]
    assert turns(manager.heard) == ["READY"]


def test_what_changes_often_is_told_now_and_then(disk, manager):
    disk.delay_us = slow_enough_to_look
    settings = {"warmup.mode": "read", "warmup.ready": "before"}
    with started(disk, settings, env=manager.env) as daemon:
        daemon.wait_stat("warmup", "read_bytes", lambda n: n > 0)
        disk.delay_us = 0
        daemon.wait_stat("warmup", "state", "done")
        progress = [message["STATUS"] for message in manager.rest()]
        # It tells how far it is four times a second, and each time is another one.
        assert len(progress) == len(set(progress))


# Signs of life.


def alive(manager, n):
    """The next ones: when they came."""
    found = []
    while len(found) < n:
        message = manager.next()
        if "WATCHDOG" in message:
            assert message == ALIVE
            found.append(message.at)
    return found


def test_signs_of_life_come_twice_in_the_time_or_more_often(actd, watchdog, path):
    actd(path, env=watchdog.env)
    assert watchdog.next() == ALIVE
    times = alive(watchdog, 8)
    gaps = [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
    assert WATCHDOG_US / 20 < statistics.median(gaps) * 1e6 <= WATCHDOG_US / 2


def test_they_do_not_wait_for_the_disk(disk, watchdog):
    """Neither at the start nor later."""
    disk.forget()
    disk.hang()
    with Daemon(disk.path, wait=None, env=watchdog.env) as daemon:
        alive(watchdog, 5)
        assert turns(watchdog.heard) == []
        disk.go_on()
        watchdog.wait("READY")
        disk.forget()
        disk.hang()
        daemon.send_signal(signal.SIGHUP)
        watchdog.wait("RELOADING")
        with daemon.client() as client:
            client.send(msgpack.packb([0, 1, "get", [b"a"]]))
            alive(watchdog, 5)
        assert turns(watchdog.heard) == ["READY", "RELOADING"]
        disk.go_on()


def test_a_worker_that_hangs_is_not_the_managers_business(actd, watchdog, path):
    daemon = actd(path, {"daemon.workers": 2}, env=watchdog.env)
    with stopped(daemon.worker_pids()[0]):
        alive(watchdog, 5)
    assert turns(watchdog.heard) == ["READY"]


def test_a_supervisor_that_hangs_gives_none(actd, watchdog, path):
    daemon = actd(path, env=watchdog.env)
    alive(watchdog, 3)
    with stopped(daemon.pid):
        watchdog.rest()
        watchdog.sock.settimeout(WATCHDOG_US / 1e6)
        with pytest.raises(TimeoutError):
            watchdog.sock.recv(65536)
    alive(watchdog, 3)


def test_they_go_on_to_the_end(actd, watchdog, path):
    settings = {"daemon.workers": 1, "daemon.heartbeat_timeout_ms": 60000,
                "limits.drain_timeout_ms": 3000}
    daemon = actd(path, settings, env=watchdog.env)
    with stopped(*daemon.worker_pids()):
        daemon.send_signal(signal.SIGTERM)
        watchdog.wait("STOPPING")
        alive(watchdog, 4)
        daemon.wait()
    assert turns(watchdog.rest()) == ["READY", "STOPPING"]


def test_none_where_another_process_is_meant(actd, watchdog, path):
    daemon = actd(path, env={**watchdog.env, "WATCHDOG_PID": str(os.getpid())})
    watchdog.wait_status(" % resident")
    daemon.stop()
    assert ALIVE not in watchdog.rest()
    assert "WATCHDOG" not in daemon.log


@pytest.mark.parametrize("value", ["", "soon", "-5", "0x", "1e6", "99999999999999999999999"])
def test_a_time_that_is_none_is_told(actd, manager, path, value):
    daemon = actd(path, env={**manager.env, "WATCHDOG_USEC": value})
    assert "WATCHDOG_USEC" in daemon.log
    manager.wait_status(" % resident")
    daemon.stop()
    assert ALIVE not in manager.rest()


def test_a_process_id_that_is_none_is_told(actd, watchdog, path):
    daemon = actd(path, env={**watchdog.env, "WATCHDOG_PID": "me"})
    assert "WATCHDOG_PID" in daemon.log
    daemon.stop()
    assert ALIVE not in watchdog.rest()


def test_the_shortest_time_does_not_harm(actd, tmp_path, path):
    with contextlib.closing(Manager(tmp_path, watchdog_us=1)) as hasty:
        daemon = actd(path, env=hasty.env)
        alive(hasty, 20)
        with daemon.client() as client:
            assert client.is_usable()


# The manager's socket.


def test_it_may_have_no_file(actd, tmp_path, path):
    with contextlib.closing(Manager(tmp_path, name=f"@{tmp_path}")) as abstract:
        actd(path, env=abstract.env)
        assert abstract.wait("READY")["STATUS"] == status_of(path)


def test_it_may_be_gone_and_come_back(actd, manager, path):
    os.unlink(manager.path)
    daemon = actd(path, env=manager.env)
    assert "cannot notify the service manager: No such file or directory" in daemon.log
    with daemon.client() as client:
        assert client.is_usable()
    post(daemon)
    assert daemon.log.count("cannot notify") == 1
    manager.sock.close()
    manager.listen()
    post(daemon)
    assert manager.wait("READY")["STATUS"] == status_of(path, 3)


@pytest.mark.parametrize("name", ["", "notify.sock", "@", "/" + "x" * 200, "vsock:2:1234"])
def test_what_is_no_address_is_told_and_nobody_is_told_more(actd, path, name):
    daemon = actd(path, env={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000"})
    assert daemon.log.count("cannot notify the service manager: NOTIFY_SOCKET") == 1
    with daemon.client() as client:
        assert client.is_usable()


def test_who_does_not_read_holds_nobody_and_hears_all_of_it_later(actd, watchdog, path):
    """There is no room for a single message, from the begin."""
    n_filled = watchdog.fill()
    daemon = actd(path, env=watchdog.env)
    n_reloads = 5
    for _ in range(n_reloads):
        assert post(daemon)[0] == 200
    with daemon.client() as client:
        assert client.is_usable()
    for _ in range(n_filled):
        assert watchdog.next() == {"X_FILLED": "1"}
    while turns(watchdog.heard).count("READY") <= n_reloads:
        watchdog.next()
    assert turns(watchdog.heard) == ["READY"] + ["RELOADING", "READY"] * n_reloads
    daemon.stop()
    assert turns(watchdog.rest())[-1] == "STOPPING"
    assert watchdog.heard[-1] == STOPPED
    assert "service manager" not in daemon.log


def test_signs_of_life_do_not_crowd_out_the_rest(actd, tmp_path, path):
    with contextlib.closing(Manager(tmp_path, watchdog_us=3000)) as manager:
        n_filled = manager.fill()
        daemon = actd(path, env=manager.env)
        for _ in range(100):
            daemon.stats()
        for _ in range(n_filled):
            manager.next()
        manager.wait("READY")
        first = [message for message in manager.heard if "X_FILLED" not in message]
        assert first.count(ALIVE) <= 1


def test_who_never_reads_is_left_behind(actd, manager, path):
    manager.fill()
    daemon = actd(path, env=manager.env)
    for _ in range(40):
        assert post(daemon)[0] == 200
    daemon.wait_log("does not read what it is told: the oldest is dropped")
    daemon.stop()
    assert "does not read what it is told: 64 messages are lost" in daemon.log


def test_what_a_path_holds_makes_no_word(actd, manager, tmp_path, tree):
    odd = os.fsencode(tmp_path) + b"/a\xff.act"
    put(tree.path, pathlib.Path(os.fsdecode(odd)))
    actd(os.fsdecode(odd), env=manager.env)
    assert manager.next() == {"READY": "1", "STATUS": status_of(f"{tmp_path}/a?.act")}


# Who else could speak.


def environment_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return {line.split(b"=")[0] for line in lines}


def children_of(pid):
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_no_other_process_knows_the_manager(actd, disk, watchdog, path):
    daemon = actd(path, {"daemon.workers": 1}, env=watchdog.env)
    disk.forget()
    disk.hang()
    path.unlink()
    path.symlink_to(disk.path)
    daemon.send_signal(signal.SIGHUP)
    watchdog.wait("RELOADING")
    eventually(lambda: len(children_of(daemon.pid)) == 2, "the checker")
    eventually(lambda: disk.reads_in_flight > 0, "it to be one")
    mine = environment_of(daemon.pid)
    for pid in children_of(daemon.pid):
        assert mine - environment_of(pid) == {b"NOTIFY_SOCKET", b"WATCHDOG_USEC"}
    disk.go_on()
    watchdog.wait("READY")
