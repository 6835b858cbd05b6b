"""A request reads a few rows, however many the tables have."""

from collections.abc import Callable, Iterator

import pytest

from local.database.mariadb import MariaDb
from tests.support.books import NAME, sql
from tests.support.database_shop import DatabaseShop, arrive, buy, claim_orders, order_more
from tests.support.history import fill

ROWS = 1_000_000
"""In each table that grows."""
LIMIT = 20
"""Rows in one portion of the relay's work."""
DAY, YEAR = 86_400, 365 * 86_400
BLANKED = 100_000
"""Rows of each table whose names were blanked before."""


@pytest.fixture
def slots() -> int:
    """One: slots add their own number of rows, however many rows the other tables have."""
    return 1


@pytest.fixture
def counting(server: MariaDb) -> Iterator[None]:
    """Let the server count the rows that are read from each table."""
    sql(server, "SET GLOBAL userstat = 1")
    yield
    sql(server, "SET GLOBAL userstat = 0")


def rows_read(shop: DatabaseShop) -> dict[str, int]:
    """Return how many rows were read since the last FLUSH, by table."""
    return dict(
        shop.sql(
            "SELECT table_name, rows_read FROM information_schema.table_statistics"
            " WHERE table_schema = %s AND rows_read > 0",
            (NAME,),
        )
    )


@pytest.mark.usefixtures("counting", "undurable")
def test_request_reads_a_few_rows_of_a_million(shop: DatabaseShop) -> None:
    fill(shop, ROWS)
    for procedure in ("blank_purchases", "blank_orders"):
        shop.sql(f"CALL {procedure}({DAY}, {BLANKED})")
    store = shop.store()
    buy(store, 1, idempotency_key="used")
    order_id, arriving = order_more(store, 1000, publish_within=0), order_more(store, 1000)
    requests: dict[str, Callable[[], object]] = {
        "GET /product": lambda: store.product("donut"),
        "GET /order": lambda: store.order(order_id),
        "checkout": lambda: buy(store, 1),
        "checkout with a key": lambda: buy(store, 1, idempotency_key="new"),
        "repeated checkout": lambda: buy(store, 1, idempotency_key="used"),
        "out-of-stock checkout": lambda: buy(store, 1000),
        "mark_published": lambda: store.mark_published(order_id, overdue_after=0),
        "callback": lambda: arrive(store, arriving),
        "claim": lambda: claim_orders(store, limit=LIMIT),
        "mark_stuck": lambda: store.mark_stuck(max_publications=4, limit=LIMIT),
        "mark_orphans": lambda: store.mark_orphans(publications=0, newest=False, limit=LIMIT),
        "purge of keys": lambda: store.purge_idempotency_keys(retention=86_400, limit=LIMIT),
        "purge of outcomes": lambda: store.purge_checkout_outcomes(retention=300, limit=LIMIT),
        "names in purchases": lambda: store.blank_purchases(retention=DAY, limit=LIMIT // 4),
        "names in orders": lambda: store.blank_orders(retention=DAY, limit=LIMIT // 2),
        "no old name in purchases": lambda: store.blank_purchases(retention=YEAR, limit=LIMIT // 2),
        "no old name in orders": lambda: store.blank_orders(retention=YEAR, limit=LIMIT),
        "backlog": store.backlog,
        "stocks": store.stocks,
    }
    for name, send in requests.items():
        shop.sql("FLUSH TABLE_STATISTICS")
        send()
        read = rows_read(shop)
        assert sum(read.values()) <= LIMIT, f"{name}: {read}"
