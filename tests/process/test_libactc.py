"""libactc as others use it: installed below a prefix, found by pkg-config, asking a daemon."""

import bisect

import pytest

from lib import actctl, installed, paths
from lib.tree_data import oracle_of

SOURCE = paths.ROOT / "tests" / "process" / "libactc_user.c"
ORACLE = oracle_of(paths.CITIES)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The root directory of an installation."""
    return installed.install(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def ask(root):
    """ask(daemon, key...): what the program prints."""
    program = root / "user"
    libraries = installed.pkg_config(root, "libactc", "--libs")
    installed.compile_user(root, "libactc", SOURCE, program, *libraries)

    def run(daemon, *keys):
        return installed.run(root, "libactc", program, f"unix:{daemon.unix[1]}", *keys)

    return run


def scanned(keys):
    return f"scan {len(keys)} keys, {sum(map(len, keys))} bytes" if keys else "scan nothing"


def test_every_typed_call_asks_a_daemon(ask, cities):
    keys = [key.decode() for key in ORACLE.sample(2000) if len(key) > 0]
    lines = ask(cities, "Paris", *keys, "Nowhereville").split("\n")
    at = bisect.bisect_left(ORACLE.keys, b"Paris")
    before, after = ORACLE.keys[at - 1], ORACLE.keys[at + 1]
    below = [key for key in ORACLE.keys if key.startswith(b"Paris")]
    value = ORACLE.get(b"Paris")
    assert lines[:13] == [
        "ping", "generation 1", f"get {value}", "exists", "node 1", f"longest prefix Paris {value}",
        f"next {after.decode()} {ORACLE.get(after)}", f"prev {before.decode()} "
        f"{ORACLE.get(before)}", f"count {len(below)} 1", scanned(ORACLE.keys), scanned(below),
        scanned(ORACLE.keys[at:]), scanned(ORACLE.keys[:at])]
    assert lines[13:] == ["mget", f"Paris {value}", *(
        f"{key} {ORACLE.get(key.encode())}" for key in keys), "Nowhereville nothing", ""]


def test_byte_strings_and_misses(ask, actd, tmp_path):
    path = tmp_path / "x.act"
    actctl.build(path, b"a\tone\nb\t\nbb\tthree\n", "--values=bytes")
    daemon = actd(path)
    assert ask(daemon, "b", "a", "c", "bb").split("\n") == [
        "ping", "generation 1", 'get ""', "exists", "node 1", 'longest prefix b ""',
        'next bb "three"',
        'prev a "one"', "count 2 1", "scan 3 keys, 4 bytes", "scan 2 keys, 3 bytes",
        "scan 2 keys, 3 bytes", "scan 1 keys, 1 bytes", "mget", 'b ""', 'a "one"', "c nothing",
        'bb "three"', ""]
    assert ask(daemon, "0").split("\n") == [
        "ping", "generation 1", "get nothing", "exists nothing", "node nothing",
        "longest prefix nothing",
        'next a "one"', "prev nothing", "count 0 1", "scan 3 keys, 4 bytes", "scan nothing",
        "scan 3 keys, 4 bytes", "scan nothing", "mget", "0 nothing", ""]


def test_the_header_needs_nothing_of_ours(root, tmp_path):
    installed.check_header(root, "libactc", "actc/actc.h", tmp_path)
