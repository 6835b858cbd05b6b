"""The shop's database as a test sees it: through the functions' own code, and past it as the server's owner."""

import secrets
import uuid
from dataclasses import dataclass
from typing import Any

import pymysql
from common import environment
from common.store import Checkout, Store, connect
from migrate import handler as migrate

from local.mariadb import MariaDb

NAME = "shop"


def owner(server: MariaDb) -> pymysql.Connection:
    return pymysql.connect(
        read_default_file=str(server.mysql_cnf), database=NAME, charset="utf8mb4", autocommit=True, ssl_disabled=True
    )


def sql(server: MariaDb, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
    """One statement of the server's owner, on a connection of its own."""
    with owner(server) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


@dataclass(frozen=True, kw_only=True)
class Shop:
    """secrets: those in Secrets Manager, `master` and `app`, each with username and password."""

    server: MariaDb
    database: environment.Database
    secrets: dict[str, dict[str, str]]

    def migrate(self) -> None:
        migrate.handler({}, None)

    def store(self) -> Store:
        """As a function has it, warm: with its connection open."""
        store = Store(self.database)
        store.product("donut")
        return store

    def login(self, secret: str) -> pymysql.Connection:
        credentials = self.secrets[secret]
        return connect(self.database, user=credentials["username"], password=credentials["password"], name=NAME)

    def sql(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return sql(self.server, statement, values)

    def owner(self) -> pymysql.Connection:
        return owner(self.server)

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
        return self.sql("SELECT order_id, status, quantity FROM production_order ORDER BY requested_at")


def buy(store: Store, quantity: int, **others: Any) -> Checkout:
    """A checkout by an anonymous client."""
    defaults = {
        "slug": "donut",
        "product_id": None,
        "factory_id": None,
        "requester": "unknown",
        "order_id": str(uuid.uuid4()),
        "callback_token": secrets.token_urlsafe(24),
        "publish_within": 30,
        "idempotency_key": None,
        "request_hash": bytes(32),
    }
    return store.checkout(quantity=quantity, **{**defaults, **others})


def order_more(store: Store, quantity: int, **others: Any) -> str:
    """The id of the production order that a purchase beyond the stock leaves."""
    checkout = buy(store, quantity, **others)
    assert checkout.outcome == "refused" and checkout.order_id
    return checkout.order_id
