"""The manual pages parse without a warning: by mandoc where it is, else by groff's man."""

import shutil
import subprocess

import source


def lint(path):
    if shutil.which("mandoc"):
        return ["mandoc", "-T", "lint", "-W", "warning", path]
    if shutil.which("groff"):
        return ["groff", "-mandoc", "-ww", "-z", "-Tutf8", "-k", path]
    return source.skip("needs mandoc, or groff (groff-base)")


paths = [path for path in (source.ROOT / "docs").glob("*.[1-8]")]
assert paths
problems = []
for page in sorted(paths):
    result = subprocess.run(lint(page), capture_output=True, text=True)
    said = (result.stdout + result.stderr).strip()
    if said or result.returncode != 0:
        problems.append(f"{source.name_of(page)}: {said or result.returncode}")
source.end(problems)
