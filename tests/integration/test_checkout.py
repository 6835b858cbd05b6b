"""Checkout: what is sold or ordered, what a repeated key gets, and what a failure leaves."""

import json

import pymysql
import pytest

from common.database import DatabaseUnavailable
from tests.support.books import LOCK_STOCK
from tests.support.database_shop import DatabaseShop, buy, order_more

REQUEST, OTHER_REQUEST = bytes(32), bytes(range(32))


def test_checkout_takes_the_stock_and_leaves_a_purchase(shop: DatabaseShop) -> None:
    checkout = buy(shop.store(), 3, requester="홍길동")
    assert checkout.outcome == "sold"
    assert checkout.purchased is True
    assert checkout.stock == 7
    assert checkout.order_id is None
    assert shop.stock() == 7
    assert shop.purchases() == [(3, "홍길동")]
    assert shop.orders() == []


def test_product_has_the_fields_of_the_contract(shop: DatabaseShop) -> None:
    """Clients depend on these. Other fields may be added."""
    product = json.loads(shop.store().product("donut") or "null")
    contract = {
        "product_id": "e3957c48-2e06-4d5e-8404-4ff32e8b8f9f",
        "sku": "CP-502101",
        "name": "부산도너츠",
        "price": 19900,
        "stock": 10,
        "factory_id": "FF-500293",
    }
    assert {name: product.get(name) for name in contract} == contract


def test_checkout_of_the_whole_stock_succeeds(shop: DatabaseShop) -> None:
    checkout = buy(shop.store(), 10)
    assert checkout.outcome == "sold"
    assert checkout.stock == 0
    assert shop.stock() == 0


def test_out_of_stock_checkout_sells_nothing_and_leaves_an_order(shop: DatabaseShop) -> None:
    checkout = buy(
        shop.store(),
        11,
        order_id="order-1",
        callback_token="token-1",
        factory_id="FF-1",
        requester="홍길동",
    )
    assert checkout.outcome == "out_of_stock"
    assert checkout.purchased is False
    assert checkout.stock == 10
    assert checkout.order_id == "order-1"
    assert shop.stock() == 10
    assert shop.purchases() == []
    assert shop.sql(
        "SELECT order_id, callback_token, factory_id, quantity, requester, status"
        " FROM production_order"
    ) == [("order-1", "token-1", "FF-1", 11, "홍길동", "requested")]


def test_out_of_stock_checkout_returns_what_the_factory_needs(shop: DatabaseShop) -> None:
    ((product_id,),) = shop.sql("SELECT product_id FROM product")
    checkout = buy(shop.store(), 11, product_id=product_id, slug="ignored")
    assert checkout.product_id == product_id
    assert checkout.slug == "donut"
    assert checkout.factory_id == "FF-500293"
    assert buy(shop.store(), 11, factory_id="another").factory_id == "another"


def test_new_order_is_due_for_the_relay_after_publish_within(shop: DatabaseShop) -> None:
    """Until then it is the sales function's to publish."""
    order_more(shop.store(), 11, publish_within=30)
    assert shop.sql(
        "SELECT TIMESTAMPDIFF(SECOND, requested_at, next_attempt_at) FROM production_order"
    ) == [(30,)]


def test_checkout_takes_another_product_from_its_own_stock(shop: DatabaseShop) -> None:
    shop.add_product("bagel", product_id="bagel-id", stock=5)
    assert buy(shop.store(), 2, product_id="bagel-id").stock == 3
    assert shop.stocks() == {"bagel": 3, "donut": 10}


@pytest.mark.parametrize(
    "wrong", [{"product_id": "no-such-id"}, {"slug": "bagel"}, {"product_id": "donut"}]
)
def test_checkout_of_an_unknown_product_changes_nothing(
    shop: DatabaseShop, wrong: dict[str, str]
) -> None:
    assert buy(shop.store(), 1, idempotency_key="key", **wrong).outcome == "no_such_product"
    assert shop.stock() == 10
    assert shop.purchases() == []
    assert shop.orders() == []
    assert shop.sql("SELECT * FROM idempotency_key") == []


def test_repeated_key_returns_the_first_purchase(shop: DatabaseShop) -> None:
    store = shop.store()
    first = buy(store, 3, idempotency_key="key")
    buy(store, 2)
    repeat = buy(store, 3, idempotency_key="key")
    assert repeat.outcome == "replayed"
    assert repeat.purchased is True
    assert repeat.stock == first.stock
    assert repeat.request_hash == first.request_hash
    assert shop.stock() == 5
    assert shop.purchases() == [(3, "unknown"), (2, "unknown")]


def test_repeated_key_returns_the_first_out_of_stock_result(shop: DatabaseShop) -> None:
    """It does so even if there is enough stock by then."""
    store = shop.store()
    first = buy(store, 11, idempotency_key="key")
    shop.set_stock(100)
    repeat = buy(store, 11, idempotency_key="key")
    assert repeat.outcome == "replayed"
    assert repeat.purchased is False
    assert repeat.stock == 10
    assert repeat.order_id == first.order_id
    assert shop.stock() == 100
    assert [order_id for order_id, _, _ in shop.orders()] == [first.order_id]


def test_repeated_key_does_not_wait_for_the_products_lock(shop: DatabaseShop) -> None:
    store = shop.store()
    first = buy(store, 3, idempotency_key="key")
    with shop.owner() as connection, connection.cursor() as cursor:
        connection.begin()
        cursor.execute(LOCK_STOCK)
        repeat = buy(store, 3, idempotency_key="key")
        connection.rollback()
    assert repeat == first._replace(outcome="replayed")


def test_repeated_key_returns_the_hash_of_its_first_request(shop: DatabaseShop) -> None:
    store = shop.store()
    buy(store, 3, idempotency_key="key", request_hash=REQUEST)
    assert buy(store, 4, idempotency_key="key", request_hash=OTHER_REQUEST).request_hash == REQUEST
    assert shop.purchases() == [(3, "unknown")]


@pytest.mark.parametrize(
    ("table", "quantity"), [("idempotency_key", 3), ("purchase", 3), ("production_order", 11)]
)
def test_checkout_that_fails_half_way_leaves_nothing(
    shop: DatabaseShop, table: str, quantity: int
) -> None:
    store = shop.store()
    shop.sql(f"RENAME TABLE {table} TO elsewhere")
    with pytest.raises(DatabaseUnavailable, match="1146"):
        buy(store, quantity, idempotency_key="key")
    shop.sql(f"RENAME TABLE elsewhere TO {table}")
    assert shop.stock() == 10
    assert shop.purchases() == []
    assert shop.orders() == []
    assert shop.sql("SELECT * FROM idempotency_key") == []

    assert buy(store, 4, idempotency_key="key").outcome == "sold"
    assert shop.stock() == 6
    assert shop.purchases() == [(4, "unknown")]


def test_requester_too_long_for_its_column_is_an_error(shop: DatabaseShop) -> None:
    store = shop.store()
    with pytest.raises(pymysql.DataError, match="p_requester"):
        buy(store, 3, requester="홍" * 201)
    assert shop.stock() == 10
    assert shop.purchases() == []
    assert buy(store, 3).outcome == "sold"


@pytest.mark.parametrize("quantity", [0, -1, None])
def test_quantity_below_one_is_an_error(shop: DatabaseShop, quantity: int) -> None:
    store = shop.store()
    with pytest.raises(DatabaseUnavailable):
        buy(store, quantity)
    assert shop.stock() == 10
    assert shop.purchases() == []
    assert shop.orders() == []
