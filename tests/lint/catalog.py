"""The events, their explanations for journalctl and the table for people are the same set, and each
says what the others say.

A field that an explanation shows must be one that the event has: those that the table in the code
lists, which the process tests hear. Here the call of each event is looked for, and its fields."""

import re

import source

EVENTS = "daemon/events.h"
CATALOG = "systemd/actd.catalog"
DOCUMENT = "docs/EVENTS.md"

# Every entry has them where they are known: set once for a process (log_set_context).
CONTEXT = ["TREE_PATH", "GENERATION", "WORKER"]

problems = []


def events():
    """{name: (level, id, fields)}"""
    result = {}
    for name, level, number, fields in source.x_table(EVENTS, "EVENTS"):
        level = level.removeprefix("LOG_LEVEL_").lower()
        result[name] = (level, number.strip('"'), fields.strip('"').split())
    return result


def explanations():
    """{id: (head fields, text)} of the catalog."""
    result = {}
    parts = re.split(r"^-- ([0-9a-f]{32})\n", source.read(CATALOG), flags=re.M)
    for number, text in zip(parts[1::2], parts[2::2]):
        head, _, body = text.partition("\n\n")
        if number in result:
            problems.append(f"{CATALOG}: {number} is there twice")
        result[number] = (dict(re.findall(r"^([A-Z][\w-]+): (.+)$", head, re.M)), body)
    return result


def check_ids(table):
    numbers = [number for _, number, _ in table.values()]
    for name, (_, number, _) in table.items():
        if not re.fullmatch(r"[0-9a-f]{32}", number):
            problems.append(f"{EVENTS}: {name}: {number} is no id of 128 bits")
        if numbers.count(number) > 1:
            problems.append(f"{EVENTS}: {name}: {number} is another one's, too")


def check_catalog(table, catalog):
    for name, (_, number, fields) in table.items():
        if number not in catalog:
            problems.append(f"{CATALOG}: {name} ({number}) is missing")
            continue
        head, body = catalog[number]
        for wanted in ["Subject", "Defined-By", "Documentation"]:
            if wanted not in head:
                problems.append(f"{CATALOG}: {name}: {wanted} is missing")
        if "man:actd" not in head.get("Documentation", ""):
            problems.append(f"{CATALOG}: {name}: no manual page is named")
        if not body.strip():
            problems.append(f"{CATALOG}: {name}: nothing is explained")
        for field in re.findall(r"@(\w+)@", head.get("Subject", "") + body):
            if field not in fields:
                problems.append(f"{CATALOG}: {name} shows {field}, which it does not have")
    for number in catalog.keys() - {number for _, number, _ in table.values()}:
        problems.append(f"{CATALOG}: {number} is no event")


def options_of(text):
    """What looks like an option of the configuration."""
    return re.findall(r"\b((?:tree|cold|warmup|limits|listen|daemon|admin|log)\.[a-z]\w+)", text)


def check_options(catalog):
    """A remedy that names an option names one that exists, or a statistic."""
    options = source.read("daemon/config_options.c")
    rows = re.findall(r'^    \{"(\w+)", "(\w+)", CONFIG_', options, re.M)
    known = {".".join(row) for row in rows} | {"cold.timed_out"}
    assert len(known) > 20
    for head, body in catalog.values():
        for option in options_of(body):
            if option not in known:
                problems.append(f"{CATALOG}: there is no option {option}")


def calls():
    """{name: [text of each call]}"""
    result = {}
    for path in source.files(["daemon"], ".c"):
        text = path.read_text()
        for match in re.finditer(r"log_event\(", text):
            end = text.index(");\n", match.end())
            call = text[match.start() : end]
            for name in re.findall(r"&event_(\w+)", call):
                result.setdefault(name, []).append((source.name_of(path), call))
    return result


def check_calls(table):
    found = calls()
    for name, (_, _, fields) in table.items():
        if name not in found:
            problems.append(f"{EVENTS}: {name} is never logged")
        for place, call in found.get(name, []):
            named = re.findall(r'"([A-Z][A-Z_]+)"', call)
            named += ["REASON"] if "LOG_REASON" in call else []
            for field in fields:
                if field not in named + CONTEXT:
                    problems.append(f"{place}: {name} is logged without {field}")
    for name in found.keys() - table.keys():
        problems.append(f"{EVENTS}: {name} is missing")


def check_document(table):
    """Rows are: | name | level | id | when | fields |"""
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| `(\w+)` \|[^|]+\| ([^|]*) \|$", source.read(DOCUMENT), re.M
    )
    told = {name: (*more, re.findall(r"\w+", fields)) for name, *more, fields in rows}
    for name in table.keys() | told.keys():
        said, wanted = told.get(name), table.get(name)
        if said != wanted:
            problems.append(f"{DOCUMENT}: {name}: {said}, and in the code {wanted}")


table, catalog = events(), explanations()
check_ids(table)
check_catalog(table, catalog)
check_options(catalog)
check_calls(table)
check_document(table)
source.end(problems)
