"""The process of one side of a comparison, in Python. rivals/node/worker.js is the same in Node.

A side is one of the programs that are compared, such as the shop or a bare statement.

Reads one command per line from its input, and writes one line with the result of each:
{"scenario": "get", "calls": 40}      make the calls one after the other
{"open": 8}                           have this many buyers, each with a connection of its own
{"scenario": "checkout", "seconds": 2.0}   let all buyers call at the same time

The side's module has a class `Buyer` (see below). This file uses the standard library only, because
rivals run it in an environment of their own.
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol


class Buyer(Protocol):
    """One client of the shop, with a connection of its own."""

    def prepare(self, scenario: str, calls: int) -> list[Callable[[], Any]]:
        """Return this many calls. Preparing them is not part of what is timed."""

    def sold(self, result: Any) -> bool:
        """Return whether a call's result says that something was bought."""


def one_by_one(buyer: Buyer, scenario: str, calls: int) -> dict[str, Any]:
    """Make the calls one after the other."""
    clock, results, seconds = time.perf_counter, [], []
    prepared = buyer.prepare(scenario, calls)
    began, processor = clock(), time.process_time()
    for call in prepared:
        sent = clock()
        results.append(call())
        seconds.append(clock() - sent)
    return {
        "processor": time.process_time() - processor,
        "elapsed": clock() - began,
        "seconds": seconds,
        "sold": sum(map(buyer.sold, results)),
    }


def at_the_same_time(buyers: list[Buyer], scenario: str, duration: float) -> dict[str, Any]:
    """Let each buyer call in a thread of its own until the time is over."""
    seconds: list[float] = []
    sold = [0] * len(buyers)
    began, processor = time.perf_counter(), time.process_time()

    def run(number: int) -> None:
        buyer = buyers[number]
        while time.perf_counter() < began + duration:
            (call,) = buyer.prepare(scenario, 1)
            sent = time.perf_counter()
            sold[number] += buyer.sold(call())
            seconds.append(time.perf_counter() - sent)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(buyers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "processor": time.process_time() - processor,
        "elapsed": time.perf_counter() - began,
        "seconds": seconds,
        "sold": sum(sold),
    }


def serve(connect: Callable[[], Buyer]) -> None:
    """Carry out the commands until the input ends."""
    output, sys.stdout = sys.stdout, sys.stderr
    buyers = [connect()]
    for line in sys.stdin:
        command = json.loads(line)
        if "open" in command:
            buyers += [connect() for _ in range(len(buyers), command["open"])]
            del buyers[max(command["open"], 1) :]
            result = {}
        elif "calls" in command:
            result = one_by_one(buyers[0], command["scenario"], command["calls"])
        else:
            result = at_the_same_time(buyers, command["scenario"], command["seconds"])
        print(json.dumps(result), file=output, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    serve(importlib.import_module(sys.argv[1]).Buyer)
