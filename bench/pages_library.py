"""The sections of bench/pages that need no daemon: a program with libact (pages_probe.c)."""
import statistics

import pages_tools as tools
from pages_tools import MB, median_of, percentile

ASKED = ("first", "second", "third")
PATTERNS = ("sorted", "random", "clustered", "batched")
ADVICES = ("random", "normal", "sequential")
OPEN_BYTES = (10 * MB, 100 * MB, 1000 * MB, 10000 * MB)
STRING_BYTES = 1000
# Larger files are measured once: reading them takes that long.
ROUNDS_BYTES = 2000 * MB


def first_of(lines, index):
    """One round's figures of the first, second or third time."""
    costs = [line["asked"][index] for line in lines]
    return {
        "p50_us": percentile([cost["ns"] for cost in costs], 0.5) / 1000,
        "p99_us": percentile([cost["ns"] for cost in costs], 0.99) / 1000,
        "major": statistics.mean(cost["major"] for cost in costs),
        "minor": statistics.mean(cost["minor"] for cost in costs),
    }


def measure_first(bench):
    tree = bench.tree(bench.full(512, 16) * MB)
    count = bench.full(300, 50)
    rounds = [bench.probe("first", tree.path, tree.n_keys, count, seed) for seed in bench.rounds]
    tree.check_left([line for lines in rounds for line in lines])
    figures = [[first_of(lines, index) for lines in rounds] for index in range(len(ASKED))]
    rows = []
    for index, name in enumerate(ASKED):
        row = {key: median_of(figures[index], lambda one: one[key]) for key in figures[index][0]}
        row["ratio"] = statistics.median(one["p50_us"] / second["p50_us"]
                                         for one, second in zip(figures[index], figures[1]))
        rows.append({"asked": name, **row})
    samples = {name: [line["asked"][index]["ns"] / 1000 for lines in rounds for line in lines]
               for index, name in enumerate(ASKED)}
    return {
        "title": "the same key three times, from a file that is not in memory",
        "measured": f"{count} random keys a round of a tree of {tree.n_bytes / MB:.0f} MB "
                    f"({tree.n_keys:,} keys). For each key the file is dropped from the page cache "
                    "(mincore has looked), opened, and asked three times. Time and page faults of "
                    "the thread, a lookup.",
        "columns": [("asked", "asked", ""), ("p50_us", "p50 us", ",.2f"),
                    ("p99_us", "p99 us", ",.2f"), ("major", "major faults", ".2f"),
                    ("minor", "minor faults", ".2f"), ("ratio", "times the second (p50)", ",.1f")],
        "rows": rows,
        "samples_us": samples,
    }


def measure_access(bench):
    tree = bench.tree(bench.full(512, 16) * MB)
    count = bench.full(10000, 1000)
    rounds = [{pattern: bench.probe("access", tree.path, tree.n_keys, pattern, count, seed)[0]
               for pattern in PATTERNS} for seed in bench.rounds]
    tree.check_left([line for one in rounds for line in one.values()])
    rows = []
    for pattern in PATTERNS:
        times = [one[pattern]["cost"]["ns"] / 1000 / count for one in rounds]
        rows.append({
            "pattern": pattern, "us": statistics.median(times),
            "spread": f"{min(times):.2f}..{max(times):.2f}",
            "major": median_of(rounds, lambda one: one[pattern]["cost"]["major"] / count),
            "minor": median_of(rounds, lambda one: one[pattern]["cost"]["minor"] / count),
            "pages": median_of(rounds, lambda one: one[pattern]["read"]),
            "ratio": median_of(rounds, lambda one: one[pattern]["cost"]["ns"]
                               / one["random"]["cost"]["ns"]),
        })
    return {
        "title": "the order of lookups, in a file that is not in memory",
        "measured": f"{count:,} lookups of a tree of {tree.n_bytes / MB:.0f} MB, which is dropped "
                    "from the page cache before each row: random keys, in their order (sorted) or "
                    "not (random); 64 neighbours at a time (clustered); act_get_batch of 64 random "
                    "keys (batched). Time and page faults a lookup; pages: read from the disk.",
        "columns": [("pattern", "order", ""), ("us", "us a lookup", ".2f"),
                    ("spread", "least..most", ""), ("major", "major faults", ".3f"),
                    ("minor", "minor faults", ".3f"), ("pages", "pages", ",.0f"),
                    ("ratio", "times random", ".2f")],
        "rows": rows,
    }


def measure_scan(bench):
    tree = bench.tree(bench.full(256, 16) * MB)
    rounds = [{(state, advice): bench.probe("scan", tree.path, advice, state)[0]
               for state in ("cold", "warm") for advice in ADVICES} for _ in bench.rounds]
    tree.check_left([line for one in rounds for line in one.values()])
    rows = []
    for key in rounds[0]:
        state, advice = key
        rows.append({
            "state": state, "advice": advice,
            "mb_per_s": median_of(rounds, lambda one: tree.n_bytes * 1000 / one[key]["cost"]["ns"]),
            "entries": median_of(rounds, lambda one: one[key]["entries"] * 1000
                                 / one[key]["cost"]["ns"]),
            "major": median_of(rounds, lambda one: one[key]["cost"]["major"]),
            "minor": median_of(rounds, lambda one: one[key]["cost"]["minor"]),
            "ratio": median_of(rounds, lambda one: one[(state, "random")]["cost"]["ns"]
                               / one[key]["cost"]["ns"]),
        })
    return {
        "title": "all entries in order",
        "measured": f"A cursor from the first to the last of {rounds[0][key]['entries']:,} entries "
                    f"({tree.n_bytes / MB:.0f} MB), cold (dropped from the page cache) and warm, "
                    "with the mapping advised so by madvise; random is what the library gives. "
                    "Page faults of the whole scan.",
        "columns": [("state", "file", ""), ("advice", "advice", ""), ("mb_per_s", "MB/s", ",.0f"),
                    ("entries", "million entries/s", ".1f"), ("major", "major faults", ",.0f"),
                    ("minor", "minor faults", ",.0f"), ("ratio", "times as fast as random", ".2f")],
        "rows": rows,
    }


def needed_bytes(tree, how, state):
    """What must be free: the copy, and beside it the file itself where it has to stay in memory."""
    copies = (how == "read") + (state == "warm")
    return copies * tree.n_bytes + tools.RESERVE_BYTES


def open_once(bench, tree, rounds, notes):
    """{(how, state): lines}, cold ones first, so that the file is read for the warm ones once."""
    lines = {}
    for state in ("cold", "warm"):
        for how in ("map", "read"):
            if tools.available_bytes() < needed_bytes(tree, how, state):
                notes.append(f"{tools.size_text(tree.n_asked)}, {how}, {state}: left "
                             f"out, since it needs {needed_bytes(tree, how, state) / 1e9:.0f} GB "
                             "of free memory.")
                continue
            one = [bench.probe("open", tree.path, tree.n_keys, how, state, seed)[0]
                   for seed in rounds]
            try:
                tree.check_left(one)
                lines[(how, state)] = one
            except tools.Unmeasured as reason:
                notes.append(f"{tools.size_text(tree.n_asked)}, {how}, {state}: left out, since "
                             f"{reason}")
    return lines


def open_row(tree, how, state, lines):
    """The times of one size, one way and one state; beside it how much faster mapping was."""
    def total(line):
        return line["open"]["ns"] + line["first"]["ns"]

    row = {
        "size": tools.size_text(tree.n_asked), "bytes": tree.n_bytes, "how": how, "state": state,
        "open_ms": median_of(lines[(how, state)], lambda line: line["open"]["ns"] / 1e6),
        "first_us": median_of(lines[(how, state)], lambda line: line["first"]["ns"] / 1000),
        "total_ms": median_of(lines[(how, state)], lambda line: total(line) / 1e6),
        "major": median_of(lines[(how, state)],
                           lambda line: line["open"]["major"] + line["first"]["major"]),
        "minor": median_of(lines[(how, state)],
                           lambda line: line["open"]["minor"] + line["first"]["minor"]),
        "rounds": len(lines[(how, state)]),
    }
    if ("map", state) in lines:
        row["ratio"] = statistics.median(total(a) / total(b) for a, b in zip(
            lines[(how, state)], lines[("map", state)]))
    return row


def measure_open(bench):
    sizes = sorted({min(n_bytes, bench.options.max_bytes) for n_bytes in OPEN_BYTES})
    rows, notes = [], []
    for n_bytes in sizes:
        tree = bench.tree(n_bytes, STRING_BYTES)
        rounds = bench.rounds if n_bytes <= ROUNDS_BYTES else [1]
        tools.say(f"opening {tools.size_text(n_bytes)}")
        lines = open_once(bench, tree, rounds, notes)
        rows += [open_row(tree, how, state, lines) for how, state in lines]
        bench.forget(tree)
    if not rows:
        raise tools.Unmeasured(notes[0])
    return {
        "title": "from nothing to the first answer",
        "measured": f"Trees with byte strings of {STRING_BYTES} bytes, written out in full. map: "
                    "act_open_path; read: the whole file into memory by read, and act_open_memory. "
                    "Then one random key, with the beginning of its string. cold: dropped from the "
                    "page cache before; warm: all of it there. Page faults of both steps.",
        "columns": [("size", "size", ""), ("state", "file", ""), ("how", "how", ""),
                    ("open_ms", "open ms", ",.3f"), ("first_us", "first lookup us", ",.1f"),
                    ("total_ms", "both ms", ",.3f"), ("major", "major faults", ",.0f"),
                    ("minor", "minor faults", ",.0f"), ("ratio", "times map", ",.0f"),
                    ("rounds", "rounds", "")],
        "rows": rows,
        "notes": notes,
    }
