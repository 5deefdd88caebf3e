"""Hostile clients in numbers: memory stays under the caps, nobody else gets an error or loses its
connection, and the p99 of another client stays under five times what it is without them.

Memory is measured as RssAnon, and enforced by RLIMIT_AS: beyond it the daemon's malloc fails, which
it would log.
"""

import contextlib
import resource
import shutil

import pytest

from lib import paths, rpc
from lib.daemon import is_sanitized, with_one_worker
from lib.hostile import Group, Hostile, Probe, Waits, compile_program
from lib.tree_data import oracle_of

ORACLE = oracle_of(paths.CITIES)
MIB = 1 << 20

FACTOR = 5  # of the p99
ROUNDS = 3, 9  # at least, and at most
GETS = 4000 if not is_sanitized() else 200  # of the good client in each half of a round
N_OTHERS = 3  # connections that are not hostile

BUFFER_BYTES = 32 * MIB
# What the daemon may need besides for a connection (its struct and libuv's, and a malloc's slack),
# and for all: 256 free blocks of 16 KiB that the pool keeps, two decoders, slack of the heap.
CONNECTION_BYTES = 2048
OTHER_BYTES = 10 * MIB

MANY = 10**15
KEYS = ORACLE.sample(10000)


@pytest.fixture
def actd(actd):
    """With one worker: what clients do to each other is what counts here."""
    return with_one_worker(actd)


def requests(*calls):
    return b"".join(rpc.request(msgid, *call) for msgid, call in enumerate(calls, 1))


def gets(keys):
    return requests(*[["get", key] for key in keys])


def head_of_scan(n_options):
    """[0, 1, "scan", ["Ber", {... of so many"""
    return b"\x94\x00\x01\xa4scan\x92\xa3Ber\xdf" + n_options.to_bytes(4, "big")


def nested(depth):
    return b"\x94\x00\x01\xa3get\x91" + b"\x91" * depth + b"\xc0"


PAGE = {"limit": MANY, "max_bytes": 16 * MIB}
LARGEST = requests(
    ["scan", b"", PAGE], ["mget", KEYS], ["prefixes", KEYS], ["mscan", [b""] * 10, PAGE],
    ["explore", b""], ["range", None, None, {**PAGE, "reverse": True}],
)
LONGEST = requests(
    ["count", b""], ["scan", b"", {**PAGE, "keys_only": True}], ["count", b""],
    ["explore", b"", {"max_visited_nodes": MANY}], ["scan", b"", {**PAGE, "reverse": True}],
)


def rises(group, name, by):
    """The statistic has risen by so much."""
    def look(before, now):
        return now[group][name] >= before[group][name] + by
    return look


def asked(method, n):
    def look(before, now):
        return now["methods"][method]["requests"] >= before["methods"][method]["requests"] + n
    return look


# Each with what the daemon must have felt before it is measured.
BEHAVIOURS = {
    "half_open": (
        [
            Group(5000, b"", "once", "never"),
            Group(5000, rpc.request(1, "get", KEYS[0])[:-1], "once", "never"),
        ],
        rises("connections", "open", 10000),
    ),
    "empty_notifications": (
        [Group(4, b"\x93\x02\xa0\x90" * 16384, "fast", "never")],
        rises("messages", "notifications_ignored", 400000),
    ),
    "nested_arrays": (
        [Group(4, nested(1000000) + nested(9) * 1000, "fast", "fast")],
        rises("messages", "refused", 100),
    ),
    "huge_option_maps": (
        [
            Group(
                4,
                head_of_scan(10000) + b"\xa5limit\x01" * 10000
                + head_of_scan(100000) + b"\xa5limit\x01" * 100000
                + (head_of_scan(1000) + b"\xa1x\x01" * 1000) * 10,
                "fast",
                "fast",
            )
        ],
        asked("scan", 50),
    ),
    "repeated_msgids": (
        [Group(4, b"".join(rpc.request(1, "get", key) for key in KEYS), "fast", "fast")],
        asked("get", 10000),
    ),
    "a_byte_a_second_in": (
        [Group(2000, rpc.request(1, "mget", KEYS), "slow", "never")],
        rises("connections", "open", 2000),
    ),
    "largest_replies_a_byte_a_second_out": (
        [Group(100, LARGEST, "once", "slow")],
        rises("requests", "sliced", 100),
    ),
    "largest_replies_unread": (
        [Group(100, LARGEST, "fast", "never")],
        rises("requests", "sliced", 100),
    ),
    "small_replies_unread": (
        [Group(2000, requests(["mget", KEYS[:900]]) + gets(KEYS[:3000]), "fast", "never")],
        rises("memory", "buffer_bytes", BUFFER_BYTES * 3 // 4),
    ),
    "long_walks": (
        [Group(64, LONGEST, "fast", "fast")],
        rises("requests", "sliced", 500),
    ),
    "deep_pipelines": (
        [Group(8, gets(KEYS) + requests(["mget", KEYS]), "fast", "fast")],
        asked("get", 10000),
    ),
    "resets_in_the_middle": (
        [Group(16, requests(["scan", b"", PAGE]), "once", "fast", reset=5000)],
        rises("connections", "accepted", 32),
    ),
}


def all_together(before, now):
    return (
        rises("messages", "notifications_ignored", 10000)(before, now)
        and asked("get", 10000)(before, now)
        and rises("requests", "sliced", 100)(before, now)
    )


BEHAVIOURS["all_together"] = (
    [group for groups, _ in BEHAVIOURS.values() for group in groups], all_together
)


@pytest.fixture(scope="module", autouse=True)
def many_files():
    """Room for the connections on both sides."""
    wanted = 20000
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, limits[1])))
    except (ValueError, OSError):
        pytest.skip(f"the limit of open files is {limits[1]}; this needs {wanted} (ulimit -Hn)")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    if not shutil.which("cc"):
        pytest.skip("needs cc")
    directory = tmp_path_factory.mktemp("programs")
    return [compile_program(name, directory) for name in ("hostile_probe", "hostile_clients")]


class Memory:
    """What the daemon may take, beside hostile clients of so many connections."""

    def __init__(self, daemon, n):
        self.daemon = daemon
        (self.worker,) = daemon.worker_pids()
        first = daemon.proc_status(self.worker)
        more = BUFFER_BYTES + OTHER_BYTES + n * CONNECTION_BYTES
        self.most = first["RssAnon"] + more
        self.highest = first["RssAnon"]
        if not is_sanitized():
            room = first["VmSize"] + more
            resource.prlimit(self.worker, resource.RLIMIT_AS, (room, room))

    def look(self):
        self.highest = max(self.highest, self.daemon.proc_status(self.worker)["RssAnon"])

    def check(self):
        print(f"RssAnon at most {self.highest / MIB:.1f} of {self.most / MIB:.1f} MiB")
        assert "Cannot allocate memory" not in self.daemon.log, self.daemon.log
        assert is_sanitized() or self.highest < self.most


def check_served(client):
    """Another good client, that has been there from the beginning."""
    key, several = KEYS[1], KEYS[:20]
    assert client.call("get", key) == ORACLE.get(key)
    assert client.call("mget", several) == [ORACLE.get(each) for each in several]
    page = client.call("scan", key, {"limit": 10})
    assert page["entries"][0] == [key, ORACLE.get(key)]
    assert client.call("longest_prefix", key + b"?") == [key, ORACLE.get(key)]
    assert client.call("count", key)["exact"]


@pytest.mark.alone
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_others_are_served_as_before_and_memory_is_bounded(actd, programs, tmp_path, name):
    groups, has_felt = BEHAVIOURS[name]
    daemon = actd(settings={
        "limits.max_buffer_bytes": BUFFER_BYTES, "limits.max_connections": 20000,
    })
    pairs = [(key, ORACLE.get(key)) for key in KEYS]
    memory = Memory(daemon, sum(group.n for group in groups))
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(daemon.client())
        probe = Probe(programs[0], daemon, pairs, tmp_path)
        stack.callback(probe.close)
        hostile = Hostile(programs[1], daemon, groups, tmp_path)
        stack.callback(hostile.close)
        waits = Waits(probe)
        while not waits.are_enough(FACTOR, *ROUNDS):
            waits.without.append(probe.p99_us(GETS))
            hostile.on(has_felt)
            waits.beside.append(probe.p99_us(GETS))
            memory.look()
            check_served(client)
            hostile.off(N_OTHERS)
        assert client.is_usable()
        if name == "empty_notifications":
            assert daemon.stat("messages", "notifications_ignored") >= 1000000
        memory.check()
        waits.check(FACTOR)


def test_a_msgid_that_is_repeated_is_answered_each_time(actd, kind):
    daemon = actd()
    keys = KEYS[:1000]
    with daemon.client(getattr(daemon, kind)) as client:
        client.send(b"".join(rpc.request(1, "get", key) for key in keys))
        # In any order: a page of the file may not be in memory.
        replies = [client.message() for _ in keys]
        assert all(reply[:3] == [1, 1, None] for reply in replies)
        assert sorted(reply[3] for reply in replies) == sorted(ORACLE.get(key) for key in keys)
