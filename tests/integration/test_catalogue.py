"""The catalogue is applied to the database: products are added, changed, removed and returned."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle
from threading import Event

import pytest

from common import failures
from local.polling import eventually
from migrate import catalogue, products
from migrate.catalogue import Catalogue, Factory, Product
from tests.support.books import LOCK_STOCK, as_returned
from tests.support.database_shop import (
    DatabaseShop,
    Functions,
    arrive,
    buy,
    claim_orders,
    order_more,
)
from tests.support.schema import data

FACTORIES = catalogue.load().factories
DONUT = catalogue.load().products[0]
BAGEL = replace(
    DONUT,
    slug="bagel",
    product_id=catalogue.product_id_of("bagel"),
    sku="BG-1",
    name="베이글",
    price=2500,
    opening_stock=20,
)
Declare = Callable[..., None]


@pytest.fixture
def declare(empty_shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Return a function that replaces the catalogue's entries, and migrates."""

    def declare(*products: Product, factories: tuple[Factory, ...] = FACTORIES) -> None:
        declared = Catalogue(factories=factories, products=products)
        monkeypatch.setattr(catalogue, "load", lambda: declared)
        empty_shop.migrate()

    return declare


@pytest.fixture
def donut(slots: int) -> Product:
    return replace(DONUT, slots=slots)


@pytest.fixture
def bagel(slots: int) -> Product:
    return replace(BAGEL, slots=slots)


@pytest.fixture
def shop(empty_shop: DatabaseShop, declare: Declare, donut: Product) -> DatabaseShop:
    """Create a new shop in which the catalogue declares the number of slots."""
    declare(donut)
    return empty_shop


@pytest.fixture
def store(shop: DatabaseShop) -> Functions:
    return shop.store()


def entries(shop: DatabaseShop, product: Product) -> list[tuple[str, int, str, str]]:
    """Return kind, amount, reason and author of the product's entries in the books."""
    return shop.sql(
        "SELECT kind, amount, reason, recorded_by FROM stock_entry WHERE product_id = %s"
        " ORDER BY stock_entry_id",
        (product.product_id,),
    )


def slots_of(shop: DatabaseShop, product: Product) -> list[int]:
    """Return the stock of each of the product's slots."""
    rows = shop.sql(
        "SELECT stock FROM product WHERE product_id = %s"
        " UNION ALL (SELECT stock FROM product_slot WHERE product_id = %s ORDER BY slot)",
        (product.product_id, product.product_id),
    )
    return [stock for (stock,) in rows]


def read(store: Functions, product: Product) -> dict[str, object]:
    """Return the product as customers see it."""
    text = store.product(product.slug)
    assert text, f"there is no {product.slug}"
    return dict(json.loads(text))


# --- a new product


def test_new_product_has_its_opening_stock(
    shop: DatabaseShop, store: Functions, declare: Declare, donut: Product, bagel: Product
) -> None:
    declare(donut, bagel)
    assert read(store, bagel) == as_returned(bagel, stock=20)
    assert entries(shop, bagel) == [("opening", 20, "new in the catalogue", "migrate")]
    assert shop.stocks() == {"donut": 10, "bagel": 20}
    shop.assert_balanced()


def test_new_product_is_spread_over_its_slots(
    shop: DatabaseShop, declare: Declare, donut: Product, bagel: Product
) -> None:
    declare(donut, bagel)
    expected = [20] if bagel.slots == 1 else [2] * 4 + [1] * 12
    assert slots_of(shop, bagel) == expected


def test_new_product_is_spread_over_two_slots(
    shop: DatabaseShop, declare: Declare, donut: Product
) -> None:
    bagel = replace(BAGEL, slots=2)
    declare(donut, bagel)
    assert slots_of(shop, bagel) == [10, 10]


def test_new_product_can_be_bought_and_ordered(
    shop: DatabaseShop, store: Functions, declare: Declare, donut: Product, bagel: Product
) -> None:
    declare(donut, bagel)
    assert buy(store, 3, product_id=bagel.product_id).stock == 17
    order_id = order_more(store, 18, product_id=bagel.product_id)
    assert arrive(store, order_id, slug="bagel").stock == 35
    assert shop.stocks() == {"donut": 10, "bagel": 35}
    shop.assert_balanced()


def test_new_factory_can_make_a_new_product(
    shop: DatabaseShop, store: Functions, declare: Declare, donut: Product, bagel: Product
) -> None:
    declare(
        donut,
        replace(bagel, factory_id="FF-2"),
        factories=(*FACTORIES, Factory(factory_id="FF-2", name="베이글 공장")),
    )
    assert read(store, bagel)["factory_id"] == "FF-2"


def test_new_shop_has_the_declared_opening_stock(
    empty_shop: DatabaseShop, declare: Declare, donut: Product
) -> None:
    """Not the one of the first release, whose migration still inserts the product."""
    declare(replace(donut, opening_stock=25))
    assert empty_shop.stocks() == {"donut": 25}
    assert [amount for _, amount, *_ in entries(empty_shop, donut)] == [25]
    empty_shop.assert_balanced()


# --- a changed product


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ((DONUT,), []),
        ((replace(DONUT, price=1),), ["donut"]),
        ((replace(DONUT, slots=2),), ["donut"]),
        ((replace(DONUT, price=1, slots=2),), ["donut"]),
        ((DONUT, BAGEL), ["bagel"]),
        ((DONUT, replace(BAGEL, slots=2)), ["bagel"]),
        ((BAGEL,), ["bagel", "donut"]),
    ],
    ids=[
        "nothing",
        "an attribute",
        "the slots",
        "both",
        "a new product",
        "a new one with slots",
        "one new, one removed",
    ],
)
@pytest.mark.usefixtures("shop")
def test_changed_products_are_logged(
    declared: tuple[Product, ...],
    expected: list[str],
    declare: Declare,
    caplog: pytest.LogCaptureFixture,
) -> None:
    declare(DONUT)
    caplog.set_level("INFO")
    declare(*declared)
    (line,) = [vars(line) for line in caplog.records if line.msg == "migrated"]
    assert line["changed_products"] == expected


def test_changed_product_is_updated_and_keeps_its_stock(
    shop: DatabaseShop, store: Functions, declare: Declare, donut: Product
) -> None:
    buy(store, 3)
    before = slots_of(shop, donut)
    changed = replace(
        donut, sku="CP-2", name="새 도너츠", price=1, factory_id="FF-2", opening_stock=99
    )
    declare(changed, factories=(*FACTORIES, Factory(factory_id="FF-2", name="새 공장")))
    assert read(store, donut) == as_returned(changed, stock=7)
    assert slots_of(shop, donut) == before
    assert [amount for _, amount, *_ in entries(shop, donut)] == [10]


def test_changed_name_of_a_factory_is_updated(
    shop: DatabaseShop, declare: Declare, donut: Product
) -> None:
    declare(donut, factories=(replace(FACTORIES[0], name="새 공장"),))
    assert shop.sql("SELECT factory_id, name FROM factory") == [(donut.factory_id, "새 공장")]


def test_unchanged_catalogue_waits_for_no_lock(
    shop: DatabaseShop, declare: Declare, donut: Product, bagel: Product
) -> None:
    """Nor does a buyer wait for the migration."""
    declare(donut, bagel)
    before = data(shop)
    with shop.owner() as other, other.cursor() as cursor:
        other.begin()
        cursor.execute(LOCK_STOCK)
        cursor.execute("SELECT * FROM factory FOR UPDATE")
        declare(donut, bagel)
        other.rollback()
    assert data(shop) == before


def test_each_purchase_has_a_price_that_was_declared(
    shop: DatabaseShop, declare: Declare, donut: Product
) -> None:
    """Customers buy while the price changes."""
    shop.set_stock(1_000_000)
    ended = Event()

    def buy_until_the_end() -> None:
        store = shop.store()
        while not ended.is_set():
            assert buy(store, 1).purchased, "a customer found no stock"

    def assert_sold_at(price: int) -> None:
        sold = shop.sql("SELECT 1 FROM purchase WHERE unit_price = %s LIMIT 1", (price,))
        assert sold, f"nothing was sold at {price}"

    prices = [donut.price, 100, 200]
    with ThreadPoolExecutor(3) as pool:
        buyers = [pool.submit(buy_until_the_end) for _ in range(3)]
        try:
            for price in prices:
                declare(replace(donut, price=price))
                eventually(lambda price=price: assert_sold_at(price), within=20)  # type: ignore[misc]  # binds this price
        finally:
            ended.set()
        for buyer in buyers:
            buyer.result()
    found = shop.sql("SELECT DISTINCT unit_price FROM purchase ORDER BY unit_price")
    assert [price for (price,) in found] == sorted(prices)
    shop.assert_balanced()


@pytest.mark.parametrize(
    ("change", "expected"),
    [("price = 78", ("sold", [78])), ("price = 78, in_catalogue = FALSE", ("no_such_product", []))],
    ids=["another price", "removed"],
)
def test_checkout_that_waited_finds_the_changed_product(
    shop: DatabaseShop, store: Functions, change: str, expected: tuple[str, list[int]]
) -> None:
    """Three pieces are more than one of 16 slots has, so the checkout locks the product's row."""
    with shop.owner() as other, other.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        other.begin()
        cursor.execute(LOCK_STOCK)
        cursor.execute(f"UPDATE product SET {change}")
        waiting = pool.submit(buy, store, 3)
        eventually(lambda: shop.assert_waiting(1), within=2)
        other.commit()
        outcome = waiting.result().outcome
    prices = [price for (price,) in shop.sql("SELECT unit_price FROM purchase")]
    assert (outcome, prices) == expected
    shop.assert_balanced()


# --- a removed product


@pytest.fixture
def removed(store: Functions, declare: Declare, donut: Product, bagel: Product) -> str:
    """Sell 2 bagels and order 30, then remove the product. Return the order's id."""
    declare(donut, bagel)
    buy(store, 2, product_id=bagel.product_id, idempotency_key="a purchase")
    order_id = order_more(
        store, 30, product_id=bagel.product_id, idempotency_key="an order", publish_within=0
    )
    declare(donut)
    return order_id


def test_removed_product_is_unknown_to_customers(
    store: Functions, bagel: Product, removed: str
) -> None:
    assert store.product("bagel") is None
    assert buy(store, 1, product_id=bagel.product_id).outcome == "no_such_product"
    assert buy(store, 1, slug="bagel").outcome == "no_such_product"
    new_key = buy(store, 1, product_id=bagel.product_id, idempotency_key="a new key")
    assert new_key.outcome == "no_such_product"
    assert buy(store, 1).stock == 9, "the donut is still sold"


def test_repeated_key_returns_the_result_of_a_removed_product(
    store: Functions, bagel: Product, removed: str
) -> None:
    purchase = buy(store, 2, product_id=bagel.product_id, idempotency_key="a purchase")
    assert (purchase.outcome, purchase.purchased, purchase.stock) == ("replayed", True, 18)
    order = buy(store, 30, product_id=bagel.product_id, idempotency_key="an order")
    assert (order.outcome, order.purchased, order.order_id) == ("replayed", False, removed)


def test_late_callback_of_a_removed_product_is_accepted(
    shop: DatabaseShop, store: Functions, removed: str
) -> None:
    assert arrive(store, removed, slug="bagel").stock == 48
    assert not arrive(store, removed, slug="bagel").added
    assert shop.stocks()["bagel"] == 48
    shop.assert_balanced()


def test_order_of_a_removed_product_can_be_followed(
    store: Functions, bagel: Product, removed: str
) -> None:
    text = store.order(removed)
    assert text
    order = json.loads(text)
    assert (order["sku"], order["quantity"], order["status"]) == (bagel.sku, 30, "requested")


def test_order_of_a_removed_product_is_still_published(
    store: Functions, bagel: Product, removed: str
) -> None:
    assert store.mark_orphans(publications=0, newest=False, limit=20) == 0
    claim = claim_orders(store)
    assert claim.stuck == []
    assert [(order.order_id, order.slug) for order in claim.orders] == [(removed, bagel.slug)]


def test_product_that_is_declared_again_has_its_stock(
    shop: DatabaseShop,
    store: Functions,
    declare: Declare,
    donut: Product,
    bagel: Product,
    removed: str,
) -> None:
    arrive(store, removed, slug="bagel")
    declare(donut, bagel)
    assert read(store, bagel)["stock"] == 48
    assert buy(store, 48, product_id=bagel.product_id).purchased
    assert len(entries(shop, bagel)) == 1
    shop.assert_balanced()


# --- what the catalogue can't change


def other_id(donut: Product) -> Product:
    return replace(donut, product_id=BAGEL.product_id, price=1)


def other_slug(donut: Product) -> Product:
    return replace(donut, slug="doughnut", price=1)


CONFLICTS: dict[str, tuple[Callable[[Product], Product], str]] = {
    "id": (
        other_id,
        f"The product donut has the id {DONUT.product_id} in this database, and an id can't change:"
        f' declare product_id = "{DONUT.product_id}", or use a new slug.',
    ),
    "slug": (
        other_slug,
        f"The product with the id {DONUT.product_id} has the slug donut in this database, and a slug"
        ' can\'t change: declare slug = "donut", or use a new id.',
    ),
    "SKU": (
        lambda donut: replace(BAGEL, sku=donut.sku),
        f"The SKU {DONUT.sku} of the product bagel belongs to the product donut in this database."
        ' A slug can\'t change: if bagel is the product that was donut, declare slug = "donut" again.'
        " If it is a new one, use another SKU.",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), CONFLICTS.values(), ids=CONFLICTS)
def test_conflict_with_the_database_changes_nothing(
    shop: DatabaseShop,
    declare: Declare,
    donut: Product,
    change: Callable[[Product], Product],
    sentence: str,
) -> None:
    """The first product is in the catalogue, and another one is new."""
    before = data(shop)
    cake = replace(BAGEL, slug="cake", product_id=catalogue.product_id_of("cake"), sku="CK-1")
    with pytest.raises(products.Conflict) as conflict:
        declare(cake, change(donut), factories=(replace(FACTORIES[0], name="새 공장"),))
    assert str(conflict.value) == sentence
    assert data(shop) == before


def test_each_conflict_has_a_sentence(declare: Declare, shop: DatabaseShop, donut: Product) -> None:
    bagel = replace(BAGEL, sku=donut.sku)
    with pytest.raises(
        products.Conflict,
        match=r"an id can't change.* The SKU CP-502101 of the product bagel belongs .* Use another SKU",
    ):
        declare(other_id(donut), bagel)


def test_catalogue_that_fails_half_way_changes_nothing(
    shop: DatabaseShop, declare: Declare, donut: Product, bagel: Product
) -> None:
    before = data(shop)
    changed = (replace(donut, price=1, slots=4), bagel)
    shop.sql(
        "CREATE TRIGGER broken BEFORE INSERT ON stock_entry FOR EACH ROW"
        " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'broken'"
    )
    with pytest.raises(failures.Failed):
        declare(*changed)
    assert data(shop) == before
    shop.sql("DROP TRIGGER broken")
    declare(*changed)
    assert shop.stocks() == {"donut": 10, "bagel": 20}
    shop.assert_balanced()


def test_locked_product_stops_the_catalogue_with_a_sentence(
    shop: DatabaseShop, declare: Declare, donut: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "ATTEMPTS", 1)
    before = data(shop)
    with shop.owner() as other, other.cursor() as cursor:
        other.begin()
        cursor.execute(LOCK_STOCK)
        with pytest.raises(
            products.Busy,
            match=r"^The products are locked by customers, and were not changed: deploy again\.$",
        ):
            declare(replace(donut, price=1))
        other.rollback()
    assert data(shop) == before


def test_catalogue_is_applied_again_after_a_lock(
    shop: DatabaseShop, declare: Declare, donut: Product
) -> None:
    """The lock is held until the first attempt has failed."""
    with shop.owner() as other, other.cursor() as cursor, ThreadPoolExecutor() as pool:
        other.begin()
        cursor.execute(LOCK_STOCK)
        migration = pool.submit(declare, replace(donut, price=1))

        def has_failed_once() -> None:
            ((_, count),) = shop.sql("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_waits'")
            assert int(count) >= waits + 2

        ((_, count),) = shop.sql("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_waits'")
        waits = int(count)
        try:
            eventually(has_failed_once, within=10)
        finally:
            other.rollback()
        migration.result()
    assert shop.sql("SELECT price FROM product") == [(1,)]


# --- the number of slots


def test_number_of_slots_can_change_without_changing_the_stock(
    shop: DatabaseShop, store: Functions, declare: Declare, donut: Product
) -> None:
    for slots in (16, 4, 1, 3):
        declare(replace(donut, slots=slots))
        assert len(slots_of(shop, donut)) == slots, f"{slots} slots"
        assert read(store, donut)["stock"] == 10, f"{slots} slots"
    assert len(entries(shop, donut)) == 1
    shop.assert_balanced()


def test_unchanged_number_of_slots_moves_no_stock(
    shop: DatabaseShop, store: Functions, declare: Declare, donut: Product
) -> None:
    shop.set_stock(100)
    buy(store, 1)
    before = slots_of(shop, donut)
    declare(replace(donut, price=1))
    assert slots_of(shop, donut) == before


def test_catalogue_changes_while_customers_buy(
    shop: DatabaseShop, declare: Declare, donut: Product, bagel: Product
) -> None:
    """A product is added, re-priced, re-slotted, removed and returned. The books balance."""
    ended = Event()

    def buy_until_the_end(client: int) -> set[str]:
        """Buy one product and the other, and let each order arrive. Return the outcomes."""
        store = shop.store()
        outcomes: set[str] = set()
        for product in cycle((donut, bagel)):
            if ended.is_set():
                return outcomes
            checkout = buy(store, 1 + client, product_id=product.product_id)
            outcomes.add(checkout.outcome)
            if checkout.order_id:
                restocked = arrive(store, checkout.order_id, slug=product.slug)
                assert restocked.added, f"an order of {product.slug} did not arrive"
        raise AssertionError("a cycle never ends")

    steps = [
        (donut, bagel),
        (replace(donut, slots=16), replace(bagel, price=1, slots=16)),
        (replace(donut, price=2, slots=4), replace(bagel, slots=4)),
        (donut,),
        (replace(donut, slots=1), replace(bagel, slots=1)),
        (replace(donut, slots=16), bagel),
    ]
    with ThreadPoolExecutor(4) as pool:
        buyers = [pool.submit(buy_until_the_end, client) for client in range(4)]
        try:
            for step, declared in enumerate(steps):
                (sold,) = shop.sql("SELECT COUNT(*) FROM purchase")[0]

                def assert_more_was_sold(sold: int = sold, step: int = step) -> None:
                    (now,) = shop.sql("SELECT COUNT(*) FROM purchase")[0]
                    assert now > sold + 20, f"{now - sold} purchases since step {step}"

                declare(*declared)
                shop.assert_balanced()
                eventually(assert_more_was_sold, within=60)
        finally:
            ended.set()
        outcomes = set().union(*(buyer.result() for buyer in buyers))
    assert outcomes == {"sold", "out_of_stock", "no_such_product"}
    shop.assert_balanced()
