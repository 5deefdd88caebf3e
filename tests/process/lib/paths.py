"""Where the binary and the test data are."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = ROOT / "tests" / "data"
EDGE = DATA / "edge"
DOC = DATA / "doc"
CRAFTED = DATA / "crafted"
BUILT = DATA / "built"
CITIES = DATA / "cities.act"
SHAKESPEARE = DATA / "shakespeare.act"

# ACTD_BUILD is a build directory, as seen from the current directory or from the project's root.
_build = pathlib.Path(os.environ.get("ACTD_BUILD", "build"))
BUILD = _build.resolve() if _build.is_dir() else ROOT / _build
ACTD = BUILD / "daemon" / "actd"
