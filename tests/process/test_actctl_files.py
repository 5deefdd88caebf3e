"""actctl get, mget, exists, node, info, dump and verify on files, without a daemon.

Damaged files tried: all of tests/data/crafted, a tree with a flipped byte at every offset, cut
files, metadata with a wrong checksum. What a format cannot carry is tried in each format.
"""

import json
import os
import pathlib
import re
import select
import signal
import subprocess

import pytest

from lib import actctl, paths
from lib.tree_data import good_trees, oracle_of
from lib.waiting import Clock

GOOD = [pytest.param(tree, id=tree.name) for tree in good_trees()]


# The same answers as a daemon's

QUESTIONS = [
    ("get", "Paris"),
    ("get", "Paris", "Nowhereville", "Berlin", ""),
    ("get", "Nowhereville"),
    ("--json", "get", "Paris", "Nowhereville"),
    ("--hex", "get", "5061726973"),
    ("--hex", "--json", "get", "5061726973", "00ff"),
    ("--hex", "get", "xyz"),
    ("exists", "Reykjavík"),
    ("exists", "Reykja"),
    ("--json", "exists", "Reykja"),
    ("node", "Amster"),
    ("node", "Paris"),
    ("node", "San "),
    ("node", "Nowhereville"),
    ("--json", "node", "Amster"),
    ("--json", "node", "Nowhereville"),
    ("--hex", "node", ""),
]


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_a_file_answers_as_a_daemon_does(question, cities):
    daemon = subprocess.run([actctl.ACTCTL, "-s", f"unix:{cities.unix[1]}", *question],
                            capture_output=True, env=actctl.environment(actctl.ENVIRONMENT))
    file = actctl.run("-f", paths.CITIES, *question, status=daemon.returncode)
    assert (file.stdout, file.stderr) == (daemon.stdout, daemon.stderr)


@pytest.mark.parametrize("flags", [[], ["--json"], ["--hex"]])
def test_a_file_answers_many_keys_as_a_daemon_does(flags, cities):
    oracle = oracle_of(paths.CITIES)
    asked = oracle.sample(5000) + [b"", b"Nowhereville", b"a\tb\\", b"\xff"]
    text = b"".join((key.hex().encode() if "--hex" in flags else key) + b"\n" for key in asked)
    address = f"unix:{cities.unix[1]}"
    daemon = actctl.run("-s", address, *flags, "mget", stdin=text, status=1)
    file = actctl.run("-f", paths.CITIES, *flags, "mget", stdin=text, status=1)
    assert file.stdout == daemon.stdout and file.stderr == daemon.stderr == b""


def test_a_file_answers_where_the_input_pauses():
    with actctl.start("mget", "-f", paths.CITIES, stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE) as process:
        for key, value in oracle_of(paths.CITIES).pairs[:3]:
            process.stdin.write(key + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\t%d\n" % value)


@pytest.mark.parametrize("name, key", [("child_self.act", "aa"), ("line_fwd.act", "a")])
def test_damage_on_the_way_is_told_with_key_and_place(name, key):
    path = paths.CRAFTED / name
    for command in ("get", "exists", "node"):
        told = actctl.error(command, "-f", path, key, status=3)
        assert re.fullmatch(rf"{key}: {path}: damaged at offset 16: .+: replace the file by a good "
                            r"copy \(rename it over the old one\)", told)
    assert actctl.error("mget", "-f", path, stdin=key.encode(), status=3).startswith(f"{key}: ")


def test_a_file_that_is_no_tree_is_refused(tmp_path):
    missing = tmp_path / "missing.act"
    for args in (["get", "-f", missing, "a"], ["dump", missing], ["verify", missing],
                 ["info", missing], ["mget", "-f", missing]):
        told = actctl.error(*args, status=3)
        assert str(missing) in told and "No such file or directory" in told
    other = tmp_path / "other.act"
    other.write_bytes(b"PK\x03\x04" + bytes(100))
    for args, status in ((["get", "-f", other, "a"], 3), (["dump", other], 3),
                         (["verify", other], 1), (["info", other], 1)):
        assert actctl.error(*args, status=status).startswith(f"{other}: not an ACT file")


# Byte values


@pytest.fixture(scope="module")
def owners(tmp_path_factory):
    path = tmp_path_factory.mktemp("bytes") / "owners.act"
    text = b"/bin/sh\tdash\n/etc/motd\t\n/usr/bin/env\tcore\xffutils\n/x\ttab\there\n"
    actctl.build(path, text, "--values=bytes")
    return path


def test_byte_values_are_answered_as_text(owners):
    assert actctl.output("get", "-f", owners, "/bin/sh") == b"dash\n"
    assert actctl.output("get", "-f", owners, "/etc/motd") == b"\n"
    several = actctl.output("get", "-f", owners, "/usr/bin/env", "/x")
    assert several == b"/usr/bin/env\tcore\\xffutils\n/x\ttab\\there\n"
    told = actctl.output("--json", "get", "-f", owners, "/bin/sh", "/usr/bin/env").splitlines()
    assert [json.loads(line)["value"] for line in told] == [
        "dash", {"hex": b"core\xffutils".hex()}]
    told = actctl.output("mget", "-f", owners, stdin=b"/x\n/bin/sh\n")
    assert told == b"/x\ttab\\there\n/bin/sh\tdash\n"
    assert b"value     dash\n" in actctl.output("node", "-f", owners, "/bin/sh")
    assert b'"value":"dash"' in actctl.output("--json", "node", "-f", owners, "/bin/sh")
    assert b"value     -\n" in actctl.output("node", "-f", owners, "/b")
    assert b"file.values                  bytes\n" in actctl.output("info", owners)


def test_a_daemon_answers_byte_values_as_the_file_does(owners, actd):
    address = f"unix:{actd(owners).unix[1]}"
    for question in (["get", "/bin/sh", "/usr/bin/env", "/x", "/etc/motd"], ["node", "/bin/sh"],
                     ["--json", "node", "/usr/bin/env"], ["--json", "get", "/usr/bin/env"],
                     ["exists", "/etc/motd"], ["node", "/"]):
        answer = actctl.output("-f", owners, *question)
        assert actctl.output("-s", address, *question) == answer
    for flags in ([], ["--json"]):
        text = b"/x\n/bin/sh\n/nothing\n/etc/motd\n"
        answer = actctl.run(*flags, "mget", "-f", owners, stdin=text, status=1).stdout
        assert actctl.run(*flags, "mget", "-s", address, stdin=text, status=1).stdout == answer


@pytest.mark.parametrize("name, key", [("child_self.act", "aa"), ("line_fwd.act", "a")])
def test_mget_tells_of_damage_from_a_daemon(name, key, actd):
    address = f"unix:{actd(paths.CRAFTED / name).unix[1]}"
    told = actctl.error("mget", "-s", address, stdin=key.encode(), status=3)
    assert told.startswith(f"{key}: {address}: CORRUPT: ")


def test_byte_values_merged_into_by_others_are_not_guessed(owners, tmp_path):
    data = bytearray(owners.read_bytes())
    root = data[8:16]
    # The new root: a leaf, the empty key with the value 7. Then the trailer of the merge.
    data[8:16] = len(data).to_bytes(8, "little")
    path = tmp_path / "merged.act"
    path.write_bytes(data + b"\x40\x07" + bytes(8) + root)
    assert b"file.values                  mixed\n" in actctl.run("info", path, status=1).stdout
    assert b"byte values" in actctl.output("verify", path, status=1)
    told = actctl.error("get", "-f", path, "", status=3)
    assert told.startswith(f"{path}: byte values, but merged since by a writer that does not know")
    assert actctl.error("dump", path, status=3).startswith(f"{path}: byte values, but merged since")
    for question in (["scan"], ["range", ""], ["longest-prefix", "a"], ["prefixes", "a"]):
        told = actctl.error("-f", path, *question, status=3)
        assert told.startswith(f"{path}: byte values, but merged since")
    for command in (["dump", path], ["scan", "-f", path]):
        assert actctl.output(*command, "--keys-only") == b"\n"
    assert actctl.output("count", "-f", path) == b"1\n"
    assert actctl.run("exists", "-f", path, "").stdout == b"true\n"


# dump


@pytest.mark.parametrize("tree", GOOD)
def test_every_tree_is_dumped(tree):
    dumped = actctl.output("dump", "--hex", tree)
    assert actctl.decode(dumped, is_hex=True) == sorted(oracle_of(tree).pairs)


@pytest.mark.parametrize("prefix", [b"", b"San ", b"Z", b"Paris", b"Nowhere", b"\xc3"])
def test_a_prefix_confines_a_dump(prefix):
    wanted = sorted(pair for pair in oracle_of(paths.CITIES).pairs if pair[0].startswith(prefix))
    dumped = actctl.output("dump", b"--prefix=" + prefix, paths.CITIES)
    assert actctl.decode(dumped) == wanted
    dumped = actctl.output("dump", "--hex", f"--prefix={prefix.hex()}", paths.CITIES)
    assert actctl.decode(dumped, is_hex=True) == wanted


FIRST = {"u64": 1, "bytes": b"v"}

CANNOT = [
    ("u64", b"a\nb", 1, "tsv", "a\\nb: a newline in the key"),
    ("u64", b"a\0b", 1, "nul", "a\\x00b: a NUL in the key"),
    ("bytes", b"a\nb", b"", "tsv", "a\\nb: a newline in the key"),
    ("bytes", b"a\tb", b"", "tsv", "a\\tb: a tab in the key"),
    ("bytes", b"ab", b"x\n", "tsv", "ab: a newline in the value"),
    ("bytes", b"ab", b"\0", "nul", "ab: a NUL in the value"),
    ("bytes", b"\0ab", b"", "nul", "\\x00ab: a NUL in the key"),
    ("u64", b"k" * 3000 + b"\n", 1, "tsv", "k" * 200 + "...: a newline in the key"),
]


@pytest.mark.parametrize("kind, key, value, form, wanted", CANNOT, ids=range(len(CANNOT)))
def test_what_a_format_cannot_carry_is_refused(kind, key, value, form, wanted, tmp_path):
    path = tmp_path / "x.act"
    text = actctl.encode([(b"Z", FIRST[kind]), (key, value)], "jsonl", is_bytes=kind == "bytes")
    actctl.build(path, text, "--format=jsonl", f"--values={kind}")
    result = actctl.run("dump", f"--format={form}", path, status=2)
    told = result.stderr.decode()
    assert told.startswith(f"actctl: {wanted}, which ") and told.count("\n") == 1, told
    assert "try --hex" in told
    first = actctl.encode([(b"Z", FIRST[kind])], form, is_bytes=kind == "bytes")
    assert key < b"Z" or result.stdout == first
    for flags in (["--format=jsonl"], ["--hex"]):
        dumped = actctl.output("dump", *flags, path)
        assert (key, value) in actctl.decode(dumped, flags[0].rpartition("=")[2].replace(
            "--hex", "tsv"), flags == ["--hex"], kind == "bytes")


def test_a_dump_sends_no_codes_to_a_terminal(tmp_path):
    path = tmp_path / "x.act"
    actctl.build(path, b"1b5b326a0a\t1\n5c\t2\nc3bc\t3\n", "--hex")
    assert actctl.on_terminal("dump", path) == "\\x1b[2j\\n\t1\n\\\\\t2\nü\t3\n".encode()
    assert b"\x1b" not in actctl.on_terminal("dump", "--format=nul", path)
    assert actctl.on_terminal("dump", "--format=jsonl", path).startswith(b'{"key":"\\u001b[2j\\n"')
    assert actctl.on_terminal("dump", "--hex", path).startswith(b"1b5b326a0a\t1\n")


def test_a_reader_that_goes_away_ends_a_dump():
    process = actctl.start("dump", paths.CITIES, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(Clock().left("actctl's end")) == -13


def test_what_was_found_before_damage_is_dumped(tmp_path):
    path = tmp_path / "x.act"
    actctl.build(path, b"a\t1\nb\t2\nroad\t3\nroof\t4\n")
    data = bytearray(path.read_bytes())
    data[data.index(b"\x01d")] = 0  # the length of the line data of "road"
    path.write_bytes(data)
    result = actctl.run("dump", path, status=3)
    assert result.stdout == b"a\t1\nb\t2\n"
    told = result.stderr.decode()
    assert re.fullmatch(rf"actctl: {path}: damaged at offset \d+: .+: actctl verify tells more\n",
                        told)


# A file that is truncated while it is read


@pytest.fixture
def shrinking(tmp_path):
    """A file of the test's own, its dump larger than any pipe."""
    path = tmp_path / "cities.act"
    path.write_bytes(paths.CITIES.read_bytes())
    return path


def end_after_truncation(process, path):
    """Its status, its output (drained only now), what it told."""
    os.truncate(path, 4096)
    stdout, stderr = process.communicate(timeout=Clock().left("actctl's end"))
    return process.returncode, stdout, stderr.decode()


def truncated(path):
    return f"actctl: the file was truncated while it was read: {path}\n"


def test_a_dump_tells_that_the_file_was_truncated(shrinking):
    process = actctl.start("dump", shrinking, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    select.select([process.stdout], [], [])
    # It waits for the pipe, with most of the file still to come.
    status, stdout, told = end_after_truncation(process, shrinking)
    assert (status, told) == (3, truncated(shrinking))
    whole = actctl.output("dump", paths.CITIES)
    assert 0 < len(stdout) < len(whole) and whole.startswith(stdout)


def test_mget_tells_that_the_file_was_truncated(shrinking):
    process = actctl.start("mget", "-f", shrinking, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
    process.stdin.write(b"Paris\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"Paris\t")
    os.truncate(shrinking, 4096)
    process.stdin.write(b"Berlin\n")
    status, _, told = end_after_truncation(process, shrinking)
    assert (status, told) == (3, truncated(shrinking))


def test_verify_tells_that_the_file_was_truncated(tmp_path):
    path = tmp_path / "faults.act"
    actctl.build(path, b"".join(b"%c%c%c-x\t1\n" % (i, j, k) for i in range(97, 123)
                                for j in range(97, 123) for k in range(97, 123)), "--plain")
    data = path.read_bytes()
    path.write_bytes(data[:16] + data[16:].replace(b"\xc0", b"\xc2"))
    process = actctl.start("verify", "--all", path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    select.select([process.stdout], [], [])
    status, _, told = end_after_truncation(process, path)
    assert (status, told) == (3, truncated(path))


def test_a_signal_that_somebody_sends_is_no_truncation(shrinking):
    process = actctl.start("dump", shrinking, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    select.select([process.stdout], [], [])
    process.send_signal(signal.SIGBUS)
    assert process.communicate(timeout=Clock().left("actctl's end"))[1] == b""
    assert process.returncode == -signal.SIGBUS


# verify


@pytest.mark.parametrize("tree", GOOD)
def test_every_file_of_the_reference_passes(tree):
    told = actctl.output("verify", tree).decode().splitlines()
    assert re.fullmatch(rf"{tree}: no faults, [\d,]+ values, {tree.stat().st_size:,} bytes, .*",
                        told[-1])
    assert all(line.startswith(f"{tree}: note: offset ") for line in told[:-1])
    found = json.loads(actctl.output("verify", "--json", tree))
    assert found["faults"] == 0 and found["notes"] == len(told) - 1 == len(found["findings"])
    assert found["bytes"] == tree.stat().st_size and found["file"] == str(tree)


# Offset and path of the first fault; None: only notes; "": refused as no tree.
CRAFTED = {
    "aborted_merge.act": None,
    "badmagic.act": "",
    "child_self.act": "offset 16: the root: ",
    "count33.act": "offset 82: the root: ",
    "dangling_leaf.act": None,
    "garbage_tail.act": None,
    "kids_overrun.act": "offset 18: the root: ",
    "line_bits.act": "offset 19: the root: ",
    "line_fwd.act": "offset 16: the root: ",
    "line_len0.act": "offset 16: the root: ",
    "line_line.act": "offset 22: ro: ",
    "line_value_child.act": "offset 27: the root: ",
    "line_value_child2.act": "offset 29: the root: ",
    "mask_field32_pop5.act": "offset 26: the root: ",
    "noncanon.act": "offset 29: the root: ",
    "nopad_page.act": "offset 4090: the root: ",
    "root0.act": "",
    "root_eof.act": "",
    "short0.act": "",
    "short12.act": "",
    "short24.act": "",
    "trailer_loop.act": None,
    "unsorted.act": "offset 20: the root: ",
}


@pytest.mark.parametrize("name", sorted(CRAFTED))
def test_odd_and_damaged_files_are_told_apart(name):
    path, wanted = paths.CRAFTED / name, CRAFTED[name]
    if wanted == "":
        assert actctl.error("verify", path, status=1).startswith(f"{path}: ")
        return
    if wanted is None:
        told = actctl.output("verify", path).decode().splitlines()
        assert len(told) > 1 and told[0].startswith(f"{path}: note: offset ")
        return
    told = actctl.output("verify", path, status=1).decode().splitlines()
    assert told[0].startswith(f"{path}: {wanted}")
    assert told[-1] == f"{path}: damaged (this is the first fault: --all goes on)"
    assert actctl.output("verify", "--all", path, status=1).decode().splitlines()[0] == told[0]
    fault = json.loads(actctl.output("verify", "--json", path, status=1))["findings"][0]
    assert fault["kind"] == "fault" and f"offset {fault['offset']}: " in wanted


def test_every_crafted_file_has_its_expectation():
    assert {path.name for path in paths.CRAFTED.glob("*.act")} == set(CRAFTED)


def test_all_faults_are_listed(tmp_path):
    path = tmp_path / "x.act"
    actctl.build(path, b"".join(b"%c-%d\t1\n" % (i, i) for i in range(97, 107)), "--plain")
    data = bytearray(path.read_bytes())
    nodes = [i for i in range(16, len(data)) if data[i] == 0xC0]
    assert len(nodes) == 10
    for i in nodes[:7]:
        data[i] |= 0x02
    path.write_bytes(data)
    first = actctl.output("verify", path, status=1).decode().splitlines()
    told = actctl.output("verify", "--all", path, status=1).decode().splitlines()
    assert len(first) == 2 and len(told) == 8 and told[0] == first[0]
    assert told[-1].startswith(f"{path}: 7 faults, ")
    found = json.loads(actctl.output("verify", "--all", "--json", "--hex", path, status=1))
    assert found["faults"] == 7 == len(found["findings"])
    assert [f["offset"] for f in found["findings"]] == sorted(nodes[:7])
    assert found["findings"][0]["path"] == {"hex": "61"}


def test_every_flipped_byte_is_found(tmp_path):
    path = tmp_path / "x.act"
    actctl.build(path, b"a\t1\nroad\t300\nroof\t4\nrot\t5\n" + b"".join(
        b"w%c\t%d\n" % (i, i) for i in range(97, 117)))
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        result = subprocess.run([actctl.ACTCTL, "verify", path], capture_output=True,
                                env=actctl.environment(actctl.ENVIRONMENT))
        assert result.returncode == 1, (at, result.stdout)
    for size in range(len(data)):
        path.write_bytes(data[:size])
        result = subprocess.run([actctl.ACTCTL, "verify", path], capture_output=True,
                                env=actctl.environment(actctl.ENVIRONMENT))
        assert result.returncode == 1, (size, result.stdout)


def test_json_tells_of_a_file_that_was_refused(tmp_path):
    missing, other = tmp_path / "missing.act", tmp_path / "other.act"
    other.write_bytes(b"PK\x03\x04" + bytes(100))
    for path, status, why in ((missing, 3, "No such file or directory"),
                              (other, 1, "not an ACT file")):
        result = actctl.run("verify", "--json", path, status=status)
        found = json.loads(result.stdout)
        assert found.keys() == {"file", "error"} and found["file"] == str(path)
        assert why in found["error"] and str(tmp_path) not in found["error"]
        assert result.stderr.decode() == f"actctl: {path}: {found['error']}\n"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file whose check needs more than the least --memory."""
    path = tmp_path_factory.mktemp("large") / "large.act"
    text = b"".join(b"%08d\t%s\n" % (i, b"%08d" % i * 3000) for i in range(1200))
    actctl.build(path, text, "--values=bytes")
    assert path.stat().st_size > 2 * (8 << 20)
    return path


@pytest.mark.parametrize("command", ["verify", "info"])
def test_a_check_that_came_to_no_end_names_the_directory(command, large, tmp_path):
    env = {"TMPDIR": str(tmp_path / "missing")}
    told = actctl.error(command, "--memory=8M", large, status=3, env=env)
    what = "checked" if command == "verify" else "read"
    assert told == (f"{large}: not {what} to the end: no temporary file in {env['TMPDIR']}: No "
                    "such file or directory: set TMPDIR to another directory, or allow more "
                    "--memory")
    actctl.output(command, large, env=env)


def test_json_tells_of_a_check_that_came_to_no_end(large, tmp_path):
    env = {"TMPDIR": str(tmp_path / "missing")}
    result = actctl.run("verify", "--json", "--memory=8M", large, status=3, env=env)
    found = json.loads(result.stdout)
    assert found["is_all"] is False
    assert found["error"].startswith(f"no temporary file in {env['TMPDIR']}: No such file or dir")
    assert result.stderr.decode().endswith(f": not checked to the end: {found['error']}\n")


# info


@pytest.mark.parametrize("tree", GOOD)
def test_info_adds_up(tree):
    info = json.loads(actctl.output("--json", "info", tree))
    oracle = oracle_of(tree)
    assert info["file"]["size_bytes"] == tree.stat().st_size == sum(info["bytes"].values())
    assert info["metadata"] == {"state": "none"}
    assert info["roots"]["history"][0] == info["file"]["root_offset"]
    assert info["roots"]["count"] == len(info["roots"]["history"])
    assert info["tree"]["keys"] in (None, len(oracle.keys))
    assert (info["tree"]["keys"] is None) == (info["tree"]["shared_runs"] > 0)
    assert sum(info["values_at_depth"].values()) == info["tree"]["nodes_with_value"]
    branches = info["objects"]["branches"] + info["objects"]["leaves"]
    assert sum(info["branches_with_children"].values()) == branches
    if info["tree"]["keys"] is not None:
        assert info["tree"]["deepest_path_bytes"] == max(map(len, oracle.keys), default=0)


def test_info_knows_what_was_built(tmp_path):
    path = tmp_path / "x.act"
    pairs = [(key, value) for key, value in oracle_of(paths.CITIES).pairs]
    actctl.build(path, actctl.encode(pairs))
    info = json.loads(actctl.output("--json", "info", path))
    metadata = info["metadata"]
    assert metadata["state"] == "full" and metadata["keys"] == len(pairs)
    assert metadata["longest_key_bytes"] == max(len(key) for key, _ in pairs)
    assert metadata["root_offset"] == info["file"]["root_offset"]
    assert info["objects"]["sibling_tables"] > 0 and info["bytes"]["sibling_tables"] > 0
    text = actctl.output("info", path).decode()
    assert f"tree.keys                    {len(pairs)}\n" in text
    assert len(re.findall(r"^\w+\.\S+ +\S", text, re.M)) == text.count("\n")


def test_the_roots_of_a_merged_file_are_told():
    text = actctl.output("info", paths.DOC / "b.act").decode()
    assert re.search(r"^roots\.count +2$", text, re.M)
    assert re.search(r"^roots\.history +59 33$", text, re.M)


def test_info_of_a_damaged_file_prints_what_it_reached():
    path = paths.CRAFTED / "line_line.act"
    result = actctl.run("info", path, status=1)
    assert b"file.size_bytes" in result.stdout
    assert result.stderr.decode() == (
        f"actctl: {path}: damaged: the numbers are of what could be reached; actctl verify tells "
        "where\n")


def test_info_computes_no_digest(tmp_path):
    """As the manual says: what is as good a tree as any is not noticed, but by verify."""
    path = tmp_path / "x.act"
    actctl.build(path, b"road\t1\n")
    path.write_bytes(path.read_bytes().replace(b"oad", b"Oad"))
    assert b"tree.keys                    1\n" in actctl.output("info", path)
    told = actctl.output("verify", path, status=1).decode()
    assert "digest" in told or "checksum" in told, told


# docs/actctl.1.scd


def test_the_formats_are_as_the_manual_shows_them(tmp_path):
    manual = (paths.ROOT / "docs" / "actctl.1.scd").read_text()
    example = re.search(r"^```\n(tsv .*?)```", manual, re.M | re.S)[1]
    hexed = {name: bytes.fromhex(text) for name, text in
             re.findall(r"^(tsv|nul) +((?:[0-9a-f]{2} *)+)$", example, re.M)}
    lines = [line.split(None, 1)[-1] if line.startswith("jsonl") else line.strip()
             for line in example.splitlines()[2:]]
    hexed["jsonl"] = "".join(f"{line}\n" for line in lines).encode()
    assert set(hexed) == {"tsv", "nul", "jsonl"}
    for form, text in hexed.items():
        path = tmp_path / f"{form}.act"
        actctl.build(path, text, f"--format={form}")
        assert sorted(actctl.decode(actctl.output("dump", path))) == [
            (b"", 2), (b"a", 1), (b"b\xff", 3)]
        by_key = {key: value for key, value in actctl.decode(text, form)}
        dumped = actctl.output("dump", f"--format={form}", path)
        assert dict(actctl.decode(dumped, form)) == by_key
    assert len({(tmp_path / f"{form}.act").read_bytes() for form in hexed}) == 1


def test_help_names_every_command_and_option():
    text = actctl.output("--help").decode()
    header = pathlib.Path(paths.ROOT / "client" / "actctl" / "options.h").read_text()
    flags = re.findall(r'X\(\w+, "([a-z-]+)"', header)
    assert len(flags) > 10
    for flag in flags:
        assert f" --{flag}" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert re.search(r"--hex +keys \(in records byte values too\) are given", text)
