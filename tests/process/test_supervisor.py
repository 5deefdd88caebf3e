"""The supervisor and its worker processes: killed, hung, replaced, limited and stopped."""

import collections
import contextlib
import os
import pathlib
import random
import resource
import select
import shutil
import signal
import subprocess
import time

import pytest

from lib import paths, rpc
from lib.actctl import ACTCTL
from lib.daemon import SANITIZER_ENV, is_sanitized, run
from lib.processes import (
    Traced, is_gone, limited, sockets_of, state_of, stopped, wait_gone,
)
from lib.traffic import Kill, Prober, Traffic, is_explained
from lib.tree_data import oracle_of
from lib.waiting import Clock, Deadline, eventually

ORACLE = oracle_of(paths.CITIES)

INFO = rpc.request(0, "info")

# Where everybody else waits for a CPU, somebody may be silent for half a second.
HEARTBEAT_MS = 1000


@pytest.fixture
def dial():
    """dial(daemon, n): n connections, one after the other; closed with the test."""
    with contextlib.ExitStack() as stack:

        def open_connections(daemon, n, address=None):
            return [stack.enter_context(daemon.client(address)) for _ in range(n)]

        yield open_connections


@pytest.fixture
def crew(actd):
    """crew(n): a daemon with n workers, whose cores are not kept."""

    def start(n, tree=paths.CITIES, settings=None, **options):
        return actd(tree, {"daemon.workers": n, **(settings or {})}, preexec=no_cores, **options)

    return start


def no_cores():
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def worker_of(client):
    return client.call("info")["pid"]


def by_worker(clients):
    """{pid: its clients}."""
    result = collections.defaultdict(list)
    for client in clients:
        result[worker_of(client)].append(client)
    return dict(result)


def is_broken(client):
    """The server is gone, whatever the end looks like; waits for it."""
    try:
        return client.rest() == []
    except ConnectionResetError:
        return True


def wait_replaced(daemon, pid):
    """Waits until another process serves in the place of this one."""
    eventually(lambda: pid not in daemon.worker_pids(), f"worker {pid} to be replaced")
    daemon.wait_stat("process", "serving", daemon.stat("process", "workers"))


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def pass_time(seconds):
    """Where it is the time that passes that might do harm."""
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= end, "time to pass")


# Workers are killed.


def storm(daemon, traffic, seconds, period_s=0.1):
    """Kills a random worker every period: the kills."""
    rng = random.Random(0)
    kills = []
    clock = Clock(seconds)
    with contextlib.suppress(Deadline):
        while True:
            clock.left("the storm")
            pid = rng.choice(daemon.worker_pids())
            began_s = time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                kill(pid)
                kills.append(Kill(pid, began_s, time.monotonic()))
            traffic.check()
            pass_time(period_s - (time.monotonic() - began_s))
    return kills


@pytest.mark.alone
@pytest.mark.parametrize("seconds", [4, pytest.param(30, marks=pytest.mark.long)])
def test_killed_workers_take_only_their_own_connections_along(crew, seconds):
    daemon = crew(4)
    with Traffic(daemon.both, ORACLE) as traffic, Prober(daemon.both) as prober:
        eventually(lambda: traffic.n_answered > 2000 and prober.n_served > 20, "the load")
        kills = storm(daemon, traffic, seconds)
    assert len(kills) > 5 * seconds
    for broken in [*traffic.broken, *prober.broken]:
        assert is_explained(broken, kills), broken
    assert len(traffic.broken) > len(kills) / 2
    assert traffic.n_answered > 2000 * seconds / 4 and prober.n_served > len(kills)
    daemon.wait_stat("process", "serving", 4)
    eventually(
        lambda: daemon.log.count("was ended by signal 9") == len({kill.pid for kill in kills}),
        "every end to be told",
    )
    assert "ended with status" not in daemon.log
    assert "dropped" not in daemon.log


def count_answered(clients):
    """How many have a reply waiting."""
    return len(select.select([client.sock for client in clients], [], [], 0)[0])


def test_what_a_worker_was_passed_and_has_not_taken_goes_to_another(crew, dial, kind):
    daemon = crew(2)
    pid = daemon.worker_pids()[0]
    with stopped(pid):
        before = sockets_of(daemon.pid)
        clients = []

        def are_all_passed():
            n_kept = len(sockets_of(daemon.pid) - before)  # what is passed and not taken
            return n_kept + count_answered(clients) == len(clients)

        def is_one_passed():
            clients.extend(dial(daemon, 2, getattr(daemon, kind)))
            for client in clients[-2:]:
                client.send(INFO)
            eventually(are_all_passed, "each to be passed, and taken by the other worker")
            return count_answered(clients) < len(clients)

        eventually(is_one_passed, "a connection to be passed to the stopped worker")
        kill(pid)
    for client in clients:
        assert client.reply()[2]["pid"] != pid
        assert client.is_usable()


def test_connections_wait_while_no_worker_is_there(crew, dial, kind):
    daemon = crew(2)
    killed = daemon.worker_pids()
    with stopped(daemon.pid):
        clients = dial(daemon, 20, getattr(daemon, kind))
        for client in clients:
            client.send(INFO)
        for pid in killed:
            kill(pid)
            wait_gone(pid)
    for client in clients:
        assert client.reply()[2]["pid"] not in killed


def test_a_worker_is_replaced_before_it_is_reaped(crew):
    daemon = crew(2)
    pid = daemon.worker_pids()[0]
    traced = Traced(pid)
    kill(pid)
    wait_replaced(daemon, pid)
    assert state_of(pid) == "Z"
    assert f"pid {pid}" not in daemon.log
    assert traced.reap() == signal.SIGKILL
    daemon.wait_log(rf"\(pid {pid}\) was ended by signal 9")
    daemon.wait_stat("restarts", "killed", 1)


# Connections are spread evenly.


def check_even(clients, n=2):
    """Of two workers, each has between 40 and 60 of 100 connections; of more, likewise."""
    shares = {pid: len(own) for pid, own in by_worker(clients).items()}
    assert len(shares) == n, shares
    for share in shares.values():
        assert 0.8 * len(clients) / n <= share <= 1.2 * len(clients) / n, shares


def test_connections_one_after_the_other_are_spread_evenly(crew, dial, kind):
    for n in (2, 5):
        daemon = crew(n)
        check_even(dial(daemon, 64, getattr(daemon, kind)), n)


def test_connections_at_once_are_spread_evenly(crew, dial, kind):
    daemon = crew(2)
    with stopped(daemon.pid):
        clients = dial(daemon, 64, getattr(daemon, kind))
    check_even(clients)


def test_new_connections_go_where_others_were_closed(crew, dial):
    daemon = crew(2)
    left, right = by_worker(dial(daemon, 64)).values()
    for client in left:
        client.close()
    daemon.wait_stat("connections", "open", len(right))
    check_even(right + dial(daemon, 64 - len(right)))


def test_new_connections_go_to_the_one_that_replaces_a_killed_one(crew, dial):
    daemon = crew(2)
    (pid, lost), (_, kept) = by_worker(dial(daemon, 64)).items()
    kill(pid)
    assert all(is_broken(client) for client in lost)
    wait_replaced(daemon, pid)
    check_even(kept + dial(daemon, 64 - len(kept)))


# Workers hang.


@pytest.mark.alone
def test_a_worker_that_hangs_is_replaced(crew, dial):
    daemon = crew(2, settings={"daemon.heartbeat_timeout_ms": HEARTBEAT_MS})
    (pid, lost), (other, kept) = by_worker(dial(daemon, 8)).items()
    with stopped(pid):
        while "sign of life" not in daemon.log:
            assert all(client.is_usable() for client in kept)
        # A stopped process does not die of SIGABRT: it was made to go on.
        daemon.wait_log(rf"\(pid {pid}\) hung and was ended by signal 6")
        assert all(is_broken(client) for client in lost)
    silent_ms = daemon.wait_log(rf"\(pid {pid}\) has given no sign of life for (\d+) ms").group(1)
    assert int(silent_ms) >= HEARTBEAT_MS
    wait_replaced(daemon, pid)
    assert all(worker_of(client) == other for client in kept)
    check_even(kept + dial(daemon, 60))
    assert daemon.stat("restarts", "hung") == 1


@pytest.mark.alone
def test_what_a_hanging_worker_has_not_taken_is_served_by_another(crew, dial, kind):
    daemon = crew(2, settings={"daemon.heartbeat_timeout_ms": HEARTBEAT_MS})
    pid = daemon.worker_pids()[0]
    with stopped(pid):
        clients = dial(daemon, 20, getattr(daemon, kind))
        for client in clients:
            client.send(INFO)
        for client in clients:
            assert client.reply()[2]["pid"] != pid
    daemon.wait_stat("restarts", "hung", 1)


@pytest.mark.alone
def test_a_worker_that_hangs_and_ignores_the_abort_is_killed(crew, dial):
    daemon = crew(2, settings={"daemon.heartbeat_timeout_ms": HEARTBEAT_MS})
    pid = daemon.worker_pids()[0]
    traced = Traced(pid)
    os.kill(pid, signal.SIGSTOP)  # from here on it waits for us: no signal but SIGKILL reaches it
    wait_replaced(daemon, pid)
    assert traced.reap() == signal.SIGKILL
    daemon.wait_log(rf"\(pid {pid}\) hung and was ended by signal 9")


@pytest.mark.alone
@pytest.mark.parametrize("who", ["the supervisor", "all"])
def test_after_a_stop_of_the_supervisor_nobody_is_late(crew, dial, who):
    daemon = crew(2, settings={"daemon.heartbeat_timeout_ms": HEARTBEAT_MS})
    clients = dial(daemon, 8)
    pids = sorted(by_worker(clients))
    with stopped(daemon.pid, *(pids if who == "all" else [])):
        pass_time(1.5 * HEARTBEAT_MS / 1000)
        if who != "all":
            assert all(client.is_usable() for client in clients)
    pass_time(HEARTBEAT_MS / 1000)
    assert "sign of life" not in daemon.log
    assert sorted(by_worker(clients)) == sorted(daemon.worker_pids()) == pids


# Workers that cannot start.


SPARSE_BYTES = 64 << 30
LITTLE_BYTES = 16 << 30  # of address space: enough for anything but the file


BABBLER = """
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The worker that finds the file says one thing again and again, and hears nothing. */
__attribute__((constructor)) static void babble(void)
{
    char line[64] = "";
    int fd = open("/proc/self/cmdline", O_RDONLY);
    (void)!read(fd, line, sizeof line - 1);
    close(fd);
    if (strncmp(line, "actd: worker", 12) != 0 || unlink(getenv("BABBLE")) < 0)
        return;
    const struct { uint32_t type; uint64_t number; } message = {atoi(getenv("SAYS")), 1};
    for (;;)
        (void)send(3, &message, sizeof message, MSG_NOSIGNAL);
}
"""

MAPPED, UNKNOWN = "9", "7"  # CONTROL_DRAIN is nothing that a worker may say


@pytest.mark.parametrize("says", [MAPPED, UNKNOWN])
def test_a_worker_that_babbles_is_killed(crew, dial, tmp_path, says):
    """Else what it is answered would take all memory, or what is logged of it all disks."""
    (tmp_path / "babbler.c").write_text(BABBLER)
    library = tmp_path / "babbler.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "babbler.c"], check=True)
    asan = SANITIZER_ENV["ASAN_OPTIONS"]
    daemon = crew(2, settings={"daemon.heartbeat_timeout_ms": 60000}, env={
        "LD_PRELOAD": str(library), "BABBLE": str(tmp_path / "babble"), "SAYS": says,
        "ASAN_OPTIONS": f"{asan}:verify_asan_link_order=0"})
    (tmp_path / "babble").touch()
    kill(daemon.worker_pids()[0])
    daemon.wait_log("killing it")
    daemon.wait_stat("restarts", "failed", 1)
    daemon.wait_stat("process", "serving", 2)
    assert len(by_worker(dial(daemon, 4))) == 2
    assert daemon.log.count("killing it") == 1


def test_workers_that_cannot_map_the_file_are_started_ever_more_rarely(crew, dial, tmp_path):
    if is_sanitized():
        return  # the shadow memory itself needs more
    tree = tmp_path / "sparse.act"
    shutil.copyfile(paths.CITIES, tree)
    os.truncate(tree, SPARSE_BYTES)
    daemon = crew(2, tree)
    (pid, _), (other, kept) = by_worker(dial(daemon, 8)).items()
    with limited(daemon.pid, resource.RLIMIT_AS, LITTLE_BYTES):
        kill(pid)

        def wait_failures(n):
            daemon.wait_stat("restarts", "failed", lambda n_failed: n_failed >= n)
            return time.monotonic()

        first_s = wait_failures(1)
        # After 50, 100, 200 and 400 ms.
        assert wait_failures(5) - first_s > 0.375
        assert f"{tree}: a worker cannot map it: cannot map: Cannot allocate memory" in daemon.log
        assert f"this takes {SPARSE_BYTES} bytes of address space" in daemon.log
        why = f"the limit for all of it is {LITTLE_BYTES} bytes (RLIMIT_AS): raise LimitAS="
        assert why in daemon.log
        assert [worker_of(client) for client in kept + dial(daemon, 8)] == [other] * 12
    wait_replaced(daemon, pid)
    check_even(kept + dial(daemon, 60))


def test_without_descriptors_connections_and_new_workers_wait(crew, dial, kind):
    daemon = crew(2)
    (pid, _), (other, kept) = by_worker(dial(daemon, 8)).items()
    with limited(daemon.pid, resource.RLIMIT_NOFILE, 10):
        clients = dial(daemon, 4, getattr(daemon, kind))
        for client in clients:
            client.send(INFO)
        daemon.wait_log("cannot accept connections now, they wait: Too many open files")
        kill(pid)
        daemon.wait_log(r"worker \d+: cannot start a process: .*too many open files")
        assert [worker_of(client) for client in kept] == [other] * len(kept)
        assert count_answered(clients) == 0
    for client in clients:
        assert client.reply()[2]["pid"] != pid
    wait_replaced(daemon, pid)
    assert daemon.stat("restarts", "failed") > 0


# The supervisor is killed.


def test_workers_end_with_their_supervisor_and_another_can_start_at_once(actd, crew, dial, kind):
    first = crew(4)
    clients = dial(first, 16, getattr(first, kind))
    pids = first.worker_pids()
    assert len(by_worker(clients)) == 4
    settings = {"listen.unix": first.unix[1], "listen.tcp": f"127.0.0.1:{first.tcp[2]}"}
    address = getattr(first, kind)
    with stopped(pids[0]):  # it cannot end now, and must not be in the way
        kill(first.pid)
        first.process.wait()
        second = actd(settings=settings)
        with second.client(address) as client:
            assert worker_of(client) not in pids
        for pid in pids[1:]:
            wait_gone(pid)
    wait_gone(pids[0])
    assert all(is_broken(client) for client in clients)
    first.crash()


# How many workers.


def with_cpus(n):
    """A preexec function that leaves it n of our CPUs, and the number that there will be."""
    cpus = sorted(os.sched_getaffinity(0))[:n]
    return lambda: os.sched_setaffinity(0, cpus), len(cpus)


@pytest.mark.parametrize("n", [1, 2, 10])
def test_there_are_as_many_workers_as_are_set(actd, dial, n):
    daemon = actd(settings={"daemon.workers": n})
    assert len(by_worker(dial(daemon, 4 * n))) == n
    assert sorted(worker["worker"] for worker in daemon.workers()) == list(range(n))


@pytest.mark.parametrize("n", [1, 2])
def test_by_itself_there_is_a_worker_for_each_cpu_that_it_may_use(actd, n):
    preexec, n_cpus = with_cpus(n)
    for settings in ({}, {"daemon.workers": "auto"}):
        assert len(actd(settings=settings, preexec=preexec).worker_pids()) == n_cpus


@pytest.mark.parametrize("value", ["0", "-1", "257", "many", "", "1.5", "Auto"])
def test_bad_numbers_of_workers_are_refused(value):
    result = run("--config=/dev/null", "--set=tree.path=x", f"--set=daemon.workers={value}")
    assert result.returncode == 2
    assert "daemon.workers" in result.stderr


@pytest.mark.parametrize("args", [["--worker", "0"], ["--checker"], ["--verifier"]])
def test_roles_are_not_for_the_command_line(args):
    result = run(*args)
    assert result.returncode == 2
    assert result.stderr == f"actd: {args[0]} is for actd's own use\n"


# Stopping.


LONG = {"limits.drain_timeout_ms": 600000, "limits.linger_timeout_ms": 600000}


def test_a_stop_answers_all_that_arrived_at_every_worker(crew, dial, kind):
    daemon = crew(4, settings=LONG)
    clients = dial(daemon, 32, getattr(daemon, kind))
    pids = by_worker(clients)
    assert len(pids) == 4
    keys = ORACLE.sample(200)
    for client in clients:
        client.send(b"".join(rpc.request(i, "get", key) for i, key in enumerate(keys, 10)))
    daemon.send_signal()
    for client in clients:
        got = {msgid: (error, result) for _, msgid, error, result in client.rest()}
        assert got == {i: (None, ORACLE.get(key)) for i, key in enumerate(keys, 10)}
        client.close()
    daemon.check_end()
    assert all(is_gone(pid) for pid in pids)


def test_a_second_signal_cuts_the_connections_of_every_worker(crew, dial):
    daemon = crew(4, settings=LONG)
    clients = dial(daemon, 8)
    pids = by_worker(clients)
    assert len(pids) == 4
    n_read = daemon.stat("traffic", "read_bytes")
    for client in clients:
        client.send(INFO[:-1])
    daemon.wait_stat("traffic", "read_bytes", n_read + 8 * len(INFO[:-1]))
    daemon.send_signal()
    daemon.wait_log("stopping")
    daemon.send_signal()
    assert all(is_broken(client) for client in clients)
    daemon.check_end()
    assert daemon.log.count("cutting 2 connections") == 4
    assert all(is_gone(pid) for pid in pids)


def test_a_worker_that_hangs_does_not_hold_the_stop(crew, dial):
    daemon = crew(2, settings={**LONG, "limits.drain_timeout_ms": 200})
    (pid, lost), (other, kept) = by_worker(dial(daemon, 8)).items()
    with stopped(pid):
        for client in kept:
            client.send(INFO)
        daemon.send_signal()
        for client in kept:
            assert client.rest()[0][3]["pid"] == other
            client.close()
        daemon.check_end()
        assert all(is_broken(client) for client in lost)
        assert is_gone(pid)
    assert "workers that do not end are killed" in daemon.log


# Limits, over all workers.


class Waiting:
    """Connections that have asked who serves them."""

    def __init__(self, clients):
        self.unserved = clients
        self.served = []

    def take(self):
        socks = {client.sock: client for client in self.unserved}
        for sock in select.select(list(socks), [], [], 0)[0]:
            pid = socks[sock].reply()[2]["pid"]
            self.unserved.remove(socks[sock])
            self.served.append((socks[sock], pid))
        return len(self.served)


def test_no_more_connections_than_are_allowed_are_served(crew, dial, kind):
    daemon = crew(4, settings={"limits.max_connections": 10})
    waiting = Waiting(dial(daemon, 150, getattr(daemon, kind)))
    for client in waiting.unserved:
        client.send(INFO)
    rng = random.Random(0)
    n = 10
    seen = set()
    while waiting.unserved:
        eventually(lambda: waiting.take() >= 10, "the room to be used")
        # Were another one let in, it would be counted when the statistics are.
        assert daemon.stat("connections", "accepted") == n
        assert waiting.take() == 10
        seen |= {pid for _, pid in waiting.served}
        client, _ = waiting.served.pop(rng.randrange(10))
        client.close()
        n += 1
    assert len(seen) == 4
    for client, _ in waiting.served:
        assert client.is_usable()


# What the file takes in memory.


PAGE = os.sysconf("SC_PAGE_SIZE")
VALUE_BYTES = PAGE


def big_value(i):
    return b"%08d" % i * (VALUE_BYTES // 8)


def build_big(path, mib):
    """A tree of that size: its number of keys."""
    n = (mib << 20) // VALUE_BYTES
    command = [ACTCTL, "build", "--values=bytes", "-o", path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for i in range(n):
            process.stdin.write(b"%08d\t%s\n" % (i, big_value(i)))
        process.stdin.close()
        assert process.wait(Clock().left("actctl")) == 0
    assert path.stat().st_size > mib << 20
    return n


def mappings(pid, inode):
    """Of this file: (start, end, Pss in bytes) of each."""
    found = []
    is_ours = False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        fields = line.split()
        if not fields[0].endswith(":"):
            start, end = (int(part, 16) for part in fields[0].split("-"))
            is_ours = fields[4] == str(inode)
        elif is_ours and fields[0] == "Pss:":
            found.append((start, end, int(fields[1]) * 1024))
    return found


def mapped_pages(pid, start, end):
    """A number with a bit for each page of that range that the process has mapped."""
    with open(f"/proc/{pid}/pagemap", "rb") as file:
        file.seek(start // PAGE * 8)
        entries = file.read((end - start) // PAGE * 8)
    # The top bit of each entry, which everybody may read.
    return int.from_bytes(bytes(byte & 0x80 for byte in entries[7::8]), "little")


@pytest.mark.alone
@pytest.mark.parametrize("mib", [256, pytest.param(1024, marks=pytest.mark.long)])
def test_ten_workers_share_one_copy_of_the_file(crew, dial, tmp_path, mib):
    tree = tmp_path / "big.act"
    n_keys = build_big(tree, mib)
    daemon = crew(10, tree)
    rng = random.Random(0)
    clients = {pid: own[0] for pid, own in by_worker(dial(daemon, 20)).items()}
    assert len(clients) == 10
    for client in clients.values():
        wanted = [rng.randrange(n_keys) for _ in range(n_keys // 50)]
        values = client.results([["get", b"%08d" % i] for i in wanted])
        assert values == [big_value(i) for i in wanted]
    inode = tree.stat().st_ino
    pss_bytes, pages = 0, 0
    rss_pages = 0
    for pid in clients:
        for start, end, own_bytes in mappings(pid, inode):
            own_pages = mapped_pages(pid, start, end)
            pss_bytes += own_bytes
            pages |= own_pages
            rss_pages += own_pages.bit_count()
    once_bytes = pages.bit_count() * PAGE
    assert rss_pages * PAGE > 1.5 * once_bytes, "they have little in common: this shows nothing"
    assert once_bytes > tree.stat().st_size / 10
    assert abs(pss_bytes - once_bytes) < 0.05 * once_bytes

    def is_told():
        told = daemon.stat("tree", "pss_bytes")
        return told is not None and abs(told - pss_bytes) < 0.01 * pss_bytes

    eventually(is_told, "tree.pss_bytes to be what the kernel tells")


# Signals.


def test_sigusr1_logs_the_statistics_of_all_workers(crew, dial):
    daemon = crew(3)
    for client in dial(daemon, 9):
        assert client.is_usable()
    daemon.send_signal(signal.SIGUSR1)
    daemon.wait_log("statistics: ping: 9 requests, 0 errors")
    daemon.wait_log("statistics: 9 requests, 0 errors, generation 1$")


@pytest.mark.parametrize("number", ["TERM", "INT", "HUP", "USR1"])
def test_workers_leave_signals_to_the_supervisor(crew, dial, number):
    daemon = crew(3)
    clients = dial(daemon, 9)
    pids = sorted(by_worker(clients))
    for pid in pids * 3:
        os.kill(pid, signal.Signals[f"SIG{number}"])
    assert sorted(by_worker(clients)) == sorted(daemon.worker_pids()) == pids


def test_signals_to_the_whole_group_are_for_the_supervisor(actd, dial):
    daemon = actd(settings={"daemon.workers": 3}, preexec=os.setpgrp)
    clients = dial(daemon, 9)
    pids = sorted(by_worker(clients))
    os.killpg(daemon.pid, signal.SIGHUP)
    daemon.wait_stat("tree", "reloads", 2)
    assert sorted(by_worker(clients)) == pids
    for client in clients:
        client.send(INFO)
    os.killpg(daemon.pid, signal.SIGINT)
    for client in clients:
        assert [message[1] for message in client.rest()] == [0]
        client.close()
    daemon.check_end()
