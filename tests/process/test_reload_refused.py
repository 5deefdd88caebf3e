"""Files that are refused: the old one goes on."""

import os
import pathlib
import random
import re
import socket
import struct
import tempfile

import pytest

from lib import actctl, paths, reload, rpc, tree_maker, versions
from lib.daemon import Daemon
from lib.daemon import refused as daemon_refused

TWO = {"daemon.workers": 2}


@pytest.fixture
def path(tmp_path):
    """Where the served file lies: version 1."""
    return versions.build(tmp_path / "tree.act", 1)


#
# What is no good file.
#


def bad_bytes(data):
    return lambda path: path.write_bytes(data)


def with_root(root, size=100):
    return bad_bytes(b"ACTree03" + struct.pack("<Q", root) + bytes(size - 16))


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def make_sparse(head):
    """A terabyte that takes no room."""

    def make(path):
        path.write_bytes(head)
        os.truncate(path, 1 << 40)

    return make


def make_mixed(path):
    """Byte values, and a number merged among them by a writer that knows only those. Never good
    where the daemon may look."""
    good = path.with_name("good.act")
    tree_maker.build(good, [(b"a", b"x"), (b"b", b"y")], is_bytes=True)
    data = bytearray(good.read_bytes())
    good.unlink()
    old_root, new_root = struct.unpack("<Q", data[8:16])[0], len(data)
    data += b"\x40\x07" + struct.pack("<QQ", 0, old_root)  # the empty key alone, with value 7
    data[8:16] = struct.pack("<Q", new_root)
    path.write_bytes(data)


CITIES = paths.CITIES.read_bytes()
ABSENT = "cannot open: No such file or directory: put a file there, or correct tree.path"
OUTSIDE = r"the root offset \d+ lies outside the file \(\d+ bytes\)"

BAD = {
    "empty": (bad_bytes(b""), "too short for an ACT file: 0 bytes, the smallest has 25"),
    "7_bytes": (bad_bytes(b"ACTree0"), "too short for an ACT file: 7 bytes"),
    "wrong_magic": (bad_bytes(b"ACTreeXX" + CITIES[8:]), "not an ACT file"),
    "old_magic": (bad_bytes(b"ACTree02" + CITIES[8:]), r"old version of the format \(ACTree02\)"),
    "root_0": (with_root(0), "still being written: its root is 0"),
    "root_in_the_header": (with_root(15), OUTSIDE),
    "root_at_the_end": (with_root(100), OUTSIDE),
    "root_far_out": (with_root(2**64 - 1), OUTSIDE),
    "random": (bad_bytes(random.Random(3).randbytes(100000)), "not an ACT file"),
    "random_behind_a_header": (
        bad_bytes(b"ACTree03" + random.Random(4).randbytes(100000)), OUTSIDE),
    "text": (bad_bytes(b"a\t1\n" * 1000), "not an ACT file"),
    "directory": (lambda path: path.mkdir(), "not a regular file but a directory"),
    "fifo": (os.mkfifo, "not a regular file but a FIFO"),
    "socket": (make_socket, "cannot open: .*: name a regular file in tree.path"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file but a device"),
    "proc": (lambda path: path.symlink_to("/proc/meminfo"), "too short for an ACT file"),
    "terabyte_of_zeros": (make_sparse(b""), "not an ACT file"),
    "loop": (lambda path: path.symlink_to(path), "cannot open: .*leads back to itself"),
    "dangling": (lambda path: path.symlink_to(path.with_name("none")), ABSENT),
    "below_a_file": (
        lambda path: path.symlink_to(paths.CITIES / "x"), "cannot open: Not a directory"),
    "absent": (lambda path: None, ABSENT),
    "mixed_values": (make_mixed, "merged into by a writer that does not know them"),
}
CUTS = {2**i for i in range(4, len(CITIES).bit_length())}
BAD |= {f"cut_at_{cut}": (bad_bytes(CITIES[:cut]), OUTSIDE if cut > 16 else "too short")
        for cut in sorted(CUTS)}


def wreck(path, name):
    """What is bad, at the path: as a regular file by rename, else as it can be put there."""
    make, wanted = BAD[name]
    reload.remove(path)
    make(path)
    return re.compile(rf"^{re.escape(str(path))}: .*{wanted}")


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """A daemon whose version 1 nothing bad may replace."""
    path = versions.build(tmp_path_factory.mktemp("steady") / "tree.act", 1)
    with Daemon(path, {**TWO, "admin.timeout_ms": 60000}) as daemon:
        yield daemon
        versions.put(path, 2)
        reload.accepted(daemon)
        assert versions.served(daemon) == 2


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_and_the_old_one_goes_on(steady, name):
    wanted = wreck(steady.settings["tree.path"], name)
    for _ in range(2):
        assert wanted.search(reload.refused(steady))
        assert wanted.search(reload.refused_by_hang_up(steady))
        reload.check_steady(steady)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_at_the_start_ends_it(tmp_path, name):
    wanted = wreck(tmp_path / "tree.act", name)
    told = daemon_refused(tmp_path / "tree.act", TWO)
    lines = [line.split(" error: ")[1] for line in told.splitlines() if " error: " in line]
    assert len(lines) == 1, told
    assert wanted.search(lines[0]), told
    assert lines[0].endswith("; nothing is served yet"), told


def test_a_good_file_after_each_bad_one(actd, path):
    daemon = actd(path, TWO)
    names = ["empty", "root_0", "directory", "fifo", "loop", "absent", "random", "mixed_values"]
    for version, name in enumerate(names, 2):
        wreck(path, name)
        reload.refused(daemon)
        assert versions.served(daemon) == version - 1
        reload.remove(path)
        versions.put(path, version)
        reload.accepted(daemon)
        assert versions.served(daemon) == version


def test_a_file_that_may_not_be_read(actd):
    if not actctl.is_root():
        pytest.skip("needs root: runs the daemon as another user")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        path = versions.build(pathlib.Path(directory) / "tree.act", 1)
        path.chmod(0o644)
        daemon = actd(path, TWO, user=65534)
        versions.put(path, 2)
        path.chmod(0)
        wanted = f"{path}: cannot open: Permission denied: let the user that actd runs as read it"
        assert reload.refused(daemon).startswith(wanted)
        assert reload.refused_by_hang_up(daemon).startswith(wanted)
        reload.check_steady(daemon)
        os.chmod(directory, 0o700)
        path.chmod(0o644)
        assert reload.refused(daemon).startswith(wanted)
        os.chmod(directory, 0o755)
        reload.accepted(daemon)
        assert versions.served(daemon) == 2
        daemon.stop()


#
# How much is checked.
#


def make_hollow(path):
    """A terabyte with a right header, and a root that lies in the hole: by its header alone an
    empty tree."""
    make_sparse(b"ACTree03" + struct.pack("<Q", 1 << 39))(path)


def test_a_terabyte_of_holes_is_no_burden(actd, path):
    daemon = actd(path, TWO)
    make_hollow(path.with_name("new.act"))
    path.with_name("new.act").rename(path)
    assert reload.accepted(daemon) == 2
    with daemon.client() as client:
        assert client.call("count", b"") == {"count": 0, "exact": True}
    versions.put(path, 3)
    reload.accepted(daemon)
    assert versions.served(daemon) == 3


@pytest.mark.parametrize("verify", ["structure", "digest"])
def test_a_terabyte_of_holes_is_refused_where_it_is_checked(actd, path, verify):
    daemon = actd(path, {**TWO, "tree.verify": verify})
    make_hollow(path.with_name("new.act"))
    path.with_name("new.act").rename(path)
    wanted = {"structure": r"working space|damaged at offset", "digest": "it has no digest"}
    assert re.search(wanted[verify], reload.refused(daemon))
    assert re.search(wanted[verify], reload.refused_by_hang_up(daemon))
    reload.check_steady(daemon)


DAMAGED = ["child_self", "count33", "kids_overrun", "line_fwd", "line_len0", "unsorted"]


@pytest.mark.parametrize("verify", ["structure", "digest"])
def test_damage_inside_is_found(actd, path, verify):
    daemon = actd(path, {**TWO, "tree.verify": verify})
    for name in DAMAGED:
        reload.put(paths.CRAFTED / f"{name}.act", path)
        wanted = r"damaged at offset \d+: .*: write or copy the file again"
        if verify == "digest":
            wanted = "it has no digest"
        assert re.search(wanted, reload.refused(daemon)), name
        reload.check_steady(daemon)
    versions.put(path, 2)
    assert reload.accepted(daemon) == 2
    assert versions.served(daemon) == 2


def test_without_a_check_damage_is_met_by_those_who_ask(actd, path):
    daemon = actd(path, {**TWO, "tree.verify": "header"})
    reload.put(paths.CRAFTED / "line_fwd.act", path)
    reload.accepted(daemon)
    with daemon.client() as client:
        assert client.error_of("scan", b"") == rpc.CORRUPT
        assert client.is_usable()


def test_a_digest_is_asked_for_and_compared(actd, path):
    daemon = actd(path, {**TWO, "tree.verify": "digest"})
    versions.put(path, 2, "--plain")
    assert "it has no digest, which tree.verify = digest asks for" in reload.refused(daemon)
    reload.check_steady(daemon)
    versions.build(path, 3)
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<I", 3 * versions.STEP + 5)[:3])
    data[at] ^= 1  # one value
    new = path.with_name("new.act")
    new.write_bytes(data)
    new.rename(path)
    assert "damaged at offset" in reload.refused(daemon)
    versions.put(path, 4)
    reload.accepted(daemon)
    assert versions.served(daemon) == 4
