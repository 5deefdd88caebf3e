"""What a sandbox may take away without a word: what a daemon in one tells, beside one without.

To be compared are two daemons that serve the same file with the same settings and the same number
of workers, one by the unit, one by a unit of a few lines (Type=notify, User=actd, ExecStart=) with
other addresses. Both must have the profile, the admin endpoint and tree.mlock within the limit.
"""

import re

from . import http


def leaves(value, path=""):
    """(path, value) of all that is no list and no map."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from leaves(child, f"{path}.{key}")
    elif isinstance(value, list):
        for i, child in enumerate(value):
            yield from leaves(child, f"{path}[{i}]")
    else:
        yield path, value


def is_unknown(value):
    return value is None or value == "unknown"


def lost_in(told, free):
    """What is unknown, or not there, in what one in a sandbox has told, and known to the other."""
    told = dict(leaves(told))
    return sorted(path for path, value in leaves(free)
                  if not is_unknown(value) and is_unknown(told.get(path)))


def metric_names(address):
    text = http.fetch(address, "/metrics")[2]
    return {re.split(r"[ {]", line)[0] for line in text.splitlines() if not line.startswith("#")}


def lost_by(address, free_address):
    """The same of /stats and /metrics of two admin endpoints: empty, if nothing is lost."""
    lost = lost_in(http.stats(address), http.stats(free_address))
    return lost + sorted(metric_names(free_address) - metric_names(address))


def priority(pid):
    """What a process that makes way for others has: niceness, scheduling policy, and how soon it is
    killed for want of memory. Of a check, a warm-up and a verification: (10, 3, 1000)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/oom_score_adj", encoding="ascii") as file:
        return int(fields[16]), int(fields[38]), int(file.read())
