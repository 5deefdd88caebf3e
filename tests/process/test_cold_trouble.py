"""More is asked of a disk than it can read, it fails, it hangs, and clients and workers go while it
does: nobody waits for ever, and nothing is left behind."""

import contextlib
import os
import time

import pytest

from lib import cold, http, reload, rpc
from lib.processes import is_gone, wait_gone
from lib.waiting import eventually


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return cold.build(tmp_path_factory.mktemp("cold") / "tree.act", 4000, 2000)


def warm(client, tree, n=4):
    """Gets n keys, one after the other: they are in memory from then on."""
    keys = tree.keys[-n:]
    assert [client.call("get", key) for key in keys] == [tree.values[key] for key in keys]
    client.answered.clear()
    return keys


def check_all(daemon, tree, keys):
    with daemon.client() as client:
        assert client.call("mget", keys) == [tree.values[key] for key in keys]


def check_nothing_left(daemon, n_files):
    """No request, no buffer, no descriptor."""
    cold.settle(daemon)
    daemon.wait_stat("connections", "open", 0)
    daemon.wait_stat("memory", "buffer_bytes", 0)
    pid = cold.worker_pid(daemon)
    eventually(lambda: n_files_of(pid) == n_files, f"{n_files} descriptors")


def n_files_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


#
# The queue.
#


@pytest.mark.parametrize("queue", [1, 2, 4])
def test_what_finds_no_room_in_the_queue_is_refused(disk, tree, queue):
    keys = tree.keys[:64]
    with cold.serving(disk, {"cold.queue": queue}) as daemon, daemon.client() as client:
        hot = warm(client, tree)
        disk.hang()
        with cold.Waiting(daemon, keys) as waiting:
            told = daemon.stats()["cold"]
            assert told["queued"] == queue
            # Some want what others wait for already.
            assert len(keys) - 4 * queue <= told["refused"] < len(keys)
            assert warm(client, tree) == hot
            disk.go_on()
            replies = waiting.replies()
        n_refused = 0
        for key, (error, result) in replies.items():
            if error is None:
                assert result == tree.values[key]
            else:
                n_refused += 1
                assert error[0] == rpc.BUSY and "cold.queue" in error[1], error
        assert daemon.stat("cold", "refused") == n_refused >= told["refused"]
        assert n_refused < len(keys)
        assert daemon.stats()["methods"]["get"]["errors"] == n_refused
        check_all(daemon, tree, keys)
        cold.check_loop(daemon)
        cold.settle(daemon)


def test_a_request_alone_needs_no_more_room_than_one_page(disk, tree):
    with cold.serving(disk, {"cold.queue": 1}) as daemon:
        check_all(daemon, tree, tree.keys[:200])
        assert daemon.stat("cold", "refused") == 0


#
# A disk that fails.
#


def check_damaged(daemon, client, keys):
    for key in keys:
        assert client.error_of("get", key) == rpc.IO_ERROR
    damage = client.call("info")["tree"]["damage"]
    assert damage == "a part of the file could not be read"
    status, _, text = http.fetch(daemon.admin_unix, "/readyz")
    assert (status, text.splitlines()[0]) == (503, f"not ready: {damage}")
    assert daemon.stat("tree", "damaged") == 1


def test_a_disk_that_fails(disk, tree, tmp_path):
    """Who waits gets an error, and so does everybody until there is a good file."""
    path = tmp_path / "served.act"
    path.symlink_to(disk.path)
    with cold.serving(disk, {"tree.settle_ms": 3600000}, path) as daemon, daemon.client() as client:
        pid = cold.worker_pid(daemon)
        hot = warm(client, tree)
        disk.delay_us = cold.FOR_EVER_US
        with cold.Waiting(daemon, tree.keys[:20]) as waiting:
            disk.fail()
            disk.delay_us = 0
            waiting.check_errors(rpc.IO_ERROR, "IO_ERROR")
        check_damaged(daemon, client, [*tree.keys[20:25], *hot])
        disk.go_on()
        cold.settle(daemon)
        reload.swap_link(path, tree.path)
        reload.accepted(daemon)
        check_all(daemon, tree, tree.keys)
        assert http.fetch(daemon.admin_unix, "/readyz")[0] == 200
        assert cold.worker_pid(daemon) == pid
        assert daemon.log.count("answered with IO_ERROR") == 1


def test_a_disk_that_fails_at_once(disk, tree):
    with cold.serving(disk, {"tree.settle_ms": 3600000}) as daemon, daemon.client() as client:
        warm(client, tree)
        disk.fail()
        assert client.error_of("get", tree.keys[0]) == rpc.IO_ERROR
        check_damaged(daemon, client, tree.keys[:3])
        cold.settle(daemon)


#
# A disk that hangs.
#

HURRIED = {"cold.timeout_ms": 300, "daemon.heartbeat_timeout_ms": 500}


def test_a_disk_that_hangs(disk, tree):
    """Who waits gets an error in time; others do not notice."""
    keys = tree.keys[:12]
    with cold.serving(disk, HURRIED) as daemon, daemon.client() as client:
        pid = cold.worker_pid(daemon)
        hot = warm(client, tree)
        disk.hang()
        with cold.Waiting(daemon, keys) as waiting:
            while daemon.stat("cold", "timed_out") < len(keys):
                assert warm(client, tree) == hot
            waiting.check_errors(rpc.IO_ERROR, "cold.timeout_ms")
            told = daemon.stats()["cold"]
            assert (told["timed_out"], told["waiting"]) == (len(keys), 0)
            assert told["queued"] == disk.reads_in_flight > 0
            # Who asks again waits for the same reads, and as long.
            reads = disk.reads
            with cold.Waiting(daemon, keys[:4]) as again:
                again.check_errors(rpc.IO_ERROR, "cold.timeout_ms")
            assert disk.reads == reads
        # It is no worker that hangs.
        begin = time.monotonic()
        while time.monotonic() - begin < 2 * HURRIED["daemon.heartbeat_timeout_ms"] / 1000:
            assert warm(client, tree) == hot
        assert cold.worker_pid(daemon) == pid
        assert client.call("info")["tree"]["damage"] is None
        disk.go_on()
        check_all(daemon, tree, keys)
        assert cold.worker_pid(daemon) == pid
        cold.check_loop(daemon)
        cold.settle(daemon)


def test_a_list_whose_time_is_over_gets_one_error(disk, tree):
    with cold.serving(disk, {"cold.timeout_ms": 100}) as daemon, daemon.client() as client:
        warm(client, tree)
        disk.hang()
        with pytest.raises(rpc.RpcError) as refused:
            client.call("mget", tree.keys[:100])
        assert refused.value.number == rpc.IO_ERROR and "cold.timeout_ms" in refused.value.text
        disk.go_on()
        check_all(daemon, tree, tree.keys[:100])
        assert daemon.stat("cold", "timed_out") == 1
        assert daemon.stats()["methods"]["mget"]["errors"] == 1


def test_a_stop_while_the_disk_hangs(disk, tree):
    """It waits as long as it was told to, and not for the disk."""
    settings = {"limits.drain_timeout_ms": 300}
    with cold.serving(disk, settings) as daemon:
        pid = cold.worker_pid(daemon)
        disk.hang()
        with cold.Waiting(daemon, tree.keys[:20]) as waiting:
            begin = time.monotonic()
            daemon.stop()
            seconds = time.monotonic() - begin
            assert 0.3 <= seconds < 10, seconds
            assert is_gone(pid)
            for client in waiting.clients:
                assert client.rest() == []
        assert "worker" not in "".join(line for line in daemon.log.splitlines() if "error" in line)


def test_a_stop_waits_for_what_is_on_its_way(disk, tree):
    with cold.serving(disk) as daemon:
        disk.hang()
        with cold.Waiting(daemon, tree.keys[:20]) as waiting:
            daemon.send_signal()
            daemon.wait_log("stopping|draining|SIGTERM")
            disk.go_on()
            waiting.check(tree.values)
            for client in waiting.clients:
                assert client.at_end()
        daemon.check_end()


#
# Who waits goes.
#


def reset(client):
    client.reset()


def close(client):
    client.close()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("leave", [close, reset])
def test_clients_that_leave(disk, tree, kind, leave):
    with cold.serving(disk) as daemon:
        address = getattr(daemon, kind)
        with daemon.client(address) as client:
            warm(client, tree)
        daemon.wait_stat("connections", "open", 0)
        n_files = n_files_of(cold.worker_pid(daemon))
        disk.hang()
        clients = [daemon.client(address) for _ in range(10)]
        for i, client in enumerate(clients):
            client.send(rpc.request(1, "mget", tree.keys[10 * i : 10 * i + 10])
                        + rpc.request(2, "get", tree.keys[i]) + rpc.request(3, "scan", b""))
        daemon.wait_stat("cold", "waiting", 3 * len(clients))
        for client in clients:
            leave(client)
        if leave is reset and kind == "tcp":
            daemon.wait_stat("cold", "waiting", 0)  # the disk hangs still
            daemon.wait_stat("connections", "open", 0)
        disk.go_on()
        check_nothing_left(daemon, n_files)
        check_all(daemon, tree, tree.keys[:100])
        cold.check_loop(daemon)


def test_many_clients_that_leave(disk, tree):
    """Round after round, each at another moment of its requests."""
    with cold.serving(disk) as daemon:
        with daemon.client() as client:
            warm(client, tree)
        daemon.wait_stat("connections", "open", 0)
        pid = cold.worker_pid(daemon)
        n_files = n_files_of(pid)
        disk.delay_us = 1000
        for i in range(100):
            client = daemon.client(daemon.tcp)
            keys = tree.keys[30 * i : 30 * i + 30]
            client.send(b"".join(rpc.request(j, "get", key) for j, key in enumerate(keys)))
            for _ in range(i % 7):
                client.reply()
            client.reset()
        check_nothing_left(daemon, n_files)
        assert cold.worker_pid(daemon) == pid


def test_a_worker_is_killed_while_requests_wait(disk, tree):
    keys = tree.keys[:20]
    with cold.serving(disk) as daemon:
        pid = cold.worker_pid(daemon)
        disk.hang()
        with cold.Waiting(daemon, keys) as waiting:
            os.kill(pid, 9)
            wait_gone(pid)
            for client in waiting.clients:
                with contextlib.suppress(ConnectionResetError):
                    assert client.message() is None
        # The next one maps the file without the disk: what opening it takes is in memory.
        eventually(lambda: daemon.worker_pids() not in ([], [pid]), "another worker")
        with daemon.client() as client:
            assert client.is_usable()
            disk.go_on()
            assert client.call("mget", keys) == [tree.values[key] for key in keys]
        cold.settle(daemon)
