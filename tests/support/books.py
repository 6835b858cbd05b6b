"""The shop's tables, read and changed as the server's owner, without the functions' own code."""

from dataclasses import dataclass
from typing import Any

import pymysql

from local.database.mariadb import MariaDb

NAME = "shop"
"""The name of the schema."""


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
    """The tables that tests compare with the responses: product, purchase and production_order.

    The books balance if the stock is what there was, plus what has arrived, minus what was sold.
    """

    server: MariaDb

    def owner(self) -> pymysql.Connection:
        return owner(self.server)

    def sql(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return sql(self.server, statement, values)

    def stock(self) -> int:
        """Return how many donuts there are."""
        ((stock,),) = self.sql("SELECT stock FROM product WHERE slug = 'donut'")
        return int(stock)

    def set_stock(self, stock: int) -> None:
        self.sql("UPDATE product SET stock = %s WHERE slug = 'donut'", (stock,))

    def add_product(self, slug: str, *, product_id: str, stock: int) -> None:
        """Add a product beside the donut."""
        self.sql(
            "INSERT INTO product (product_id, slug, sku, name, price, stock, factory_id)"
            " VALUES (%s, %s, %s, '베이글', 1, %s, 'FF-500293')",
            (product_id, slug, slug, stock),
        )

    def purchases(self) -> list[tuple[int, str]]:
        """Return quantity and requester of each purchase, in their order."""
        return self.sql("SELECT quantity, requester FROM purchase ORDER BY purchase_id")

    def orders(self) -> list[tuple[str, str, int]]:
        """Return id, status and quantity of each production order, in their order."""
        return self.sql(
            "SELECT order_id, status, quantity FROM production_order ORDER BY requested_at"
        )
