"""Many buyers of one product: one row beside a raw UPDATE, and one row beside 16 slots."""

from functools import partial

from bench.figures import Figure, Findings, Line
from bench.measure import Block, Effort, Rounds, Side, assert_exact, each, interleave, ratio
from bench.programs import PYTHON
from bench.server import shop
from tests.support.database_shop import DatabaseShop

SLOTS = 16
ASKED = (8, 32)
"""The numbers of buyers that have a goal."""


def run(effort: Effort) -> Findings:
    """Let 1 to 64 buyers race, with syncs of 1 ms and of 100 µs, binary log on."""
    slow = race(effort.share(0.6), sync_us=1000)
    fast = race(effort.share(0.4), sync_us=100)
    return Findings(figures=slow.figures + fast.figures, lines=slow.lines + fast.lines)


def race(effort: Effort, *, sync_us: int) -> Findings:
    """Compare one row, 16 slots and a raw UPDATE of one row, for each number of buyers."""
    sync = f"sync {sync_us} µs"
    figures, points = [], []
    with (
        shop(sync_us=sync_us, binary_log=True) as database,
        Side(database, [*PYTHON, "bench.sides.ours"], processes=2) as ours,
        Side(database, [*PYTHON, "bench.sides.raw"], processes=2) as raw,
    ):
        for buyers in effort.connections:
            rounds = interleave(
                {
                    "one row": partial(sell, database, ours, effort, buyers, slots=1),
                    "slots": partial(sell, database, ours, effort, buyers, slots=SLOTS),
                    "update": partial(raw.rush, "update", buyers=buyers, seconds=effort.rush),
                },
                effort=effort.share(1 / len(effort.connections)),
            )
            assert_exact(rounds, "one row")
            assert_exact(rounds, "slots")
            points.append((buyers, rounds))
            if buyers in ASKED:
                figures += figures_of(rounds, buyers, sync_us=sync_us)
    lines = [
        Line(
            label=f"{label}, {sync}",
            x=[buyers for buyers, _ in points],
            y=[each(rounds, side, lambda block: block.rate).median for _, rounds in points],
        )
        for side, label in (("one row", "one row"), ("slots", f"{SLOTS} slots"))
    ]
    return Findings(figures=figures, lines=lines)


def sell(database: DatabaseShop, side: Side, effort: Effort, buyers: int, *, slots: int) -> Block:
    """Spread the donuts over this many slots, and let the buyers race."""
    database.set_slots(slots)
    block = side.rush("checkout", buyers=buyers, seconds=effort.rush)
    database.set_slots(1)
    return block


def figures_of(rounds: Rounds[Block], buyers: int, *, sync_us: int) -> list[Figure]:
    """Return the figures for one number of buyers. The goals are for a sync of 1 ms."""
    has_goal = sync_us == 1000
    setting = f"{buyers} buyers, sync {sync_us} µs"
    return [
        Figure(
            name=f"one row / raw UPDATE, rate of {setting}",
            value=ratio(rounds, "one row", "update", lambda block: block.rate),
            at_least=0.95 if has_goal else None,
        ),
        Figure(
            name=f"{SLOTS} slots / one row, rate of {setting}",
            value=ratio(rounds, "slots", "one row", lambda block: block.rate),
            at_least=3 if has_goal else None,
        ),
        Figure(
            name=f"one row, {setting}",
            value=each(rounds, "one row", lambda block: block.rate),
            unit="checkouts/s",
        ),
    ]
