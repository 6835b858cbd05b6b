"""The console's checks of the database: what violates them is found, and stays after the repair."""

from collections.abc import Iterator

import pytest

from console import view
from console.live import Live
from console.local_source import LocalSource
from local.polling import eventually
from tests.support.deployed_shop import PATIENCE, DeployedShop
from tests.support.misbehaving import accept_without_callback


@pytest.fixture
def live(shop: DeployedShop) -> Iterator[Live]:
    live = Live(LocalSource(shop.cloud), stories=[])
    with live.watch():
        yield live


def check(live: Live, name: str, *, holds: bool) -> view.Check:
    """Wait for a check's result."""

    def found() -> view.Check:
        live.soon()
        _, shown = live.wait(0, 0)
        (check,) = [each for each in shown.checks if each.name == name]
        assert check.holds is holds, shown.checks
        return check

    return eventually(found, within=PATIENCE)


def all_hold(live: Live) -> None:
    """Wait until everything was checked, and expect no violation."""
    checks = [
        check(live, name, holds=True)
        for name in ("balance", "not_negative", "one_order", "arrives_once", "key_sold_once")
    ]
    assert [each.violations for each in checks] == [[]] * len(checks)


def test_nothing_is_violated_by_what_the_shop_does(shop: DeployedShop, live: Live) -> None:
    shop.checkout(3)
    for _ in range(2):
        shop.checkout(2, headers={"Idempotency-Key": "a key"})
    arrived = shop.order_more(40, headers={"Idempotency-Key": "another key"})
    shop.wait_for(arrived)
    shop.factory.respond = accept_without_callback
    shop.placed_order(shop.order_more(80))
    before = check(live, "balance", holds=True).checked_at or 0
    for _ in range(3):

        def checked_again(before: int = before) -> int:
            at = check(live, "balance", holds=True).checked_at or 0
            assert at > before
            return at

        before = eventually(checked_again, within=PATIENCE)
    all_hold(live)


BREAKS: dict[str, tuple[str, str, str, dict[str, object]]] = {
    "a piece appears": (
        "balance",
        "UPDATE product SET stock = stock + 1",
        "UPDATE product SET stock = stock - 1",
        {"slug": "donut", "stock": 11, "expected": 10, "difference": 1},
    ),
    "a purchase disappears": (
        "balance",
        "UPDATE purchase SET quantity = quantity + 2",
        "UPDATE purchase SET quantity = quantity - 2",
        {"slug": "donut", "purchases": 3, "difference": 2},
    ),
    "the stock falls below 0": (
        "not_negative",
        "SET STATEMENT check_constraint_checks = OFF FOR UPDATE product SET stock = stock - 11",
        "UPDATE product SET stock = stock + 11",
        {"slug": "donut", "slot": 0, "stock": -1},
    ),
    "an order disappears": (
        "one_order",
        "UPDATE production_order SET order_id = 'lost'",
        "UPDATE production_order SET order_id = (SELECT order_id FROM idempotency_key"
        " WHERE NOT purchased)",
        {"checkouts": 1, "orders": 0},
    ),
    "two checkouts have one order": (
        "one_order",
        "INSERT INTO checkout_outcome (order_id, purchased, stock, created_at)"
        " SELECT order_id, FALSE, 1, UTC_TIMESTAMP(6) FROM production_order",
        "DELETE FROM checkout_outcome WHERE order_id IN (SELECT order_id FROM production_order)",
        {"checkouts": 2, "orders": 1},
    ),
    "a key has sold twice": (
        "key_sold_once",
        "INSERT INTO purchase (product_id, quantity, requester, purchased_at)"
        " SELECT product_id, 1, 'twice', UTC_TIMESTAMP(6) FROM product",
        "DELETE FROM purchase WHERE requester = 'twice'",
        {"more_purchases_than_checkouts": 1},
    ),
}
"""The check, statements that break and repair the database, and what the row says."""


@pytest.mark.parametrize("case", BREAKS)
def test_violation_is_found_and_stays_with_its_row(
    shop: DeployedShop, live: Live, case: str
) -> None:
    name, breaks, repairs, expected = BREAKS[case]
    shop.factory.respond = accept_without_callback
    shop.set_stock(11)
    shop.checkout(1)
    order_id = shop.order_more(40, headers={"Idempotency-Key": "a key"})
    shop.placed_order(order_id)
    check(live, name, holds=True)
    shop.sql(breaks)
    violated = check(live, name, holds=False)
    (violation,) = violated.violations
    assert expected.items() <= violation.items()
    if name == "one_order":
        assert violation["order_id"] == order_id
    shop.sql(repairs)
    repaired = check(live, name, holds=True)
    assert repaired.violations == [violation]
