"""Many clients at the same moment: nothing is sold twice, and nothing is lost."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, pairwise

import pytest

from common.store import CheckoutResult, Store
from local.polling import eventually
from tests.support.concurrency import at_once
from tests.support.database_shop import DatabaseShop, arrive, buy, insert_before, order_more

CLIENTS = 32


def assert_each_took_its_quantity(
    purchases: list[tuple[int, CheckoutResult]], *, initial: int, left: int
) -> None:
    """Check that each purchase left its quantity less than the one before it.

    The stock that they returned gives their order.
    """
    in_order = sorted(purchases, key=lambda purchase: purchase[1].stock, reverse=True)
    before = [initial] + [checkout.stock for _, checkout in in_order]
    assert [a - b for a, b in pairwise(before)] == [quantity for quantity, _ in in_order]
    assert before[-1] == left


def test_many_clients_never_buy_more_than_there_is(shop: DatabaseShop, slots: int) -> None:
    shop.set_stock(500)
    rng = random.Random(500)
    quantities = [[rng.randint(1, 9) for _ in range(8)] for _ in range(CLIENTS)]

    def buy_each(store: Store, quantities: list[int]) -> list[tuple[int, CheckoutResult]]:
        return [(quantity, buy(store, quantity)) for quantity in quantities]

    clients = [partial(buy_each, shop.store(), some) for some in quantities]
    checkouts = list(chain(*at_once(*clients)))

    purchases = [(quantity, checkout) for quantity, checkout in checkouts if checkout.purchased]
    others = [(quantity, checkout) for quantity, checkout in checkouts if not checkout.purchased]
    if slots == 1:  # otherwise two purchases at the same moment may return the same stock
        assert_each_took_its_quantity(purchases, initial=500, left=shop.stock())
    bought = sorted(quantity for quantity, _ in shop.purchases())
    assert bought == sorted(quantity for quantity, _ in purchases)
    assert sum(bought) + shop.stock() == 500
    for quantity, checkout in others:
        assert 0 <= checkout.stock < quantity, (quantity, checkout)
    ordered = {(order_id, quantity) for order_id, _, quantity in shop.orders()}
    assert ordered == {(checkout.order_id, quantity) for quantity, checkout in others}
    assert shop.stock() < 9, "an out-of-stock checkout could have been sold"
    shop.assert_balanced()


def test_last_donut_is_sold_once(shop: DatabaseShop) -> None:
    stores = [shop.store() for _ in range(CLIENTS)]
    for number in range(5):
        shop.set_stock(1)
        checkouts = at_once(*[partial(buy, store, 1) for store in stores])
        assert Counter(checkout.outcome for checkout in checkouts) == {
            "sold": 1,
            "out_of_stock": CLIENTS - 1,
        }, f"round {number}"
        assert shop.stock() == 0, f"round {number}"
        assert shop.purchases() == [(1, "unknown")] * (number + 1), f"round {number}"


@pytest.mark.parametrize("settings", ["ours", "rds_defaults"])
def test_callbacks_among_checkouts_lose_nothing(
    request: pytest.FixtureRequest, slots: int, settings: str
) -> None:
    if settings == "rds_defaults":
        request.getfixturevalue("rds_defaults")
    shop: DatabaseShop = request.getfixturevalue("shop")
    store = shop.store()
    shop.set_stock(0)
    orders = [order_more(store, 20) for _ in range(16)]

    def buy_often(store: Store) -> int:
        return -sum(3 for _ in range(12) if buy(store, 3).purchased)

    def call_back(store: Store, some: list[str]) -> int:
        return sum(20 for order_id in some if arrive(store, order_id).added)

    clients = [partial(buy_often, shop.store()) for _ in range(12)]
    factories = [partial(call_back, shop.store(), orders[n::4]) for n in range(4)]
    changes = at_once(*clients, *factories)
    assert sum(change for change in changes if change > 0) == 320
    assert shop.stock() == sum(changes)
    assert sum(quantity for quantity, _ in shop.purchases()) + shop.stock() == 320
    shop.assert_balanced()


def test_checkout_sells_what_arrives_between_its_two_reads(shop: DatabaseShop) -> None:
    """The first read finds too little stock. The second one reads how much there is."""
    insert_before(shop, "checkout", {"        SELECT stock + IF(": "        DO SLEEP(0.5);\n"})
    store = shop.store()

    with ThreadPoolExecutor() as pool:
        checkout = pool.submit(buy, store, 11)
        eventually(partial(shop.assert_asleep, 1), within=2)
        shop.set_stock(50)
        assert checkout.result().outcome == "sold"
        assert checkout.result().stock == 39


def test_simultaneous_callbacks_of_one_order_add_stock_once(shop: DatabaseShop) -> None:
    stores = [shop.store() for _ in range(16)]
    order_id = order_more(stores[0], 25)
    results = at_once(*[partial(arrive, store, order_id) for store in stores])
    assert Counter(result.added for result in results) == {True: 1, False: 15}
    assert {result.stock for result in results} == {35}
    assert shop.stock() == 35


@pytest.mark.parametrize(("quantity", "purchased", "stock"), [(3, True, 7), (11, False, 10)])
def test_simultaneous_checkouts_with_one_key_are_one_request(
    shop: DatabaseShop, quantity: int, purchased: bool, stock: int
) -> None:
    stores = [shop.store() for _ in range(16)]
    checkouts = at_once(*[partial(buy, store, quantity, idempotency_key="key") for store in stores])
    order_id = checkouts[0].order_id
    returned = {(checkout.purchased, checkout.stock, checkout.order_id) for checkout in checkouts}
    assert returned == {(purchased, stock, order_id)}
    assert Counter(checkout.outcome for checkout in checkouts) == {
        "sold" if purchased else "out_of_stock": 1,
        "replayed": 15,
    }
    assert shop.stock() == stock
    assert shop.purchases() == [(quantity, "unknown")] * purchased
    assert shop.orders() == [(order_id, "requested", quantity)] * (not purchased)
