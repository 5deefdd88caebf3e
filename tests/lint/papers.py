"""The manual pages against the code: every option with its default, every flag and command, method,
error, statistic and function is in its page, and nothing is there that the code does not have.

Pages are read as scdoc's input. An item is a line at the left edge with an indented line below."""

import re

import command_line
import source

problems = []


def compare(what, in_code, documented, page):
    assert in_code, f"no {what} found in the code"
    for name in in_code:
        if name not in documented:
            problems.append(f"{page}: {what} {name} is missing")
    for name in documented:
        if name not in in_code:
            problems.append(f"{page}: {what} {name} does not exist")


def page_of(name):
    return source.read(f"docs/{name}.scd")


def plain(text):
    """Without scdoc's marks, in one line."""
    text = re.sub(r"\\(.)|\*|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\1", text)
    return " ".join(text.split())


def section(text, title):
    """What stands below that heading, up to the next one of its kind or a higher one."""
    level = len(title.split()[0])
    match = re.search(rf"^{re.escape(title)}$(.*?)(?=^#{{1,{level}}} |\Z)", text, re.M | re.S)
    if not match:
        problems.append(f"the section {title} is missing")
    return match[1] if match else ""


def items(text):
    """[(head, body)]"""
    return re.findall(r"^([^\s#`-].*(?:\+\+\n.*)?)\n((?:\t.*\n|\n(?=\t))+)", text + "\n", re.M)


# Options


def defaults():
    """{section.key: its default, None where there is none}, as conf/actd.conf has them."""
    result, group = {}, None
    for line in source.read("conf/actd.conf").split("\n"):
        if match := re.match(r"\[(\w+)\]$", line):
            group = match[1]
        elif match := re.match(r"#(\w+) =(?: (.+))?$", line):
            result[f"{group}.{match[1]}"] = match[2]
    return result


def check_options():
    page = page_of("actd.conf.5")
    values, wanted = command_line.config_values(), defaults()
    documented = {}
    for group in re.findall(r"^## Section (\w+)$", page, re.M):
        for head, body in items(section(page, f"## Section {group}")):
            if match := re.match(r"\*(\w+)\* = (.*)", head):
                documented[f"{group}.{match[1]}"] = match[2], plain(body)
    compare("option", list(values), documented, "actd.conf(5)")
    for name, (shown, said) in documented.items():
        choices = [value for value in values.get(name, []) if value != "FILE"]
        if sorted(re.findall(r"\*(\w+)\*", shown)) != sorted(choices):
            problems.append(f"actd.conf(5): the values of {name} are {choices}, and not {shown}")
        default = wanted.get(name)
        told = re.findall(r"\b[Dd]efault (\S+?)[,.;]?(?= |$)", said)
        if default is None and not re.search(r"\b(No|without a) default\b", said):
            problems.append(f"actd.conf(5): {name} does not say that it has no default")
        if default is not None and told != [default]:
            problems.append(f"actd.conf(5): the default of {name} is {default}, and not {told}")


# Command lines


def flags_of(text):
    """The flags that stand in the heads of items, short ones and long ones."""
    heads = "\n".join(head for head, _ in items(text))
    return list(dict.fromkeys(re.findall(r"\*(--?[a-zA-Z][\w-]*)\*", heads)))


def check_daemon_flags():
    text = source.read("daemon/main.c")
    long_flags = re.findall(r'^    \{"([a-z-]+)", (?:no|required)_argument', text, re.M)
    short_flags = re.search(r'getopt_long\(argc, argv, "([^"]*)"', text)[1].replace(":", "")
    flags = [f"--{flag}" for flag in long_flags] + [f"-{flag}" for flag in short_flags]
    compare("flag", flags, flags_of(page_of("actd.8")), "actd(8)")
    usage = text[text.index("static const char help[]") :].partition("Example")[0]
    told = re.findall(r"(?<![\w-])(--?[a-zA-Z][\w-]*)", usage)
    compare("flag", flags, dict.fromkeys(told), "actd --help")


def check_environment():
    for folders, page in ((["base", "daemon"], "actd.8"), (["client"], "actctl.1")):
        text = "\n".join(path.read_text() for path in source.files(folders, ".c"))
        used = dict.fromkeys(re.findall(r'getenv\("(\w+)"\)', text))
        told = [name for head, _ in items(section(page_of(page), "# ENVIRONMENT"))
                for name in re.findall(r"\*(\w+)\*", head)]
        # Libraries may read these for us.
        elsewhere = {"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID",
                     "WATCHDOG_USEC", "LC_ALL", "LC_CTYPE", "LANG"}
        told = [name for name in told if name in used or name not in elsewhere]
        compare("variable", list(used), told, page)


def check_admin():
    text = source.read("daemon/admin/routes.c")
    routes = re.findall(r'^    \{"(/[\w-]*)", \w+, \w+\},', text, re.M)
    told = [path for head, _ in items(section(page_of("actd.8"), "# ADMIN ENDPOINT"))
            for path in re.findall(r"[_*](/[a-z-]*)", head)]
    told = dict.fromkeys(told)
    compare("path of the admin endpoint", routes, told, "actd(8)")


def check_events():
    events = [row[0] for row in source.x_table("daemon/events.h", "EVENTS")]
    heads = [head for head, _ in items(section(page_of("actd.8"), "# EVENTS"))]
    told = [name for head in heads for name in re.findall(r"\*(\w+)\*", head)]
    compare("event", events, told, "actd(8)")


def check_units():
    names = {path.name.removesuffix(".in") for path in (source.ROOT / "systemd").rglob("*")
             if re.search(r"\.(service|socket|conf)(\.in)?$", path.name)}
    page = section(page_of("actd.8"), "# UNITS, USER AND GROUPS")
    shown = page.replace("*_name_*", "").replace("*_name_", "")
    found = re.findall(r"[_*](actd[a-z@-]*\.(?:service|socket)|[a-z-]+\.conf)[_*]", shown)
    compare("unit or example", sorted(names), dict.fromkeys(found), "actd(8)")


def check_client_flags():
    rows = command_line.option_rows()
    flags = [f"--{name}" for _, name, _, _ in rows]
    flags += [f"-{letter}" for _, _, letter, _ in rows if letter]
    page = page_of("actctl.1")
    compare("flag", flags, flags_of(section(page, "## Options")), "actctl(1)")


def check_commands():
    page = page_of("actctl.1")
    takes = command_line.option_sets()
    heads = [head for title in ("## Questions", "## Generations", "## Files")
             for head, _ in items(section(page, title))]
    documented = [match[1] for head in heads if (match := re.match(r"\*([\w-]+)\*", head))]
    compare("command", list(takes), documented, "actctl(1)")
    general = {"server", "timeout-ms", "file", "json", "hex", "help", "version"}
    for head, body in items(section(page, "## Options")):
        flag = re.search(r"\*--([a-z-]+)\*", head)[1]
        if flag in general:
            continue
        lists = re.findall(r"^\t((?:\*[\w-]+\*(?:, )?)+):", body, re.M)
        told = {name for names in lists for name in re.findall(r"[\w-]+", names)}
        wanted = {command for command, options in takes.items() if flag in options}
        if told != wanted:
            problems.append(f"actctl(1): --{flag} is for {sorted(wanted)}, and not {sorted(told)}")


# The protocol


def check_protocol():
    page = page_of("actd-protocol.7")
    rows = source.x_table("daemon/methods.h", "METHODS")
    heads = [head for head, _ in items(section(page, "# METHODS"))]
    documented = [name for head in heads for name in re.findall(r"\*(\w+)\*\(", head)]
    compare("method", [row[0] for row in rows], documented, "actd-protocol(7)")
    errors = [f"{row[0]} ({row[1]})" for row in source.x_table("proto/errors.h", "PROTO_ERRORS")]
    documented = [plain(head) for head, _ in items(section(page, "# ERRORS"))]
    compare("error", errors, documented, "actd-protocol(7)")
    options = [row[0] for row in source.x_table("daemon/worker/call.h", "CALL_OPTIONS")]
    documented = [name for head, _ in items(section(page, "## Options of methods"))
                  for name in re.findall(r"\*(\w+)\*", head)]
    compare("option of methods", options, documented, "actd-protocol(7)")
    heads = "\n".join(head for head, _ in items(section(page, "# LIMITS")))
    told = dict(re.findall(r"\*((?:limits|cold)\.\w+)\*, (\w+)", heads))
    for name in sorted(set(re.findall(r"\*((?:limits|cold)\.\w+)\*", page))):
        if name not in defaults():
            problems.append(f"actd-protocol(7): there is no option {name}")
        elif told.get(name) != defaults()[name]:
            problems.append(f"actd-protocol(7): {name} is {defaults()[name]}, not {told.get(name)}")


# Statistics


def check_statistics():
    """The page is made of the document, which docs.py holds against the code: is all there?"""
    page = source.made_page("statistics")
    heads = {head.split("*")[1]: body for head, body in items(page) if head.startswith("*")}
    for table, prefix in (("STATS", ""), ("WORKER_STATS", "workers.")):
        for group, name, _, metric, *_ in source.x_table("daemon/stats.h", table):
            body = heads.get(f"{prefix}{group}.{name}")
            if body is None:
                problems.append(f"actd-statistics(7): {prefix}{group}.{name} is missing")
            elif metric.strip('"') not in body:
                problems.append(f"actd-statistics(7): {prefix}{group}.{name} is {metric}, too")
    for table in ("METHOD_STATS", "METHOD_TIMES"):
        for row in source.x_table("daemon/stats.h", table):
            if row[0] not in heads:
                problems.append(f"actd-statistics(7): {row[0]} of methods is missing")


# Libraries


def squeezed(text):
    """C without comments, in one line, with blanks only where they matter."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r" ?([(){};,*=]) ?", r"\1", text)


def declarations(headers, prefix):
    """({function: prototype}, {structure: definition}, constants)"""
    text = "\n".join(path.read_text() for path in headers)
    bare = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    functions = {match[2]: squeezed(match[1]) for match in re.finditer(
        rf"^{prefix}_PUBLIC ([^;]*?\b(\w+)\([^;]*\));", bare, re.M)}
    structures = {match[1]: squeezed(match[0]) for match in re.finditer(
        r"^struct (\w+) \{.*?^\};", bare, re.M | re.S)}
    constants = re.findall(rf"^    ({prefix}_\w+)(?: =|,|\s*$)", bare, re.M)
    constants += re.findall(rf"^#define ({prefix}_(?!PUBLIC)\w+) ", bare, re.M)
    constants = [name for name in constants if not name.endswith("_H")]
    return functions, structures, constants


def check_library(page_name, folder, prefix):
    headers = sorted((source.ROOT / folder).glob("*.h"))
    functions, structures, constants = declarations(headers, prefix)
    page = page_of(page_name)
    reference = page.partition("# EXAMPLES")[0]
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", reference, re.M | re.S))
    shown = squeezed(blocks)
    heads = [name for head, _ in items(reference) for name in re.findall(r"\*(\w+)\*\(\)", head)]
    compare("function", list(functions), heads, page_name)
    in_blocks = re.findall(rf"\b({prefix.lower()}_\w+)\)?\(", blocks)
    callbacks = re.findall(r"^typedef \w+ \(?\*?(\w+)\)?\(", "\n".join(
        path.read_text() for path in headers), re.M)
    compare("prototype", list(functions) + callbacks, in_blocks, page_name)
    for name, prototype in functions.items():
        if f"{prototype};" not in shown:
            problems.append(f"{page_name}: the prototype of {name} is another one: {prototype}")
    for name, definition in structures.items():
        if definition not in shown:
            problems.append(f"{page_name}: struct {name} is another one, or missing")
    for name, number in re.findall(rf"\*({prefix}_\w+)\* \((\d+)\)", page):
        if not any(re.search(rf"\b{name} = {number}\b", path.read_text()) for path in headers):
            problems.append(f"{page_name}: the number of {name} is not {number}")
    compare("constant", constants, dict.fromkeys(re.findall(rf"\b{prefix}_[A-Z][A-Z0-9_]*", page)),
            page_name)
    for header in headers:
        if f"{header.parent.name}/{header.name}" not in page:
            problems.append(f"{page_name}: the header {header.name} is missing")


check_options()
check_daemon_flags()
check_client_flags()
check_environment()
check_admin()
check_events()
check_units()
check_commands()
check_protocol()
check_statistics()
check_library("libact.3", "tree/include/act", "ACT")
check_library("libactc.3", "client/include/actc", "ACTC")
source.end(problems)
