"""Put other files at the served path, and have actd look at them."""

import json
import os
import re
import shutil
import signal

from . import http


def put(source, path):
    """As it should be done: a copy under another name, then a rename."""
    new = path.with_name(path.name + ".new")
    shutil.copyfile(source, new)
    new.rename(path)


def remove(path):
    """Whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def post(daemon, **options):
    """POST /reload: (status, what it says)."""
    status, headers, text = http.fetch(daemon.admin_unix, "/reload", method="POST", **options)
    assert headers["Content-Type"] == "application/json", text
    return status, json.loads(text)


def accepted(daemon, **options):
    """POST /reload, which must take the file: the number of its generation."""
    status, told = post(daemon, **options)
    assert status == 200, told
    path = str(daemon.settings["tree.path"])
    assert told["path"] == path and told["size_bytes"] == os.stat(path).st_size
    assert set(told) == {"generation", "path", "size_bytes"}
    assert set(told["generation"]) == {"number", "identity"}
    return told["generation"]["number"]


def refused(daemon, **options):
    """POST /reload, which must not take the file: why."""
    status, told = post(daemon, **options)
    assert status == 409, told
    assert set(told) == {"error", "serving"}
    assert {"number", "identity"} <= set(told["serving"])
    return told["error"]


def hang_up(daemon, pattern):
    """SIGHUP: the first line of the log from then on with this pattern, as a match."""
    since = len(daemon.lines)
    daemon.send_signal(signal.SIGHUP)
    return daemon.wait_log(pattern, since)


def served_line(number):
    return rf"generation {number} \(identity \d+\): .*: all workers serve it"


def wait_served(daemon, number, since=0):
    """Until the log tells that all workers serve it."""
    return daemon.wait_log(served_line(number), since)


def refused_by_hang_up(daemon):
    """SIGHUP, for a file that must not be taken: why, as the log says."""
    match = hang_up(daemon, r"actd error: (.*); generation \d+ \(identity \d+, \d+ bytes\) goes on")
    return match.group(1)


def generation_lines(daemon):
    """The numbers that the log says are served, in its order."""
    return [int(n) for n in re.findall(r"generation (\d+) \([^)]*\): .*all workers", daemon.log)]
