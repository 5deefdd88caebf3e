"""Trees for the oracle: random contents of many shapes, built by `actctl build`; and a small writer
for shapes that it does not write (FORMAT.md, sections 4 to 6)."""

import os

from . import actctl

MAX_U64 = 2**64 - 1

# Where a varint grows, and the ends.
EDGE_VALUES = [0, 1, 247, 248, 255, 256, 65535, 65536, 2**53 + 1, 2**56, 2**63, MAX_U64]


def build(path, pairs, *args, is_bytes=False):
    """Made by actctl of these (key, value), in their order."""
    options = ["--hex", *(["--values=bytes"] if is_bytes else []), *args]
    actctl.build(path, actctl.encode(pairs, is_hex=True, is_bytes=is_bytes), *options)
    return path


def random_bytes(rng, length, alphabet=range(256)):
    return bytes(rng.choice(alphabet) for _ in range(length))


def random_value(rng):
    if rng.randrange(2):
        return rng.choice(EDGE_VALUES)
    return rng.randrange(2 ** rng.randrange(1, 65))


def random_text(rng):
    """A byte value."""
    return random_bytes(rng, rng.choice([0, 1, 2, 5, 17, 250, 300]))


# Families of keys, each a function of a random.Random.


def no_key(rng):
    return []


def empty_key_alone(rng):
    return [b""]


def one_long_key(rng):
    return [random_bytes(rng, 5000)]


def least_and_greatest_bytes(rng):
    """Deep in 00 and ff: the neighbours of every key have another length."""
    return [random_bytes(rng, rng.randrange(9), b"\x00\xff") for _ in range(400)]


def short_random(rng):
    return [random_bytes(rng, rng.randrange(5)) for _ in range(600)]


def three_letters(rng):
    return [random_bytes(rng, rng.randrange(8), b"abc") for _ in range(500)]


def prefixes_of_each_other(rng):
    """Cuts of two long keys that part in the middle."""
    common = random_bytes(rng, 60)
    longs = [common + random_bytes(rng, 90) for _ in range(2)]
    return [b""] + [rng.choice(longs)[: rng.randrange(151)] for _ in range(120)]


def long_common_prefix(rng):
    """All below one line of 3,000 bytes, but for a few."""
    common = random_bytes(rng, 3000)
    keys = [common + random_bytes(rng, rng.randrange(4), b"\x00a\xff") for _ in range(60)]
    return keys + [common[:1500], common[:2999], common[:1], common[:1500] + b"\x00"]


def long_keys(rng):
    keys = [random_bytes(rng, rng.randrange(1, 20000)) for _ in range(8)]
    return keys + [keys[0] + b"\xff", keys[0][:-1], keys[1][:100], keys[1] + bytes(300)]


def all_bytes_at_the_root(rng):
    keys = [bytes([byte]) for byte in range(256)]
    return keys + [key + random_bytes(rng, 2) for key in rng.sample(keys, 100)]


def all_bytes_below_all_bytes(rng):
    firsts = rng.sample(range(256), 12) + [0, 255]
    keys = [bytes([first, byte]) for first in firsts for byte in range(256)]
    return keys + [bytes([first]) for first in firsts[::2]]


def widths_of_branches(rng):
    """Where a set becomes a mask, and around where branches get tables."""
    keys = []
    for width in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 255):
        top = b"w%d:" % width
        keys += [top + bytes([byte]) + random_bytes(rng, rng.randrange(2))
                 for byte in rng.sample(range(256), width)]
        keys += [top] * rng.randrange(2)
    return keys


def syllables(rng):
    """Equal tails, which stand in the file once."""
    parts = [b"ro", b"ad", b"roa", b"man", b"\xff\xff", b"", b"station"]
    return [b"".join(rng.choice(parts) for _ in range(rng.randrange(6))) for _ in range(500)]


def numbers(rng):
    return [b"%d" % number for number in rng.sample(range(5000), 1500)]


FAMILIES = [
    no_key, empty_key_alone, one_long_key, least_and_greatest_bytes, short_random, three_letters,
    prefixes_of_each_other, long_common_prefix, long_keys, all_bytes_at_the_root,
    all_bytes_below_all_bytes, widths_of_branches, syllables, numbers,
]


def contents(rng, family, is_bytes=False):
    """(key, value) of the family, each key once, in no order."""
    keys = list(dict.fromkeys(family(rng)))
    rng.shuffle(keys)
    value = random_text if is_bytes else random_value
    return [(key, value(rng)) for key in keys]


# A writer of its own.


def varint(number):
    if number < 248:
        return bytes([number])
    length = (number.bit_length() + 7) // 8
    return bytes([247 + length]) + number.to_bytes(length, "little")


class Writer:
    """Writes paths, with a value or (None) without; what refers comes after what it refers to."""

    def __init__(self):
        self.data = bytearray(b"ACTree03" + bytes(8))

    def put(self, node):
        """A described node: the offset where it now stands."""
        kind, value, child, tail = node
        here = len(self.data)
        head = 0x40 if value is not None else 0
        body = b"" if value is None else varint(value)
        body += b"" if child is None else varint(here - child)
        if kind == "line":
            head |= 0x80 | (child is not None)
            body += varint(here - tail)
        else:
            head |= min(len(tail), 32)
            mask = sum(1 << byte for byte in tail)
            body += bytes(tail) if len(tail) < 32 else mask.to_bytes(32, "little")
        self.data += bytes([head]) + body
        return here

    def branch(self, paths):
        """The branch at a position with these {rest of a path: value}."""
        groups = {}
        for path in sorted(filter(None, paths)):
            groups.setdefault(path[0], {})[path[1:]] = paths[path]
        nodes = [self.child(group) for group in groups.values()]
        offsets = [self.put(node) for node in nodes]
        return "branch", paths.get(b""), offsets[0] if offsets else None, list(groups)

    def child(self, paths):
        line = os.path.commonprefix(list(paths))
        if not line:
            return self.branch(paths)
        child, value = None, paths.get(line)
        if len(paths) > 1:
            child = self.put(self.branch({path[len(line):]: paths[path] for path in paths}))
            value = None
        here = len(self.data)
        self.data += varint(len(line)) + line
        return "line", value, child, here

    def end(self, path, root):
        self.data[8:16] = root.to_bytes(8, "little")
        path.write_bytes(self.data + bytes(8))
        return path


def write(path, paths):
    """A tree with these {path: value or None}."""
    writer = Writer()
    return writer.end(path, writer.put(writer.branch(paths)))


def write_shared(path, levels, width, value, extra=None):
    """width**levels paths of that many bytes 0 to width-1, all with this value (None: without), in
    a file of a few hundred bytes: the branches of a level are one. `extra` adds {path: value}; each
    must begin with a byte of `width` or more."""
    writer = Writer()
    node = ("branch", value, None, [])
    for _ in range(levels - 1):
        run = [writer.put(node) for _ in range(width)][0]
        node = ("branch", None, run, list(range(width)))
    others = {}
    for other in sorted(extra or {}):
        assert other[0] >= width
        others.setdefault(other[0], {})[other[1:]] = extra[other]
    nodes = [node] * width + [writer.child(group) for group in others.values()]
    run = [writer.put(node) for node in nodes][0]
    return writer.end(path, writer.put(("branch", None, run, [*range(width), *others])))
