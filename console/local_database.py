"""The queries of the local database, all of a report in one snapshot. The server's owner reads."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from console import books, view
from console.source import Books, OrderRow, Orders, Row, Sold, Unavailable, now
from operate import reads

CONNECT_SECONDS = 1
READ_SECONDS = 3
LISTED = 60
"""How many orders are listed per status, the newest first."""
STATUSES = ("requested", "published", "stuck", "arrived")
ORDER = """
SELECT order_id, slug, quantity, status, requested_at, published_at, publications, stuck_at,
       arrived_at
FROM {orders} LEFT JOIN product USING (product_id)"""
NEWEST_ORDERS = ORDER.format(
    orders="("
    + " UNION ALL ".join(
        f"(SELECT * FROM production_order WHERE status = '{status}'"
        f" ORDER BY requested_at DESC LIMIT {LISTED})"
        for status in STATUSES
    )
    + ") AS newest"
)
ONE_ORDER = f"{ORDER.format(orders='production_order')} WHERE order_id = %s"
BY_STATUS = f"{reads.OPEN}\nUNION ALL{reads.ARRIVED}"
PRODUCTS = """
SELECT product_id, slug, name, price,
       stock + COALESCE((SELECT SUM(product_slot.stock) FROM product_slot
                         WHERE product_slot.product_id = product.product_id), 0) AS stock
FROM product WHERE in_catalogue ORDER BY slug"""
(BOOKS,) = reads.BOOKS.values()
NEGATIVE = """
SELECT slug, 0 AS slot, stock FROM product WHERE stock < 0
UNION ALL
SELECT slug, slot, product_slot.stock FROM product_slot JOIN product USING (product_id)
WHERE product_slot.stock < 0"""
NOT_ONE_ORDER = """
SELECT checkout.order_id, COUNT(*) AS checkouts,
       COUNT(DISTINCT production_order.order_id) AS orders
FROM (
    SELECT order_id FROM idempotency_key
    WHERE NOT purchased AND created_at > UTC_TIMESTAMP() - INTERVAL 10 MINUTE
    UNION ALL
    SELECT order_id FROM checkout_outcome
    WHERE purchased = FALSE AND created_at > UTC_TIMESTAMP() - INTERVAL 10 MINUTE
) AS checkout LEFT JOIN production_order USING (order_id)
GROUP BY checkout.order_id HAVING checkouts <> 1 OR orders <> 1"""
"""Out-of-stock checkouts of the last ten minutes that have not made exactly one order each.

Outcomes of checkouts without a key are not kept for longer.
"""
MOST_PURCHASES = 20_000
"""How many of the newest purchases are looked at: more than are made in a minute."""
SOLD = f"""
SELECT since,
       (SELECT COUNT(*) FROM (SELECT purchased_at FROM purchase
                              ORDER BY purchase_id DESC LIMIT {MOST_PURCHASES}) AS newest
        WHERE purchased_at >= since) AS purchases,
       (SELECT COUNT(*) FROM idempotency_key WHERE purchased AND created_at >= since)
       + (SELECT COUNT(*) FROM checkout_outcome WHERE purchased AND created_at >= since)
       AS checkouts
FROM (SELECT UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE AS since) AS minute"""
OPENED = "SELECT MIN(applied_at) AS opened_at FROM schema_migration"
"""A reset applies the migrations anew."""
MIGRATION_RUNS = "SELECT IS_USED_LOCK('migrate') AS connection_id"
"""Its statements are transactions of their own, between which the books need not balance."""


class LocalDatabase:
    """The shop's database in a local cloud.

    mysql_cnf: the options of the server's owner. The methods raise Unavailable.
    """

    def __init__(self, mysql_cnf: Path) -> None:
        self._mysql_cnf = mysql_cnf

    def orders(self, *, max_quantity: int) -> Orders:
        """Return the newest orders of each status, how many there are, and the products."""
        rows, by_status, products = self._read(NEWEST_ORDERS, BY_STATUS, PRODUCTS)
        counted = {row["status"]: row for row in by_status}

        def count(name: str) -> int:
            return int(counted[name]["orders"]) if name in counted else 0

        return Orders(
            rows=[order_row(row) for row in rows],
            lists_arrived=True,
            requested=count("requested"),
            oldest_requested_seconds=counted.get("requested", {}).get("oldest_seconds"),
            stuck=count("stuck"),
            arrived=count("arrived"),
            products=[
                view.Product(
                    slug=row["slug"],
                    product_id=row["product_id"],
                    name=row["name"],
                    price=row["price"],
                    stock=int(row["stock"]),
                    max_quantity=max_quantity,
                )
                for row in products
            ],
        )

    def order(self, order_id: str) -> OrderRow | None:
        """Return an order's row, or None if there is none."""
        (rows,) = self._read(ONE_ORDER, values=(order_id,))
        return order_row(rows[0]) if rows else None

    def books(self) -> Books:
        """Return the books, and what violates the checks, unless a migration runs."""
        (migration,), (opened,), rows, negative, not_one, (sold,) = self._read(
            MIGRATION_RUNS, OPENED, BOOKS, NEGATIVE, NOT_ONE_ORDER, SOLD
        )
        plain = [as_numbers(row) for row in rows]
        opened_at = milliseconds(opened["opened_at"])
        if migration["connection_id"] is not None:
            return Books(at=now(), rows=plain, offending={}, opened_at=opened_at)
        return Books(
            at=now(),
            rows=plain,
            opened_at=opened_at,
            offending={
                "balance": books.balance(plain),
                "not_negative": [as_numbers(row) for row in negative],
                "one_order": [as_numbers(row) for row in not_one],
            },
            sold=Sold(
                since=milliseconds(sold["since"]) or 0,
                purchases=sold["purchases"],
                checkouts=sold["checkouts"],
            ),
        )

    def _read(self, *queries: str, values: tuple[object, ...] = ()) -> list[Sequence[Row]]:
        """Return the rows of each query, all of them from one snapshot."""
        with unavailable(), self._connect() as connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            found: list[Sequence[Row]] = []
            for query in queries:
                cursor.execute(query, values)
                found.append(list(cursor.fetchall()))
            return found

    def _connect(self) -> "pymysql.Connection[DictCursor]":
        if not self._mysql_cnf.exists():  # without it, a server of the machine would be asked
            raise Unavailable("the local database was not started yet: `make up` starts it")
        connection = pymysql.connect(
            read_default_file=str(self._mysql_cnf),
            database="shop",
            charset="utf8mb4",
            cursorclass=DictCursor,
            ssl_disabled=True,
            read_timeout=READ_SECONDS,
            write_timeout=READ_SECONDS,
            init_command=f"SET lock_wait_timeout = 1, max_statement_time = {READ_SECONDS}",
            defer_connect=True,
        )
        connection.connect(opened(str(connection.unix_socket)))
        return connection


def opened(path: str) -> socket.socket:
    """Return a socket that is connected to the server's. PyMySQL's own stays open if that fails."""
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(CONNECT_SECONDS)
    try:
        opened.connect(path)
    except OSError:
        opened.close()
        raise
    return opened


@contextmanager
def unavailable() -> Iterator[None]:
    """Raise Unavailable, with one sentence, instead of what the client raises."""
    try:
        yield
    except pymysql.MySQLError as error:
        code, *rest = (*error.args, "")
        raise Unavailable(f"the database does not respond as usual: {code} {rest[0]}") from error
    except OSError as error:
        raise Unavailable(f"the database can't be reached: {error}") from error


def order_row(row: Row) -> OrderRow:
    """Return the row of a query as an order."""
    times = ("requested_at", "published_at", "stuck_at", "arrived_at")
    return OrderRow(**{**row, **{name: milliseconds(row[name]) for name in times}})


def milliseconds(time: datetime | None) -> int | None:
    """Return the milliseconds since the epoch of a time in UTC."""
    return round(time.replace(tzinfo=UTC).timestamp() * 1000) if time else None


def as_numbers(row: Row) -> Mapping[str, Any]:
    """Return the row with its sums, which are decimal numbers, as integers."""
    return {name: value if isinstance(value, str) else int(value) for name, value in row.items()}
