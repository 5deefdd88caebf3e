"""Restarts under a real systemd: nobody who connects meanwhile is lost, and a file that has turned
bad does not take the place of the last good one, which systemd has kept for us."""

import contextlib
import os
import signal
import time

import pytest

from lib import rpc, versions
from lib.box_service import box, service, trees  # noqa: F401: fixtures
from lib.processes import state_of
from lib.traffic import Kill, Prober, Traffic, is_explained
from lib.tree_data import Oracle
from lib.waiting import eventually

GARBAGE = b"this was a tree once\n" * 500

OWN = "/run/actd/own.sock"


@pytest.fixture
def own(service):
    """A socket that actd binds itself, beside those of the socket units."""
    service.configure({"listen.unix": OWN})
    return ("unix", str(service.box.path(OWN)))


def addresses(service):
    return [service.unix, service.tcp, service.box.tcp("::1")]


def stored(service):
    return int(service.show("NFileDescriptorStore"))


#
# Nobody is lost.
#


def restart(service, times):
    """How long it was on its way."""
    began = time.monotonic()
    before = service.main_pid()
    service.ctl("restart")
    assert service.main_pid() != before
    times.append((began, time.monotonic()))


def stopping_times(service, since):
    """When it was that the daemon took no more connections, by its log; never too early."""
    entries = service.box.journal("-u", service.unit, "SYSLOG_IDENTIFIER=actd", since=since)
    return [int(e["__MONOTONIC_TIMESTAMP"]) / 1e6 for e in entries if "stopping" in e["MESSAGE"]]


def test_restarts_under_load(service, own):
    """Connections that ask all the time end only where the process that has them ends. One that
    waits for its process when that is not there is never lost: each is answered."""
    service.start()
    oracle = Oracle(versions.pairs_of(1))
    everywhere = [*addresses(service), own]
    since = service.box.now()
    times = []
    with contextlib.ExitStack() as stack:
        traffic = stack.enter_context(Traffic(everywhere, oracle, n=8, depth=4))
        probers = [stack.enter_context(Prober([address])) for address in everywhere]
        for n in range(3):
            seen = [prober.n_served for prober in probers]
            answered = traffic.n_answered
            restart(service, times)
            eventually(lambda: traffic.n_answered > answered, "answers")
            eventually(lambda: all(p.n_served > n for p, n in zip(probers, seen)), "all to go on")
            for load in (traffic, *probers):
                load.check()
    stops = stopping_times(service, since)
    assert len(stops) == 3, stops
    for broken in traffic.broken:
        assert is_explained(broken, [Kill(broken.pid, *when) for when in times]), (broken, times)
    # Each of them once a restart, at most: they were open when it began.
    assert len(traffic.broken) <= traffic.n * len(times)
    for prober in probers:
        for broken in prober.broken:
            # Taken by a process that then was told to stop before the request came.
            taken = [end for end, (began, _) in zip(stops, times) if broken.opened_s <= end
                     and broken.broken_s >= began]
            assert taken, f"{prober.addresses}: {broken} was queued, and lost: {stops} {times}"
    assert service.show("NRestarts", "Result") == {"NRestarts": "0", "Result": "success"}


def test_what_is_queued_outlives_the_process(service, own):
    """All of it comes while nobody accepts, and the process ends without having seen it."""
    service.start()
    pid = service.main_pid()
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: state_of(pid) in "Tt", "the supervisor to stop")
    everywhere = [*addresses(service), own] * 25
    clients = [rpc.Client(address) for address in everywhere]
    for client in clients:
        client.send(rpc.request(1, "get", versions.KEYS[0]))
    os.kill(pid, signal.SIGKILL)
    service.wait_show(ActiveState="active", NRestarts="1")
    for client in clients:
        assert client.reply() == (1, None, versions.STEP)
        client.close()


def test_what_is_queued_outlives_a_restart(service, own):
    service.start()
    pid = service.main_pid()
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: state_of(pid) in "Tt", "the supervisor to stop")
    clients = [rpc.Client(address) for address in [*addresses(service), own] * 25]
    for client in clients:
        client.send(rpc.request(1, "get", versions.KEYS[0]))
    # systemd lets it go on, so that it can stop.
    service.ctl("restart")
    for client in clients:
        assert client.reply() == (1, None, versions.STEP)
        client.close()
    assert service.show("NRestarts", "Result") == {"NRestarts": "0", "Result": "success"}


#
# The last good file.
#


def test_a_restart_serves_the_last_good_file(service, trees):
    service.start()
    service.put(trees[2])
    service.ctl("reload")
    before = service.generation()
    since = service.box.now()
    service.put_bytes(GARBAGE)
    service.ctl("restart")
    assert service.is_active() == "active"
    assert service.served() == 2
    assert service.generation()["identity"] == before["identity"]
    told = service.box.journal("-u", service.unit, "-p", "warning", since=since)
    assert any(service.tree in e["MESSAGE"] for e in told), told
    # Again, and after a death: it is still there.
    os.kill(service.main_pid(), signal.SIGKILL)
    service.wait_show(NRestarts="1", ActiveState="active", SubState="running")
    assert service.served() == 2
    # A reload tells what is wrong, and changes nothing.
    assert service.ctl("reload", status=None).returncode != 0
    assert service.served() == 2
    # A good file is taken without being asked to.
    service.put(trees[3])
    eventually(lambda: service.served() == 3, "the good file to be served")
    assert service.generation()["number"] > before["number"]
    service.ctl("restart")
    assert service.served() == 3


def test_a_file_that_is_away_is_served_too(service):
    service.start()
    service.box.path(service.tree).unlink()
    service.ctl("restart")
    assert service.served() == 1


def test_a_good_path_goes_before_what_is_kept(service, trees):
    service.start()
    service.put(trees[2])
    assert service.served() == 1
    service.ctl("restart")
    assert service.served() == 2


def test_a_copy_in_memory_is_kept_as_well(service):
    service.configure({"tree.map_min_bytes": "1G"})
    service.start()
    before = service.generation()
    service.put_bytes(GARBAGE)
    service.ctl("restart")
    assert service.served() == 1
    assert service.generation()["identity"] == before["identity"]


def test_what_was_damaged_does_not_come_back(service, trees):
    """Overwritten in place: what is kept is the same file."""
    service.start()
    before = stored(service)
    path = service.box.path(service.tree)
    with open(path, "r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    eventually(lambda: service.stats()["tree"]["damaged"] == 1, "the damage to be seen")
    eventually(lambda: stored(service) < before, "it to be let go")
    service.box.systemctl("restart", "--no-block", service.unit)
    eventually(lambda: int(service.show("NRestarts")) >= 1, "a start that fails")
    # It is tried again and again, until there is something to serve; who asks waits.
    with service.client() as client:
        client.send(rpc.request(1, "get", versions.KEYS[0]))
        service.put(trees[2])
        assert client.reply() == (1, None, 2 * versions.STEP)


def test_the_store_holds_what_is_served_only(service, own, trees):
    """What is retired is let go; what is stopped is, too."""
    service.start()
    n = stored(service)
    assert n >= 2  # the socket, and the file
    for version in (2, 3, 1, 2):
        service.put(trees[version])
        service.ctl("reload")
        assert service.served() == version
    eventually(lambda: stored(service) == n, f"the store to hold {n} descriptors")
    service.ctl("restart")
    eventually(lambda: stored(service) == n, f"the store to hold {n} descriptors")
    service.ctl("stop")
    assert stored(service) == 0
    # So a start begins with the path, and nothing else.
    service.put_bytes(GARBAGE)
    service.drop_in({"Service": {"Restart": "no"}})
    assert service.ctl("start", status=None).returncode != 0
    assert service.is_active() == "failed"


def test_a_socket_that_is_no_longer_configured_is_let_go(service, own):
    service.start()
    with rpc.Client(own) as client:
        assert client.call("ping") == "pong"
    n = stored(service)
    service.configure()
    service.ctl("restart")
    eventually(lambda: stored(service) == n - 1, "the socket to be let go")
    assert not service.box.path(OWN).exists()
    assert service.served() == 1
