"""Fixtures, and what a skipped test means.

A test that cannot run here skips and names what is missing; with ACTD_TEST_NO_SKIP=1 that is a
failure.
"""

import contextlib
import os
import pathlib
import signal
import tempfile

import hypothesis
import pytest

import lib.seed  # noqa: F401: here, so that the workers of pytest-xdist find it drawn
from lib import paths
from lib.daemon import Daemon
from lib.notify import Manager
from lib.slow_disk import SlowDisk

# The same examples in every run; ACTD_TEST_RANDOM=1 looks for new ones.
hypothesis.settings.register_profile(
    "actd",
    deadline=None,
    database=None,
    print_blob=True,
    derandomize=not os.environ.get("ACTD_TEST_RANDOM"),
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("actd")


def pytest_configure(config):
    if not os.access(paths.ACTD, os.X_OK):
        pytest.exit(f"{paths.ACTD} is missing: build first, or set ACTD_BUILD", returncode=3)
    # Under nohup or in the background of a shell: what is ignored here would be ignored in every
    # program that a test starts.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)


# Workers take files in this order, then the others: were the last to begin a long one, a CPU would
# have nothing to do meanwhile.
# The first container takes long, for its disk is made, and the others wait for that.
LONGEST_FILES = ["test_box_install.py", "test_page.py", "test_actctl_build.py", "test_slices.py",
                 "test_oracle.py"]


def pytest_collection_modifyitems(config, items):
    """Long tests are no skipped ones: without ACTD_TEST_LONG=1 they are not there."""
    rank = {name: i for i, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))
    if os.environ.get("ACTD_TEST_LONG") == "1":
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def forbid_skip(report):
    if os.environ.get("ACTD_TEST_NO_SKIP") == "1" and report.skipped:
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, and ACTD_TEST_NO_SKIP=1: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    forbid_skip(report)
    box = item.funcargs.get("box")
    if box and report.when == "call" and report.failed:
        report.sections.append(("journal of the container", box.log()))


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report():
    outcome = yield
    forbid_skip(outcome.get_result())


@pytest.fixture
def directory():
    """Others may go there, too: what somebody else owns can be tried in it."""
    with tempfile.TemporaryDirectory(prefix="actd-") as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


@pytest.fixture
def actd():
    """actd(tree, settings): a daemon of the test's own. It must end cleanly with the test."""
    started = []

    def start(tree=paths.CITIES, settings=None, **options):
        started.append(Daemon(tree, settings, **options))
        return started[-1]

    try:
        yield start
        for daemon in started:
            daemon.stop()
    finally:
        for daemon in started:
            daemon.kill()


@pytest.fixture
def disk(tmp_path, tree):
    """The tree of the file's tests, on a disk that is as slow as they say."""
    with SlowDisk(tmp_path, tree.path) as mounted:
        yield mounted


@pytest.fixture
def manager(tmp_path):
    """A service manager, for env=manager.env."""
    with contextlib.closing(Manager(tmp_path)) as listening:
        yield listening


@pytest.fixture(scope="module")
def cities():
    """A daemon that a file's tests share: they change nothing in it."""
    with Daemon(paths.CITIES) as daemon:
        yield daemon


@pytest.fixture(params=["unix", "tcp"])
def kind(request):
    """Each test once over each kind of socket."""
    return request.param


@pytest.fixture
def client(cities, kind):
    """A connection to the shared daemon, over each kind of socket."""
    with cities.client(getattr(cities, kind)) as connection:
        yield connection
