"""docs/PROTOCOL.md against the daemon: every example is decoded and replayed, byte by byte.

The notation is described in section 1 of the document. An example is parsed into steps: bytes that
the client sends, patterns that the server's bytes must match, ends, and events on the server.
"""

import ast
import os
import re
import shutil
import signal
import socket

import msgpack
import pytest

from lib import paths, rpc
from lib.daemon import Daemon
from lib.waiting import Clock, eventually

TEXT = (paths.ROOT / "docs" / "PROTOCOL.md").read_text()

# A value that differs from run to run, in patterns and in comments.
ANY = type("Any", (), {"__repr__": lambda self: "*"})()

MTIME_S = 1704067200  # 2024-01-01 00:00:00 UTC, as section 1 says


# Notation


WORD = re.compile(r'b?"(?:\\.|[^"\\])*"|\b(?:nil|true|false)\b|(?<![\]\w])\*(?!\d)')
NAMES = {"nil": "None", "true": "True", "false": "False", "*": "ANY"}


def value_of(comment):
    """The value that a comment shows."""

    def make(node):
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name) and node.id == "ANY":
            return ANY
        if isinstance(node, ast.List):
            return [make(element) for element in node.elts]
        if isinstance(node, ast.Dict):
            return {make(key): make(value) for key, value in zip(node.keys, node.values)}
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -make(node.operand)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return make(node.left) * make(node.right)
        raise ValueError(f"{comment!r} is no value")

    text = WORD.sub(lambda match: NAMES.get(match[0], match[0]), comment)
    return make(ast.parse(text.strip(), mode="eval").body)


def pattern_of(text):
    """Bytes and ANYs, as a list of bytes objects and ANY."""
    pattern = []
    for word in re.findall(r"\([^)]*\)\*\d+|\S+", text):
        if word == "*":
            pattern.append(ANY)
            continue
        repeated = re.fullmatch(r"\(([^)]*)\)\*(\d+)", word)
        data = bytes.fromhex(repeated[1]) * int(repeated[2]) if repeated else bytes.fromhex(word)
        if pattern and pattern[-1] is not ANY:
            pattern[-1] += data
        else:
            pattern.append(data)
    return pattern


class Step:
    """One line of an example with its continuation lines."""

    def __init__(self, arrow, line):
        self.arrow = arrow
        self.line = line
        self.hex = ""
        self.comment = ""

    def add(self, text):
        data, _, comment = text.partition("#")
        value, _, _remark = (" " + comment.strip()).partition(" -- ")
        self.hex = f"{self.hex} {data}".strip()
        self.comment = f"{self.comment} {value}".strip()

    @property
    def is_end(self):
        return self.hex == "EOF"

    @property
    def is_incomplete(self):
        return self.hex.endswith("...")

    @property
    def pattern(self):
        return pattern_of(self.hex.removesuffix("..."))

    def __repr__(self):
        return f"PROTOCOL.md:{self.line}: {self.arrow} {self.hex[:60]}"


class Example:
    def __init__(self, line, settings):
        self.line = line
        self.settings = settings
        self.steps = []

    def add(self, number, line):
        arrow = line[:2]
        if arrow in ("->", "<-", "!!"):
            self.steps.append(Step(arrow, number))
        else:
            assert arrow == "  " and self.steps, f"PROTOCOL.md:{number}: {line!r}"
        if arrow == "!!":
            self.steps[-1].hex = line[2:].strip()
        else:
            self.steps[-1].add(line[2:])

    def __repr__(self):
        return f"line{self.line}"


def read_examples():
    examples = []
    is_inside = False
    for number, line in enumerate(TEXT.splitlines(), 1):
        if line.startswith("```"):
            is_inside = not is_inside and line.split()[0] == "```hex"
            if is_inside:
                settings = dict(word.split("=", 1) for word in line.split()[1:])
                examples.append(Example(number, settings))
        elif is_inside:
            examples[-1].add(number, line)
    return examples


EXAMPLES = read_examples()


# Decoding, by the independent decoder


def decode(data):
    """All values in data; raises where it is not a sequence of whole values."""
    unpacker = rpc.unpacker()
    unpacker.feed(data)
    values = []
    while unpacker.tell() < len(data):
        values.append(unpacker.unpack())
    return values


def is_like(value, wanted):
    """Equal in value and type, where wanted is not ANY."""
    if wanted is ANY:
        return True
    if type(value) is not type(wanted):
        return False
    if isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(is_like, value, wanted))
    if isinstance(wanted, dict):
        return list(value) == list(wanted) and all(is_like(value[k], wanted[k]) for k in wanted)
    return value == wanted


def count_any(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return sum(map(count_any, value))
    return value is ANY


def messages_of(example):
    """(steps, pattern, comment) of each message of an example; parts are put together."""
    pattern, steps = [], []
    for step in example.steps:
        if step.arrow == "!!" or step.is_end:
            continue
        steps.append(step)
        pattern += step.pattern
        if not step.is_incomplete:
            yield steps, pattern, step.comment
            pattern, steps = [], []
    assert not steps, f"{steps[-1]!r} is never completed"


def check_decodes(steps, pattern, comment):
    data = b"".join(b"\xc0" if part is ANY else part for part in pattern)
    if comment == "":
        assert steps[0].arrow == "->", f"{steps[0]!r} has no value"
        # ValueError: also more elements than the decoder takes.
        with pytest.raises((msgpack.OutOfData, ValueError)):
            decode(data)
        return None
    wanted = value_of(comment)
    values = decode(data)
    assert len(values) == 1, f"{steps[0]!r} is {len(values)} messages"
    assert is_like(values[0], wanted), f"{steps[0]!r} is {values[0]!r}"
    assert count_any(wanted) == pattern.count(ANY), steps[0]
    return wanted


@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_bytes_are_what_the_comment_says(example):
    assert example.steps
    for message in messages_of(example):
        check_decodes(*message)


# Replay


class Connection:
    """What an example's connection has received, and how far that was as expected."""

    def __init__(self, address):
        self.sock = rpc.connect(address)
        self.received = b""
        self.at = 0
        self.has_ended = False

    def receive(self):
        self.sock.settimeout(Clock().left("the server's bytes"))
        data = self.sock.recv(1 << 16)
        self.received += data
        self.has_ended = not data

    def need(self, n):
        while len(self.received) - self.at < n and not self.has_ended:
            self.receive()

    def take_bytes(self, wanted, step):
        self.need(len(wanted))
        got = self.received[self.at : self.at + len(wanted)]
        assert got == wanted, f"{step!r}: {got.hex(' ')}"
        self.at += len(wanted)

    def take_value(self, step):
        while True:
            unpacker = rpc.unpacker()
            unpacker.feed(self.received[self.at :])
            try:
                unpacker.skip()
            except msgpack.OutOfData:
                assert not self.has_ended, step
                self.receive()
                continue
            self.at += unpacker.tell()
            return

    def take(self, step):
        for part in step.pattern:
            if part is ANY:
                self.take_value(step)
            else:
                self.take_bytes(part, step)

    def take_end(self, step):
        while not self.has_ended:
            self.receive()
        rest = self.received[self.at :]
        assert rest == b"", f"{step!r}: {rest.hex(' ')}"

    def check_usable(self, step):
        """It is still open, and nothing came that the example does not show."""
        assert self.received[self.at :] == b"", step
        self.sock.sendall(rpc.request(0xFFFFFFFF, "ping"))
        self.take_bytes(rpc.pack([1, 0xFFFFFFFF, None, "pong"]), step)


HALF_DRAIN = "half of limits.drain_timeout_ms passes"
RENAME = re.compile(r"(\S+) is renamed over the served file, and SIGHUP")
EMPTY = "the served file is emptied, all workers are killed, and the client connects again"
OVERWRITE = "the first 16 bytes of the served file are overwritten with zeros"


class Probe:
    """A connection beside the example's. A request on it is always half sent, so a server that
    drains leaves it open, and its answers tell when the time for DRAINING has come."""

    request = rpc.request(1, "ping")
    unfinished = request[:1]

    def __init__(self, address):
        self.sock = rpc.connect(address)
        self.sock.sendall(self.unfinished)
        self.unpacker = rpc.unpacker()

    def sees_draining(self):
        self.sock.sendall(self.request[1:] + self.unfinished)
        self.sock.settimeout(Clock().left("an answer"))
        self.unpacker.feed(self.sock.recv(1 << 16))
        _, _, error, _ = self.unpacker.unpack()
        return error is not None and error[0] == rpc.DRAINING


def children_of(pid):
    """The processes that it has started."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [int(child) for child in children.read().split()]


class Replay:
    def __init__(self, example, daemon, address, tree):
        self.daemon = daemon
        self.address = address
        self.tree = tree
        self.connection = Connection(address)
        self.pending = b""
        self.n_sent = 0
        self.probe = None
        if is_timed(example):
            self.probe = Probe(address)
            self.n_sent += len(Probe.unfinished)
        self.run(example)

    def send_pending(self):
        """Lines that follow each other go out in one piece."""
        self.connection.sock.sendall(self.pending)
        self.n_sent += len(self.pending)
        self.pending = b""

    def run(self, example):
        for step in example.steps:
            if step.arrow == "->" and not step.is_end:
                self.pending += b"".join(step.pattern)
                continue
            if self.pending:
                self.send_pending()
            if step.arrow == "!!":
                self.event(step)
            elif step.arrow == "->":
                self.connection.sock.shutdown(socket.SHUT_WR)
            elif step.is_end:
                self.connection.take_end(step)
            else:
                self.connection.take(step)
        if not self.connection.has_ended:
            self.connection.check_usable(example)

    def event(self, step):
        if step.hex == "SIGTERM":
            # A part of a request must be there before the signal.
            self.daemon.wait_stat("traffic", "read_bytes", self.n_sent)
            self.daemon.send_signal()
        elif step.hex == HALF_DRAIN:
            eventually(self.probe.sees_draining, "DRAINING")
            self.probe.sock.close()
        elif step.hex == OVERWRITE:
            with open(self.tree, "r+b") as tree:
                tree.write(bytes(16))
        elif match := RENAME.fullmatch(step.hex):
            new = self.tree.with_name("new")
            shutil.copyfile(paths.DATA / match[1], new)
            os.utime(new, (MTIME_S, MTIME_S))
            os.rename(new, self.tree)
            self.daemon.send_signal(signal.SIGHUP)
        elif step.hex == EMPTY:
            os.truncate(self.tree, 0)
            for child in children_of(self.daemon.pid):
                os.kill(child, signal.SIGKILL)
            self.connection.sock.close()
            self.connection = Connection(self.address)
        else:
            raise AssertionError(f"{step!r}: no such event")


def serve(example, directory):
    """The daemon that section 1 describes, in a copy of tests/data."""
    # Each worker has a clock of its own for what is timed.
    workers = {"daemon.workers": 1} if is_timed(example) else {}
    settings = {"tree.path": "doc/a.act", **workers, **example.settings}
    tree = directory / settings["tree.path"]
    tree.parent.mkdir(exist_ok=True)
    shutil.copyfile(paths.DATA / settings["tree.path"], tree)
    os.utime(tree, (MTIME_S, MTIME_S))
    return Daemon(settings.pop("tree.path"), settings, preexec=lambda: os.chdir(directory)), tree


def is_timed(example):
    """What follows half of a drain must come in the other half."""
    return any(step.hex == HALF_DRAIN for step in example.steps)


TIMED = [
    pytest.param(example, marks=pytest.mark.alone) if is_timed(example) else example
    for example in EXAMPLES
]


@pytest.mark.parametrize("example", TIMED, ids=repr)
def test_the_daemon_does_what_the_document_says(example, kind, tmp_path):
    daemon, tree = serve(example, tmp_path)
    with daemon:
        replay = Replay(example, daemon, getattr(daemon, kind), tree)
        replay.connection.sock.close()
        if any(step.hex == "SIGTERM" for step in example.steps):
            daemon.wait()


# Completeness


def source(name):
    return (paths.ROOT / name).read_text()


METHODS = re.findall(r"^ *X\((\w+), \d+, \d+,", source("daemon/methods.h"), re.M)
ERRORS = re.findall(r"^ *X\((\w+), (\d+),", source("proto/errors.h"), re.M)
SENT = {"yes": True, "no": False}


def exchanges():
    """(request, response) of all examples, matched by their ids."""
    for example in EXAMPLES:
        messages = [(steps[0].arrow, check_decodes(steps, *rest))
                    for steps, *rest in messages_of(example)]
        responses = {value[1]: value for arrow, value in messages if arrow == "<-"}
        for arrow, value in messages:
            if arrow == "->" and isinstance(value, list) and len(value) == 4 and value[0] == 0:
                yield value, responses.get(value[1])


def documented_errors():
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \| [^|]+ \| (yes|no) \|$", TEXT, re.M)
    return {name: (int(number), SENT[sent]) for number, name, sent in rows}


def section_of(title):
    match = re.search(rf"^### {title}\n(.*?)(?=^##)", TEXT, re.M | re.S)
    assert match, f"no section {title}"
    return match[1]


def test_there_are_examples():
    assert len(EXAMPLES) >= 30
    assert any(step.is_end for example in EXAMPLES for step in example.steps)


def test_the_tables_of_the_code_were_found():
    assert len(METHODS) >= 8 and len(ERRORS) == 12


@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_described_and_shown(method):
    assert re.search(rf"^\| `{method}` \|", TEXT, re.M)
    assert "```hex" in section_of(method)
    assert any(
        request[2] in (method, method.encode()) and response[2] is None
        for request, response in exchanges()
        if response is not None
    )


@pytest.mark.parametrize("name, number", ERRORS)
def test_each_error_is_described_and_shown_if_it_is_sent(name, number):
    assert documented_errors()[name][0] == int(number)
    shown = {
        tuple(response[2])[0]
        for _, response in exchanges()
        if response is not None and isinstance(response[2], list)
    }
    if documented_errors()[name][1]:
        assert int(number) in shown
        assert "```hex" in section_of(name)
    else:
        assert int(number) not in shown


def test_no_other_methods_and_errors_are_described():
    assert set(documented_errors()) == {name for name, _ in ERRORS}
    table = TEXT.partition("## 7. Methods")[2].partition("### ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == METHODS


def test_limits_have_the_defaults_that_the_document_says():
    shown = re.findall(r"`(limits|cold)\.(\w+)` = (\w+)", TEXT)
    assert len(shown) >= 10
    for section, name, default in shown:
        options = source("conf/actd.conf").partition(f"[{section}]")[2].partition("\n[")[0]
        assert dict(re.findall(r"^#(\w+) = (\S+)$", options, re.M))[name] == default, name
