"""The shop's database, used through the functions' own code."""

import secrets
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

import pymysql

from common import deadline, environment
from common.database import connect
from common.store import CheckoutResult, Claim, RestockResult, Store
from migrate import handler as migrate
from tests.support.books import NAME, Books

SECRETS = {"master": {"username": "admin", "password": secrets.token_urlsafe()}} | {
    function: {"username": f"{entry['user']}_password", "password": secrets.token_urlsafe()}
    for function, entry in migrate.DATABASE_USERS.items()
}


def secret(arn: str, times: deadline.ClientTimeouts | None = None) -> dict[str, str]:
    """Stand in for Secrets Manager, with the functions' names for ARNs."""
    return SECRETS[arn]


TOKEN = secrets.token_urlsafe(24)
"""Of every order that names no other."""


@dataclass(frozen=True, kw_only=True)
class Shop(Books):
    """secrets: those in Secrets Manager, `master` and one per function, each with username and password."""

    database: environment.Database
    secrets: dict[str, dict[str, str]]

    def migrate(self) -> None:
        migrate.handler({}, None)

    def store(self) -> "Functions":
        """Return the functions' stores, warm: with the connection of `sales` open."""
        store = Functions(self.database)
        store.product("donut")
        return store

    def login(self, secret: str) -> pymysql.Connection:
        """Log in as the user in that secret, for a minute."""
        return connect(
            self.database,
            user=self.secrets[secret]["username"],
            password=self.secrets[secret]["password"],
            name=NAME,
            until=time.monotonic() + 60,
        )


class Functions(Store):
    """The store of `sales`, with what `restock` and `relay` call forwarded to stores with their own logins."""

    def __init__(self, login: environment.Database) -> None:
        super().__init__(login)
        restock, relay = (
            Store(replace(login, database_secret_arn=name)) for name in ("restock", "relay")
        )
        self.restock = restock.restock  # type: ignore[method-assign]
        self.claim_orders = relay.claim_orders  # type: ignore[method-assign]
        self.mark_stuck = relay.mark_stuck  # type: ignore[method-assign]
        self.mark_orphans = relay.mark_orphans  # type: ignore[method-assign]
        self.purge_idempotency_keys = relay.purge_idempotency_keys  # type: ignore[method-assign]
        self.purge_checkout_outcomes = relay.purge_checkout_outcomes  # type: ignore[method-assign]
        self.backlog = relay.backlog  # type: ignore[method-assign]


def arrive(
    store: Store, order_id: str, *, slug: str = "donut", callback_token: str = TOKEN
) -> RestockResult:
    """Call back for an order, with its token."""
    result = store.restock(order_id, slug=slug, callback_token=callback_token)
    assert result, "the callback was rejected"
    return result


def buy(store: Store, quantity: int, **others: Any) -> CheckoutResult:
    """A checkout by an anonymous client."""
    defaults = {
        "slug": "donut",
        "product_id": None,
        "factory_id": None,
        "requester": "unknown",
        "order_id": str(uuid.uuid4()),
        "callback_token": TOKEN,
        "publish_within": 30,
        "idempotency_key": None,
        "request_hash": bytes(32),
    }
    return store.checkout(quantity=quantity, **{**defaults, **others})


def order_more(store: Store, quantity: int, **others: Any) -> str:
    """The id of the production order that a purchase beyond the stock leaves."""
    checkout = buy(store, quantity, **others)
    assert checkout.outcome == "out_of_stock" and checkout.order_id
    return checkout.order_id


def claim_whole(
    store: Store, *, publications: int = 0, newest: bool = False, limit: int = 20
) -> Claim:
    return store.claim_orders(
        str(uuid.uuid4()), publications=publications, newest=newest, limit=limit, lease=60
    )
