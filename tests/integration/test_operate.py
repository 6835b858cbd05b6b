"""What operators' commands read and change. The function's code runs as its database user."""

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from common.store import Store
from local.polling import eventually
from operate import reads
from tests.support.concurrency import at_once
from tests.support.database_shop import (
    DatabaseShop,
    arrive,
    buy,
    claim_orders,
    insert_before,
    order_more,
)
from tests.support.variables import set_variables

WHO = "arn:aws:iam::000000000000:user/홍길동"
Invoke = Callable[..., Any]


@pytest.fixture
def invoke(shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Return a function that invokes the handler, with a new id unless one is given."""
    set_variables(monkeypatch)
    from operate import handler

    login = replace(shop.database, database_secret_arn="operate")
    monkeypatch.setattr(handler, "store", Store(login))

    def invoke(verb: str, **fields: Any) -> Any:
        event = {"verb": verb, "claimed_by": WHO, "operation_id": str(uuid.uuid4()), **fields}
        response = handler.handler(json.loads(json.dumps(event)), None)
        return json.loads(json.dumps(response))

    return invoke


def rows(response: Any) -> list[list[dict[str, Any]]]:
    """Return the rows of each table."""
    return [table["rows"] for table in response["tables"]]


def entries(shop: DatabaseShop) -> list[tuple[Any, ...]]:
    return shop.sql(
        "SELECT kind, amount, reason, recorded_by FROM stock_entry ORDER BY stock_entry_id"
    )


def make_stuck(shop: DatabaseShop, *order_ids: str) -> None:
    for order_id in order_ids:
        shop.sql(
            "UPDATE production_order SET status = 'stuck', publications = 4, attempts = 2,"
            " next_attempt_at = NULL WHERE order_id = %s",
            (order_id,),
        )


# --- commands that read


def test_requested_and_stuck_orders_are_listed(shop: DatabaseShop, invoke: Invoke) -> None:
    store = shop.store()
    requested, stuck, published = (order_more(store, quantity) for quantity in (40, 50, 60))
    make_stuck(shop, stuck)
    store.mark_published(published, overdue_after=60)
    on_their_way, listed, by_status = rows(invoke("orders"))
    assert [line["order_id"] for line in on_their_way] == [published]
    assert {line["status"]: (line["orders"], line["quantity"]) for line in by_status} == {
        "requested": (1, 40),
        "stuck": (1, 50),
        "published": (1, 60),
    }
    assert [line["order_id"] for line in listed] == [requested, stuck]


def test_arrived_orders_are_counted_for_a_day(shop: DatabaseShop, invoke: Invoke) -> None:
    store = shop.store()
    named, blanked, earlier = (order_more(store, quantity) for quantity in (40, 50, 60))
    for order_id in (named, blanked, earlier):
        arrive(store, order_id)
    change = "UPDATE production_order SET {} WHERE order_id = %s"
    shop.sql(change.format("requester_blanked = TRUE"), (blanked,))
    shop.sql(change.format("arrived_at = arrived_at - INTERVAL 25 HOUR"), (earlier,))
    *_, (line,) = rows(invoke("orders"))
    assert line["status"] == "arrived"
    assert line["oldest_seconds"] is None, "it has nothing to wait for"
    assert line["orders"] == 2
    assert line["quantity"] == 40 + 50


def test_order_is_shown_with_its_times_in_sequence(shop: DatabaseShop, invoke: Invoke) -> None:
    store = shop.store()
    order_id = order_more(store, 40, requester="홍길동")
    store.mark_published(order_id, overdue_after=60)
    response = invoke("order", order_id=order_id)
    (order,), timeline = rows(response)
    ((product_id,),) = shop.sql("SELECT product_id FROM product")
    assert order == {
        "order_id": order_id,
        "status": "published",
        "slug": "donut",
        "product_id": product_id,
        "quantity": 40,
        "publications": 1,
        "attempts": 0,
    }
    assert [line["what"].split()[0] for line in timeline] == ["requested", "published", "next:"]
    assert [line["at"] for line in timeline] == sorted(line["at"] for line in timeline)
    assert "홍길동" not in str(response)


def test_order_of_a_deleted_product_names_the_product(shop: DatabaseShop, invoke: Invoke) -> None:
    """It is stuck until the product is declared again, under this id."""
    store = shop.store()
    order_id = order_more(store, 40, publish_within=0)
    shop.sql("UPDATE production_order SET product_id = 'deleted'")
    claim_orders(store)
    (order,), timeline = rows(invoke("order", order_id=order_id))
    assert (order["slug"], order["product_id"]) == (None, "deleted")
    assert timeline[-1]["what"] == "marked as stuck, because its product was deleted"
    for verb in ("orders", "stuck"):
        listed = [row for table in rows(invoke(verb)) for row in table if "order_id" in row]
        assert [row["product_id"] for row in listed] == ["deleted"], verb


def test_reminded_order_has_its_reminder_in_its_timeline(
    shop: DatabaseShop, invoke: Invoke
) -> None:
    store = shop.store()
    order_id = order_more(store, 40)
    store.mark_published(order_id, overdue_after=0)
    store.mark_stuck(max_publications=1, limit=1)
    invoke("remind", order_ids=[order_id], operation_id="an-id")
    _, timeline = rows(invoke("order", order_id=order_id))
    assert [line["what"] for line in timeline] == [
        "requested",
        "published for the last time",
        "marked as stuck",
        "reminded by `make remind`, operation_id=an-id",
        "next: the relay publishes it",
    ]


def test_unknown_order_is_named(invoke: Invoke) -> None:
    assert invoke("order", order_id="nothing")["error"] == "there is no order nothing"


def test_books_are_those_of_the_database(shop: DatabaseShop, invoke: Invoke) -> None:
    buy(shop.store(), 3)
    (books,) = rows(invoke("books"))
    assert books == shop.lines()
    assert books[0]["purchases"] == 3


def test_reads_are_of_one_snapshot_and_wait_for_no_lock(shop: DatabaseShop) -> None:
    """Between two queries of a read, the stock changes, and then the product is locked."""
    store = Store(replace(shop.database, database_secret_arn="operate"))
    stock = "SELECT SUM(stock) AS stock FROM product"
    slow = f"SELECT SLEEP(1.5), stock FROM ({stock}) AS total"
    with ThreadPoolExecutor(1) as pool, shop.owner() as other, other.cursor() as cursor:
        reading = pool.submit(store.read, [stock, slow, stock])
        eventually(lambda: shop.assert_asleep(1), within=10)
        transactions = shop.sql(
            "SELECT trx_is_read_only, trx_isolation_level FROM information_schema.innodb_trx"
        )
        cursor.execute("UPDATE product SET stock = stock + 1")
        other.begin()
        cursor.execute("UPDATE product SET stock = stock + 1")
        found = [result[0]["stock"] for result in reading.result(timeout=30)]
        other.rollback()
    assert transactions == [(1, "REPEATABLE READ")]
    assert len(set(found)) == 1, found


def test_long_table_is_cut_and_marked_as_cut(
    shop: DatabaseShop, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "ROWS", 2)
    store = shop.store()
    order_ids = [order_more(store, 40) for _ in range(3)]
    make_stuck(shop, *order_ids)
    (stuck,) = invoke("stuck")["tables"]
    assert [line["order_id"] for line in stuck["rows"]] == order_ids[:2]
    assert stuck["cut"] is True
    make_due = "UPDATE production_order SET status = 'published' WHERE order_id = %s"
    shop.sql(make_due, (order_ids[0],))
    (stuck,) = invoke("stuck")["tables"]
    assert [line["order_id"] for line in stuck["rows"]] == order_ids[1:]
    assert stuck["cut"] is False


# --- commands that change something


def test_stocktake_books_the_difference_at_that_moment(shop: DatabaseShop, invoke: Invoke) -> None:
    ((booked,),) = rows(invoke("stocktake", slug="donut", count=4, reason=" 쥐가 먹었다 "))
    assert booked == {"slug": "donut", "stock_before": 10, "booked": -6, "stock": 4}
    assert entries(shop)[1:] == [("stocktake", -6, "쥐가 먹었다", WHO)]
    shop.assert_balanced()


def test_adjustment_is_an_entry_of_its_own_kind(shop: DatabaseShop, invoke: Invoke) -> None:
    for amount, before in ((-3, 10), (5, 7)):
        ((booked,),) = rows(invoke("adjust", slug="donut", amount=amount, reason="found"))
        assert booked == {
            "slug": "donut",
            "stock_before": before,
            "booked": amount,
            "stock": before + amount,
        }, amount
    assert entries(shop)[1:] == [("adjustment", -3, "found", WHO), ("adjustment", 5, "found", WHO)]
    shop.assert_balanced()


CORRECTIONS = {"stocktake": {"count": 4}, "adjust": {"amount": -6}}


@pytest.mark.parametrize("verb", CORRECTIONS)
def test_repeated_correction_changes_nothing(shop: DatabaseShop, invoke: Invoke, verb: str) -> None:
    """It returns the result of the first, although the stock has changed since."""
    event = {**CORRECTIONS[verb], "slug": "donut", "reason": "a", "operation_id": "once"}
    first = invoke(verb, **event)
    buy(shop.store(), 1)
    assert invoke(verb, **event) == first
    assert rows(first) == [[{"slug": "donut", "stock_before": 10, "booked": -6, "stock": 4}]]
    assert shop.stock() == 3
    shop.assert_balanced()


@pytest.mark.parametrize("verb", CORRECTIONS)
def test_concurrent_corrections_with_one_id_are_booked_once(
    shop: DatabaseShop, invoke: Invoke, verb: str
) -> None:
    stores = [Store(replace(shop.database, database_secret_arn="operate")) for _ in range(4)]
    arguments = {"count": None, "amount": None, **CORRECTIONS[verb]}

    def correct(store: Store) -> object:
        return store.correct_stock("once", slug="donut", reason="a", recorded_by="b", **arguments)

    results = at_once(*[lambda store=store: correct(store) for store in stores])
    assert set(results) == {(True, 10, 4)}
    assert len(entries(shop)) == 2


def test_stock_never_falls_below_zero(shop: DatabaseShop, invoke: Invoke) -> None:
    event = {"slug": "donut", "amount": -11, "reason": "a", "operation_id": "once"}
    assert (
        invoke("adjust", **event)["error"]
        == "nothing was booked: the stock of donut is 10, and would fall below 0"
    )
    assert shop.stock() == 10
    assert len(entries(shop)) == 1
    assert shop.sql("SELECT * FROM operation") == []
    shop.set_stock(11)
    assert "tables" in invoke("adjust", **event), "its id was not used up"


def test_unknown_product_is_named(shop: DatabaseShop, invoke: Invoke) -> None:
    for verb, fields in CORRECTIONS.items():
        response = invoke(verb, slug="bagel", reason="a", **fields)
        assert response["error"] == "there is no product bagel", verb


def test_interrupted_correction_changes_nothing(shop: DatabaseShop, invoke: Invoke) -> None:
    """The id, the entry and the stock change in one transaction."""
    insert_before(shop, "correct_stock", {"UPDATE operation": "SIGNAL SQLSTATE '45000';\n        "})
    response = invoke("adjust", slug="donut", amount=5, reason="a")
    assert "OperationalError 1644" in response["error"]
    assert response["problem"] == "unavailable", "nothing has changed"
    assert shop.stock() == 10
    assert len(entries(shop)) == 1
    assert shop.sql("SELECT * FROM operation") == []


def test_reminded_orders_are_requested_again(shop: DatabaseShop, invoke: Invoke) -> None:
    """Only those that were named, and only if they are still stuck."""
    store = shop.store()
    named, other, arrived = (order_more(store, 40) for _ in range(3))
    make_stuck(shop, named, other)
    shop.sql("UPDATE production_order SET status = 'arrived' WHERE order_id = %s", (arrived,))
    assert rows(invoke("remind", order_ids=[named, arrived, "unknown"])) == [[{"orders": 1}]]
    assert dict(shop.sql("SELECT order_id, status FROM production_order")) == {
        named: "requested",
        other: "stuck",
        arrived: "arrived",
    }
    (claimed,) = store.claim_orders("a", publications=0, newest=False, limit=20, lease=60).orders
    assert claimed.order_id == named


def test_repeated_reminder_does_not_remind_again(shop: DatabaseShop, invoke: Invoke) -> None:
    order_id = order_more(shop.store(), 40)
    make_stuck(shop, order_id)
    first = invoke("remind", order_ids=[order_id], operation_id="once")
    make_stuck(shop, order_id)
    assert invoke("remind", order_ids=[order_id], operation_id="once") == first
    assert rows(first) == [[{"orders": 1}]]
    assert shop.orders() == [(order_id, "stuck", 40)]


def test_concurrent_reminders_with_one_id_return_the_same(shop: DatabaseShop) -> None:
    order_id = order_more(shop.store(), 40)
    make_stuck(shop, order_id)
    stores = [Store(replace(shop.database, database_secret_arn="operate")) for _ in range(4)]
    results = at_once(
        *[lambda store=store: store.remind_stuck("once", order_ids=[order_id]) for store in stores]
    )
    assert results == [1, 1, 1, 1]


OPERATIONS: dict[str, dict[str, Any]] = {
    "remind": {"order_ids": ["unknown"]},
    **{verb: {**fields, "slug": "donut", "reason": "a"} for verb, fields in CORRECTIONS.items()},
}


@pytest.mark.parametrize("first", OPERATIONS)
def test_id_of_another_operation_changes_nothing(
    shop: DatabaseShop, invoke: Invoke, first: str
) -> None:
    """Each command makes a new id, so only a mistake in its code sends the same one twice."""
    invoke(first, operation_id="once", **OPERATIONS[first])
    stock = shop.stock()
    for verb in OPERATIONS.keys() - {first}:
        assert invoke(verb, operation_id="once", **OPERATIONS[verb]) == {
            "error": f"operation_id once was used by {first}: nothing was done",
            "problem": "rejected",
        }, verb
    assert shop.stock() == stock
    shop.assert_balanced()
