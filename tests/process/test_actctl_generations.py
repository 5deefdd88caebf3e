"""actctl watch, and --pin, against a server that the test plays.

Bad input tried: options that make no sense; servers that do not know the methods, whose news or
results are none, that close, and that say no more; outputs that fail, readers that go away.
"""

import json
import select
import signal
import subprocess

import pytest

from lib import actctl
from lib.peer import Peer
from lib.waiting import Clock

MAX = 2**64 - 1
PIN = {"pin": MAX}
GONE = [9, "GONE: generation 7 is not served"]


@pytest.fixture
def peer(tmp_path):
    with Peer(tmp_path / "sock") as peer:
        yield peer


@pytest.fixture
def start(peer):
    """actctl with these arguments, asking the peer; its streams are pipes."""
    started = []

    def start(*args, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                   "stderr": subprocess.PIPE, **options}
        started.append(actctl.start("-s", peer.address, *args, **options))
        peer.accept()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def watch(start, peer, *args, **options):
    process = start("watch", *args, **options)
    peer.answer("watch", result=True)
    return process


def end(process, status):
    """What it has printed, and told."""
    stdout, stderr = process.communicate(timeout=Clock().left("actctl's end"))
    assert process.returncode == status, stderr
    return stdout.decode(), stderr.decode()


def failed(process, status=3):
    """The one line told."""
    stdout, stderr = end(process, status)
    assert stdout == "" and stderr.count("\n") == 1, (stdout, stderr)
    return stderr


# watch


def test_each_line_comes_at_once(start, peer):
    process = watch(start, peer)
    for number, identity in (1, 0), (2, 1), (3, MAX), (2**64 - 1, 5):
        peer.notify(number, identity)
        line = process.stdout.readline()  # only a pipe: nothing may wait in a buffer
        assert line == f"generation {number} identity {identity}\n".encode()
    peer.close()
    assert "the server closed the connection" in failed(process)


def test_a_count_ends_it(start, peer):
    process = watch(start, peer, "-n", "2")
    peer.notify(1, 11)
    assert process.stdout.readline() == b"generation 1 identity 11\n"
    peer.notify(2, 12)
    assert end(process, 0) == ("generation 2 identity 12\n", "")
    assert peer.request() is None


def test_the_first_news_may_come_before_the_reply(start, peer):
    process = start("watch", "--limit=1")
    msgid = peer.expect("watch")
    peer.notify(1, 2)
    peer.send([1, msgid, None, True])
    assert end(process, 0) == ("generation 1 identity 2\n", "")


def test_json_keeps_every_bit(start, peer):
    process = watch(start, peer, "--json", "-n1")
    peer.notify(3, MAX)
    assert json.loads(end(process, 0)[0]) == {"number": 3, "identity": MAX}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_quietly(number, start, peer):
    process = watch(start, peer)
    peer.notify(1, 2)
    select.select([process.stdout], [], [])
    process.send_signal(number)
    assert end(process, -number) == ("generation 1 identity 2\n", "")


def test_other_notifications_are_ignored(start, peer):
    process = watch(start, peer, "-n1")
    peer.send([2, "other", [{"number": 1, "identity": 2}]], [2, "generations", []])
    peer.notify(3, 4)
    assert end(process, 0) == ("generation 3 identity 4\n", "")


@pytest.mark.parametrize("news", [
    [], [None], [{}], [{"number": 1}], [{"number": -1, "identity": 1}],
    [{"number": "x", "identity": 1}]], ids=range(6))
def test_news_that_no_actd_would_tell_is_refused(news, start, peer):
    process = watch(start, peer)
    peer.send([2, "generation", news])
    assert "the result is not of the type that actd gives" in failed(process)


def test_a_server_that_cannot_be_watched_is_told(start, peer):
    process = start("watch")
    peer.refuse("watch", error=[2, "UNKNOWN_METHOD: \"watch\""])
    told = failed(process)
    assert "UNKNOWN_METHOD" in told and told.endswith(": is actd older than this actctl?\n")
    process = start("watch")
    peer.answer("watch", result=False)
    assert "the result is not of the type that actd gives" in failed(process)
    process = start("watch", "--timeout-ms=50")
    assert "no reply within 50 ms" in failed(process)


def test_nobody_there(tmp_path):
    told = actctl.error("-s", f"unix:{tmp_path}/none", "watch", status=3)
    assert "cannot connect: No such file or directory" in told


def test_a_reader_that_goes_away_ends_it(start, peer):
    process = watch(start, peer)
    process.stdout.close()
    peer.notify(1, 2)
    assert process.stderr.read() == b""
    assert process.wait(Clock().left("actctl's end")) == -signal.SIGPIPE
    process.stdout = None


def test_an_output_that_is_full_ends_it(start, peer):
    with open("/dev/full", "wb") as full:
        process = watch(start, peer, stdout=full)
    peer.notify(1, 2)
    _, stderr = process.communicate(timeout=Clock().left("actctl's end"))
    assert process.returncode == 3
    assert stderr == b"actctl: cannot write to standard output: No space left on device\n"


@pytest.mark.long
def test_a_server_that_says_no_more_is_noticed(start, peer):
    process = watch(start, peer, "--timeout-ms=200")
    peer.answer("ping", result="pong")  # after 30 s
    peer.notify(1, 2)
    assert process.stdout.readline() == b"generation 1 identity 2\n"
    peer.expect("ping")
    assert "no reply within 200 ms" in failed(process)


# --pin


LIMITS = {"limit": 10000, "max_bytes": 1 << 20}

QUESTIONS = [
    (["scan", "a"], "scan", [b"a", {**LIMITS, **PIN}],
     {"entries": [[b"a", 1]], "cursor": None}, "a\t1\n"),
    (["range", "a"], "range", [b"a", None, {**LIMITS, **PIN}],
     {"entries": [[b"a", 1]], "cursor": None}, "a\t1\n"),
    (["count", "a"], "count", [b"a", PIN], {"count": 7, "exact": True}, "7\n"),
    (["explore", "a"], "explore", [b"a", PIN], [[98, b"ab", 1, 1]], "b\t1\tab\t1\n"),
    (["longest-prefix", "ab"], "longest_prefix", [[b"ab"], {"errors": True, **PIN}],
     {"values": [[b"a", 1]], "errors": []}, "a\t1\n"),
    (["prefixes", "ab"], "prefixes", [[b"ab"], {"errors": True, **PIN}],
     {"values": [[[b"a", 1], [b"ab", 2]]], "errors": []}, "a\t1\nab\t2\n"),
    (["mget"], "mget", [[b"a"], {"errors": True, **PIN}], {"values": [1], "errors": []}, "a\t1\n"),
]
IDS = [question[0][0] for question in QUESTIONS]


def ask(start, args):
    process = start("--pin", str(MAX), *args, stdin=subprocess.PIPE)
    if args == ["mget"]:
        process.stdin.write(b"a\n")
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.parametrize("args, method, params, result, printed", QUESTIONS, ids=IDS)
def test_a_pin_is_sent(args, method, params, result, printed, start, peer):
    process = ask(start, args)
    peer.answer(method, *params, result=result)
    assert end(process, 0) == (printed, "")


@pytest.mark.parametrize("args, method, params, result, printed", QUESTIONS, ids=IDS)
def test_a_generation_that_is_gone_is_told(args, method, params, result, printed, start, peer):
    process = ask(start, args)
    peer.refuse(method, *params, error=GONE)
    told = failed(process)
    assert "GONE: generation 7 is not served" in told
    assert told.endswith(": another file is served now: actctl info tells its identity\n")


def test_a_generation_may_go_between_two_pages(start, peer):
    process = ask(start, ["scan"])
    options = {**LIMITS, **PIN}
    peer.answer("scan", b"", options, result={"entries": [[b"a", 1]], "cursor": b"c"})
    peer.refuse("scan", b"", {**options, "cursor": b"c"}, error=GONE)
    stdout, stderr = end(process, 3)
    assert stdout == "a\t1\n" and "GONE" in stderr


@pytest.mark.parametrize("command", ["longest-prefix", "prefixes"])
def test_what_is_said_of_a_pinned_key_is_understood(command, start, peer):
    method, params = command.replace("-", "_"), [[b"a"], {"errors": True, **PIN}]
    nothing = None if command == "longest-prefix" else []
    process = ask(start, [command, "a"])
    peer.answer(method, *params, result={"values": [nothing], "errors": []})
    assert end(process, 1)[0] == ""
    damage = [[0, [6, "CORRUPT: offset 18"]]]
    process = ask(start, [command, "a"])
    peer.answer(method, *params, result={"values": [None], "errors": damage})
    told = failed(process)
    assert told.startswith("actctl: a: ") and "CORRUPT" in told and "good copy" in told


@pytest.mark.parametrize("command", ["longest-prefix", "prefixes"])
@pytest.mark.parametrize("result", [
    None, [], [[]], {}, {"values": []}, {"values": [], "errors": []}, {"values": [[]]},
    {"values": [[], []], "errors": []}, {"values": [[]], "errors": None},
    {"values": [7], "errors": []}, {"values": None, "errors": []}], ids=range(11))
def test_what_no_actd_would_say_is_refused(command, result, start, peer):
    process = ask(start, [command, "a"])
    method = command.replace("-", "_")
    peer.answer(method, [b"a"], {"errors": True, **PIN}, result=result)
    assert "the result is not of the type that actd gives" in failed(process)


USAGE = [
    (["--pin"], "the option needs a value"), (["--pin=x", "scan"], "--pin takes the identity"),
    (["--pin=-1", "scan"], "--pin takes the identity"), (["--pin=", "scan"], "--pin takes"),
    (["--pin=18446744073709551616", "scan"], "--pin takes the identity"),
    (["--pin=0x1", "scan"], "--pin takes the identity"),
    (["--pin=1", "get", "a"], "--pin: get does not take this option"),
    (["--pin=1", "next", "a"], "--pin: next does not take this option"),
    (["--pin=1", "-f", "x", "scan"], "--pin: a file has no generations"),
    (["watch", "-n0"], "--limit takes a number from 1 on"), (["watch", "-n"], "needs a value"),
    (["watch", "x"], "too many arguments"), (["watch", "-f", "x"], "--file: watch does not take"),
]


@pytest.mark.parametrize("args, wanted", USAGE, ids=range(len(USAGE)))
def test_what_makes_no_sense_is_refused(args, wanted):
    assert wanted in actctl.error(*args, status=2)


def test_an_identity_of_0_is_one(start, peer):
    process = start("--pin=0", "count")
    peer.answer("count", b"", {"pin": 0}, result={"count": 1, "exact": True})
    assert end(process, 0) == ("1\n", "")


