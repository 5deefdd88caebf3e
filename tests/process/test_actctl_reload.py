"""actctl reload, against an admin endpoint that the test plays: HTTP over a Unix socket.

Bad input tried: no socket, a file, a directory or a deserted socket in its place, no permission;
refusals, other statuses, bodies that are no JSON or not what actd says, too long, cut; what is no
HTTP; silence, before and after the connection is accepted; options that make no sense; with --wait
servers that are not there, do not know the method, never serve the generation, or serve another.
"""

import http.server
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading

import pytest

from lib import actctl
from lib.peer import Peer
from lib.waiting import Clock, eventually

IDENTITY = 2**64 - 2
DONE = {"generation": {"number": 4, "identity": IDENTITY}, "path": "/srv/t.act",
        "size_bytes": 7340032}
LINE = f"generation 4 (identity {IDENTITY}): /srv/t.act, 7340032 bytes\n"
REASON = "/srv/t.act: damaged at offset 18: fewer children than the child set says"
SERVING = {"number": 3, "identity": 2**63 + 1}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        self.server.requests.append((self.path, self.rfile.read(length), dict(self.headers)))
        self.server.wait()
        status, body = self.server.answer
        self.send_response(status)
        for name, value in self.server.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

    def address_string(self):
        return "client"


class Admin(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers POST with `answer`, (status, body), once `is_ready` is set."""

    daemon_threads = True

    def __init__(self, path):
        super().__init__(str(path), Handler)
        self.address = f"unix:{path}"
        self.requests, self.headers, self.answer = [], [], (200, b"")
        self.is_ready = threading.Event()
        self.is_ready.set()
        self.thread = threading.Thread(target=self.serve_forever, args=[0.01])
        self.thread.start()

    def say(self, status, value, headers=()):
        self.answer = status, value if isinstance(value, bytes) else json.dumps(value).encode()
        self.headers = headers

    def wait(self):
        self.is_ready.wait(Clock().left("the answer"))

    def handle_error(self, *_):
        pass  # the client may go away

    def end(self):
        self.is_ready.set()
        self.shutdown()
        self.thread.join()
        self.server_close()


@pytest.fixture
def admin(tmp_path):
    server = Admin(tmp_path / "admin")
    yield server
    server.end()


def reload(admin, *args, **options):
    return actctl.run("reload", "-a", admin.address, *args, **options)


def error(admin, *args, **options):
    return actctl.error("reload", "-a", admin.address, *args, **options)


# What actd says


def test_the_new_generation_is_told(admin):
    admin.say(200, json.dumps(DONE).encode() + b"\n")
    result = reload(admin)
    assert (result.stdout.decode(), result.stderr) == (LINE, b"")
    [(path, body, headers)] = admin.requests
    assert (path, body, headers["Content-Length"]) == ("/reload", b"", "0")
    assert "Transfer-Encoding" not in headers and "Expect" not in headers


def test_json_is_what_actd_said(admin):
    for status, said, wanted in ((200, DONE, 0), (409, {"error": REASON, "serving": None}, 1),
                                 (503, {"error": "the server is stopping"}, 3)):
        admin.say(status, said)
        result = reload(admin, "--json", status=wanted)
        assert json.loads(result.stdout) == said and result.stdout.count(b"\n") == 1
        assert result.stderr.count(b"\n") == (wanted != 0)


def test_no_codes_are_sent_to_a_terminal(admin):
    admin.say(200, {**DONE, "path": "/srv/\x1b[2J\n"})
    assert b": /srv/\\x1b[2J\\n, 7340032 bytes\n" in reload(admin).stdout
    admin.say(409, {"error": "/srv/\x1b[2J\nis odd", "serving": SERVING})
    assert "/srv/\\x1b[2J\\nis odd" in error(admin, status=1)


@pytest.mark.parametrize("serving, wanted", [
    (SERVING, f"; generation 3 (identity {2**63 + 1}) is still served"),
    ({**SERVING, "damage": None}, f"; generation 3 (identity {2**63 + 1}) is still served"),
    ({**SERVING, "damage": "it was truncated"},
     f"; generation 3 (identity {2**63 + 1}) stays, and is damaged itself: it was truncated"),
    (None, "; nothing is served"),
])
def test_a_refusal_is_told_with_what_is_served(serving, wanted, admin):
    admin.say(409, {"error": REASON, "serving": serving})
    assert error(admin, status=1) == f"refused: {REASON}{wanted}"


@pytest.mark.parametrize("status, body, wanted", [
    (503, {"error": "the server is stopping"}, "HTTP 503: the server is stopping"),
    (403, {"error": "only on a Unix socket"}, "HTTP 403: only on a Unix socket"),
    (403, b"", "HTTP 403, and nothing that actd would say"),
    (500, {"error": 5}, "HTTP 500, and nothing that actd would say"),
    (404, {"error": "no such page"}, "HTTP 404: is actd older than this actctl?"),
    (405, b"no", "HTTP 405: is actd older than this actctl?"),
    (204, b"", "HTTP 204, and nothing that actd would say"),
])
def test_other_statuses_are_failures(status, body, wanted, admin):
    admin.say(status, body)
    told = error(admin, status=3)
    assert told.startswith(f"{admin.address}: {wanted}")


def test_no_redirection_is_followed(admin):
    admin.say(302, b"", [("Location", "/elsewhere")])
    assert "HTTP 302, and nothing that actd would say" in error(admin, status=3)
    assert len(admin.requests) == 1


def test_no_proxy_is_asked(admin):
    admin.say(200, DONE)
    nowhere = {name: "http://127.0.0.1:1" for name in ("http_proxy", "ALL_PROXY", "all_proxy")}
    assert reload(admin, env=nowhere).stdout.decode() == LINE


# What actd does not say


BODIES = [
    b"", b"garbage", b"null", b"[]", b"{}", b"{", b'{"generation": {"number": 4}}', b"\xff\xfe{}",
    json.dumps(DONE).encode() + b"x", json.dumps(DONE).encode()[:-1], b"[" * 10000,
    *(json.dumps({**DONE, **change}).encode() for change in (
        {"generation": None}, {"generation": [4, 5]},
        {"generation": {"number": "4", "identity": 5}},
        {"generation": {"number": 4, "identity": -5}},
        {"generation": {"number": 4, "identity": 1.5}},
        {"path": None}, {"path": 7}, {"size_bytes": "7"}, {"size_bytes": -1})),
]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_body_that_actd_would_not_send_is_refused(body, admin):
    admin.say(200, body)
    assert "HTTP 200, and nothing that actd would say" in error(admin, status=3)


@pytest.mark.parametrize("body", [b"", b"no", b"{}", b'{"error": null}', b'{"error": ["x"]}'])
def test_a_refusal_without_a_reason_is_a_failure(body, admin):
    admin.say(409, body)
    assert "HTTP 409, and nothing that actd would say" in error(admin, status=3)


def test_a_body_without_end_is_not_kept(admin):
    admin.say(200, b" " * (1 << 20) + json.dumps(DONE).encode())
    assert "the reply is longer than 1 MiB" in error(admin, status=3)


@pytest.fixture
def raw(tmp_path):
    """raw(bytes): the address of a server that answers one connection so, and closes it."""
    threads = []

    def serve(listener, data):
        connection, _ = listener.accept()
        with listener, connection:
            connection.recv(65536)
            try:
                connection.sendall(data)
            except BrokenPipeError:
                pass

    def start(data):
        path = tmp_path / f"raw{len(threads)}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen()
        threads.append(threading.Thread(target=serve, args=[listener, data]))
        threads[-1].start()
        return f"unix:{path}"

    yield start
    for thread in threads:
        thread.join()


GARBAGE = [
    b"", b"\0" * 100, b"garbage\r\n\r\n", b"\x94\x01\x00\x92\x01\xa3BAD\xc0", b"HTTP/1.1 ",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nContent-Le",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 400_000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", json.dumps(DONE).encode(),
]


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_http_is_refused(data, raw):
    address = raw(data)
    told = actctl.error("reload", "-a", address, status=3)
    assert told.startswith(f"{address}: ") and "is this actd's admin endpoint" in told


# Silence


def test_silence_ends_with_the_timeout(admin):
    admin.say(200, DONE)
    admin.is_ready.clear()
    told = error(admin, "--timeout=1", status=3)
    assert told == f"{admin.address}: no reply in time: actd may still be at it, its log tells"


def test_a_server_that_does_not_accept_ends_with_the_timeout(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "deaf"))
        listener.listen(0)
        told = actctl.error("reload", "-a", f"unix:{tmp_path}/deaf", "--timeout=1", status=3)
        assert "no reply in time" in told
        # Its queue has room for one: the next one is turned away.
        actctl.error("reload", "-a", f"unix:{tmp_path}/deaf", "--timeout=1", status=3)


def begin(admin, **options):
    """A reload that waits for its answer."""
    admin.is_ready.clear()
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return actctl.start("reload", "-a", admin.address, **options)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(number, admin):
    process = begin(admin)
    eventually(lambda: admin.requests, "the request")
    process.send_signal(number)
    assert process.communicate(timeout=Clock().left("actctl's end")) == (b"", b"")
    assert process.returncode == -number


def test_a_terminal_is_told_that_it_takes_long(admin):
    admin.say(200, DONE)
    terminal, end = pty.openpty()
    process = begin(admin, stderr=end)
    os.close(end)
    shown, clock = b"", Clock()
    while b"reload: actd is looking at the file, " not in shown:
        select.select([terminal], [], [], clock.left("a note on the terminal"))
        shown += os.read(terminal, 4096)
    admin.is_ready.set()
    assert process.communicate(timeout=clock.left("actctl's end"))[0].decode() == LINE
    try:
        shown += os.read(terminal, 4096)
    except OSError:
        pass
    os.close(terminal)
    assert process.returncode == 0 and shown.endswith(b"\r\x1b[K")


# The socket


def test_no_socket_there(tmp_path):
    told = actctl.error("reload", "-a", f"unix:{tmp_path}/none", status=3)
    assert told.startswith(f"unix:{tmp_path}/none: cannot connect: No such file or directory: ")
    assert "admin.unix in actd.conf" in told and "--admin" in told


def test_what_is_no_socket(tmp_path):
    (tmp_path / "file").write_text("x")
    for name in ("file", ""):
        told = actctl.error("reload", "-a", f"unix:{tmp_path}/{name}", status=3)
        assert "cannot connect: " in told and "this is no socket: --admin takes" in told


def test_a_deserted_socket(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "sock"))
    told = actctl.error("reload", "-a", f"unix:{tmp_path}/sock", status=3)
    assert told.endswith(": cannot connect: Connection refused: is actd running?")


def test_a_socket_of_others():
    """As somebody else where we are root, who may do everything."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="test_actctl_reload"))
    directory.chmod(0o755)
    program = shutil.copy(actctl.ACTCTL, directory / "actctl")
    server = Admin(directory / "admin")
    os.chmod(directory / "admin", 0)
    who = {"user": 65534, "group": 65534, "extra_groups": []} if actctl.is_root() else {}
    try:
        result = subprocess.run([program, "reload", "-a", server.address], **who, cwd="/",
                                stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=Clock().left("actctl's end"))
    finally:
        server.end()
        shutil.rmtree(directory)
    assert result.returncode == 3
    assert result.stderr == (f"actctl: {server.address}: cannot connect: Permission denied: "
                             "its group may connect: actd-admin, where it is actd-admin.socket's; "
                             "else see admin.unix_mode in actd.conf\n")


USAGE = [
    (["-a", "tcp:127.0.0.1:1"], "reload is only possible on a Unix socket"),
    (["-a", "/run/x"], "--admin takes unix:PATH"), (["-a", "unix:"], "--admin takes unix:PATH"),
    (["-a", "unix:" + "x" * 108], "the socket path is longer than"), (["-a"], "needs a value"),
    (["--timeout=0"], "--timeout takes a number of seconds"),
    (["--timeout=x"], "--timeout takes a number of seconds"),
    (["--timeout=-1"], "--timeout takes"), (["--timeout=99999999999999999999"], "--timeout takes"),
    (["--timeout=1.5"], "--timeout takes"), (["x"], "too many arguments"),
    (["-s", "unix:x"], "--server: reload asks the server only with --wait"),
    (["--hex"], "--hex: reload does not take this option"),
]


@pytest.mark.parametrize("args, wanted", USAGE, ids=range(len(USAGE)))
def test_what_makes_no_sense_is_refused(args, wanted):
    assert wanted in actctl.error("reload", *args, status=2)


def test_an_output_that_is_full_is_told(admin):
    admin.say(200, DONE)
    with open("/dev/full", "wb") as full:
        process = begin(admin, stdout=full)
    admin.is_ready.set()
    _, stderr = process.communicate(timeout=Clock().left("actctl's end"))
    assert process.returncode == 3 and b"cannot write to standard output" in stderr


# --wait


HELLO = {"generation": DONE["generation"], "limits": {"max_wait_ms": 600000}}


class Waiter:
    """actctl reload --wait; the data connection is the test's."""

    def __init__(self, admin, peer, *args):
        admin.say(200, DONE)
        self.peer = peer
        self.process = actctl.start("reload", "-a", admin.address, "--wait", "-s", peer.address,
                                    *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        peer.accept()
        peer.accept()

    def wait(self, answer, at_most_ms=10000):
        """The next wait_generation, and its answer: its time. None: there is no next one."""
        request = self.peer.request()
        if request is None:
            return None
        msgid, method, params = request
        assert method == "wait_generation" and params[0] == IDENTITY
        assert params[1] <= at_most_ms
        self.peer.send([1, msgid, None, answer])
        return params[1]

    def end(self, status, line=LINE):
        stdout, stderr = self.process.communicate(timeout=Clock().left("actctl's end"))
        assert (self.process.returncode, stdout.decode()) == (status, line), stderr
        assert stderr.count(b"\n") == (status != 0)
        return stderr.decode()


@pytest.fixture
def peer(tmp_path):
    with Peer(tmp_path / "sock") as peer:
        yield peer


def test_a_wait_ends_when_clients_see_it(admin, peer):
    waiter = Waiter(admin, peer)
    assert waiter.process.stdout.readline().decode() == LINE  # at once
    peer.answer("hello", result=HELLO)
    assert waiter.wait(False) == 10000
    peer.answer("hello", result={"generation": SERVING})
    assert waiter.wait(True) == 10000
    assert waiter.end(0, "") == ""


@pytest.mark.parametrize("limits, wanted", [
    ({"max_wait_ms": 50}, 50), ({"max_wait_ms": 2**40}, 10000), ({"max_wait_ms": -1}, 10000),
    ({}, 10000), (None, 10000)])
def test_the_servers_limit_is_kept(limits, wanted, admin, peer):
    waiter = Waiter(admin, peer)
    peer.answer("hello", result={**HELLO, "limits": limits})
    assert waiter.wait(True) == wanted
    waiter.end(0)


def test_a_wait_ends_with_the_timeout(admin, peer):
    waiter = Waiter(admin, peer, "--timeout=1")
    peer.answer("hello", result=HELLO)
    left_ms = 1000
    while (left_ms := waiter.wait(False, left_ms)) is not None:
        peer.answer("hello", result={"generation": SERVING})
    told = waiter.end(3)
    assert "generation 4 is not served everywhere yet, but 3" in told and "--timeout" in told


def test_a_generation_that_was_replaced_is_told(admin, peer):
    waiter = Waiter(admin, peer)
    peer.answer("hello", result=HELLO)
    waiter.wait(False)
    peer.answer("hello", result={"generation": {"number": 5, "identity": 7}})
    assert "not generation 4 is served, but 5 (identity 7): was it replaced" in waiter.end(1)


def test_a_server_that_cannot_wait_is_told(admin, peer):
    waiter = Waiter(admin, peer)
    peer.answer("hello", result=HELLO)
    peer.refuse("wait_generation", IDENTITY, 10000, error=[2, "UNKNOWN_METHOD: \"x\""])
    assert "UNKNOWN_METHOD" in waiter.end(3)
    waiter = Waiter(admin, peer)
    peer.answer("hello", result=None)
    waiter.wait(None)
    assert "wait_generation: the result is not of the type" in waiter.end(3)
    waiter = Waiter(admin, peer)
    peer.expect("hello")
    peer.close()
    assert "the server closed the connection" in waiter.end(3)


def test_nothing_is_done_where_the_server_is_not_there(admin, tmp_path):
    told = error(admin, "--wait", "-s", f"unix:{tmp_path}/none", status=3)
    assert f"unix:{tmp_path}/none: cannot connect" in told
    assert admin.requests == []


def test_nothing_is_waited_for_after_a_refusal(admin, peer):
    admin.say(409, {"error": REASON, "serving": SERVING})
    told = error(admin, "--wait", status=1, env={"ACTD_SERVER": peer.address})
    assert told.startswith(f"refused: {REASON}")
