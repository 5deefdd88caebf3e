"""A tree as a sorted list: what every query must answer, found by bisection.

Nothing here knows how a trie works.
"""

import bisect


def after_all(prefix):
    """The least byte string above everything that begins with prefix; None: there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


class Model:
    """Keys in order with their values, and what is stored without a value."""

    def __init__(self, pairs, dangling=()):
        self.values = dict(pairs)
        self.keys = sorted(self.values)
        # Every stored path: what positions exist and which bytes follow them.
        self.paths = sorted({*self.keys, *dangling})
        self.lengths = sorted({len(key) for key in self.keys})
        self.longest = max(map(len, self.paths), default=0)

    # A single key.

    def entry(self, key):
        return [key, self.values[key]]

    def get(self, key):
        return self.values.get(key)

    def exists(self, key):
        return key in self.values

    def children(self, key):
        """The bytes that can follow key."""
        found = []
        at, end = self.span(self.paths, key, after_all(key))
        if at < end and self.paths[at] == key:
            at += 1
        while at < end:
            found.append(self.paths[at][len(key)])
            above = after_all(key + bytes(found[-1:]))
            at = end if above is None else bisect.bisect_left(self.paths, above, at, end)
        return found

    def node(self, key):
        at, end = self.span(self.paths, key, after_all(key))
        # The root's position is always there.
        return {
            "exists": at < end or key == b"",
            "value": self.get(key),
            "children": bytes(self.children(key)),
        }

    def next(self, key):
        at = bisect.bisect_right(self.keys, key)
        return self.entry(self.keys[at]) if at < len(self.keys) else None

    def prev(self, key):
        at = bisect.bisect_left(self.keys, key)
        return self.entry(self.keys[at - 1]) if at else None

    # What a key begins with.

    def prefixes(self, key):
        cuts = [key[:length] for length in self.lengths if length <= len(key)]
        return [self.entry(cut) for cut in cuts if cut in self.values]

    def longest_prefix(self, key):
        found = self.prefixes(key)
        return found[-1] if found else None

    # Keys from `start` up to, and not including, `end`; None is no bound.

    @staticmethod
    def span(ordered, start, end):
        first = bisect.bisect_left(ordered, start or b"")
        last = len(ordered) if end is None else bisect.bisect_left(ordered, end)
        return first, max(first, last)

    def between(self, start, end):
        first, last = self.span(self.keys, start, end)
        return self.keys[first:last]

    def below(self, prefix):
        return self.between(prefix, after_all(prefix))

    def count(self, prefix):
        first, last = self.span(self.keys, prefix, after_all(prefix))
        return last - first

    def explore(self, prefix):
        """[byte, first key, its value, how many keys] for each byte that can follow prefix."""
        rows = []
        for byte in self.children(prefix):
            path = prefix + bytes([byte])
            first, last = self.span(self.keys, path, after_all(path))
            sample = self.entry(self.keys[first]) if first < last else [None, None]
            rows.append([byte, *sample, last - first])
        return rows


def left_at(keys, position, is_reverse):
    """What a scan over these ascending keys has left at the position of a cursor, in its order."""
    at = bisect.bisect_left(keys, position)
    return keys[:at][::-1] if is_reverse else keys[at:]
