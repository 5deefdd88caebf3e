"""What the command lines of actctl and actd take, from their tables."""

import re

import source


def option_rows():
    """[(ID, name, letter or nothing, has a value)]"""
    rows = source.x_table("client/actctl/options.h", "OPTIONS")
    return [(row[0], row[1].strip('"'), row[2].strip("'") if row[2][0] == "'" else "",
             row[3] != '""') for row in rows]


def option_sets():
    """{command: the options that it takes, in the order of their table}"""
    text = re.sub(r"\\\n", " ", source.read("client/actctl/main.c"))
    sets = dict(re.findall(r"^#define (\w+) +((?:\w+ *\| *)*\w+)$", text, re.M))
    order = [(row[0], row[1]) for row in option_rows()]

    def expand(expression):
        ids = set()
        for name in re.findall(r"\w+", expression):
            ids |= {name[6:]} if name.startswith("TAKES_") else expand(sets[name])
        return ids

    rows = source.x_table("client/actctl/main.c", "COMMANDS")
    return {row[1].strip('"'): [name for id, name in order if id in expand(row[5])]
            for row in rows}


def names_in(text, array):
    """The strings of an array of C, by its name."""
    match = re.search(rf"\b{array}\[\d*\] = \{{(.*?)\}};", text, re.S)
    return re.findall(r'"([^"]+)"', match[1])


def config_values():
    """{section.key: its few values, or FILE, or nothing}"""
    text = source.read("daemon/config_options.c")
    rows = re.split(r'^    (?=\{"\w+", "\w+", CONFIG_)', text.partition("\n};")[0], flags=re.M)[1:]
    result = {}
    for row in rows:
        group, key, kind, default, _, _, choices = re.match(
            r'\{"(\w+)",\s*"(\w+)",\s*CONFIG_(\w+),\s*FIELD\(\w+\),\s*("[^"]*"|NULL),'
            r'\s*([^,]+),\s*([^,]+),\s*(\w+),', row).groups()
        values = ["FILE"] if kind in ("PATH", "UNIX") else []
        if kind == "CHOICE":
            values = names_in(text, choices)
        elif kind == "NUMBER" and default == '"auto"':
            values = ["auto"]
        result[f"{group}.{key}"] = values
    return result
