"""A product's stock is spread over slots, and sold as if it were one row."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from threading import Event

import pymysql
import pytest

from common.store import Store
from local.polling import eventually
from tests.support.books import LOCK_STOCK
from tests.support.concurrency import at_once
from tests.support.database_shop import (
    DatabaseShop,
    arrive,
    buy,
    connection_id,
    insert_before,
    order_more,
)

SLOTS = 16
CLIENTS = 16
DONUT = "e3957c48-2e06-4d5e-8404-4ff32e8b8f9f"


@pytest.fixture
def slots() -> int:
    """Return the number of slots in this module, in which each test says what it needs."""
    return SLOTS


def spread(shop: DatabaseShop) -> list[int]:
    """Return the stock of each of the donut's slots."""
    return [
        int(stock)
        for (stock,) in shop.sql(
            "SELECT stock FROM (SELECT product_id, 0 AS slot, stock FROM product"
            " UNION ALL SELECT product_id, slot, stock FROM product_slot) AS slots"
            " JOIN (SELECT product_id FROM product WHERE slug = 'donut') AS donut USING (product_id)"
            " ORDER BY slot"
        )
    ]


def store_of_slot(shop: DatabaseShop, slot: int) -> Store:
    """Return a store whose connection takes from this slot."""
    for _ in range(10 * SLOTS):
        store = shop.store()
        if connection_id(store) % SLOTS == slot:
            return store
    raise AssertionError(f"no connection has the slot {slot}")


def deadlocks(shop: DatabaseShop) -> int:
    ((_, count),) = shop.sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
    return int(count)


@contextmanager
def slot_locked(shop: DatabaseShop, slot: int) -> Iterator[None]:
    """Hold the lock on one slot until the block ends."""
    with shop.owner() as other, other.cursor() as cursor:
        other.begin()
        cursor.execute(
            "SELECT stock FROM product_slot WHERE product_id = %s AND slot = %s FOR UPDATE",
            (DONUT, slot),
        )
        yield
        other.rollback()


def unlocked_slots(shop: DatabaseShop) -> list[int]:
    """Return the slots in `product_slot` on which no transaction holds a lock."""
    rows = shop.sql(
        "SELECT slot FROM product_slot WHERE product_id = %s FOR UPDATE SKIP LOCKED", (DONUT,)
    )
    return [slot for (slot,) in rows]


def test_stock_is_spread_evenly(shop: DatabaseShop) -> None:
    assert spread(shop) == [1] * 10 + [0] * 6
    shop.set_stock(100)
    assert spread(shop) == [7] * 4 + [6] * 12


def test_purchase_takes_from_the_slot_of_its_connection(shop: DatabaseShop) -> None:
    shop.set_stock(160)
    for slot in (0, 5):
        buy(store_of_slot(shop, slot), 3)
    assert spread(shop) == [7, 10, 10, 10, 10, 7] + [10] * 10


def test_purchase_takes_from_several_slots_and_spreads_the_rest(shop: DatabaseShop) -> None:
    shop.set_stock(160)
    checkout = buy(store_of_slot(shop, 5), 11)
    assert checkout.purchased
    assert checkout.stock == 149
    assert spread(shop) == [10] * 5 + [9] * 11


def test_last_units_are_sold_whatever_slot_they_are_in(shop: DatabaseShop) -> None:
    for slot in range(SLOTS):
        shop.set_stock(1)
        assert buy(store_of_slot(shop, slot), 1).purchased, slot
        assert shop.stock() == 0, slot


def test_product_and_callback_return_the_total(shop: DatabaseShop) -> None:
    store = shop.store()
    product = store.product("donut")
    assert product
    assert '"stock": 10,' in product
    order_id = order_more(store, 25)
    assert [arrive(store, order_id).stock for _ in range(2)] == [35, 35]
    assert spread(shop) == [3] * 3 + [2] * 13


def test_buyers_with_different_slots_do_not_wait_for_each_other(shop: DatabaseShop) -> None:
    shop.set_stock(160)
    store = store_of_slot(shop, 4)
    with slot_locked(shop, 5):
        assert buy(store, 1).stock == 159


def test_out_of_stock_checkout_waits_for_no_slot(shop: DatabaseShop) -> None:
    """A crowd of them does not delay the buyers who want less."""
    store = store_of_slot(shop, 4)
    with slot_locked(shop, 5):
        assert buy(store, 11).outcome == "out_of_stock"


def test_slots_are_locked_in_ascending_order(shop: DatabaseShop) -> None:
    store = shop.store()
    order_id = order_more(store, 25)
    with ThreadPoolExecutor() as pool:
        with slot_locked(shop, 5):
            arrival = pool.submit(arrive, store, order_id)
            eventually(partial(shop.assert_waiting, 1), within=2)
            unlocked = unlocked_slots(shop)
        assert arrival.result().stock == 35
    assert unlocked == list(range(6, SLOTS))


def test_sell_out_meets_no_deadlock_and_sells_the_last_unit(shop: DatabaseShop) -> None:
    """Each slot runs out at another moment, while some buyers want more than a slot holds."""
    stores = [shop.store() for _ in range(CLIENTS)]
    before = deadlocks(shop)

    def buy_until_none_is_left(store: Store, quantities: Iterator[int]) -> int:
        bought = 0
        while (checkout := buy(store, next(quantities))).stock or checkout.purchased:
            bought += checkout.purchased
        return bought

    for number in range(5):
        shop.set_stock(160)
        clients = [
            partial(buy_until_none_is_left, store, cycle(islice(cycle([1, 3, 1, 7, 2]), n, n + 5)))
            for n, store in enumerate(stores)
        ]
        assert sum(at_once(*clients)) > 0, number
        assert shop.stock() == 0, number
        shop.assert_balanced()
    assert deadlocks(shop) == before


def test_units_sold_before_all_slots_are_locked_are_sold_once(
    shop: DatabaseShop,
) -> None:
    """The checkout has read that the slots together have enough, and then they have not."""
    pause = {
        "            CALL change_stock(": "            DO SLEEP(IF(p_quantity = 9, 0.5, 0));\n"
    }
    insert_before(shop, "checkout", pause)
    slow, quick = shop.store(), shop.store()

    with ThreadPoolExecutor() as pool:
        checkout = pool.submit(buy, slow, 9)
        eventually(partial(shop.assert_asleep, 1), within=2)
        assert buy(quick, 2).purchased
        assert checkout.result().outcome == "out_of_stock"
        assert checkout.result().stock == 8
    assert shop.stock() == 8
    shop.assert_balanced()


@pytest.mark.parametrize(("before", "after"), [(1, 16), (16, 1), (16, 4), (4, 16)])
def test_purchase_is_exact_when_the_slots_change_under_it(
    shop: DatabaseShop, before: int, after: int
) -> None:
    """The purchase has read the number of slots, and then it changes."""
    shop.set_slots(before)
    shop.set_stock(160)
    insert_before(shop, "checkout", {"    SET v_slot = CONNECTION_ID()": "    DO SLEEP(0.5);\n"})
    stores = [shop.store() for _ in range(CLIENTS)]

    with ThreadPoolExecutor(CLIENTS) as pool:
        checkouts = [pool.submit(buy, store, 1) for store in stores]
        eventually(partial(shop.assert_asleep, CLIENTS), within=2)
        shop.set_slots(after)
        results = [checkout.result() for checkout in checkouts]
    assert {result.outcome for result in results} == {"sold"}
    assert {result.stock for result in results} <= set(range(160 - CLIENTS, 160))
    assert shop.stock() == 160 - CLIENTS
    shop.assert_balanced()


def test_slots_change_while_buyers_and_factories_are_busy(shop: DatabaseShop) -> None:
    """1 → 16 → 4 → 1 → … on a live shop: nothing is lost, and nothing is sold twice."""
    shop.set_stock(200)
    orders = [order_more(shop.store(), 1000) for _ in range(24)]
    stores = [shop.store() for _ in range(CLIENTS)]
    is_over = Event()

    def buy_often(store: Store, quantity: int) -> int:
        bought = 0
        while not is_over.is_set():
            bought += quantity * buy(store, quantity).purchased
        return bought

    def change_slots() -> int:
        try:
            for order_id, slots in zip(orders, cycle([1, 16, 4])):
                shop.set_slots(slots)
                assert len(spread(shop)) == slots, f"{slots} slots, order {order_id}"
                if slots == 4:
                    arrive(stores[0], order_id)
        finally:
            is_over.set()
        return 0

    clients = [partial(buy_often, store, n % 3 + 1) for n, store in enumerate(stores[1:])]
    bought = sum(at_once(*clients, change_slots))
    assert bought > 0
    shop.assert_balanced()
    (line,) = shop.lines()
    assert line["purchases"] == bought
    assert line["arrivals"] == 8000


def test_interrupted_change_of_slots_moves_nothing(shop: DatabaseShop) -> None:
    """Its connection is killed before it commits."""
    shop.set_stock(160)
    buy(store_of_slot(shop, 5), 3)
    before = spread(shop)
    with shop.owner() as changing, changing.cursor() as cursor:
        changing.begin()
        cursor.execute(
            "CALL change_stock((SELECT product_id FROM product), 0, 4, @changed, @stock)"
        )
        cursor.execute("SELECT COUNT(*) FROM product_slot")
        assert cursor.fetchone() == (3,)
        cursor.execute("SELECT CONNECTION_ID()")
        (id,) = cursor.fetchone() or (None,)
        shop.sql("KILL %s", (id,))
        with pytest.raises(pymysql.MySQLError):
            changing.commit()

    def rolled_back() -> None:
        assert unlocked_slots(shop) == list(range(1, SLOTS))

    eventually(rolled_back, within=2)
    assert spread(shop) == before
    shop.set_slots(4)
    assert spread(shop) == [40, 39, 39, 39]
    shop.assert_balanced()


def test_migration_moves_stock_only_if_the_slots_differ(shop: DatabaseShop) -> None:
    """The catalogue declares one slot. The shop has 16 now, and one again after the migration."""
    shop.set_stock(160)
    shop.migrate()
    assert spread(shop) == [160]
    with shop.owner() as other, other.cursor() as cursor:
        other.begin()
        cursor.execute(LOCK_STOCK)  # the migration waits for no slot
        shop.migrate()
        other.rollback()


@pytest.mark.parametrize("after", [4, 32])
def test_change_of_slots_waits_for_no_other_product(shop: DatabaseShop, after: int) -> None:
    """The other product's slots follow in the same index."""
    shop.add_product("next", product_id=DONUT[:-1] + "z", stock=160)
    with shop.owner() as other, other.cursor() as cursor:
        other.begin()
        cursor.execute("SELECT * FROM product_slot WHERE product_id <> %s FOR UPDATE", (DONUT,))
        shop.set_slots(after)
        other.rollback()
    assert len(spread(shop)) == after
    shop.assert_balanced()


def test_stock_never_falls_below_zero_in_any_slot(shop: DatabaseShop) -> None:
    with pytest.raises(pymysql.MySQLError, match="product_slot_stock"):
        shop.sql("UPDATE product_slot SET stock = stock - 2 WHERE slot = 1")


def test_change_below_zero_changes_nothing(shop: DatabaseShop) -> None:
    before = spread(shop)
    with shop.owner() as connection, connection.cursor() as cursor:
        cursor.execute(
            "CALL change_stock((SELECT product_id FROM product), -11, 4, @changed, @stock)"
        )
        cursor.execute("SELECT @changed, @stock")
        assert cursor.fetchone() == (0, 10)
    assert spread(shop) == before


def test_change_of_an_unknown_product_is_an_error(shop: DatabaseShop) -> None:
    with pytest.raises(pymysql.MySQLError, match="there is no such product"):
        shop.sql("CALL change_stock('no-such-id', 1, NULL, @changed, @stock)")
