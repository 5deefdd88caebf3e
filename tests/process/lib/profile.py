"""Profiles (docs/PROFILE.md), read by other means than the daemon's; and what is in memory."""

import ctypes
import ctypes.util
import os
import pathlib
import struct
from typing import NamedTuple

from .processes import mappings_of
from .slow_disk import n_pages

PAGE = 4096
CHUNK_PAGES = 32768
HEADER = struct.Struct("<8sIIQQQQQII")
CHUNK = struct.Struct("<IHH")
FULL, RUNS, BITMAP = 1, 2, 3
SOURCES = ["unknown", "mincore", "pagemap"]
PRESENT = 1 << 63  # in an entry of pagemap


class Profile(NamedTuple):
    source: str
    identity: int
    size_bytes: int
    root_offset: int
    saved_s: int
    pages: set


def digest_of(data):
    xxhash = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
    xxhash.XXH3_64bits.restype = ctypes.c_uint64
    xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return xxhash.XXH3_64bits(data, len(data))


def varints(data):
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield value
            value = shift = 0
    assert shift == 0


def pages_of_chunk(number, kind, data, total):
    first = number * CHUNK_PAGES
    n = min(CHUNK_PAGES, total - first)
    if kind == FULL:
        assert not data
        return range(first, first + n)
    if kind == BITMAP:
        assert len(data) == (n + 7) // 8
        return [first + i for i in range(len(data) * 8) if data[i // 8] >> i % 8 & 1]
    assert kind == RUNS
    pages, at, numbers = [], first, list(varints(data))
    for gap, length in zip(numbers[::2], numbers[1::2], strict=True):
        pages.extend(range(at + gap, at + gap + length))
        at += gap + length
    return pages


def decode(data):
    """Whatever is wrong with it fails."""
    magic, version, source, identity, size, root, saved_s, n, n_chunks, page = HEADER.unpack_from(
        data
    )
    assert (magic, version, page) == (b"ACTPROF1", 1, PAGE)
    assert struct.unpack("<Q", data[-8:])[0] == digest_of(data[:-8])
    pages, at, total = set(), HEADER.size, -(-size // PAGE)
    for _ in range(n_chunks):
        number, kind, length = CHUNK.unpack_from(data, at)
        at += CHUNK.size
        pages.update(pages_of_chunk(number, kind, data[at : at + length], total))
        at += length
    assert at == len(data) - 8 and len(pages) == n and all(page < total for page in pages)
    return Profile(SOURCES[source], identity, size, root, saved_s, pages)


def read(path):
    return decode(pathlib.Path(path).read_bytes())


def mapped_pages(pids, path):
    """Pages of the file that one of these processes has mapped and touched."""
    pages = set()
    for pid in pids:
        with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
            for mapping in mappings_of(pid, path):
                first = mapping.offset // PAGE
                n = min(mapping.size // PAGE, n_pages(path) - first)
                entries = os.pread(pagemap.fileno(), n * 8, mapping.start // PAGE * 8)
                for i, (entry,) in enumerate(struct.iter_unpack("<Q", entries)):
                    if entry & PRESENT:
                        pages.add(first + i)
    return pages
