"""actctl warm: what it reads, as a disk counts it, and what is in memory then, by mincore.

The kernel may take pages back at any moment, so what must be in memory is tried some times; what
must not have been read is held against the disk's counts.
"""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from lib import actctl, profile_writer
from lib.cold import build
from lib.slow_disk import LoopDisk, SlowDisk, forget, residency
from lib.waiting import Clock, eventually

PAGE = 4096
NOBODY = 65534
MODES = ("read", "willneed", "traverse")
# What opening a tree reads of it, at both ends.
OPEN_PAGES = 4


@pytest.fixture(scope="module")
def directory():
    """On a disk, and where others may look, too."""
    with tempfile.TemporaryDirectory(prefix="actctl-", dir="/var/tmp") as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


@pytest.fixture(scope="module")
def tree(directory):
    made = build(directory / "tree.act", 300_000)
    with open(made.path, "r+b") as file:
        os.fsync(file.fileno())
    assert pages_of(made.path) > 500
    return made


def pages_of(path):
    return -(-os.stat(path).st_size // PAGE)


def told(text):
    """(bytes, per cent before, after) of the one line, or of the last one."""
    line = text.decode().splitlines()[-1]
    match = re.fullmatch(
        r"(?P<path>.*): (?P<bytes>[\d,]+) bytes (?:read|asked for), \d+\.\d\d s(?:, [\d.]+ MB/s)?"
        r", in memory (?P<before>[\d.]+)% -> (?P<after>[\d.]+)%",
        line,
    )
    assert match, line
    return int(match["bytes"].replace(",", "")), float(match["before"]), float(match["after"])


def warm(*args, **options):
    return actctl.output("warm", *args, **options)


def until_kept(path, pages, *args):
    """Warms what was dropped, until these pages, all of them, are in memory together."""

    def look():
        # What was only asked for comes later: it is asked for again, and not dropped.
        if "--mode=willneed" not in args:
            forget(path)
        warm(path, *args)
        there = residency(path)
        return all(there[page] for page in pages) and there

    forget(path)
    return eventually(look, "the kernel to keep what was read")


def resident(path):
    return sum(residency(path))


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_brings_all_of_it_in(tree, mode):
    until_kept(tree.path, range(pages_of(tree.path)), f"--mode={mode}")
    forget(tree.path)
    size, before, after = told(warm(tree.path, f"--mode={mode}"))
    assert size == tree.path.stat().st_size
    assert before < 50
    if mode != "willneed":
        assert after > 50


def test_it_reads_without_being_told_how(tree):
    forget(tree.path)
    result = json.loads(warm(tree.path, "--json"))
    size = tree.path.stat().st_size
    assert result.pop("seconds") >= 0
    assert result.pop("resident_pages_before") < 10
    assert result.pop("resident_pages_after") > pages_of(tree.path) // 2
    assert result == {
        "file": str(tree.path),
        "mode": "read",
        "size_bytes": size,
        "done_bytes": size,
        "total_bytes": size,
        "max_bytes": None,
        "is_cut": False,
        "page_bytes": PAGE,
    }


@pytest.mark.parametrize("mode", MODES)
def test_a_limit_is_kept(directory, tree, mode):
    n = pages_of(tree.path) // 3
    with LoopDisk(tempfile.mkdtemp(dir=directory), [tree.path]) as loop:
        path = loop.path(tree.path.name)
        loop.forget(tree.path.name)
        loop.disk.reset_counts()
        warm(path, f"--mode={mode}", f"--max-bytes={n * PAGE + 1000}")
        eventually(lambda: loop.disk.bytes >= n * PAGE, "the disk")
        assert resident(path) <= n + OPEN_PAGES
        # Blocks of this file, and of what the file system reads to find them.
        assert loop.disk.bytes <= (n + OPEN_PAGES + 16) * PAGE
    if mode != "traverse":
        there = until_kept(tree.path, range(n), f"--mode={mode}", f"--max-bytes={n * PAGE}")
        assert sum(there[n:]) <= OPEN_PAGES


def test_the_top_of_a_tree_is_there_first(directory, tree):
    """With a quarter of the file in memory, what leads to the third byte of any key is."""
    prefixes = sorted({key[:3].decode() for key in tree.keys})
    reads = {}
    with SlowDisk(tempfile.mkdtemp(dir=directory), tree.path) as disk:

        def look():
            for mode in ("read", "traverse"):
                disk.forget()
                warm(disk.path, f"--mode={mode}", f"--max-bytes={pages_of(tree.path) // 4 * PAGE}")
                disk.reset_counts()
                actctl.run("get", "-f", disk.path, *prefixes, status=1)
                reads[mode] = disk.reads
            return reads["traverse"] <= OPEN_PAGES < reads["read"]

        eventually(look, "the top of the tree to be there, and not of the file")


def test_each_page_is_read_once(directory, tree):
    with SlowDisk(tempfile.mkdtemp(dir=directory), tree.path) as disk:
        for mode in MODES:

            def look(mode=mode):
                disk.forget()
                disk.reset_counts()
                warm(disk.path, f"--mode={mode}")
                eventually(lambda: all(disk.reads_of_pages()), "the disk")
                return max(disk.reads_of_pages()) == 1

            eventually(look, f"each page to be read once: {mode}")


def write_profile(path, tree_path, pages, **other):
    path.write_bytes(profile_writer.encode(tree_path, 5, sorted(pages), **other))
    return path


def test_a_profile_brings_back_its_pages_and_nothing_else(directory, tree):
    rng = random.Random(8)
    pages = sorted(rng.sample(range(pages_of(tree.path)), 150))
    profile = write_profile(directory / "some.profile", tree.path, pages)
    until_kept(tree.path, pages, f"--profile={profile}")
    here = pathlib.Path(tempfile.mkdtemp(dir=directory))
    with SlowDisk(here, tree.path) as disk:
        disk.delay_us = 1000
        disk.forget()
        disk.reset_counts()
        result = json.loads(warm(disk.path, f"--profile={profile}", "--json"))
        assert result["mode"] == "profile"
        assert PAGE * (len(pages) - 1) < result["done_bytes"] <= PAGE * len(pages)
        counts = disk.reads_of_pages()
        assert max(counts) == 1 and all(counts[page] for page in pages)
        assert sum(counts) <= len(pages) + OPEN_PAGES
        assert disk.most_in_flight > 8  # they did not come one after the other
        # A limit counts here, too.
        disk.forget()
        disk.reset_counts()
        warm(disk.path, f"--profile={profile}", f"--max-bytes={20 * PAGE}")
        assert 20 <= sum(disk.reads_of_pages()) <= 20 + OPEN_PAGES
    none = write_profile(directory / "none.profile", tree.path, [])
    assert told(warm(tree.path, f"--profile={none}"))[0] == 0


def test_a_wrong_profile_is_refused(directory, tree):
    good = write_profile(directory / "good.profile", tree.path, range(9))
    foreign = write_profile(directory / "foreign.profile", tree.path, [1], size_bytes=PAGE * 7)
    older = write_profile(directory / "older.profile", tree.path, [1], root_offset=17)
    broken = directory / "broken.profile"
    broken.write_bytes(good.read_bytes()[:-1])
    for path, status in ((foreign, 2), (older, 2), (broken, 2), (tree.path, 2),
                         (directory / "missing.profile", 3), (directory, 2)):
        assert str(path) in actctl.error("warm", tree.path, f"--profile={path}", status=status)


def test_a_rate_is_kept(tree):
    size = tree.path.stat().st_size
    for mode in MODES:
        forget(tree.path)
        rate = size * 2  # half a second
        result = json.loads(warm(tree.path, f"--mode={mode}", f"--rate={rate}", "--json"))
        assert result["done_bytes"] == size
        # The first piece and the last one cost no time: 100 ms worth each.
        assert result["seconds"] >= (size - 0.25 * rate) / rate


@pytest.mark.parametrize(
    "args, reason",
    [
        (["--mode=restore"], "--mode takes read, willneed or traverse"),
        (["--mode="], "--mode takes"),
        (["--max-bytes=0"], "--max-bytes takes a size from 4K on"),
        (["--max-bytes=4095"], "--max-bytes takes a size from 4K on"),
        (["--max-bytes=1P"], "--max-bytes takes a size"),
        (["--max-bytes=99999999T"], "--max-bytes takes a size"),
        (["--rate=0"], "--rate takes bytes a second"),
        (["--rate=-1"], "--rate takes bytes a second"),
        (["--mode=read", "--profile=x"], "--mode: --profile is a mode of its own"),
        (["--memory=8M"], "--memory: warm does not take this option"),
    ],
)
def test_what_makes_no_sense_is_refused(tree, args, reason):
    assert reason in actctl.error("warm", tree.path, *args, status=2)


def test_files_that_are_no_trees_are_refused(directory, tree):
    assert "too few arguments" in actctl.error("warm", status=2)
    assert "too many arguments" in actctl.error("warm", tree.path, tree.path, status=2)
    missing = directory / "missing.act"
    assert str(missing) in actctl.error("warm", missing, status=3)
    assert str(directory) in actctl.error("warm", directory, status=3)
    for content in (b"", b"x" * 100, b"ACTree03"):
        path = directory / "other.act"
        path.write_bytes(content)
        assert str(path) in actctl.error("warm", path, status=1)
    fifo = directory / "fifo.act"
    os.mkfifo(fifo)
    assert str(fifo) in actctl.error("warm", fifo, status=3)


def test_a_damaged_tree_is_read_and_told(directory, tree):
    path = directory / "damaged.act"
    content = bytearray(tree.path.read_bytes())
    root = int.from_bytes(content[8:16], "little")
    content[root - 3000 : root] = b"\xff" * 3000
    path.write_bytes(content)
    for mode, status in (("read", 0), ("traverse", 1)):
        result = actctl.run("warm", path, f"--mode={mode}", status=status)
        assert told(result.stdout)[0] == len(content)
        assert (b"damaged" in result.stderr) == (status == 1)
        if status:
            assert str(path).encode() in result.stderr and b"actctl verify" in result.stderr


def start(*args):
    return actctl.start("warm", *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE)


def finish(process):
    stdout, stderr = process.communicate(timeout=Clock().left("actctl"))
    return process.returncode, stdout, stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("args", [["--rate=10"], ["--mode=traverse", "--rate=10"]])
def test_a_signal_ends_it_with_a_word(tree, number, args):
    """At that rate it would take weeks."""
    forget(tree.path)
    process = start(tree.path, *args)
    eventually(lambda: resident(tree.path) > 0, "the first page")
    process.send_signal(number)
    status, stdout, stderr = finish(process)
    # It may have come before the command was ready for it: then there is no word.
    assert status == -number and stdout == b""
    if stderr:
        total = f"{tree.path.stat().st_size:,}"
        wanted = rf"actctl: {re.escape(str(tree.path))}: interrupted: after [\d,]+ of {total} bytes"
        assert re.fullmatch(wanted, stderr.strip()), stderr


def test_a_signal_ends_it_while_the_disk_is_slow(directory, tree):
    with SlowDisk(tempfile.mkdtemp(dir=directory), tree.path) as disk:
        warm(disk.path, "--max-bytes=4K")  # what opening reads
        disk.delay_us = 20_000
        process = start(disk.path, "--json")
        eventually(lambda: disk.reads > 20, "it to read")
        process.send_signal(signal.SIGINT)
        status, stdout, stderr = finish(process)
        result = json.loads(stdout)
        assert status == -signal.SIGINT
        assert result["error"] == "interrupted" and "interrupted" in stderr
        assert 0 < result["done_bytes"] < result["total_bytes"]
        # On one that hangs the first signal waits for the disk, and the second one does not.
        disk.forget()
        disk.hang()
        process = start(disk.path)
        eventually(lambda: disk.reads_in_flight > 0, "it to read")

        def is_gone():
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        eventually(is_gone, "it to end")
        assert finish(process)[0] == -signal.SIGINT
        disk.go_on()


def open_pages(path):
    """Reads what opening a tree reads."""
    with open(path, "rb") as file:
        for page in {0, 1, pages_of(path) - 2, pages_of(path) - 1}:
            os.pread(file.fileno(), 1, page * PAGE)


@pytest.mark.parametrize("mode", ["read", "traverse"])
def test_a_disk_that_fails_is_told(directory, tree, mode):
    with SlowDisk(tempfile.mkdtemp(dir=directory), tree.path) as disk:
        open_pages(disk.path)
        disk.fail()
        told_why = actctl.error("warm", disk.path, f"--mode={mode}", status=3)
        assert told_why.startswith(f"{disk.path}: cannot be read: Input/output error: is its disk ")
        assert re.search(r": after [\d,]+ of [\d,]+ bytes$", told_why)
        disk.go_on()
        forget(disk.path)
        disk.fail()
        assert str(disk.path) in actctl.error("warm", disk.path, status=3)
        disk.go_on()
        assert told(warm(disk.path, f"--mode={mode}"))[0] == tree.path.stat().st_size


@contextlib.contextmanager
def little_memory(directory, n_bytes):
    """A command's beginning, below which the machine seems to have so much memory available."""
    if not actctl.is_root() or not shutil.which("unshare"):
        pytest.skip("needs root and unshare")
    fake = directory / "meminfo"
    fake.write_text(f"MemTotal: 99 kB\nMemAvailable: {n_bytes // 1024} kB\n")
    yield ["unshare", "--mount", "sh", "-c",
           f'mount --bind {fake} /proc/meminfo && exec "$0" "$@"', actctl.ACTCTL]


def test_no_more_is_read_than_memory_has_room_for(directory, tree):
    n = pages_of(tree.path) // 4
    forget(tree.path)
    with little_memory(directory, n * PAGE) as command:

        def run(*args):
            done = subprocess.run([*command, "warm", tree.path, *args], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, check=True, timeout=Clock().left("it"))
            return done.stdout

        lines = run().splitlines()
        assert len(lines) == 2 and told(lines[1])[0] == n * PAGE
        limit = f"{tree.path}: not more than {n * PAGE:,} bytes: memory has no room for all of it"
        assert lines[0].decode().startswith(limit) and b"--max-bytes" in lines[0]
        assert resident(tree.path) <= n + OPEN_PAGES
        result = json.loads(run("--json"))
        assert result["is_cut"] and result["max_bytes"] == result["done_bytes"] == n * PAGE
        # Who says a limit means it.
        assert told(run("--max-bytes=1T"))[0] == tree.path.stat().st_size


@pytest.mark.skipif(not actctl.is_root(), reason="only root can become somebody else")
def test_a_stranger_may_warm_and_is_not_told_what_is_there(directory, tree):
    program = directory / "actctl"
    shutil.copy(actctl.ACTCTL, program)
    tree.path.chmod(0o644)
    result = actctl.run("warm", tree.path, executable=program, user=NOBODY, group=NOBODY,
                        extra_groups=[])
    assert b" bytes read, " in result.stdout and b"in memory" not in result.stdout
