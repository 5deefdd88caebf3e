"""Who asks for a reload gets an answer, whatever the disk does: POST /reload, and actctl reload."""

import concurrent.futures
import contextlib
import http.client as http_client
import os
import re
import signal

import pytest

from lib import actctl, http, reload, rpc, versions
from lib.bad_disk import BadDisk
from lib.daemon import Daemon
from lib.waiting import DEADLINE_S

TWO = {"daemon.workers": 2}


@pytest.fixture
def path(tmp_path):
    """Where the served file lies: version 1."""
    return versions.build(tmp_path / "tree.act", 1)


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """A daemon whose version 1 nothing may replace."""
    path = versions.build(tmp_path_factory.mktemp("steady") / "tree.act", 1)
    with Daemon(path, TWO) as daemon:
        yield daemon


#
# POST /reload.
#


def test_who_comes_by_tcp_may_not_reload(steady):
    status, _, text = http.fetch(steady.admin_tcp, "/reload", method="POST")
    assert status == 403 and "Unix sockets only" in text and "admin.token_file" in text
    reload.check_steady(steady)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_only_post_reloads(steady, kind, method):
    admin = getattr(steady, f"admin_{kind}")
    status, headers, _ = http.fetch(admin, "/reload", method=method)
    assert (status, headers["Allow"]) == (405, "POST")
    reload.check_steady(steady)


def test_the_reply_tells_what_is_served(actd, path):
    daemon = actd(path, TWO)
    with daemon.client() as client:
        before = client.call("hello")["generation"]
        reload.put_bytes(b"", path)
        status, told = reload.post(daemon)
        assert (status, told["serving"]) == (409, before)
        versions.put(path, 2)
        status, told = reload.post(daemon, body=b"a body is not looked at")
        assert status == 200
        assert told["generation"] == client.call("hello")["generation"]
        assert told["generation"]["number"] == 2


def test_a_path_that_is_no_text_is_told_all_the_same(actd, tmp_path):
    path = versions.build(tmp_path / os.fsdecode(b"b\xe4ume.act"), 1)
    daemon = actd(path)
    status, told = reload.post(daemon)
    assert (status, told["path"]) == (200, f"{tmp_path}/b\ufffdume.act")
    reload.put_bytes(b"", path)
    status, told = reload.post(daemon)
    assert status == 409 and f"{tmp_path}/b\ufffdume.act" in told["error"]
    assert daemon.stats()["refusal"] == told["error"]


def post_many(daemon, n):
    """At once."""
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return [future.result() for future in
                [pool.submit(reload.post, daemon) for _ in range(n)]]


def test_many_who_ask_at_once_are_all_answered(actd, path):
    daemon = actd(path, {**TWO, "admin.max_connections": 32})
    for version in range(2, 8):
        versions.put(path, version)
        for status, told in post_many(daemon, 10):
            assert status == 200 and told["size_bytes"] == path.stat().st_size
        assert versions.served(daemon) == version
    # Who asks while a file is looked at shares the next look with others.
    assert reload.generation_lines(daemon)[-1] <= 1 + 6 * 10
    reload.remove(path)
    assert [status for status, _ in post_many(daemon, 10)] == [409] * 10
    assert versions.served(daemon) == 7


#
# A disk that hangs.
#


@contextlib.contextmanager
def hanging(actd, path, tmp_path, settings=None, is_killable=True, **options):
    """(daemon, disk, link): the path is a link that leads to version 2, on a disk that hangs."""
    link = tmp_path / "link.act"
    link.symlink_to(path)
    content = versions.build(tmp_path / "content.act", 2).read_bytes()
    with BadDisk(tmp_path / "mounted.act", content) as disk:
        daemon = actd(link, {**TWO, "tree.verify": "structure", **(settings or {})}, **options)
        disk.hang(is_killable)
        reload.swap_link(link, disk.path)
        yield daemon, disk, link
        disk.go_on()
        daemon.stop()


def test_a_check_that_hangs_harms_nobody_and_ends_when_the_disk_goes_on(actd, path, tmp_path):
    with hanging(actd, path, tmp_path) as (daemon, disk, _):
        asking = reload.Asking(daemon)
        assert disk.is_asked.wait(DEADLINE_S)
        reload.check_steady(daemon)
        disk.go_on()
        status, told = asking.answer()
        assert status == 200 and told["generation"]["number"] == 2
        assert versions.served(daemon) == 2


def test_a_check_that_hangs_is_given_up(actd, path, tmp_path):
    settings = {"tree.check_timeout_ms": 1500, "admin.timeout_ms": 1000}
    with hanging(actd, path, tmp_path, settings) as (daemon, disk, link):
        wanted = f"{link}: checking it took longer than tree.check_timeout_ms = 1500 allows"
        assert reload.refused(daemon) == wanted
        reload.check_steady(daemon)
        assert reload.refused_by_hang_up(daemon) == wanted
        reload.check_steady(daemon)
        # The process that hung is gone, and a good file is taken.
        reload.workers(daemon)  # and no third process
        reload.swap_link(link, versions.build(tmp_path / "v3.act", 3))
        assert reload.accepted(daemon) == 2
        assert versions.served(daemon) == 3


def test_who_asks_during_a_check_gets_the_newest_file(actd, path, tmp_path):
    """The one that is being checked may be older than the question."""
    with hanging(actd, path, tmp_path) as (daemon, disk, link):
        first = reload.Asking(daemon)
        assert disk.is_asked.wait(DEADLINE_S)
        reload.swap_link(link, versions.build(tmp_path / "v3.act", 3))
        later = [reload.Asking(daemon) for _ in range(5)]
        disk.go_on()
        status, told = first.answer()
        assert status == 200 and told["generation"]["number"] == 2
        for asking in later:
            status, told = asking.answer()
            assert status == 200 and told["generation"]["number"] == 3
        assert versions.served(daemon) == 3


def test_beyond_the_limit_of_those_who_wait_there_is_an_answer_at_once(actd, path, tmp_path):
    with hanging(actd, path, tmp_path, {"admin.max_connections": 4}) as (daemon, disk, _):
        asking = [reload.Asking(daemon) for _ in range(2)]
        status, _, text = http.fetch(daemon.admin_unix, "/reload", method="POST")
        assert status == 503 and "admin.max_connections" in text
        disk.go_on()
        assert [each.answer()[0] for each in asking] == [200, 200]
        reload.accepted(daemon)


def test_a_client_that_leaves_while_it_waits(actd, path, tmp_path):
    with hanging(actd, path, tmp_path) as (daemon, disk, link):
        leaving = [reload.Asking(daemon) for _ in range(3)]
        assert disk.is_asked.wait(DEADLINE_S)
        staying = reload.Asking(daemon)
        for asking in leaving:
            asking.leave()
        reload.check_steady(daemon)
        disk.go_on()
        assert staying.answer()[0] == 200
        assert versions.served(daemon) == 2
        # Their places are free again.
        for version in range(3, 8):
            reload.swap_link(link, versions.build(tmp_path / f"v{version}.act", version))
            assert [status for status, _ in post_many(daemon, 5)] == [200] * 5


def test_the_stop_does_not_wait_for_a_check_that_hangs(actd, path, tmp_path):
    with hanging(actd, path, tmp_path) as (daemon, disk, _):
        asking = [reload.Asking(daemon) for _ in range(3)]
        assert disk.is_asked.wait(DEADLINE_S)
        daemon.send_signal()
        for each in asking:
            status, told = each.answer()
            assert (status, told["error"]) == (503, "actd is stopping")
        daemon.check_end()
        assert disk.is_hanging


def test_the_stop_does_not_wait_for_a_check_that_cannot_be_killed(actd, path, tmp_path):
    # What is kept of the process that does not end is left to the kernel.
    env = {"ASAN_OPTIONS": "detect_leaks=0:exitcode=99"}
    with hanging(actd, path, tmp_path, is_killable=False, env=env) as (daemon, disk, _):
        asking = reload.Asking(daemon)
        assert disk.is_asked.wait(DEADLINE_S)
        daemon.send_signal()
        assert asking.answer()[0] == 503
        assert daemon.process.wait(DEADLINE_S) == 0
        assert disk.held
        disk.go_on()


def test_a_check_that_cannot_be_killed_is_given_up_all_the_same(actd, path, tmp_path):
    settings = {"tree.check_timeout_ms": 200}
    with hanging(actd, path, tmp_path, settings, is_killable=False) as (daemon, disk, link):
        assert "longer than tree.check_timeout_ms" in reload.refused(daemon)
        reload.check_steady(daemon)
        reload.swap_link(link, versions.build(tmp_path / "v3.act", 3))
        assert reload.accepted(daemon) == 2
        assert versions.served(daemon) == 3
        assert disk.held
        disk.go_on()
        reload.workers(daemon)  # and no third process


def test_the_stop_does_not_wait_for_a_client_that_waits_no_more(actd, path, tmp_path):
    with hanging(actd, path, tmp_path) as (daemon, disk, _):
        asking = [reload.Asking(daemon) for _ in range(3)]
        assert disk.is_asked.wait(DEADLINE_S)
        for each in asking:
            each.leave()
        daemon.send_signal()
        daemon.check_end()


def test_a_reload_that_is_asked_for_during_the_stop(actd, path):
    daemon = actd(path, {**TWO, "limits.drain_timeout_ms": 600000})
    with daemon.client() as client:
        client.send(rpc.request(1, "ping")[:-1])
        daemon.wait_stat("traffic", "read_bytes", lambda n: n > 0)
        daemon.send_signal()
        daemon.wait_log("stopping")
        versions.put(path, 2)
        daemon.send_signal(signal.SIGHUP)
        status, told = reload.post(daemon)
        assert (status, told["error"]) == (503, "actd is stopping")
        client.send(rpc.request(1, "ping")[-1:])
        assert client.reply() == (1, None, "pong")
    daemon.check_end()


def test_a_daemon_that_is_stopped_amid_reloads(actd, path):
    for version in range(2, 12):
        daemon = actd(path, TWO)
        versions.put(path, version)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(reload.post, daemon) for _ in range(4)]
            daemon.send_signal()
            for future in asked:
                with contextlib.suppress(OSError, http_client.HTTPException):
                    assert future.result()[0] in (200, 503)
        daemon.check_end()


def test_the_start_ends_at_a_signal_while_the_check_hangs(tmp_path, actd):
    content = versions.build(tmp_path / "content.act", 1).read_bytes()
    with BadDisk(tmp_path / "mounted.act", content) as disk:
        disk.hang()
        daemon = actd(disk.path, TWO, wait=None)
        assert disk.is_asked.wait(DEADLINE_S)
        daemon.send_signal()
        daemon.check_end()


#
# actctl reload.
#


def reload_by_actctl(daemon, *args, run=actctl.output, **options):
    return run("reload", "-a", f"unix:{daemon.admin_unix[1]}", *args, **options)


def test_actctl_tells_what_is_served(actd, path):
    daemon = actd(path, TWO)
    versions.put(path, 2)
    told = reload_by_actctl(daemon).decode()
    size = path.stat().st_size
    assert re.fullmatch(rf"generation 2 \(identity \d+\): {re.escape(str(path))}, {size} bytes\n",
                        told)
    assert versions.served(daemon) == 2


def test_actctl_tells_why_a_file_was_refused(actd, path):
    daemon = actd(path, TWO)
    reload.remove(path)
    told = reload_by_actctl(daemon, run=actctl.error, status=1)
    assert told.startswith(f"refused: {path}: cannot open: No such file or directory: "), told
    assert re.search(r"; generation 1 \(identity \d+\) is still served$", told), told
    reload.check_steady(daemon)


def test_actctl_tells_that_nobody_is_there(actd, path):
    daemon = actd(path, TWO)
    daemon.stop()
    told = reload_by_actctl(daemon, run=actctl.error, status=3)
    assert ": is actd running" in told, told
