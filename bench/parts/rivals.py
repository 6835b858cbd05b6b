"""The shop beside other ways to write it: one buyer, and many buyers."""

import json
from contextlib import ExitStack
from functools import partial

from bench import events
from bench.figures import Figure, Findings, exactly
from bench.measure import Effort, Side, assert_exact, assert_taken, each, interleave, ratio
from bench.programs import NODE, PYTHON, RIVAL_PYTHON, has_rivals
from bench.server import shop
from local.processes import LocalError

EVENTS = {"BENCH_EVENTS": json.dumps({"get": events.get(), "checkout": events.checkout()})}
"""What the sides in Node are sent."""
RIVALS: dict[str, tuple[list[str], dict[str, str]]] = {
    "plain Python handler": ([*RIVAL_PYTHON, "bench.rivals.plain"], {}),
    "Node, well written": ([*NODE, "well_written"], {}),
    "Powertools resolver": ([*RIVAL_PYTHON, "bench.rivals.powertools"], {}),
    "FastAPI + Mangum": ([*RIVAL_PYTHON, "bench.rivals.fastapi_mangum"], {}),
    "the seed's design": ([*NODE, "seed"], {}),
    "the seed's design, connection kept": ([*NODE, "seed"], {"SEED_POOL": "1"}),
}
OURS = "ours, with purchases and key"
SEED_GOALS = {8: 7.0, 32: 4.9}
"""By the number of buyers, how many times as many checkouts per second as the seed's design."""


def run(effort: Effort) -> Findings:
    """Compare with one buyer, then with many. Raises LocalError if the rivals are missing."""
    if not has_rivals():
        raise LocalError("the rivals are not installed: `ONLY=rivals make bench` installs them")
    return Findings(figures=[*one_buyer(effort.share(0.6)), *many_buyers(effort.share(0.4))])


def one_buyer(effort: Effort) -> list[Figure]:
    """Compare each side with the raw SELECT and the raw UPDATE, binary log off."""
    with ExitStack() as stack:
        database = stack.enter_context(shop(sync_us=100, binary_log=False))
        raw = stack.enter_context(Side(database, [*PYTHON, "bench.sides.raw"]))
        ours = stack.enter_context(Side(database, [*PYTHON, "bench.sides.ours"]))
        sides = {
            name: stack.enter_context(Side(database, command, variables=EVENTS | variables))
            for name, (command, variables) in RIVALS.items()
        }
        calls = effort.calls
        gets = {name: partial(side.block, "get", calls) for name, side in sides.items()}
        gets |= {OURS: partial(ours.block, "get", calls), "raw": partial(raw.block, "get", calls)}
        got = interleave(gets, effort=effort.share(0.5))
        purchases = {name: partial(side.block, "checkout", calls) for name, side in sides.items()}
        purchases |= {
            OURS: partial(ours.block, "checkout_with_key", calls),
            "raw": partial(raw.block, "update", calls),
        }
        bought = interleave(purchases, effort=effort.share(0.5))
        assert_exact(bought, OURS)
        for name in RIVALS:
            assert_taken(bought, name)
    return [
        Figure(name=f"{what}: {name}", value=ratio(rounds, name, "raw", lambda block: block.p50))
        for what, rounds in (("GET / raw SELECT", got), ("checkout / raw UPDATE", bought))
        for name in (*RIVALS, OURS)
    ]


def many_buyers(effort: Effort) -> list[Figure]:
    """Let many buyers race, binary log on, and count what the seed's design loses."""
    figures = []
    with (
        shop(sync_us=100, binary_log=True) as database,
        Side(database, [*PYTHON, "bench.sides.ours"], processes=2) as ours,
        Side(database, [*NODE, "seed"], processes=2, variables=EVENTS) as seed,
        Side(database, [*NODE, "well_written"], processes=2, variables=EVENTS) as node,
    ):
        for buyers, goal in SEED_GOALS.items():
            rounds = interleave(
                {
                    name: partial(side.rush, "checkout", buyers=buyers, seconds=effort.rush)
                    for name, side in (("ours", ours), ("seed", seed), ("node", node))
                },
                effort=effort.share(1 / len(SEED_GOALS)),
            )
            assert_exact(rounds, "ours")
            assert_taken(rounds, "node")
            for results in rounds:
                assert results["seed"].taken <= results["seed"].sold, results["seed"]
            figures += [
                Figure(
                    name=f"rate of {buyers} buyers / the seed's design, binary log on",
                    value=ratio(rounds, "ours", "seed", lambda block: block.rate),
                    at_least=goal,
                ),
                Figure(
                    name=f"rate of {buyers} buyers / Node, well written, binary log on",
                    value=ratio(rounds, "ours", "node", lambda block: block.rate),
                ),
                Figure(
                    name=f"sold but still in stock, {buyers} buyers, the seed's design",
                    value=each(rounds, "seed", lambda block: 100 * block.lost),
                    unit="%",
                ),
                Figure(
                    name=f"sold but still in stock, {buyers} buyers, ours",
                    value=exactly(max(100 * results["ours"].lost for results in rounds)),
                    unit="%",
                    at_most=0,
                ),
            ]
    return figures
