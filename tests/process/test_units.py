"""The units, as they are installed: what systemd's own tools say of them, and what they promise."""

import configparser
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from lib import installed, paths

UNITS = ["actd.service", "actd-unix.socket", "actd-admin.socket", "actd-tcp.socket"]
TEMPLATES = [name.replace(".", "@.") for name in UNITS]
EXAMPLES = ["memory.conf", "mlock.conf", "network.conf", "tcp-instance.conf", "tcp-network.conf"]
SYSTEM = pathlib.Path("/lib/systemd/system")

pytestmark = pytest.mark.skipif(
    not shutil.which("systemd-analyze") or not SYSTEM.is_dir(), reason="needs systemd's tools"
)


class Root:
    """A directory with all that is installed, and the units of systemd itself."""

    def __init__(self, path):
        self.path = installed.install(path)
        self.prefix = pathlib.Path(installed.build_option("prefix"))
        self.units = installed.find(path, "actd.service").parent
        self.examples = path / self.prefix.relative_to("/") / "share/doc/actd/examples"
        # What ours refer to, as sysinit.target.
        shutil.copytree(SYSTEM, path / "lib/systemd/system", symlinks=True, dirs_exist_ok=True)

    def run(self, *command):
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def verify(self, unit):
        """What systemd-analyze has to say of ours; its exit status is 0 also for an unknown key."""
        result = self.run("systemd-analyze", "verify", "--man=no", f"--root={self.path}", unit)
        return [line for line in result.stderr.splitlines() if "actd" in line]

    def security(self, unit, *more):
        """The exposure of each point that is left, and the result with its threshold."""
        command = ["systemd-analyze", "security", "--offline=true", f"--root={self.path}", unit]
        points = json.loads(self.run(*command, "--json=short").stdout)
        left = {p["name"]: p["exposure"] for p in points if p["set"] is False and p["exposure"]}
        return left, self.run(*command, *more)

    def drop_in(self, example, unit):
        folder = self.path / "etc/systemd/system" / f"{unit}.d"
        folder.mkdir(parents=True)
        shutil.copy(self.examples / example, folder)
        return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return Root(tmp_path_factory.mktemp("root"))


@pytest.fixture
def drop_in(root):
    """drop_in(example, unit): used for one test."""
    made = []

    def use(example, unit):
        made.append(root.drop_in(example, unit))

    yield use
    for folder in made:
        shutil.rmtree(folder)


def text_of(root, unit):
    return (root.units / unit).read_text()


def settings(root, unit):
    """Key -> values, in their order, of all sections."""
    found = {}
    for line in text_of(root, unit).splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def instance(unit):
    return unit.replace("@.", "@one.")


def score_of(result):
    return re.search(r"Overall exposure level for \S+: ([0-9.]+) ", result.stdout)[1]


# What is installed.


def test_every_file_is_where_systemd_looks_for_it(root):
    own = {path.name for path in root.units.glob("actd*")}
    assert own == {*UNITS, *TEMPLATES}
    base = root.path / root.prefix.relative_to("/")
    for folder in ("sysusers.d", "tmpfiles.d"):
        assert {path.name for path in (base / "lib" / folder).glob("actd*")} == {"actd.conf"}
    assert {path.name for path in root.examples.iterdir()} == set(EXAMPLES)


def test_every_path_is_that_of_the_installation(root):
    for unit in [*UNITS, *TEMPLATES]:
        assert not re.search(r"@[A-Z_]+@", text_of(root, unit)), unit
    for unit in ("actd.service", "actd@.service"):
        found = settings(root, unit)
        for key in ("ExecStart", "ExecReload"):
            program = root.path / found[key][0].split()[0].lstrip("/")
            assert os.access(program, os.X_OK), program
    configuration = settings(root, "actd@.service")["ExecStart"][0].split("--config=")[1]
    defaults = root.path / pathlib.Path(configuration).parent.relative_to("/") / "actd.conf"
    assert defaults.is_file()
    assert configuration.endswith("/actd/%i.conf")


# What systemd says.


@pytest.mark.parametrize("unit", [*UNITS, *TEMPLATES])
def test_systemd_has_nothing_to_say_of_the_unit(root, unit, drop_in):
    if unit == "actd-tcp@.socket":
        drop_in("tcp-instance.conf", instance(unit))
    assert root.verify(instance(unit)) == []


def test_systemd_would_tell_of_a_key_that_it_does_not_know(root):
    folder = root.path / "etc/systemd/system/actd.service.d"
    folder.mkdir(parents=True)
    try:
        (folder / "wrong.conf").write_text("[Service]\nPrivateNetwrok=yes\n")
        assert "PrivateNetwrok" in "".join(root.verify("actd.service"))
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "example,unit",
    [
        ("memory.conf", "actd.service"),
        ("mlock.conf", "actd@one.service"),
        ("network.conf", "actd.service"),
        ("tcp-network.conf", "actd-tcp.socket"),
    ],
)
def test_systemd_has_nothing_to_say_of_the_example(root, drop_in, example, unit):
    drop_in(example, unit)
    assert root.verify(unit) == []


def test_two_trees_are_not_in_each_others_way(root):
    """Each socket has the instance in its address, but for TCP, which has none by itself."""
    for unit in ("actd-unix@.socket", "actd-admin@.socket"):
        assert [value.count("%i") for value in settings(root, unit)["ListenStream"]] == [1]
    assert "ListenStream" not in settings(root, "actd-tcp@.socket")
    assert "no Listen setting" in "".join(root.verify("actd-tcp@one.socket"))


# The sandbox.


@pytest.mark.parametrize("unit", ["actd.service", "actd@one.service"])
def test_the_exposure_is_low_and_each_point_that_is_left_is_explained(root, unit):
    left, result = root.security(unit, "--threshold=6")
    assert result.returncode == 0, result.stdout
    text = text_of(root, unit.replace("one", ""))
    assert f"gives {score_of(result)}. " in text
    explained = re.findall(r"^#   (\S+) +([0-9.]+)  \S", text, re.MULTILINE)
    names = {re.sub(r"(RootDirectory=|RestrictAddressFamilies=).*", r"\1", name): exposure
             for name, exposure in left.items()}
    assert dict(explained) == names


def test_the_example_tells_the_exposure_that_it_makes(root, drop_in):
    drop_in("network.conf", "actd.service")
    _, result = root.security("actd.service")
    text = (root.examples / "network.conf").read_text()
    assert f"then gives {score_of(result)} instead of" in text
    drop_in("mlock.conf", "actd@one.service")
    assert score_of(root.security("actd@one.service")[1]) in text


def test_instances_have_the_same_sandbox(root):
    plain, template = (settings(root, unit) for unit in ("actd.service", "actd@.service"))
    named = {"Description", "ExecStart", "ExecReload", "Sockets", "StateDirectory", "Also"}
    assert {key for key in plain.keys() | template.keys() if plain.get(key) != template.get(key)} \
        == named


# What the units and the daemon say of the same thing.


def test_sockets_have_the_names_and_addresses_that_the_programs_know(root):
    names = {unit: settings(root, unit)["FileDescriptorName"] for unit in UNITS[1:]}
    assert names == {f"actd-{name}.socket": [name] for name in ("unix", "admin", "tcp")}
    assert names == {unit.replace("@", ""): settings(root, unit)["FileDescriptorName"]
                     for unit in TEMPLATES[1:]}
    defaults = root.run(paths.ACTD, "--print-defaults").stdout
    (unix,) = settings(root, "actd-unix.socket")["ListenStream"]
    assert f"#unix = {unix}\n" in defaults
    (admin,) = settings(root, "actd-admin.socket")["ListenStream"]
    usage = root.run(paths.BUILD / "client/actctl", "--help").stdout
    assert f"unix:{admin}" in usage and f"unix:{unix}" in usage
    assert settings(root, "actd.service")["ExecReload"][0].endswith(f"--admin=unix:{admin}")


def test_the_stop_has_time_for_the_requests_in_flight(root):
    defaults = configparser.ConfigParser(strict=False)
    text = root.run(paths.ACTD, "--print-defaults").stdout
    defaults.read_string(re.sub(r"^#(?! )", "", text, flags=re.MULTILINE))
    drain_ms = int(defaults["limits"]["drain_timeout_ms"])
    (seconds,) = settings(root, "actd.service")["TimeoutStopSec"]
    assert int(seconds) * 1000 >= 2 * drain_ms


def test_comments_name_options_and_statistics_that_there_are(root):
    section, known = None, set()
    for line in root.run(paths.ACTD, "--print-defaults").stdout.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif re.match(r"#\w+ =", line):
            known.add(f"{section}.{line[1:].split()[0]}")
    sections = "|".join({name.split(".")[0] for name in known})
    statistics = (paths.ROOT / "docs/STATISTICS.md").read_text()
    files = [*(root.units / unit for unit in [*UNITS, *TEMPLATES]), *root.examples.iterdir()]
    named = set()
    for file in files:
        comments = "".join(line for line in file.read_text().splitlines(True) if line[0] == "#")
        named |= set(re.findall(rf"(?<![/\w])(?:{sections})\.(?!conf\b)\w+", comments))
        for name in re.findall(r"actd_\w+", comments):
            assert f"`{name}`" in statistics, f"{file}: {name}"
    assert {"tree.mlock", "warmup.max_bytes", "limits.drain_timeout_ms"} <= named <= known


def test_what_the_service_may_write_is_what_it_is_configured_to(root):
    found = settings(root, "actd.service")
    defaults = root.run(paths.ACTD, "--print-defaults").stdout
    tree = re.search(r"^#path = (.*)/tree.act$", defaults, re.MULTILINE)[1]
    assert tree == f"/var/lib/{found['StateDirectory'][0]}"
    (writable,) = found["ReadWritePaths"]
    assert settings(root, "actd-unix.socket")["ListenStream"][0].startswith(f"{writable[1:]}/")
    assert "RuntimeDirectory" not in found, "it would be removed with sockets in it"


# Users and directories.


def test_the_user_owns_the_directories(tmp_path, root):
    if os.geteuid() != 0:
        pytest.skip("needs root, to give directories away")
    base = root.path / root.prefix.relative_to("/") / "lib"
    (tmp_path / "etc").mkdir()
    users = root.run("systemd-sysusers", f"--root={tmp_path}", base / "sysusers.d/actd.conf")
    assert users.returncode == 0, users.stderr
    entries = [line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    (user,) = [entry for entry in entries if entry[0] == "actd"]
    assert user[5:] == ["/var/lib/actd", "/usr/sbin/nologin"]
    groups = {line.split(":")[0]: line.split(":")[2]
              for line in (tmp_path / "etc/group").read_text().splitlines()}
    assert groups["actd"] == user[3] and "actd-admin" in groups
    assert settings(root, "actd-admin.socket")["SocketGroup"] == ["actd-admin"]

    made = root.run("systemd-tmpfiles", f"--root={tmp_path}", "--create",
                    base / "tmpfiles.d/actd.conf")
    assert made.returncode == 0, made.stderr
    for path, mode in (("run/actd", 0o755), ("var/lib/actd", 0o750)):
        status = (tmp_path / path).stat()
        assert (status.st_uid, status.st_gid) == (int(user[2]), int(user[3])), path
        assert status.st_mode & 0o7777 == mode, path
