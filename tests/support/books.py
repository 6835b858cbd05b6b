"""The shop's tables, read and changed as the server's owner, without the functions' own code."""

from dataclasses import asdict, dataclass
from typing import Any

import pymysql

from local.database.mariadb import MariaDb
from migrate.catalogue import Product
from operate import reads

NAME = "shop"
"""The name of the schema."""
TABLES = (
    "purchase",
    "production_order",
    "idempotency_key",
    "checkout_outcome",
    "stock_entry",
    "operation",
    "product_slot",
    "blanking_progress",
)
"""The tables that hold nothing before the shop has been used, except for opening entries."""
TOTAL_STOCK = (
    "product.stock + CAST(COALESCE((SELECT SUM(product_slot.stock) FROM product_slot"
    " WHERE product_slot.product_id = product.product_id), 0) AS SIGNED)"
)
"""A product's stock in all of its slots, as an SQL expression."""
LOCK_STOCK = "SELECT * FROM product LEFT JOIN product_slot USING (product_id) FOR UPDATE"
"""Locks each product in all of its slots, so that every purchase waits."""
(BOOKS,) = reads.BOOKS.values()


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


def read_books(cursor: pymysql.cursors.Cursor) -> list[dict[str, Any]]:
    """Return what `make books` prints: for each product a dict, by column."""
    cursor.execute(BOOKS)
    names = [column[0] for column in cursor.description]
    return [
        {"slug": slug} | dict(zip(names[1:], map(int, numbers), strict=True))
        for slug, *numbers in cursor.fetchall()
    ]


def as_returned(product: Product, *, stock: int) -> dict[str, object]:
    """Return the product as customers see it, by its entry in the catalogue."""
    hidden = {"slug", "opening_stock", "slots"}
    fields = {name: value for name, value in asdict(product).items() if name not in hidden}
    return fields | {"stock": stock}


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

    def clear(self, *, stock: int, slots: int = 1) -> None:
        """Leave nothing but this many donuts: no other product, purchase or order."""
        with self.owner() as connection, connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DELETE FROM {table}")
            cursor.execute("DELETE FROM product WHERE slug <> 'donut'")
            cursor.execute("UPDATE product SET stock = 0, slots = 1")
        self.set_slots(slots)
        self.set_stock(stock)

    def stocks(self) -> dict[str, int]:
        """Return how many pieces there are of each product, by slug."""
        return dict(self.sql(f"SELECT slug, {TOTAL_STOCK} FROM product ORDER BY slug"))

    def stock(self) -> int:
        """Return how many donuts there are."""
        return self.stocks()["donut"]

    def set_stock(self, stock: int, *, slug: str = "donut") -> None:
        """Set the stock, and record the difference in the books as a stocktake."""
        self.sql("CALL correct_stock(UUID(), %s, %s, NULL, 'a test', 'a test')", (slug, stock))

    def slots(self) -> int:
        """Return how many slots the donuts are spread over."""
        ((slots,),) = self.sql("SELECT slots FROM product WHERE slug = 'donut'")
        return int(slots)

    def set_slots(self, slots: int, *, slug: str = "donut") -> None:
        """Spread the product over this many slots, as the catalogue does."""
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
        """Return what `make books` prints, as read_books does."""
        with self.owner() as connection, connection.cursor() as cursor:
            return read_books(cursor)

    def assert_balanced(self) -> None:
        """Check that each product's stock is its entries, minus its purchases, plus its arrivals."""
        for line in self.lines():
            assert line["difference"] == 0, line

    def assert_waiting(self, count: int) -> None:
        """Check that `count` transactions wait for a lock.

        information_schema.innodb_trx is a cache, which is out of date for a client that reads it
        often.
        """
        waits = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
        assert self.sql(waits)[0][1] == str(count)

    def assert_asleep(self, count: int) -> None:
        """Check that `count` procedures are in a SLEEP that a test has added to them."""
        asleep = "SELECT 1 FROM information_schema.processlist WHERE state = 'User sleep'"
        found = len(self.sql(asleep))
        assert found == count, f"{found} procedures sleep, and not {count}"

    def purchases(self) -> list[tuple[int, str]]:
        """Return quantity and requester of each purchase, in their order."""
        return self.sql("SELECT quantity, requester FROM purchase ORDER BY purchase_id")

    def orders(self) -> list[tuple[str, str, int]]:
        """Return id, status and quantity of each production order, in their order."""
        return self.sql(
            "SELECT order_id, status, quantity FROM production_order ORDER BY requested_at"
        )
