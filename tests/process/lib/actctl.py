"""The command line actctl: run it, and make what it reads."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios

from . import paths
from .daemon import SANITIZER_REPORT, environment
from .waiting import Clock

ACTCTL = paths.BUILD / "client" / "actctl"

# Nothing from outside changes what is printed or built.
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "0"}


def start(*args, env=None, **options):
    """actctl with these arguments, running; its streams are what options say."""
    return subprocess.Popen([ACTCTL, *args], env=environment({**ENVIRONMENT, **(env or {})}),
                            **options)


def run(*args, stdin=b"", status=0, env=None, **options):
    """actctl to its end, which must be this status: the finished process, streams as bytes."""
    with start(*args, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
               stderr=subprocess.PIPE, **options) as process:
        stdout, stderr = process.communicate(stdin, timeout=Clock().left("actctl"))
    told = stderr.decode(errors="backslashreplace")
    assert not SANITIZER_REPORT.search(told), told
    assert process.returncode == status, (process.returncode, told)
    return subprocess.CompletedProcess(process.args, status, stdout, stderr)


def output(*args, **options):
    """Its standard output; standard error must be empty."""
    result = run(*args, **options)
    assert result.stderr == b"", result.stderr
    return result.stdout


def error(*args, **options):
    """The one line on standard error, without "actctl: "; standard output must be empty."""
    result = run(*args, **options)
    assert result.stdout == b"", result.stdout
    told = result.stderr.decode(errors="backslashreplace")
    assert told.startswith("actctl: ") and told.endswith("\n") and told.count("\n") == 1, told
    return told[len("actctl: ") : -1]


def on_terminal(*args, columns=0, env=None):
    """Its standard output on a terminal, which is so wide, or does not say."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = start(*args, stdout=end, stderr=subprocess.PIPE, env=env)
    os.close(end)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # nobody has it open any more
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    assert process.wait(Clock().left("actctl")) == 0, process.stderr.read()
    process.stderr.close()
    return shown.replace(b"\r\n", b"\n")


def build(out, records, *args, **options):
    """Builds from this text: what it tells."""
    result = run("build", "-o", out, *args, stdin=records, **options)
    assert result.stdout == b""
    return result.stderr.decode()


def is_root():
    return os.geteuid() == 0


# Records, as they are specified; nothing is shared with the program.


def json_bytes(data, is_hex=False):
    try:
        if not is_hex:
            return data.decode()
    except UnicodeDecodeError:
        pass
    return {"hex": data.hex()}


def encode(pairs, form="tsv", is_hex=False, is_bytes=False, ensure_ascii=False):
    """Text of (key, value) in this format; values are numbers, or bytes."""
    if form == "jsonl":
        objects = [
            {"key": json_bytes(key, is_hex), "value": json_bytes(value) if is_bytes else value}
            for key, value in pairs
        ]
        lines = [json.dumps(o, ensure_ascii=ensure_ascii) + "\n" for o in objects]
        return "".join(lines).encode()
    between, end = (b"\t", b"\n") if form == "tsv" else (b"\0", b"\0")

    def text(data):
        return data.hex().encode() if is_hex else data

    records = [
        text(key) + between + (text(value) if is_bytes else b"%d" % value) + end
        for key, value in pairs
    ]
    return b"".join(records)


def from_json(data):
    return bytes.fromhex(data["hex"]) if isinstance(data, dict) else data.encode()


def decode(text, form="tsv", is_hex=False, is_bytes=False):
    """The (key, value) of a text."""
    if form == "jsonl":
        objects = [json.loads(line) for line in text.splitlines()]
        return [
            (from_json(o["key"]), from_json(o["value"]) if is_bytes else o["value"])
            for o in objects
        ]
    if form == "tsv":
        lines = text.split(b"\n")
        fields = [
            line.split(b"\t", 1) if is_bytes else line.rsplit(b"\t", 1) for line in lines[:-1]
        ]
        assert lines[-1] == b""
    else:
        flat = text.split(b"\0")
        assert flat.pop() == b"" and len(flat) % 2 == 0
        fields = list(zip(flat[::2], flat[1::2]))

    def data(field):
        return bytes.fromhex(field.decode()) if is_hex else field

    return [(data(key), data(value) if is_bytes else int(value)) for key, value in fields]


def carries(form, is_hex, is_bytes, key, value=b""):
    """Can the format hold this record?"""
    if is_hex or form == "jsonl":
        return True
    value = value if is_bytes else b""
    if form == "nul":
        return b"\0" not in key + value
    return b"\n" not in key + value and not (is_bytes and b"\t" in key)
