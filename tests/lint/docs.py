"""Every option, method, error and statistic is documented, and nothing that is not there is.

The names come from the tables in the code, the documented ones from the tables of the documents.
What stands in the manual pages is held against the code by papers.py."""

import re

import source

problems = []


def compare(what, in_code, documented, document):
    assert in_code, f"no {what} found in the code"
    for name in in_code:
        if name not in documented:
            problems.append(f"{document}: {what} {name} is missing")
    for name in documented:
        if name not in in_code:
            problems.append(f"{document}: {what} {name} does not exist")


def text_of(document):
    try:
        return source.read(document)
    except FileNotFoundError:
        problems.append(f"{document} is missing")
        return ""


def config_options():
    text = source.read("daemon/config_options.c")
    rows = re.findall(r'^    \{"(\w+)", "(\w+)", CONFIG_', text, re.M)
    return [".".join(row) for row in rows]


def options_in_file(text):
    names, section = [], None
    for line in text.split("\n"):
        if match := re.match(r"\[(\w+)\]$", line):
            section = match[1]
        elif match := re.match(r"#(\w+) =", line):
            names.append(f"{section}.{match[1]}")
    return names


def check_options():
    options = config_options()
    compare("option", options, options_in_file(text_of("conf/actd.conf")), "conf/actd.conf")


def check_protocol():
    text = text_of("docs/PROTOCOL.md")
    methods = [row[0] for row in source.x_table("daemon/methods.h", "METHODS")]
    rows = re.findall(r"^\| `(\w+)` \|", section(text, "Methods"), re.M)
    compare("method", methods, rows, "docs/PROTOCOL.md")
    for method in methods:
        if not re.search(rf"^### {method}$", text, re.M):
            problems.append(f"docs/PROTOCOL.md: the method {method} has no section of its own")
    errors = [f"{row[1]} {row[0]}" for row in source.x_table("proto/errors.h", "PROTO_ERRORS")]
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", section(text, "Errors"), re.M)
    compare("error", errors, [" ".join(row) for row in rows], "docs/PROTOCOL.md")


def section(text, title):
    """From the second-level head of that title to the next one, without what stands deeper."""
    match = re.search(rf"^## [\d. ]*{title}$(.*?)(?=^##|\Z)", text, re.M | re.S)
    return match[1] if match else ""


def check_statistics():
    text = text_of("docs/STATISTICS.md")
    rows = source.x_table("daemon/stats.h", "STATS")
    columns = [row[0] for row in source.x_table("daemon/stats.h", "METHOD_STATS")]
    names = [f"{row[0]}.{row[1]}" for row in rows]
    names += ["warmup.state", "warmup.mode", "workers.worker", "workers.pid"]
    documented = re.findall(r"^\| `(\w+\.\w+)` \|", text, re.M)
    compare("statistic", names, documented, "docs/STATISTICS.md")
    worker_rows = source.x_table("daemon/stats.h", "WORKER_STATS")
    names = [f"workers.{row[0]}.{row[1]}" for row in worker_rows]
    documented = re.findall(r"^\| `(workers\.\w+\.\w+)` \|", text, re.M)
    compare("statistic of workers", names, documented, "docs/STATISTICS.md")
    documented = re.findall(r"^\| `(\w+)` \|", section(text, "methods"), re.M)
    times = [row[0] for row in source.x_table("daemon/stats.h", "METHOD_TIMES")]
    compare("statistic of methods", columns + times, documented, "docs/STATISTICS.md")
    metrics = [name for row in rows + worker_rows if (name := row[3].strip('"'))]
    metrics += [f"actd_{of}_{column}_total" for column in columns for of in ("method", "worker")]
    metrics += ["actd_ready", "actd_build_info", "actd_request_duration_seconds"]
    metrics += ["actd_verify_faults"]
    documented = re.findall(r"`(actd_\w+?)(?:\{[^`]*\})?`", text)
    compare("metric", dict.fromkeys(metrics), dict.fromkeys(documented), "docs/STATISTICS.md")


check_options()
check_protocol()
check_statistics()
source.end(problems)
