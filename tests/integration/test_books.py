"""The books of a product: stock = entries - purchases + arrivals, by the database alone."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from local.polling import eventually
from tests.support.database_shop import DatabaseShop, arrive, buy, order_more


def line(**amounts: int) -> dict[str, str | int]:
    """Return what `make books` says about the donut."""
    return {"slug": "donut", **amounts}


def test_books_of_a_new_shop_have_its_opening_stock(shop: DatabaseShop) -> None:
    assert shop.lines() == [
        line(entries=10, purchases=0, arrivals=0, expected=10, stock=10, difference=0)
    ]


def test_books_have_purchases_arrivals_and_stocktakes(shop: DatabaseShop) -> None:
    store = shop.store()
    buy(store, 3)
    arrive(store, order_more(store, 50))
    order_more(store, 100)
    shop.set_stock(40)
    assert shop.lines() == [
        line(entries=-7, purchases=3, arrivals=50, expected=40, stock=40, difference=0)
    ]


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("UPDATE product SET stock = stock + 5", 5),
        ("UPDATE purchase SET quantity = quantity + 1", 1),
        ("DELETE FROM purchase", -2),
        ("UPDATE production_order SET quantity = 60", -10),
        ("UPDATE production_order SET status = 'stuck'", 50),
        ("DELETE FROM stock_entry", 10),
    ],
)
def test_change_by_hand_is_a_difference(
    shop: DatabaseShop, statement: str, difference: int
) -> None:
    store = shop.store()
    buy(store, 2)
    arrive(store, order_more(store, 50))
    shop.sql(statement)
    (found,) = shop.lines()
    assert found["difference"] == difference


def test_change_of_another_slot_by_hand_is_a_difference(shop: DatabaseShop) -> None:
    shop.set_slots(4)
    shop.sql("UPDATE product_slot SET stock = stock + 1 WHERE slot = 3")
    (found,) = shop.lines()
    assert found["difference"] == 1


def test_product_without_trade_has_a_line(shop: DatabaseShop) -> None:
    shop.add_product("bagel", product_id="bagel", stock=0)
    assert [found["slug"] for found in shop.lines()] == ["bagel", "donut"]
    shop.assert_balanced()


def test_books_of_a_busy_shop_balance(shop: DatabaseShop) -> None:
    """They are read in one snapshot: no purchase is in one table and missing in another."""
    ended = Event()

    def trade() -> None:
        store = shop.store()
        while not ended.is_set():
            checkout = buy(store, 3)
            if checkout.order_id:
                arrive(store, checkout.order_id)

    differences = set()

    def assert_busy() -> None:
        (found,) = shop.lines()
        differences.add(found["difference"])
        assert found["purchases"] > 300
        assert found["arrivals"] > 300

    with ThreadPoolExecutor(3) as pool:
        clients = [pool.submit(trade) for _ in range(3)]
        try:
            eventually(assert_busy, within=60)
        finally:
            ended.set()
        for client in clients:
            client.result()
    assert differences == {0}


def test_books_wait_for_no_lock(shop: DatabaseShop) -> None:
    with shop.owner() as other, other.cursor() as cursor:
        other.begin()
        cursor.execute("UPDATE product SET stock = stock - 1")
        cursor.execute("UPDATE stock_entry SET amount = amount - 2")
        shop.assert_balanced()
        other.rollback()
