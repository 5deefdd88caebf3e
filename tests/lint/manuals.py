"""The manual pages parse without a warning: by scdoc, and what it makes by groff and by mandoc."""

import shutil
import subprocess

import source

# scdoc begins each paragraph so, also the first one of a section, where it means nothing.
HARMLESS = "skipping paragraph macro"


def output_of(*command, text):
    result = subprocess.run(command, input=text, capture_output=True)
    said = (result.stdout + result.stderr).decode(errors="replace")
    lines = [line for line in said.split("\n") if line.strip() and HARMLESS not in line]
    return "\n".join(lines) or (str(result.returncode) if result.returncode > 2 else "")


def pages():
    """(name, scdoc's input)"""
    for path in sorted((source.ROOT / "docs").glob("*.[1-8].scd")):
        yield source.name_of(path), path.read_bytes()
    for name in ("events", "statistics"):
        yield f"actd-{name}.7", source.made_page(name).encode()


if not shutil.which("scdoc"):
    source.skip("needs scdoc")
if not shutil.which("groff"):
    source.skip("needs groff (groff-base)")
checks = [["groff", "-man", "-ww", "-z", "-Tutf8", "-k"]]
if shutil.which("mandoc"):
    checks.append(["mandoc", "-T", "lint", "-W", "warning"])
problems = []
for name, text in pages():
    made = subprocess.run(["scdoc"], input=text, capture_output=True)
    if made.returncode != 0:
        problems.append(f"{name}: scdoc: {made.stderr.decode().strip()}")
        continue
    for check in checks:
        if said := output_of(*check, text=made.stdout):
            problems.append(f"{name}: {check[0]}: {said}")
source.end(problems)
