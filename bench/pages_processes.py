"""The sections of bench/pages that measure daemons: beside a slow disk, and in memory."""
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

import pages_tools as tools
from pages_tools import MB, median_of

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODES = ("offload", "inline")
DELAYS_MS = (0.1, 1, 5, 20)
COLD_CONNECTIONS = 2
COLD_IN_FLIGHT = 16
HOT_KEYS = 16
WORKERS = (1, 2, 3, 4, 6, 8, 10)
# Every so manieth key is asked, so that all pages are: there are more than twice as many keys on
# each.
TOUCH_STEP = 100
LATENCIES = ("p50_us", "p99_us", "p999_us", "max_us")


def test_library(bench):
    """What the process tests start daemons with."""
    os.environ["ACTD_BUILD"] = bench.options.build
    sys.path.insert(0, os.path.join(ROOT, "tests", "process"))
    try:
        from lib import daemon
    except ImportError as error:
        raise tools.Unmeasured(f"{error}: apt-get install python3-msgpack") from None
    return daemon


def slow_disk_library():
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        raise tools.Unmeasured("needs root and /dev/fuse, for a file system with a slow disk")
    try:
        from lib import slow_disk
    except ImportError as error:
        raise tools.Unmeasured(f"{error}: apt-get install python3-pytest") from None
    return slow_disk


@contextlib.contextmanager
def slow_disk_on(tree):
    library = slow_disk_library()
    import pytest
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="actd-bench-"))
        try:
            disk = stack.enter_context(library.SlowDisk(directory, tree.path))
        except pytest.skip.Exception as reason:
            raise tools.Unmeasured(str(reason)) from None
        yield disk


def ask(load, line):
    """What pages_load prints for it."""
    if line:
        load.stdin.write(line + "\n")
        load.stdin.flush()
    answer = load.stdout.readline()
    if not answer:
        raise tools.Failed(f"pages_load failed: {load.stderr.read().strip()}")
    return json.loads(answer)


def load_command(bench, kind, daemon, tree, *arguments):
    return [bench.options.tool("bench/pages_load"), kind, f"unix:{daemon.unix[1]}",
            str(tree.n_keys), *map(str, arguments)]


def counted(before, after, group):
    """By how much each statistic of the group has grown."""
    return {name: value - before[group].get(name, 0)
            for name, value in after.get(group, {}).items() if isinstance(value, int)}


def run_disk(bench, library, disk, tree, mode, delay_ms):
    """Hot lookups alone, and beside cold ones, of a daemon that has nothing in memory."""
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    duration_ms = bench.full(2000, 300)
    disk.delay_us = 0
    disk.forget()
    settings = {"daemon.workers": 1, "cold.mode": mode}
    with library.Daemon(disk.path, settings) as daemon, tools.running(
            load_command(bench, "mixed", daemon, tree, HOT_KEYS), **pipes) as load:
        ask(load, "")
        disk.delay_us = round(delay_ms * 1000)
        alone = ask(load, f"{duration_ms // 2} 0 1")
        before, reads = daemon.stats(), disk.reads
        both = ask(load, f"{duration_ms} {COLD_CONNECTIONS} {COLD_IN_FLIGHT}")
        after = daemon.stats()
        disk.delay_us = 0
    return {
        "alone": alone["hot"], **both, "reads": disk.reads - reads,
        "loop": counted(before, after, "loop"), "cold_lookups": counted(before, after, "cold"),
    }


def disk_row(delay_ms, mode, rounds):
    row = {"delay_ms": delay_ms, "mode": mode}
    row["hot_n"] = median_of(rounds, lambda one: one["hot"]["n"] / one["seconds"])
    for name in ("p99_us", "any_p99_us"):
        row["alone_" + name] = median_of(rounds, lambda one: one["alone"][name])
    for name in (*LATENCIES, "any_p99_us"):
        row["hot_" + name] = median_of(rounds, lambda one: one["hot"][name])
    row["cold_n"] = median_of(rounds, lambda one: one["cold"]["n"] / one["seconds"])
    for name in LATENCIES[:2]:
        row["cold_" + name] = median_of(rounds, lambda one: one["cold"][name])
    row["reads"] = median_of(rounds, lambda one: one["reads"])
    for name in ("major_faults", "switches"):
        if name in rounds[0]["loop"]:
            row[name] = median_of(rounds, lambda one: one["loop"][name])
    return row


def has_cold_mode(bench):
    defaults = subprocess.run([bench.options.tool("daemon/actd"), "--print-defaults"], check=True,
                              capture_output=True, text=True).stdout
    return re.search(r"^\[cold\]$[^[]*^#mode = ", defaults, re.M) is not None


def inline_over_offload(rounds, delay_ms):
    return statistics.median(
        one[(delay_ms, "inline")]["hot"]["any_p99_us"]
        / one[(delay_ms, "offload")]["hot"]["any_p99_us"] for one in rounds)


def measure_disk(bench):
    library = test_library(bench)
    if not has_cold_mode(bench):
        raise tools.Unmeasured("this build has no cold.mode")
    delays = bench.full(DELAYS_MS, DELAYS_MS[1:3])
    tree = bench.tree(bench.full(512, 16) * MB)
    rounds = []
    for number in bench.rounds:
        tools.say(f"disk: round {number}")
        with slow_disk_on(tree) as disk:
            rounds.append({(delay, mode): run_disk(bench, library, disk, tree, mode, delay)
                           for delay in delays for mode in MODES})
    rows = [disk_row(*key, [one[key] for one in rounds]) for key in rounds[0]]
    notes = [f"With a disk of {delay} ms the p99 of any time is "
             f"{inline_over_offload(rounds, delay):,.0f} times as long inline as it is offloaded."
             for delay in delays]
    return {
        "title": "answers from memory beside a slow disk",
        "measured": f"actd with one worker; its file of {tree.n_bytes / MB:.0f} MB lies on a disk "
                    "(FUSE) where every read takes that long, and is not in memory. "
                    f"{COLD_CONNECTIONS} connections with {COLD_IN_FLIGHT} requests in flight on "
                    "each ask for keys all over the file (cold). Another one asks for "
                    f"{HOT_KEYS} keys that are in memory (hot), one request at a time, as fast as "
                    "it can, and so meets each standstill once, however long; any time: what "
                    "somebody waits who comes at any time. alone: without the cold ones. Reads, "
                    "major faults and switches: while both were at work, of the disk and of the "
                    "worker's loop.",
        "columns": [("delay_ms", "disk ms", "g"), ("mode", "cold.mode", ""),
                    ("alone_p99_us", "hot p99 us, alone", ",.1f"),
                    ("alone_any_p99_us", "any time, alone", ",.1f"),
                    ("hot_p50_us", "hot p50 us", ",.1f"), ("hot_p99_us", "p99 us", ",.1f"),
                    ("hot_p999_us", "p99.9 us", ",.1f"), ("hot_max_us", "max us", ",.0f"),
                    ("hot_any_p99_us", "p99 us, any time", ",.1f"), ("hot_n", "hot/s", ",.0f"),
                    ("cold_p50_us", "cold p50 us", ",.0f"), ("cold_p99_us", "cold p99 us", ",.0f"),
                    ("cold_n", "cold/s", ",.0f"), ("reads", "reads", ",.0f"),
                    ("major_faults", "major faults", ",.0f"), ("switches", "switches", ",.0f")],
        "rows": rows,
        "notes": notes,
        "rounds": [{"delay_ms": delay, "mode": mode, **figures} for one in rounds
                   for (delay, mode), figures in one.items()],
    }


def smaps_bytes(pid, path=None):
    """{Rss, Pss, Private} of a process, or of its mappings of that file only."""
    sums, counts = {"Rss": 0, "Pss": 0, "Private": 0}, path is None
    with open(f"/proc/{pid}/smaps" if path else f"/proc/{pid}/smaps_rollup") as lines:
        for line in lines:
            name, _, rest = line.partition(":")
            if path and " " in name:  # the first line of a mapping
                counts = line.rstrip().endswith(" " + path)
            elif counts and rest.endswith("kB\n"):
                for of in sums:
                    if name == of or (of == "Private" and name.startswith("Private_")):
                        sums[of] += int(rest.split()[0]) * 1024
    return sums


def added(dictionaries):
    dictionaries = list(dictionaries)
    return {key: sum(each[key] for each in dictionaries) for key in dictionaries[0]}


def mapped_memory(bench, library, tree, n):
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    with library.Daemon(tree.path, {"daemon.workers": n}) as daemon, tools.running(
            load_command(bench, "touch", daemon, tree, TOUCH_STEP, n), **pipes) as load:
        ask(load, "")
        pids = daemon.worker_pids()
        return {"mapping": added(smaps_bytes(pid, tree.path) for pid in pids),
                "all": added(smaps_bytes(pid) for pid in pids)}


def loaded_memory(bench, tree, n):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(tools.running(
            [bench.options.tool("bench/pages_probe"), "load", tree.path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)) for _ in range(n)]
        for probe in probes:
            if not probe.stdout.readline():
                raise tools.Failed("pages_probe cannot read the tree into memory")
        return added(smaps_bytes(probe.pid) for probe in probes)


def measure_memory(bench):
    library = test_library(bench)
    workers = bench.full(WORKERS, (1, 2, 4))
    tree = bench.tree(bench.full(256, 16) * MB)
    needed = (workers[-1] + 1) * tree.n_bytes + tools.RESERVE_BYTES
    if tools.available_bytes() < needed:
        raise tools.Unmeasured(f"needs {needed / 1e9:.0f} GB of free memory")
    bench.probe("scan", tree.path, "normal", "warm")
    rows = []
    for n in workers:
        mapped, loaded = mapped_memory(bench, library, tree, n), loaded_memory(bench, tree, n)
        rows.append({
            "workers": n, "mapped_pss_mb": mapped["mapping"]["Pss"] / MB,
            "mapped_rss_mb": mapped["mapping"]["Rss"] / MB,
            "workers_pss_mb": mapped["all"]["Pss"] / MB, "loaded_pss_mb": loaded["Pss"] / MB,
            "loaded_private_mb": loaded["Private"] / MB,
            "ratio": loaded["Pss"] / mapped["all"]["Pss"],
        })
    return {
        "title": "memory of several workers",
        "measured": f"A tree of {tree.n_bytes / MB:.0f} MB. mapped: actd with so many workers, "
                    "each of which has been asked for keys on every page: the sum over the workers "
                    "of Pss (where a page that n processes share counts as 1/n for each) and of "
                    "Rss (where it counts in full for each), and Pss of all that the workers have. "
                    "loaded: as many processes that each have read the file into memory of their "
                    "own, Pss and what is private to them. One round, as it hardly varies. MB are "
                    "10^6 bytes.",
        "columns": [("workers", "workers", ""), ("mapped_pss_mb", "mapping, Pss MB", ",.0f"),
                    ("mapped_rss_mb", "mapping, Rss MB", ",.0f"),
                    ("workers_pss_mb", "workers, Pss MB", ",.0f"),
                    ("loaded_pss_mb", "loaded, Pss MB", ",.0f"),
                    ("loaded_private_mb", "loaded, private MB", ",.0f"),
                    ("ratio", "loaded / workers", ",.1f")],
        "rows": rows,
    }
