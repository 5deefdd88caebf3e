"""actctl build: what it makes of records, what it refuses, and what it leaves behind when it
cannot finish.

Bad inputs tried: every bad line of each format in test_records*.c; here what the command makes of
them, keys that come again (sorted, unsorted, through temporary files), options that make no sense,
inputs and outputs that cannot be read or written.
"""

import gzip
import hashlib
import os
import pathlib
import pty
import random
import re
import resource
import select
import signal
import stat
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import actctl, paths
from lib.tree_data import oracle_of
from lib.waiting import Clock, eventually

SUMS = {
    name: digest
    for digest, name in map(str.split, (paths.DATA / "SHA256SUMS.plain").read_text().splitlines())
}

FORMATS = ["tsv", "nul", "jsonl"]


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Byte for byte what the reference makes


def source_of(name):
    stem = name.removesuffix(".act").removesuffix(".stream")
    plain = paths.DATA / f"{stem}.tsv"
    return plain.read_bytes() if plain.exists() else gzip.open(f"{plain}.gz").read()


@pytest.mark.parametrize("name", [name for name in SUMS if name != "seqdec.act"])
def test_a_plain_file_is_the_references(name, tmp_path):
    text = source_of(name)
    out = tmp_path / "out.act"
    actctl.build(out, text, "--hex", "--plain")
    assert out.read_bytes() == (paths.DATA / name).read_bytes()
    assert digest_of(out) == SUMS[name]
    lines = text.splitlines(keepends=True)
    random.Random(name).shuffle(lines)
    actctl.build(out, b"".join(lines), "--hex", "--plain")
    assert digest_of(out) == SUMS[name]


@pytest.mark.parametrize("tree", sorted(paths.EDGE.glob("*.stream.act")), ids=lambda t: t.name)
def test_every_file_of_the_stream_writer_is_made_again(tree, tmp_path):
    name = str(tree.relative_to(paths.DATA))
    out = tmp_path / "out.act"
    actctl.build(out, source_of(name), "--hex", "--plain")
    assert out.read_bytes() == tree.read_bytes()


def test_five_million_keys_are_the_references(tmp_path):
    keys = sorted(map(str, range(5_000_000)))
    source = tmp_path / "seqdec.tsv"
    source.write_text("".join(f"{key}\t{key}\n" for key in keys))
    out = tmp_path / "seqdec.act"
    told = actctl.run("build", "--plain", "-o", out, source).stderr.decode()
    assert told.startswith(f"{out}: 5,000,000 keys, {out.stat().st_size:,} bytes, ")
    assert digest_of(out) == SUMS["seqdec.act"]


# Whatever goes in comes out

keys = st.one_of(
    st.binary(max_size=10),
    st.text("ab\t\n\\é\0", max_size=8).map(str.encode),
    st.builds(lambda head, tail: head * 30 + tail, st.sampled_from([b"x", b"/usr"]),
              st.binary(max_size=3)),
)
numbers = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))


@pytest.mark.parametrize("is_plain", [False, True], ids=["tables", "plain"])
@pytest.mark.parametrize("is_hex", [False, True], ids=["raw", "hex"])
@pytest.mark.parametrize("form", FORMATS)
def test_numbers_go_round(form, is_hex, is_plain, tmp_path_factory):
    directory = tmp_path_factory.mktemp("round")
    flags = [f"--format={form}"] + ["--hex"] * is_hex

    @settings(max_examples=25)
    @given(st.dictionaries(keys, numbers, max_size=60), st.randoms(use_true_random=False),
           st.booleans())
    def check(pairs, chance, ensure_ascii):
        wanted = sorted((k, v) for k, v in pairs.items() if actctl.carries(form, is_hex, False, k))
        text = actctl.encode(wanted, form, is_hex, ensure_ascii=ensure_ascii)
        straight, mixed = directory / "straight.act", directory / "mixed.act"
        plain = ["--plain"] * is_plain
        actctl.build(straight, text, *flags, *plain)
        dumped = actctl.output("dump", straight, *flags)
        assert actctl.decode(dumped, form, is_hex) == wanted
        chance.shuffle(shuffled := list(wanted))
        actctl.build(mixed, actctl.encode(shuffled, form, is_hex), *flags, *plain)
        assert mixed.read_bytes() == straight.read_bytes()
        actctl.build(mixed, dumped, *flags, *plain)
        assert mixed.read_bytes() == straight.read_bytes()
        actctl.output("verify", straight)

    check()


@pytest.mark.parametrize("is_hex", [False, True], ids=["raw", "hex"])
@pytest.mark.parametrize("form", FORMATS)
def test_byte_values_go_round(form, is_hex, tmp_path_factory):
    directory = tmp_path_factory.mktemp("round")
    flags = [f"--format={form}"] + ["--hex"] * is_hex

    @settings(max_examples=25)
    @given(st.dictionaries(keys, keys, max_size=60), st.randoms(use_true_random=False))
    def check(pairs, chance):
        wanted = sorted((k, v) for k, v in pairs.items()
                        if actctl.carries(form, is_hex, True, k, v))
        straight, mixed = directory / "straight.act", directory / "mixed.act"
        actctl.build(straight, actctl.encode(wanted, form, is_hex, True), *flags,
                     "--values=bytes")
        dumped = actctl.output("dump", straight, *flags)
        assert actctl.decode(dumped, form, is_hex, True) == wanted
        chance.shuffle(shuffled := list(wanted))
        actctl.build(mixed, actctl.encode(shuffled, form, is_hex, True), *flags, "--values=bytes")
        assert actctl.output("dump", mixed, *flags) == dumped
        actctl.output("verify", straight)
        actctl.output("verify", mixed)

    check()


@pytest.mark.parametrize("kind", ["u64", "bytes"])
def test_keys_alone_go_round(kind, tmp_path):
    out = tmp_path / "out.act"
    wanted = [b"", b"/a\tb", b"/usr/bin", b"/usr/bin/env", b"\xff"]
    for form, end in (("tsv", b"\n"), ("nul", b"\0")):
        text = b"".join(key + end for key in wanted)
        flags = [f"--format={form}", "--keys-only"]
        actctl.build(out, text, *flags, f"--values={kind}")
        assert actctl.output("dump", out, *flags) == text
        shown = actctl.output("get", "-f", out, "", "/usr/bin")
        assert shown == (b"\t0\n/usr/bin\t0\n" if kind == "u64" else b"\t\n/usr/bin\t\n")
    actctl.build(out, b'{"key":"a"}\n{"key":{"hex":"ff"}}\n', "--format=jsonl", "--keys-only")
    text = actctl.output("dump", out, "--format=jsonl", "--keys-only")
    assert text == b'{"key":"a"}\n{"key":{"hex":"ff"}}\n'
    assert actctl.output("dump", out, "--hex") == b"61\t0\nff\t0\n"


def test_a_million_unsorted_keys_go_through_temporary_files(tmp_path):
    chance = random.Random(1)
    wanted = sorted((chance.randbytes(12), i) for i in range(1_000_000))
    chance.shuffle(mixed := list(wanted))
    text = actctl.encode(mixed, is_hex=True)
    out, straight = tmp_path / "out.act", tmp_path / "straight.act"
    told = actctl.build(out, text, "--hex", "--memory=8M")
    assert "1,000,000 keys" in told and " bytes of temporary files" in told
    actctl.build(straight, actctl.encode(wanted, is_hex=True), "--hex")
    dumped = actctl.output("dump", out, "--hex")
    assert actctl.decode(dumped, is_hex=True) == wanted
    assert actctl.output("dump", straight, "--hex") == dumped
    actctl.output("verify", out)
    assert sorted(os.listdir(tmp_path)) == ["out.act", "straight.act"]


@pytest.mark.long
def test_twenty_million_unsorted_keys_fit_300_MiB(tmp_path):
    n = 20_000_000
    source = tmp_path / "source.tsv"
    with source.open("w") as file:
        # Each number once, in an order that is far from sorted.
        for start in range(0, n, 1_000_000):
            numbers = ((i * 15_485_863 + 7) % n for i in range(start, start + 1_000_000))
            file.write("".join(f"key-{i:016x}\t{i}\n" for i in numbers))
    out = tmp_path / "out.act"

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))

    process = actctl.start("build", "-o", out, source, stderr=subprocess.PIPE, preexec_fn=limit)
    told = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, told
    assert usage.ru_maxrss <= 300 << 10
    assert told.startswith(f"{out}: 20,000,000 keys, ")
    dump = actctl.start("dump", out, stdout=subprocess.PIPE)
    for i, line in enumerate(dump.stdout):
        assert line == b"key-%016x\t%d\n" % (i, i)
    assert dump.wait() == 0 and i == n - 1
    actctl.output("verify", out)


# What it tells


def test_the_summary_is_one_line(tmp_path):
    out = tmp_path / "out.act"
    told = actctl.build(out, b"a\t1\nroad\t2\nroof\t3\n")
    assert told.startswith(f"{out}: 3 keys, {out.stat().st_size} bytes, 3 distinct lines, ")
    assert told.endswith(" s\n") and told.count("\n") == 1
    told = actctl.build(out, b"a\tx\nb\tx\na\ty\n", "--values=bytes", "--duplicates=last")
    assert " 2 keys, " in told and ", 1 duplicates dropped, " in told
    assert ", 2 distinct values, " in told


def test_progress_is_drawn_on_a_terminal_and_taken_away(tmp_path):
    terminal, end = pty.openpty()
    out = tmp_path / "out.act"
    process = actctl.start("build", "-o", out, stdin=subprocess.PIPE, stderr=end)
    os.close(end)
    number, shown, clock = 0, b"", Clock()
    while not shown:
        lines = b"".join(b"%09d\t1\n" % i for i in range(number, number + 4096))
        number += 4096
        process.stdin.write(lines)
        process.stdin.flush()
        if select.select([terminal], [], [], 0)[0]:
            shown = os.read(terminal, 4096)
        clock.left("a line of progress")
    process.stdin.close()
    assert shown.startswith(b"\r\x1b[Kout.act: ") and b" keys/s" in shown
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # nobody has it open any more
            break
    assert process.wait(clock.left("the end")) == 0
    assert f"\r\x1b[K{out}: {number:,} keys, ".encode() in shown
    os.close(terminal)


def shown_of(*args):
    """What actctl draws on a terminal as it reads this, to its end."""
    terminal, end = pty.openpty()
    process = actctl.start(*args, stderr=end)
    os.close(end)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # nobody has it open any more
            break
    os.close(terminal)
    assert process.wait(Clock().left("actctl's end")) == 0, shown
    return shown.decode()


def test_the_progress_of_writing_sorted_keys_has_a_rate_and_an_end(tmp_path):
    source, clock, lines, n = tmp_path / "source.tsv", Clock(), [], 500_000
    while all(" 0 keys" in line for line in lines):  # this machine is fast
        clock.left("a line of progress")
        n *= 2
        with source.open("w") as file:
            file.writelines(f"{i * 15_485_863 % 1_000_000_007:09d}\t1\n" for i in range(n))
        shown = shown_of("build", "--memory=8M", "-o", tmp_path / "out.act", source)
        lines = [line for line in shown.split("\r\x1b[K") if "written" in line]
    wanted = re.compile(r"out\.act: [1-9][\d,]+ keys written, [1-9][\d,]* keys/s, \d+%, "
                        r"\d+:\d\d left|out\.act: 0 keys written, 0 keys/s")
    assert all(wanted.fullmatch(line) for line in lines), lines


def test_no_progress_where_there_is_no_terminal(tmp_path):
    assert "\r" not in actctl.build(tmp_path / "out.act", b"a\t1\n" * 1, "--plain")


def test_builds_are_the_same_whenever_they_are_made(tmp_path):
    out = tmp_path / "out.act"
    actctl.build(out, b"a\t1\n")
    assert actctl.output("info", out).count(b"metadata.created             -\n") == 1
    assert b'"created":null' in actctl.output("--json", "info", out)
    env = {k: v for k, v in actctl.ENVIRONMENT.items() if k != "SOURCE_DATE_EPOCH"}
    subprocess.run([actctl.ACTCTL, "build", "-o", out], input=b"a\t1\n", check=True,
                   stderr=subprocess.DEVNULL, env=actctl.environment(env))
    assert b'"created":"20' in actctl.output("--json", "info", out)


def test_an_empty_time_is_none(tmp_path):
    out = tmp_path / "out.act"
    actctl.build(out, b"a\t1\n", env={"SOURCE_DATE_EPOCH": ""})
    assert b'"created":"20' in actctl.output("--json", "info", out)


@pytest.mark.parametrize("text", ["now", "-1", " 1", "1.5", "18446744073709551616"])
def test_a_time_that_is_no_number_is_refused(text, tmp_path):
    env = {"SOURCE_DATE_EPOCH": text}
    told = actctl.error("build", "-o", tmp_path / "out.act", status=2, env=env)
    assert told == f"SOURCE_DATE_EPOCH={text}: not a whole number of seconds"
    assert os.listdir(tmp_path) == []


# What it refuses: nothing is made, and what was there stays


@pytest.fixture
def old(tmp_path):
    """A directory with a file to be replaced; nothing but it may be there at the end."""
    path = tmp_path / "tree.act"
    actctl.build(path, b"old\t1\n")
    before = path.read_bytes()
    yield path
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["tree.act"]


REMEDY = "--duplicates=first or --duplicates=last takes one of them"
NUMBER = "the value is not a whole number from 0 to 18446744073709551615"


BAD = [
    ([], b"a\t1\nb 2\n",
     'line 2: key "b 2": there is no tab: write key, tab, value (--keys-only takes keys alone)'),
    ([], b"a\t1\nb\x1b\t2x\n", f'line 2: key "b\\x1b": value "2x": {NUMBER}'),
    ([], b"a\t18446744073709551616",
     f'line 1: key "a": value "18446744073709551616": {NUMBER}'),
    ([], b"k" * 1000 + b"\t-1", f'line 1: key "{"k" * 200}...": value "-1": {NUMBER}'),
    ([], b"k" * (2**20 + 1) + b"\t1",
     f'line 1: key "{"k" * 200}...": the key is longer than 1 MiB'),
    (["--hex"], b"6\t1",
     'line 1: key "6": the key is not hex: write two hex digits for each byte'),
    (["--hex"], b"6162zz\t1",
     'line 1: key "6162zz": the key is not hex: write two hex digits for each byte'),
    (["--hex"], b"6162\tx\n", f'line 1: key "6162": value "x": {NUMBER}'),
    (["--hex"], b"6162\n",
     'line 1: key "6162": there is no tab: write key, tab, value (--keys-only takes keys alone)'),
    (["--hex", "--values=bytes"], b"6162\t0g\n",
     'line 1: key "6162": value "0g": the value is not hex: write two hex digits for each byte'),
    (["--hex"], b"6B" * (2**20 + 1) + b"\t1",
     f'line 1: key "{"6b" * 100}...": the key is longer than 1 MiB'),
    (["--hex"], b"6b" * 200 + b"\t1\n" + b"6b" * 200 + b"\t1\n",
     f'line 2: key "{"6b" * 100}..." comes again, first in line 1: {REMEDY}'),
    (["--hex", "--format=jsonl"], b'{"key":{"hex":"6162"},"value":1.5}',
     f'line 1: key "6162": {NUMBER}'),
    (["--format=nul"], b"a\0001\0b\0",
     'record 2: key "b": a key without a value (--keys-only takes keys alone)'),
    (["--format=jsonl"], b'{"key":"a","value":1}\n\n',
     'line 2: not an object: write {"key": ..., "value": ...}'),
    (["--format=jsonl"], b'{"key":"a","value":1.5}', f'line 1: key "a": {NUMBER}'),
    ([], b"a\t1\na\t1\n", f'line 2: key "a" comes again, first in line 1: {REMEDY}'),
    (["--hex"], b"0aff\t1\n0aff\t1\n",
     f'line 2: key "0aff" comes again, first in line 1: {REMEDY}'),
    (["--format=nul", "--keys-only"], b"a\n\0a\n\0",
     f'record 2: key "a\\n" comes again, first in record 1: {REMEDY}'),
]


@pytest.mark.parametrize("flags, text, wanted", BAD, ids=range(len(BAD)))
def test_bad_records_are_named(flags, text, wanted, old):
    told = actctl.error("build", "-o", old, *flags, stdin=text, status=2)
    assert told == f"standard input, {wanted}"


def test_the_input_is_named(old, tmp_path_factory):
    source = tmp_path_factory.mktemp("in") / "in.tsv"
    source.write_bytes(b"a\n")
    assert actctl.error("build", "-o", old, source, status=2).startswith(f"{source}, line 1: ")


def test_a_duplicate_among_unsorted_keys_is_named(old):
    told = actctl.error("build", "-o", old, stdin=b"b\t1\na\t2\nb\t3\n", status=2)
    assert told.startswith('standard input, line 3: key "b" comes again')
    assert told.endswith(f": {REMEDY}")


def test_a_duplicate_far_away_is_found(old):
    chance = random.Random(2)
    lines = [chance.randbytes(20).hex().encode() + b"\t1\n" for _ in range(500_000)]
    lines.insert(3, b"twice\t1\n")
    lines.append(b"twice\t2\n")
    told = actctl.error("build", "-o", old, "--memory=8M", stdin=b"".join(lines), status=2)
    assert told.startswith('standard input, line 500002: key "twice" comes again')


def test_a_record_too_large_to_be_sorted_is_named(old, tmp_path_factory):
    """Of 8 MiB a record may take one; sorted ones need not be kept."""
    large = b"b\t" + b"v" * (2 << 20) + b"\n"
    told = actctl.error("build", "-o", old, "--memory=8M", "--values=bytes", status=3,
                        stdin=b"b0\tv\na\tv\n" + large)
    assert told.startswith(f"{old}: line 3: an entry of ") and "may take an eighth" in told
    out = tmp_path_factory.mktemp("out") / "out.act"
    actctl.build(out, b"a\tv\n" + large, "--memory=8M", "--values=bytes")


@pytest.mark.parametrize("chosen", ["first", "last"])
def test_one_of_equal_keys_is_taken(chosen, tmp_path):
    chance = random.Random(3)
    pairs = [(b"%d" % chance.randrange(300), i) for i in range(1000)]
    order = pairs if chosen == "last" else pairs[::-1]
    out = tmp_path / "out.act"
    for given_pairs in (pairs, sorted(pairs, key=lambda pair: pair[0])):
        told = actctl.build(out, actctl.encode(given_pairs), f"--duplicates={chosen}")
        dropped = 1000 - len(dict(pairs))
        assert f", {dropped} duplicates dropped, " in told
        assert actctl.decode(actctl.output("dump", out)) == sorted(dict(order).items())


def test_one_of_equal_keys_is_taken_through_temporary_files(tmp_path):
    chance = random.Random(4)
    pairs = [(b"%025d" % chance.randrange(300_000), i) for i in range(600_000)]
    out = tmp_path / "out.act"
    for chosen, order in (("last", pairs), ("first", pairs[::-1])):
        told = actctl.build(out, actctl.encode(pairs), f"--duplicates={chosen}", "--memory=8M")
        assert "temporary files" in told
        assert actctl.decode(actctl.output("dump", out)) == sorted(dict(order).items())


@pytest.mark.parametrize(
    "args, wanted",
    [
        (["build", "in.tsv"], "build: the file to make is missing: write -o OUT"),
        (["build", "-o", "-"], "-o -: a tree cannot go to standard output, since its beginning is "
         "written last: name a file"),
        (["build", "-o"], "-o: the option needs a value"),
        (["build", "-o", "x", "a", "b"], "build: too many arguments: write actctl build -o OUT "
         "[IN]"),
        (["build", "-o", "x", "--plain", "--values=bytes"], "--plain: a plain file holds numbers "
         "only"),
        (["build", "-o", "x", "--format=csv"], "csv: --format takes tsv, nul or jsonl"),
        (["build", "-o", "x", "--values=i64"], "i64: --values takes u64 or bytes"),
        (["build", "-o", "x", "--duplicates=any"], "any: --duplicates takes refuse, first or last"),
        (["build", "-o", "x", "--memory=7M"], "7M: --memory takes a size from 8M on, such as 256M "
         "or 2G"),
        (["build", "-o", "x", "--memory=M"], "M: --memory takes a size from 8M on, such as 256M or "
         "2G"),
        (["build", "-o", "x", "--memory=99999999T"], "99999999T: --memory takes a size from 8M on, "
         "such as 256M or 2G"),
        (["dump"], "dump: too few arguments: write actctl dump FILE"),
        (["verify", "a", "b"], "verify: too many arguments: write actctl verify FILE"),
        (["info", "-s", "unix:x", "file"], "--server: a server or a file is asked, not both"),
        (["get", "-s", "unix:x", "-f", "file", "key"], "--server: a server or a file is asked, not "
         "both"),
    ],
)
def test_a_command_line_without_sense_is_refused(args, wanted, tmp_path):
    told = actctl.error(*args, status=2, cwd=tmp_path)
    assert told == f"{wanted}: try actctl --help"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "command, option",
    [("ping", "--format=tsv"), ("stats", "--file=x"), ("get", "--all"), ("build", "--json"),
     ("build", "--server=unix:x"), ("dump", "--output=x"), ("dump", "--values=bytes"),
     ("verify", "--plain"), ("mget", "--prefix=x"), ("info", "--keys-only")],
)
def test_an_option_of_other_commands_is_refused(command, option):
    told = actctl.error(command, option, "x", status=2)
    name = option.partition("=")[0]
    assert told == f"{name}: {command} does not take this option: try actctl --help"


def test_what_cannot_be_read_is_named(old, tmp_path_factory):
    missing = tmp_path_factory.mktemp("in") / "missing"
    told = actctl.error("build", "-o", old, missing, status=3)
    assert told == f"cannot open {missing}: No such file or directory"
    told = actctl.error("build", "-o", old, missing.parent, status=3)
    assert told == f"cannot read {missing.parent}: Is a directory"


def test_the_input_is_not_written_over(old):
    assert actctl.error("build", "-o", old, old, status=2) == f"{old} and {old} are the same file"
    with open(old, "rb") as file:
        told = actctl.start("build", "-o", old, stdin=file, stderr=subprocess.PIPE)
        assert told.communicate()[1] == f"actctl: standard input and {old} are the same file\n" \
            .encode()


@pytest.mark.parametrize("out", ["missing/tree.act", "/dev/null", "/dev"])
def test_what_cannot_be_written_is_named(out, tmp_path):
    told = actctl.error("build", "-o", out, stdin=b"a\t1\n", status=3, cwd=tmp_path)
    assert os.path.dirname(out) in told
    assert os.listdir(tmp_path) == []
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_an_existing_file_keeps_its_mode_and_its_links(tmp_path):
    out, link = tmp_path / "out.act", tmp_path / "link.act"
    actctl.build(out, b"a\t1\n")
    out.chmod(0o640)
    link.symlink_to("out.act")
    actctl.build(link, b"a\t2\n")
    assert link.is_symlink() and stat.S_IMODE(out.stat().st_mode) == 0o640
    assert actctl.output("get", "-f", out, "a") == b"2\n"


# Ends that nobody planned


def has_begun(process, directory):
    """Has it a file open in there, which has no name yet?"""
    for link in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            if os.readlink(link).startswith(f"{directory}/"):
                return True
        except OSError:
            pass
    return False


@pytest.mark.parametrize("is_sorted", [True, False], ids=["sorted", "unsorted"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_the_old_file(number, is_sorted, old):
    process = actctl.start("build", "--memory=8M", "-o", old, stdin=subprocess.PIPE,
                           stderr=subprocess.PIPE)
    lines = [b"%020d\t%d\n" % (i if is_sorted else i * 7919 % 1_000_003, i)
             for i in range(600_000)]
    process.stdin.write(b"".join(lines))
    process.stdin.flush()
    eventually(lambda: has_begun(process, old.parent), "the build under way")
    process.send_signal(number)
    process.stdin.close()
    assert process.wait(Clock().left("actctl's end")) == -number


NAMED = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A file system without files that have no name. */
int openat(int directory, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = va_arg(args, mode_t);
    va_end(args);
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_openat, directory, path, flags, mode);
}

int openat64(int, const char *, int, ...) __attribute__((alias("openat")));
"""


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """An environment in which a file that is being built has a name."""
    directory = tmp_path_factory.mktemp("named")
    library = directory / "named.so"
    (directory / "named.c").write_text(NAMED)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, directory / "named.c"], check=True)
    asan = actctl.environment()["ASAN_OPTIONS"]
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": f"{asan}:verify_asan_link_order=0"}


def start_named(out, env, **options):
    """A build under way: the process, and the path of its file."""
    process = actctl.start("build", "-o", out, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=env, **options)
    path = eventually(lambda: next(out.parent.glob(".act-*"), None), "the temporary name")
    return process, path


def end_of(process):
    process.stdin.close()
    told = process.stderr.read()
    process.stderr.close()
    return process.wait(Clock().left("actctl's end")), told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_removes_a_file_that_has_a_name(number, named, old):
    process, _ = start_named(old, named)
    process.send_signal(number)
    assert process.wait(Clock().left("actctl's end")) == -number
    assert end_of(process) == (-number, b"")


def test_a_signal_that_is_ignored_ends_no_build(named, tmp_path):
    out = tmp_path / "out.act"
    process, _ = start_named(
        out, named, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    process.stdin.write(b"a\t1\n")
    status, told = end_of(process)
    assert status == 0, told
    assert os.listdir(tmp_path) == ["out.act"]


def test_a_kill_leaves_a_file_that_has_a_name(named, tmp_path):
    process, path = start_named(tmp_path / "out.act", named)
    process.kill()
    assert end_of(process) == (-signal.SIGKILL, b"")
    assert list(tmp_path.iterdir()) == [path]


def test_a_bad_record_removes_a_file_that_has_a_name(named, old):
    told = actctl.error("build", "-o", old, stdin=b"a", status=2, env=named)
    assert "there is no tab" in told


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    if not actctl.is_root():
        pytest.skip("needs root: mounts a file system")
    path = tmp_path / "disk"
    path.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path],
                           stderr=subprocess.PIPE)
    if mount.returncode != 0:
        pytest.skip(f"cannot mount here: {mount.stderr.decode()}")
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("is_sorted", [True, False], ids=["sorted", "unsorted"])
def test_a_full_disk_leaves_the_old_file(is_sorted, small_disk):
    out = small_disk / "tree.act"
    actctl.build(out, b"old\t1\n")
    before = out.read_bytes()
    chance = random.Random(5)
    lines = [chance.randbytes(20).hex().encode() + b"\t1\n" for _ in range(400_000)]
    text = b"".join(sorted(lines) if is_sorted else lines)
    told = actctl.error("build", "--memory=8M", "-o", out, stdin=text, status=3)
    assert told.startswith(f"{out}: ") and "No space left on device" in told
    assert out.read_bytes() == before
    assert os.listdir(small_disk) == ["tree.act"]
    assert os.statvfs(small_disk).f_bfree * 4096 > 4_000_000 - 100_000


@pytest.mark.parametrize("tree", [paths.CITIES, paths.SHAKESPEARE, paths.DOC / "b.act"],
                         ids=["large", "middle", "small"])
def test_the_result_of_a_full_disk_in_a_dump_is_told(tree):
    with open("/dev/full", "wb") as full:
        process = actctl.start("dump", tree, stdout=full, stderr=subprocess.PIPE)
        told = process.communicate()[1].decode()
    assert process.returncode == 3
    assert told == "actctl: cannot write to standard output: No space left on device\n"


def test_the_oracle_and_the_file_agree(tmp_path):
    oracle = oracle_of(paths.CITIES)
    out = tmp_path / "out.act"
    actctl.build(out, actctl.encode(oracle.pairs, is_hex=True), "--hex")
    asked = oracle.sample(20_000) + [miss for key in oracle.sample(500)
                                     for miss in oracle.near_misses(key)]
    text = b"".join(key.hex().encode() + b"\n" for key in asked)
    got = actctl.run("mget", "--hex", "-f", out, stdin=text, status=1).stdout.splitlines()
    wanted = [f"{key.hex()}\t{oracle.values.get(key, '')}".encode() for key in asked]
    assert got == wanted
