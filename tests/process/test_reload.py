"""Reloading: another file at the path is served without a lost or a mixed reply; the path is
watched, if that is wanted; and nothing is left behind."""

import os
import pathlib
import re
import resource
import signal
import subprocess
import time

import pytest

from lib import reload, versions
from lib.daemon import SANITIZER_ENV, is_sanitized
from lib.processes import limited
from lib.waiting import eventually

TWO = {"daemon.workers": 2}


# What a bad file holds.
NOT_A_TREE = b"a\t1\n" * 1000


@pytest.fixture
def path(tmp_path):
    """Where the served file lies: version 1."""
    return versions.build(tmp_path / "tree.act", 1)


#
# Under load.
#


def reload_often(actd, path, n):
    daemon = actd(path, TWO)
    addresses = [daemon.unix, daemon.tcp] * 2
    with versions.Askers(addresses) as askers:
        for version in range(2, n + 2):
            versions.put(path, version)
            if version % 3:
                assert reload.accepted(daemon) == version
            else:
                assert reload.hang_up(daemon, reload.served_line(version))
            # From the moment that it is told nobody gets an older answer.
            assert versions.served(daemon) == version
            assert versions.served(daemon) == version
    for seen in askers.seen:
        assert seen == sorted(seen) and len(seen) > 1
    assert reload.generation_lines(daemon) == list(range(1, n + 2))


@pytest.mark.alone
@pytest.mark.parametrize("n", [60, pytest.param(200, marks=pytest.mark.long)])
def test_reloads_under_load_lose_and_mix_nothing(actd, path, n):
    reload_often(actd, path, n)


@pytest.mark.alone
def test_reloads_of_the_same_two_files_by_turns(actd, path):
    """The same two identities come and go."""
    daemon = actd(path, TWO)
    for version in (1, 2):
        versions.build(path.with_name(f"{version}.act"), version)
    number = 1
    with daemon.client() as client:
        for version in [2, 1] * 20:
            reload.put(path.with_name(f"{version}.act"), path)
            number += 1
            assert reload.accepted(daemon) == number
            assert client.call("get", versions.KEYS[7]) == version * versions.STEP + 7
            assert versions.served(daemon) == version


def test_a_scan_that_has_begun_goes_on_in_the_next_generation(actd, path):
    daemon = actd(path, TWO)
    with daemon.client() as client:
        page = client.call("scan", b"", {"limit": 700})
        entries = page["entries"]
        assert versions.of_page(versions.KEYS[:700], page) == 1
        versions.put(path, 2)
        reload.accepted(daemon)
        page = client.call("scan", b"", {"limit": 1300, "cursor": page["cursor"]})
        assert versions.of_page(versions.KEYS[700:], page) == 2
        assert len(entries) + len(page["entries"]) == len(versions.KEYS)


def test_a_file_that_is_the_same_is_a_generation_of_the_same_identity(actd, path):
    daemon = actd(path, TWO)
    with daemon.client() as client:
        before = client.call("hello")["generation"]
        for number in (2, 3):
            assert reload.accepted(daemon) == number
            after = client.call("hello")["generation"]
            assert after == {"number": number, "identity": before["identity"]}


#
# The path is watched.
#

# So long must a file rest.
WATCH = {**TWO, "tree.watch": "yes", "tree.settle_ms": 30}


def wait_version(daemon, version):
    eventually(lambda: versions.served(daemon) == version, f"version {version}")


def test_a_file_that_comes_by_rename_is_served(actd, path):
    daemon = actd(path, WATCH)
    for version in range(2, 6):
        versions.put(path, version)
        reload.wait_served(daemon, version)
        assert versions.served(daemon) == version


def test_a_touched_file_is_looked_at(actd, path):
    daemon = actd(path, WATCH)
    os.utime(path, (5, 5))
    reload.wait_served(daemon, 2)
    os.utime(path)
    reload.wait_served(daemon, 3)
    assert versions.served(daemon) == 1


def test_a_link_that_leads_to_another_file_is_followed(actd, path, tmp_path):
    files = [versions.build(tmp_path / f"v{version}.act", version) for version in range(2, 5)]
    link = tmp_path / "link.act"
    link.symlink_to(path.name)
    daemon = actd(link, WATCH)
    for version, file in enumerate(files, 2):
        reload.swap_link(link, file if version % 2 else file.name)
        reload.wait_served(daemon, version)
        assert versions.served(daemon) == version


def test_what_lies_behind_a_link_is_watched_too(actd, path, tmp_path):
    link = tmp_path / "links" / "link.act"
    link.parent.mkdir()
    link.symlink_to(path)
    daemon = actd(link, WATCH)
    versions.put(path, 2)
    reload.wait_served(daemon, 2)
    assert versions.served(daemon) == 2


def test_a_link_on_the_way_that_leads_to_another_directory_is_followed(actd, tmp_path):
    for version in range(1, 4):
        (tmp_path / f"d{version}" / "in").mkdir(parents=True)
        versions.build(tmp_path / f"d{version}" / "in" / "tree.act", version)
    current = tmp_path / "current"
    current.symlink_to("d1")
    daemon = actd(current / "in" / "tree.act", WATCH)
    for version in (2, 3, 1):
        reload.swap_link(current, f"d{version}")
        wait_version(daemon, version)


def test_a_directory_that_is_moved_away_and_another_that_takes_its_name(actd, tmp_path):
    for version in range(1, 4):
        (tmp_path / f"d{version}").mkdir()
        versions.build(tmp_path / f"d{version}" / "tree.act", version)
    (tmp_path / "d1").rename(tmp_path / "current")
    daemon = actd(tmp_path / "current" / "tree.act", WATCH)
    for version in (2, 3):
        (tmp_path / "current").rename(tmp_path / f"old{version}")
        (tmp_path / f"d{version}").rename(tmp_path / "current")
        wait_version(daemon, version)


def test_a_volume_as_kubernetes_replaces_it(actd, tmp_path):
    """tree.act -> ..data/tree.act, ..data -> ..VERSION; ..data is replaced, and the old directory
    removed."""

    def publish(version):
        directory = tmp_path / f"..2024_{version}"
        directory.mkdir()
        versions.build(directory / "tree.act", version)
        reload.swap_link(tmp_path / "..data", directory.name)

    publish(1)
    (tmp_path / "tree.act").symlink_to("..data/tree.act")
    daemon = actd(tmp_path / "tree.act", WATCH)
    for version in range(2, 5):
        publish(version)
        reload.remove(tmp_path / f"..2024_{version - 1}")
        wait_version(daemon, version)


def test_many_quick_replacements_end_in_the_last(actd, path, tmp_path):
    files = [versions.build(tmp_path / f"v{version}.act", version) for version in range(2, 42)]
    daemon = actd(path, WATCH)
    for file in files:
        file.rename(path)
    wait_version(daemon, 41)
    numbers = reload.generation_lines(daemon)
    assert numbers == list(range(1, numbers[-1] + 1)) and len(numbers) <= len(files) + 1
    assert "actd error" not in daemon.log


def test_a_bad_file_is_told_once_and_the_next_good_one_served(actd, path):
    daemon = actd(path, WATCH)
    for version in range(2, 5):
        since = len(daemon.lines)
        reload.put_bytes(NOT_A_TREE, path)
        daemon.wait_log("actd error: .*not an ACT file", since)
        assert versions.served(daemon) == version - 1
        versions.put(path, version)
        reload.wait_served(daemon, version)
        assert versions.served(daemon) == version
    assert daemon.log.count("actd error") == 3


def test_a_file_that_goes_away_stays_served_and_the_next_one_is_seen(actd, path):
    daemon = actd(path, WATCH)
    other = versions.build(path.with_name("other.act"), 2)
    path.unlink()
    assert versions.served(daemon) == 1
    other.rename(path)
    reload.wait_served(daemon, 2)
    assert versions.served(daemon) == 2
    path.parent.rename(path.parent.with_name("away"))
    assert versions.served(daemon) == 2
    path.parent.mkdir()
    versions.build(path, 3)
    reload.wait_served(daemon, 3)
    assert versions.served(daemon) == 3


SETTLE_MS = 1000


@pytest.mark.alone
def test_a_file_that_grows_slowly_is_taken_when_it_rests(actd, path):
    """The first bytes come by rename; then it grows, with pauses."""
    daemon = actd(path, {**WATCH, "tree.settle_ms": SETTLE_MS})
    data = versions.build(path.with_name("whole.act"), 2).read_bytes()
    new = path.with_name("new.act")
    new.write_bytes(data[:100])
    new.rename(path)
    last, longest = time.monotonic(), 0
    with open(path, "ab", buffering=0) as file:
        for at in range(100, len(data), len(data) // 30):
            eventually(lambda: time.monotonic() - last > 0.06, "a pause")
            file.write(data[at : at + len(data) // 30])
            now = time.monotonic()
            longest = max(longest, now - last)
            last = now
    reload.wait_served(daemon, 2)
    assert time.monotonic() - last >= SETTLE_MS / 1000 * 0.9
    assert versions.served(daemon) == 2
    # On a machine that stood still meanwhile it may have rested before.
    assert "actd error" not in daemon.log or longest > SETTLE_MS / 1000 * 0.9


def test_what_is_not_watched_is_not_looked_at(actd, path):
    """Another daemon, which watches, tells how long to wait."""
    daemon = actd(path, {**TWO, "tree.settle_ms": 10})
    watching = actd(path, WATCH)
    for version in (2, 3):
        versions.put(path, version)
        reload.wait_served(watching, version)
        assert versions.served(daemon) == 1
    assert reload.hang_up(daemon, reload.served_line(2))
    assert versions.served(daemon) == 3
    assert reload.generation_lines(daemon) == [1, 2]


#
# Nothing is left behind.
#


class Holdings:
    """Descriptors and mappings of the daemon's processes, and memory of their own."""

    def __init__(self, daemon):
        self.pids = [daemon.pid, *reload.workers(daemon)]
        self.files = [len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids]
        self.maps = [self.n_lines(f"/proc/{pid}/maps") for pid in self.pids]
        self.rss = [self.anon_bytes(pid) for pid in self.pids]

    @staticmethod
    def n_lines(path):
        with open(path) as file:
            return sum(1 for _ in file)

    @staticmethod
    def anon_bytes(pid):
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(re.search(r"^RssAnon:\s+(\d+) kB$", text, re.M)[1]) * 1024


# Between two looks a thread's arena or a block of buffers may come or go, but not one a reload.
MORE_MAPS, MORE_BYTES = 8, 1 << 20


def hold_flat(actd, path, n):
    # The stack of a thread that reads pages stays mapped for the next one: there is one at a time.
    daemon = actd(path, {**TWO, "cold.threads": 1})
    one, two = (versions.build(path.with_name(f"{i}.act"), i) for i in (1, 2))

    def reload_by_turns(times):
        with daemon.client() as client:
            for i in range(times):
                os.link(two if i % 2 else one, path.with_name("new.act"))
                path.with_name("new.act").rename(path)
                reload.accepted(daemon)
                if i % 10 == 0:
                    versions.version_of_all(versions.KEYS, client.call("mget", versions.KEYS))
                    reload.put_bytes(NOT_A_TREE, path)
                    reload.refused(daemon)

    reload_by_turns(100)
    before = Holdings(daemon)
    reload_by_turns(n)
    after = Holdings(daemon)
    assert after.pids == before.pids

    def is_back():
        now = Holdings(daemon)
        # Before, a connection that had just ended may have counted.
        return all(n <= n_before for n, n_before in zip(now.files, before.files)) and all(
            n <= n_before + MORE_MAPS for n, n_before in zip(now.maps, before.maps))

    eventually(is_back, "descriptors and mappings as before")
    if not is_sanitized():
        for n_bytes, n_before in zip(after.rss, before.rss):
            assert n_bytes <= n_before + MORE_BYTES, (before.rss, after.rss)


@pytest.mark.alone
@pytest.mark.parametrize("n", [300, pytest.param(10000, marks=pytest.mark.long)])
def test_reloads_leave_nothing_behind(actd, path, n):
    hold_flat(actd, path, n)


def test_a_file_that_could_not_be_checked_is_looked_at_again(actd, path):
    """Nothing was wrong with it: descriptors were short when it came."""
    daemon = actd(path, {**TWO, "tree.watch": "yes", "tree.settle_ms": 10})
    n_files = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    with limited(daemon.pid, resource.RLIMIT_NOFILE, n_files):
        versions.put(path, 2)
        daemon.wait_log(r"cannot start a process to check it: .*; generation 1 .* goes on serving")
    eventually(lambda: versions.served(daemon) == 2, "the file to be looked at again")


def test_who_asks_is_told_when_no_check_can_be_started(actd, path):
    daemon = actd(path, TWO)
    n_files = len(os.listdir(f"/proc/{daemon.pid}/fd"))
    with limited(daemon.pid, resource.RLIMIT_NOFILE, n_files + 1):
        assert "cannot start a process to check it" in reload.refused(daemon)
    assert reload.accepted(daemon) == 2


def test_a_file_that_one_worker_has_no_descriptor_for_is_refused(actd, path):
    daemon = actd(path, TWO)
    before = daemon.worker_pids()
    with limited(before[0], resource.RLIMIT_NOFILE, 4):
        why = reload.refused(daemon)
    assert why == f"{path}: a worker cannot map it: no descriptor is left for it " \
                  "(LimitNOFILE=, ulimit -n)"
    assert reload.accepted(daemon) == 3
    assert daemon.worker_pids() == before


# With a library in front of the system's.


def preloaded(directory, source, names):
    """An environment with it; names: of files in the directory that it looks for, by variable."""
    (directory / "front.c").write_text(source)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", directory / "front.so", directory / "front.c"],
                   check=True)
    asan = SANITIZER_ENV["ASAN_OPTIONS"]
    return {"LD_PRELOAD": str(directory / "front.so"),
            "ASAN_OPTIONS": f"{asan}:verify_asan_link_order=0",
            **{name: str(directory / name) for name in names}}


NO_COPIES = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* While the file exists, no descriptor can be copied. */
int fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    long argument = va_arg(args, long);
    va_end(args);
    if (command == F_DUPFD_CLOEXEC && access(getenv("SHORT"), F_OK) == 0) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

int fcntl64(int, int, ...) __attribute__((alias("fcntl")));
"""


def test_a_file_that_cannot_be_handed_to_a_worker_is_refused(actd, path, tmp_path):
    """The supervisor is short of something; that is no fault of the workers, which go on."""
    daemon = actd(path, TWO, env=preloaded(tmp_path, NO_COPIES, ["SHORT"]))
    before = daemon.worker_pids()
    (tmp_path / "SHORT").touch()
    assert re.search("cannot hand it to worker [01]: Too many open files", reload.refused(daemon))
    (tmp_path / "SHORT").unlink()
    assert reload.accepted(daemon) == 3
    assert daemon.worker_pids() == before

#
# A worker that is slow to do as it was told.
#

SLOW = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* The message to switch to generation 1 is heard when the file of that name is gone. */
ssize_t recvmsg(int fd, struct msghdr *header, int flags)
{
    ssize_t (*next)(int, struct msghdr *, int) = dlsym(RTLD_NEXT, "recvmsg");
    ssize_t n = next(fd, header, flags);
    const struct { uint32_t type; uint64_t number; } *message = header->msg_iov->iov_base;
    const char *hold = getenv("HOLD"), *held = getenv("HELD");
    if (fd == 3 && n >= 16 && message->type == 2 && message->number == 1 && !access(hold, F_OK)) {
        close(open(held, O_CREAT | O_WRONLY, 0600));
        while (access(hold, F_OK) == 0)
            usleep(1000);
    }
    return n;
}
"""


def test_a_worker_that_starts_during_a_reload_serves_the_new_one_and_tells_so(actd, path, tmp_path):
    """It was told to switch to the one before, and hears that when all others have gone on."""
    daemon = actd(path, TWO, env=preloaded(tmp_path, SLOW, ["HOLD", "HELD"]))
    hold, held = tmp_path / "HOLD", tmp_path / "HELD"
    hold.touch()
    os.kill(daemon.worker_pids()[0], signal.SIGKILL)
    eventually(held.exists, "the new worker to be held")
    versions.put(path, 2)
    assert reload.accepted(daemon) == 2
    hold.unlink()
    pids = set()

    def look():
        with daemon.client() as one, daemon.client() as other:
            for client in (one, other):
                told = client.call("info")
                assert told["generation"]["number"] == 2
                assert client.call("wait_generation", told["generation"]["identity"], 1)
                pids.add(told["pid"])
        return len(pids) == 2

    eventually(look, "both workers to answer")
