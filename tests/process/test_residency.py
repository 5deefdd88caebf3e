"""/residency: which pages of the file are in memory, held against what others say of it."""

import ctypes
import json
import mmap
import os
import pathlib
import re
import shutil
import signal
import time

import pytest

from lib import cold, http, paths, profile
from lib.processes import files_of, stopped
from lib.slow_disk import forget, libc, opened, residency, run
from lib.waiting import eventually

PAGE = 4096
NOBODY = 65534
GIB = 1 << 30


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return cold.build(tmp_path_factory.mktemp("residency") / "tree.act", 5000, 2000)


@pytest.fixture
def tree(built, directory):
    """On a disk of its own name: nobody else maps it."""
    path = pathlib.Path(shutil.copyfile(built.path, directory / "tree.act"))
    path.chmod(0o644)
    with opened(path) as fd:
        os.fsync(fd)  # dirty pages stay in memory
    forget(path)
    return built._replace(path=path)


def ask(daemon):
    """What it tells, after a look at its form."""
    status, headers, text = http.fetch(daemon.admin_unix, "/residency")
    assert status == 200 and headers["Content-Type"] == "application/json"
    told = json.loads(text)
    assert list(told) == ["page_bytes", "generations"] and told["page_bytes"] == PAGE
    for generation in told["generations"]:
        check_form(generation)
    return told["generations"]


def check_form(told):
    assert list(told) == [
        "number", "identity", "is_served", "size_bytes", "source", "resident_bytes", "age_ms",
        "took_ms", "region_bytes", "regions",
    ]
    total = -(-told["size_bytes"] // PAGE)
    region_pages = told["region_bytes"] // PAGE
    assert told["region_bytes"] % PAGE == 0 and region_pages & (region_pages - 1) == 0
    assert -(-total // region_pages) <= 1024
    assert region_pages == 1 or total > 1024 * (region_pages // 2), "finer is possible"
    assert (told["age_ms"] is None) == (told["took_ms"] is None)
    if told["source"] == "unknown":
        assert told["resident_bytes"] is None and told["regions"] is None
        return
    assert told["source"] in ("mincore", "pagemap", "copy")
    assert len(told["regions"]) == -(-total // region_pages)
    room = [region_pages] * (total // region_pages) + [total % region_pages][: total % region_pages]
    assert all(0 <= n <= most for n, most in zip(told["regions"], room))
    # The last page may be a part of one.
    missing = sum(told["regions"]) * PAGE - told["resident_bytes"]
    assert missing in (0, total * PAGE - told["size_bytes"])


def look(daemon):
    """Of the served generation, found out after now."""
    begin = time.monotonic()

    def is_new():
        (told,) = ask(daemon)
        if told["age_ms"] is None or told["age_ms"] > (time.monotonic() - begin) * 1000 - 1:
            return None
        return told

    return eventually(is_new, "a new look")


def regions_of(pages, told):
    """The same from a set of pages."""
    region_pages = told["region_bytes"] // PAGE
    regions = [0] * len(told["regions"])
    for page in pages:
        regions[page // region_pages] += 1
    return regions


def resident_pages(path):
    return {page for page, is_there in enumerate(residency(path)) if is_there}


def need(program):
    if not shutil.which(program):
        pytest.skip(f"needs {program}")


def by_vmtouch(path):
    return int(re.search(r"Resident Pages: (\d+)/", run("vmtouch", path))[1])


def by_fincore(path):
    return int(run("fincore", "--noheadings", "--bytes", "--output", "PAGES", path))


def read_pages(path, pages):
    with opened(path) as fd:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # and no other ones
        for page in pages:
            os.pread(fd, 1, page * PAGE)


def same_before_and_after(look_at, take):
    """What both give while what they look at stays as it is."""

    def both():
        before = look_at()
        taken = take()
        return (before, taken) if look_at() == before else None

    return eventually(both, "the page cache to rest")


@pytest.mark.parametrize("pages", [[], [0], range(0, 2000, 7), range(300, 1500)], ids=len)
def test_it_is_what_vmtouch_and_fincore_say(actd, tree, pages):
    need("vmtouch")
    need("fincore")
    daemon = actd(tree.path)

    def take():
        read_pages(tree.path, pages)
        return look(daemon), by_vmtouch(tree.path), by_fincore(tree.path)

    def look_at():
        read_pages(tree.path, pages)
        return resident_pages(tree.path)

    there, (told, vmtouch, fincore) = same_before_and_after(look_at, take)
    assert set(pages) <= there
    assert told["source"] == "mincore" and told["is_served"] and told["number"] == 1
    assert told["size_bytes"] == tree.path.stat().st_size
    assert told["identity"] == str(daemon.stat("tree", "identity"))
    assert told["regions"] == regions_of(there, told)
    assert sum(told["regions"]) == len(there) == vmtouch == fincore


def test_only_get(cities):
    assert http.fetch(cities.admin_unix, "/residency", method="POST")[0] == 405
    assert http.fetch(cities.admin_tcp, "/residency", method="HEAD")[::2] == (200, "")


def test_the_smallest_file(actd):
    daemon = actd(paths.EDGE / "empty.cached.act")
    told = look(daemon)
    assert told["region_bytes"] == PAGE and len(told["regions"]) == 1
    assert told["resident_bytes"] in (0, told["size_bytes"])


def sparse(directory, size_bytes):
    """A tree in its first pages, and nothing behind it."""
    path = directory / "sparse.act"
    shutil.copyfile(paths.CITIES, path)
    with opened(path) as fd:
        os.fsync(fd)
    os.truncate(path, size_bytes)
    return path


def time_of_mincore(path):
    """Seconds that the kernel takes to be asked for all pages."""
    with opened(path, os.O_RDWR) as fd:
        mapping = mmap.mmap(fd, 0, flags=mmap.MAP_SHARED)
    there = (ctypes.c_ubyte * (256 << 10))()
    start = ctypes.c_char.from_buffer(mapping)
    address, length = ctypes.addressof(start), len(mapping)
    begin = time.monotonic()
    for at in range(0, length, len(there) * PAGE):
        n = min(length - at, len(there) * PAGE)
        assert libc.mincore(ctypes.c_void_p(address + at), ctypes.c_size_t(n), there) == 0
    took = time.monotonic() - begin
    del start
    mapping.close()
    return took


def test_a_large_file_takes_as_long_as_the_kernel_takes_for_it(actd, tmp_path):
    path = sparse(tmp_path, 100 * GIB)
    daemon = actd(path)
    told = look(daemon)
    assert len(told["regions"]) == 800 and told["region_bytes"] == GIB // 8
    there = {i for i, n in enumerate(told["regions"]) if n > 0}
    assert there <= {0, 799}  # the tree, and the zeros behind the end
    # It may wait for a CPU.
    assert told["took_ms"] / 1000 < 10 * time_of_mincore(path) + 1


def test_nothing_is_known_before_somebody_has_asked(actd, tmp_path):
    daemon = actd(sparse(tmp_path, 50 * GIB))
    (first,) = ask(daemon)
    assert first["source"] == "unknown" and first["age_ms"] is None
    assert first["region_bytes"] == GIB // 16
    assert look(daemon)["source"] == "mincore"


@pytest.mark.parametrize("user", [None, NOBODY])
def test_nobody_is_held_up_by_a_look(actd, directory, user):
    """Neither who asks the supervisor nor a client, while the kernel goes through all pages."""
    path = sparse(directory, 100 * GIB)
    path.chmod(0o644)
    daemon = actd(path, {"daemon.workers": 1}, user=user)
    absent = cold.Tree(path, {b"\xff": None}, [b"\xff"])
    with cold.Asking.get(daemon, absent, absent.keys * 20000):
        (told,) = ask(daemon)
        slowest = n = 0
        while told["age_ms"] is None:
            begin = time.monotonic()
            assert http.fetch(daemon.admin_unix, "/livez")[0] == 200
            (told,) = ask(daemon)
            slowest = max(slowest, time.monotonic() - begin)
            n += 1
    assert told["source"] == ("pagemap" if user else "mincore")
    assert n >= 5
    assert slowest * 1000 < told["took_ms"] / 2
    cold.check_loop(daemon)


def test_its_time_is_a_small_part(actd, tmp_path):
    """However often it is asked for."""
    daemon = actd(sparse(tmp_path, 4 * GIB))

    def ask_when():
        """And between which times it had begun, in ms."""
        before = time.monotonic() * 1000
        (told,) = ask(daemon)
        return told, before - told["age_ms"], time.monotonic() * 1000 - told["age_ms"]

    look(daemon)
    looks = [ask_when()]
    while len(looks) < 3:
        told, earliest, latest = ask_when()
        last, _, last_latest = looks[-1]
        if earliest > last_latest + last["took_ms"]:
            looks.append((told, earliest, latest))
    for (last, earliest, _), (_, _, next_latest) in zip(looks, looks[1:]):
        assert last["took_ms"] > 10
        # Times come in whole milliseconds.
        assert next_latest - earliest > max(20 * (last["took_ms"] - 1), 1000) - 2


def test_nobody_looks_unless_asked_and_the_age_is_told(actd, tmp_path):
    """The answer is what is known, before the look that it causes."""
    daemon = actd(sparse(tmp_path, 4 * GIB))
    # The last question may have a look that comes when it is due.
    due_ms = max(1000, 20 * look(daemon)["took_ms"]) + 500
    uptime = daemon.stat("process", "uptime_ms")
    daemon.wait_stat("process", "uptime_ms", lambda now: now > uptime + due_ms + 2000)
    old = ask(daemon)[0]["age_ms"]
    assert old >= 2000
    eventually(lambda: ask(daemon)[0]["age_ms"] < old, "a look, since somebody has asked")


def touched(daemon, tree, keys):
    with daemon.client() as client:
        assert client.call("mget", keys) == [tree.values[key] for key in keys]


def test_of_a_file_of_others_it_is_what_the_workers_have_mapped(actd, tree):
    """To who neither owns the file nor may write it mincore does not tell the truth."""
    daemon = actd(tree.path, {"daemon.workers": 3}, user=NOBODY)
    for i in range(6):
        touched(daemon, tree, tree.keys[i * 10 : i * 10 + 10])
    tree.path.read_bytes()  # in memory, and nobody has mapped it
    pids = daemon.worker_pids()

    def mapped():
        return profile.mapped_pages(pids, tree.path)

    there, told = same_before_and_after(mapped, lambda: look(daemon))
    assert told["source"] == "pagemap"
    assert 30 < sum(told["regions"]) < told["size_bytes"] // PAGE
    assert told["regions"] == regions_of(there, told)
    assert there <= resident_pages(tree.path)


def test_pages_that_workers_lock_cut_the_mapping(actd, tree):
    """It is found in its parts."""
    settings = {"daemon.workers": 2, "tree.mlock": "top"}
    daemon = actd(tree.path, settings, user=NOBODY)
    pids = daemon.worker_pids()
    touched(daemon, tree, tree.keys[:100])
    there, told = same_before_and_after(
        lambda: profile.mapped_pages(pids, tree.path), lambda: look(daemon)
    )
    assert told["source"] == "pagemap" and told["regions"] == regions_of(there, told)


def test_a_copy_is_all_there(actd, tree):
    daemon = actd(tree.path, {"tree.map_min_bytes": GIB})
    told = look(daemon)
    assert told["source"] == "copy" and told["resident_bytes"] == told["size_bytes"]
    assert sum(told["regions"]) == -(-told["size_bytes"] // PAGE)
    forget(tree.path)
    assert look(daemon)["resident_bytes"] == told["size_bytes"]


def test_it_is_told_when_all_workers_are_stuck(actd, tree):
    daemon = actd(tree.path, user=NOBODY)
    touched(daemon, tree, tree.keys[:100])
    with stopped(*daemon.worker_pids()):
        assert look(daemon)["source"] == "pagemap"


def test_after_a_reload_it_is_the_new_file(actd, tree, directory):
    daemon = actd(tree.path)
    assert look(daemon)["number"] == 1
    old = look(daemon)["identity"]
    new = shutil.copyfile(paths.CITIES, directory / "new.act")
    os.rename(new, tree.path)
    daemon.send_signal(signal.SIGHUP)
    daemon.wait_stat("tree", "generation", 2)
    told = look(daemon)
    assert told["number"] == 2 and told["identity"] != old
    assert told["size_bytes"] == paths.CITIES.stat().st_size
    names = files_of(daemon.pid).values()
    assert not any("(deleted)" in name and "tree.act" in name for name in names)


def test_a_candidate_is_told_too(actd, tree, directory):
    """While it is warmed up, before it is served."""
    served = pathlib.Path(shutil.copyfile(paths.CITIES, directory / "served.act"))
    settings = {"warmup.mode": "read", "warmup.rate_bytes_per_s": 64 * PAGE}
    daemon = actd(served, settings)
    os.rename(tree.path, served)
    daemon.send_signal(signal.SIGHUP)

    def both():
        told = ask(daemon)
        return len(told) == 2 and told[1]["source"] != "unknown" and told

    first, second = eventually(both, "a candidate to be looked at")
    assert first["is_served"] and first["number"] == 1
    assert not second["is_served"] and second["number"] == 2
    assert first["size_bytes"] == paths.CITIES.stat().st_size
    assert second["size_bytes"] == served.stat().st_size
    assert first["identity"] != second["identity"]


def test_refaults_are_the_kernels(actd):
    """Whatever else reads files here, the count lies between what it was before and after."""
    daemon = actd()

    def kernel():
        place = pathlib.Path("/proc/self/cgroup").read_text()
        group = re.search(r"^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(/.*)$", place, re.M)
        for path in [
            pathlib.Path(f"/sys/fs/cgroup/memory{group[1] if group else ''}/memory.stat"),
            pathlib.Path("/proc/vmstat"),
        ]:
            if path.exists():
                found = re.search(
                    r"^(?:total_)?workingset_refault_file (\d+)$", path.read_text(), re.M
                )
                if found:
                    return int(found[1])
        return pytest.skip("this kernel counts no refaults")

    before = kernel()
    uptime = daemon.stat("process", "uptime_ms")
    daemon.wait_stat("process", "uptime_ms", lambda now: now > uptime + 2000)
    told = daemon.stat("memory", "refaults")
    assert before <= told <= kernel()
