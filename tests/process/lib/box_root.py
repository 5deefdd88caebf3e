"""What the containers of the tests have on their disk: a minimal Debian, made once with mmdebstrap
from where the host gets its packages, and the same with the project's packages installed. Both are
kept in the build directory, until something else belongs into them."""

import contextlib
import fcntl
import hashlib
import inspect
import os
import re
import shutil
import subprocess
import uuid

import pytest

from . import debian, paths
from .waiting import Clock

DIRECTORY = paths.BUILD / "box"

# With what the packages depend on. Not the host's own: what they need and do not say is missing.
SYSTEM_PACKAGES = ["systemd", "systemd-sysv", "dbus"]

# No part of what is tested, and much to copy.
LEFT_OUT = ["/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*", "/usr/share/info/*",
            "/usr/share/zoneinfo/*"]

# How long what fetches packages may take: it is not about us.
MAKE_S = 900

TOOLS = {"systemd-nspawn": "systemd-container", "mmdebstrap": "mmdebstrap", "nsenter": "util-linux",
         "apt-get": "apt", "dpkg-deb": "dpkg"}


def skip_unless_possible():
    if os.geteuid() != 0:
        pytest.skip("needs root: makes a container")
    for tool, package in TOOLS.items():
        if not shutil.which(tool):
            pytest.skip(f"needs {tool} (package {package})")


def debs():
    """The project's packages; those with what debuggers want are not for installing."""
    found = sorted(debian.directory().glob("*.deb"))
    return [path for path in found if "-dbgsym_" not in path.name]


def output(*command):
    done = subprocess.run([str(part) for part in command], check=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True, timeout=Clock().left(command[0]))
    return done.stdout


def dependencies():
    """Names of the packages of others that ours depend on."""
    ours, needed = set(), set()
    for deb in debs():
        ours.add(output("dpkg-deb", "-f", deb, "Package").strip())
        fields = output("dpkg-deb", "-f", deb, "Depends", "Pre-Depends")
        for line in re.sub(r"^[A-Za-z-]+:", "", fields, flags=re.M).replace("\n ", " ").split("\n"):
            for clause in filter(None, map(str.strip, line.split(","))):
                needed.add(re.match(r"[a-z0-9.+-]+", clause)[0])
    return sorted(needed - ours)


def sources():
    """(suite, sources.list) of the Debian that the host is."""

    def look():
        lines = output("apt-get", "indextargets", "--format",
                       "$(ORIGIN)|$(CREATED_BY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)").split("\n")
        targets = [line.split("|") for line in lines]
        return [target[2:] for target in targets if target[:2] == ["Debian", "Packages"]]

    found = look()
    if not found:
        subprocess.run(["apt-get", "-qq", "update"], check=True, stdin=subprocess.DEVNULL,
                       timeout=MAKE_S)
        found = look()
    if not found:
        pytest.skip("needs Debian's own package sources: apt has none")
    suite = min((release for _, release, _ in found), key=len)
    # Of the host's release only: what it may have beside it for newer packages is not minimal.
    wanted = [source for source in found if source[1].split("-")[0] == suite.split("-")[0]]
    return suite, "".join(f"deb {uri} {release} {part}\n" for uri, release, part in wanted)


@contextlib.contextmanager
def lock():
    """One of all pytest workers at a time."""
    DIRECTORY.mkdir(exist_ok=True)
    with open(DIRECTORY / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made(kind, key, make):
    """The directory with that content: made by make(directory) where it is not there yet."""
    final = DIRECTORY / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if not final.exists():
        for old in DIRECTORY.glob(f"{kind}-*"):
            shutil.rmtree(old)
        new = DIRECTORY / f"{kind}-new"
        make(new)
        new.rename(final)
    return final


def make_base(root):
    suite, lines = sources()
    wanted = ",".join(SYSTEM_PACKAGES + dependencies())
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", f"--include={wanted}",
               "--keyring=/usr/share/keyrings", '--aptopt=Acquire::Languages "none"',
               '--aptopt=APT::Install-Recommends "false"',
               # Nobody minds if it has to be made again after a power failure.
               "--dpkgopt=force-unsafe-io",
               *[f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]]
    made = subprocess.run([*command, suite, root, "-"], input=lines, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=MAKE_S)
    assert made.returncode == 0, f"mmdebstrap failed:\n{made.stdout}"
    # Without one systemd takes it for the first start, and enables what distributions like to have.
    (root / "etc" / "machine-id").write_text(uuid.uuid4().hex + "\n")
    (root / "etc" / "hostname").write_text("box\n")
    # apt's own would hold its lock when a test wants it.
    for timer in (root / "etc" / "systemd" / "system" / "timers.target.wants").iterdir():
        timer.unlink()


def base():
    """The minimal Debian. With the lock."""
    recipe = inspect.getsource(make_base) + " ".join(LEFT_OUT + SYSTEM_PACKAGES)
    return made("base", recipe + " ".join(dependencies()), make_base)


def fresh():
    """A list of directories for a container on which our packages were never installed."""
    with lock():
        return [base()]


def installed():
    """The same with our packages, installed by apt-get where systemd was not running."""
    from .box import install_offline

    def make(root):
        output("cp", "-a", "--reflink=auto", base(), root)
        install_offline(root, debian.directory(), [path.name for path in debs()])

    with lock():
        content = "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in debs())
        return [made("installed", str(base()) + content, make)]
