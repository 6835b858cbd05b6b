"""The shop's books: what the database says, read as its server's owner and past the functions' own code."""

from dataclasses import dataclass
from typing import Any

import pymysql

from local.database.mariadb import MariaDb

NAME = "shop"


def owner(server: MariaDb) -> pymysql.Connection:
    return pymysql.connect(
        read_default_file=str(server.mysql_cnf),
        database=NAME,
        charset="utf8mb4",
        autocommit=True,
        ssl_disabled=True,
        init_command="SET lock_wait_timeout = 10",
    )


def sql(server: MariaDb, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """One statement, on a connection of its own."""
    with owner(server) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


@dataclass(frozen=True, kw_only=True)
class Books:
    server: MariaDb

    def owner(self) -> pymysql.Connection:
        return owner(self.server)

    def sql(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return sql(self.server, statement, values)

    def stock(self) -> int:
        ((stock,),) = self.sql("SELECT stock FROM product WHERE slug = 'donut'")
        return int(stock)

    def set_stock(self, stock: int) -> None:
        self.sql("UPDATE product SET stock = %s WHERE slug = 'donut'", (stock,))

    def ledger(self) -> list[tuple[int, str]]:
        """Quantity and requester of each sale."""
        return self.sql("SELECT quantity, requester FROM purchase ORDER BY purchase_id")

    def orders(self) -> list[tuple[str, str, int]]:
        """Id, status and quantity of each production order."""
        return self.sql(
            "SELECT order_id, status, quantity FROM production_order ORDER BY requested_at"
        )
