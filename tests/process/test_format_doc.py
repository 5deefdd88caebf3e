"""docs/FORMAT.md against the files that it describes.

A dump block (```dump FILE) holds lines of an offset, bytes and a remark; it must be the whole file
in tests/data/doc. The varint block holds lines "number = bytes". The tables of keys must be what
the file's .tsv says and what the daemon answers.
"""

import os
import re
import subprocess

import pytest

from lib import actctl, paths
from lib.tree_data import oracle_of

TEXT = (paths.ROOT / "docs" / "FORMAT.md").read_text()

SECTIONS = [
    "File",
    "Varint",
    "Line data",
    "Nodes",
    "Meaning",
    "The shape that writers emit",
    "Merging in place",
    "Invariants",
    "Annotated examples",
    "Odd and damaged files",
    "Additions of this project",
]


def blocks(kind):
    """{argument: lines} of the fenced blocks of a kind."""
    found = re.findall(rf"^```{kind} ?([^\n]*)\n(.*?)^```$", TEXT, re.M | re.S)
    return {argument: text.splitlines() for argument, text in found}


DUMPS = blocks("dump")


def read_dump(lines):
    """The bytes of a dump, whose lines must follow each other without a gap."""
    data = b""
    for line in lines:
        match = re.fullmatch(r" *(\d+)  ([0-9a-f| ]+?) *  # (.+)", line)
        assert match, line
        assert int(match[1]) == len(data), f"{line!r} begins at {len(data)}"
        data += bytes.fromhex(match[2].replace("|", " "))
    return data


def test_the_sections_have_their_numbers():
    """Comments in the code refer to them."""
    found = re.findall(r"^## (\d+)\. (.+)$", TEXT, re.M)
    assert found == [(str(number), title) for number, title in enumerate(SECTIONS, 1)]


def test_each_example_is_dumped():
    assert {"a.act", "b_base.act", "b.act", "c.act", "d.act", "e.act"} <= set(DUMPS)


def file_of(name):
    return next(path for path in (paths.DOC / name, paths.BUILT / name) if path.exists())


@pytest.mark.parametrize("name", DUMPS)
def test_a_dump_is_the_file(name):
    assert read_dump(DUMPS[name]) == file_of(name).read_bytes()


@pytest.mark.parametrize("name", DUMPS)
def test_the_offsets_in_the_remarks_are_right(name):
    """'child 38 - 11 = 27' at offset 38: the number at hand, and what it comes to."""
    data = file_of(name).read_bytes()
    n_checked = 0
    for line in DUMPS[name]:
        offset, data_text = line.partition("#")[0].split(maxsplit=1)
        for node, distance, target in re.findall(r"(\d+) - (\d+) = (\d+)", line):
            assert node == offset and int(node) - int(distance) == int(target), line
            assert f"| {int(distance):02x}" in data_text, line
            n_checked += 1
    root = re.search(r"root = (\d+)", "\n".join(DUMPS[name]))
    assert int(root[1]) == int.from_bytes(data[8:16], "little")
    assert n_checked > 0


def tables_of_keys():
    """{file: {key: value}} of the examples that show one."""
    tables = {}
    for name, text in re.findall(r"^### (\w+\.act)\n(.*?)(?=^##)", TEXT, re.M | re.S):
        rows = re.findall(r"^\| `(\w+)` \| (\d+) \|$", text, re.M)
        if rows:
            tables[name] = {key.encode(): int(value) for key, value in rows}
    return tables


@pytest.mark.parametrize("name", ["a.act", "b.act", "d.act"])
def test_the_keys_are_those_of_the_file(name, actd):
    wanted = tables_of_keys()[name]
    assert wanted == oracle_of(paths.DOC / name).values
    with actd(paths.DOC / name).client() as client:
        assert client.call("mget", list(wanted)) == list(wanted.values())


def test_the_builder_writes_the_example(tmp_path):
    built = tmp_path / "e.act"
    subprocess.run([actctl.ACTCTL, "build", "--values=bytes", "-o", built, paths.BUILT / "e.tsv"],
                   env=os.environ | {"SOURCE_DATE_EPOCH": "1"}, check=True,
                   stderr=subprocess.DEVNULL)
    assert built.read_bytes() == (paths.BUILT / "e.act").read_bytes()


def test_the_example_is_served_as_byte_values(actd):
    lines = (paths.BUILT / "e.tsv").read_bytes().splitlines()
    values = dict(line.split(b"\t") for line in lines)
    with actd(paths.BUILT / "e.act").client() as client:
        assert client.call("info")["tree"]["values"] == "bytes"
        assert client.call("mget", list(values) + [b"", b"kq"]) == [*values.values(), None, None]
        assert [client.call("get", key) for key in values] == list(values.values())
        assert client.call("node", b"k")["value"] == b"keys"


def decode_varint(data):
    """As section 2 says; (number, bytes used)."""
    n = max(0, data[0] - 247)
    return (int.from_bytes(data[1 : 1 + n], "little") if n else data[0]), 1 + n


def encode_varint(number):
    if number < 248:
        return bytes([number])
    n = (number.bit_length() + 7) // 8
    return bytes([247 + n]) + number.to_bytes(n, "little")


def test_the_varints_are_right():
    lines = blocks("varint")[""]
    assert len(lines) >= 10
    for line in lines:
        number, _, data = line.partition("=")
        data = bytes.fromhex(data)
        assert decode_varint(data) == (int(number), len(data)), line
        assert encode_varint(int(number)) == data, line


def test_the_files_of_section_10_are_there():
    section = TEXT.partition("## 10.")[2].partition("## 11.")[0]
    named = set()
    for row in re.findall(r"^\|[^|]+\|([^|]*)\|", section, re.M)[2:]:
        named.update(re.findall(r"[a-z_0-9]+", row.replace("`doc/d.act`", "")))
    crafted = {path.stem for path in paths.CRAFTED.glob("*.act")}
    assert named == crafted, named ^ crafted
