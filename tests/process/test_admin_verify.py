"""POST /verify and POST /warm: what is asked for over the admin endpoint and done by processes of
their own, while queries are answered."""

import json
import os
import pathlib
import random
import shutil
import signal
import struct

import pytest

from lib import cold, http, paths, prometheus, versions
from lib.processes import is_gone, wait_gone
from lib.slow_disk import residency
from lib.waiting import eventually


def ask(daemon, what, method="GET"):
    """The answer to `/verify` or `/warm`; it must be a good one."""
    status, headers, text = http.fetch(daemon.admin_unix, what, method=method)
    assert status == (202 if method == "POST" else 200), text
    assert headers["Content-Type"] == "application/json"
    return json.loads(text)


def verified(daemon):
    """What comes of a verification."""
    assert ask(daemon, "/verify", "POST")["state"] == "running"
    return eventually(lambda: (told := ask(daemon, "/verify"))["state"] != "running" and told, "it")


def process_of(daemon, role):
    """The supervisor's child of that role; None: there is none."""
    text = pathlib.Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text()
    for pid in map(int, text.split()):
        try:
            line = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except FileNotFoundError:
            continue
        if line[1:2] == [role.encode()]:
            return pid
    return None


def test_before_anybody_asks_there_is_nothing_to_tell(cities):
    told = ask(cities, "/verify")
    assert told == {
        "state": "never", "generation": 0, "checked_bytes": 0, "total_bytes": 0, "seconds": None,
        "text": None,
    }
    metrics = prometheus.parse(http.fetch(cities.admin_unix, "/metrics")[2])
    assert not metrics["actd_verify_faults"].samples


def test_a_good_file_is_good(actd):
    daemon = actd()
    told = verified(daemon)
    size = os.path.getsize(paths.CITIES)
    assert told.pop("seconds") >= 0
    assert told == {
        "state": "good", "generation": 1, "checked_bytes": size, "total_bytes": size, "text": None,
    }
    daemon.wait_log(rf"info: verified generation 1: no fault in {size} bytes")
    assert daemon.stats()["verify"]["state"] == "good"
    metrics = prometheus.parse(http.fetch(daemon.admin_unix, "/metrics")[2])
    assert prometheus.value(metrics, "actd_verify_faults") == 0
    assert process_of(daemon, "--verifier") is None


def check_goes_on(daemon):
    """Whatever was found."""
    assert http.fetch(daemon.admin_unix, "/readyz")[::2] == (200, "ready\n")
    assert daemon.stat("tree", "damaged") == 0


def faults_metric(daemon):
    metrics = prometheus.parse(http.fetch(daemon.admin_unix, "/metrics")[2])
    return metrics["actd_verify_faults"].samples.get(())


def test_a_damaged_object_is_told_and_the_file_goes_on_being_served(tmp_path, actd):
    content = bytearray(paths.CITIES.read_bytes())
    rng = random.Random(7)
    for _ in range(50):
        content[rng.randrange(len(content) // 4, len(content) // 2)] ^= 0xFF
    path = tmp_path / "damaged.act"
    path.write_bytes(content)
    daemon = actd(path)
    told = verified(daemon)
    assert told["state"] == "faults" and told["text"].startswith("damaged at offset ")
    daemon.wait_log(rf"error: verified generation 1: {path}: damaged at offset \d+: .*goes on")
    assert faults_metric(daemon) == 1
    assert daemon.stats()["verify"] == ask(daemon, "/verify")
    check_goes_on(daemon)
    fresh = tmp_path / "fresh.act"
    fresh.write_bytes(paths.CITIES.read_bytes())
    fresh.rename(path)
    assert http.fetch(daemon.admin_unix, "/reload", method="POST")[0] == 200
    assert faults_metric(daemon) is None  # nobody has verified that one
    assert verified(daemon)["state"] == "good" and faults_metric(daemon) == 0


def test_a_digest_that_differs_is_told(tmp_path, actd):
    """One value is another one: every object is as it should be, the digest is not."""
    path = tmp_path / "tree.act"
    versions.build(path, 3)
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("<I", 3 * versions.STEP + 5)[:3])] ^= 1
    path.write_bytes(content)
    daemon = actd(path)
    told = verified(daemon)
    assert told["state"] == "faults" and "digest" in told["text"]
    check_goes_on(daemon)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """So large that a verification tells on its way how far it is: it does each MiB."""
    return cold.build(tmp_path_factory.mktemp("tree") / "tree.act", 200000)


@pytest.fixture
def slow(tmp_path, tree):
    """(disk, daemon): a verification or a warm-up takes as long as the test wants."""
    with cold.cold_daemon(tmp_path, tree.path) as pair:
        yield pair


def test_one_runs_at_a_time_and_queries_go_on(slow, tree):
    disk, daemon = slow
    with daemon.client() as client:
        assert client.call("get", tree.keys[0]) == tree.values[tree.keys[0]]
        disk.delay_us = 10000
        first = ask(daemon, "/verify", "POST")
        assert (first["state"], first["generation"]) == ("running", 1)
        pid = process_of(daemon, "--verifier")
        own = os.getpriority(os.PRIO_PROCESS, daemon.pid)
        eventually(lambda: os.getpriority(os.PRIO_PROCESS, pid) > own, "less priority")
        eventually(lambda: ask(daemon, "/verify")["checked_bytes"] > 0, "progress")
        again = ask(daemon, "/verify", "POST")
        assert again["state"] == "running" and process_of(daemon, "--verifier") == pid
        assert again["checked_bytes"] < again["total_bytes"] == os.path.getsize(tree.path)
        assert client.call("get", tree.keys[0]) == tree.values[tree.keys[0]]
        assert http.fetch(daemon.admin_unix, "/livez")[0] == 200
        disk.delay_us = 0
        eventually(lambda: ask(daemon, "/verify")["state"] == "good", "its end")
    assert verified(daemon)["state"] == "good"


def test_a_process_that_is_killed_is_told_and_another_may_be_asked_for(slow):
    disk, daemon = slow
    disk.hang()
    ask(daemon, "/verify", "POST")
    os.kill(process_of(daemon, "--verifier"), signal.SIGKILL)
    told = eventually(
        lambda: (told := ask(daemon, "/verify"))["state"] != "running" and told, "its end"
    )
    assert told["state"] == "failed" and "was ended by signal 9" in told["text"]
    daemon.wait_log("warning: could not verify generation 1: ")
    disk.go_on()
    assert verified(daemon)["state"] == "good"
    check_goes_on(daemon)


def test_a_disk_that_fails_is_a_fault(slow):
    disk, daemon = slow
    disk.fail()
    told = verified(daemon)
    assert told["state"] == "faults" and "reading it failed" in told["text"]
    disk.go_on()
    assert http.fetch(daemon.admin_unix, "/livez")[0] == 200


def test_a_disk_that_hangs_is_given_up(tmp_path, tree):
    settings = {"tree.check_timeout_ms": 500}
    with cold.cold_daemon(tmp_path, tree.path, settings) as (disk, daemon):
        disk.hang()
        ask(daemon, "/verify", "POST")
        pid = process_of(daemon, "--verifier")
        told = eventually(
            lambda: (told := ask(daemon, "/verify"))["state"] != "running" and told, "its end"
        )
        assert told["state"] == "failed" and "tree.check_timeout_ms = 500" in told["text"]
        disk.go_on()
        wait_gone(pid)


@pytest.mark.parametrize("what", ["/verify", "/warm?mode=read"])
def test_a_stop_does_not_wait_for_it(slow, what):
    disk, daemon = slow
    disk.delay_us = 20000
    ask(daemon, what, "POST")
    pid = process_of(daemon, "--verifier" if what == "/verify" else "--warmer")
    daemon.stop()
    wait_gone(pid)
    assert "could not verify" not in daemon.log


def test_the_processes_end_with_a_supervisor_that_is_killed(slow):
    disk, daemon = slow
    disk.delay_us = 20000
    ask(daemon, "/verify", "POST")
    pid = process_of(daemon, "--verifier")
    assert not is_gone(pid)
    daemon.crash()
    wait_gone(pid)


def test_it_is_about_the_generation_that_was_served_when_it_was_asked_for(tmp_path, actd):
    path = tmp_path / "tree.act"
    versions.put(path, 1)
    daemon = actd(path)
    assert verified(daemon)["generation"] == 1
    versions.put(path, 2)
    assert http.fetch(daemon.admin_unix, "/reload", method="POST")[0] == 200
    assert ask(daemon, "/verify")["generation"] == 1
    told = verified(daemon)
    assert (told["state"], told["generation"]) == ("good", 2)
    assert told["total_bytes"] == path.stat().st_size


def test_a_copy_is_verified_and_not_the_file(tmp_path, actd):
    path = tmp_path / "tree.act"
    shutil.copy(paths.CITIES, path)
    daemon = actd(path, {"tree.map_min_bytes": "1G"})
    with open(path, "r+b") as file:
        file.truncate(4096)
    assert verified(daemon)["state"] == "good"


# Warming up.


def test_warming_up_is_asked_for_and_told(actd, tmp_path):
    path = tmp_path / "tree.act"
    shutil.copy(paths.CITIES, path)
    daemon = actd(path)
    told = ask(daemon, "/warm")
    assert (told["state"], told["mode"], told["eta_ms"]) == ("off", "none", None)
    told = ask(daemon, "/warm?mode=read", "POST")
    assert (told["mode"], told["generation"]) == ("read", 1)
    told = eventually(lambda: (told := ask(daemon, "/warm"))["state"] == "done" and told, "it")
    assert told["read_bytes"] == told["total_bytes"] > 0
    warmup = daemon.stats()["warmup"]
    assert {name: warmup[name] for name in told} == told
    for mode in ("willneed", "traverse"):
        assert ask(daemon, f"/warm?mode={mode}", "POST")["mode"] == mode
        eventually(lambda: ask(daemon, "/warm")["state"] == "done", mode)


def test_a_cold_file_is_warm_afterwards(slow, tree):
    disk, daemon = slow
    ask(daemon, "/warm?mode=read", "POST")
    eventually(lambda: ask(daemon, "/warm")["state"] == "done", "its end")
    assert all(residency(disk.path)) or disk.n_reads >= len(residency(disk.path)) - 1


def test_a_warm_up_is_ended_by_none_and_one_runs_at_a_time(slow):
    disk, daemon = slow
    post = {"method": "POST"}
    status, _, text = http.fetch(daemon.admin_unix, "/warm?mode=none", **post)
    assert (status, text) == (409, "no warm-up is running\n")
    disk.delay_us = 20000
    told = ask(daemon, "/warm?mode=read", "POST")
    assert told["state"] == "running"
    status, _, text = http.fetch(daemon.admin_unix, "/warm?mode=traverse", **post)
    assert (status, text) == (409, "a warm-up is running already\n")
    eventually(lambda: ask(daemon, "/warm")["read_bytes"] > 0, "progress")
    assert ask(daemon, "/warm?mode=none", "POST")["state"] == "cancelled"
    told = ask(daemon, "/warm")
    assert told["state"] == "cancelled" and told["read_bytes"] < told["total_bytes"]


def test_what_cannot_be_warmed_up_is_refused_with_the_reason(cities):
    for query in ("", "?mode", "?mode=", "?mode=all", "?mode=READ"):
        status, _, text = http.fetch(cities.admin_unix, f"/warm{query}", method="POST")
        assert status == 400
        for mode in ("willneed", "read", "traverse", "restore", "none"):
            assert mode in text
    status, _, text = http.fetch(cities.admin_unix, "/warm?mode=restore", method="POST")
    assert status == 409 and "warmup.profile" in text
