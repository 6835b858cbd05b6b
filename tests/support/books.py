"""The shop's tables, read and changed as the server's owner, without the functions' own code."""

from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from local.database.mariadb import MariaDb
from settings import PROJECT

NAME = "shop"
"""The name of the schema."""
TABLES = (
    "purchase",
    "production_order",
    "idempotency_key",
    "checkout_outcome",
    "stock_entry",
    "product_slot",
)
"""The tables that hold nothing before the shop has been used, except for opening entries."""
TOTAL_STOCK = (
    "product.stock + CAST(COALESCE((SELECT SUM(product_slot.stock) FROM product_slot"
    " WHERE product_slot.product_id = product.product_id), 0) AS SIGNED)"
)
"""A product's stock in all of its slots, as an SQL expression."""
LOCK_STOCK = "SELECT * FROM product LEFT JOIN product_slot USING (product_id) FOR UPDATE"
"""Locks each product in all of its slots, so that every purchase waits."""
BOOKS = (PROJECT / "operations/books.sql").read_text()


def owner(server: MariaDb) -> pymysql.Connection:
    """Connect as the server's owner, in autocommit mode."""
    return pymysql.connect(
        read_default_file=str(server.mysql_cnf),
        database=NAME,
        charset="utf8mb4",
        autocommit=True,
        ssl_disabled=True,
        init_command="SET lock_wait_timeout = 10",
    )


def sql(server: MariaDb, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """Execute one statement on a connection of its own, and return the rows."""
    with owner(server) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


@dataclass(frozen=True, kw_only=True)
class Books:
    """The tables that tests compare with the responses."""

    server: MariaDb

    def owner(self) -> pymysql.Connection:
        return owner(self.server)

    def sql(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return sql(self.server, statement, values)

    def clear(self, *, stock: int) -> None:
        """Leave nothing but this many donuts, in one slot: no other product, purchase or order."""
        for table in TABLES:
            self.sql(f"DELETE FROM {table}")
        self.sql("DELETE FROM product WHERE slug <> 'donut'")
        self.sql("UPDATE product SET stock = 0, slots = 1")
        self.set_stock(stock)

    def stocks(self) -> dict[str, int]:
        """Return how many pieces there are of each product, by slug."""
        return dict(self.sql(f"SELECT slug, {TOTAL_STOCK} FROM product ORDER BY slug"))

    def stock(self) -> int:
        """Return how many donuts there are."""
        return self.stocks()["donut"]

    def set_stock(self, stock: int, *, slug: str = "donut") -> None:
        """Set the stock, and record the difference in the books as a stocktake."""
        self.sql("CALL stocktake(%s, %s, 'a test', 'a test')", (slug, stock))

    def slots(self) -> int:
        """Return how many slots the donuts are spread over."""
        ((slots,),) = self.sql("SELECT slots FROM product WHERE slug = 'donut'")
        return int(slots)

    def set_slots(self, slots: int, *, slug: str = "donut") -> None:
        """Spread the product over so many slots, as the catalogue does."""
        with self.owner() as connection, connection.cursor() as cursor:
            connection.begin()
            cursor.execute("SELECT product_id FROM product WHERE slug = %s", (slug,))
            (product_id,) = cursor.fetchone() or (None,)
            cursor.execute("CALL change_stock(%s, 0, %s, @changed, @stock)", (product_id, slots))
            connection.commit()

    def add_product(self, slug: str, *, product_id: str, stock: int) -> None:
        """Add a product beside the donut, with as many slots."""
        self.sql(
            "INSERT INTO product (product_id, slug, sku, name, price, stock, factory_id)"
            " VALUES (%s, %s, %s, '베이글', 1, 0, 'FF-500293')",
            (product_id, slug, slug),
        )
        self.set_slots(self.slots(), slug=slug)
        self.set_stock(stock, slug=slug)

    def lines(self) -> list[dict[str, Any]]:
        """Return what `make books` prints: for each product a dict, by column."""
        with self.owner() as connection, connection.cursor(DictCursor) as cursor:
            cursor.execute(BOOKS)
            return [
                {name: int(value) if name != "slug" else value for name, value in line.items()}
                for line in cursor.fetchall()
            ]

    def assert_balanced(self) -> None:
        """Check that each product's stock is its entries, minus its purchases, plus its arrivals."""
        for line in self.lines():
            assert line["difference"] == 0, line

    def purchases(self) -> list[tuple[int, str]]:
        """Return quantity and requester of each purchase, in their order."""
        return self.sql("SELECT quantity, requester FROM purchase ORDER BY purchase_id")

    def orders(self) -> list[tuple[str, str, int]]:
        """Return id, status and quantity of each production order, in their order."""
        return self.sql(
            "SELECT order_id, status, quantity FROM production_order ORDER BY requested_at"
        )
