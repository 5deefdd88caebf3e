"""What is not in memory is read by others than the loop: whoever asks for what is there does not
wait for the disk."""

import collections
import os
import time

import pytest

from lib import cold, rpc
from lib.waiting import eventually

DELAY_US = 20000


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Each value is mostly on a page of its own."""
    return cold.build(tmp_path_factory.mktemp("cold") / "tree.act", 4000, 2800)


Seen = collections.namedtuple("Seen", "times faults loop cold reads method")


def p99(times):
    return sorted(times)[len(times) * 99 // 100]


def hot_beside_cold(disk, tree, mode, n_cold):
    """Two connections ask for n_cold keys each, as fast as they can: half of them both, at the same
    time. Meanwhile a third one asks for what is in memory, and waits for each reply."""
    hot, cold_keys = tree.keys[:8], tree.keys[8:]
    both = cold_keys[: n_cold // 2]
    times = []
    # Few requests a turn: inline, too, the third one waits for some pages only, not for all.
    settings = {"cold.mode": mode, "limits.turn_requests": 4}
    with cold.serving(disk, settings) as daemon, daemon.client() as client:
        assert client.results([["get", key] for key in hot]) == [tree.values[key] for key in hot]
        disk.delay_us = DELAY_US
        # A rehearsal: the first use of the daemon's own code may find that out of memory, too.
        with cold.Asking.get(daemon, tree, tree.keys[-20:]):
            client.results([["get", key] for key in hot])
        client.answered.clear()
        cold.settle(daemon)
        disk.reset_counts()
        pid = cold.worker_pid(daemon)
        before = daemon.stats()["loop"]
        faults = cold.loop_faults(pid)

        def asking(own):
            keys = [key for pair in zip(both, own) for key in pair]
            return cold.Asking.get(daemon, tree, keys)

        with asking(cold_keys[n_cold : 2 * n_cold]) as one, asking(cold_keys[2 * n_cold :]) as two:
            while not (one.is_done() and two.is_done()):
                key = hot[len(times) % len(hot)]
                begin = time.monotonic()
                assert client.call("get", key) == tree.values[key]
                times.append(time.monotonic() - begin)
                client.answered.clear()
        faults = cold.loop_faults(pid) - faults
        stats = daemon.stats()
    assert times
    loop = {name: n - before[name] for name, n in stats["loop"].items()}
    return Seen(times, faults, loop, stats["cold"], disk.reads, stats["methods"]["get"])


@pytest.mark.alone
def test_hot_requests_do_not_wait_for_cold_ones(disk, tree):
    off = hot_beside_cold(disk, tree, "offload", 400)
    assert off.faults == 0
    cold.check_loop_numbers(off.loop, is_exact=True)
    assert off.cold["major_faults"] > 0 and off.cold["pages_shared"] > 0
    assert off.method["offloaded"] > 0 and off.method["cold_p50_ns"] >= DELAY_US * 1000
    inline = hot_beside_cold(disk, tree, "inline", 40)
    assert inline.faults == inline.reads
    assert inline.loop["major_faults"] > 0 and inline.loop["switches"] > 0
    assert inline.method["offloaded"] == 0
    assert set(inline.cold.values()) == {0}
    print(f"hot p99: {p99(off.times) * 1e6:.0f} us of {len(off.times)}, "
          f"{p99(inline.times) * 1e6:.0f} us of {len(inline.times)} inline")
    assert p99(off.times) <= p99(inline.times) / 10


def test_two_clients_want_the_same_page_at_once(disk, tree):
    """So few turns that each is measured."""
    with cold.serving(disk) as daemon, daemon.client() as one, daemon.client() as two:
        disk.delay_us = 2000
        pid = cold.worker_pid(daemon)
        faults = cold.loop_faults(pid)
        for i, key in enumerate(tree.keys[:50]):
            for client in (one, two):
                client.send(rpc.request(i, "get", key))
            for client in (one, two):
                assert client.reply() == (i, None, tree.values[key])
        assert cold.loop_faults(pid) == faults
        loop = cold.check_loop(daemon, is_exact=True)
        assert loop["turns_measured"] == loop["turns"] > 100
        assert daemon.stat("cold", "pages_shared") >= 50
        assert max(disk.reads_of_pages()) == 1


def test_without_threads_to_read_they_wait_in_the_loop(disk, tree):
    """The same numbers tell it."""
    with cold.serving(disk, {"cold.mode": "inline"}) as daemon, daemon.client() as client:
        disk.delay_us = 2000
        pid = cold.worker_pid(daemon)
        faults, reads = cold.loop_faults(pid), disk.reads
        for key in tree.keys[:50]:
            assert client.call("get", key) == tree.values[key]
        n = cold.loop_faults(pid) - faults
        assert n == disk.reads - reads >= 50
        loop = daemon.stats()["loop"]
        assert (loop["major_faults"], loop["turns_measured"]) == (n, loop["turns"])
        assert loop["switches"] >= n
        assert client.call("info")["tree"]["probe"] == "off"


def test_what_many_want_is_read_once(disk, tree):
    keys = tree.keys[:64]
    right = [tree.values[key] for key in keys]
    with cold.serving(disk) as daemon:
        disk.hang()
        clients = [daemon.client() for _ in range(20)]
        for client in clients:
            client.send(rpc.request(1, "mget", keys))
        daemon.wait_stat("cold", "waiting", len(clients))
        assert daemon.stat("cold", "pages_shared") > 0
        disk.go_on()
        for client in clients:
            assert client.reply() == (1, None, right)
            client.close()
        assert max(disk.reads_of_pages()) == 1
        cold.check_loop(daemon)
        cold.settle(daemon)


def test_threads_are_there_while_there_is_work(disk, tree):
    with cold.serving(disk, {"cold.threads": 3}) as daemon, daemon.client() as client:
        pid = cold.worker_pid(daemon)
        tasks = f"/proc/{pid}/task"
        eventually(lambda: len(os.listdir(tasks)) == 1, "one thread")
        disk.hang()
        with cold.Waiting(daemon, tree.keys[:32]) as waiting:
            daemon.wait_stat("cold", "threads", lambda n: 1 <= n <= 3)
            assert 2 <= len(os.listdir(tasks)) <= 4
            assert client.is_usable()
            disk.go_on()
            waiting.check(tree.values)
        eventually(lambda: len(os.listdir(tasks)) == 1, "the threads' end")
        daemon.wait_stat("cold", "threads", 0)
