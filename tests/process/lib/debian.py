"""The Debian packages of this tree: where they are, and what is in one."""

import functools
import io
import os
import pathlib
import shutil
import subprocess
import tarfile

import pytest

from . import paths

SCRIPT = paths.ROOT / "scripts" / "packages"
NAMES = ["actctl", "actd", "libact-dev", "libact0", "libactc-dev", "libactc0"]


def output(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, **options).stdout


@functools.lru_cache(maxsize=None)
def directory():
    """ACTD_PACKAGES, or where they are built now, which takes no time if nothing has changed."""
    for tool in ("apt-get", "dpkg-query"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}: packages are built on Debian")
    if named := os.environ.get("ACTD_PACKAGES"):
        return pathlib.Path(named).resolve()
    built = subprocess.run([SCRIPT], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           check=False)
    assert built.returncode == 0, built.stderr
    return paths.ROOT / "build" / "packages"


@functools.lru_cache(maxsize=None)
def multiarch():
    """The directory of this architecture's libraries below /usr/lib."""
    return output("dpkg-architecture", "-qDEB_HOST_MULTIARCH", text=True).strip()


class Package:
    """One .deb."""

    def __init__(self, name):
        found = list(directory().glob(f"{name}_*.deb"))
        assert len(found) == 1, f"{name} in {directory()}: {found}"
        self.path = found[0]

    def field(self, name):
        return output("dpkg-deb", "-f", self.path, name, text=True).rstrip("\n")

    def relations(self, name):
        """{package, or alternatives as they stand there: version or None} of a field."""
        parts = [part.strip() for part in self.field(name).split(",") if part.strip()]
        split = [part.partition(" (") for part in parts]
        return {name: version.rstrip(")") or None for name, _, version in split}

    @functools.cached_property
    def members(self):
        """{path from /: its TarInfo} of what is no directory."""
        with self._open() as archive:
            return {member.name.removeprefix("."): member for member in archive.getmembers()
                    if not member.isdir()}

    @functools.cached_property
    def directories(self):
        """{path from /: its TarInfo}"""
        with self._open() as archive:
            return {member.name.removeprefix("."): member for member in archive.getmembers()
                    if member.isdir()}

    def control(self, name):
        """A file of its control archive, "" if it has none of this name."""
        archive = tarfile.open(fileobj=io.BytesIO(output("dpkg-deb", "--ctrl-tarfile", self.path)))
        with archive:
            if f"./{name}" not in archive.getnames():
                return ""
            return archive.extractfile(f"./{name}").read().decode()

    def unpack(self, root):
        subprocess.run(["dpkg-deb", "-x", self.path, root], check=True)

    def _open(self):
        return tarfile.open(fileobj=io.BytesIO(output("dpkg-deb", "--fsys-tarfile", self.path)))
