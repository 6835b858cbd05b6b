"""Restock: an order's callback adds its quantity once, and only with its token."""

import pytest

from common.database import DatabaseUnavailable
from tests.support.database_shop import DatabaseShop, arrive, buy, order_more


def test_order_adds_its_own_quantity_once(shop: DatabaseShop) -> None:
    store = shop.store()
    order_id = order_more(store, 25)
    first = arrive(store, order_id)
    assert first.added is True
    assert first.stock == 35
    assert shop.stock() == 35

    buy(store, 5)
    repeat = arrive(store, order_id)
    assert repeat.added is False
    assert repeat.stock == 30
    assert shop.stock() == 30


def test_callback_marks_only_its_own_order(shop: DatabaseShop) -> None:
    store = shop.store()
    arriving, waiting = order_more(store, 25), order_more(store, 50)
    arrive(store, arriving)
    assert {order_id: status for order_id, status, _ in shop.orders()} == {
        arriving: "arrived",
        waiting: "requested",
    }


def test_lead_time_ends_with_the_arrival(shop: DatabaseShop) -> None:
    """A repeated callback returns the same, however late it is."""
    store = shop.store()
    order_id = order_more(store, 25)
    shop.sql("UPDATE production_order SET requested_at = requested_at - INTERVAL 500 SECOND")
    first = arrive(store, order_id).lead_time_seconds
    assert first in range(500, 510)
    shop.sql("UPDATE production_order SET arrived_at = requested_at + INTERVAL 70 SECOND")
    assert arrive(store, order_id).lead_time_seconds == 70


def test_callback_adds_stock_to_its_own_product(shop: DatabaseShop) -> None:
    shop.add_product("bagel", product_id="bagel-id", stock=5)
    store = shop.store()
    arrive(store, order_more(store, 25, product_id="bagel-id"), slug="bagel")
    assert shop.stocks() == {"bagel": 30, "donut": 10}


@pytest.mark.parametrize("status", ["requested", "published", "stuck"])
def test_callback_is_accepted_in_any_state(shop: DatabaseShop, status: str) -> None:
    store = shop.store()
    order_id = order_more(store, 25)
    shop.sql("UPDATE production_order SET status = %s", (status,))
    assert arrive(store, order_id).added
    assert shop.orders() == [(order_id, "arrived", 25)]


def test_callback_that_failed_half_way_can_be_repeated(shop: DatabaseShop) -> None:
    store = shop.store()
    order_id = order_more(store, 25)
    ((stock,),) = shop.sql("SELECT stock FROM product")
    shop.sql(f"ALTER TABLE product ADD CONSTRAINT full CHECK (stock <= {stock})")
    with pytest.raises(DatabaseUnavailable):
        arrive(store, order_id)
    assert shop.orders() == [(order_id, "requested", 25)]

    shop.sql("ALTER TABLE product DROP CONSTRAINT full")
    assert arrive(store, order_id).added
    assert shop.stock() == 35


@pytest.mark.parametrize(
    "wrong",
    [
        {"order_id": "no-such-order"},
        {"slug": "bagel"},
        {"slug": "no-such-product"},
        {"callback_token": "Token-2"},
        {"callback_token": "token-1"},
        {"callback_token": "Token-1 "},
        {"callback_token": ""},
    ],
    ids=str,
)
def test_callback_with_a_wrong_parameter_is_rejected(
    shop: DatabaseShop, wrong: dict[str, str]
) -> None:
    shop.add_product("bagel", product_id="bagel-id", stock=5)
    store = shop.store()
    order_id = order_more(store, 25, callback_token="Token-1")
    order_more(store, 25, callback_token="Token-2")
    right = {"order_id": order_id, "slug": "donut", "callback_token": "Token-1"}
    assert store.restock(**{**right, **wrong}) is None
    assert shop.stock() == 10
    assert {status for _, status, _ in shop.orders()} == {"requested"}
    assert store.restock(**right)
