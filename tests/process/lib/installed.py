"""The libraries as others find them: installed below a directory, found by pkg-config."""

import json
import os
import shutil
import subprocess

import pytest

from . import paths


def build_option(name):
    options = subprocess.run(["meson", "introspect", "--buildoptions", paths.BUILD],
                             capture_output=True, check=True).stdout
    return next(option["value"] for option in json.loads(options) if option["name"] == name)


def install(root):
    """Installs everything below the directory root, which is the result."""
    for tool in ("meson", "pkg-config", "cc"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}")
    subprocess.run(["meson", "install", "-C", paths.BUILD, "--no-rebuild", "--destdir", root],
                   check=True, stdout=subprocess.DEVNULL)
    return root


def find(root, name):
    return next(path for path in root.rglob(name))


def pkg_config(root, library, *arguments):
    directory = find(root, f"{library}.pc").parent
    environment = os.environ | {"PKG_CONFIG_PATH": str(directory),
                                "PKG_CONFIG_SYSROOT_DIR": str(root)}
    return subprocess.run(["pkg-config", *arguments, library], env=environment, check=True,
                          capture_output=True, text=True).stdout.split()


def compile_user(root, library, source, program, *libraries):
    """A program of somebody else's, from one source."""
    sanitize = build_option("b_sanitize")
    flags = [] if sanitize == "none" else [f"-fsanitize={sanitize}"]
    cflags = pkg_config(root, library, "--cflags")
    subprocess.run(["cc", "-Wall", "-Werror", *flags, *cflags, "-o", program, source, *libraries],
                   check=True)


def run(root, library, program, *arguments):
    """Its standard output."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(find(root, f"{library}.so").parent)}
    return subprocess.run([program, *arguments], env=environment, check=True, capture_output=True,
                          text=True).stdout


def check_header(root, library, header, directory):
    """Alone, in C and in C++, with warnings as errors."""
    for compiler in (["cc", "-std=c11"], ["c++", "-std=c++11"]):
        if not shutil.which(compiler[0]):
            continue
        source = directory / ("user.c" if compiler[0] == "cc" else "user.cc")
        source.write_text(f"#include <{header}>\nint main(void) {{ return 0; }}\n")
        subprocess.run([*compiler, "-Wall", "-Wextra", "-pedantic", "-Werror",
                        *pkg_config(root, library, "--cflags"), "-o", directory / "empty", source],
                       check=True)
