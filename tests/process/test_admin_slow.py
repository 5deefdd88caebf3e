"""GET /slow: the requests that took long, and what for; and POST /log-level."""

import contextlib
import json
import os
import signal
import time

import pytest

from lib import cold, http, paths, rpc
from lib.tree_data import oracle_of
from lib.waiting import eventually

ORACLE = oracle_of(paths.CITIES)
DELAY_US = 60000
SLOW_MS = DELAY_US // 1000 // 2


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return cold.build(tmp_path_factory.mktemp("tree") / "tree.act", 50000)


def slow_of(daemon):
    status, headers, text = http.fetch(daemon.admin_unix, "/slow")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    return json.loads(text)


def requests_of(daemon, method=None):
    requests = slow_of(daemon)["requests"]
    assert [r["at_ms"] for r in requests] == sorted((r["at_ms"] for r in requests), reverse=True)
    return [r for r in requests if method in (None, r["method"])]


def test_nothing_is_slow_at_first(cities):
    with cities.client() as client:
        assert client.call("ping") == "pong"
    assert slow_of(cities) == {"slow_ms": 100, "requests": []}


@pytest.mark.parametrize("mode", ["offload", "inline"])
def test_a_request_that_waits_for_the_disk_is_told_with_what_it_waited_for(tmp_path, tree, mode):
    settings = {"cold.mode": mode, "admin.slow_ms": SLOW_MS}
    serving = cold.cold_daemon(tmp_path, tree.path, settings)
    with serving as (disk, daemon), daemon.client() as client:
        pid = client.call("info")["pid"]
        faults = daemon.proc_faults(pid)[1]
        disk.delay_us = DELAY_US
        key = tree.keys[0]
        before_ms, began = time.time() * 1000, time.monotonic()
        assert client.call("get", key) == tree.values[key]
        took_ms = (time.monotonic() - began) * 1000
        disk.delay_us = 0
        (told,) = requests_of(daemon, "get")
        after_ms = time.time() * 1000
        faults = daemon.proc_faults(pid)[1] - faults
        pages_read = daemon.stat("cold", "pages_read")
    assert told["key"] == {"text": key.decode(), "bytes": len(key)}
    assert (told["worker"], told["pid"], told["generation"], told["error"]) == (0, pid, 1, None)
    assert before_ms - 1 <= told["at_ms"] <= after_ms + 1
    assert SLOW_MS <= told["duration_ms"] <= took_ms
    if mode == "offload":
        assert 1 <= told["pages_missed"] <= pages_read and told["loop_faults"] == 0
        assert told["slices"] >= 2
    else:
        assert told["pages_missed"] == 0 and told["slices"] == 1
        assert 1 <= told["loop_faults"] <= faults


def test_the_first_key_of_a_list_and_the_error_are_told(tmp_path, tree):
    settings = {"admin.slow_ms": SLOW_MS, "cold.timeout_ms": 100}
    serving = cold.cold_daemon(tmp_path, tree.path, settings)
    with serving as (disk, daemon), daemon.client() as client:
        disk.delay_us = DELAY_US
        client.call("mget", [b"\xff\xfe" * 50, tree.keys[0]])
        disk.delay_us = cold.FOR_EVER_US
        assert client.error_of("scan", tree.keys[1][:3]) == rpc.IO_ERROR
        disk.go_on()
        disk.delay_us = 0
        told = {r["method"]: r for r in requests_of(daemon)}
    assert told["scan"]["error"] == rpc.IO_ERROR
    assert told["scan"]["key"] == {"text": tree.keys[1][:3].decode(), "bytes": 3}
    assert told["scan"]["duration_ms"] >= 100
    assert told["mget"]["error"] is None
    assert told["mget"]["key"] == {"hex": (b"\xff\xfe" * 32).hex(), "bytes": 100}


def test_what_comes_behind_a_job_has_its_own_time(tmp_path, tree):
    """Where all wait for the disk with the first slice of a walk, and it is not all of a turn."""
    settings = {
        "cold.mode": "inline",
        "admin.slow_ms": SLOW_MS,
        "limits.turn_requests": 10000,
    }
    serving = cold.cold_daemon(tmp_path, tree.path, settings)
    with serving as (disk, daemon), daemon.client() as client:
        disk.delay_us = DELAY_US
        assert client.results([["count", b"0"], ["ping"], ["ping"]])[1:] == ["pong", "pong"]
        disk.delay_us = 0
        (told,) = requests_of(daemon)
    assert told["method"] == "count" and told["slices"] > 1


def test_a_worker_keeps_the_last_64(tmp_path, tree):
    settings = {"admin.slow_ms": 1}
    serving = cold.cold_daemon(tmp_path, tree.path, settings)
    with serving as (disk, daemon), daemon.client() as client:
        disk.delay_us = 5000
        keys = iter(tree.keys)
        seen = []

        def ask():
            key = next(keys)
            client.call("get", key)
            told = requests_of(daemon, "get")
            if told and told[0]["key"]["text"] == key.decode():
                seen.append(key.decode())
            return len(seen) >= 80

        eventually(ask, "80 slow requests")
        told = [r["key"]["text"] for r in requests_of(daemon)]
    assert told == seen[::-1][:64]


def test_zero_lists_none(tmp_path, tree):
    for mode in ("offload", "inline"):
        directory = tmp_path / mode
        directory.mkdir()
        settings = {"admin.slow_ms": 0, "cold.mode": mode}
        with cold.cold_daemon(directory, tree.path, settings) as (disk, daemon):
            with daemon.client() as client:
                disk.delay_us = DELAY_US
                client.call("get", tree.keys[0])
                disk.delay_us = 0
            assert slow_of(daemon) == {"slow_ms": 0, "requests": []}


def test_what_dead_workers_noted_is_lost_and_the_others_stays(tmp_path, tree):
    settings = {"admin.slow_ms": SLOW_MS, "daemon.workers": 2}
    with cold.cold_daemon(tmp_path, tree.path, settings) as (disk, daemon):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(daemon.client()) for _ in range(2)]
            pids = [client.call("info")["pid"] for client in clients]
            assert len(set(pids)) == 2
            for client, key in zip(clients, tree.keys):
                disk.forget()
                disk.delay_us = DELAY_US
                client.call("mget", [key, *tree.keys[100:200]])
                disk.delay_us = 0
            assert {r["pid"] for r in requests_of(daemon, "mget")} == set(pids)
        os.kill(pids[0], signal.SIGKILL)
        eventually(
            lambda: {r["pid"] for r in requests_of(daemon, "mget")} == {pids[1]}, "its end"
        )


def test_to_wait_for_a_generation_is_not_slow(actd):
    daemon = actd(settings={"admin.slow_ms": 1})
    with daemon.client() as client:
        assert client.call("wait_generation", 12345, 100) is False
    assert slow_of(daemon)["requests"] == []


# The level of the log.


def level_of(daemon):
    status, headers, text = http.fetch(daemon.admin_unix, "/log-level")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    return json.loads(text)


def set_level(daemon, level):
    return http.fetch(daemon.admin_unix, f"/log-level?level={level}", method="POST")


def break_connection(daemon):
    """The worker logs that at level info."""
    n = daemon.stat("connections", "broken")
    with daemon.client() as client:
        client.send(b"\xc1")
        assert client.at_end()
    daemon.wait_stat("connections", "broken", n + 1)


def worker_lines(daemon):
    return [line for line in daemon.log.split("\n") if "worker 0: connection" in line]


def test_the_level_holds_for_all_processes_also_later_ones(actd):
    daemon = actd(settings={"daemon.workers": 1})
    assert level_of(daemon) == {"level": "info"}
    assert set_level(daemon, "debug")[0] == 200
    daemon.wait_log("debug: log level: debug, was info")
    break_connection(daemon)
    eventually(lambda: len(worker_lines(daemon)) == 1, "the worker's line")

    status, _, text = set_level(daemon, "error")
    assert (status, json.loads(text)) == (200, {"level": "error"})
    assert level_of(daemon) == {"level": "error"}
    daemon.wait_log("log level: error, was debug")
    break_connection(daemon)
    (pid,) = daemon.worker_pids()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: daemon.worker_pids() not in ([], [pid]), "another worker")
    daemon.wait_stat("process", "serving", 1)
    break_connection(daemon)

    assert set_level(daemon, "debug")[0] == 200
    daemon.wait_log("debug: log level: debug, was error")
    break_connection(daemon)
    eventually(lambda: len(worker_lines(daemon)) == 2, "the new worker's line")
    assert http.fetch(daemon.admin_unix, "/reload", method="POST")[0] == 200
    daemon.wait_log("debug: POST /reload: looking at")
    assert not [line for line in daemon.lines if "was killed" in line]


@pytest.mark.parametrize("query", ["", "?", "?level", "?level=", "?level=loud", "?level=INFO",
                                   "?level=info%20", "?loud=info"])
def test_a_level_that_is_none_is_refused_with_the_list(cities, query):
    status, _, text = http.fetch(cities.admin_unix, f"/log-level{query}", method="POST")
    assert status == 400
    for level in ("error", "warning", "info", "debug"):
        assert level in text
    assert level_of(cities) == {"level": "info"}
