"""What the service manager keeps over a restart: sockets that actd bound, and what it served."""

import contextlib
import fcntl
import os
import pathlib
import re
import signal
import socket
import threading

import pytest

from lib import http, reload, rpc, versions
from lib.bad_disk import BadDisk
from lib.daemon import refused
from lib.fd_store import Keeper
from lib.waiting import DEADLINE_S, eventually
from test_keeping import huge_pages  # noqa: F401: a fixture

GARBAGE = b"garbage" * 1000
SERVED_AGAIN = r"generation (\d+) \(identity \d+, \d+ bytes\), the last good one from before the"


class Service:
    """actd under a manager with a store, started again and again with the same configuration."""

    def __init__(self, keeper, directory, actd):
        self.keeper, self.actd = keeper, actd
        self.path = directory / "tree.act"
        self.settings = {
            "listen.unix": directory / "actd.sock",
            "admin.unix": directory / "admin.sock",
            "listen.tcp": "127.0.0.1:0",
            "admin.tcp": "127.0.0.1:0",
            "daemon.workers": 2,
        }

    def start(self, settings=None, **options):
        merged = {**self.settings, **(settings or {})}
        return self.actd(self.path, merged, **self.keeper.options(), **options)

    def run(self, settings=None):
        """Started, served, and known that there is a store."""
        daemon = self.start(settings)
        self.keeper.wait_asked()
        return daemon

    def refused(self, settings=None):
        """The log of a start that must fail."""
        return refused(self.path, {**self.settings, **(settings or {})}, **self.keeper.options())

    def restart(self, change=lambda: None, settings=None):
        """Run, then stopped, then what is changed meanwhile, then run again: the second one."""
        self.run(settings).stop()
        change()
        return self.run(settings)


@pytest.fixture
def keeper(directory):
    with contextlib.closing(Keeper(directory)) as manager:
        yield manager


@pytest.fixture
def service(keeper, directory, actd):
    made = Service(keeper, directory, actd)
    versions.put(made.path, 1)
    return made


def ping(address):
    with rpc.Client(address) as client:
        return client.call("ping")


def told(daemon):
    """{number, identity} as clients are told."""
    with daemon.client() as client:
        return client.call("hello")["generation"]


def hears_pong(sock):
    sock.settimeout(DEADLINE_S)
    return sock.recv(100) == rpc.pack([1, 1, None, "pong"])


def is_clean(directory):
    return not [name for name in os.listdir(directory) if name in ("actd.sock", "admin.sock")]


# Sockets.


def test_sockets_that_it_bound_are_kept_by_name(service, keeper):
    service.run()
    names = keeper.sockets()
    assert len(names) == 4 and [name[:10] for name in names].count("kept-admin") == 2
    # A person sees what is what.
    for text in (service.settings["listen.unix"], service.settings["admin.unix"]):
        assert [name for name in names if name.endswith(f"-unix_{text}")]
    assert all(len(name) <= 255 and ":" not in name for name in keeper.names())
    keeper.wait_generations([1])
    assert "kept-probe" in keeper.names()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_what_is_queued_over_a_restart_is_answered(service, kind):
    first = service.run()
    address = getattr(first, kind)
    first.stop()
    with contextlib.ExitStack() as stack:
        waiting = [rpc.connect(address) for _ in range(20)]
        for one in waiting:
            stack.enter_context(one)
            one.sendall(rpc.request(1, "ping"))
        second = service.run()
        assert all(hears_pong(one) for one in waiting)
    # Port 0 is the same one again.
    assert getattr(second, kind) == address
    assert "the socket from before the restart" in second.log


def test_admin_requests_in_the_queue_are_answered_after_the_restart(service):
    first = service.run()
    address = first.admin_tcp
    first.stop()
    waiting = http.Connection(address)
    waiting.request("GET", "/livez")
    second = service.run()
    assert waiting.getresponse().status == 200
    waiting.close()
    assert second.admin_tcp == address


def test_whoever_connects_over_a_restart_gets_in(service):
    """Clients that connect, ask and leave all the time, while it restarts three times. One that had
    not yet asked anything when it began to stop is cut; that it could not connect is a failure."""
    daemon = service.run()
    end = threading.Event()
    counts = [0] * 4
    failures = []

    def ask(address, place):
        while not end.is_set():
            try:
                client = rpc.Client(address)
            except OSError as error:
                failures.append(error)
                continue
            with client, contextlib.suppress(OSError, AssertionError):
                assert client.call("ping") == "pong"
                counts[place] += 1

    addresses = [daemon.unix, daemon.tcp] * 2
    threads = [threading.Thread(target=ask, args=(a, i)) for i, a in enumerate(addresses)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            before = list(counts)
            eventually(lambda b=before: all(n > m for n, m in zip(counts, b)), "requests")
            daemon.stop()
            daemon = service.run()
        before = list(counts)
        eventually(lambda: all(n > m for n, m in zip(counts, before)), "requests")
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_two_of_the_same_text_come_back_as_two(service):
    service.settings["listen.tcp"] = ["127.0.0.1:0", "127.0.0.1:0"]

    def ports(daemon):
        return sorted(re.findall(r"listening on tcp:127\.0\.0\.1:(\d+)", daemon.log))

    first = service.run()
    before = ports(first)
    first.stop()
    assert len(set(before)) == 2 and ports(service.run()) == before


def test_without_a_store_everything_is_as_without_a_manager(directory, actd):
    with contextlib.closing(Keeper(directory, max_kept=0)) as keeper:
        service = Service(keeper, directory, actd)
        versions.put(service.path, 1)
        first = service.run()
        assert keeper.names() == []
        first.stop()
        assert is_clean(directory)
        second = service.run()
        assert "before the restart" not in second.log
        # Nothing is sent any more that nobody wants.
        versions.put(service.path, 2)
        assert reload.accepted(second) == 2
        second.stop()
        eventually(lambda: len([m for m in keeper.told if "STOPPING" in m]) == 2, "the stop")
        assert [m for m in keeper.told if "generation-2" in m.get("FDNAME", "")] == []


def test_a_manager_that_does_not_answer_keeps_nothing(directory, actd):
    """It reads nothing, so nobody knows: queues are emptied and files are removed, as ever."""
    path = directory / "silent.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as silent:
        silent.bind(str(path))
        settings = {"listen.unix": directory / "actd.sock", "admin.unix": directory / "admin.sock"}
        daemon = actd(settings=settings, env={"NOTIFY_SOCKET": str(path)})
        assert ping(daemon.unix) == "pong"
        daemon.stop()
        assert is_clean(directory)


@pytest.mark.parametrize("name", ["listen.unix", "listen.tcp", "admin.unix", "admin.tcp"])
def test_what_is_no_longer_configured_is_closed_and_forgotten(service, keeper, name):
    first = service.run()
    at = {"listen.unix": first.unix, "listen.tcp": first.tcp}
    at |= {"admin.unix": first.admin_unix, "admin.tcp": first.admin_tcp}
    first.stop()
    second = service.run({name: None})
    eventually(lambda: len(keeper.sockets()) == 3, "one to be forgotten")
    with pytest.raises(OSError):
        rpc.connect(at[name])
    assert not at[name][0] == "unix" or not os.path.exists(at[name][1])
    assert "closing what the service manager has kept" in second.log


def test_a_port_may_change_its_role(service, keeper):
    """Its old socket has to be closed by the manager, too, before the new one is bound."""
    first = service.run()
    port = first.tcp[2]
    first.stop()
    second = service.run({"listen.tcp": None, "admin.tcp": f"127.0.0.1:{port}"})
    assert http.fetch(("tcp", "127.0.0.1", port), "/livez")[0] == 200
    assert len(keeper.sockets()) == 3
    assert "closing what the service manager has kept" in second.log


def test_a_signal_while_it_waits_for_the_manager_is_no_answer(service, keeper):
    """To wait it asks the kernel, which any signal ends, also that of a process of ours that has
    ended."""
    first = service.run()
    port = first.tcp[2]
    first.stop()
    settings = {**service.settings, "listen.tcp": None, "admin.tcp": f"127.0.0.1:{port}"}
    options = keeper.options()
    with keeper.lock:  # it does nothing meanwhile
        second = service.actd(service.path, settings, wait=None, **options)
        wchan = pathlib.Path(f"/proc/{second.pid}/wchan")

        def is_waiting():
            assert "does not answer" not in second.log
            return re.search(r"poll_schedule|do_sys_poll", wchan.read_text())

        eventually(is_waiting, "waiting for the manager")
        second.send_signal(signal.SIGUSR1)
        eventually(is_waiting, "waiting again")
    second.wait_log("ready: ")
    assert "does not answer" not in second.log
    assert http.fetch(("tcp", "127.0.0.1", port), "/livez")[0] == 200


def test_the_mode_of_a_kept_socket_is_the_configured_one(service):
    path = service.settings["listen.unix"]
    service.run({"listen.unix_mode": "0600"}).stop()
    assert path.stat().st_mode & 0o777 == 0o600
    service.run({"listen.unix_mode": "0666"})
    assert path.stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("how", ["removed", "replaced by a socket"])
def test_a_socket_whose_file_is_another_one_is_bound_anew(service, keeper, how):
    path = service.settings["listen.unix"]

    def change():
        path.unlink()
        if how != "removed":
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(str(path))

    second = service.restart(change)
    assert ping(second.unix) == "pong"
    assert "not used: its file was removed or replaced" in second.log
    assert len(keeper.sockets()) == 4


def test_somebody_else_s_file_is_not_removed(service):
    """The address is not configured any more, and another server listens there."""
    path = service.settings["listen.unix"]
    first = service.run()
    first.stop()
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(1)
        service.run({"listen.unix": path.with_name("new.sock")})
        assert path.exists()


# The generation.


def test_a_good_path_wins_and_numbers_go_on(service, keeper):
    second = service.restart(lambda: versions.put(service.path, 2))
    assert versions.served(second) == 2 and told(second)["number"] == 2
    keeper.wait_generations([2])
    assert "before the restart, is served" not in second.log
    versions.put(service.path, 3)
    assert reload.accepted(second) == 3
    keeper.wait_generations([3])


def test_the_same_file_keeps_its_number(service, keeper):
    versions.put(service.path, 1)
    first = service.run()
    versions.put(service.path, 2)
    assert reload.accepted(first) == 2
    before = told(first)
    first.stop()
    second = service.run()
    assert told(second) == before
    keeper.wait_generations([2])


def bad_paths():
    def garbage(path):
        reload.put_bytes(GARBAGE, path)

    def nothing(path):
        path.unlink()

    def empty(path):
        reload.put_bytes(b"", path)

    def directory(path):
        path.unlink()
        path.mkdir()

    def fifo(path):
        path.unlink()
        os.mkfifo(path)

    def half(path):
        reload.put_bytes(path.read_bytes()[: path.stat().st_size // 2], path)

    def loop(path):
        path.unlink()
        path.symlink_to(path)

    return [garbage, nothing, empty, directory, fifo, half, loop]


@pytest.mark.parametrize("watch", ["no", "yes"])
@pytest.mark.parametrize("spoil", bad_paths(), ids=lambda f: f.__name__)
def test_a_bad_path_the_last_good_one_is_served(service, keeper, spoil, watch):
    settings = {"tree.watch": watch, "tree.verify": "structure"}
    first = service.run(settings)
    before = told(first)
    first.stop()
    spoil(service.path)
    second = service.run(settings)
    # Ready, and everybody knows why.
    assert versions.served(second) == 1 and told(second) == before
    warning = second.wait_log(SERVED_AGAIN)
    assert warning.group(1) == "1" and str(service.path) in warning.string
    status, _, text = http.fetch(second.admin_unix, "/readyz")
    assert status == 200 and f"refused: {service.path}: " in text and "generation 1 goes on" in text
    assert second.stats()["refusal"].startswith(f"{service.path}: ")
    assert second.stat("tree", "refused") == 1
    keeper.wait_generations([1])
    # A reload says the same, and a good file is served by itself.
    assert reload.refused(second).startswith(f"{service.path}: ")
    assert versions.served(second) == 1
    reload.remove(service.path)
    versions.put(service.path, 2)
    reload.wait_served(second, 2)
    assert versions.served(second) == 2
    keeper.wait_generations([2])


def test_it_goes_on_over_more_than_one_restart(service, keeper):
    service.run().stop()
    reload.put_bytes(GARBAGE, service.path)
    for _ in range(3):
        daemon = service.run()
        assert versions.served(daemon) == 1 and told(daemon)["number"] == 1
        daemon.stop()


@pytest.fixture(params=["mapped", "copied", "huge pages"])
def how(request):
    """(settings that hold a tree like this, what info calls it)"""
    if request.param == "mapped":
        return {}, request.param
    if request.param == "copied":
        return {"tree.map_min_bytes": "1G"}, request.param
    request.getfixturevalue("huge_pages")(8)
    return {"tree.hugepages": "copy"}, request.param


def test_it_is_served_as_it_was_held(service, keeper, how):
    settings, name = how
    first = service.run(settings)

    def held(daemon):
        with daemon.client() as client:
            return client.call("info")["tree"]["held"]

    assert held(first) == name
    before = told(first)
    first.stop()
    reload.put_bytes(GARBAGE, service.path)
    second = service.run(settings)
    assert held(second) == name and versions.served(second) == 1 and told(second) == before
    # Workers that start later get it, too.
    os.kill(second.worker_pids()[0], 9)
    second.wait_stat("restarts", "killed", 1)
    second.wait_log(r"ready: ")
    assert versions.served(second) == 1
    # And a copy's memory is not held any longer than it is served.
    versions.put(service.path, 2)
    reload.wait_served(second, 2)
    keeper.wait_generations([2])


def test_what_is_retired_is_not_kept(service, keeper):
    daemon = service.run()
    for version in range(2, 5):
        versions.put(service.path, version)
        assert reload.accepted(daemon) == version
        keeper.wait_generations([version])


def test_a_candidate_that_is_refused_changes_nothing(service, keeper):
    daemon = service.run()
    reload.put_bytes(GARBAGE, service.path)
    reload.refused(daemon)
    keeper.wait_generations([1])


def overwrite(path):
    """In place, with as many bytes that are no tree."""
    with open(path, "r+b") as file:
        file.write(b"\xff" * path.stat().st_size)


def test_what_is_damaged_does_not_come_back(service, keeper):
    first = service.run()
    overwrite(service.path)
    with first.client() as client, pytest.raises(rpc.RpcError):
        client.call("get", versions.KEYS[0])
    first.wait_log("queries are answered with IO_ERROR")
    keeper.wait_generations([])
    first.stop()
    log = service.refused()
    assert "before the restart" not in log.replace("kept from before the restart", "")
    assert "cannot start" not in log and str(service.path) in log


@pytest.mark.parametrize("verify", ["header", "structure"])
def test_what_is_damaged_while_nobody_looks_does_not_come_back(service, keeper, verify):
    """The file that was served, by now without a name."""
    settings = {"tree.verify": verify}
    service.run(settings).stop()
    old = os.open(service.path, os.O_RDWR)
    reload.put_bytes(GARBAGE, service.path)
    os.pwrite(old, b"\xff" * 4096, os.fstat(old).st_size // 2)
    os.close(old)
    log = service.refused(settings)
    assert "generation 1 from before the restart is of no use either: " in log
    assert "the file that was served has been changed since" in log
    # The start fails with the path's own error.
    assert re.search(rf"actd error: {re.escape(str(service.path))}: not an ACT file", log)
    keeper.wait_generations([])


def test_what_was_served_from_another_path_is_not_served(service, keeper, directory):
    service.run().stop()
    service.path = directory / "other.act"
    log = service.refused()
    assert "it was served from another path" in log and "No such file" in log
    keeper.wait_generations([])


def test_a_path_that_takes_too_long_is_a_bad_one(service, keeper, directory):
    """Its disk hangs. And it hangs still when the service is there."""
    settings = {"tree.check_timeout_ms": 700, "tree.verify": "structure"}
    good = versions.build(directory / "good.act", 1)
    service.path.unlink()
    service.path.symlink_to(good)
    service.run(settings).stop()
    content = versions.build(directory / "content.act", 2).read_bytes()
    with BadDisk(directory / "mounted.act", content) as disk:
        disk.hang()
        reload.swap_link(service.path, disk.path)
        second = service.run(settings)
        second.wait_log(SERVED_AGAIN)
        wanted = f"{service.path}: checking it took longer than tree.check_timeout_ms = 700 allows"
        assert second.stats()["refusal"] == wanted
        assert versions.served(second) == 1
        disk.go_on()
        reload.accepted(second)
        assert versions.served(second) == 2 and told(second)["number"] == 2
        keeper.wait_generations([2])
        second.stop()
        keeper.remove("")  # before its disk goes


def test_the_check_of_what_was_served_may_take_too_long(service, keeper, directory):
    """Then the start fails, with what is wrong with the path."""
    settings = {"tree.check_timeout_ms": 700, "tree.verify": "structure"}
    content = service.path.read_bytes()
    with BadDisk(directory / "mounted.act", content) as disk:
        service.path.unlink()
        service.path.symlink_to(disk.path)
        service.run(settings).stop()
        reload.swap_link(service.path, directory / "none.act")
        with open(disk.path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        disk.hang()
        log = service.refused(settings)
        assert f"{service.path}: cannot open: No such file" in log
        assert "is of no use either" in log and "tree.check_timeout_ms = 700" in log
        keeper.wait_generations([])
        disk.go_on()


def test_sighup_while_the_last_good_one_is_served(service, keeper):
    second = service.restart(lambda: reload.put_bytes(GARBAGE, service.path))
    assert "not an ACT file" in reload.refused_by_hang_up(second)
    versions.put(service.path, 2)
    reload.hang_up(second, reload.served_line(2))
    assert versions.served(second) == 2


# What is in the store may be anything.


def memfd(data=b"", is_sealed=True):
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if is_sealed:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
    return fd


@pytest.fixture
def good_facts(service, keeper):
    """The bytes of the facts of generation 1, from a run before; the store is empty."""
    service.run().stop()
    fd = keeper.fd("kept-facts-1")
    data = os.pread(fd, 1 << 20, 0)
    keeper.remove("")
    return data


NAMES = ["stored", "kept-", "kept-x", "kept-generation-", "kept-generation-0", "kept-facts-x"]
NAMES += ["kept-generation-18446744073709551616", "kept-generation-1x", "kept-" + "y" * 250]
SOCKET_NAMES = ["kept-data-", "kept-data-0-", "kept-admin-0-0123456789abcdef-1-2-x", "kept-probe"]


@pytest.mark.parametrize("kind", ["directory", "pipe", "socket", "memfd", "device"])
def test_names_that_nobody_knows_are_closed_and_forgotten(service, keeper, kind, directory):
    reading, writing = os.pipe()
    with socket.socket() as sock:
        sock.listen(1)
        fd = {
            "directory": lambda: os.open(directory, os.O_RDONLY),
            "pipe": lambda: os.dup(reading),
            "socket": lambda: os.dup(sock.fileno()),
            "memfd": memfd,
            "device": lambda: os.open("/dev/zero", os.O_RDONLY),
        }[kind]()
        for name in NAMES:
            keeper.put(name, fd)
        for name in ["kept-generation-1", "kept-facts-1", "kept-generation-7", "kept-facts-8"]:
            keeper.put(name, fd)
        for name in SOCKET_NAMES:
            keeper.put(name, fd)
        os.close(fd)
        daemon = service.run()
    assert versions.served(daemon) == 1 and told(daemon)["number"] == 1
    assert daemon.log.count("has kept") >= len(NAMES)
    keeper.wait_generations([1])
    assert [name for name in keeper.names() if name in NAMES] == []
    assert len(keeper.sockets()) == 4
    assert keeper.names().count("kept-probe") == 1
    os.close(reading)
    os.close(writing)


def test_too_many_of_them_are_closed_and_forgotten(service, keeper):
    fd = memfd()
    for i in range(300):
        keeper.put(f"kept-generation-{i + 1}", fd)
    for _ in range(300):
        keeper.put("kept-facts-1", fd)
    os.close(fd)
    daemon = service.run()
    assert told(daemon)["number"] == 1
    keeper.wait_generations([1])


def changed(data, offset, size, value):
    return data[:offset] + value.to_bytes(size, "little") + data[offset + size :]


FACTS = {
    "cut": lambda data: data[:100],
    "empty": lambda data: b"",
    "one byte less": lambda data: data[:-1],
    "longer": lambda data: data + b"x",
    "something else": lambda data: b"x" * len(data),
    "another version": lambda data: changed(data, 8, 4, 77),
    "another size": lambda data: changed(data, 12, 4, 77),
    "another number": lambda data: changed(data, 16, 8, 2),
    "path without an end": lambda data: data[:-4096] + b"/" * 4096,
    "all bits": lambda data: data[:16] + b"\xff" * (len(data) - 16),
}


@pytest.mark.parametrize("change", FACTS)
def test_facts_that_are_wrong_are_not_believed(service, keeper, good_facts, change):
    with open(service.path, "rb") as file:
        keeper.put("kept-generation-1", file)
    keeper.put("kept-facts-1", memfd(FACTS[change](good_facts)))
    reload.put_bytes(GARBAGE, service.path)
    log = service.refused()
    assert "not used: its facts" in log and "not an ACT file" in log
    assert keeper.generations() == [] and "kept-facts-1" not in keeper.names()


def test_facts_that_can_still_be_written_are_not_believed(service, keeper, good_facts):
    with open(service.path, "rb") as file:
        keeper.put("kept-generation-1", file)
    keeper.put("kept-facts-1", memfd(good_facts, is_sealed=False))
    service.path.unlink()
    assert "no sealed file in memory" in service.refused()


@pytest.mark.parametrize("which", ["other file", "directory", "pipe", "socket", "cut", "zero"])
def test_a_generation_that_is_not_what_its_facts_say_is_refused(
    service, keeper, good_facts, which, directory
):
    """The facts are good, and what comes with them is something else."""
    versions.put(directory / "second.act", 2)
    short = directory / "cut.act"
    short.write_bytes(service.path.read_bytes()[:100])
    reading, writing = os.pipe()
    listening = socket.socket()
    listening.listen(1)
    name = {"other file": directory / "second.act", "cut": short, "directory": directory}
    name["zero"] = "/dev/zero"
    if which in name:
        fd = os.open(name[which], os.O_RDONLY)
    else:
        fd = os.dup(reading if which == "pipe" else listening.fileno())
    keeper.put("kept-generation-1", fd)
    os.close(fd)
    keeper.put("kept-facts-1", memfd(good_facts))
    service.path.unlink()
    log = service.refused()
    assert "generation 1 from before the restart is of no use either" in log
    assert f"{service.path}: cannot open: No such file" in log
    assert keeper.generations() == []
    listening.close()
    os.close(reading)
    os.close(writing)


def test_a_copy_that_can_be_written_is_refused(service, keeper):
    """Its facts say that it is sealed memory."""
    settings = {"tree.map_min_bytes": "1G"}
    service.run(settings).stop()
    data = os.pread(keeper.fd("kept-generation-1"), 1 << 24, 0)
    facts = os.dup(keeper.fd("kept-facts-1"))
    keeper.remove("")
    keeper.put("kept-generation-1", memfd(data, is_sealed=False))
    keeper.put("kept-facts-1", facts)
    service.path.unlink()
    assert "its copy in memory is not what it was" in service.refused(settings)


def test_two_of_one_name_are_both_refused(service, keeper, good_facts):
    with open(service.path, "rb") as file:
        keeper.put("kept-generation-1", file)
        keeper.put("kept-generation-1", file)
    keeper.put("kept-facts-1", memfd(good_facts))
    service.path.unlink()
    assert "or more than once" in service.refused()


def test_the_newer_of_two_generations_is_the_one(service, keeper):
    """As after a crash between storing one and removing the other."""
    first = service.run()
    keeper.wait_generations([1])
    with contextlib.ExitStack() as stack:
        old = [os.dup(keeper.fd(name)) for name in ("kept-generation-1$", "kept-facts-1$")]
        stack.callback(lambda: [os.close(fd) for fd in old])
        versions.put(service.path, 2)
        assert reload.accepted(first) == 2
        keeper.wait_generations([2])
        first.stop()
        keeper.put("kept-generation-1", old[0])
        keeper.put("kept-facts-1", old[1])
    service.path.unlink()
    second = service.run()
    assert versions.served(second) == 2 and told(second)["number"] == 2
    keeper.wait_generations([2])


def test_a_crash_of_the_supervisor_is_a_restart(service, keeper):
    first = service.run()
    address = first.tcp
    pids = first.worker_pids()
    first.crash()
    reload.put_bytes(GARBAGE, service.path)
    with contextlib.closing(rpc.connect(address)) as waiting:
        waiting.sendall(rpc.request(1, "ping"))
        second = service.run()
        assert hears_pong(waiting)
    assert versions.served(second) == 1 and not set(second.worker_pids()) & set(pids)
