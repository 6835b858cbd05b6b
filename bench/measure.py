"""The method: sides take turns in random order, and are compared within each round.

A side is one of the programs that are compared, such as the shop or a bare statement. A block is
what the calls of one side took in one round. In a rush, several buyers call at the same time. A
side's process reports the result of each command in one line.

The machine's speed varies from one second to the next. What two sides took within one round is
comparable, what they took minutes apart is not. So each figure is the median of per-round ratios.
"""

import json
import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from bench import server
from settings import PROJECT
from tests.support.database_shop import DatabaseShop

T = TypeVar("T")
Rounds = list[dict[str, T]]
"""The result of each side in each round, by the side's name."""


@dataclass(frozen=True, kw_only=True)
class Quartiles:
    low: float
    median: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is measured. seconds: the time of a part, after at least `rounds` rounds."""

    seconds: float
    rounds: int
    calls: int
    """Calls of one side in one round."""
    rows: int
    """Rows in each table that grows."""
    connections: Sequence[int]
    """How many buyers race for one product."""
    rush: float
    """Seconds of one race."""
    environments: Sequence[str]
    """The environments that are synthesized."""

    def share(self, part: float) -> "Effort":
        """Return the effort with this share of the time."""
        return replace(self, seconds=self.seconds * part)


@dataclass(frozen=True, kw_only=True)
class Block:
    """What one side's calls of one round took: seconds per call, by the clock and of its processor.

    sold: how many calls were told that they bought one. taken: by how much the stock fell.
    recorded: how many rows were added to the table `purchase`.
    """

    p50: float
    processor: float
    calls: int
    seconds: float
    sold: int
    taken: int
    recorded: int

    @property
    def rate(self) -> float:
        return self.calls / self.seconds

    @property
    def lost(self) -> float:
        """Return the share of the sold units that are still in stock."""
        return 1 - self.taken / self.sold if self.sold else 0.0


def interleave(sides: Mapping[str, Callable[[], T]], *, effort: Effort) -> Rounds[T]:
    """Run every side once per round, in random order, until the time is over."""
    end = time.monotonic() + effort.seconds
    rounds: Rounds[T] = []
    while len(rounds) < effort.rounds or time.monotonic() < end:
        order = random.sample(list(sides), len(sides))
        results = {name: sides[name]() for name in order}
        rounds.append(results)
    return rounds


def quartiles(values: Sequence[float]) -> Quartiles:
    if len(values) == 1:
        return Quartiles(low=values[0], median=values[0], high=values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(low=low, median=median, high=high)


def ratio(rounds: Rounds[T], side: str, base: str, value: Callable[[T], float]) -> Quartiles:
    """Return the quartiles of side / base over the rounds."""
    return quartiles([value(results[side]) / value(results[base]) for results in rounds])


def each(rounds: Rounds[T], side: str, value: Callable[[T], float]) -> Quartiles:
    """Return the quartiles of one side's value over the rounds."""
    return quartiles([value(results[side]) for results in rounds])


class Side(AbstractContextManager["Side"]):
    """One side of a comparison, in processes of its own, with its own connections to the shop.

    command: the program, which reads the commands of worker.py as lines of JSON, and writes a
        line with the result of each.
    """

    def __init__(
        self,
        shop: DatabaseShop,
        command: Sequence[str],
        *,
        processes: int = 1,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.shop = shop
        given = {"BENCH_LOGIN": json.dumps(server.login(shop)), "PYTHONPATH": "lambdas"}
        self.processes = [
            subprocess.Popen(
                command,
                cwd=PROJECT,
                env=os.environ | given | dict(variables or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for the bench, which then ends its sides
            )
            for _ in range(processes)
        ]

    def __exit__(self, *exception: object) -> None:
        for process in self.processes:
            process.communicate()

    def ask(self, **command: Any) -> list[dict[str, Any]]:
        """Send a command to all processes at the same time, and return their results.

        processes: to this many at most.
        """
        asked = self.processes[: command.pop("processes", None)]
        for process in asked:
            assert process.stdin
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
        return [self._result(process) for process in asked]

    def block(self, scenario: str, calls: int) -> Block:
        """Make this many calls one after the other."""
        return self._counted(scenario=scenario, calls=calls)

    def rush(self, scenario: str, *, buyers: int, seconds: float) -> Block:
        """Let this many buyers call at the same time, each on a connection of its own."""
        self.ask(open=max(1, buyers // len(self.processes)))
        return self._counted(scenario=scenario, seconds=seconds, processes=buyers)

    def _counted(self, **command: Any) -> Block:
        before = stock_and_purchases(self.shop)
        results = self.ask(**command)
        after = stock_and_purchases(self.shop)
        times = [seconds for result in results for seconds in result["seconds"]]
        return Block(
            p50=statistics.median(times),
            processor=sum(result["processor"] for result in results) / len(times),
            calls=len(times),
            seconds=max(result["elapsed"] for result in results),
            sold=sum(result["sold"] for result in results),
            taken=before[0] - after[0],
            recorded=after[1] - before[1],
        )

    @staticmethod
    def _result(process: "subprocess.Popen[str]") -> dict[str, Any]:
        assert process.stdout
        line = process.stdout.readline()
        assert line, f"{process.args!r} ended without a result"
        return dict(json.loads(line))


def stock_and_purchases(shop: DatabaseShop) -> tuple[int, int]:
    """Return how many donuts there are, and how many purchases of them."""
    ((purchases,),) = shop.sql("SELECT COALESCE(MAX(purchase_id), 0) FROM purchase")
    return shop.stock(), int(purchases)


def assert_taken(rounds: Rounds[Block], side: str) -> None:
    """Check that what the side sold is what the stock lost. Rivals do not record purchases."""
    for results in rounds:
        block = results[side]
        assert block.sold == block.taken, f"{side}: sold {block.sold}, taken {block.taken}"


def assert_exact(rounds: Rounds[Block], side: str) -> None:
    """Check that what the side sold is what the stock lost and what was recorded."""
    for results in rounds:
        block = results[side]
        counts = (block.sold, block.taken, block.recorded)
        assert len(set(counts)) == 1, f"{side}: sold, taken, recorded: {counts}"
