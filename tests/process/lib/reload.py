"""Put other files at the served path, and have actd look at them."""

import datetime
import json
import os
import re
import shutil
import signal

from . import http, versions
from .waiting import eventually


def put(source, path):
    """As it should be done: a copy under another name, then a rename."""
    new = path.with_name(path.name + ".new")
    shutil.copyfile(source, new)
    new.rename(path)


def put_bytes(data, path):
    """The same with these bytes."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(data)
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


class Asking:
    """POST /reload, on its way."""

    def __init__(self, daemon):
        self.connection = http.Connection(daemon.admin_unix)
        self.connection.request("POST", "/reload")
        # These come later, and the second one in a later turn: then ours has been read.
        for _ in range(2):
            http.fetch(daemon.admin_unix, "/livez")

    def answer(self):
        """(status, what it says)."""
        response = self.connection.getresponse()
        status, told = response.status, json.loads(response.read())
        self.connection.close()
        return status, told

    def leave(self):
        """Without having heard an answer."""
        self.connection.close()


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


def time_served(daemon, number):
    """When it was that all workers served it, by the log: Unix time."""
    text = daemon.wait_log(r"^(\S+)Z .*" + served_line(number)).group(1)
    return datetime.datetime.fromisoformat(text + "+00:00").timestamp()


def refused_by_hang_up(daemon):
    """SIGHUP, for a file that must not be taken: why, as the log says."""
    before = daemon.stat("tree", "refused")
    match = hang_up(daemon, r"actd error: (.*); generation \d+ \(identity \d+, \d+ bytes\) goes on")
    # The line may still be the one of the refusal before.
    daemon.wait_stat("tree", "refused", before + 1)
    return match.group(1)


def generation_lines(daemon):
    """The numbers that the log says are served, in its order."""
    return [int(n) for n in re.findall(r"generation (\d+) \([^)]*\): .*all workers", daemon.log)]


def swap_link(link, target):
    """The symbolic link leads there from now on, without being away for a moment."""
    new = link.with_name(link.name + ".new")
    new.symlink_to(target)
    new.rename(link)


def workers(daemon, other_than=()):
    """Their process ids, once there are two and the process of no check."""
    path = f"/proc/{daemon.pid}/task/{daemon.pid}/children"

    def look():
        with open(path) as file:
            pids = [int(pid) for pid in file.read().split()]
        return len(pids) == 2 and not set(pids) & set(other_than) and pids

    return eventually(look, "two workers")


def check_steady(daemon, number=1):
    """It serves version 1 as ever."""
    assert versions.served(daemon) == 1
    with daemon.client() as client:
        assert client.call("hello")["generation"]["number"] == number
    status, _, text = http.fetch(daemon.admin_unix, "/readyz")
    assert (status, text.splitlines()[0]) == (200, "ready")
    refusal = daemon.stats()["refusal"]
    told = [f"refused: {refusal}; generation {number} goes on serving"] if refusal else []
    assert text.splitlines()[1:] == told
    assert daemon.stat("tree", "damaged") == 0
