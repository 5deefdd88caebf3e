"""The section of bench/pages that measures how long a daemon is slow after a restart."""
import contextlib
import os
import subprocess
import tempfile
import time

import pages_tools as tools
from pages_processes import ask, load_command, slow_disk_on, test_library
from pages_tools import MB, median_of

MODES = ("none", "restore")
DELAYS_MS = (0, 0.1, 1)
CONNECTIONS, IN_FLIGHT = 4, 1
# The working set: the keys of one block in five. With the pages that only a part of is needed, the
# tree is some four times as large.
BLOCK_KEYS, EVERY = 32768, 5
WINDOW_MS = 100
# Warm is who answers as before, about: the p99 of so many windows in a row is at most so many times
# as long.
WARM_WINDOWS, WARM_FACTOR = 3, 2
# A round that is not warm by then has failed.
GIVE_UP_S = 120


def window(load):
    return ask(load, f"{WINDOW_MS} {CONNECTIONS} {IN_FLIGHT}")["part"]


def part_load(bench, daemon, tree):
    return tools.running(load_command(bench, "part", daemon, tree, BLOCK_KEYS, EVERY),
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Disk:
    """The machine's own, with what the section asks of a slow one."""
    delay_us = 0

    def __init__(self, tree):
        self.path = tree.path

    def forget(self):
        from lib import slow_disk
        slow_disk.forget(self.path)

    def resident_pages(self):
        from lib import slow_disk
        return sum(slow_disk.residency(self.path))


@contextlib.contextmanager
def disk_of(tree, delay_ms):
    if delay_ms == 0:
        yield Disk(tree)
        return
    with slow_disk_on(tree) as disk:
        yield disk


def settle(load, daemon):
    """Until the whole working set is in memory: the p99 then, in us."""
    end = time.monotonic() + GIVE_UP_S
    calm = []
    while len(calm) < 10:
        before = daemon.stats()["cold"]["pages_read"]
        seen = window(load)
        is_calm = daemon.stats()["cold"]["pages_read"] - before <= seen["n"] / 1000
        calm = [*calm, seen["p99_us"]] if is_calm else []
        if time.monotonic() > end:
            raise tools.Unmeasured("the working set does not come to rest in memory: is memory "
                                   "short?")
    return sorted(calm)[len(calm) // 2]


def seconds_to_warm(load, began, warm_us):
    """From `began` to the first of the windows that are warm; and (seconds, p99 in us) of all."""
    series, n_warm = [], 0
    while n_warm < WARM_WINDOWS:
        start = time.monotonic() - began
        if start > GIVE_UP_S:
            raise tools.Unmeasured(f"not warm after {GIVE_UP_S} s")
        series.append((start, window(load)["p99_us"]))
        n_warm = n_warm + 1 if series[-1][1] <= WARM_FACTOR * warm_us else 0
    return series[-WARM_WINDOWS][0], series


def save(bench, library, disk, tree, profile):
    """Asks until all is in memory, and stops: (p99 then, bytes of the file in memory)."""
    disk.delay_us = 0
    disk.forget()
    settings = {"daemon.workers": 1, "warmup.profile": profile}
    with library.Daemon(disk.path, settings) as daemon, part_load(bench, daemon, tree) as load:
        warm_us = settle(load, daemon)
        n_bytes = disk.resident_pages() * tools.PAGE_BYTES
        daemon.stop()
    if not os.path.exists(profile):
        raise tools.Failed("actd has saved no profile")
    return warm_us, n_bytes


def restart(bench, library, disk, tree, mode, delay_ms, profile, warm_us):
    """The kernel has forgotten the file, and the daemon is started again."""
    disk.forget()
    disk.delay_us = round(delay_ms * 1000)
    settings = {"daemon.workers": 1, "warmup.mode": mode, "warmup.ready": "before"}
    if mode == "restore":
        settings["warmup.profile"] = profile
    began = time.monotonic()
    with library.Daemon(disk.path, settings) as daemon, part_load(bench, daemon, tree) as load:
        answering = time.monotonic() - began
        seconds, series = seconds_to_warm(load, began, warm_us)
        stats = daemon.stats()
        disk.delay_us = 0
    return {"seconds": seconds, "series": series, "answering": answering, "warm_us": warm_us,
            "cold_pages": stats["cold"]["pages_read"],
            "restored_bytes": stats["warmup"]["read_bytes"]}


def run_round(bench, library, tree, delay_ms, directory):
    profile = os.path.join(directory, "warm.profile")
    with disk_of(tree, delay_ms) as disk:
        warm_us, n_bytes = save(bench, library, disk, tree, profile)
        return {mode: {**restart(bench, library, disk, tree, mode, delay_ms, profile, warm_us),
                       "working_set_bytes": n_bytes} for mode in MODES}


def measure_restart(bench):
    library = test_library(bench)
    delays = bench.full(DELAYS_MS, DELAYS_MS[:1])
    tree = bench.tree(bench.full(512, 16) * MB)
    rounds = []
    with tempfile.TemporaryDirectory(prefix="actd-bench-") as directory:
        for number in bench.rounds:
            tools.say(f"restart: round {number}")
            rounds.append({(delay, mode): seen for delay in delays for mode, seen in
                           run_round(bench, library, tree, delay, directory).items()})
    rows, notes = [], []
    for delay in delays:
        for mode in MODES:
            of = [one[delay, mode] for one in rounds]
            rows.append({"disk": f"{delay:g} ms" if delay else "own", "mode": mode,
                         **{name: median_of(of, lambda one, name=name: one[name])
                            for name in ("seconds", "answering", "warm_us", "cold_pages")},
                         "restored_mb": median_of(of, lambda one: one["restored_bytes"]) / MB,
                         "times": tree.n_bytes / median_of(
                             of, lambda one: one["working_set_bytes"])})
        share = median_of(rounds, lambda one, delay=delay: one[delay, "restore"]["seconds"]
                          / one[delay, "none"]["seconds"])
        name = f"a disk of {delay:g} ms" if delay else "the machine's own disk"
        notes.append(f"On {name}, with restore it takes {share:.2f} of the time that it takes "
                     "without.")
    return {
        "title": "how long a service is slow after a restart",
        "measured": f"actd with one worker and a file of {tree.n_bytes / MB:.0f} MB, of which one "
                    f"key in {EVERY} is asked for, in blocks of {BLOCK_KEYS} neighbours, at random "
                    f"on {CONNECTIONS} connections. When all of that is in memory it is stopped, "
                    "the kernel forgets the file, and it is started again, with warmup.mode none "
                    "or restore, and asked at once. seconds: from its start until the p99 of "
                    f"{WINDOW_MS} ms is at most {WARM_FACTOR} times what it was before, "
                    f"{WARM_WINDOWS} times in a row. Disks with a time are a file system (FUSE) "
                    "where every read takes that long; own: the one that the file lies on.",
        "columns": [("disk", "disk", ""), ("mode", "warmup.mode", ""),
                    ("times", "tree / working set", ",.1f"),
                    ("seconds", "s to warm p99", ",.2f"), ("answering", "s to answer", ",.2f"),
                    ("warm_us", "warm p99 us", ",.0f"),
                    ("cold_pages", "pages requests waited for", ",.0f"),
                    ("restored_mb", "MB restored", ",.1f")],
        "rows": rows,
        "notes": notes,
        "rounds": [{"delay_ms": delay, "mode": mode, **figures} for one in rounds
                   for (delay, mode), figures in one.items()],
    }
