"""Files of at most 800 lines, functions of at most 80 (tables in them do not count), lines of at
most 100 columns."""

import re

import source

FILE_LINES = 800
FUNCTION_LINES = 80
COLUMNS = 100


def functions(lines):
    """(first line, lines) of each function: the style puts its braces alone at the left."""
    start, is_table, length = None, False, 0
    for number, line in enumerate(lines, 1):
        if line == "{":
            start, length = number, 0
        is_table = is_table or bool(re.match(r"    \S.*\] = \{$", line))
        length += not is_table
        if line == "    };":
            is_table = False
        if line == "}" and start:
            yield start, length
            start = None


def check_file(path):
    name = source.name_of(path)
    lines = path.read_text().split("\n")
    problems = []
    if len(lines) > FILE_LINES:
        problems.append(f"{name}: {len(lines)} lines: split it (at most {FILE_LINES})")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS:
            problems.append(f"{name}:{number}: {len(line)} columns (at most {COLUMNS})")
    if path.suffix in (".c", ".h"):
        for start, length in functions(lines):
            if length > FUNCTION_LINES:
                problems.append(f"{name}:{start}: a function of {length} lines: split it")
    return problems


paths = source.files([*source.CODE_FOLDERS, "scripts"], ".c", ".h", ".py", ".sh")
source.end([problem for path in paths for problem in check_file(path)])
