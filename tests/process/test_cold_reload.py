"""Generations change while requests wait for pages of the old one."""

import os

import pytest

from lib import cold, reload, rpc
from lib.processes import files_of
from lib.slow_disk import SlowDisk
from lib.waiting import eventually

# More of them than these come and go between two looks: arenas, stacks, blocks of buffers.
MORE_MAPS = 8


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Two with the same keys, and other values."""
    directory = tmp_path_factory.mktemp("cold")
    one = cold.build(directory / "one.act", 3000, 2000)
    two = cold.build(directory / "two.act", 3000, 1600)
    assert one.keys == two.keys
    return one, two


@pytest.fixture
def disks(tmp_path, trees):
    with SlowDisk(tmp_path, trees[0].path, name="one") as one:
        with SlowDisk(tmp_path, trees[1].path, name="two") as two:
            yield one, two


@pytest.fixture
def path(tmp_path, disks):
    """The served path leads to the first one."""
    path = tmp_path / "served.act"
    path.symlink_to(disks[0].path)
    return path


def maps_of(pid, disk=None):
    """Its mappings; those of the disk's file."""
    with open(f"/proc/{pid}/maps") as file:
        return [line for line in file if disk is None or str(disk.path) in line]


def n_files_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def has_open(pid, path):
    return str(path) in files_of(pid).values()


def check_gone(pid, disk):
    eventually(lambda: not maps_of(pid, disk), f"{disk.path} to be unmapped")
    eventually(lambda: not has_open(pid, disk.path), f"{disk.path} to be closed")


@pytest.mark.parametrize("asked", ["get", "mget", "mscan"])
def test_who_waits_is_answered_from_its_own_generation(disks, trees, path, asked):
    keys = trees[0].keys[:40]
    with cold.serving(disks[0], path=path) as daemon, daemon.client() as late:
        pid = cold.worker_pid(daemon)
        disks[0].hang()
        client = daemon.client()
        if asked == "get":
            calls = [["get", key] for key in keys[:10]]
            right = [trees[0].values[key] for key in keys[:10]]
        elif asked == "mget":
            calls, right = [["mget", keys]], [[trees[0].values[key] for key in keys]]
        else:
            calls = [["mscan", keys, {"keys_only": False}]]
            right = [[[[key, trees[0].values[key]]] for key in keys]]
        client.send(b"".join(rpc.request(i, *call) for i, call in enumerate(calls)))
        daemon.wait_stat("cold", "waiting", len(calls))
        reload.swap_link(path, disks[1].path)
        assert reload.accepted(daemon) == 2
        # New requests, also of the connection that waits, are answered from the new one.
        assert late.call("mget", keys) == [trees[1].values[key] for key in keys]
        client.send(rpc.request(100, "get", keys[0]))
        assert client.reply() == (100, None, trees[1].values[keys[0]])
        assert maps_of(pid, disks[0]) and maps_of(pid, disks[1])
        assert daemon.stat("cold", "waiting") == len(calls)
        disks[0].go_on()
        results = {}
        for _ in calls:
            msgid, error, result = client.reply()
            assert error is None
            results[msgid] = result
        got = [results[i] for i in range(len(calls))]
        if asked == "mscan":
            generations = {page["generation"]["number"] for page in got[0]}
            assert generations == {1}
            got = [[page["entries"] for page in got[0]]]
        assert got == right
        check_gone(pid, disks[0])
        disks[0].forget()
        assert disks[0].resident_pages() == 0
        cold.settle(daemon)
        client.close()
        cold.check_loop(daemon)


def test_a_disk_that_never_answers_keeps_only_its_own_generation(disks, trees, path):
    """Its requests give up; the threads' references go when the disk goes on. Threads that hang
    there take no place from those that read the file which is served."""
    keys = trees[0].keys[:20]
    with cold.serving(disks[0], {"cold.timeout_ms": 200, "cold.threads": 2}, path) as daemon:
        pid = cold.worker_pid(daemon)
        disks[0].hang()
        with cold.Waiting(daemon, keys) as waiting:
            reload.swap_link(path, disks[1].path)
            reload.accepted(daemon)
            waiting.check_errors(rpc.IO_ERROR, "cold.timeout_ms")
        with daemon.client() as client:
            assert client.call("mget", keys) == [trees[1].values[key] for key in keys]
        assert maps_of(pid, disks[0])
        disks[0].go_on()
        check_gone(pid, disks[0])
        cold.settle(daemon)


def test_a_disk_that_fails_spoils_only_its_own_generation(disks, trees, path):
    keys = trees[0].keys[:20]
    with cold.serving(disks[0], path=path) as daemon:
        pid = cold.worker_pid(daemon)
        disks[0].delay_us = cold.FOR_EVER_US
        with cold.Waiting(daemon, keys) as waiting:
            reload.swap_link(path, disks[1].path)
            reload.accepted(daemon)
            disks[0].fail()
            disks[0].delay_us = 0
            waiting.check_errors(rpc.IO_ERROR, "could not be read")
        assert daemon.stat("tree", "damaged") == 0
        with daemon.client() as client:
            assert client.call("mget", keys) == [trees[1].values[key] for key in keys]
            assert client.call("info")["tree"]["damage"] is None
        check_gone(pid, disks[0])


def test_reloads_in_the_middle_of_cold_requests_leave_nothing(disks, trees, path):
    with cold.serving(disks[0], {"cold.threads": 2}, path) as daemon:
        pid = cold.worker_pid(daemon)
        held = []
        for i in range(30):
            old, new = i % 2, 1 - i % 2
            keys = trees[0].keys[20 * i : 20 * i + 20]
            disks[old].hang()
            with cold.Waiting(daemon, keys) as waiting:
                reload.swap_link(path, disks[new].path)
                assert reload.accepted(daemon) == i + 2
                disks[old].go_on()
                waiting.check(trees[old].values)
            check_gone(pid, disks[old])
            disks[old].forget()
            cold.settle(daemon)
            daemon.wait_stat("connections", "open", 0)
            daemon.wait_stat("memory", "buffer_bytes", 0)
            held.append((n_files_of(pid), len(maps_of(pid))))
        assert cold.worker_pid(daemon) == pid
        files, maps = zip(*held)
        assert set(files[5:]) == {files[5]}, files
        assert max(maps[20:]) <= max(maps[5:10]) + MORE_MAPS, maps
        cold.check_loop(daemon)
