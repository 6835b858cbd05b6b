"""Requesters' names are blanked when they are old, and nothing else changes."""

import json
from typing import Any

import pytest

from common.database import DatabaseUnavailable
from migrate import handler as migrate
from tests.support.database_shop import DatabaseShop, arrive, buy, order_more
from tests.support.schema import data

DAY = 24 * 3600


@pytest.fixture
def slots() -> int:
    """Return one number of slots, because no stock is changed."""
    return 1


def age(shop: DatabaseShop, table: str, column: str, requester: str, *, days: int = 2) -> None:
    """Make the rows of the requesters whose names begin like this older."""
    shop.sql(
        f"UPDATE {table} SET {column} = {column} - INTERVAL %s DAY WHERE requester LIKE %s",
        (days, f"{requester}%"),
    )


def requesters(shop: DatabaseShop) -> dict[str, str]:
    """Return the requester of each production order, by its id."""
    return dict(shop.sql("SELECT order_id, requester FROM production_order"))


def without_names(shop: DatabaseShop) -> dict[str, list[dict[str, Any]]]:
    """Return all data, except the names and the record of what was blanked."""
    tables = data(shop)
    del tables["blanking_progress"]
    for row in [*tables["purchase"], *tables["production_order"]]:
        row.pop("requester")
        row.pop("requester_blanked", None)
    return tables


def test_old_purchases_are_blanked_up_to_the_limit(shop: DatabaseShop) -> None:
    store = shop.store()
    for name in ("old 1", "old 2", "old 3", "young"):
        buy(store, 1, requester=name)
    age(shop, "purchase", "purchased_at", "old")
    blanked = [store.blank_purchases(retention=DAY, limit=2) for _ in range(3)]
    assert blanked == [2, 1, 0]
    assert shop.purchases() == [(1, ""), (1, ""), (1, ""), (1, "young")]


def test_purchase_is_blanked_when_it_has_become_old(shop: DatabaseShop) -> None:
    store = shop.store()
    for name in ("old", "young"):
        buy(store, 1, requester=name)
    age(shop, "purchase", "purchased_at", "old")
    assert store.blank_purchases(retention=DAY, limit=10) == 1
    age(shop, "purchase", "purchased_at", "young")
    assert store.blank_purchases(retention=DAY, limit=10) == 1
    assert shop.purchases() == [(1, ""), (1, "")]


def test_purchase_from_a_clock_that_was_ahead_only_delays_others(shop: DatabaseShop) -> None:
    store = shop.store()
    for name in ("old 1", "ahead", "old 2"):
        buy(store, 1, requester=name)
    age(shop, "purchase", "purchased_at", "old")
    assert store.blank_purchases(retention=DAY, limit=10) == 1
    assert shop.purchases() == [(1, ""), (1, "ahead"), (1, "old 2")]
    age(shop, "purchase", "purchased_at", "ahead")
    assert store.blank_purchases(retention=DAY, limit=10) == 2


@pytest.mark.parametrize("gone", ["DELETE FROM purchase", "TRUNCATE purchase"])
def test_purchases_after_a_deletion_are_blanked(shop: DatabaseShop, gone: str) -> None:
    store = shop.store()
    for name in ("old 1", "old 2", "old 3"):
        buy(store, 1, requester=name)
    age(shop, "purchase", "purchased_at", "old")
    assert store.blank_purchases(retention=DAY, limit=10) == 3
    shop.sql(gone)
    assert store.blank_purchases(retention=DAY, limit=10) == 0
    buy(store, 1, requester="old again")
    age(shop, "purchase", "purchased_at", "old")
    assert store.blank_purchases(retention=DAY, limit=10) == 1


def test_failed_portion_is_blanked_again(shop: DatabaseShop) -> None:
    """The names and the progress are changed together, or neither is."""
    store = shop.store()
    buy(store, 1, requester="old")
    age(shop, "purchase", "purchased_at", "old")
    shop.sql(
        "CREATE TRIGGER fail BEFORE INSERT ON blanking_progress FOR EACH ROW SIGNAL SQLSTATE '45000'"
    )
    with pytest.raises(DatabaseUnavailable, match="1644"):
        store.blank_purchases(retention=DAY, limit=10)
    assert shop.purchases() == [(1, "old")]
    shop.sql("DROP TRIGGER fail")
    assert store.blank_purchases(retention=DAY, limit=10) == 1


def test_orders_that_arrived_long_ago_are_blanked_up_to_the_limit(shop: DatabaseShop) -> None:
    store = shop.store()
    names = ("old 1", "old 2", "old 3", "young")
    for name in names:
        order_more(store, 1000, order_id=name, requester=name)
    for name in names:
        arrive(store, name)
    age(shop, "production_order", "arrived_at", "old")
    blanked = [store.blank_orders(retention=DAY, limit=2) for _ in range(3)]
    assert blanked == [2, 1, 0]
    assert requesters(shop) == {"old 1": "", "old 2": "", "old 3": "", "young": "young"}


def test_order_keeps_its_requester_until_it_has_arrived(shop: DatabaseShop) -> None:
    """Also if it is stuck: an operator may have it placed again."""
    store = shop.store()
    for order_id in ("requested", "published", "stuck", "late"):
        order_more(store, 1000, order_id=order_id, requester="old")
    for order_id in ("published", "stuck"):
        store.mark_published(order_id, overdue_after=0 if order_id == "stuck" else 900)
    assert store.mark_stuck(max_publications=1, limit=10) == 1
    for column in ("requested_at", "published_at"):
        age(shop, "production_order", column, "old", days=100)
    arrive(store, "late")
    assert store.blank_orders(retention=DAY, limit=10) == 0
    assert set(requesters(shop).values()) == {"old"}
    age(shop, "production_order", "arrived_at", "old")
    assert store.blank_orders(retention=DAY, limit=10) == 1
    assert requesters(shop)["late"] == ""


def test_blanking_changes_nothing_but_names(shop: DatabaseShop) -> None:
    store = shop.store()
    buy(store, 2, requester="old", idempotency_key="bought")
    arrive(
        store,
        order_more(store, 1000, requester="old", order_id="ordered", idempotency_key="ordered"),
    )
    age(shop, "purchase", "purchased_at", "old")
    age(shop, "production_order", "arrived_at", "old")
    before, lines, order = without_names(shop), shop.lines(), store.order("ordered")
    assert store.blank_purchases(retention=DAY, limit=10) == 1
    assert store.blank_orders(retention=DAY, limit=10) == 1
    assert "old" not in json.dumps(data(shop), default=str)
    assert without_names(shop) == before
    assert shop.lines() == lines
    assert store.order("ordered") == order


def test_repeats_are_right_after_blanking(shop: DatabaseShop) -> None:
    store = shop.store()
    first = buy(store, 2, requester="old", idempotency_key="bought")
    order_id = order_more(store, 1000, requester="old", idempotency_key="ordered")
    arrive(store, order_id)
    age(shop, "purchase", "purchased_at", "old")
    age(shop, "production_order", "arrived_at", "old")
    store.blank_purchases(retention=DAY, limit=10)
    store.blank_orders(retention=DAY, limit=10)
    stock = shop.stock()
    repeated = buy(store, 2, requester="old", idempotency_key="bought")
    assert repeated.outcome == "replayed"
    assert repeated.stock == first.stock
    assert buy(store, 1000, requester="old", idempotency_key="ordered").order_id == order_id
    assert not arrive(store, order_id).added
    assert shop.stock() == stock
    shop.assert_balanced()


@pytest.mark.parametrize(
    ("file", "undo"),
    [
        (
            "0015_production_order_requester_blanked.sql",
            "DROP INDEX production_order_named, DROP COLUMN requester_blanked",
        ),
        ("0016_production_order_named.sql", "DROP INDEX production_order_named"),
    ],
)
def test_column_and_index_are_added_without_making_checkouts_wait(
    shop: DatabaseShop, file: str, undo: str
) -> None:
    """A statement that waits for the table makes all later ones wait, so it soon gives up."""
    shop.sql(f"ALTER TABLE production_order {undo}")
    shop.sql("DELETE FROM schema_migration WHERE file >= %s", (file,))
    with shop.owner() as connection, connection.cursor() as cursor:
        connection.begin()
        cursor.execute("SELECT COUNT(*) FROM production_order")
        with pytest.raises(migrate.MigrationFailed, match=f"{file}: Lock wait timeout exceeded"):
            shop.migrate()
    assert buy(shop.store(), 1).outcome == "sold"
    shop.migrate()
    assert shop.sql("SHOW INDEX FROM production_order WHERE Key_name = 'production_order_named'")
