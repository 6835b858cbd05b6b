"""`make trace` and `make logs` follow one production order through the deployed shop."""

import re

from local.polling import eventually
from operations.logs import LEVELS
from tests.support.accidents import run
from tests.support.deployed_shop import PATIENCE, DeployedShop, call_back
from tests.support.misbehaving import accept_without_callback, reject

AT = len("2026-11-24T00:00:00.000Z")
IN_ORDER = [
    [("database", "requested"), ("sales", "checkout"), ("sales", "published")],
    [
        ("sales", "checkout"),
        ("stock_queue", "queued"),
        ("consumer", "not placed"),
        ("consumer", "placed"),
        ("database", "arrived"),
        ("restock", "restock"),
    ],
]
"""Chains of steps that follow each other. A step of one chain may come before a step of the other:
the message may be in the queue before `sales` logs that it was published."""


def step(line: str) -> tuple[str, str]:
    """Return the source and the message of a line, which may have no level."""
    _, source, *rest = re.split(" {2,}", line)
    return source, next(text for text in rest if text not in LEVELS)


def wait_until_logged(shop: DeployedShop, message: str, order_id: str) -> None:
    """Wait until a function has logged the message about the order."""

    def logged() -> None:
        lines = [line for line in shop.log_lines() if f'"message": "{message}"' in line]
        assert any(order_id in line for line in lines), f"no line {message!r}"

    eventually(logged, within=PATIENCE)


def test_trace_shows_every_step_of_an_order_by_time(shop: DeployedShop) -> None:
    shop.factory.respond = reject
    order_id = shop.order_more(40, requester="비밀의 구매자")
    other_id = shop.order_more(40)
    shop.wait_until_not_placed(order_id)
    shop.factory.respond = accept_without_callback
    wait_until_logged(shop, "placed", order_id)
    call_back(shop.callback_url(order_id))
    wait_until_logged(shop, "restock", order_id)

    printed = run(shop, f"ORDER={order_id} make trace")
    lines = [line for line in printed.splitlines() if line.startswith("20")]
    times = [line[:AT] for line in lines]
    assert times == sorted(times)
    steps = list(dict.fromkeys(map(step, lines)))
    for chain in IN_ORDER:
        assert [each for each in steps if each in chain] == chain, printed
    assert ("database", "published for the last time") in steps, printed
    assert len(steps) == 9, printed
    assert "arrived" in printed.splitlines()[2], "the order's row"
    assert other_id not in printed
    assert "비밀" not in printed


def test_trace_of_an_unknown_order_says_so(shop: DeployedShop) -> None:
    said = run(shop, "ORDER=no-such-order make trace 2>&1 || true").splitlines()
    assert "there is no order no-such-order" in said
