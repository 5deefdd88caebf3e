"""docs/STATISTICS.md and actd.conf(5) against the daemon: nothing is missing, nothing is there that
the daemon does not have, and defaults and limits are the real ones. (Flags, methods, errors and
functions are compared with the code by tests/lint/papers.py.)"""

import json
import re

import pytest

from lib import daemon, http, paths, prometheus
from lib.waiting import eventually

DOCS = paths.ROOT / "docs"
STATISTICS = (DOCS / "STATISTICS.md").read_text()
CONF = (DOCS / "actd.conf.5.scd").read_text()


# Statistics


def documented_statistics():
    """{name: (metric with labels or "", type)}"""
    row = re.compile(r"^\| `([a-z0-9_.]+)` \| (?:the label )?(?:`([^`]+)`)? *\| (\w+) \|", re.M)
    return {name: (metric, kind) for name, metric, kind in row.findall(STATISTICS)}


def split_statistics():
    """The same: those of the process, and the columns of each method."""
    single, columns = {}, {}
    for name, row in documented_statistics().items():
        (single if "." in name else columns)[name] = row
    return single, columns


def test_every_statistic_is_documented(cities):
    status, _, text = http.fetch(cities.admin_unix, "/stats")
    assert status == 200
    stats = json.loads(text)
    methods = stats.pop("methods")
    assert stats.pop("verify")["state"] == "never" and "`verify` is a map" in STATISTICS
    single, columns = split_statistics()
    found = {
        f"{group}.{name}"
        for group, values in stats.items()
        if isinstance(values, dict)
        for name in values
    }
    for worker in stats["workers"]:
        counters = worker.pop("methods")
        assert all(set(each) == set(columns) for each in counters.values())
        for group, values in worker.items():
            names = [f".{name}" for name in values] if isinstance(values, dict) else [""]
            found |= {f"workers.{group}{name}" for name in names}
    assert found == set(single)
    for counters in methods.values():
        assert set(counters) == set(columns)


def test_every_metric_is_documented(cities):
    eventually(lambda: cities.stat("tree", "pss_bytes") is not None, "the mapping is asked for")
    metrics = prometheus.parse(http.fetch(cities.admin_unix, "/metrics")[2])
    single, columns = split_statistics()
    wanted = {(metric, kind) for metric, kind in single.values() if metric[:5] == "actd_"}
    wanted.add(("actd_ready", "gauge"))
    only_there = {"actd_build_info", "actd_request_duration_seconds", "actd_verify_faults"}
    only_there |= {name for name in metrics if name.startswith("process_")}
    assert all(f"`{name}`" in STATISTICS for name in only_there)
    assert set(re.findall(r"`(process_\w+)`", STATISTICS)) <= only_there
    found = set()
    for name, metric in metrics.items():
        if not metric.samples and name not in only_there:
            found.add((name, metric.type))
        for labels in metric.samples if name not in only_there else ():
            labels = [(label, value) for label, value in labels if label != "worker"]
            if dict(labels).keys() == {"method"}:
                assert (name.replace("actd_worker_", "actd_method_"), metric.type) in [
                    *columns.values()
                ]
                continue
            text = ",".join(f'{label}="{value}"' for label, value in labels)
            found.add((f"{name}{{{text}}}" if text else name, metric.type))
    assert found == wanted
    assert {name for name, _ in columns.values() if name} <= set(metrics)
    assert "`actd_ready`" in STATISTICS


def test_statistics_stand_under_their_group():
    for title, text in re.findall(r"^## (\w+)$(.*?)(?=^## |\Z)", STATISTICS, re.M | re.S):
        for name in re.findall(r"^\| `([a-z_]+)\.[a-z_]+` \|", text, re.M):
            assert name == title


# Options


def defaults():
    """{section.key: default text, None if there is none} as the daemon prints them."""
    result = {}
    section = None
    for line in daemon.run("--print-defaults").stdout.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        match = re.fullmatch(r"#(\w+) =(?: (.+))?", line)
        if match:
            result[f"{section}.{match[1]}"] = match[2]
    assert len(result) > 20
    return result


def plain(text):
    """The text of a page without its marks, in one line."""
    text = re.sub(r"\\(.)|\*|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\1", text)
    return " ".join(text.split())


def documented_options():
    """{section.key: what the manual says of it}"""
    result = {}
    for section, text in re.findall(r"^## Section (\w+)$(.*?)(?=^##? )", CONF, re.M | re.S):
        items = re.findall(r"^\*(\w+)\* = (.*?)(?=^\S|\Z)", text, re.M | re.S)
        for key, item in items:
            result[f"{section}.{key}"] = plain(item)
    return result


OPTIONS = documented_options()


def test_every_option_is_documented():
    assert set(OPTIONS) == set(defaults())


@pytest.mark.parametrize("name", OPTIONS)
def test_the_default_is_the_real_one(name):
    default = defaults()[name]
    if default is None:
        assert re.search(r"\b(No|without a) default\b", OPTIONS[name]), OPTIONS[name]
    else:
        found = re.findall(r"\b[Dd]efault (\S+?)[,.;]?(?= |$)", OPTIONS[name])
        assert found == [default], OPTIONS[name]


def bytes_of(text):
    shift = 10 * (" KMGT".index(text[-1]) if text[-1] in "KMGT" else 0)
    return int(text.rstrip("KMGT")) << shift


RANGES = {
    name: match.groups()
    for name, text in OPTIONS.items()
    if (match := re.search(r"\b(\d+[KMGT]?) to (\d+[KMGT]?)\b", text)) and "mode" not in name
}


def is_accepted(name, value):
    # max_buffer_bytes must fit max_request_bytes; this is about one option at a time.
    others = {
        "limits.max_buffer_bytes": ["--set=limits.max_request_bytes=64"],
        "limits.max_request_bytes": ["--set=limits.max_buffer_bytes=1T"],
    }
    result = daemon.run(
        "--config=/dev/null",
        "--set=tree.path=x",
        *others.get(name, []),
        f"--set={name}={value}",
        "--check-config",
    )
    assert result.returncode in (0, 2), result.stderr
    assert result.returncode == 0 or f"{name}=" in result.stderr, result.stderr
    return result.returncode == 0


@pytest.mark.parametrize("name", RANGES)
def test_the_range_is_the_real_one(name):
    least, most = map(bytes_of, RANGES[name])
    assert is_accepted(name, least) and is_accepted(name, most)
    assert not is_accepted(name, most + 1)
    assert least == 0 or not is_accepted(name, least - 1)


def test_numbers_have_a_range():
    numbers = re.findall(r"^\*(\w+)\* = (?:\*auto\* \| )?_number_$", CONF, re.M)
    assert len(numbers) == len(RANGES)


@pytest.mark.parametrize(
    "line, is_right",
    [
        ("path = /" + "x" * 190, True),
        ("path = /" + "x" * 191, False),
        ("path = /x ;y", False),
        ("path = /x;y", True),
        ("path: /x", True),
        ("    path = /x", True),
        ("; comment", True),
        ("Path = /x", False),
        ("path", False),
    ],
)
def test_the_syntax_is_as_described(line, is_right, tmp_path):
    conf = tmp_path / "actd.conf"
    conf.write_text(f"[tree]\npath = /first\n{line}\n")
    result = daemon.run(f"--config={conf}", "--check-config")
    assert result.returncode == (0 if is_right else 2), result.stderr
    assert is_right or f"{conf}:3: " in result.stderr
