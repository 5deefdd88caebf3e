"""The Debian packages: what is in them, what they depend on, and that it works."""

import gzip
import os
import pathlib
import re
import shutil
import stat
import subprocess

import pytest

from lib import debian, installed, paths
from lib.daemon import Daemon
from lib.debian import NAMES, Package

DOCUMENTS = ["changelog.gz", "copyright"]
UNITS = [f"actd{part}{at}.{kind}" for at in ("", "@")
         for part, kind in (("", "service"), ("-admin", "socket"), ("-tcp", "socket"),
                            ("-unix", "socket"))]


def below(directory, *names):
    return {f"{directory}/{name}" for name in names}


def documents(package, *names):
    return below(f"/usr/share/doc/{package}", *DOCUMENTS, *names)


def wanted_files():
    """{package: what it has, without directories}"""
    libraries = f"/usr/lib/{debian.multiarch()}"
    return {
        "actd": {
            "/etc/actd/actd.conf",
            "/usr/lib/systemd/catalog/actd.catalog",
            "/usr/lib/sysusers.d/actd.conf",
            "/usr/lib/tmpfiles.d/actd.conf",
            "/usr/sbin/actd",
            "/usr/share/bash-completion/completions/actd",
            *below("/lib/systemd/system", *UNITS),
            *below("/usr/share/man", "man5/actd.conf.5.gz", "man7/actd-events.7.gz",
                   "man7/actd-protocol.7.gz", "man7/actd-statistics.7.gz", "man8/actd.8.gz"),
            *documents("actd", "EVENTS.md.gz", "NEWS.md.gz", "PROFILE.md", "PROTOCOL.md.gz",
                       "README.Debian", "README.md.gz", "STATISTICS.md.gz"),
            *below("/usr/share/doc/actd/examples", "memory.conf", "mlock.conf", "network.conf",
                   "tcp-instance.conf", "tcp-network.conf"),
        },
        "actctl": {
            "/usr/bin/actctl",
            "/usr/share/bash-completion/completions/actctl",
            "/usr/share/man/man1/actctl.1.gz",
            *documents("actctl"),
        },
        "libact0": {
            *below(libraries, "libact.so.0", "libact.so.0.1.0"),
            *documents("libact0"),
        },
        "libact-dev": {
            *below("/usr/include/act", "act.h", "builder.h", "cursor.h", "pages.h", "residency.h",
                   "verify.h", "warm.h"),
            *below(libraries, "libact.a", "libact.so", "pkgconfig/libact.pc"),
            "/usr/share/man/man3/libact.3.gz",
            *documents("libact-dev", "FORMAT.md.gz"),
        },
        "libactc0": {
            *below(libraries, "libactc.so.0", "libactc.so.0.1.0"),
            *documents("libactc0"),
        },
        "libactc-dev": {
            "/usr/include/actc/actc.h",
            *below(libraries, "libactc.a", "libactc.so", "pkgconfig/libactc.pc"),
            "/usr/share/man/man3/libactc.3.gz",
            *documents("libactc-dev", "PROTOCOL.md.gz", "clients.md.gz"),
        },
    }


@pytest.fixture(scope="module", params=NAMES)
def package(request):
    """Each of them."""
    return Package(request.param)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """All of them, unpacked."""
    path = tmp_path_factory.mktemp("root")
    for name in NAMES:
        Package(name).unpack(path)
    return path


# What is in them


def test_these_are_the_packages():
    assert sorted(path.name.split("_")[0] for path in debian.directory().glob("*.deb")) == NAMES
    versions = {Package(name).field("Version") for name in NAMES}
    project = re.search(r"version: '([^']+)'", (paths.ROOT / "meson.build").read_text())[1]
    assert versions == {project}


def test_a_package_has_what_it_should_have(package):
    assert set(package.members) == wanted_files()[package.field("Package")]


def test_all_belongs_to_root_and_nobody_else_may_write(package):
    for member in [*package.members.values(), *package.directories.values()]:
        assert (member.uid, member.gid) == (0, 0), member.name
        if not member.issym():
            is_program = "bin/" in member.name or member.isdir()
            assert oct(member.mode) == oct(0o755 if is_program else 0o644), member.name


def test_files_that_are_to_be_edited_are_there_to_be_kept():
    kept = {name: Package(name).control("conffiles").split() for name in NAMES}
    assert {name: files for name, files in kept.items() if files} == {
        "actd": ["/etc/actd/actd.conf"]}
    assert "/etc/actd/actd.conf.d/" in {f"{path}/" for path in Package("actd").directories}


def test_no_file_names_the_place_where_it_was_built(root):
    log = (debian.directory() / "build.log").read_bytes()
    built = re.search(rb"-ffile-prefix-map=(/\S+)=\.", log)[1]
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
            assert built not in content, path
            assert os.fsencode(paths.ROOT) + b"/" not in content, path


def test_programs_are_hardened(root):
    """Position-independent, with all relocations done at the start, and without debug symbols."""
    programs = [root / "usr/sbin/actd", root / "usr/bin/actctl",
                *(path.resolve() for path in root.rglob("lib*.so.0"))]
    assert len(programs) == 4
    for program in programs:
        told = debian.output("readelf", "-W", "-h", "-l", "-d", "-S", program, text=True)
        assert re.search(r"Type:\s+DYN", told), program
        assert "GNU_RELRO" in told and re.search(r"\bBIND_NOW\b|\bNOW\b", told), program
        assert re.search(r"GNU_STACK.* RW +0x", told), program
        assert ".debug_info" not in told, program


def test_units_run_what_is_packaged(root):
    commands = []
    for unit in (root / "lib/systemd/system").iterdir():
        text = unit.read_text()
        commands += re.findall(r"^Exec\w+=[-+!:@]*(\S+)", text, re.M)
        assert not re.search(r"@\w+@", text), unit.name
    assert set(commands) == {"/usr/sbin/actd", "/usr/bin/actctl"}
    for command in commands:
        assert os.access(root / command.lstrip("/"), os.X_OK)


def test_manual_pages_can_be_read(root):
    pages = sorted((root / "usr/share/man").rglob("*.gz"))
    assert pages
    for page in pages:
        shown = subprocess.run(["man", "--warnings", "-l", page], capture_output=True, text=True,
                               check=True, env=os.environ | {"MANPAGER": "cat", "MANWIDTH": "100",
                                                             "LC_ALL": "C.UTF-8"})
        assert "NAME" in shown.stdout and not shown.stderr, (page, shown.stderr)


def test_lintian_finds_nothing():
    if not shutil.which("lintian"):
        pytest.skip("needs lintian")
    changes = list(debian.directory().glob("*.changes"))
    found = subprocess.run(["lintian", "--allow-root", "--no-tag-display-limit", *changes],
                           capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, ""), found.stderr


# What they depend on


@pytest.mark.parametrize("name, wanted", [
    ("actd", {"actctl": "= {version}", "libcurl4": None}),
    ("actctl", {}),
    ("libact0", {}),
    ("libact-dev", {"libact0": "= {version}", "libxxhash-dev": None}),
    ("libactc0", {}),
    ("libactc-dev", {"libactc0": "= {version}", "libmsgpack-dev": None}),
])
def test_what_a_package_depends_on(name, wanted):
    package = Package(name)
    depends = package.relations("Depends")
    version = package.field("Version")
    wanted = {other: about and about.format(version=version) for other, about in wanted.items()}
    assert depends.items() >= wanted.items()
    # The rest is what its programs are linked with, and who makes the user.
    rest = {other.split()[0] for other in depends.keys() - wanted.keys()}
    linked = {"libc6", "libxxhash0", "libmsgpackc2", "libjson-c5", "libuv1", "libinih1",
              "libmicrohttpd12", "libsystemd0", "systemd"}
    assert rest <= linked, f"{rest - linked}: is it wanted?"
    if not name.endswith("-dev"):
        assert depends["libc6"].startswith(">= ")
    if name == "actd":
        assert "systemd | systemd-standalone-sysusers | systemd-sysusers" in depends


def test_libcurl_is_recommended_and_not_linked(root):
    """actctl loads it for what needs it; actd's units do, so there it is no recommendation."""
    assert "libcurl4" in Package("actctl").relations("Recommends")
    assert "curl" not in debian.output("readelf", "-d", root / "usr/bin/actctl", text=True)


@pytest.mark.parametrize("library, prefix", [("libact", "act"), ("libactc", "actc")])
def test_programs_may_use_what_the_headers_say_and_nothing_else(root, library, prefix):
    headers = root / "usr/include" / prefix
    text = "\n".join(path.read_text() for path in headers.iterdir())
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    public = re.findall(rf"{prefix.upper()}_PUBLIC\s[^;{{]*?\b({prefix}_\w+)\(", text)
    package = Package(f"{library}0")
    promised = re.findall(r"^ (\w+)@Base (\S+)$", package.control("symbols"), re.M)
    file = installed.find(root, f"{library}.so.0").resolve()
    exported = [line.split()[-1] for line in
                debian.output("nm", "-D", "--defined-only", file, text=True).splitlines()]
    assert sorted(exported) == sorted(public) == sorted(name for name, _ in promised)
    assert package.control("shlibs").split()[:2] == [library, "0"]


# That it works


def user(root, library, linked, tmp_path):
    """Somebody else's program, against what the -dev package has."""
    program = tmp_path / f"{library}-{linked}"
    libraries = installed.pkg_config(root, library, "--libs", *(
        ["--static"] if linked == "static" else []))
    if linked == "static":
        archive = installed.find(root, f"{library}.a")
        libraries = [archive if flag == f"-l{library[3:]}" else flag for flag in libraries]
    source = paths.ROOT / "tests" / "process" / f"{library}_user.c"
    installed.compile_user(root, library, source, program, *libraries)
    return program


@pytest.mark.parametrize("linked", ["shared", "static"])
def test_a_program_built_with_libact_dev(root, tmp_path, linked):
    program = user(root, "libact", linked, tmp_path)
    told = installed.run(root, "libact", program, tmp_path / "made.act")
    assert told.startswith("built 5\nbar=0\n") and told.endswith("verified 5: 0\n")
    needed = debian.output("readelf", "-d", program, text=True)
    assert ("libact.so.0" in needed) == (linked == "shared")


@pytest.mark.parametrize("linked", ["shared", "static"])
def test_a_program_built_with_libactc_dev_asks_the_packaged_daemon(root, tmp_path, linked):
    program = user(root, "libactc", linked, tmp_path)
    with Daemon(paths.CITIES, program=root / "usr/sbin/actd") as daemon:
        told = installed.run(root, "libactc", program, f"unix:{daemon.unix[1]}", "Paris")
        asked = debian.output(root / "usr/bin/actctl", "-s", f"unix:{daemon.unix[1]}", "get",
                              "Paris", text=True)
        daemon.stop()
    value = asked.split()[-1]
    assert value.isdigit() and f"get {value}\n" in told


# Installing them


class Installation:
    """A directory into which dpkg installs, its scripts run from outside."""

    def __init__(self, root):
        self.root = root
        for name in ("etc", "run", "usr", "var/lib/dpkg/updates", "var/lib/dpkg/info"):
            (root / name).mkdir(parents=True)
        for name in ("status", "available"):
            (root / "var/lib/dpkg" / name).touch()

    def dpkg(self, *arguments):
        told = subprocess.run(
            ["dpkg", f"--root={self.root}", "--force-script-chrootless", "--force-depends",
             "--force-confold", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
            env=os.environ | {"LC_ALL": "C.UTF-8"})
        assert told.returncode == 0, told.stdout

    def path(self, name):
        return self.root / name.lstrip("/")

    def owner(self, name):
        """Names of user and group, as they are called in there, and the mode."""
        users, groups = ({int(line.split(":")[2]): line.split(":")[0] for line in
                          self.path(file).read_text().splitlines()}
                         for file in ("/etc/passwd", "/etc/group"))
        status = self.path(name).stat()
        return users[status.st_uid], groups[status.st_gid], oct(status.st_mode & 0o7777)


@pytest.fixture
def installation(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root: dpkg gives files their owners")
    for tool in ("systemd-sysusers", "systemd-tmpfiles", "deb-systemd-helper"):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool}")
    made = Installation(tmp_path / "root")
    made.dpkg("--install", Package("actd").path)
    return made


def enabled(installation):
    links = installation.path("/etc/systemd/system")
    return sorted(path.name for path in links.rglob("*") if path.is_symlink())


def test_an_installation_makes_users_and_directories_and_enables_nothing(installation):
    assert installation.owner("/var/lib/actd") == ("actd", "actd", "0o750")
    assert installation.owner("/run/actd") == ("actd", "actd", "0o755")
    assert re.search(r"^actd-admin:", installation.path("/etc/group").read_text(), re.M)
    assert enabled(installation) == []


def test_an_upgrade_keeps_what_was_changed(installation):
    installation.path("/etc/actd/actd.conf").write_text("[log]\nlevel = debug\n")
    installation.path("/etc/actd/actd.conf.d/own.conf").write_text("[log]\nlevel = info\n")
    installation.path("/var/lib/actd/tree.act").write_bytes(b"a tree")
    installation.dpkg("--install", Package("actd").path)
    assert "debug" in installation.path("/etc/actd/actd.conf").read_text()
    assert "info" in installation.path("/etc/actd/actd.conf.d/own.conf").read_text()
    assert installation.path("/var/lib/actd/tree.act").read_bytes() == b"a tree"


def test_a_purge_leaves_trees_and_what_is_the_operators(installation):
    state = installation.path("/var/lib/actd")
    (state / "two").mkdir()
    for name in ("warm.profile", "two/other"):
        (state / name).write_bytes(b"ACTPROF1" + bytes(56))
    kept = {"tree.act": b"ACTree03 and more", "notes": b"", "two/tree.act": b"ACTree03"}
    for name, content in kept.items():
        (state / name).write_bytes(content)
    own = installation.path("/etc/actd/actd.conf.d/own.conf")
    own.write_text("[log]\nlevel = info\n")
    wants = installation.path("/etc/systemd/system/multi-user.target.wants")
    wants.mkdir(parents=True)
    (wants / "actd@two.service").symlink_to("/lib/systemd/system/actd@.service")
    (wants / "other.service").symlink_to("/lib/systemd/system/other.service")

    installation.dpkg("--remove", "actd")
    assert installation.path("/etc/actd/actd.conf").exists()
    assert len(list(state.rglob("*"))) == 6
    installation.dpkg("--purge", "actd")
    assert not installation.path("/etc/actd/actd.conf").exists()
    assert own.exists()
    assert {str(path.relative_to(state)): path.read_bytes() for path in state.rglob("*")
            if path.is_file()} == kept
    assert enabled(installation) == ["other.service"]


def test_a_purge_leaves_no_empty_directories_and_no_sockets(installation):
    installation.path("/run/actd/two").mkdir()
    os.mknod(installation.path("/run/actd/own.sock"), stat.S_IFSOCK | 0o660)
    installation.dpkg("--purge", "actd")
    for name in ("/etc/actd", "/var/lib/actd", "/run/actd", "/usr/share/doc/actd"):
        assert not installation.path(name).exists(), name


# The script


def test_nothing_is_built_twice(tmp_path):
    """Another directory gets what it would build; the same one is left as it is."""
    directory = tmp_path / "packages"
    shutil.copytree(debian.directory(), directory)
    before = {path.name: path.stat().st_mtime_ns for path in directory.glob("*.deb")}
    told = debian.output(debian.SCRIPT, directory, text=True)
    assert {path.name: path.stat().st_mtime_ns for path in directory.glob("*.deb")} == before
    assert [pathlib.Path(line).name for line in told.splitlines()] == sorted(before)
