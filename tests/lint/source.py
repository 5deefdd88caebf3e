"""What the lint tests share: the project's files, and how what is wrong is told."""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE_FOLDERS = ["base", "tree", "proto", "daemon", "client"]
CODE_FOLDERS = [*SOURCE_FOLDERS, "bench", "tests"]

SKIPPED = 77  # meson's status for a test that could not run


def files(folders, *suffixes):
    """The files below the folders with one of these suffixes, in a fixed order."""
    found = []
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in suffixes:
                found.append(path)
    return sorted(found)


def name_of(path):
    return str(path.relative_to(ROOT))


def read(name):
    return (ROOT / name).read_text()


def without_comments(text):
    """C without its comments and strings' contents; lines stay where they are."""

    def blank(match):
        found = match.group(0)
        if found.startswith('"'):
            return '""'
        return "\n" * found.count("\n")

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def x_table(name, macro):
    """The rows of an X-table: lists of their fields as text."""
    text = re.sub(r"\\\n", " ", read(name))
    match = re.search(rf"^#define {macro}\(X\)(.*)$", text, re.M)
    assert match, f"{name} has no table {macro}"
    rows = []
    row = r'X\(((?:[^()"]|"(?:\\.|[^"\\])*")*)\)'
    for fields in re.findall(row, match.group(1)):
        split = re.findall(r'\s*((?:"(?:\\.|[^"\\])*"|[^,"])+)', fields)
        rows.append([field.strip() for field in split])
    assert rows, f"the table {macro} in {name} is not understood"
    return rows


def made_page(name):
    """actd-NAME(7), which is made of NAME.md in capitals: scdoc's input."""
    document = ROOT / "docs" / f"{name.upper()}.md"
    command = [sys.executable, ROOT / "docs" / "page.py", document, f"actd-{name}(7)", "a summary"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def skip(reason):
    print(f"skipped: {reason}")
    sys.exit(1 if os.environ.get("ACTD_TEST_NO_SKIP") == "1" else SKIPPED)


def end(problems):
    """Prints what is wrong, all of it, and ends with the test's status."""
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems" if problems else "nothing is wrong")
    sys.exit(1 if problems else 0)
