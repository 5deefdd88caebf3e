"""Waiting, always for something and always with a deadline.

The deadline only ends a test that would hang. It is generous, so that a slow machine or a build
with sanitizers does not fail; nothing is measured against it.
"""

import time

DEADLINE_S = 120

# Between two looks at something that cannot be waited for (a statistic, a file in /proc).
POLL_S = 0.005


class Deadline(Exception):
    """What was waited for did not come."""


class Clock:
    """Counts down from DEADLINE_S."""

    def __init__(self, seconds=DEADLINE_S):
        self.end = time.monotonic() + seconds

    def left(self, what):
        left = self.end - time.monotonic()
        if left <= 0:
            raise Deadline(f"waited too long for {what}")
        return left


def eventually(look, what):
    """Calls look() until its result is true, and returns that."""
    clock = Clock()
    while True:
        result = look()
        if result:
            return result
        clock.left(what)
        time.sleep(POLL_S)
