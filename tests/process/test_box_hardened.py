"""Everything that actd does, under all that actd.service forbids: nothing of it may fail, or become
unknown, which the same daemon without a sandbox does and knows. The tree is on a real disk, and
limits of memory are real where the host lets a container have them."""

import json
import os
import pathlib
import re
import tempfile

import pytest

from lib import box_root, cold, http, paths, prometheus, rpc
from lib.box import Box, number_of_user
from lib.box_service import Service, config, hurry, reset
from lib.slow_disk import forget, residency
from lib.waiting import eventually

MIB = 1 << 20
TOKEN = "0123456789abcdef0123456789abcdef"

# All that can be on at the same time; what cannot has tests of its own.
EVERYTHING = {
    "tree.watch": "yes",
    "tree.settle_ms": 100,
    "tree.verify": "digest",
    "tree.mlock": "top",
    "tree.max_resident_bytes": "64M",
    "warmup.mode": "restore",
    "warmup.profile": "/var/lib/actd/warm.profile",
    "warmup.profile_interval_ms": 1000,
    "admin.token_file": "/etc/actd/token",
    "admin.slow_ms": 1,
    "daemon.busy_poll_us": 50,
    "limits.idle_timeout_ms": 60000,
}


@pytest.fixture(scope="module")
def disk():
    """A directory of the disk that the build is on, for /var/lib/actd: in memory everything is
    always there."""
    with tempfile.TemporaryDirectory(dir=paths.BUILD, prefix="box-state-") as name:
        yield pathlib.Path(name)


@pytest.fixture(scope="module")
def box(disk):
    box_root.skip_unless_possible()
    with Box(box_root.installed(), has_memory=True,
             arguments=[f"--bind={disk}:/var/lib/actd"]) as made:
        os.chown(disk, *number_of_user(made.path("/"), "actd"))
        disk.chmod(0o750)
        hurry(made)
        yield made


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """Several times what a worker needs for itself."""
    return cold.build(tmp_path_factory.mktemp("hardened") / "big.act", 20000, 3000)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return cold.build(tmp_path_factory.mktemp("hardened") / "other.act", 2000, 3000, seed=2)


@pytest.fixture
def service(box, disk, big):
    reset(box)
    made = Service(box)
    made.put(big.path)
    box.write("/etc/actd/token", TOKEN + "\n")
    os.chown(box.path("/etc/actd/token"), *number_of_user(box.path("/"), "actd"))
    box.path("/etc/actd/token").chmod(0o400)
    box.write("/etc/systemd/system/actd-admin.socket.d/50-test.conf",
              "[Socket]\nListenStream=127.0.0.1:7412\n")
    box.systemctl("daemon-reload")
    made.configure(EVERYTHING)
    made.listen()
    return made


def values_of(service, tree, n=500):
    """Some of its keys, asked for; the answers must be right."""
    keys = tree.keys[:n]
    with service.client() as client:
        for i in range(0, n, 100):
            part = keys[i : i + 100]
            assert client.call("mget", part) == [tree.values[key] for key in part]


def is_served(service, tree):
    with service.client() as client:
        return client.call("get", tree.keys[0]) == tree.values[tree.keys[0]]


def processes(service):
    """The service's, as they are known outside."""
    main = service.main_pid()
    children = pathlib.Path(f"/proc/{main}/task/{main}/children").read_text().split()
    return [main, *map(int, children)]


#
# The sandbox is one.
#


def test_every_process_is_in_the_sandbox(service, big):
    service.start()
    values_of(service, big)
    ours = os.readlink(f"/proc/{service.box.leader}/ns/net")
    pids = processes(service)
    assert len(pids) >= 3
    for pid in pids:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        fields = dict(re.findall(r"^(\w+):\s+(.*)$", status, re.M))
        for which in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(fields[which], 16) == 0, which
        assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
        for namespace in ("net", "mnt", "user", "ipc"):
            assert os.readlink(f"/proc/{pid}/ns/{namespace}") != os.readlink(
                f"/proc/{service.box.leader}/ns/{namespace}"), namespace
        assert os.readlink(f"/proc/{pid}/ns/net") != ours
        uid = number_of_user(service.box.path("/"), "actd")[0]
        assert set(fields["Uid"].split()) == {str(uid)}


#
# Everything works in it.
#


class Plain:
    """The same daemon in the same container, without a sandbox."""

    def __init__(self, service, settings):
        self.box = service.box
        self.unix = ("unix", str(self.box.path("/run/actd/plain.sock")))
        self.admin_unix = ("unix", str(self.box.path("/run/actd/plain-admin.sock")))
        self.box.write("/etc/actd/plain.conf", config({
            "daemon.workers": 2, "listen.unix": "/run/actd/plain.sock",
            "admin.unix": "/run/actd/plain-admin.sock", **settings,
            "warmup.profile": "/var/lib/actd/plain.profile"}))
        self.box.run("systemd-run", "--unit=plain", "--uid=actd", "--gid=actd", "--collect",
                     "-p", "Type=notify", "-p", "NotifyAccess=main", "-p", "LimitMEMLOCK=8M",
                     "-p", "LimitNOFILE=65536", "-p", "SupplementaryGroups=",
                     "/usr/sbin/actd", "--config=/etc/actd/plain.conf")

    def client(self):
        return rpc.Client(self.unix)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.box.systemctl("stop", "plain.service", status=None)


def unknown(told, name=""):
    """Names of what is null in JSON."""
    if isinstance(told, dict):
        return {found for key, value in told.items() for found in unknown(value, f"{name}.{key}")}
    if isinstance(told, list):
        return {found for value in told for found in unknown(value, f"{name}[]")}
    return {name} if told is None else set()


def known(daemon, tree):
    """After it was used: what it does not know, where pages are from, the names of its metrics."""
    values_of(daemon, tree)

    def look():
        (generation,) = json.loads(http.fetch(daemon.admin_unix, "/residency")[2])["generations"]
        stats = http.stats(daemon.admin_unix)
        is_there = generation["age_ms"] is not None and stats["tree"]["pss_bytes"] is not None
        return is_there and (generation, stats)

    generation, stats = eventually(look, "the residency and shares of memory")
    metrics = prometheus.parse(http.fetch(daemon.admin_unix, "/metrics")[2])
    return unknown(stats), generation["source"], set(metrics)


def test_nothing_is_unknown_because_of_the_sandbox(service, big):
    """Its processes' memory, faults, where the pages are, what was taken back."""
    service.start()
    hardened = known(service, big)
    with Plain(service, EVERYTHING) as plain:
        free = known(plain, big)
    assert hardened[0] == free[0], "what is null in /stats"
    assert hardened[1] == free[1] == "mincore"
    assert hardened[2] == free[2], "the metrics"
    assert any(name.startswith("process_resident") for name in hardened[2])


def test_where_pages_are_is_told_as_the_kernel_tells_root(service, big, disk):
    service.configure({**EVERYTHING, "warmup.mode": "none", "log.level": "debug"})
    path = disk / "tree.act"
    os.sync()
    forget(path)
    since = service.box.now()
    service.start()
    values_of(service, big, 1000)

    def is_true():
        """Pages come and go on a busy machine."""
        (told,) = json.loads(http.fetch(service.admin_unix, "/residency")[2])["generations"]
        resident = told["resident_bytes"]
        return resident is not None and abs(resident - sum(residency(path)) * 4096) < MIB

    eventually(is_true, "/residency to be as mincore says")
    service.box.wait_journal("-u", service.unit, since=since,
                             wanted=lambda entry: "asked by mincore" in entry["MESSAGE"])


def test_a_new_file_is_seen_and_warmed(service, big, other):
    service.configure({**EVERYTHING, "warmup.mode": "read"})
    service.start()
    values_of(service, big)
    service.put(other.path)
    eventually(lambda: is_served(service, other), "the new file, by inotify")
    assert service.stats()["warmup"]["state"] == "done"
    values_of(service, other)


@pytest.mark.parametrize("mode", ["read", "willneed", "traverse"])
def test_each_way_of_warming_up(service, disk, mode):
    service.configure({**EVERYTHING, "warmup.mode": mode})
    os.sync()
    forget(disk / "tree.act")
    service.start()
    warmup = service.stats()["warmup"]
    assert (warmup["state"], warmup["mode"]) == ("done", mode)


def test_a_profile_is_saved_and_restored(service, big, disk):
    service.start()
    values_of(service, big)
    service.ctl("stop")
    uid = number_of_user(service.box.path("/"), "actd")[0]
    saved = disk / "warm.profile"
    assert saved.stat().st_uid == uid and saved.stat().st_size > 0
    os.sync()
    forget(disk / "tree.act")
    service.start()
    warmup = service.stats()["warmup"]
    assert (warmup["state"], warmup["mode"]) == ("done", "restore") and warmup["read_bytes"] > 0


def test_what_is_served_is_verified(service):
    service.start()
    status, _, text = http.fetch(service.admin_unix, "/verify", method="POST")
    assert status in (200, 202), text

    def is_done():
        return service.stats()["verify"]["state"] not in ("running", "none")

    eventually(is_done, "the verification")
    assert service.stats()["verify"]["state"] == "good"


def test_the_admin_endpoint_over_both(service):
    """Over TCP who acts needs the token."""
    service.start()
    tcp = service.box.tcp(port=7412)
    for address in (service.admin_unix, tcp):
        for path in ("/readyz", "/stats", "/metrics", "/residency", "/slow", "/"):
            assert http.fetch(address, path)[0] == 200, path
    assert http.fetch(tcp, "/reload", method="POST")[0] in (401, 403)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for address, headers in ((service.admin_unix, {}), (tcp, bearer)):
        assert http.fetch(address, "/reload", method="POST", headers=headers)[0] == 200


def test_all_of_it_may_be_locked(service, other):
    """As far as the unit's own limit goes."""
    service.put(other.path)
    service.configure({**EVERYTHING, "tree.mlock": "yes"})
    service.start()
    pages = -(-other.path.stat().st_size // 4096)
    assert service.stats()["tree"]["locked_bytes"] == pages * 4096
    for pid in processes(service)[1:]:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        assert int(re.search(r"VmLck:\s+(\d+) kB", status)[1]) == pages * 4
    values_of(service, other)


@pytest.mark.parametrize("how", [{"tree.map_min_bytes": "1G"}, {"tree.hugepages": "copy"}])
def test_copies_in_memory(service, big, disk, how):
    """Huge pages where there are some; else a warning, and the file."""
    service.configure({**EVERYTHING, **how})
    service.start()
    values_of(service, big)
    with service.client() as client:
        held = client.call("info")["tree"]["held"]
    if "tree.map_min_bytes" in how:
        assert held == "copied"
        (disk / "tree.act").unlink()
    values_of(service, big, 5000)


def test_nobody_warns(service, big, other):
    """In a whole life with a reload, a damage and a worker's death nothing is refused."""
    since = service.box.now()
    service.start()
    values_of(service, big)
    service.put(other.path)
    service.ctl("reload")
    values_of(service, other)
    service.ctl("restart")
    values_of(service, other)
    service.ctl("stop")
    told = [entry["MESSAGE"] for entry in service.box.journal(
        "-u", service.unit, "SYSLOG_IDENTIFIER=actd", "-p", "warning", since=since)]
    assert told == []


#
# Limits of memory.
#


@pytest.fixture
def limited(service):
    """A function: MemoryMax= of the service. Skips where the host gives containers no memory
    controller."""
    controllers = service.box.run("sh", "-c", "cat /sys/fs/cgroup/cgroup.controllers; "
                                  "ls /sys/fs/cgroup", status=None).stdout.split()
    if "memory" not in controllers:
        pytest.skip("needs the memory controller of cgroups, in a container")

    def limit(size):
        service.drop_in({"Service": {"MemoryMax": size}})
        return service

    return limit


def test_a_file_larger_than_the_limit_is_served(limited, big):
    service = limited("48M")
    assert big.path.stat().st_size > 56 * MIB
    service.configure({**EVERYTHING, "tree.verify": "header", "warmup.mode": "none",
                       "tree.max_resident_bytes": 0})
    service.start()
    values_of(service, big, len(big.keys))
    values_of(service, big, len(big.keys))
    assert service.show("NRestarts", "Result") == {"NRestarts": "0", "Result": "success"}
    # The limit is one: pages were taken back and read again.
    eventually(lambda: (service.stats()["memory"]["refaults"] or 0) > 0, "refaults")
    assert service.stats()["process"]["serving"] == 2


def test_a_copy_that_does_not_fit_is_refused_and_the_old_one_stays(limited, big, other):
    """The process that makes it is killed, and nobody else."""
    service = limited("48M")
    service.put(other.path)
    service.configure({**EVERYTHING, "tree.watch": "no", "tree.map_min_bytes": "1G",
                       "tree.verify": "header"})
    service.start()
    pids = service.main_pid(), [w["pid"] for w in service.stats()["workers"]]
    service.put(big.path)
    assert service.ctl("reload", status=None).returncode != 0
    values_of(service, other)
    assert service.show("NRestarts") == "0"
    assert (service.main_pid(), [w["pid"] for w in service.stats()["workers"]]) == pids
    refusal = service.stats()["refusal"]
    assert "tree.act" in refusal, refusal
