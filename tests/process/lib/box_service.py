"""actd.service in a container: files, configuration and units for a test, and none of them left for
the next one."""

import shutil

import pytest

from . import box_root, rpc, versions
from .box import Box

SOCKETS = ["actd-unix.socket", "actd-tcp.socket", "actd-admin.socket"]

# Enough to see that one of several is replaced, on machines of any size.
TWO_WORKERS = {"daemon.workers": 2}

# No test wants to wait, and none wants the limit of starts unless it says so. It stays from test to
# test, since systemd takes half a second to read its units anew.
HASTY = {"Unit": {"StartLimitIntervalSec": 0}, "Service": {"RestartSec": "50ms"}}
HASTY_NAME = "40-hasty.conf"


def ini(sections):
    """Text of {section: {key: value, or a list of values}}."""
    lines = []
    for section, keys in sections.items():
        lines.append(f"[{section}]")
        for key, values in keys.items():
            for value in values if isinstance(values, list) else [values]:
                lines.append(f"{key}={value}")
    return "\n".join(lines) + "\n"


def config(settings):
    """actd.conf of {"section.key": value}."""
    sections = {}
    for name, value in settings.items():
        section, key = name.split(".")
        sections.setdefault(section, {})[key] = value
    return ini(sections).replace("=", " = ")


class Service:
    """actd.service, or an instance of actd@.service, and its sockets."""

    def __init__(self, box, instance=None):
        self.box, self.instance = box, instance
        at = f"@{instance}" if instance else ""
        self.unit = f"actd{at}.service"
        self.sockets = [socket.replace(".", f"{at}.") for socket in SOCKETS]
        self.config_path = f"/etc/actd/{instance}.conf" if instance else (
            "/etc/actd/actd.conf.d/test.conf")
        self.tree = f"/var/lib/actd/{instance or 'tree'}.act"

    # Before it starts.

    def configure(self, settings=None):
        own = {"tree.path": self.tree} if self.instance else {}
        self.box.write(self.config_path, config({**TWO_WORKERS, **own, **(settings or {})}))

    def drop_in(self, sections, unit=None):
        """More [Section] key = value for the unit, or for another one."""
        self.box.write(f"/etc/systemd/system/{unit or self.unit}.d/50-test.conf", ini(sections))
        self.box.systemctl("daemon-reload")

    def put(self, tree):
        self.box.put(tree, self.tree)

    def put_bytes(self, data):
        self.box.put_bytes(data, self.tree)

    # Its life.

    def ctl(self, verb, **options):
        return self.box.systemctl(verb, self.unit, **options)

    def listen(self):
        self.box.systemctl("start", *self.sockets)

    def start(self):
        self.ctl("start")

    def show(self, *names):
        return self.box.show(self.unit, *names)

    def wait_show(self, **wanted):
        return self.box.wait_show(self.unit, **wanted)

    def is_active(self):
        return self.ctl("is-active", status=None).stdout.strip()

    def main_pid(self):
        return self.box.main_pid(self.unit)

    # What it serves. Named as in lib.daemon, for who takes a daemon.

    @property
    def unix(self):
        return self.box.unix(self.instance)

    @property
    def admin_unix(self):
        return self.box.admin(self.instance)

    @property
    def tcp(self):
        return self.box.tcp()

    def client(self, address=None):
        return rpc.Client(address or self.unix)

    def stats(self):
        return self.box.stats(self.instance)

    def served(self):
        """The version that it answers from."""
        return versions.served(self)

    def generation(self):
        with self.client() as client:
            return client.call("hello")["generation"]


def reset(box):
    """Nothing runs, and nothing is there that a test has put there."""
    box.systemctl("stop", "actd*.service", "actd*.socket")
    drop_ins = [path for path in box.path("/etc/systemd/system").glob("actd*.d/*")
                if path.name != HASTY_NAME]
    for path in [*drop_ins, *box.path("/etc/actd").glob("*.conf"),
                 *box.path("/etc/actd/actd.conf.d").glob("*.conf")]:
        if path.name != "actd.conf":
            path.unlink()
    for path in [*box.path("/var/lib/actd").iterdir(), *box.path("/run/actd").iterdir()]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if drop_ins:
        box.systemctl("daemon-reload")
    box.systemctl("reset-failed")


def hurry(box):
    for unit in ("actd.service", "actd@.service"):
        box.write(f"/etc/systemd/system/{unit}.d/{HASTY_NAME}", ini(HASTY))
    box.systemctl("daemon-reload")


@pytest.fixture(scope="module")
def box():
    """One that a file's tests share, with the packages installed and nothing of them enabled."""
    box_root.skip_unless_possible()
    with Box(box_root.installed()) as made:
        hurry(made)
        yield made


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """trees[n] is version n of a tree, from 1."""
    directory = tmp_path_factory.mktemp("versions")
    return [None, *(versions.build(directory / f"{n}.act", n) for n in range(1, 4))]


@pytest.fixture
def service(box, trees):
    """actd.service with version 1 of the tree; its sockets listen, it has not started."""
    reset(box)
    made = Service(box)
    made.put(trees[1])
    made.configure()
    made.listen()
    return made
