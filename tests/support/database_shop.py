"""The shop on a real database, used through the functions' own code."""

import os
import secrets
import time
import uuid
from dataclasses import dataclass, replace
from typing import Any

import pymysql
import pytest

from common import database, environment
from common.database import Connection, connect
from common.store import CheckoutResult, Claim, RestockResult, Store
from local.database.mariadb import MariaDb
from local.database.rds import create_master
from migrate import handler as migrate
from migrate.handler import PROCEDURES
from tests.support.books import NAME, Books
from tests.support.fakes import FakeSecrets

SECRETS = {"master": {"username": "admin", "password": secrets.token_urlsafe()}} | {
    function: {"username": f"{entry['user']}_password", "password": secrets.token_urlsafe()}
    for function, entry in migrate.DATABASE_USERS.items()
}
"""The logins of the master user and of each function, by their secrets' ARNs in the tests."""


TOKEN = secrets.token_urlsafe(24)
"""The callback token of every order for which a test does not choose one."""


SALES_USERS = "('shop_sales_password', 'admin')"
"""The users of connections of `sales` in the server's process list.

Inside a procedure it shows the procedure's definer, `admin`.
"""


CALLED_BY_RESTOCK = ("restock",)
CALLED_BY_OPERATE = ("correct_stock", "remind_stuck", "read")
CALLED_BY_RELAY = (
    "claim_orders",
    "mark_stuck",
    "mark_orphans",
    "purge_idempotency_keys",
    "purge_checkout_outcomes",
    "blank_purchases",
    "blank_orders",
    "backlog",
    "stocks",
)
"""The methods of the store that `restock`, `operate` and `relay` call."""


@dataclass(frozen=True, kw_only=True)
class DatabaseShop(Books):
    """A migrated database.

    secrets: the username and password of `master` and of each function, by its name.
    """

    database: environment.Database
    secrets: dict[str, dict[str, str]]

    def recreate(self) -> None:
        """Drop and create the database, and drop its users. Nothing has been applied to it then."""
        with self.owner() as connection, connection.cursor() as cursor:
            cursor.execute("DROP DATABASE shop")
            cursor.execute("CREATE DATABASE shop")
            cursor.execute("SELECT user, host FROM mysql.user WHERE user LIKE 'shop%'")
            for account in cursor.fetchall():  # also those of a test that was killed
                cursor.execute("DROP USER %s@%s", account)

    def migrate(self) -> None:
        migrate.handler({}, None)

    def store(self) -> "Functions":
        """Return a store that has the connection of `sales` open."""
        store = Functions(self.database)
        store.product("donut")
        return store

    def connections(self) -> list[int]:
        """Return the server's ids of the open connections of `sales`."""
        rows = self.sql(
            f"SELECT id FROM information_schema.processlist WHERE user IN {SALES_USERS}"
        )
        return [id for (id,) in rows]

    def login(self, secret: str) -> pymysql.Connection:
        """Log in as the user in that secret. The connection may be used for a minute."""
        return connect(
            self.database,
            user=self.secrets[secret]["username"],
            password=self.secrets[secret]["password"],
            name=NAME,
            until=time.monotonic() + 60,
        )


class Functions(Store):
    """A store for all functions. What other functions than `sales` call uses their own logins."""

    def __init__(self, login: environment.Database) -> None:
        super().__init__(login)
        for function, names in (
            ("restock", CALLED_BY_RESTOCK),
            ("operate", CALLED_BY_OPERATE),
            ("relay", CALLED_BY_RELAY),
        ):
            store = Store(replace(login, database_secret_arn=function))
            for name in names:
                setattr(self, name, getattr(store, name))


def create_database(server: MariaDb) -> None:
    """Create the shop's database on a new server, and a master user like that of RDS."""
    master = SECRETS["master"]
    create_master(
        mysql_cnf=server.mysql_cnf,
        user=master["username"],
        password=master["password"],
        database=NAME,
    )


def shop_on(server: MariaDb, patch: pytest.MonkeyPatch) -> DatabaseShop:
    """Return the shop on a server, as it is: nothing is applied to its database.

    patch: gives the migration its variables and SECRETS, until it is undone.
    """
    login = environment.Database(
        database_host="127.0.0.1",
        database_port=server.port,
        database_name=NAME,
        database_ca_file=str(server.ca_file),
        database_secret_arn="sales",
    )
    for key in [key for key in os.environ if key.startswith(("DATABASE_", "USER_SECRET_"))]:
        patch.delenv(key)
    patch.setenv("DATABASE_HOST", login.database_host)
    patch.setenv("DATABASE_PORT", str(login.database_port))
    patch.setenv("DATABASE_NAME", login.database_name)
    patch.setenv("DATABASE_CA_FILE", login.database_ca_file)
    patch.setenv("DATABASE_SECRET_ARN", "master")
    patch.setenv("USER_SECRET_ARNS", ",".join(migrate.DATABASE_USERS))
    stand_in = FakeSecrets(SECRETS)
    patch.setattr(database, "secret", stand_in.secret)
    patch.setattr(migrate, "secret", stand_in.secret)
    return DatabaseShop(server=server, database=login, secrets=SECRETS)


def kept_connection(store: Store) -> Connection:
    """Return the connection that the store keeps between requests."""
    connection = store._database._connection
    assert connection, "the store has not connected"
    return connection


def connection_id(store: Store) -> int:
    """Return the server's id of the connection that the store keeps."""
    (row,) = kept_connection(store).query("SELECT CONNECTION_ID() AS id")
    return int(row["id"])


def insert_before(shop: DatabaseShop, procedure: str, additions: dict[str, str]) -> None:
    """Re-create a procedure with SQL added before some of its statements.

    additions: how such a statement begins in the file, and what is added before it. A beginning
    must occur exactly once.
    """
    file = PROCEDURES / f"{procedure}.sql"
    text = file.read_text()
    for beginning, addition in additions.items():
        found = text.count(beginning)
        assert found == 1, f"{file.name} has {found} statements that begin with {beginning!r}"
        text = text.replace(beginning, addition + beginning)
    shop.sql(text.replace("%", "%%"))


def arrive(
    store: Store, order_id: str, *, slug: str = "donut", callback_token: str = TOKEN
) -> RestockResult:
    """Call back for an order with its token, and return the result, which is not a rejection."""
    result = store.restock(order_id, slug=slug, callback_token=callback_token)
    assert result, "the callback was rejected"
    return result


def buy(store: Store, quantity: int, **others: Any) -> CheckoutResult:
    """Check out for an anonymous client. others: further parameters of Store.checkout."""
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
    """Check out more than there is, and return the production order's id."""
    checkout = buy(store, quantity, **others)
    assert checkout.outcome == "out_of_stock"
    assert checkout.order_id
    return checkout.order_id


def claim_orders(
    store: Store, *, publications: int = 0, newest: bool = False, limit: int = 20
) -> Claim:
    """Claim due orders for a minute, under a claim of this call's own."""
    return store.claim_orders(
        str(uuid.uuid4()), publications=publications, newest=newest, limit=limit, lease=60
    )
