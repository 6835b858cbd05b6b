"""The shop's database, used through the functions' own code."""

import secrets
import uuid
from dataclasses import dataclass
from typing import Any

import pymysql

from common import environment
from common.store import Checkout, Store, connect
from migrate import handler as migrate
from tests.books import NAME, Books


@dataclass(frozen=True, kw_only=True)
class Shop(Books):
    """secrets: those in Secrets Manager, `master` and `app`, each with username and password."""

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
