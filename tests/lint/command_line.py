"""What the command line of actctl is, from its tables."""

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
