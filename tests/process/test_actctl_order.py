"""actctl scan, range, count, explore, next, prev, longest-prefix and prefixes, against a daemon and
on files.

Bad input tried: options and arguments that make no sense, damaged files, a budget that is too
small, a daemon that dies in the middle, servers whose results are none, outputs that fail.
"""

import bisect
import json
import os
import select
import socket
import subprocess
import threading

import msgpack
import pytest

from lib import actctl, paths
from lib.tree_data import good_trees, oracle_of
from lib.waiting import Clock

ORACLE = oracle_of(paths.CITIES)

GOOD = [pytest.param(tree, id=tree.name) for tree in good_trees()]


# What must be said


def below(oracle, prefix):
    """The entries whose keys begin with prefix."""
    first = bisect.bisect_left(oracle.keys, prefix)
    end = first
    while end < len(oracle.keys) and oracle.keys[end].startswith(prefix):
        end += 1
    return [(key, oracle.values[key]) for key in oracle.keys[first:end]]


def between(oracle, start, end):
    first = bisect.bisect_left(oracle.keys, start)
    last = len(oracle.keys) if end is None else bisect.bisect_left(oracle.keys, end)
    return [(key, oracle.values[key]) for key in oracle.keys[first:last]]


def after(oracle, key):
    at = bisect.bisect_right(oracle.keys, key)
    return (oracle.keys[at], oracle.values[oracle.keys[at]]) if at < len(oracle.keys) else None


def before(oracle, key):
    at = bisect.bisect_left(oracle.keys, key)
    return (oracle.keys[at - 1], oracle.values[oracle.keys[at - 1]]) if at > 0 else None


def prefixes(oracle, key):
    return [(key[:n], oracle.values[key[:n]]) for n in range(len(key) + 1)
            if key[:n] in oracle.values]


def longest_prefix(oracle, key):
    found = prefixes(oracle, key)
    return found[-1] if found else None


NEIGHBOURS = {"next": after, "prev": before, "longest-prefix": longest_prefix}


def hexed(pairs):
    return b"".join(b"%s\t%d\n" % (key.hex().encode(), value) for key, value in pairs)


def entries(text):
    """The (key, value) of lines of JSON."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [(actctl.from_json(line["key"]), line["value"]) for line in lines]


@pytest.fixture(params=["daemon", "file"])
def where(request, cities):
    """Arguments that say whom to ask: both must say the same."""
    if request.param == "file":
        return ["-f", paths.CITIES]
    return ["-s", f"unix:{cities.unix[1]}"]


def whom(actd, tree):
    return (["-s", f"unix:{actd(tree).unix[1]}"], ["-f", tree])


def ask(where, *args, status=0, stderr=b""):
    result = actctl.run(*where, *args, status=status)
    assert result.stderr == stderr
    return result.stdout


# Entries in order


def test_a_scan_prints_all_there_is(where):
    pairs = sorted(ORACLE.pairs)
    assert len(pairs) > 100_000  # many pages
    assert ask(where, "--hex", "scan") == hexed(pairs)
    assert ask(where, "--hex", "scan", "--reverse") == hexed(pairs[::-1])
    assert entries(ask(where, "--json", "scan")) == pairs


@pytest.mark.parametrize("tree", GOOD)
def test_every_tree_is_scanned_both_ways(tree, actd):
    pairs = sorted(oracle_of(tree).pairs)
    for where in whom(actd, tree):
        status = 0 if pairs else 1
        assert ask(where, "scan", "--hex", status=status) == hexed(pairs)
        assert ask(where, "scan", "--hex", "--reverse", status=status) == hexed(pairs[::-1])
        assert ask(where, "count", status=status) == b"%d\n" % len(pairs)


@pytest.mark.parametrize("prefix", ["", "P", "Par", "Paris", "Paris (", "Zü", "Ā"])
def test_a_prefix_confines_a_scan(prefix, where):
    pairs = below(ORACLE, prefix.encode())
    status = 0 if pairs else 1
    assert entries(ask(where, "--json", "scan", prefix, status=status)) == pairs
    text = ask(where, "--hex", "scan", "--reverse", prefix.encode().hex(), status=status)
    assert text == hexed(pairs[::-1])
    assert ask(where, "count", prefix, status=status) == b"%d\n" % len(pairs)


@pytest.mark.parametrize("bounds", [("", "A"), ("Par", "Paris"), ("Paris", "Parisz"), ("Zw",),
                                    ("",), ("\U0010ffff",), ("B", "A"), ("Paris", "Paris"),
                                    ("a", "")])
def test_a_range_has_its_first_key_and_not_its_last(bounds, where):
    start, end = bounds[0].encode(), bounds[1].encode() if len(bounds) > 1 else None
    pairs = between(ORACLE, start, end)
    status = 0 if pairs else 1
    assert entries(ask(where, "--json", "range", *bounds, status=status)) == pairs
    text = ask(where, "range", "--hex", "--reverse", *(b.encode().hex() for b in bounds),
               status=status)
    assert text == hexed(pairs[::-1])


@pytest.mark.parametrize("limit", [1, 2, 999, 9999, 10_000, 10_001, 20_000, 154_170, 2**64 - 1])
def test_a_limit_is_exact(limit, where):
    pairs = sorted(ORACLE.pairs)
    assert ask(where, "--hex", "scan", f"--limit={limit}") == hexed(pairs[:limit])
    text = ask(where, "--hex", "range", "", "--reverse", "--limit", str(limit))
    assert text == hexed(pairs[::-1][:limit])


def test_keys_alone(where):
    keys = [key for key, _ in below(ORACLE, b"Ams")]
    assert ask(where, "scan", "Ams", "--keys-only") == b"".join(key + b"\n" for key in keys)
    text = ask(where, "--json", "scan", "Ams", "--keys-only")
    assert [json.loads(line) for line in text.splitlines()] == [
        {"key": key.decode()} for key in keys]
    text = ask(where, "--hex", "range", "41", "42", "--keys-only")
    assert text.split() == [key.hex().encode() for key, _ in between(ORACLE, b"A", b"B")]


# Neighbours and prefixes


@pytest.mark.parametrize("command", NEIGHBOURS)
def test_each_key_has_its_answer(command, where):
    keys = ORACLE.sample(300)
    keys += [near for key in keys[:30] for near in ORACLE.near_misses(key)]
    asked = [key for key in keys if b"\0" not in key] + [b"", b"\xff\xff"]
    result = actctl.run(*where, "--json", command, "--", *asked,
                        status=1 if command != "longest-prefix" else 0)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    misses = 0
    for key, line in zip(asked, lines, strict=True):
        wanted = NEIGHBOURS[command](ORACLE, key)
        assert actctl.from_json(line["key"]) == key
        found = line["found"] if wanted is None else (actctl.from_json(line["found"]),
                                                      line["value"])
        assert found == wanted, key
        assert wanted is not None or line["value"] is None
        misses += wanted is None
    assert result.stderr.count(b"\n") == misses


def test_neighbours_as_text(where):
    assert ask(where, "next", "Paris") == b"Parisi\t2988507\n"
    assert ask(where, "--hex", "prev", b"Parisi".hex()) == b"5061726973\t45354\n"
    assert ask(where, "longest-prefix", "Paris 13e") == b"Paris\t45354\n"
    assert ask(where, "next", "Paris", "Pariz") == (
        b"Paris\tParisi\t2988507\n"
        b"Pariz\t%s\t%d\n" % after(ORACLE, b"Pariz"))


def test_what_has_no_neighbour_is_told(tmp_path, actd):
    path = tmp_path / "x.act"
    actctl.build(path, b"b\t1\nc\t2\n")
    for where in whom(actd, path):
        ask(where, "next", "c", status=1, stderr=b"actctl: c: no key after it\n")
        ask(where, "prev", "b", status=1, stderr=b"actctl: b: no key before it\n")
        ask(where, "prev", "", status=1, stderr=b"actctl: the empty key: no key before it\n")
        told = b"actctl: a: it begins with no key\n"
        assert ask(where, "longest-prefix", "a", "cd", status=1, stderr=told) == b"cd\tc\t2\n"
        text = ask(where, "--json", "next", "c", status=1,
                   stderr=b"actctl: c: no key after it\n")
        assert json.loads(text) == {"key": "c", "found": None, "value": None}
        assert ask(where, "prefixes", "a", status=1) == b""


def test_prefixes_come_shortest_first(where):
    for key in ORACLE.sample(20) + [b"Parisian"]:
        wanted = prefixes(ORACLE, key)
        assert entries(ask(where, "--json", "prefixes", "--", key)) == wanted
        assert ask(where, "--hex", "prefixes", key.hex()) == hexed(wanted)


def test_many_prefixes(tmp_path, actd):
    path = tmp_path / "x.act"
    pairs = [(b"a" * n, n) for n in range(1000)]
    actctl.build(path, actctl.encode(pairs))
    for where in whom(actd, path):
        assert entries(ask(where, "--json", "prefixes", "a" * 1000)) == pairs


# Counting and exploring


def test_a_count_as_json(where):
    n = len(below(ORACLE, b"San "))
    assert json.loads(ask(where, "--json", "count", "San ")) == {"count": n, "exact": True}
    assert ask(where, "count", "Nowhereville", status=1) == b"0\n"


@pytest.mark.parametrize("prefix", ["Amst", "San", "San ", "Paris", "Zzayer", "Nowhereville"])
def test_explore_tells_what_follows(prefix, cities):
    where = ["-s", f"unix:{cities.unix[1]}"]
    key = prefix.encode()
    wanted = []
    for byte in ORACLE.node(key)["children"]:
        pairs = below(ORACLE, key + bytes([byte]))
        wanted.append({"byte": byte, "count": len(pairs), "key": pairs[0][0].decode(),
                       "value": pairs[0][1]})
    text = ask(where, "--json", "explore", prefix, status=0 if wanted else 1)
    assert [json.loads(line) for line in text.splitlines()] == wanted
    text = ask(where, "--hex", "explore", key.hex(), status=0 if wanted else 1)
    assert text == b"".join(b"%02x\t%d\t%s\t%d\n" % (
        one["byte"], one["count"], one["key"].encode().hex().encode(), one["value"])
        for one in wanted)


def test_explore_as_text(tmp_path, actd):
    path = tmp_path / "x.act"
    actctl.build(path, b"20\t1\n2061\t2\n09\t3\nc3bc\t4\n62\t5\n", "--hex")
    text = ask(["-s", f"unix:{actd(path).unix[1]}"], "explore")
    assert text == b"\\t\t1\t\\t\t3\n\\x20\t2\t \t1\nb\t1\tb\t5\n\\xc3\t1\t\xc3\xbc\t4\n"


def test_a_path_without_keys_has_no_sample(actd):
    where = ["-s", f"unix:{actd(paths.CRAFTED / 'dangling_leaf.act').unix[1]}"]
    lines = [json.loads(line) for line in ask(where, "--json", "explore").splitlines()]
    empty = [line for line in lines if line["count"] == 0]
    assert empty and all(line["key"] is None and line["value"] is None for line in empty)
    text = ask(where, "explore")
    assert b"%c\t0\n" % empty[0]["byte"] in text


def test_a_budget_that_is_used_up_is_told(actd):
    daemon = actd(paths.CITIES, {"limits.max_visited_nodes": 50})
    where = ["-s", f"unix:{daemon.unix[1]}"]
    text = ask(where, "count")
    assert text.startswith(b"at least ") and 0 < int(text.split()[-1]) < 51
    found = json.loads(ask(where, "--json", "count"))
    assert found["exact"] is False and found["count"] == int(text.split()[-1])
    # A scan goes on, page by page.
    assert ask(where, "--hex", "scan", b"Amst".hex()) == hexed(below(ORACLE, b"Amst"))
    told = actctl.error(*where, "explore", status=3)
    assert told.startswith(f"the empty key: {where[1]}: LIMIT: max_visited_nodes is used up"), told


def test_a_count_of_explore_that_is_not_known(actd):
    daemon = actd(paths.CITIES, {"limits.max_visited_nodes": 3000})
    where = ["-s", f"unix:{daemon.unix[1]}"]
    lines = [json.loads(line) for line in ask(where, "--json", "explore").splitlines()]
    unknown = [line for line in lines if line["count"] is None]
    assert unknown and all(line["key"] for line in unknown)
    assert b"\nP\t-\tP" in ask(where, "explore")


# Values that are byte strings; keys that would do harm


def test_byte_values(tmp_path, actd):
    path = tmp_path / "x.act"
    actctl.build(path, b"/bin/sh\tdash\n/bin/x\tcore\xffutils\n/etc/motd\t\n", "--values=bytes")
    for where in whom(actd, path):
        assert ask(where, "scan", "/bin") == b"/bin/sh\tdash\n/bin/x\tcore\\xffutils\n"
        assert ask(where, "range", "/bin/x", "--reverse") == (
            b"/etc/motd\t\n/bin/x\tcore\\xffutils\n")
        assert ask(where, "scan", "--keys-only", "/e") == b"/etc/motd\n"
        assert ask(where, "next", "/bin/sh") == b"/bin/x\tcore\\xffutils\n"
        assert ask(where, "longest-prefix", "/bin/sha") == b"/bin/sh\tdash\n"
        assert ask(where, "prefixes", "/bin/sha") == b"/bin/sh\tdash\n"
        text = ask(where, "--json", "scan", "/bin/x")
        assert json.loads(text) == {"key": "/bin/x", "value": {"hex": b"core\xffutils".hex()}}
    where = whom(actd, path)[0]
    assert ask(where, "explore", "/bin/") == (
        b"s\t1\t/bin/sh\tdash\nx\t1\t/bin/x\tcore\\xffutils\n")


def test_text_is_escaped(tmp_path, actd):
    path = tmp_path / "x.act"
    actctl.build(path, b"1b5b326a0a\t1\n5c\t2\nff\t3\n", "--hex")
    for where in whom(actd, path):
        assert ask(where, "scan") == b"\\x1b[2j\\n\t1\n\\\\\t2\n\\xff\t3\n"
        assert ask(where, "scan", "--keys-only") == b"\\x1b[2j\\n\n\\\\\n\\xff\n"
        assert ask(where, "next", "\x1b") == b"\\x1b[2j\\n\t1\n"
        assert json.loads(ask(where, "--json", "scan", "--limit=1", "--reverse")) == {
            "key": {"hex": "ff"}, "value": 3}


# What fails


USAGE = [
    (["scan", "a", "b"], "scan: too many arguments: write actctl scan [PREFIX]"),
    (["range"], "range: too few arguments: write actctl range FROM [TO]"),
    (["range", "a", "b", "c"], "range: too many arguments: write actctl range FROM [TO]"),
    (["next"], "next: too few arguments: write actctl next KEY..."),
    (["longest-prefix"],
     "longest-prefix: too few arguments: write actctl longest-prefix KEY..."),
    (["longest_prefix", "a"], "longest_prefix: no such command"),
    (["prefixes", "a", "b"], "prefixes: too many arguments: write actctl prefixes KEY"),
    (["scan", "--limit=0"], "0: --limit takes a number from 1 on"),
    (["scan", "--limit="], ": --limit takes a number from 1 on"),
    (["scan", "--limit=-1"], "-1: --limit takes a number from 1 on"),
    (["scan", "--limit=1K"], "1K: --limit takes a number from 1 on"),
    (["scan", "--limit=18446744073709551616"],
     "18446744073709551616: --limit takes a number from 1 on"),
    (["get", "--limit=1", "a"], "--limit: get does not take this option"),
    (["count", "--reverse"], "--reverse: count does not take this option"),
    (["next", "--keys-only", "a"], "--keys-only: next does not take this option"),
    (["dump", "--limit=1", "x"], "--limit: dump does not take this option"),
    (["explore", "-f", "x"], "--file: explore does not take this option"),
    (["scan", "--prefix=a"], "--prefix: scan does not take this option"),
    (["scan", "-f", "x", "-s", "unix:x"], "--server: a server or a file is asked, not both"),
]


@pytest.mark.parametrize("args, wanted", USAGE, ids=range(len(USAGE)))
def test_what_makes_no_sense_is_refused(args, wanted):
    assert actctl.error(*args, status=2) == f"{wanted}: try actctl --help"


@pytest.mark.parametrize("command", ["scan", "range", "count", "next", "prev", "longest-prefix",
                                     "prefixes", "explore"])
def test_keys_in_hex_are_checked_before_anyone_is_asked(command):
    told = actctl.error("-s", "unix:/nowhere", "--hex", command, "abc", status=2)
    assert told == "abc: not a key in hex: write two hex digits for each byte"
    told = actctl.error("-s", "unix:/nowhere", command, "abc", status=3)
    assert "cannot connect" in told
    if command != "explore":
        assert "No such file" in actctl.error("-f", "/nowhere", command, "abc", status=3)


@pytest.mark.parametrize("name, key", [("child_self.act", "aa"), ("line_fwd.act", "a")])
def test_damage_is_told(name, key, actd):
    path = paths.CRAFTED / name
    for where in whom(actd, path):
        for command in ("scan", "count", "prefixes", "longest-prefix"):
            result = actctl.run(*where, command, key, status=3)
            told = result.stderr.decode()
            assert told.count("\n") == 1, told
            assert "damaged at offset" in told or "CORRUPT" in told, told
            assert str(where[1]) in told


def test_an_output_that_is_full_is_told(where):
    with open("/dev/full", "wb") as full:
        with actctl.start(*where, "scan", stdout=full, stderr=subprocess.PIPE) as process:
            told = process.stderr.read()
            assert process.wait(Clock().left("actctl's end")) == 3
    assert told == b"actctl: cannot write to standard output: No space left on device\n"


def test_a_reader_that_goes_away_ends_a_scan(where):
    process = actctl.start(*where, "scan", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(Clock().left("actctl's end")) == -13


def test_a_daemon_that_dies_ends_a_scan_with_what_came_before(actd):
    daemon = actd()
    process = actctl.start("-s", f"unix:{daemon.unix[1]}", "scan", "--hex",
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    select.select([process.stdout], [], [])
    # It waits for the pipe, with most pages still to come.
    daemon.crash()
    stdout, stderr = process.communicate(timeout=Clock().left("actctl's end"))
    assert process.returncode == 3
    assert 0 < stdout.count(b"\n") < len(ORACLE.keys)
    assert hexed(sorted(ORACLE.pairs)).startswith(stdout)
    assert stderr.startswith(b"actctl: unix:") and stderr.count(b"\n") == 1


def test_a_file_that_is_truncated_ends_a_scan(tmp_path):
    path = tmp_path / "cities.act"
    path.write_bytes(paths.CITIES.read_bytes())
    process = actctl.start("-f", path, "scan", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    select.select([process.stdout], [], [])
    os.truncate(path, 4096)
    _, stderr = process.communicate(timeout=Clock().left("actctl's end"))
    assert process.returncode == 3
    assert stderr.decode() == f"actctl: the file was truncated while it was read: {path}\n"


class Impostor:
    """A server that answers every request with the same result."""

    def __init__(self, path, result):
        self.address = f"unix:{path}"
        self.result = result
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        connection, _ = self.listener.accept()
        unpacker = msgpack.Unpacker(raw=False)
        with connection:
            while data := connection.recv(65536):
                unpacker.feed(data)
                for request in unpacker:
                    connection.sendall(msgpack.packb([1, request[1], None, self.result]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.listener.close()


def page(entries, cursor=None):
    return {"entries": entries, "cursor": cursor, "generation": {}}


IMPOSTORS = [
    ("scan", None), ("scan", []), ("scan", page(None)), ("scan", page([b"a"])),
    ("scan", page([[b"a"]])), ("scan", page([[b"a", None]])), ("scan", page([["a", 1]])),
    ("scan", page([], b"more")), ("scan", page([[b"a", -1]])), ("scan", {"entries": []}),
    ("count", 7), ("count", {"count": 7}), ("count", {"count": -7, "exact": True}),
    ("explore", None), ("explore", [1]), ("explore", [[1, b"a", 1]]),
    ("explore", [[256, b"a", 1, 1]]), ("explore", [[-1, b"a", 1, 1]]),
    ("explore", [[97, "a", 1, 1]]), ("explore", [[97, b"a", None, 1]]),
    ("explore", [[97, b"a", 1, "1"]]), ("explore", [["a", b"a", 1, 1]]),
    ("next", 1), ("next", [b"a"]), ("prev", [b"a", None]), ("longest-prefix", [1, 1]),
    ("longest-prefix", [[b"a", 1]]), ("prefixes", None), ("prefixes", [None]),
    ("prefixes", [[b"a", 1], 1]), ("get", "text"), ("get", [b"a", 1]), ("node", {"exists": 1}),
]


@pytest.mark.parametrize("command, result", IMPOSTORS, ids=range(len(IMPOSTORS)))
def test_what_no_actd_would_say_is_refused(command, result, tmp_path):
    with Impostor(tmp_path / "sock", result) as server:
        run = actctl.run("-s", server.address, command, "a", status=3)
    told = run.stderr.decode()
    assert "the result is not of the type that actd gives" in told and told.count("\n") == 1
