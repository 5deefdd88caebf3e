"""libact as others use it: installed below a prefix, found by pkg-config, linked both ways."""

import pytest

from lib import installed, paths

SOURCE = paths.ROOT / "tests" / "process" / "libact_user.c"
WANTED = """built 5
bar=0
barrel=1
dog=2
elog=3
fog=4
dog is 2
longest prefix 6
verified 5: 0
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The root directory of an installation."""
    return installed.install(tmp_path_factory.mktemp("root"))


def test_the_shared_library_is_found_by_pkg_config(root, tmp_path):
    program = tmp_path / "user"
    libraries = installed.pkg_config(root, "libact", "--libs")
    installed.compile_user(root, "libact", SOURCE, program, *libraries)
    assert installed.run(root, "libact", program, tmp_path / "made.act") == WANTED


def test_the_static_library_links_alone(root, tmp_path):
    """With what its private dependencies ask for, and nothing of this project beside it."""
    program = tmp_path / "user"
    libraries = installed.pkg_config(root, "libact", "--libs", "--static")
    others = [flag for flag in libraries if flag != "-lact" and not flag.startswith("-L")]
    installed.compile_user(root, "libact", SOURCE, program, installed.find(root, "libact.a"),
                           *others)
    assert installed.run(root, "libact", program, tmp_path / "made.act") == WANTED


def test_the_headers_need_nothing_of_ours(root, tmp_path):
    headers = sorted(path.name for path in installed.find(root, "act.h").parent.iterdir())
    names = ["act", "builder", "cursor", "pages", "residency", "verify", "warm"]
    assert headers == [f"{name}.h" for name in names]
    for header in headers:
        installed.check_header(root, "libact", f"act/{header}", tmp_path)
