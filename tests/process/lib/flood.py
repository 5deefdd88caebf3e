"""Another client, in a process of its own, that asks as fast as it can and checks every reply."""

import multiprocessing
import os
import random
import traceback

from . import rpc
from .queries import near_key, short
from .waiting import Clock, Deadline


def flood_calls(view, rng, n):
    """n calls and their results; of a page, all but its cursor."""
    model = view.model
    calls, results = [], []

    def page(keys, limit):
        return {"entries": view.entries(keys[:limit]), "generation": view.generation}

    for _ in range(n):
        key, method = near_key(rng, model), rng.choice(["get", "get", "mget", "scan", "count"])
        prefix = key[: rng.randrange(3)]
        keys = [near_key(rng, model) for _ in range(4)]
        answers = {
            "get": lambda: ([key], view.value(model.get(key))),
            "mget": lambda: ([keys], [view.value(model.get(each)) for each in keys]),
            "scan": lambda: ([prefix, {"limit": 20}], page(model.below(prefix), 20)),
            "count": lambda: ([prefix], {"count": model.count(prefix), "exact": True}),
        }
        params, result = answers[method]()
        calls.append([method, *params])
        results.append(result)
    return calls, results


def without_cursor(result):
    if isinstance(result, dict):
        result.pop("cursor", None)
    return result


def flood_until_told(address, calls, results, pipe):
    """In the child. Sends True after the first round; at the end rounds, or what went wrong."""
    try:
        with rpc.Client(address) as client:
            rounds = 0
            while not (rounds and pipe.poll()):
                got = [without_cursor(result) for result in client.results(calls)]
                for call, right, wrong in zip(calls, results, got):
                    assert wrong == right, f"{call}: {short(wrong)}, not {short(right)}"
                client.answered.clear()
                rounds += 1
                if rounds == 1:
                    pipe.send(True)
        pipe.send(rounds)
    except BaseException:
        pipe.send(traceback.format_exc())
    finally:
        pipe.close()
        os._exit(0)


class Flood:
    """with Flood(...): the flood goes on; at the end all of its replies must have been right."""

    def __init__(self, address, calls, results):
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=flood_until_told, args=(address, calls, results, theirs), daemon=True
        )
        self.process.start()
        theirs.close()
        self.rounds = 0

    @classmethod
    def of(cls, daemon, view, n=150, seed=0):
        return cls(daemon.unix, *flood_calls(view, random.Random(seed), n))

    def told(self):
        if not self.pipe.poll(Clock().left("the flood")):
            raise Deadline("the flood is not answered")
        told = self.pipe.recv()
        assert not isinstance(told, str), told
        return told

    def __enter__(self):
        try:
            self.told()
        except BaseException:
            self.end()
            raise
        return self

    def end(self):
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.pipe.send("enough")
                self.rounds = self.told()
                assert self.rounds > 0
        finally:
            self.end()
