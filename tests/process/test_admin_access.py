"""Who may ask the admin endpoint, for what, and how much of it one client can take."""

import contextlib
import os
import pathlib
import re
import resource
import socket
import threading
import time

import pytest

from lib import http, paths, rpc
from lib.daemon import Daemon, refused
from lib.processes import stopped
from lib.waiting import Clock, eventually

TOKEN = "a-token-of-32-characters-0123456"
REMEDY = "admin.token_file"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A daemon with a token, two names, and the shortest time limit."""
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(TOKEN + "\nanother line\n")
    path.chmod(0o600)
    settings = {
        "admin.token_file": path,
        "admin.host": ["actd.example", "other-name"],
        "admin.timeout_ms": 1000,
    }
    with Daemon(paths.CITIES, settings) as daemon:
        yield daemon


def post_reload(address, headers=None):
    return http.fetch(address, "/reload", method="POST", headers=headers)


# The token.


def test_post_over_tcp_needs_the_token(guarded):
    before = guarded.stat("tree", "reloads")
    for scheme in ["Bearer ", "bearer  "]:
        status, _, text = post_reload(guarded.admin_tcp, {"Authorization": scheme + TOKEN})
        assert status == 200, text
    wrong = [f"{TOKEN}x", TOKEN[:-1], f"x{TOKEN[1:]}", f"{TOKEN} x", "another line", "x" * 4000]
    headers_wrong = ["", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN]
    for bad in headers_wrong + [f"Bearer {token}" for token in wrong]:
        status, headers, text = post_reload(guarded.admin_tcp, {"Authorization": bad})
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer"), bad
        assert REMEDY in text and TOKEN not in text
    assert post_reload(guarded.admin_tcp)[0] == 401
    assert guarded.stat("tree", "reloads") == before + 2


def test_two_tokens_are_none(guarded):
    head = f"POST /reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += f"Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    assert status_of(http.raw(guarded.admin_tcp, head.encode())) == 401


def test_blanks_around_a_value_are_no_part_of_it(guarded):
    for blanks in ("\t", " ", " \t "):
        head = f"POST /reload HTTP/1.1\r\nHost:{blanks}localhost:1{blanks}\r\n"
        head += f"Authorization:{blanks}Bearer {TOKEN}{blanks}\r\nConnection: close\r\n\r\n"
        assert status_of(http.raw(guarded.admin_tcp, head.encode())) == 200


def test_a_unix_socket_asks_for_no_token_and_no_name(guarded):
    assert post_reload(guarded.admin_unix)[0] == 200
    assert http.fetch(guarded.admin_unix, "/livez", headers={"Host": "evil.example"})[0] == 200


def test_looking_needs_no_token(guarded):
    for path in ("/livez", "/readyz", "/stats", "/metrics"):
        assert http.fetch(guarded.admin_tcp, path)[0] == 200


def test_without_a_token_nobody_may_post_over_tcp(cities):
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {TOKEN}"}):
        status, _, text = post_reload(cities.admin_tcp, headers)
        assert status == 403 and REMEDY in text and "admin.unix" in text


BAD_TOKENS = [
    b"", b"\n", b"x" * 15, b"x" * 15 + b"\n" + b"y" * 20, b"x" * 513, b"with a space in it",
    b"x" * 20 + b"\0", "n\u00f6n-ascii-characters".encode(),
]


@pytest.mark.parametrize("content", BAD_TOKENS)
def test_a_bad_token_ends_the_start(tmp_path, content):
    path = tmp_path / "token"
    path.write_bytes(content)
    log = refused(paths.CITIES, {"admin.token_file": path})
    assert f"admin.token_file: {path}: its first line is not a token" in log
    assert "openssl rand" in log


def test_a_token_file_that_is_none_ends_the_start(tmp_path):
    assert "No such file" in refused(paths.CITIES, {"admin.token_file": tmp_path / "none"})
    assert "no regular file" in refused(paths.CITIES, {"admin.token_file": tmp_path})
    assert "no regular file" in refused(paths.CITIES, {"admin.token_file": "/dev/zero"})


def test_a_token_may_end_without_a_line_and_is_warned_of_where_all_may_read_it(tmp_path, actd):
    for i, content in enumerate([b"x" * 16, b"x" * 16 + b"\r\n", b"y" * 512]):
        path = tmp_path / f"token{i}"
        path.write_bytes(content)
        path.chmod(0o644 if i == 0 else 0o600)
        daemon = actd(settings={"admin.token_file": path})
        assert ("everybody may read the token" in daemon.log) == (i == 0)
        token = content.decode().strip()
        assert post_reload(daemon.admin_tcp, {"Authorization": f"Bearer {token}"})[0] == 200


# The Host.


GOOD_HOSTS = [
    "localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:7412", "192.0.2.7:80", "[::1]",
    "[::1]:7412", "[2001:db8::1]:65535",
    "actd.example", "Actd.Example:7412", "other-name:1", "localhost:",
]
BAD_HOSTS = [
    "", " ", "evil.example", "localhost.evil.example", "actd.example.", "actd.exampl", ":80", "[]",
    "[::1", "::1", "[127.0.0.1]", "[::1]x", "[::1]:x", "127.0.0.1.evil.example", "127.0.0.1:80:80",
    "127.1", "0x7f000001", "2130706433", "localhost:8x", "localhost@evil", "localhost, evil",
    "x" * 300, "\xe4\xf6",
]


def ask(address, hosts, version="1.1", method="GET", path="/livez"):
    lines = [f"{method} {path} HTTP/{version}"] + [f"Host: {host}" for host in hosts]
    lines += ["Connection: close", "", ""]
    return http.raw(address, "\r\n".join(lines).encode("latin-1"))


def status_of(raw_reply):
    return int(re.match(rb"HTTP/1\.[01] (\d{3}) ", raw_reply)[1])


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_addresses_and_listed_names_are_answered(guarded, host):
    assert status_of(ask(guarded.admin_tcp, [host])) == 200


@pytest.mark.parametrize("host", BAD_HOSTS, ids=repr)
def test_other_names_are_misdirected(guarded, host):
    reply = ask(guarded.admin_tcp, [host])
    assert status_of(reply) in (400, 421)
    assert b"admin.host" in reply or b"Host" in reply or status_of(reply) == 400
    assert b"ok\n" not in reply.split(b"\r\n\r\n", 1)[1]


def test_a_listed_name_is_not_known_elsewhere(cities):
    reply = ask(cities.admin_tcp, ["actd.example"])
    assert status_of(reply) == 421 and b"admin.host" in reply


def test_one_host_and_no_more(guarded):
    for hosts in ([], ["localhost", "localhost"], ["localhost", "evil.example"]):
        assert status_of(ask(guarded.admin_tcp, hosts)) == 400
    assert status_of(ask(guarded.admin_tcp, [], version="1.0")) == 200
    assert status_of(ask(guarded.admin_tcp, ["evil.example"], version="1.0")) == 421


def test_a_wrong_host_with_the_token_changes_nothing(guarded):
    before = guarded.stat("tree", "reloads")
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}
    assert post_reload(guarded.admin_tcp, headers)[0] == 421
    assert guarded.stat("tree", "reloads") == before


def test_no_other_origin_is_invited(guarded, kind):
    origin = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    address = getattr(guarded, f"admin_{kind}")
    for method, path in [("GET", "/stats"), ("OPTIONS", "/reload"), ("OPTIONS", "/stats")]:
        status, headers, _ = http.fetch(address, path, method=method, headers=origin)
        assert status == (200 if method == "GET" else 405)
        assert not [name for name in headers if name.lower().startswith("access-control")]


# Methods and bodies.


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_reload_is_post_alone(guarded, kind, method):
    status, headers, _ = http.fetch(getattr(guarded, f"admin_{kind}"), "/reload", method=method)
    assert (status, headers["Allow"]) == (405, "POST")


def test_what_there_is_is_listed(guarded, kind):
    status, _, text = http.fetch(getattr(guarded, f"admin_{kind}"), "/none")
    assert status == 404
    for path in ("/livez", "/readyz", "/stats", "/metrics", "/reload"):
        assert path in text


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("size, status", [(0, 405), (4096, 405), (4097, 413), (65536, 413)])
def test_bodies_are_dropped_and_long_ones_refused(guarded, kind, size, status, is_chunked):
    body = iter([b"x" * size]) if is_chunked else b"x" * size
    answer = http.fetch(getattr(guarded, f"admin_{kind}"), "/livez", method="POST", body=body)
    assert answer[0] == status


def test_endless_bodies_are_cut(guarded, kind):
    with rpc.Client(getattr(guarded, f"admin_{kind}")) as client:
        head = b"POST /livez HTTP/1.1\r\nHost: localhost\r\n"
        client.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            clock = Clock()
            while clock.left("the end of the connection"):
                client.sock.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    assert http.fetch(guarded.admin_tcp, "/livez")[0] == 200


@pytest.mark.parametrize("lengths", [
    b"Content-Length: 0\r\nContent-Length: 40\r\n",
    b"Content-Length: 40\r\nContent-Length: 0\r\n",
    b"Content-Length: 0\r\nContent-Length: 0\r\n",
    b"Content-Length: 40\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 40\r\n",
])
def test_no_request_hides_in_a_body(guarded, kind, lengths):
    """A proxy may take the other length for the right one."""
    behind = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    data = b"POST /livez HTTP/1.1\r\nHost: localhost\r\n" + lengths + b"\r\n"
    data += b"0\r\n\r\n" if b"chunked" in lengths else b""
    received = http.raw(getattr(guarded, f"admin_{kind}"), data + behind)
    assert re.findall(rb"HTTP/1\.1 (\d{3}) ", received) == [b"400"]


def test_pipelined_requests_are_answered_in_order(guarded, kind):
    request = b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
    paths_asked = [b"/livez", b"/none", b"/readyz", b"/reload"] * 8
    data = b"".join(request % (path, b"") for path in paths_asked)
    data += request % (b"/livez", b"Connection: close\r\n")
    received = http.raw(getattr(guarded, f"admin_{kind}"), data)
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]
    assert statuses == [200, 404, 200, 405] * 8 + [200]


@pytest.mark.parametrize("data", [
    b"GET /li\0vez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\nConnection: close\r\n\r\n",
    b"GET /livez%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /livez?x=%00&%00=y HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"G\0T /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"\0" * 2000,
    b"GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
])
def test_nuls_and_odd_targets_harm_nobody(guarded, kind, data):
    address = getattr(guarded, f"admin_{kind}")
    with contextlib.suppress(ConnectionError):
        received = http.raw(address, data)
        assert received == b"" or status_of(received) in (200, 400, 404, 405)
    assert http.fetch(address, "/livez")[0] == 200


@pytest.mark.parametrize("head", [
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: %s\r\n" % (b"y" * 60000),
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 10000,
    b"GET /livez?%s HTTP/1.1\r\nHost: localhost\r\n" % (b"q" * 60000),
    b"GET /livez?%s HTTP/1.1\r\nHost: localhost\r\n" % (b"a=b&" * 15000),
])
def test_huge_headers_are_refused(guarded, kind, head):
    address = getattr(guarded, f"admin_{kind}")
    with contextlib.suppress(ConnectionError):
        received = http.raw(address, head + b"Connection: close\r\n\r\n")
        assert received == b"" or status_of(received) in (400, 413, 414, 431)
    assert http.fetch(address, "/livez")[0] == 200


# Time.


def trickle(sock, data):
    """Sends data byte by byte, in a fifth of a second each, until the server ends it: how long that
    took, in seconds."""
    began = time.monotonic()
    clock = Clock()
    for byte in data:
        try:
            sock.sendall(bytes([byte]))
            sock.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                if sock.recv(4096) == b"":
                    break
        except ConnectionError:
            break
        clock.left("the end of the connection")
    else:
        pytest.fail("the server has read all of it")
    return time.monotonic() - began


SLOW = [
    b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    b"POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n",
    b"",
]


@pytest.mark.parametrize("head", SLOW, ids=["headers", "body", "all of it"])
def test_who_sends_byte_by_byte_is_ended_all_the_same(guarded, kind, head):
    with rpc.Client(getattr(guarded, f"admin_{kind}")) as client:
        client.send(head)
        assert trickle(client.sock, b"x" * 3000) >= 0.9


def test_a_connection_that_goes_on_has_the_time_anew_for_each_request(guarded, kind):
    with rpc.Client(getattr(guarded, f"admin_{kind}")) as client:
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            client.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status_of(client.sock.recv(4096)) == 200
        client.send(b"GET /livez HTTP/1.1\r\nX-Slow: ")
        trickle(client.sock, b"x" * 3000)


def test_who_does_not_take_the_answer_is_ended(guarded, kind):
    """The answers of many pipelined requests find no room."""
    address = getattr(guarded, f"admin_{kind}")
    with rpc.Client(address, receive_buffer_bytes=4096) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with contextlib.suppress(ConnectionError):
            client.sock.settimeout(Clock().left("room"))
            while True:
                client.sock.sendall(request * 10)
        assert http.fetch(address, "/livez")[0] == 200


# Many, and who else is there.


def alive(address):
    """False: the kernel's queue is full."""
    with contextlib.suppress(BlockingIOError):
        return http.fetch(address, "/livez")[0] == 200


def test_a_thousand_connections_at_once(actd, kind):
    """All of them are answered sooner or later, and meanwhile queries are."""
    daemon = actd(settings={"admin.timeout_ms": 60000})
    address = getattr(daemon, f"admin_{kind}")
    statuses, lock = [], threading.Lock()

    def ask_once():
        clock = Clock()
        while True:
            try:
                reply = ask(address, ["localhost"])
                break
            except (BlockingIOError, ConnectionError):
                clock.left("a connection")
        with lock:
            statuses.append(status_of(reply))

    threads = [threading.Thread(target=ask_once) for _ in range(1000)]
    with daemon.client() as client:
        for thread in threads:
            thread.start()
            assert client.call("ping") == "pong"
        for thread in threads:
            thread.join(Clock().left("an answer"))
            assert not thread.is_alive()
        assert client.is_usable()
    assert statuses == [200] * 1000


def test_a_thousand_connections_that_say_nothing(actd, kind):
    """They are ended one time limit after the other, and who has something to ask gets its turn."""
    daemon = actd(settings={"admin.timeout_ms": 1000, "admin.max_connections": 500})
    address = getattr(daemon, f"admin_{kind}")
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            family = socket.AF_UNIX if address[0] == "unix" else socket.AF_INET
            sock = stack.enter_context(socket.socket(family))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect(address[1] if address[0] == "unix" else tuple(address[1:]))
        with daemon.client() as client:
            assert client.is_usable()
        assert eventually(lambda: alive(address), "a place in the queue")


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_a_descriptor_for_anybody_it_does_not_try_all_the_time(actd, kind):
    daemon = actd()
    address = getattr(daemon, f"admin_{kind}")
    soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    with daemon.client() as client, contextlib.ExitStack() as stack:
        assert client.is_usable()
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, hard))
        waiting = stack.enter_context(rpc.Client(address))
        waiting.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        before, began = cpu_s(daemon.pid), time.monotonic()
        while time.monotonic() - began < 1:
            assert client.call("ping") == "pong"
        assert cpu_s(daemon.pid) - before < (time.monotonic() - began) / 8
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert status_of(waiting.sock.recv(4096)) == 200


def test_livez_answers_while_every_worker_is_stopped(actd, kind):
    daemon = actd(settings={"daemon.workers": 2})
    address = getattr(daemon, f"admin_{kind}")
    pids = daemon.worker_pids()
    with contextlib.ExitStack() as stack:
        for pid in pids:
            stack.enter_context(stopped(pid))
        for path in ("/livez", "/readyz", "/stats", "/metrics", "/residency", "/slow", "/warm",
                     "/verify", "/log-level"):
            assert http.fetch(address, path)[0] == 200
    with daemon.client() as client:
        eventually(client.is_usable, "an answer")
