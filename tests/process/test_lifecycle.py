"""Start and stop: nothing is lost, stolen, left behind or waited for without end."""

import contextlib
import ctypes
import fcntl
import mmap
import os
import pathlib
import resource
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

from lib import http, paths, rpc
from lib.daemon import can_connect, is_sanitized, refused
from lib.tree_data import oracle_of
from lib.waiting import DEADLINE_S, Clock, Deadline, eventually

ORACLE = oracle_of(paths.CITIES)


# Stop under load.


class Load:
    """A connection that sends requests in one thread and reads their replies in another."""

    def __init__(self, address, keys):
        self.client = rpc.Client(address)
        self.keys = keys
        self.stop_sending = threading.Event()
        self.n_sent = 0
        self.replies = {}
        self.broken = None
        self.is_ended = False
        self.writer = threading.Thread(target=self._write, daemon=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.client.sock.settimeout(DEADLINE_S)
        self.writer.start()
        self.reader.start()

    def _write(self):
        while not self.stop_sending.is_set():
            first = self.n_sent
            batch = range(first, first + 50)
            data = b"".join(rpc.request(i, "get", self.keys[i % len(self.keys)]) for i in batch)
            try:
                self.client.sock.sendall(data)
            except OSError:
                return
            self.n_sent = first + 50

    def _read(self):
        try:
            while data := self.client.sock.recv(1 << 16):
                self.client.unpacker.feed(data)
                for message in self.client.unpacker:
                    msgid, error, result = self.client.check(message)
                    self.replies[msgid] = (error, result)
            self.is_ended = True
        except (OSError, AssertionError) as error:
            self.broken = error

    def join(self):
        for thread in (self.writer, self.reader):
            thread.join(Clock().left("a load's end"))
            assert not thread.is_alive()
        self.client.close()

    def check(self, n):
        """The first n requests have the right answer, and no answer is wrong."""
        missing = [i for i in range(n) if i not in self.replies]
        assert not missing, f"{len(missing)} of {n} replies are lost, the first is {missing[0]}"
        for i, (error, result) in self.replies.items():
            if error is None:
                assert result == ORACLE.get(self.keys[i % len(self.keys)])
            else:
                assert i >= n and error[0] == rpc.DRAINING, error


@contextlib.contextmanager
def loads(daemon):
    keys = ORACLE.sample(500) + [b"nowhere"]
    running = [Load(daemon.both[i % 2], keys) for i in range(4)]
    try:
        eventually(lambda: all(len(load.replies) > 2000 for load in running), "the load")
        yield running
    finally:
        for load in running:
            load.stop_sending.set()
            with contextlib.suppress(OSError):
                load.client.sock.shutdown(socket.SHUT_RDWR)
        for load in running:
            load.join()


LONG = {"limits.drain_timeout_ms": 600000, "limits.linger_timeout_ms": 600000}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_loses_no_reply(actd, number):
    daemon = actd(settings=LONG)
    with loads(daemon) as running:
        for load in running:
            load.stop_sending.set()
        for load in running:
            load.writer.join(Clock().left("the last request"))
        daemon.send_signal(number)
        for load in running:
            load.reader.join(Clock().left("the last reply"))
            assert load.broken is None and load.is_ended
            load.check(load.n_sent)
            load.client.close()
    daemon.check_end()


@pytest.mark.alone
def test_a_stop_answers_what_was_sent_before_it_while_clients_go_on_sending(actd):
    daemon = actd(settings={"limits.drain_timeout_ms": 3000, "limits.linger_timeout_ms": 600000})
    with loads(daemon) as running:
        sent = [load.n_sent for load in running]
        daemon.send_signal()
        daemon.wait_log("SIGTERM: stopping")
        for load, n in zip(running, sent):
            eventually(
                lambda load=load, n=n: len(load.replies) >= n or not load.reader.is_alive(),
                "what was sent before",
            )
        for load in running:
            load.stop_sending.set()
        for load, n in zip(running, sent):
            load.reader.join(Clock().left("the end"))
            load.check(n)
    daemon.check_end()


@pytest.mark.alone
def test_requests_in_the_second_half_of_the_drain_are_told_draining(actd, kind):
    daemon = actd(settings={"limits.drain_timeout_ms": 2000, "limits.linger_timeout_ms": 600000})
    with daemon.client(getattr(daemon, kind)) as client:
        # An unfinished request keeps the connection from being quiet.
        client.send(rpc.request(1, "ping")[:-1])
        daemon.wait_stat("traffic", "read_bytes", lambda n: n > 0)
        daemon.send_signal()
        daemon.wait_log("SIGTERM: stopping")
        messages = []
        msgid = 1
        clock = Clock()
        while not messages or messages[-1][2] is None:
            client.send(rpc.request(msgid, "ping")[-1:] + rpc.request(msgid + 1, "ping")[:-1])
            messages.append(client.message())
            clock.left("DRAINING")
            msgid += 1
        assert messages[-1][2][0] == rpc.DRAINING
        assert messages[-1][2][1].startswith("DRAINING: ")
        # A whole last request: then it is quiet, and ends before the time is over.
        client.send(rpc.request(msgid, "ping")[-1:])
        assert client.message()[2][0] == rpc.DRAINING
        assert client.at_end()
    daemon.check_end()


def test_a_connection_made_just_before_the_stop_is_answered(actd, kind):
    daemon = actd(settings=LONG)
    daemon.send_signal(signal.SIGSTOP)
    clients = [daemon.client(getattr(daemon, kind)) for _ in range(200)]
    for client in clients:
        client.send(rpc.request(1, "get", ORACLE.keys[1]))
    daemon.send_signal(signal.SIGTERM)
    daemon.send_signal(signal.SIGCONT)
    for client in clients:
        assert client.rest() == [[1, 1, None, ORACLE.get(ORACLE.keys[1])]]
        client.close()
    daemon.check_end()


def test_those_in_the_queue_of_a_full_server_are_answered_at_the_stop(actd, kind):
    daemon = actd(settings={**LONG, "limits.max_connections": 2})
    clients = [daemon.client(getattr(daemon, kind)) for _ in range(50)]
    for client in clients:
        client.send(rpc.request(1, "ping"))
    daemon.wait_stat("connections", "open", 2)
    daemon.send_signal()
    for client in clients:
        assert client.rest() == [[1, 1, None, "pong"]]
        client.close()
    daemon.check_end()


# Stop in time.


def test_a_second_signal_stops_at_once(actd):
    daemon = actd(settings=LONG)
    with daemon.client() as client:
        client.send(rpc.request(1, "ping")[:-1])
        daemon.wait_stat("traffic", "read_bytes", lambda n: n > 0)
        daemon.send_signal()
        daemon.wait_log("stopping")
        daemon.send_signal(signal.SIGINT)
        assert client.rest() == []
        daemon.check_end()
    assert "cutting 1 connections" in daemon.log


def test_signals_that_keep_coming_end_in_status_0(actd):
    for number in (signal.SIGTERM, signal.SIGINT) * 10:
        daemon = actd()
        daemon.send_signal(number)
        while daemon.process.poll() is None:
            daemon.send_signal(number)
        daemon.check_end()


def test_a_hangup_looks_at_the_file_again(actd):
    daemon = actd()
    client = daemon.client(daemon.unix)
    daemon.send_signal(signal.SIGHUP)
    daemon.wait_log("generation 2 .* all workers serve it")
    assert client.is_usable()
    assert client.call("info")["generation"]["number"] == 2


def test_idle_connections_do_not_hold_the_stop(actd, kind):
    daemon = actd(settings={"limits.drain_timeout_ms": 600000, "limits.linger_timeout_ms": 200})
    clients = [daemon.client(getattr(daemon, kind)) for _ in range(20)]
    assert all(client.is_usable() for client in clients)
    daemon.send_signal()
    daemon.check_end()
    for client in clients:
        assert client.at_end()
        client.close()


def test_clients_that_close_at_the_end_of_the_stream_end_the_linger(actd):
    daemon = actd(settings=LONG)
    clients = [daemon.client() for _ in range(20)]
    assert all(client.is_usable() for client in clients)
    daemon.send_signal()
    for client in clients:
        assert client.at_end()
        client.close()
    daemon.check_end()


def test_the_drain_ends_in_spite_of_a_client_that_never_reads(actd, kind):
    daemon = actd(settings={"limits.drain_timeout_ms": 600, "limits.write_timeout_ms": 600000})
    keys = ORACLE.sample(9000)
    with daemon.client(getattr(daemon, kind), receive_buffer_bytes=65536) as client:
        client.sock.setblocking(False)
        data = b"".join(rpc.request(i, "mget", keys) for i in range(100))
        with contextlib.suppress(BlockingIOError):
            while data:
                data = data[client.sock.send(data) :]
                daemon.stats()
        daemon.wait_stat("memory", "buffer_bytes", lambda n: n > 0)
        daemon.send_signal()
        daemon.check_end()
    assert "cutting 1 connections" in daemon.log


def test_the_drain_ends_in_spite_of_a_half_request(actd):
    daemon = actd(settings={"limits.drain_timeout_ms": 600, "limits.frame_timeout_ms": 600000})
    with daemon.client() as client:
        client.send(rpc.request(1, "ping")[:-1])
        daemon.wait_stat("traffic", "read_bytes", lambda n: n > 0)
        daemon.send_signal()
        daemon.check_end()


def test_a_drain_timeout_of_zero_cuts_at_once(actd):
    daemon = actd(settings={"limits.drain_timeout_ms": 0, "limits.linger_timeout_ms": 0})
    with daemon.client() as client:
        assert client.is_usable()
        daemon.send_signal()
        daemon.check_end()


def test_new_connections_are_refused_while_it_stops(actd, kind):
    daemon = actd(settings=LONG)
    address = getattr(daemon, kind)
    with daemon.client(address) as client:
        client.send(rpc.request(1, "ping")[:-1])
        daemon.wait_stat("traffic", "read_bytes", lambda n: n > 0)
        daemon.send_signal()
        daemon.wait_log("stopping")
        eventually(lambda: not can_connect(address), "the listener to be closed")
        assert not pathlib.Path(daemon.unix[1]).exists()
        client.send(rpc.request(1, "ping")[-1:])
        assert client.reply() == (1, None, "pong")
        assert client.at_end()


def test_clients_that_close_with_replies_under_way_are_survived(actd):
    daemon = actd()
    for _ in range(20):
        client = daemon.client()
        client.send(rpc.request(1, "mget", ORACLE.sample(5000)) * 3)
        client.close()
    daemon.wait_stat("connections", "open", 0)


# Socket files.


def test_a_stale_socket_file_is_replaced(actd):
    first = actd()
    first.crash()
    path = pathlib.Path(first.unix[1])
    assert path.is_socket()
    second = actd(settings={"listen.unix": path})
    with second.client(first.unix) as client:
        assert client.is_usable()
    second.stop()
    assert not path.exists()


def test_a_live_socket_is_not_stolen(actd):
    first = actd()
    log = refused(paths.CITIES, {"listen.unix": first.unix[1]})
    assert f"unix:{first.unix[1]}: another server listens there" in log
    with first.client() as client:
        assert client.is_usable()


def test_a_live_socket_with_a_full_queue_is_not_stolen(actd, tmp_path):
    path = tmp_path / "full.sock"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = []
        with contextlib.suppress(BlockingIOError):
            while True:
                sock = socket.socket(socket.AF_UNIX)
                waiting.append(sock)
                sock.setblocking(False)
                sock.connect(str(path))
        log = refused(paths.CITIES, {"listen.unix": path})
        assert "another server listens there" in log
        assert path.is_socket()
        for sock in waiting:
            sock.close()


def test_who_locks_the_directory_holds_up_the_start_once(actd, directory):
    """Anybody may who can read it; however many sockets are bound there."""

    def seconds(n):
        begin = time.monotonic()
        sockets = [directory / f"{i}.sock" for i in range(n)]
        daemon = actd(settings={"listen.unix": sockets, "admin.unix": None})
        taken = time.monotonic() - begin
        daemon.stop()
        return taken

    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        one, many = seconds(1), seconds(8)
    finally:
        os.close(lock)
    assert many < 3 * one, (one, many)


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_refused_and_not_deleted(tmp_path, kind):
    path = tmp_path / "actd.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        (tmp_path / "target").write_text("precious")
        path.symlink_to("target")
    log = refused(paths.CITIES, {"listen.unix": path})
    assert f"unix:{path}: the file exists and is not a socket" in log
    assert path.exists()
    if kind != "directory":
        assert path.read_text() == "precious"


def test_of_two_that_start_at_once_one_serves_and_the_other_is_refused(tmp_path):
    path = tmp_path / "actd.sock"
    command = [paths.ACTD, "--config=/dev/null", "-s", f"tree.path={paths.CITIES}"]
    command += ["-s", f"listen.unix={path}"]
    for _ in range(5):
        both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
        eventually(lambda both=both: any(p.poll() is not None for p in both), "one to give up")
        loser, winner = sorted(both, key=lambda p: p.poll() is None)
        assert loser.returncode == 1
        assert b"another server listens there" in loser.stderr.read()
        with rpc.Client(("unix", str(path))) as client:
            assert client.is_usable()
        winner.terminate()
        assert winner.wait(DEADLINE_S) == 0
        loser.stderr.close()
        winner.stderr.close()
        assert not path.exists()


def test_a_socket_file_that_became_somebody_elses_is_left_alone(actd):
    daemon = actd(settings={"admin.unix": None})
    path = pathlib.Path(daemon.unix[1])
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        daemon.send_signal()
        assert daemon.wait() == 0
        assert path.is_socket()
        path.unlink()


@pytest.mark.parametrize("mode", ["0600", "0666", "660", "0"])
def test_unix_mode_decides_who_may_connect(actd, mode):
    settings = {"listen.unix_mode": mode, "admin.unix_mode": mode}
    daemon = actd(settings=settings)
    for address in (daemon.unix, daemon.admin_unix):
        found = os.lstat(address[1])
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == int(mode, 8)


def test_several_listeners_serve_at_once(actd, tmp_path):
    more = [tmp_path / "second.sock", tmp_path / "third.sock"]
    settings = {
        "listen.unix": more,
        "listen.tcp": ["127.0.0.1:0", "127.0.0.2:0", "localhost:0"],
        "admin.tcp": ["127.0.0.1:0", "127.0.0.1:0"],
    }
    daemon = actd(settings=settings)
    ports = [line.rsplit(":", 1)[1] for line in daemon.lines if "listening on tcp:" in line]
    assert len(ports) == 3
    addresses = [("unix", str(path)) for path in more]
    addresses += [("tcp", "127.0.0.1", int(ports[0])), ("tcp", "127.0.0.2", int(ports[1]))]
    for address in addresses:
        with daemon.client(address) as client:
            assert client.is_usable()
    admins = [line.rsplit(":", 1)[1] for line in daemon.lines if "admin endpoint on tcp:" in line]
    assert len(set(admins)) == 2
    for port in admins:
        assert http.fetch(("tcp", "127.0.0.1", int(port)), "/livez")[0] == 200
    daemon.stop()
    assert not any(path.exists() for path in more)


def test_ipv6_is_served(actd):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6 loopback: {error}")
    daemon = actd(settings={"listen.tcp": "[::1]:0"})
    port = int(daemon.wait_log(r"listening on tcp:\[::1\]:(\d+)").group(1))
    with socket.create_connection(("::1", port), DEADLINE_S) as sock:
        sock.sendall(rpc.request(1, "ping"))
        assert sock.recv(100) == rpc.pack([1, 1, None, "pong"])


# Warm-up.


def resident_pages(path):
    """How many pages of the file are in memory, as mincore says to its owner."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        n = (len(view) + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        vector = (ctypes.c_ubyte * n)()
        start = ctypes.c_char.from_buffer(view)
        libc = ctypes.CDLL(None, use_errno=True)
        address = ctypes.c_void_p(ctypes.addressof(start))
        assert libc.mincore(address, ctypes.c_size_t(len(view)), vector) == 0
        del start
        return sum(byte & 1 for byte in vector), n


@pytest.fixture
def cold_tree(tmp_path):
    """A copy of a tree that is not in memory."""
    # Not in a tmpfs, which cannot drop its pages.
    directory = pathlib.Path(os.environ.get("ACTD_TEST_DISK", "/var/tmp"))
    tree = directory / f"actd-test-{os.getpid()}.act"
    shutil.copyfile(paths.CITIES, tree)
    try:
        with open(tree, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        resident, n = resident_pages(tree)
        if resident > n // 10:
            pytest.skip(f"{directory} keeps its pages in memory: set ACTD_TEST_DISK to a disk")
        yield tree
    finally:
        tree.unlink()


def test_warm_up_reads_the_whole_file_before_it_says_ready(actd, manager, cold_tree):
    settings = {"warmup.mode": "read", "warmup.ready": "after"}
    daemon = actd(cold_tree, settings, env=manager.env)
    assert "warming" in manager.next()["STATUS"]
    ready = manager.wait("READY")
    assert "warming" not in ready["STATUS"]
    size = cold_tree.stat().st_size
    warmup = daemon.stats()["warmup"]
    assert warmup == {
        "state": "done",
        "mode": "read",
        "read_bytes": size,
        "total_bytes": size,
        "eta_ms": None,
        "generation": 1,
    }
    resident, n = resident_pages(cold_tree)
    assert resident == n
    assert f"warm-up (read) of generation 1: {size / 2**20:.1f} MiB in " in daemon.log
    assert http.fetch(daemon.admin_unix, "/readyz")[0] == 200


def test_ready_before_the_warm_up_says_ready_once_and_warms_up_then(actd, manager, cold_tree):
    settings = {"warmup.mode": "read", "warmup.ready": "before"}
    daemon = actd(cold_tree, settings, env=manager.env)
    assert manager.next()["READY"] == "1"
    assert http.fetch(daemon.admin_unix, "/readyz")[0] == 200
    daemon.wait_stat("warmup", "state", "done")
    assert daemon.stat("warmup", "read_bytes") == cold_tree.stat().st_size
    daemon.stop()
    assert manager.wait("STOPPING")
    assert sum("READY" in message for message in manager.heard) == 1


def test_without_a_warm_up_nothing_is_read(actd, cold_tree):
    daemon = actd(cold_tree)
    resident, n = resident_pages(cold_tree)
    assert resident < n // 2
    assert daemon.stats()["warmup"]["state"] == "off"


def test_a_stop_during_the_warm_up_does_not_wait_for_it(actd, tmp_path):
    tree = tmp_path / "sparse.act"
    shutil.copyfile(paths.CITIES, tree)
    os.truncate(tree, 64 << 30)
    settings = {"warmup.mode": "read", "warmup.ready": "after"}
    daemon = actd(tree, settings, wait="admin endpoint on tcp")
    daemon.wait_stat("warmup", "read_bytes", lambda n: n > 0)
    status, _, text = http.fetch(daemon.admin_unix, "/readyz")
    assert status == 503 and text.startswith("not ready: warming up: "), text
    with daemon.client() as client:
        assert client.call("get", ORACLE.keys[1]) == ORACLE.get(ORACLE.keys[1])
        assert client.call("stats")["warmup"]["state"] == "running"
    daemon.stop()
    assert "ready:" not in daemon.log


# Starts that fail.


def test_a_missing_tree_is_named(tmp_path):
    log = refused(tmp_path / "none.act")
    assert f"{tmp_path}/none.act: cannot open: No such file or directory" in log


def test_a_directory_is_no_tree(tmp_path):
    assert f"{tmp_path}: " in refused(tmp_path)


def test_a_fifo_is_refused_and_does_not_hang_the_start(tmp_path):
    fifo = tmp_path / "fifo.act"
    os.mkfifo(fifo)
    assert f"{fifo}: " in refused(fifo)


def test_a_device_and_a_socket_are_refused(tmp_path):
    assert "/dev/zero: " in refused("/dev/zero")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "sock.act"))
        assert f"{tmp_path}/sock.act: " in refused(tmp_path / "sock.act")


def unprivileged():
    """A command that takes root's right to read everything away."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("run by root, and setpriv (util-linux) is missing")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


@pytest.mark.parametrize("closed", ["file", "directory"])
def test_a_tree_that_may_not_be_read_is_named(tmp_path, closed):
    directory = tmp_path / "closed"
    directory.mkdir()
    tree = directory / "tree.act"
    shutil.copyfile(paths.CITIES, tree)
    (tree if closed == "file" else directory).chmod(0)
    try:
        command = [*unprivileged(), paths.ACTD, "--config=/dev/null", "-s", f"tree.path={tree}"]
        command += ["-s", f"listen.unix={tmp_path}/actd.sock"]
        result = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S)
    finally:
        directory.chmod(0o700)
    assert result.returncode == 1
    assert f"{tree}: cannot open: Permission denied" in result.stderr


def test_a_port_in_use_is_named_and_nothing_is_left_behind(actd, tmp_path):
    port = actd().tcp[2]
    settings = {"listen.tcp": f"127.0.0.1:{port}", "listen.unix": tmp_path / "actd.sock"}
    log = refused(paths.CITIES, settings)
    assert f"tcp:127.0.0.1:{port}: cannot bind: Address already in use" in log
    assert not (tmp_path / "actd.sock").exists()


def test_an_admin_port_in_use_is_named_and_nothing_is_left_behind(actd, tmp_path):
    port = actd().admin_tcp[2]
    settings = {"admin.tcp": f"127.0.0.1:{port}", "listen.unix": tmp_path / "actd.sock"}
    log = refused(paths.CITIES, settings)
    assert f"admin endpoint: tcp:127.0.0.1:{port}: cannot bind: Address already in use" in log
    assert not (tmp_path / "actd.sock").exists()


def test_an_address_that_is_not_ours_is_named():
    assert "tcp:192.0.2.1:7411: cannot bind: " in refused(
        paths.CITIES, {"listen.tcp": "192.0.2.1:7411"}
    )


def test_a_socket_in_a_missing_directory_is_named(tmp_path):
    path = tmp_path / "none" / "actd.sock"
    log = refused(paths.CITIES, {"listen.unix": path})
    assert f"unix:{path}: " in log and "No such file or directory" in log


def test_too_little_address_space_is_an_error_and_no_crash(tmp_path):
    if is_sanitized():
        return  # the shadow memory itself needs more
    tree = tmp_path / "huge.act"
    shutil.copyfile(paths.CITIES, tree)
    os.truncate(tree, 1 << 40)

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))

    log = refused(tree, preexec_fn=limit)
    assert f"{tree}: " in log


def test_the_log_tells_where_it_listens_and_what_it_serves(actd):
    daemon = actd()
    log = daemon.log
    assert f"listening on unix:{daemon.unix[1]}" in log
    assert f"admin endpoint on unix:{daemon.admin_unix[1]}" in log
    assert str(paths.CITIES) in daemon.wait_log("ready: (.*)").group(1)
    with pytest.raises((Deadline, AssertionError)):
        daemon.stop()
        daemon.wait_log("this line does not come")
    assert daemon.lines[-1].endswith("stopped")


@pytest.mark.parametrize("closed", [[0, 1], [0, 2], [1, 2], [0, 1, 2]])
def test_it_starts_without_standard_streams(actd, closed):
    def close():
        for fd in closed:
            os.close(fd)

    daemon = actd(preexec=close, wait=None)
    daemon.wait_socket()
    with daemon.client() as client:
        assert client.call("ping") == "pong"
    daemon.stop()
