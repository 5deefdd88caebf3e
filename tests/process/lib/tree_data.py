"""What the test trees hold: the oracle that answers are held against."""

import bisect
import functools
import gzip
import random

from . import paths


class Oracle:
    """The keys and values of a tree, and what each method must say about them."""

    def __init__(self, pairs):
        self.pairs = pairs
        self.values = dict(pairs)
        self.keys = sorted(self.values)

    def get(self, key):
        return self.values.get(key)

    def exists(self, key):
        return key in self.values

    def node(self, key):
        """The position of key; its children by skipping from one to the next."""
        children = bytearray()
        at = bisect.bisect_left(self.keys, key)
        found = at < len(self.keys) and self.keys[at].startswith(key)
        if found and self.keys[at] == key:
            at += 1
        while at < len(self.keys) and self.keys[at].startswith(key):
            byte = self.keys[at][len(key)]
            children.append(byte)
            if byte == 255:
                break
            at = bisect.bisect_left(self.keys, key + bytes([byte + 1]), at)
        # The root is always there, also in the empty tree.
        return {"exists": found or key == b"", "value": self.get(key), "children": bytes(children)}

    def near_misses(self, key):
        """Keys one step beside this one: most are not there, and the oracle knows which."""
        for cut in {len(key) - 1, len(key) // 2, 1, 0}:
            if 0 <= cut < len(key):
                yield key[:cut]
        for byte in (0x00, 0x01, 0x61, 0xFF):
            yield key + bytes([byte])
        for at in {0, len(key) // 2, len(key) - 1}:
            if key:
                changed = bytearray(key)
                changed[at] = (changed[at] + 1) % 256
                yield bytes(changed)
                changed[at] = (changed[at] - 2) % 256
                yield bytes(changed)

    def sample(self, n, seed=0):
        """n keys, always the same ones; all where there are fewer."""
        if len(self.keys) <= n:
            return list(self.keys)
        return random.Random(seed).sample(self.keys, n)


def tsv_of(tree):
    """Beside NAME.WRITER.act (and NAME_WRITER.act of a merge) stands NAME.tsv or NAME.tsv.gz."""
    name = tree.name[: -len(".act")]
    for stem in (name, name.split(".")[0], name.rsplit("_", 1)[0]):
        for suffix in (".tsv", ".tsv.gz"):
            path = tree.with_name(stem + suffix)
            if path.exists():
                return path
    raise FileNotFoundError(f"no .tsv says what {tree} holds")


@functools.lru_cache(maxsize=None)
def oracle_of(tree):
    path = tsv_of(tree)
    opener = gzip.open if path.suffix == ".gz" else open
    pairs = []
    with opener(path, "rt") as lines:
        for line in lines:
            key, value = line.rstrip("\n").split("\t")
            pairs.append((bytes.fromhex(key), int(value)))
    return Oracle(pairs)


def good_trees():
    """Every tree of the test data with a list of what it holds."""
    trees = sorted(paths.EDGE.glob("*.act")) + sorted(paths.DOC.glob("*.act"))
    return trees + [paths.CITIES, paths.SHAKESPEARE]


def chunks(keys, max_keys=1000, max_bytes=256 * 1024):
    """Lists of keys that fit one request each."""
    chunk, size = [], 0
    for key in keys:
        if chunk and (len(chunk) == max_keys or size + len(key) > max_bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(key)
        size += len(key) + 9
    if chunk:
        yield chunk
