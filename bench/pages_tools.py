"""What the sections of bench/pages share: the trees, the programs, the conditions, tables."""
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys

MB = 1000**2
# Free memory and disk that are left to others.
RESERVE_BYTES = 1000 * MB
# A file counts as cold or warm if no more of its pages are not so.
STRAY_PAGES = 0.01
PAGE_BYTES = os.sysconf("SC_PAGESIZE")
PROBE_TIMEOUT_S = 600


class Unmeasured(Exception):
    """Why a section cannot be measured here."""


class Failed(Exception):
    """What went wrong."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def size_text(n_bytes):
    return f"{n_bytes / 1000**3:g} GB" if n_bytes >= 1000**3 else f"{n_bytes / MB:g} MB"


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def median_of(rounds, take):
    return statistics.median(take(one) for one in rounds)


def available_bytes():
    with open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


class Tree:
    def __init__(self, path, n_asked, n_keys, n_bytes):
        self.path, self.n_keys = path, n_keys
        self.n_asked, self.n_bytes = n_asked, n_bytes  # the size that was asked for, and what it is

    def check_left(self, lines):
        """Were all samples taken with the file in the state that they are for?"""
        left = max(line["left"] for line in lines)
        if left > STRAY_PAGES * self.n_bytes / PAGE_BYTES:
            raise Unmeasured(f"{left} pages of {self.path} do not leave the page cache, or do not "
                             "stay there: is it a file system in memory (then choose another "
                             "--out), or is something using the file, or is memory short?")


@contextlib.contextmanager
def running(command, **more):
    """The program, as long as it is needed."""
    process = subprocess.Popen(command, text=True, **more)
    try:
        yield process
    finally:
        if process.stdin:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        if process.poll() is None:
            process.terminate()
        process.wait()


class Bench:
    def __init__(self, options):
        self.options = options
        self.data = os.path.join(options.out, "data")
        self.made = set()

    def __enter__(self):
        os.makedirs(self.data, exist_ok=True)
        return self

    def __exit__(self, *_):
        if self.options.keep:
            return
        for name in self.made:
            self.remove(os.path.join(self.data, name))
        with contextlib.suppress(OSError):
            os.rmdir(self.data)

    @property
    def rounds(self):
        return range(1, self.options.rounds + 1)

    def full(self, full, quick):
        """The one or the other, as --quick says."""
        return quick if self.options.quick else full

    def probe(self, *arguments):
        """All that pages_probe prints."""
        command = [self.options.tool("bench/pages_probe"), *map(str, arguments)]
        with running(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                     stdin=subprocess.DEVNULL) as process:
            try:
                text, errors = process.communicate(timeout=PROBE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise Failed(f"{' '.join(command)} takes too long") from None
        if process.returncode != 0:
            raise Failed(f"pages_probe failed: {errors.strip() or process.returncode}")
        return [json.loads(line) for line in text.splitlines()]

    def tree(self, n_bytes, value_bytes=0):
        """A tree of about that size: numbers, or byte strings of that length."""
        n_bytes = min(n_bytes, self.options.max_bytes)
        name = f"{'strings' if value_bytes else 'numbers'}-{n_bytes // MB}M"
        path = os.path.join(self.data, name + ".act")
        facts = os.path.join(self.data, name + ".json")
        self.made |= {name + ".act", name + ".json"}
        if not (os.path.exists(path) and os.path.exists(facts)):
            free = shutil.disk_usage(self.data).free
            if free < n_bytes * 1.1 + RESERVE_BYTES:
                raise Unmeasured(f"{self.data} has only {size_text(free // MB * MB)} left")
            say(f"making a tree of {size_text(n_bytes)}")
            made = self.probe("make", path, n_bytes, value_bytes)[0]
            with open(facts, "w") as out:
                json.dump(made, out)
        with open(facts) as lines:
            made = json.load(lines)
        return Tree(path, n_bytes, made["keys"], made["bytes"])

    def remove(self, path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def forget(self, tree):
        """One that the others do not need."""
        if not self.options.keep:
            self.remove(tree.path)
            self.remove(tree.path.removesuffix(".act") + ".json")

    def conditions(self):
        device = os.stat(self.data).st_dev
        kind, read_ahead = "unknown", "unknown"
        number = f"{os.major(device)}:{os.minor(device)}"
        with open("/proc/self/mountinfo") as lines:
            for line in lines:
                words = line.split()
                if words[2] == number:
                    kind = words[words.index("-") + 1]
        with contextlib.suppress(OSError), open(f"/sys/class/bdi/{number}/read_ahead_kb") as file:
            read_ahead = file.read().strip()
        memory = os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES / 2**30
        return (f"Linux {os.uname().release}, {os.cpu_count()} CPUs, {memory:.0f} GiB; "
                f"files on {kind}, read_ahead_kb {read_ahead}; pages of {PAGE_BYTES} bytes; "
                f"{self.options.rounds} round{'s' * (self.options.rounds > 1)}"
                + (" (--quick: the figures mean nothing)" if self.options.quick else ""))


def cell(row, key, form):
    value = row.get(key)
    if value is None:
        return ""
    return value if isinstance(value, str) else format(value, form)


def print_table(name, result, conditions):
    """Markdown. result: title, measured, columns [(key, head, format)], rows, notes."""
    columns = result["columns"]
    lines = [[head for _, head, _ in columns]]
    lines += [[cell(row, key, form) for key, _, form in columns] for row in result["rows"]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    is_text = [isinstance(result["rows"][0].get(key), str) for key, _, _ in columns]
    print(f"## {name}: {result['title']}\n\n{result['measured']}\n({conditions})\n")
    for number, line in enumerate(lines):
        cells = [text.ljust(width) if left else text.rjust(width)
                 for text, width, left in zip(line, widths, is_text)]
        print("| " + " | ".join(cells) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 1) + ("-" if left else ":")
                                 for width, left in zip(widths, is_text)) + "|")
    for note in result.get("notes", []):
        print(f"\n{note}")
    print(flush=True)
