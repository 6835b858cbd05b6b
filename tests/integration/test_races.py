import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, pairwise

import pytest

from common.store import CheckoutResult, Store
from migrate.handler import PROCEDURES
from tests.support.concurrency import at_once
from tests.support.database_shop import Shop, arrive, buy, order_more
from tests.support.polling import eventually

BUYERS = 32


def assert_each_sale_took_its_own(
    sales: list[tuple[int, CheckoutResult]], *, initial: int, left: int
) -> None:
    """In the order of their answers, each left exactly its quantity less than the one before."""
    in_order = sorted(sales, key=lambda sale: sale[1].stock, reverse=True)
    before = [initial] + [checkout.stock for _, checkout in in_order]
    assert [a - b for a, b in pairwise(before)] == [quantity for quantity, _ in in_order]
    assert before[-1] == left


def test_many_buyers_of_random_counts_never_buy_more_than_there_is(shop: Shop) -> None:
    shop.set_stock(500)
    choice = random.Random(500)
    baskets = [[choice.randint(1, 9) for _ in range(8)] for _ in range(BUYERS)]

    def shopping(store: Store, basket: list[int]) -> list[tuple[int, CheckoutResult]]:
        return [(quantity, buy(store, quantity)) for quantity in basket]

    stores = [shop.store() for _ in baskets]
    purses = at_once(
        *[partial(shopping, store, basket) for store, basket in zip(stores, baskets, strict=True)]
    )
    answers = list(chain(*purses))

    sales = [(quantity, checkout) for quantity, checkout in answers if checkout.purchased]
    refusals = [(quantity, checkout) for quantity, checkout in answers if not checkout.purchased]
    assert_each_sale_took_its_own(sales, initial=500, left=shop.stock())
    assert sorted(quantity for quantity, _ in shop.ledger()) == sorted(
        quantity for quantity, _ in sales
    )
    assert sum(quantity for quantity, _ in shop.ledger()) + shop.stock() == 500
    assert all(0 <= checkout.stock < quantity for quantity, checkout in refusals)
    assert {(order_id, quantity) for order_id, _, quantity in shop.orders()} == {
        (checkout.order_id, quantity) for quantity, checkout in refusals
    }
    assert shop.stock() < 9, "somebody could have had more"


def test_the_last_donut_is_sold_once(shop: Shop) -> None:
    stores = [shop.store() for _ in range(BUYERS)]
    for _ in range(5):
        shop.set_stock(1)
        shop.sql("DELETE FROM purchase")
        answers = at_once(*[partial(buy, store, 1) for store in stores])
        assert Counter(checkout.outcome for checkout in answers) == {
            "sold": 1,
            "out_of_stock": BUYERS - 1,
        }
        assert (shop.stock(), shop.ledger()) == (0, [(1, "unknown")])


@pytest.mark.parametrize("settings", ["ours", "rds_defaults"])
def test_deliveries_in_the_middle_of_sales_lose_nothing(
    request: pytest.FixtureRequest, settings: str
) -> None:
    if settings == "rds_defaults":
        request.getfixturevalue("rds_defaults")
    shop: Shop = request.getfixturevalue("shop")
    supplier = shop.store()
    shop.set_stock(0)
    orders = [order_more(supplier, 20) for _ in range(16)]

    def shopping(store: Store) -> int:
        return sum(3 for _ in range(12) if buy(store, 3).purchased)

    def deliver(store: Store, some: list[str]) -> int:
        return -sum(20 for order_id in some if arrive(store, order_id).added)

    buyers = [partial(shopping, shop.store()) for _ in range(12)]
    factories = [partial(deliver, shop.store(), orders[n::4]) for n in range(4)]
    changes = at_once(*buyers, *factories)
    assert sum(change for change in changes if change < 0) == -320
    assert shop.stock() == -sum(changes)
    assert sum(quantity for quantity, _ in shop.ledger()) + shop.stock() == 320


def test_a_delivery_between_the_two_looks_of_a_checkout_is_sold(shop: Shop) -> None:
    procedure = (PROCEDURES / "checkout.sql").read_text()
    second_look = "SELECT stock INTO v_stock FROM product"
    assert second_look in procedure
    shop.sql(procedure.replace(second_look, f"DO SLEEP(0.5); {second_look}"))
    store = shop.store()

    def between() -> None:
        assert shop.sql("SELECT 1 FROM information_schema.processlist WHERE state = 'User sleep'")

    with ThreadPoolExecutor() as pool:
        sale = pool.submit(buy, store, 11)
        eventually(between, within=2)
        shop.set_stock(50)
        assert (sale.result().outcome, sale.result().stock) == ("sold", 39)


def test_one_delivery_announced_many_times_at_once_counts_once(shop: Shop) -> None:
    stores = [shop.store() for _ in range(16)]
    order_id = order_more(stores[0], 25)
    answers = at_once(*[partial(arrive, store, order_id) for store in stores])
    assert Counter(answer.added for answer in answers) == {True: 1, False: 15}
    assert {answer.stock for answer in answers} == {35}
    assert shop.stock() == 35


@pytest.mark.parametrize(("quantity", "purchased", "stock"), [(3, True, 7), (11, False, 10)])
def test_one_key_many_times_at_once_is_one_request(
    shop: Shop, quantity: int, purchased: bool, stock: int
) -> None:
    stores = [shop.store() for _ in range(16)]
    answers = at_once(*[partial(buy, store, quantity, idempotency_key="key") for store in stores])
    order_id = answers[0].order_id
    assert {(answer.purchased, answer.stock, answer.order_id) for answer in answers} == {
        (purchased, stock, order_id)
    }
    assert Counter(answer.outcome for answer in answers) == {
        "sold" if purchased else "out_of_stock": 1,
        "replayed": 15,
    }
    assert shop.stock() == stock
    assert shop.ledger() == [(quantity, "unknown")] * purchased
    assert shop.orders() == [(order_id, "requested", quantity)] * (not purchased)
