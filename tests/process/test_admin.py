"""The admin endpoint, and that what it counts is true."""

import contextlib
import json
import os
import re
import shutil
import signal

import pytest

from lib import http, paths, prometheus, rpc
from lib.daemon import Daemon, counts_of
from lib.tree_data import oracle_of
from lib.waiting import Clock, eventually

ORACLE = oracle_of(paths.CITIES)
PAGE = 4096


@pytest.fixture
def admin(cities, kind):
    return getattr(cities, f"admin_{kind}")


# Pages.


def test_livez_and_readyz_say_yes(admin):
    assert http.fetch(admin, "/livez")[::2] == (200, "ok\n")
    assert http.fetch(admin, "/readyz")[::2] == (200, "ready\n")


def test_pages_have_their_types_and_are_not_to_be_stored(admin):
    types = {
        "/livez": "text/plain; charset=utf-8",
        "/readyz": "text/plain; charset=utf-8",
        "/stats": "application/json",
        "/metrics": "text/plain; version=0.0.4; charset=utf-8",
        **dict.fromkeys(["/residency", "/slow", "/warm", "/verify", "/log-level"],
                        "application/json"),
    }
    for path, kind in types.items():
        status, headers, text = http.fetch(admin, path)
        assert (status, headers["Content-Type"]) == (200, kind)
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert int(headers["Content-Length"]) == len(text.encode())
        assert text.endswith("\n")  # also for people, in a terminal


def test_head_answers_without_a_body(admin):
    for path in ("/livez", "/stats", "/metrics"):
        status, headers, text = http.fetch(admin, path, method="HEAD")
        assert (status, text) == (200, "")
        assert int(headers["Content-Length"]) > 0


def test_a_query_string_does_not_change_the_page(admin):
    assert http.fetch(admin, "/livez?verbose=1&x=%00")[0] == 200


def test_one_connection_answers_many_requests(admin):
    connection = http.Connection(admin)
    with contextlib.closing(connection):
        for path in ["/livez", "/stats", "/none", "/metrics"] * 20:
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == (404 if path == "/none" else 200)
            response.read()


# What is counted.


def shape(value):
    """Without what differs from moment to moment."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) else None


def test_stats_page_and_stats_method_have_the_same_shape(cities, admin):
    page = http.stats(admin)
    assert page.pop("server") == "actd"
    assert page.pop("verify")["state"] == "never"
    assert page.pop("path") == str(paths.CITIES)
    assert [page.pop(name) for name in ("unready", "damage", "refusal")] == [None] * 3
    with cities.client() as client:
        assert page.pop("version") == client.call("hello")["version"]
        method = client.call("stats")
    assert shape(page) == shape(method)


def metrics_of(daemon):
    return prometheus.parse(http.fetch(daemon.admin_unix, "/metrics")[2])


def wait_all_known(daemon):
    """What the kernel is asked for in the background is there."""
    daemon.wait_stat("tree", "pss_bytes", lambda value: value is not None)


# What is unknown at rest, and then has no sample.
AT_TIMES = {
    "actd_warmup_eta_seconds", "actd_request_duration_seconds", "actd_verify_faults",
}
AT_TIMES |= {"actd_profile_pages", "actd_profile_age_seconds"}

# The columns of methods that are in /metrics.
METHOD_COUNTERS = ["requests", "errors", "hits", "misses", "offloaded"]


def test_metrics_are_well_formed_and_documented(cities, admin):
    wait_all_known(cities)
    metrics = prometheus.parse(http.fetch(admin, "/metrics")[2])
    assert all(name.startswith(("actd_", "process_")) for name in metrics)
    assert {name for name, metric in metrics.items() if not metric.samples} <= AT_TIMES
    names = {label for label, in metrics["actd_method_requests_total"].samples}
    assert ("method", "mget") in names and len(names) == 19


def test_metrics_of_workers_and_no_others_have_their_label(cities):
    wait_all_known(cities)
    numbers = {str(worker["worker"]) for worker in cities.workers()}
    for name, metric in metrics_of(cities).items():
        if name in AT_TIMES:
            continue
        seen = {dict(labels).get("worker") for labels in metric.samples}
        assert seen == (numbers if name.startswith("actd_worker_") else {None}), name


def counted_at_rest(daemon):
    """(/stats, /metrics), if nothing was counted meanwhile."""
    before = daemon.stats()
    metrics = metrics_of(daemon)
    stats = daemon.stats()
    groups = ("traffic", "messages", "connections", "requests", "cold", "loop", "methods", "warmup")
    return all(stats[group] == before[group] for group in groups) and (stats, metrics)


def test_metrics_and_stats_tell_the_same(actd):
    daemon = actd(settings={"warmup.mode": "read"})
    with daemon.client() as client:
        client.pipeline([["get", ORACLE.keys[1]], ["get", b"\xff"], ["get"], ["none"]])
        client.send(rpc.pack([2, "x", []]) + rpc.pack([1, 2, None, None]))
        assert client.is_usable()
        # What is written is counted after the client has it.
        stats, metrics = eventually(lambda: counted_at_rest(daemon), "all to be counted")
    same = {
        ("tree", "mapped_bytes"): ("actd_tree_mapped_bytes", {}),
        ("tree", "locked_bytes"): ("actd_tree_locked_bytes", {}),
        ("tree", "generation"): ("actd_tree_generation", {}),
        ("tree", "damaged"): ("actd_tree_damaged", {}),
        ("connections", "open"): ("actd_connections_open", {}),
        ("connections", "accepted"): ("actd_connections_accepted_total", {}),
        ("connections", "timed_out"): ("actd_connections_timed_out_total", {}),
        ("connections", "broken"): ("actd_connections_broken_total", {}),
        ("connections", "evicted"): ("actd_connections_evicted_total", {}),
        ("requests", "sliced"): ("actd_requests_sliced_total", {}),
        ("requests", "running"): ("actd_requests_running", {}),
        ("traffic", "read_bytes"): ("actd_read_bytes_total", {}),
        ("traffic", "written_bytes"): ("actd_written_bytes_total", {}),
        ("messages", "refused"): ("actd_requests_refused_total", {}),
        ("messages", "notifications_ignored"): ("actd_notifications_ignored_total", {}),
        ("messages", "responses_ignored"): ("actd_responses_ignored_total", {}),
        ("cold", "probes"): ("actd_cold_probes_total", {}),
        ("cold", "gone_pages"): ("actd_cold_gone_pages_total", {}),
        ("cold", "pages_read"): ("actd_cold_pages_read_total", {}),
        ("cold", "timed_out"): ("actd_cold_timed_out_total", {}),
        ("loop", "turns"): ("actd_loop_turns_total", {}),
        ("loop", "major_faults"): ("actd_loop_major_faults_total", {}),
        ("warmup", "read_bytes"): ("actd_warmup_read_bytes", {}),
        ("warmup", "total_bytes"): ("actd_warmup_total_bytes", {}),
        ("warmup", "generation"): ("actd_warmup_generation", {}),
        ("memory", "buffer_bytes"): ("actd_buffer_bytes", {}),
        ("profile", "saves"): ("actd_profile_saves_total", {}),
        ("profile", "failures"): ("actd_profile_failures_total", {}),
    }
    for (group, name), (metric, labels) in same.items():
        assert prometheus.value(metrics, metric, **labels) == stats[group][name], name
    for method, counts in stats["methods"].items():
        for name in METHOD_COUNTERS:
            metric = f"actd_method_{name}_total"
            assert prometheus.value(metrics, metric, method=method) == counts[name]
    assert stats["messages"]["notifications_ignored"] == 1
    assert stats["messages"]["refused"] == 1
    counts = {"requests": 3, "hits": 1, "misses": 1, "errors": 1}
    assert counts_of(stats["methods"]["get"]) == counts
    assert prometheus.value(metrics, "actd_ready") == 1


def test_counters_are_exactly_what_was_sent_and_received(actd, kind):
    daemon = actd()
    sent = received = 0
    with daemon.client(getattr(daemon, kind)) as client:
        for i in range(300):
            request = rpc.request(i, "get", ORACLE.keys[i])
            reply = rpc.pack([1, i, None, ORACLE.get(ORACLE.keys[i])])
            client.send(request)
            assert client.reply() == (i, None, ORACLE.get(ORACLE.keys[i]))
            sent += len(request)
            received += len(reply)
    daemon.wait_stat("connections", "open", 0)
    stats = daemon.stats()
    assert stats["traffic"] == {"read_bytes": sent, "written_bytes": received}
    counts = {"requests": 300, "errors": 0, "hits": 300, "misses": 0}
    assert counts_of(stats["methods"]["get"]) == counts
    connections = {"open": 0, "accepted": 1, "timed_out": 0, "broken": 0, "evicted": 0}
    assert stats["connections"] == connections


def test_written_bytes_are_exact_where_replies_wait(actd, kind):
    daemon = actd()
    keys = ORACLE.sample(9000)
    reply = rpc.pack([1, 1, None, [ORACLE.get(key) for key in keys]])
    n = 100
    with daemon.client(getattr(daemon, kind), receive_buffer_bytes=65536) as client:
        client.exchange(b"".join(rpc.request(i, "mget", keys) for i in range(n)), n)
        daemon.wait_stat("traffic", "written_bytes", n * len(reply))


# Rows that are told of each worker and of all together.
SUMS = {
    "connections": ["open", "accepted", "timed_out", "broken", "evicted"],
    "requests": ["sliced", "running"],
    "traffic": ["read_bytes", "written_bytes"],
    "messages": [
        "refused", "notifications_ignored", "responses_ignored", "notifications_sent",
    ],
    "cold": [
        "waiting", "queued", "threads", "probes", "gone_pages", "pages_read", "pages_shared",
        "refused", "timed_out", "major_faults",
    ],
    "loop": ["turns", "turns_measured", "major_faults", "switches"],
    "memory": ["buffer_bytes"],
    "faults": ["minor", "major"],
}


def check_sums(stats):
    for group, names in SUMS.items():
        for name in names:
            parts = [worker[group][name] for worker in stats["workers"]]
            assert sum(parts) == stats[group][name], (group, name)
    for method, counts in stats["methods"].items():
        for name in METHOD_COUNTERS:
            parts = [worker["methods"][method][name] for worker in stats["workers"]]
            assert sum(parts) == counts[name], (method, name)


@contextlib.contextmanager
def client_of_each(daemon):
    """A client of each worker, as {number of the worker: client}: connections are spread evenly."""
    numbers = {worker["pid"]: worker["worker"] for worker in daemon.workers()}
    with contextlib.ExitStack() as stack:
        clients = {}
        for _ in numbers:
            client = stack.enter_context(daemon.client())
            clients[numbers[client.call("info")["pid"]]] = client
        assert len(clients) == len(numbers)
        yield clients


def test_numbers_of_workers_are_their_own_and_sum_up(actd):
    daemon = actd(settings={"daemon.workers": 3})
    with client_of_each(daemon) as clients:
        for number, client in clients.items():
            client.results([["get", ORACLE.keys[1]]] * (10 + number) + [["get", b"\xff"]] * number)
            client.send(rpc.pack([2, "x", []]))
            assert client.is_usable()
            own = client.call("stats")["workers"][number]
            counts = {"requests": 10 + 2 * number, "hits": 10 + number, "misses": number}
            assert counts_of(own["methods"]["get"]) == {"errors": 0, **counts}
            assert own["connections"]["open"] == own["connections"]["accepted"] == 1
            assert own["messages"]["notifications_ignored"] == 1
        check_sums(clients[0].call("stats"))
        stats = daemon.stats()
        check_sums(stats)
        counts = {"requests": 36, "hits": 33, "misses": 3, "errors": 0}
        assert counts_of(stats["methods"]["get"]) == counts
        metrics = metrics_of(daemon)
        for worker in stats["workers"]:
            label = {"worker": str(worker["worker"])}
            told = prometheus.value(metrics, "actd_worker_requests_total", method="get", **label)
            assert told == worker["methods"]["get"]["requests"]
            told = prometheus.value(metrics, "actd_worker_read_bytes_total", **label)
            assert told == worker["traffic"]["read_bytes"]
            assert prometheus.value(metrics, "actd_worker_generation", **label) == 1


def all_faults(daemon):
    return [sum(kind) for kind in zip(*map(daemon.proc_faults, daemon.worker_pids()))]


def test_page_faults_agree_with_the_kernel(cities):
    name = "actd_page_faults_total"
    looks = {
        "stats": lambda: cities.stats()["faults"].values(),
        "metrics": lambda: [
            prometheus.value(metrics_of(cities), name, kind=kind) for kind in ("minor", "major")
        ],
    }
    for look in looks.values():
        look()
        before, told, after = all_faults(cities), list(look()), all_faults(cities)
        for i in range(2):
            assert before[i] <= told[i] <= after[i]
        assert told[0] > 0


def test_a_worker_tells_its_own_page_faults_as_they_are_and_the_age_of_others(cities):
    with cities.client() as client:
        pid = client.call("info")["pid"]
        client.call("stats")
        before = cities.proc_faults(pid)
        stats = client.call("stats")
        after = cities.proc_faults(pid)
        check_sums(stats)
        for worker in stats["workers"]:
            told = tuple(worker["faults"].values())
            if worker["pid"] == pid:
                assert before[0] <= told[0] <= after[0] and before[1] <= told[1] <= after[1]
                assert worker["memory"]["age_ms"] == 0
            else:
                now = cities.proc_faults(worker["pid"])
                assert 0 < told[0] <= now[0] and told[1] <= now[1]
                assert worker["memory"]["age_ms"] < 60000
        assert stats["memory"]["age_ms"] >= max(w["memory"]["age_ms"] for w in stats["workers"])
    assert cities.stat("memory", "age_ms") == 0


def test_looking_keys_up_makes_page_faults_that_are_counted(actd):
    daemon = actd()
    with daemon.client() as client:
        pid = client.call("info")["pid"]
        before = client.call("stats")["faults"]["minor"]
        file_before = daemon.proc_status(pid)["RssFile"]
        client.results([["mget", ORACLE.sample(5000, seed=i)] for i in range(5)])
        after = client.call("stats")["faults"]
        assert after["minor"] + after["major"] > before
        assert daemon.proc_status(pid)["RssFile"] > file_before


RESIDENT = {
    "rss_bytes": ("VmRSS", "all"),
    "rss_file_bytes": ("RssFile", "file"),
    "rss_anon_bytes": ("RssAnon", "anon"),
    "rss_shmem_bytes": ("RssShmem", "shmem"),
}


def test_resident_sets_agree_with_the_kernel(cities):
    with cities.client() as client:
        pid = client.call("info")["pid"]
        client.results([["mget", ORACLE.sample(5000)]])
        client.call("stats")
        metrics_of(cities)
        before = cities.proc_status(pid)
        pages = [client.call("stats")["workers"], cities.workers()]
        metrics = metrics_of(cities)
        after = cities.proc_status(pid)
    worker = next(worker for worker in pages[0] if worker["pid"] == pid)
    told = [next(w for w in page if w["pid"] == pid)["memory"] for page in pages]
    label = {"worker": str(worker["worker"])}
    resident = "actd_worker_resident_bytes"
    told.append(
        {
            name: prometheus.value(metrics, resident, kind=kind, **label)
            for name, (_, kind) in RESIDENT.items()
        }
    )
    for memory in told:
        for name, (line, _) in RESIDENT.items():
            assert min(before[line], after[line]) <= memory[name] <= max(before[line], after[line])
        parts = memory["rss_file_bytes"] + memory["rss_anon_bytes"] + memory["rss_shmem_bytes"]
        assert memory["rss_bytes"] == parts


def test_own_memory_is_summed_over_all_processes(cities):
    def anon():
        return sum(cities.proc_status(pid)["RssAnon"] for pid in [cities.pid, *pids])

    pids = cities.worker_pids()
    metrics_of(cities)
    before, told = anon(), cities.stat("memory", "rss_anon_bytes")
    metric = prometheus.value(metrics_of(cities), "actd_resident_bytes", kind="anon")
    after = anon()
    assert min(before, after) <= told <= max(before, after)
    assert min(before, after) <= metric <= max(before, after)


def test_the_mapped_size_is_that_of_the_mapping(cities):
    mapped = cities.stat("tree", "mapped_bytes")
    assert mapped == paths.CITIES.stat().st_size
    for pid in cities.worker_pids():
        with open(f"/proc/{pid}/maps") as lines:
            sizes = [
                int(end, 16) - int(start, 16)
                for start, end in re.findall(
                    rf"^([0-9a-f]+)-([0-9a-f]+) r--s .* {re.escape(str(paths.CITIES))}$",
                    lines.read(),
                    re.M,
                )
            ]
        assert sum(sizes) == (mapped + PAGE - 1) // PAGE * PAGE


def test_the_supervisor_maps_nothing_of_the_tree(cities):
    with open(f"/proc/{cities.pid}/maps") as lines:
        assert str(paths.CITIES) not in lines.read()


def touch_all(clients):
    """Each worker looks up every key of the cities."""
    for client in clients.values():
        for i in range(0, len(ORACLE.keys), 10000):
            client.call("mget", ORACLE.keys[i : i + 10000])


def test_a_file_counts_once_over_all_workers(actd, tmp_path):
    """A copy: other processes that map the same file would have their share."""
    tree = shutil.copyfile(paths.CITIES, tmp_path / "cities.act")
    daemon = actd(tree, settings={"daemon.workers": 4})
    size = tree.stat().st_size
    with client_of_each(daemon) as clients:
        touch_all(clients)
        # A look that began before all was touched counts pages for who was looked at first.
        most = (size + PAGE - 1) // PAGE * PAGE
        daemon.wait_stat("tree", "pss_bytes", lambda pss: pss and 0.9 * size < pss <= most)
        stats = daemon.stats()
    assert stats["tree"]["pss_age_ms"] < 60000
    parts = [worker["tree"]["pss_bytes"] for worker in stats["workers"]]
    assert sum(parts) == stats["tree"]["pss_bytes"]
    for part in parts:
        assert 0.2 * size < part < 0.3 * size
    for worker in stats["workers"]:
        assert worker["memory"]["rss_file_bytes"] > 0.9 * size


def falls(before, after):
    """Counters that went down."""
    rows = [(group, name) for group, names in SUMS.items() for name in names]
    rows = [row for row in rows if row not in (("connections", "open"), ("requests", "running"))]
    rows.remove(("memory", "buffer_bytes"))
    return [row for row in rows if after[row[0]][row[1]] < before[row[0]][row[1]]]


def test_a_killed_worker_is_counted_and_its_counters_stay(actd):
    daemon = actd(settings={"daemon.workers": 2})
    with client_of_each(daemon) as clients:
        for client in clients.values():
            client.results([["get", ORACLE.keys[1]]] * 100)
        before = daemon.stats()
        victim = before["workers"][1]["pid"]
        os.kill(victim, signal.SIGKILL)
        daemon.wait_stat("restarts", "killed", 1)
        daemon.wait_stat("process", "serving", 2)
        after = daemon.stats()
        metrics = metrics_of(daemon)
    assert falls(before, after) == []
    assert after["methods"]["get"] == before["methods"]["get"]
    assert after["restarts"] == {"killed": 1, "exited": 0, "hung": 0, "failed": 0}
    assert sorted(worker["worker"] for worker in after["workers"]) == [0, 1]
    assert victim not in [worker["pid"] for worker in after["workers"]]
    young = next(worker for worker in after["workers"] if worker["worker"] == 1)
    assert young["methods"]["get"]["requests"] == 0
    assert prometheus.value(metrics, "actd_restarts_total", reason="killed") == 1
    assert prometheus.value(metrics, "actd_worker_requests_total", worker="1", method="get") == 0
    wait_all_known(daemon)


def test_a_hung_worker_is_counted(actd):
    daemon = actd(settings={"daemon.workers": 2, "daemon.heartbeat_timeout_ms": 1000})
    victim = daemon.worker_pids()[0]
    os.kill(victim, signal.SIGSTOP)
    daemon.wait_stat("restarts", "hung", 1)
    daemon.wait_stat("process", "serving", 2)
    metrics_of(daemon)  # whatever there is at this moment, no series is there twice
    eventually(lambda: victim not in daemon.worker_pids(), "the end of the hung worker")
    assert daemon.stat("restarts", "killed") == 0


def replace(tree, data):
    fresh = tree.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.rename(tree)


def test_a_refused_candidate_is_told_until_a_good_one_comes(actd, tmp_path):
    tree = shutil.copyfile(paths.CITIES, tmp_path / "cities.act")
    daemon = actd(tree)
    with daemon.client() as client:
        identity = daemon.stat("tree", "identity")
        replace(tree, b"no tree")
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_stat("tree", "refused", 1)
        stats, info = daemon.stats(), client.call("info")
        assert str(tree) in stats["refusal"] and info["refused"] == stats["refusal"]
        assert stats["unready"] is stats["damage"] is None
        assert (stats["tree"]["generation"], stats["tree"]["reloads"]) == (1, 1)
        assert info["generation"] == {"number": 1, "identity": identity}
        replace(tree, paths.SHAKESPEARE.read_bytes())
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_stat("tree", "reloads", 2)
        stats, info = daemon.stats(), client.call("info")
        assert stats["refusal"] is info["refused"] is None
        assert stats["tree"]["refused"] == 1
        assert stats["tree"]["mapped_bytes"] == tree.stat().st_size
        assert info["generation"]["number"] == stats["tree"]["generation"] > 1
        assert info["generation"]["identity"] == stats["tree"]["identity"] != identity
        assert {w["tree"]["generation"] for w in stats["workers"]} == {stats["tree"]["generation"]}
        wait_all_known(daemon)


def test_what_is_told_of_the_mapping_is_of_the_generation_that_is_served(actd, tmp_path):
    tree = shutil.copyfile(paths.SHAKESPEARE, tmp_path / "tree.act")
    daemon = actd(tree, settings={"daemon.workers": 2})
    wait_all_known(daemon)
    replace(tree, paths.CITIES.read_bytes())
    daemon.send_signal(signal.SIGHUP)
    daemon.wait_stat("tree", "reloads", 2)
    with client_of_each(daemon) as clients:
        touch_all(clients)
        size = paths.CITIES.stat().st_size
        daemon.wait_stat("tree", "pss_bytes", lambda pss: pss and pss > 0.9 * size)
        assert daemon.stat("tree", "pss_bytes") <= (size + PAGE - 1) // PAGE * PAGE


def test_uptime_goes_on(cities):
    first = cities.stat("process", "uptime_ms")
    cities.wait_stat("process", "uptime_ms", lambda now: now > first)


# What no good HTTP client sends.


def status_of(raw_reply):
    return int(re.match(rb"HTTP/1\.[01] (\d{3}) ", raw_reply)[1])


@pytest.mark.parametrize("path", ["/none", "/livez/", "//livez", "/LIVEZ", "/stats.json"])
def test_what_does_not_exist_is_404(admin, path):
    status, headers, text = http.fetch(admin, path)
    assert status == 404
    assert "/metrics" in text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "NONSENSE"])
def test_other_methods_are_405(admin, method):
    for path in ("/livez", "/stats", "/metrics"):
        status, headers, _ = http.fetch(admin, path, method=method, body=b"x" * 1000)
        assert status == 405
        assert headers["Allow"] == "GET, HEAD"


def test_a_large_body_is_refused_and_the_endpoint_lives(cities, admin):
    with contextlib.suppress(OSError):
        http.fetch(admin, "/stats", method="POST", body=b"x" * (4 << 20))
    with contextlib.suppress(OSError):
        http.fetch(admin, "/stats", method="GET", body=b"x" * (4 << 20))
    assert http.fetch(admin, "/livez")[0] == 200


BAD_HTTP = [
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /livez HTTP/9.9\r\n\r\n",
    b"GET /livez NONSENSE\r\n\r\n",
    b"\x00\x01\x02\x03\r\n\r\n",
    b"GET /livez HTTP/1.1\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    rpc.request(1, "ping"),
    b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 5000 + b"\r\n",
    b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100000 + b"\r\n\r\n",
]


@pytest.fixture(scope="module")
def impatient():
    """A daemon of the shortest time limit: libmicrohttpd may see the end of a stream only by it."""
    with Daemon(paths.CITIES, {"admin.timeout_ms": 1000}) as daemon:
        yield daemon


@pytest.mark.parametrize("data", BAD_HTTP, ids=lambda data: repr(data)[:40])
def test_bad_http_harms_nobody(impatient, kind, data):
    admin = getattr(impatient, f"admin_{kind}")
    with rpc.Client(admin) as client:
        with contextlib.suppress(OSError):
            client.send(data)
            client.end()
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := client.sock.recv(65536):
                received += chunk
        assert received == b"" or status_of(received) in (200, 400, 413, 414, 421, 431, 505)
    assert http.fetch(admin, "/livez")[0] == 200
    with impatient.client() as rpc_client:
        assert rpc_client.is_usable()


@pytest.mark.parametrize("head", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_slow_headers_are_closed_by_the_timeout(actd, kind, head):
    daemon = actd(settings={"admin.timeout_ms": 1000})
    address = getattr(daemon, f"admin_{kind}")
    with rpc.Client(address) as client, daemon.client() as other:
        client.send(head)
        client.sock.settimeout(Clock().left("the timeout"))
        received = client.sock.recv(65536)
        assert received == b"" or status_of(received) == 408
        assert other.is_usable()
    assert http.fetch(address, "/livez")[0] == 200


def test_many_admin_connections_leave_the_others_waiting_and_rpc_working(actd, kind):
    daemon = actd(settings={"admin.timeout_ms": 60000, "admin.max_connections": 16})
    address = getattr(daemon, f"admin_{kind}")
    idle = [rpc.connect(address) for _ in range(60)]
    request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with daemon.client() as client:
        assert client.is_usable()
        for sock in idle:
            sock.sendall(request)
            assert client.is_usable()
        for sock in idle:
            with contextlib.closing(sock):
                sock.settimeout(Clock().left("an answer"))
                assert status_of(sock.recv(65536)) == 200
        assert client.is_usable()


def test_idle_admin_connections_do_not_keep_others_out_for_ever(actd):
    daemon = actd(settings={"admin.timeout_ms": 1000, "admin.max_connections": 4})
    idle = [rpc.connect(daemon.admin_tcp) for _ in range(20)]
    assert http.fetch(daemon.admin_tcp, "/livez")[0] == 200
    with daemon.client() as client:
        assert client.is_usable()
    for sock in idle:
        sock.close()


def test_admin_clients_that_reset_or_vanish_harm_nobody(actd, kind):
    daemon = actd(settings={"admin.timeout_ms": 1000})
    address = getattr(daemon, f"admin_{kind}")
    for i in range(60):
        client = rpc.Client(address)
        client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"[: 10 * (i % 5)])
        client.reset() if i % 2 else client.close()
    assert http.fetch(address, "/livez")[0] == 200


def test_scraping_while_queries_run_disturbs_neither(cities):
    with cities.client() as client:
        for i in range(50):
            client.send(rpc.request(i, "get", ORACLE.keys[i]))
            prometheus.parse(http.fetch(cities.admin_tcp, "/metrics")[2])
            assert client.reply() == (i, None, ORACLE.get(ORACLE.keys[i]))


# Readiness.


def test_readyz_says_no_and_why_while_it_stops(actd, kind):
    daemon = actd(settings={"limits.drain_timeout_ms": 600000})
    with daemon.client() as client:
        client.send(rpc.request(1, "ping")[:-1])
        daemon.wait_stat("traffic", "read_bytes", lambda n: n > 0)
        daemon.send_signal()
        daemon.wait_log("stopping")
        address = getattr(daemon, f"admin_{kind}")
        assert http.fetch(address, "/readyz")[::2] == (503, "not ready: stopping\n")
        assert http.fetch(address, "/livez")[0] == 200
        metrics = prometheus.parse(http.fetch(address, "/metrics")[2])
        assert prometheus.value(metrics, "actd_ready") == 0
        client.send(rpc.request(1, "ping")[-1:])
        assert client.reply() == (1, None, "pong")


def test_without_admin_addresses_there_is_no_endpoint(actd):
    daemon = actd(settings={"admin.tcp": None, "admin.unix": None})
    assert "admin endpoint" not in daemon.log
    with daemon.client() as client:
        assert client.is_usable()


def test_a_json_parser_keeps_every_bit_of_a_counter(cities):
    text = http.fetch(cities.admin_unix, "/stats")[2]
    assert json.loads(text, parse_float=pytest.fail)


def test_rpc_on_the_admin_socket_and_http_on_the_rpc_socket_are_refused(cities):
    with cities.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.at_end()
