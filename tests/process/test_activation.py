"""Sockets that the service manager passes: by name, mixed with configured ones, and left alone."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess

import pytest

from lib import http, paths, rpc
from lib.daemon import SANITIZER_ENV, refused
from lib.fd_store import passing
from lib.processes import stopped
from lib.waiting import DEADLINE_S, eventually

BACKLOG = 64


@pytest.fixture
def bound(directory):
    """bound("unix" or "tcp"): a socket that listens, and its address."""
    with contextlib.ExitStack() as stack:

        def bind(kind, host="127.0.0.1", kind_of_socket=socket.SOCK_STREAM, is_listening=True):
            is_unix = kind == "unix"
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            family = socket.AF_UNIX if is_unix else family
            sock = stack.enter_context(socket.socket(family, kind_of_socket))
            if is_unix:
                address = str(directory / f"bound{len(os.listdir(directory))}.sock")
                sock.bind(address)
            else:
                sock.bind((host, 0))
                address = (host, sock.getsockname()[1])
            if is_listening and kind_of_socket == socket.SOCK_STREAM:
                sock.listen(BACKLOG)
            return sock, ("unix", address) if is_unix else ("tcp", *address)

        yield bind


def ping(address):
    with rpc.Client(address) as client:
        return client.call("ping")


def connect(address):
    return contextlib.closing(rpc.connect(address))


def said(sock):
    """The answer to ping that waits there."""
    sock.settimeout(DEADLINE_S)
    return sock.recv(100) == rpc.pack([1, 1, None, "pong"])


# What is taken, and as what.


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_a_passed_socket_is_served_and_nothing_else(actd, bound, kind):
    sock, address = bound(kind)
    own = {"listen.unix": None, "listen.tcp": None, "admin.tcp": None}
    daemon = actd(settings=own, **passing([(kind, sock)]))
    assert ping(address) == "pong"
    # Nor is the socket that is the default where nothing is configured.
    assert daemon.log.count("] listening on") + daemon.log.count(": listening on") == 1
    assert "/run/actd/actd.sock" not in daemon.log
    assert daemon.wait_log("listening on (.*), from the service manager")


def test_any_number_of_each_is_served_beside_configured_ones(actd, bound):
    named = [(kind, *bound(kind)) for kind in ("tcp", "unix", "tcp", "unix", "tcp")]
    daemon = actd(**passing([(kind, sock) for kind, sock, _ in named]))
    for address in [*daemon.both, *(address for _, _, address in named)]:
        assert ping(address) == "pong"
    assert daemon.log.count(", from the service manager") == 5


def test_where_a_passed_socket_listens_none_is_bound(actd, bound):
    unix, unix_address = bound("unix")
    tcp, tcp_address = bound("tcp")
    admin, admin_address = bound("unix")
    daemon = actd(
        settings={
            "listen.unix": unix_address[1],
            "listen.tcp": f"127.0.0.1:{tcp_address[2]}",
            "admin.unix": admin_address[1],
        },
        **passing([("unix", unix), ("tcp", tcp), ("admin", admin)]),
    )
    assert ping(unix_address) == ping(tcp_address) == "pong"
    assert http.fetch(admin_address, "/livez")[0] == 200
    for text in (f"unix:{unix_address[1]}", f"tcp:127.0.0.1:{tcp_address[2]}"):
        assert f"{text}: not bound, since {text} from the service manager takes" in daemon.log


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_passed_socket_of_all_addresses_takes_those_of_one(actd, bound, host):
    sock, (_, _, port) = bound("tcp", host)
    daemon = actd(settings={"listen.tcp": f"127.0.0.1:{port}"}, **passing([("tcp", sock)]))
    assert ping(("tcp", "127.0.0.1", port)) == "pong"
    assert f"tcp:127.0.0.1:{port}: not bound, since tcp:" in daemon.log
    # Which others reach: told once, though it is configured, too.
    assert daemon.log.count("anybody who reaches it can read every key") == 1


def test_a_path_by_another_name_is_the_same_socket(actd, bound, directory):
    sock, address = bound("unix")
    (directory / "link").symlink_to(directory)
    other = directory / "link" / pathlib.Path(address[1]).name
    daemon = actd(settings={"listen.unix": other}, **passing([("unix", sock)]))
    assert f"unix:{other}: not bound" in daemon.log
    assert ping(address) == "pong"


def test_an_abstract_socket_is_served(actd, directory):
    name = f"\0actd-{directory.name}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(name)
        sock.listen(1)
        daemon = actd(**passing([("unix", sock)]))
        daemon.wait_log(f"listening on unix:@{name[1:]}, from the service manager")
        assert ping(("unix", name)) == "pong"


def test_a_blocking_socket_does_not_hold_up_the_others(actd, bound):
    sock, address = bound("unix")
    sock.setblocking(True)
    daemon = actd(**passing([("unix", sock)]))
    assert ping(address) == ping(daemon.unix) == "pong"
    assert not os.get_blocking(sock.fileno())


def test_descriptors_for_another_process_are_not_taken(actd, bound):
    sock, address = bound("unix")
    options = passing([("unix", sock)])
    options["launcher"] = ["/bin/sh", "-c", 'LISTEN_PID=1 exec "$0" "$@"']
    daemon = actd(**options)
    assert "from the service manager" not in daemon.log
    assert ping(daemon.unix) == "pong"


@pytest.mark.parametrize("name", ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"])
def test_children_do_not_inherit_the_environment(actd, bound, name):
    sock, _ = bound("unix")
    daemon = actd(**passing([("unix", sock)]))
    for pid in daemon.worker_pids():
        assert f"{name}=".encode() not in pathlib.Path(f"/proc/{pid}/environ").read_bytes()
        # Nor the socket.
        inode = f"socket:[{os.fstat(sock.fileno()).st_ino}]"
        links = [os.readlink(path) for path in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
        assert inode not in links


# The admin endpoint.


def test_a_passed_unix_socket_of_the_admin_endpoint_needs_no_token(actd, bound):
    sock, address = bound("unix")
    actd(settings={"admin.unix": None, "admin.tcp": None}, **passing([("admin", sock)]))
    assert http.fetch(address, "/livez")[0] == 200
    status, _, text = http.fetch(address, "/reload", method="POST")
    assert status == 200, text


def test_a_passed_tcp_socket_of_the_admin_endpoint_needs_the_token(actd, bound, directory):
    sock, address = bound("tcp")
    token = directory / "token"
    token.write_text("0123456789abcdef\n")
    settings = {"admin.unix": None, "admin.tcp": None, "admin.token_file": token}
    actd(settings=settings, **passing([("admin", sock)]))
    assert http.fetch(address, "/livez")[0] == 200
    assert http.fetch(address, "/livez", headers={"Host": "elsewhere.example"})[0] == 421
    assert http.fetch(address, "/reload", method="POST")[0] == 401
    header = {"Authorization": "Bearer 0123456789abcdef"}
    status, _, text = http.fetch(address, "/reload", method="POST", headers=header)
    assert status == 200 and json.loads(text)["generation"]["number"] == 2


# What is not as it should be.


def refusal(named, directory, **settings):
    settings = {"listen.unix": directory / "actd.sock", **settings}
    log = refused(paths.CITIES, settings, **passing(named))
    assert "listening on" not in log and not (directory / "actd.sock").exists()
    lines = [line for line in log.splitlines() if "cannot start: " in line]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("name", ["", "unknown", "tcp2", "TCP", "actd-tcp.socket", "kep-x"])
def test_an_unknown_name_ends_the_start(bound, directory, name):
    good, _ = bound("tcp")
    sock, address = bound("unix")
    line = refusal([("tcp", good), (name, sock)], directory)
    assert f'descriptor 4 from the service manager, named "{name}"' in line
    assert f"a Unix socket that listens (unix:{address[1]})" in line
    assert all(known in line for known in ('"tcp"', '"unix"', '"admin"', "FileDescriptorName="))


def wrong_kinds(bound, directory):
    """(name, file, what it is called)"""
    unix, _ = bound("unix")
    tcp, tcp_address = bound("tcp")
    yield "tcp", unix, "is a Unix socket that listens"
    yield "unix", tcp, f"is a TCP socket that listens (tcp:127.0.0.1:{tcp_address[2]})"
    for name in ("tcp", "admin"):
        yield name, bound("tcp", is_listening=False)[0], "is a TCP socket that does not listen"
        udp = bound("tcp", kind_of_socket=socket.SOCK_DGRAM)[0]
        yield name, udp, "is a UDP socket that does not listen"
    datagram = bound("unix", kind_of_socket=socket.SOCK_DGRAM)[0]
    yield "unix", datagram, "is a Unix datagram socket that does not listen"
    packet = bound("unix", kind_of_socket=socket.SOCK_SEQPACKET)[0]
    packet.listen(1)
    yield "unix", packet, "is a packet socket that listens"
    yield "admin", packet, "is a packet socket that listens"
    one, other = socket.socketpair()
    other.close()
    yield "unix", one, "is a Unix socket that does not listen"
    with open(paths.CITIES, "rb") as file:
        yield "unix", file, "is a regular file"
        yield "admin", file, "is a regular file"
    reading, writing = os.pipe()
    yield "tcp", reading, "is a FIFO"
    os.close(reading)
    os.close(writing)
    fd = os.open(directory, os.O_RDONLY)
    yield "unix", fd, "is a directory"
    os.close(fd)
    with open("/dev/null") as file:
        yield "unix", file, "is a character device"
    one.close()


def test_the_wrong_kind_ends_the_start(bound, directory):
    for name, file, what in wrong_kinds(bound, directory):
        line = refusal([(name, file)], directory)
        assert f'descriptor 3 from the service manager, named "{name}", {what}' in line, line
        assert "socket unit" in line


@pytest.mark.parametrize("change", [{"LISTEN_FDS": "3"}, {"LISTEN_FDS": "x"}, {"LISTEN_FDS": "-1"}])
def test_an_environment_that_is_wrong_ends_the_start(bound, directory, change):
    sock, _ = bound("unix")
    options = passing([("unix", sock)])
    options["env"].update(change)
    settings = {"listen.unix": directory / "actd.sock"}
    log = refused(paths.CITIES, settings, **options)
    assert "LISTEN_FDS and LISTEN_FDNAMES of the environment" in log


# What stays when actd goes.


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_what_is_queued_at_the_end_is_the_next_process_s(actd, bound, kind):
    sock, address = bound(kind)
    first = actd(**passing([(kind, sock)]))
    assert ping(address) == "pong"
    first.stop()
    with connect(address) as waiting:
        waiting.sendall(rpc.request(1, "ping"))
        actd(**passing([(kind, sock)]))
        assert said(waiting)
    assert kind == "tcp" or os.path.exists(address[1])


def test_what_comes_while_it_stops_waits_for_the_next(actd, bound):
    sock, address = bound("unix")
    first = actd(**passing([("unix", sock)]))
    with contextlib.ExitStack() as stack:
        with stopped(*first.worker_pids()):
            first.send_signal()
            eventually(lambda: http.fetch(first.admin_unix, "/readyz")[0] == 503, "the stop")
            waiting = [stack.enter_context(connect(address)) for _ in range(20)]
            for one in waiting:
                one.sendall(rpc.request(1, "ping"))
        first.check_end()
        actd(**passing([("unix", sock)]))
        assert all(said(one) for one in waiting)


def test_admin_requests_in_the_queue_wait_for_the_next_process(actd, bound):
    sock, address = bound("unix")
    first = actd(settings={"admin.unix": None}, **passing([("admin", sock)]))
    assert http.fetch(address, "/livez")[0] == 200
    first.stop()
    waiting = http.Connection(address)
    waiting.request("GET", "/livez")
    actd(**passing([("admin", sock)]))
    assert waiting.getresponse().status == 200
    waiting.close()


def test_a_start_that_fails_leaves_the_sockets_as_they_are(bound, directory):
    sock, address = bound("unix")
    with connect(address) as waiting:
        waiting.sendall(rpc.request(1, "ping"))
        refused(directory / "none", {"listen.unix": None}, **passing([("unix", sock)]))
        assert os.path.exists(address[1])
        accepted, _ = sock.accept()
        assert accepted.recv(100) == rpc.request(1, "ping")
        accepted.close()


# By the program that comes with systemd.


def activate(addresses, names):
    """Its command line before the program's; it starts that when somebody connects."""
    path = shutil.which("systemd-socket-activate")
    if not path:
        pytest.skip("systemd-socket-activate (Debian: systemd) is missing")
    listen = [f"--listen={address}" for address in addresses]
    env = [f"--setenv={name}={value}" for name, value in SANITIZER_ENV.items()]
    return [path, *listen, f"--fdname={':'.join(names)}", *env]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.mark.parametrize("first", ["tcp", "unix", "admin"])
def test_systemd_starts_it_when_somebody_comes(actd, directory, first):
    port, unix, admin = free_port(), directory / "a.sock", directory / "b.sock"
    launcher = activate([f"127.0.0.1:{port}", unix, admin], ["tcp", "unix", "admin"])
    own = {"listen.unix": None, "listen.tcp": None, "admin.unix": None, "admin.tcp": None}
    daemon = actd(settings=own, launcher=launcher, wait=r"Listening on .*b\.sock as 5")
    at = {"unix": ("unix", str(unix)), "admin": ("unix", str(admin))}
    at["tcp"] = ("tcp", "127.0.0.1", port)
    if first == "admin":
        assert http.fetch(at["admin"], "/livez")[0] == 200
    else:
        assert ping(at[first]) == "pong"
    assert ping(at["tcp"]) == ping(at["unix"]) == "pong"
    assert http.fetch(at["admin"], "/reload", method="POST")[0] == 200
    daemon.stop()
    assert unix.exists() and admin.exists()


def test_systemd_with_a_name_that_is_unknown(directory):
    sock = directory / "a.sock"
    command = [*activate([sock], ["data"]), paths.ACTD, "--config=/dev/null"]
    command += ["-s", f"tree.path={paths.CITIES}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        eventually(sock.exists, "the socket")
        rpc.connect(("unix", str(sock))).close()
        log = process.communicate(timeout=DEADLINE_S)[1]
    assert process.returncode == 1 and 'named "data"' in log


# Where it binds by itself.


@pytest.mark.parametrize("section", ["listen", "admin"])
def test_an_address_that_others_reach_is_told_once(actd, section):
    daemon = actd(settings={f"{section}.tcp": ["0.0.0.0:0", "127.0.0.1:0"]})
    assert daemon.log.count("anybody who reaches it can read") == 1
    what = "every key" if section == "listen" else "all statistics"
    daemon.wait_log(f"warning: tcp:0.0.0.0:.*anybody who reaches it can read {what}")


def test_loopback_is_nothing_to_tell(actd):
    assert "anybody" not in actd(settings={"listen.tcp": ["127.0.0.1:0", "127.9.8.7:0"]}).log


@pytest.mark.parametrize("text", [":{}", "{}"])
def test_a_port_alone_is_on_loopback(actd, text):
    port = free_port()
    daemon = actd(settings={"listen.tcp": text.format(port)})
    assert ping(("tcp", "127.0.0.1", port)) == "pong"
    assert f"listening on tcp:127.0.0.1:{port}" in daemon.log and "anybody" not in daemon.log


# socket(AF_INET, ...) fails with EAFNOSUPPORT, as with RestrictAddressFamilies=AF_UNIX: seccomp.
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO, EAFNOSUPPORT = 0x7FFF0000, 0x00050000, 97
PR_SET_SECCOMP, SECCOMP_FILTER, PR_SET_NO_NEW_PRIVS = 22, 2, 38


def forbid_inet():
    import ctypes

    number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
    steps = [
        (LOAD, 0, 0, 0),
        (JUMP_EQUAL, 0, 3, number),
        (LOAD, 0, 0, 16),  # the first argument's lower half
        (JUMP_EQUAL, 0, 1, socket.AF_INET),
        (RETURN, 0, 0, ERRNO | EAFNOSUPPORT),
        (RETURN, 0, 0, ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_FILTER, program, 0, 0) == 0


def test_a_family_that_is_forbidden_is_told_with_the_remedy(directory):
    log = refused(paths.CITIES, {"listen.tcp": "127.0.0.1:7411"}, preexec=forbid_inet)
    assert "tcp:127.0.0.1:7411: Address family not supported by protocol" in log
    assert "RestrictAddressFamilies=" in log and "actd-tcp.socket" in log


def test_an_inherited_socket_of_that_family_is_served(actd, bound):
    sock, address = bound("tcp")
    options = passing([("tcp", sock)])
    move = options["preexec"]
    options["preexec"] = lambda: (move(), forbid_inet())
    actd(settings={"listen.tcp": None, "admin.tcp": None}, **options)
    assert ping(address) == "pong"
