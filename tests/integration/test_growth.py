"""A request reads a few rows, however many the tables have.

The books are the exception, because they add up everything that was ever sold: they read each row
once.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from inspect import isfunction
from uuid import uuid4

import pytest

from common.store import Store
from local.database.mariadb import MariaDb
from migrate.handler import PROCEDURES
from operate import reads
from tests.support.books import NAME, sql
from tests.support.database_shop import DatabaseShop, arrive, buy, claim_orders, order_more
from tests.support.grants import GRANTED_TO_NOBODY
from tests.support.history import fill

ROWS = 1_000_000
"""In each table that grows with each checkout."""
LIMIT = 20
"""Rows in one portion of the relay's work."""
FEW = 40
"""Rows that a request may read, with what leads up to it."""
STOCK = 100
"""Donuts before each request."""
DAY, YEAR = 86_400, 365 * 86_400
BLANKED = 100_000
"""Rows of each table whose names were blanked before."""


@pytest.fixture
def slots() -> int:
    """One: the test sets the number itself, because filling the tables takes long."""
    return 1


@pytest.fixture
def counting(server: MariaDb) -> Iterator[None]:
    """Let the server count the rows that are read from each table."""
    sql(server, "SET GLOBAL userstat = 1")
    yield
    sql(server, "SET GLOBAL userstat = 0")


def rows_read(shop: DatabaseShop, send: Callable[[], object]) -> dict[str, int]:
    """Return how many rows a call reads, by table."""
    shop.sql("FLUSH TABLE_STATISTICS")
    send()
    return dict(
        shop.sql(
            "SELECT table_name, rows_read FROM information_schema.table_statistics"
            " WHERE table_schema = %s AND rows_read > 0",
            (NAME,),
        )
    )


def order(store: Store) -> str:
    """Order what the shop does not have, due at once, and return the order's id."""
    return order_more(store, 10 * STOCK, publish_within=0)


def repeat_key(store: Store) -> None:
    key = str(uuid4())
    for _ in range(2):
        buy(store, 1, idempotency_key=key)


def repeat_callback(store: Store) -> None:
    order_id = order(store)
    for _ in range(2):
        arrive(store, order_id)


def cancel(store: Store, order_id: str) -> None:
    """Do what a checkout without a key does when its result does not arrive."""
    store._query("CALL cancel_checkout(%s)", (order_id,), repeatable=False)


def cancel_purchase(store: Store) -> None:
    order_id = str(uuid4())
    buy(store, 1, order_id=order_id)
    cancel(store, order_id)


def correct(
    store: Store, *, count: int | None = None, amount: int | None = None, times: int = 1
) -> None:
    """Correct the stock, as often as said under the same id."""
    operation_id = str(uuid4())
    for _ in range(times):
        store.correct_stock(
            operation_id, slug="donut", count=count, amount=amount, reason="a", recorded_by="a"
        )


def remind(store: Store, *, times: int = 1) -> None:
    """Remind of an order that has become stuck, as often as said under the same id."""
    order_id, operation_id = order(store), str(uuid4())
    store.mark_published(order_id, overdue_after=0)
    store.mark_stuck(max_publications=1, limit=LIMIT)
    for _ in range(times):
        store.remind_stuck(operation_id, order_ids=[order_id])


def show(queries: Mapping[str, str], store: Store) -> None:
    """Read what an operator's command prints."""
    store.read([f"{sql} LIMIT {reads.ROWS + 1}" for sql in queries.values()])


REQUESTS: dict[str, Callable[[Store], object]] = {
    "product": lambda store: store.product("donut"),
    "order": lambda store: store.order(order(store)),
    "checkout": lambda store: buy(store, 1),
    "checkout with a key": lambda store: buy(store, 1, idempotency_key=str(uuid4())),
    "checkout repeated": repeat_key,
    "checkout of more than one slot has": lambda store: buy(store, STOCK - 1),
    "checkout of more than there is": order,
    "checkout of no product": lambda store: buy(store, 1, slug="bagel"),
    "cancel_checkout": lambda store: cancel(store, str(uuid4())),
    "cancel_checkout of a purchase": cancel_purchase,
    "mark_published": lambda store: store.mark_published(order(store), overdue_after=0),
    "restock": lambda store: arrive(store, order(store)),
    "restock repeated": repeat_callback,
    "claim_orders": lambda store: claim_orders(store, limit=LIMIT),
    "mark_stuck": lambda store: store.mark_stuck(max_publications=4, limit=LIMIT),
    "mark_orphans": lambda store: store.mark_orphans(publications=0, newest=False, limit=LIMIT),
    "purge_idempotency_keys": lambda store: store.purge_idempotency_keys(
        retention=DAY, limit=LIMIT
    ),
    "purge_checkout_outcomes": lambda store: store.purge_checkout_outcomes(
        retention=300, limit=LIMIT
    ),
    "blank_purchases": lambda store: store.blank_purchases(retention=DAY, limit=LIMIT // 4),
    "blank_purchases of no one": lambda store: store.blank_purchases(
        retention=YEAR, limit=LIMIT // 2
    ),
    "blank_orders": lambda store: store.blank_orders(retention=DAY, limit=LIMIT // 2),
    "blank_orders of no one": lambda store: store.blank_orders(retention=YEAR, limit=LIMIT),
    "correct_stock by a count": partial(correct, count=1),
    "correct_stock by an amount": partial(correct, amount=-1),
    "correct_stock by too much": partial(correct, amount=-STOCK - 1),
    "correct_stock repeated": partial(correct, count=1, times=2),
    "remind_stuck": remind,
    "remind_stuck repeated": partial(remind, times=2),
    "backlog": lambda store: store.backlog(),
    "stocks": lambda store: store.stocks(),
    "read of orders": partial(show, reads.ORDERS),
    "read of stuck orders": partial(show, reads.STUCK),
    "read of one order": lambda store: store.read([reads.ORDER], (order(store),)),
}
"""What the shop sends, with what leads up to it. A name begins with the method or the procedure."""


def test_each_method_and_procedure_is_among_the_requests() -> None:
    methods = {name for name, value in vars(Store).items() if isfunction(value)}
    procedures = {file.stem for file in PROCEDURES.glob("*.sql")} - GRANTED_TO_NOBODY.keys()
    public = {name for name in methods | procedures if not name.startswith("_")}
    left_out = public - {name.split()[0] for name in REQUESTS}
    assert not left_out, f"{left_out} may read a whole table: add requests to REQUESTS"


@pytest.mark.usefixtures("counting")
def test_request_reads_a_few_rows_of_a_million(shop: DatabaseShop) -> None:
    fill(shop, ROWS)
    for procedure in ("blank_purchases", "blank_orders"):
        shop.sql(f"CALL {procedure}({DAY}, {BLANKED})")
    store = shop.store()
    for slots in (1, 3):
        shop.set_slots(slots)
        for name, send in REQUESTS.items():
            shop.set_stock(STOCK)
            read = rows_read(shop, partial(send, store))
            assert sum(read.values()) <= FEW, f"{name}, {slots} slots: {read}"
    read = rows_read(shop, lambda: show(reads.BOOKS, store))
    assert max(read.values()) <= ROWS + FEW, f"books: {read}"
