"""The same requests on a shop with history and on an empty one, and claims among overdue orders."""

from functools import partial

from bench.figures import Figure, Findings
from bench.measure import Effort, Side, each, interleave, ratio
from bench.programs import PYTHON
from bench.server import shop
from tests.support.history import DONUT, fill

SCENARIOS = {
    "GET": "get",
    "checkout with key": "checkout_with_key",
    "out-of-stock checkout": "out_of_stock",
    "order": "order",
    "restock": "restocks",
    "claim": "claim",
}
OVERDUE = 100_000
MAX_CALLS = 20
"""Calls per round of those that need rows of their own."""
ADD_OVERDUE = (
    "INSERT INTO production_order (order_id, callback_token, product_id, factory_id, quantity,"
    " requester, status, requested_at, published_at, publications, next_attempt_at)"
    f" SELECT CONCAT(LPAD(HEX(seq), 8, '0'), '-due'), 'token', {DONUT}, 'FF-500293', 1, '홍길동',"
    " 'published', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 4, UTC_TIMESTAMP(6) - INTERVAL seq SECOND"
    " FROM {rows}"
)
"""Orders that have had their last reminder, so that the relay marks them as stuck."""


def run(effort: Effort) -> Findings:
    """Compare a shop with this many rows in each table with an empty one."""
    with (
        shop(sync_us=100, binary_log=False) as small,
        shop(sync_us=100, binary_log=False) as large,
    ):
        fill(large, effort.rows)
        with (
            Side(small, [*PYTHON, "bench.sides.ours"]) as empty,
            Side(large, [*PYTHON, "bench.sides.ours"]) as grown,
        ):
            figures = [
                growth(name, scenario, empty, grown, effort) for name, scenario in SCENARIOS.items()
            ]
            overdue = min(OVERDUE, effort.rows)
            large.sql(ADD_OVERDUE.format(rows=f"seq_1_to_{overdue}"))
            figures += claims(grown, overdue, effort)
    return Findings(figures=figures)


def growth(name: str, scenario: str, empty: Side, grown: Side, effort: Effort) -> Figure:
    """Return how long a request takes on the grown shop, relative to the empty one."""
    calls = min(effort.calls, MAX_CALLS)
    rounds = interleave(
        {
            "empty": partial(empty.block, scenario, calls),
            "grown": partial(grown.block, scenario, calls),
        },
        effort=effort.share(0.9 / len(SCENARIOS)),
    )
    return Figure(
        name=f"{name}, p50 with {effort.rows:,} rows in each table / empty",
        value=ratio(rounds, "grown", "empty", lambda block: block.p50),
        at_most=1.1,
    )


def claims(side: Side, overdue: int, effort: Effort) -> list[Figure]:
    """Return how long a claim takes, and how long it takes to mark a portion as stuck."""
    claimed = interleave({"claim": partial(side.block, "claim", 2)}, effort=effort.share(0.1))
    # A few rounds only, because each of them leaves fewer overdue orders.
    marked = interleave({"mark": partial(side.block, "mark_stuck", 1)}, effort=effort.share(0))
    among = f"among {overdue:,} overdue orders that become stuck"
    return [
        Figure(
            name=f"claim of 20 orders {among}",
            value=each(claimed, "claim", lambda block: block.p50 * 1000),
            unit="ms",
            at_most=20,
        ),
        Figure(
            name=f"marking up to 1,000 of them, {among}",
            value=each(marked, "mark", lambda block: block.p50 * 1000),
            unit="ms",
        ),
    ]
