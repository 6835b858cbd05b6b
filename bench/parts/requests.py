"""The shop's requests beside bare loops of their statements, one buyer, without and with the log."""

from functools import partial

from bench.figures import Figure, Findings
from bench.measure import Effort, Side, assert_exact, interleave, ratio
from bench.programs import PYTHON
from bench.server import shop
from migrate.handler import PROCEDURES
from tests.support.database_shop import DatabaseShop

SYNC_US = 100
SCENARIOS = ("get", "checkout", "checkout_with_key", "replay", "out_of_stock")


def run(effort: Effort) -> Findings:
    """Measure with the binary log off, then with it on."""
    return Findings(
        figures=[
            *without_binary_log(effort.share(0.75)),
            *with_binary_log(effort.share(0.25)),
        ]
    )


def without_binary_log(effort: Effort) -> list[Figure]:
    effort = effort.share(1 / len(SCENARIOS))
    with (
        shop(sync_us=SYNC_US, binary_log=False) as database,
        Side(database, [*PYTHON, "bench.sides.ours"]) as ours,
        Side(database, [*PYTHON, "bench.sides.ours"], variables={"BENCH_LOG": "1"}) as logged,
        Side(database, [*PYTHON, "bench.sides.raw"]) as raw,
    ):
        rounds = {}
        for scenario in SCENARIOS:
            sides = {"ours": ours, "logged": logged, "raw": raw}
            blocks = {
                name: partial(side.block, scenario, effort.calls) for name, side in sides.items()
            }
            rounds[scenario] = interleave(blocks, effort=effort)
        for scenario in ("checkout", "checkout_with_key"):
            assert_exact(rounds[scenario], "ours")
        database.assert_balanced()
    get, key = rounds["get"], rounds["checkout_with_key"]
    return [
        Figure(
            name="GET, p50 / raw SELECT",
            value=ratio(get, "ours", "raw", lambda block: block.p50),
            at_most=0.95,
        ),
        Figure(
            name="GET, processor time / raw SELECT",
            value=ratio(get, "ours", "raw", lambda block: block.processor),
            at_most=0.85,
        ),
        Figure(
            name="checkout with key and purchase, p50 / raw CALL",
            value=ratio(key, "ours", "raw", lambda block: block.p50),
            at_most=1.08,
        ),
        Figure(
            name="the same, with the JSON log line as deployed / raw CALL",
            value=ratio(key, "logged", "raw", lambda block: block.p50),
            at_most=1.15,
        ),
        Figure(
            name="checkout without a key, p50 / raw CALL",
            value=ratio(rounds["checkout"], "ours", "raw", lambda block: block.p50),
        ),
        Figure(
            name="replay of a key, p50 / raw SELECT of the key's row",
            value=ratio(rounds["replay"], "ours", "raw", lambda block: block.p50),
            at_most=1.3,
        ),
        Figure(
            name="out-of-stock checkout, p50 / raw CALLs (checkout, mark_published)",
            value=ratio(rounds["out_of_stock"], "ours", "raw", lambda block: block.p50),
            at_most=1.1,
        ),
    ]


def add_checkout_unrecorded(database: DatabaseShop) -> None:
    """Add a procedure that does what `checkout` does, but does not record an internal key."""
    text = (PROCEDURES / "checkout.sql").read_text()
    beginning = text.index("INSERT INTO checkout_outcome")
    end = text.index(";", beginning)
    text = f"{text[:beginning]}DO 0{text[end:]}"
    database.sql(text.replace("PROCEDURE checkout(", "PROCEDURE checkout_unrecorded("))


def with_binary_log(effort: Effort) -> list[Figure]:
    with (
        shop(sync_us=SYNC_US, binary_log=True) as database,
        Side(database, [*PYTHON, "bench.sides.ours"]) as ours,
        Side(database, [*PYTHON, "bench.sides.raw"]) as raw,
    ):
        add_checkout_unrecorded(database)
        rounds = interleave(
            {
                "ours": partial(ours.block, "checkout_with_key", effort.calls),
                "without a key": partial(ours.block, "checkout", effort.calls),
                "call": partial(raw.block, "checkout_with_key", effort.calls),
                "call without a key": partial(raw.block, "checkout", effort.calls),
                "call unrecorded": partial(raw.block, "checkout_unrecorded", effort.calls),
                "update": partial(raw.block, "update", effort.calls),
            },
            effort=effort,
        )
        assert_exact(rounds, "ours")
        assert_exact(rounds, "without a key")
    return [
        Figure(
            name="checkout with key and purchase, p50 / raw UPDATE, binary log on",
            value=ratio(rounds, "ours", "update", lambda block: block.p50),
            at_most=1.55,
        ),
        Figure(
            name="checkout without a key, p50 / raw UPDATE, binary log on",
            value=ratio(rounds, "without a key", "update", lambda block: block.p50),
        ),
        Figure(
            name="its internal key: raw CALL, p50 / the same without recording it, binary log on",
            value=ratio(rounds, "call without a key", "call unrecorded", lambda block: block.p50),
        ),
        Figure(
            name="raw CALL with key, p50 / raw UPDATE, binary log on",
            value=ratio(rounds, "call", "update", lambda block: block.p50),
        ),
        Figure(
            name="checkout with key and purchase, p50 / raw CALL, binary log on",
            value=ratio(rounds, "ours", "call", lambda block: block.p50),
            at_most=1.08,
        ),
    ]
