"""libact as others use it: installed below a prefix, found by pkg-config, linked both ways."""

import json
import os
import shutil
import subprocess

import pytest

from lib import paths

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


def build_option(name):
    options = subprocess.run(["meson", "introspect", "--buildoptions", paths.BUILD],
                             capture_output=True, check=True).stdout
    return next(option["value"] for option in json.loads(options) if option["name"] == name)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The root directory of an installation."""
    for tool in ("meson", "pkg-config", "cc"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}")
    root = tmp_path_factory.mktemp("root")
    subprocess.run(["meson", "install", "-C", paths.BUILD, "--no-rebuild", "--destdir", root],
                   check=True, stdout=subprocess.DEVNULL)
    return root


def find(root, name):
    return next(path for path in root.rglob(name))


def pkg_config(root, *arguments):
    directory = find(root, "libact.pc").parent
    environment = os.environ | {"PKG_CONFIG_PATH": str(directory),
                                "PKG_CONFIG_SYSROOT_DIR": str(root)}
    return subprocess.run(["pkg-config", *arguments, "libact"], env=environment, check=True,
                          capture_output=True, text=True).stdout.split()


def compile_user(root, program, *libraries):
    sanitize = build_option("b_sanitize")
    flags = [] if sanitize == "none" else [f"-fsanitize={sanitize}"]
    cflags = pkg_config(root, "--cflags")
    subprocess.run(["cc", "-Wall", "-Werror", *flags, *cflags, "-o", program, SOURCE, *libraries],
                   check=True)


def run(program, directory, root):
    environment = os.environ | {"LD_LIBRARY_PATH": str(find(root, "libact.so").parent)}
    return subprocess.run([program, directory / "made.act"], env=environment, check=True,
                          capture_output=True, text=True).stdout


def test_the_shared_library_is_found_by_pkg_config(installed, tmp_path):
    program = tmp_path / "user"
    compile_user(installed, program, *pkg_config(installed, "--libs"))
    assert run(program, tmp_path, installed) == WANTED


def test_the_static_library_links_alone(installed, tmp_path):
    """With what its private dependencies ask for, and nothing of this project beside it."""
    program = tmp_path / "user"
    libraries = pkg_config(installed, "--libs", "--static")
    others = [flag for flag in libraries if flag != "-lact" and not flag.startswith("-L")]
    compile_user(installed, program, find(installed, "libact.a"), *others)
    assert run(program, tmp_path, installed) == WANTED


def test_the_headers_need_nothing_of_ours(installed, tmp_path):
    """Each of them alone, in C and in C++, with warnings as errors."""
    cflags = pkg_config(installed, "--cflags")
    headers = sorted(path.name for path in find(installed, "act.h").parent.iterdir())
    assert headers == ["act.h", "builder.h", "cursor.h", "verify.h"]
    compilers = [["cc", "-std=c11"], ["c++", "-std=c++11"]]
    for compiler in compilers:
        if not shutil.which(compiler[0]):
            continue
        for header in headers:
            source = tmp_path / ("user.c" if compiler[0] == "cc" else "user.cc")
            source.write_text(f"#include <act/{header}>\nint main(void) {{ return 0; }}\n")
            subprocess.run([*compiler, "-Wall", "-Wextra", "-pedantic", "-Werror", *cflags, "-o",
                            tmp_path / "empty", source], check=True)
