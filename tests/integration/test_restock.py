import pytest

from common.store import DatabaseUnavailable
from tests.integration.shop import Shop, buy, order_more


def test_an_order_adds_its_own_quantity_once(shop: Shop) -> None:
    store = shop.store()
    order_id = order_more(store, 25)
    first = store.restock(order_id)
    assert (first.added, first.stock, shop.stock()) == (True, 35, 35)

    buy(store, 5)
    repeat = store.restock(order_id)
    assert (repeat.added, repeat.stock, shop.stock()) == (False, 30, 30)


def test_only_the_arrived_order_is_marked(shop: Shop) -> None:
    store = shop.store()
    arriving, waiting = order_more(store, 25), order_more(store, 50)
    store.restock(arriving)
    assert dict((order_id, status) for order_id, status, _ in shop.orders()) == {
        arriving: "arrived",
        waiting: "requested",
    }


def test_only_the_orders_product_grows(shop: Shop) -> None:
    shop.sql("INSERT INTO product VALUES ('bagel-id', 'bagel', 'CP-2', '베이글', 1, 5, 'FF-500293')")
    store = shop.store()
    store.restock(order_more(store, 25, product_id="bagel-id"))
    assert shop.sql("SELECT slug, stock FROM product ORDER BY slug") == [("bagel", 30), ("donut", 10)]


@pytest.mark.parametrize("status", ["requested", "published", "stuck"])
def test_a_delivery_is_welcome_in_any_state(shop: Shop, status: str) -> None:
    store = shop.store()
    order_id = order_more(store, 25)
    shop.sql("UPDATE production_order SET status = %s", (status,))
    assert store.restock(order_id).added
    assert shop.orders() == [(order_id, "arrived", 25)]


def test_a_delivery_that_fails_in_the_middle_can_be_repeated(shop: Shop) -> None:
    store = shop.store()
    order_id = order_more(store, 25)
    shop.sql("ALTER TABLE product ADD CONSTRAINT full CHECK (stock <= 10)")
    with pytest.raises(DatabaseUnavailable):
        store.restock(order_id)
    assert shop.orders() == [(order_id, "requested", 25)]

    shop.sql("ALTER TABLE product DROP CONSTRAINT full")
    assert store.restock(order_id).added
    assert shop.stock() == 35


def test_a_token_belongs_to_one_order_of_one_product(shop: Shop) -> None:
    store = shop.store()
    order_id = order_more(store, 25, callback_token="Token-1")
    order_more(store, 25, callback_token="Token-2")
    assert store.callback_token(order_id, slug="donut") == "Token-1"
    assert store.callback_token(order_id, slug="bagel") is None
    assert store.callback_token("no-such-order", slug="donut") is None
