"""Versions of one tree: the same keys, and every value tells its version; and clients that ask all
the time, of which each reply must be wholly of one version, and none older than the one before."""

import multiprocessing
import os
import random
import traceback

from . import rpc, tree_maker
from .waiting import Clock, Deadline

KEYS = [b"%03d/%04x" % (i // 8, i * 40503 % 65536) for i in range(2000)]
KEYS.sort()
PLACES = {key: place for place, key in enumerate(KEYS)}

# A version's values are its number times this, and the key's place.
STEP = 10**6


def pairs_of(version):
    """A few more keys behind the common ones, so that two versions never have the same shape."""
    more = [b"~%d/%d" % (version, i) for i in range(version % 5)]
    return [(key, version * STEP + place) for place, key in enumerate(KEYS + more)]


def build(path, version, *args):
    return tree_maker.build(path, pairs_of(version), *args)


def put(path, version, *args):
    """It comes by rename."""
    build(path.with_name("new.act"), version, *args).rename(path)


def version_of(key, value):
    """The version that says this of the key."""
    version, place = divmod(value, STEP)
    assert place == PLACES[key], (key, value)
    return version


def version_of_all(keys, values):
    """Of values of one reply."""
    assert len(keys) == len(values)
    versions = {version_of(key, value) for key, value in zip(keys, values)}
    assert len(versions) == 1, f"a reply of the versions {versions}"
    return versions.pop()


def served(daemon):
    """The version that the daemon answers from."""
    with daemon.client() as client:
        return version_of_all(KEYS, client.call("mget", KEYS))


def of_page(keys, page):
    """A page with just these."""
    assert [key for key, _ in page["entries"]] == keys
    return version_of_all(keys, [value for _, value in page["entries"]])


def below(prefix):
    return [key for key in KEYS if key.startswith(prefix)]


def questions(rng, n):
    """n calls, each with a function: the version of its result."""
    result = []

    def ask(version, *call):
        result.append((list(call), version))

    for _ in range(n):
        at = rng.randrange(len(KEYS) - 40)
        key, keys, prefix = KEYS[at], rng.sample(KEYS, 30), KEYS[at][:2]
        ask(lambda value, key=key: version_of(key, value), "get", key)
        ask(lambda values, keys=keys: version_of_all(keys, values), "mget", keys)
        ask(lambda node, key=key: version_of(key, node["value"]), "node", key)
        ask(lambda found, key=KEYS[at + 1]: version_of(key, found[1]), "next", key)
        ask(lambda found, key=key: version_of(key, found[1]), "longest_prefix", key + b"x")
        ask(lambda page, keys=below(prefix): of_page(keys, page), "scan", prefix)
        ask(lambda page, keys=KEYS[at : at + 40]: of_page(keys, page), "range", key, None,
            {"limit": 40})
    # One that takes several slices.
    ask(lambda page: of_page(KEYS, page), "scan", b"", {"limit": len(KEYS)})
    return result


class Watched:
    """What a connection has seen: versions go up, and a generation has one version."""

    def __init__(self, client):
        self.client = client
        self.latest = 0
        self.versions = []
        self.by_identity = {}

    def ask(self, asked):
        """All at once; each must be answered rightly."""
        results = self.client.results([call for call, _ in asked])
        self.client.answered.clear()
        for (call, version_of_result), result in zip(asked, results):
            version = version_of_result(result)
            assert version >= self.latest, f"{call}: {version} after {self.latest}"
            if version > self.latest:
                self.versions.append(version)
            self.latest = version
            if isinstance(result, dict) and "generation" in result:
                identity = result["generation"]["identity"]
                assert self.by_identity.setdefault(identity, version) == version


def ask_until_told(address, seed, pipe):
    """In the child. Sends True after the first round; at the end what it has seen, or what went
    wrong."""
    try:
        asked = questions(random.Random(seed), 20)
        with rpc.Client(address) as client:
            watched, rounds = Watched(client), 0
            while not (rounds and pipe.poll()):
                watched.ask(asked)
                rounds += 1
                if rounds == 1:
                    pipe.send(True)
        pipe.send((rounds, watched.versions))
    except BaseException:
        pipe.send(traceback.format_exc())
    finally:
        pipe.close()
        os._exit(0)


class Asker:
    """A client in a process of its own."""

    def __init__(self, address, seed):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=ask_until_told, args=(address, seed, theirs), daemon=True
        )
        self.process.start()
        theirs.close()

    def told(self):
        if not self.pipe.poll(Clock().left("a client that asks all the time")):
            raise Deadline("a client is not answered")
        told = self.pipe.recv()
        assert not isinstance(told, str), told
        return told

    def end(self):
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Askers:
    """with Askers([address...]) as askers: they ask; at the end all replies must have been right,
    and askers.seen holds the versions of each."""

    def __init__(self, addresses):
        self.askers = [Asker(address, seed) for seed, address in enumerate(addresses)]
        self.seen = []

    def __enter__(self):
        try:
            for asker in self.askers:
                asker.told()
        except BaseException:
            self.end()
            raise
        return self

    def end(self):
        for asker in self.askers:
            asker.end()

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                for asker in self.askers:
                    asker.pipe.send("enough")
                told = [asker.told() for asker in self.askers]
                assert all(rounds > 0 for rounds, _ in told)
                self.seen = [versions for _, versions in told]
        finally:
            self.end()
