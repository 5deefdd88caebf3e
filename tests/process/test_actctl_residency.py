"""actctl residency: how much of a file is in memory, against Debian's fincore and vmtouch; its map,
wide and narrow, in UTF-8 and without; and whom the kernel does not tell.

The kernel may take pages back at any moment, so what is compared is made anew until two looks at it
by somebody else, before and after, say the same.
"""

import json
import mmap
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from lib import actctl, paths
from lib.waiting import eventually

PAGE = 4096
NOBODY = 65534
SHADES = {"utf-8": " ░▒▓█", "ascii": " .:+#"}
# Nothing from outside decides how wide the map is.
NO_COLUMNS = {"COLUMNS": ""}


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"needs {program} (vmtouch, util-linux-extra)")


def need_disk(path):
    kind = subprocess.run(["stat", "-f", "-c", "%T", path], stdout=subprocess.PIPE, text=True)
    if kind.stdout.strip() in ("tmpfs", "ramfs", "overlayfs"):
        pytest.skip("needs a directory for temporary files that lies on a disk")


@pytest.fixture(scope="module")
def directory():
    """Where others may look, too."""
    with tempfile.TemporaryDirectory(prefix="actctl-", dir="/var/tmp") as name:
        os.chmod(name, 0o755)
        need_disk(name)
        yield pathlib.Path(name)


def build(path, n_keys):
    actctl.build(path, b"".join(b"%08d\t%d\n" % (i, i * i) for i in range(n_keys)), "--plain")
    path.chmod(0o644)
    with open(path, "r+b") as file:
        os.fsync(file.fileno())
    return path


@pytest.fixture(scope="module")
def small(directory):
    """Fewer than 1024 pages: a region is a page."""
    path = build(directory / "small.act", 200_000)
    assert 300 * PAGE < path.stat().st_size < 1024 * PAGE
    return path


@pytest.fixture(scope="module")
def large(directory):
    path = build(directory / "large.act", 2_000_000)
    assert path.stat().st_size > 2000 * PAGE
    return path


def pages_of(path):
    return -(-path.stat().st_size // PAGE)


def fill(path, pages):
    """Has these pages of the file in memory and no others."""
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for page in pages:
            assert os.pread(file.fileno(), 1, page * PAGE)


def some_pages(path):
    """A run at the start, a part here and there, nothing at the end."""
    n = pages_of(path)
    return [page for page in range(n * 3 // 4)
            if page < n // 5 or page % 7 == 0 or (page // 40 % 3 == 1 and page % 3 > 0)]


def fincore(path):
    """How many pages are in memory, by util-linux."""
    told = subprocess.run(["fincore", "--json", "--bytes", "--output", "PAGES,SIZE", path],
                          check=True, capture_output=True).stdout
    (row,) = json.loads(told)["fincore"]
    assert int(row["size"]) == path.stat().st_size
    return int(row["pages"])


def vmtouch(path):
    told = subprocess.run(["vmtouch", path], check=True, capture_output=True, text=True).stdout
    resident, total = re.search(r"Resident Pages: (\d+)/(\d+)", told).groups()
    assert int(total) == pages_of(path)
    return int(resident)


def ask(path):
    return json.loads(actctl.output("residency", "--json", path))


def agree(path, pages):
    """What actctl says of the file with these pages in memory, and nobody else otherwise."""

    def look():
        fill(path, pages)
        found, by_fincore, by_vmtouch = ask(path), fincore(path), vmtouch(path)
        is_same = sum(found["regions"]) == len(pages)
        # actctl has read some pages itself, but after it asked.
        at_most = len(pages) + 8
        return found if is_same and len(pages) <= by_fincore == by_vmtouch <= at_most else None

    return eventually(look, "the same pages")


def check_numbers(found, path, pages):
    size, n_pages = path.stat().st_size, pages_of(path)
    last = size - (n_pages - 1) * PAGE
    bytes_of = {n_pages - 1: last}
    assert found["file"] == str(path)
    assert (found["size_bytes"], found["page_bytes"], found["source"]) == (size, PAGE, "mincore")
    assert found["resident_bytes"] == sum(bytes_of.get(page, PAGE) for page in pages)
    assert found["region_bytes"] % PAGE == 0 and len(found["regions"]) <= 1024
    part = found["region_bytes"] // PAGE
    assert len(found["regions"]) == -(-n_pages // part)
    # No more pages in a region than there must be.
    assert part == 1 or -(-n_pages // (part - 1)) > 1024
    regions = [0] * len(found["regions"])
    for page in pages:
        regions[page // part] += 1
    assert found["regions"] == regions
    assert "error" not in found


@pytest.mark.parametrize("name", ["small", "large"])
def test_it_says_what_fincore_and_vmtouch_say(name, request):
    need("fincore", "vmtouch")
    path = request.getfixturevalue(name)
    n_pages = pages_of(path)
    # Of none none: the pages that a tree is opened by are not among those that are found.
    for pages in (some_pages(path), [], list(range(n_pages)), [n_pages - 1], [0, 5, n_pages // 2]):
        check_numbers(agree(path, pages), path, pages)


# The map


def shade(n, of, shades):
    if n in (0, of):
        return shades[0 if n == 0 else 4]
    return shades[1 + 3 * n // of]


def map_of(path, pages, width, shades):
    """Lines of the map for that many characters in a line, as the manual describes it."""
    n_pages = pages_of(path)
    part = -(-n_pages // (8 * width))
    there = [0] * n_pages
    for page in pages:
        there[page] = 1
    parts = [there[at : at + part] for at in range(0, n_pages, part)]
    cells = "".join(shade(sum(cell), len(cell), shades) for cell in parts)
    return [f"|{cells[at : at + width]}|" for at in range(0, len(cells), width)], part


def check_text(tell, path, pages, width, charset):
    """What tell() gives when these pages are in memory."""
    lines, part = map_of(path, pages, width, SHADES[charset])
    size = path.stat().st_size
    in_memory = sum(min(PAGE, size - page * PAGE) for page in pages)
    head = (f"{path}: {size:,} bytes, {in_memory:,} of them in memory "
            f"({100 * in_memory / size:.1f}%), as the kernel says (mincore)")

    def look():
        fill(path, pages)
        *told, legend = tell().splitlines()
        return legend if told == [head, *lines] else None

    legend = eventually(look, "\n".join([head, *lines]))
    assert legend.startswith(f"A character: {part * PAGE:,} bytes. In memory: ' ' nothing, ")
    assert legend.endswith(f", '{SHADES[charset][4]}' all")


@pytest.mark.parametrize("columns, width",
                         [("", 64), ("0", 64), ("x", 64), ("40", 38), ("11", 9), ("10", 8),
                          ("3", 8), ("100000", 400)])
def test_the_map_has_a_character_for_each_part(columns, width, small, large):
    env = {"COLUMNS": columns}
    for path in (small, large):
        check_text(lambda path=path: actctl.output("residency", path, env=env).decode(),
                   path, some_pages(path), width, "utf-8")


def terminal_map(path, columns, locale):
    env = {**NO_COLUMNS, "LC_ALL": locale}
    return actctl.on_terminal("residency", path, columns=columns, env=env).decode()


@pytest.mark.parametrize("locale, charset", [("C.UTF-8", "utf-8"), ("C", "ascii")])
@pytest.mark.parametrize("columns, width", [(80, 78), (24, 22), (5, 8), (0, 64)])
def test_the_map_fits_into_the_terminal(columns, width, locale, charset, small):
    check_text(lambda: terminal_map(small, columns, locale), small, some_pages(small), width,
               charset)


def test_nothing_and_all_are_said_only_where_they_are_true(large):
    n_pages = pages_of(large)
    cases = (([], "(0.0%)", " "), ([7], "(under 0.1%)", " ░"),
             (list(range(n_pages)), "(100.0%)", "█"),
             ([page for page in range(n_pages) if page != 99], "(over 99.9%)", "█▓"))
    for pages, wanted, shown in cases:

        def look(pages=pages, wanted=wanted, shown=shown):
            fill(large, pages)
            told = actctl.output("residency", large, env=NO_COLUMNS).decode()
            head, *lines, _ = told.splitlines()
            return wanted in head and set("".join(lines)) == {"|", *shown}

        eventually(look, wanted)


# Whom the kernel does not tell


def as_nobody(directory, *args, **options):
    """Where actctl was built others may have no business."""
    program = directory / "actctl"
    if not program.exists():
        shutil.copy(actctl.ACTCTL, program)
    return actctl.run(*args, executable=program, user=NOBODY, group=NOBODY, extra_groups=[],
                      **options)


UNKNOWN = ("how much of it is in memory is unknown: the kernel tells only the file's owner and who "
           "may write it: ask as one of them, or as root")


@pytest.mark.skipif(not actctl.is_root(), reason="only root can become somebody else")
def test_a_stranger_is_told_that_it_is_unknown(directory, small):
    fill(small, [])
    result = as_nobody(directory, "residency", small, status=3)
    assert result.stdout == b""
    assert result.stderr.decode() == f"actctl: {small}: {UNKNOWN}\n"
    result = as_nobody(directory, "residency", "--json", small, status=3)
    assert json.loads(result.stdout) == {
        "file": str(small), "size_bytes": small.stat().st_size, "resident_bytes": None,
        "page_bytes": PAGE, "region_bytes": None, "source": "unknown", "regions": None,
        "error": UNKNOWN}


@pytest.mark.skipif(not actctl.is_root(), reason="only root can become somebody else")
def test_owner_and_writer_are_told(directory, small):
    for name, (uid, mode) in {"his.act": (NOBODY, 0o400), "open.act": (0, 0o646)}.items():
        path = directory / name
        shutil.copy(small, path)
        os.chown(path, uid, -1)
        path.chmod(mode)
        result = as_nobody(directory, "residency", "--json", path)
        assert json.loads(result.stdout)["source"] == "mincore"


@pytest.mark.skipif(not actctl.is_root(), reason="only root can become somebody else")
def test_what_may_not_be_read_is_refused(directory, small):
    path = directory / "secret.act"
    shutil.copy(small, path)
    path.chmod(0o600)
    result = as_nobody(directory, "residency", path, status=3)
    assert result.stderr.decode().startswith(f"actctl: {path}: ")
    assert b"Permission denied" in result.stderr


# What is refused


def test_what_is_no_tree_is_refused(tmp_path):
    missing, other, fifo = (tmp_path / name for name in ("missing", "other", "fifo"))
    other.write_bytes(b"PK\x03\x04" + bytes(10000))
    (tmp_path / "empty").touch()
    os.mkfifo(fifo)
    for path, status, reason in ((missing, 3, "No such file or directory"),
                                 (other, 1, "not an ACT file"),
                                 (tmp_path / "empty", 1, ""),
                                 (fifo, 3, "not a regular file"),
                                 (tmp_path, 3, "not a regular file"),
                                 (pathlib.Path("/dev/zero"), 3, "not a regular file")):
        for flags in ([], ["--json"]):
            told = actctl.error("residency", *flags, path, status=status)
            assert told.startswith(f"{path}: ") and reason in told, told


@pytest.mark.parametrize("args, reason", [
    (("residency",), "residency: too few arguments: write actctl residency FILE"),
    (("residency", "a", "b"), "residency: too many arguments: write actctl residency FILE"),
    (("residency", "--hex", "a"), "--hex: residency does not take this option"),
    (("residency", "-f", "a", "b"), "--file: residency does not take this option"),
    (("residency", "-s", "unix:a", "b"), "--server: residency does not take this option"),
])
def test_wrong_arguments_are_refused(args, reason):
    assert actctl.error(*args, status=2).startswith(reason)


def test_a_tree_in_memory_alone_is_all_there(tmp_path):
    """A file of /dev/shm has no other place."""
    with tempfile.TemporaryDirectory(prefix="actctl-", dir="/dev/shm") as name:
        path = pathlib.Path(shutil.copy(paths.CITIES, name))
        found = ask(path)
        assert found["resident_bytes"] == found["size_bytes"] == path.stat().st_size
        # And what nobody has mapped is told of as well as what somebody has.
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[0] is not None
            assert ask(path) == found
