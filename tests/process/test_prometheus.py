"""What Prometheus gets: its own linter finds nothing, numbers are true, and a real one that scrapes
the endpoint answers queries about them."""

import contextlib
import json
import os
import pathlib
import resource
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from lib import cold, http, paths, prometheus
from lib.tree_data import oracle_of
from lib.waiting import DEADLINE_S, Clock, eventually

ORACLE = oracle_of(paths.CITIES)


def program(name):
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is missing: install the package prometheus")
    return found


def text_of(daemon):
    return http.fetch(daemon.admin_unix, "/metrics")[2]


def metrics_of(daemon):
    return prometheus.parse(text_of(daemon))


def test_promtool_finds_nothing_wrong(tmp_path, actd):
    """Also while a warm-up and cold requests have been there."""
    daemon = actd(settings={"warmup.mode": "read"})
    with daemon.client() as client:
        client.results([["get", key] for key in ORACLE.keys[:100]] + [["mget", ORACLE.keys[:3000]]])
    daemon.wait_stat("tree", "pss_bytes", lambda value: value is not None)
    result = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=text_of(daemon),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (result.returncode, result.stdout) == (0, "")


def test_times_are_seconds_to_the_millisecond(cities):
    worker = {"worker": "0"}
    before = cities.stats()
    metrics = metrics_of(cities)
    after = cities.stats()
    told = prometheus.value(metrics, "actd_uptime_seconds") * 1000
    assert before["process"]["uptime_ms"] <= round(told) <= after["process"]["uptime_ms"]
    told = prometheus.value(metrics, "actd_worker_uptime_seconds", **worker) * 1000
    times = [stats["workers"][0]["process"]["uptime_ms"] for stats in (before, after)]
    assert times[0] <= round(told) <= times[1]


def stat_fields(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()


def test_the_process_is_the_supervisor_as_the_kernel_tells_it(cities):
    metrics_of(cities)
    ticks = os.sysconf("SC_CLK_TCK")

    def now():
        fields = stat_fields(cities.pid)
        return {
            "process_cpu_seconds_total": (int(fields[11]) + int(fields[12])) / ticks,
            "process_open_fds": len(os.listdir(f"/proc/{cities.pid}/fd")),
            "process_virtual_memory_bytes": int(fields[20]),
            "process_resident_memory_bytes": int(fields[21]) * resource.getpagesize(),
        }

    before, metrics, after = now(), metrics_of(cities), now()
    told = {name: prometheus.value(metrics, name) for name in before}
    tick = 1 / ticks
    name = "process_cpu_seconds_total"
    assert before[name] - tick <= told[name] <= after[name] + 2 * tick
    # The connection that asks is one more.
    assert told["process_open_fds"] in (before["process_open_fds"], before["process_open_fds"] + 1)
    name = "process_virtual_memory_bytes"
    assert min(before[name], after[name]) <= told[name] <= max(before[name], after[name])
    name = "process_resident_memory_bytes"
    assert 0.5 * before[name] <= told[name] <= 2 * after[name]

    limits = pathlib.Path(f"/proc/{cities.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert prometheus.value(metrics, "process_max_fds") == int(line.split()[3])

    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    started = boot + int(stat_fields(cities.pid)[19]) / ticks
    told = prometheus.value(metrics, "process_start_time_seconds")
    assert abs(told - started) < 1
    assert prometheus.value(metrics_of(cities), "process_start_time_seconds") == told


def test_the_version_is_a_label(cities):
    version = cities.stats()["version"]
    assert prometheus.value(metrics_of(cities), "actd_build_info", version=version) == 1


def test_durations_are_those_of_methods_that_were_called(actd):
    daemon = actd(settings={"daemon.workers": 1})
    name = "actd_request_duration_seconds"
    with daemon.client() as client:
        client.results([["get", key] for key in ORACLE.keys[:1600]])
        n = daemon.stats()["methods"]["get"]["requests"]
        metric = metrics_of(daemon)[name]
    methods = {dict(labels)["method"] for labels in metric.samples}
    assert methods <= {"get", "hello"}
    warm = prometheus.Histogram(metric, method="get", pages="warm")
    assert n == 1600 and abs(warm.count - n) <= 16
    assert 0 < warm.sum < DEADLINE_S
    bounds = list(warm.buckets)
    assert bounds[0] == 1.024e-06 and len(bounds) == 14
    assert all(next_one == 4 * bound for bound, next_one in zip(bounds, bounds[1:-1]))
    # No bucket promises more than there is: the mean lies among them.
    assert warm.sum / warm.count <= max(b for b in bounds[:-1] if warm.buckets[b] < n or b > 1)


def test_methods_by_turns_are_all_measured(actd):
    """One request in 16 is: not always the same method's."""
    daemon = actd(settings={"daemon.workers": 1})
    with daemon.client() as client:
        client.results([["get", ORACLE.keys[0]], ["ping"]] * 800)
        metric = metrics_of(daemon)["actd_request_duration_seconds"]
    for method in ("get", "ping"):
        series = prometheus.Histogram(metric, method=method, pages="warm")
        assert series.count == 800


def test_cold_requests_have_a_series_of_their_own(tmp_path):
    tree = cold.build(tmp_path / "tree.act", 20000)
    (tmp_path / "disk").mkdir()
    serving = cold.cold_daemon(tmp_path / "disk", tree.path)
    with serving as (disk, daemon), daemon.client() as client:
        disk.delay_us = 30000
        assert client.call("get", tree.keys[0]) == tree.values[tree.keys[0]]
        disk.delay_us = 0
        metrics = metrics_of(daemon)
    told = metrics["actd_request_duration_seconds"]
    series = prometheus.Histogram(told, method="get", pages="cold")
    assert series.count == 1 and series.sum >= 0.03
    below = max(bound for bound in series.buckets if bound < 0.03)
    assert series.buckets[below] == 0
    assert prometheus.value(metrics, "actd_method_offloaded_total", method="get") == 1


# A real one.


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Prometheus:
    def __init__(self, directory, targets):
        self.url = f"http://127.0.0.1:{free_port()}"
        config = directory / "prometheus.yml"
        static = [{"targets": [f"{host}:{port}" for _, host, port in targets]}]
        job = {"job_name": "actd", "scrape_interval": "1s", "static_configs": static}
        config.write_text(json.dumps({"scrape_configs": [job]}))  # JSON is YAML
        self.log = directory / "prometheus.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "HOME": str(directory)},
            )

    def ask(self, path, **arguments):
        """Its answer, or None: it is not there yet."""
        assert self.process.poll() is None, self.log.read_text()
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=Clock().left("an answer")) as response:
                return json.load(response)["data"]
        except (urllib.error.URLError, ConnectionError):
            return None

    def value(self, query):
        """Of the one series that the query finds; None: there is none."""
        data = self.ask("query", query=query)
        if not data or not data["result"]:
            return None
        (series,) = data["result"]
        return float(series["value"][1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def test_a_real_prometheus_scrapes_and_answers(tmp_path, actd):
    daemon = actd()
    n = 320
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Prometheus(tmp_path, [daemon.admin_tcp]))
        eventually(lambda: server.value("up") == 1, "the first scrape")
        client = stack.enter_context(daemon.client())
        client.results([["get", key] for key in ORACLE.keys[:n]])
        requests = 'actd_method_requests_total{method="get"}'
        eventually(lambda: server.value(requests) == n, "a scrape of all requests")
        stats = daemon.stats()
        assert stats["methods"]["get"]["requests"] == n
        hits = stats["methods"]["get"]["hits"]
        assert server.value('actd_method_hits_total{method="get"}') == hits
        assert server.value("actd_tree_mapped_bytes") == stats["tree"]["mapped_bytes"]
        assert server.value("sum(actd_worker_requests_total{method='get'})") == n
        assert server.value("actd_ready") == 1
        assert server.value("actd_build_info") == 1
        assert server.value("process_start_time_seconds") > 0
        quantile = "histogram_quantile(0.99, actd_request_duration_seconds_bucket"
        seconds = server.value(quantile + '{method="get",pages="warm"})')
        assert 0 < seconds <= 17.2
        (target,) = server.ask("targets")["activeTargets"]
        assert target["health"] == "up" and target["lastError"] == ""
        metadata = server.ask("metadata", metric="actd_request_duration_seconds")
        assert metadata["actd_request_duration_seconds"][0]["type"] == "histogram"
