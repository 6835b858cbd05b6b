"""All SQL of the functions. One connection an execution environment, kept across invocations."""

import functools
import json
import select
import ssl
import time
from dataclasses import dataclass
from typing import Any

import pymysql
from pymysql.constants import CR, ER

from common import environment, iam_login, messages

APP_USER = "app"

# Together under 5 s. The server gives up a sale (DECIDE_WITHIN) and a wait for a lock (innodb_lock_wait_timeout, 3 s)
# before the client stops reading, so that what was answered with 503 is not sold behind its back.
CONNECT_TIMEOUT = 1.0
DECIDE_WITHIN = 3.0
READ_TIMEOUT = 3.3
RETRY_WITHIN = 0.3
LOST = {0, CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST}
SIGNALED = 1644
"""A procedure's own refusal, ER_SIGNAL_EXCEPTION: the deadline has passed (or our clock has stood still)."""
NOT_THERE = {ER.NO_DB_ERROR, ER.BAD_DB_ERROR, ER.NO_SUCH_TABLE}
"""The server is up, the shop's schema is not: it is being restored."""
ROLLED_BACK = {ER.LOCK_DEADLOCK, SIGNALED}


class DatabaseUnavailable(Exception):
    """The database could not answer; its text names no host and no value."""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """outcome: unknown (no such product), sold, refused (order_id was recorded) or replayed (a key's first answer)."""

    outcome: str
    purchased: bool
    stock: int
    order_id: str | None
    request_hash: bytes | None
    product_id: str | None
    slug: str | None
    factory_id: str | None


@dataclass(frozen=True, kw_only=True)
class Restock:
    """added: whether this call was the order's first."""

    added: bool
    stock: int


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What the outbox holds that should not be there for long."""

    oldest_unpublished_seconds: int
    """0: none."""
    stuck: int


@functools.cache
def _tls(ca_path: str) -> ssl.SSLContext:
    """Kept across connects: building it anew costs up to 19 ms."""
    return ssl.create_default_context(cafile=ca_path)


def secret(arn: str) -> dict[str, Any]:
    """The JSON of a Secrets Manager secret. Raises botocore's BotoCoreError or ClientError."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "secretsmanager", config=Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 2})
    )
    return json.loads(client.get_secret_value(SecretId=arn)["SecretString"])


def connect(
    database: environment.Database, *, user: str, password: str, name: str | None, read_timeout: float = READ_TIMEOUT
) -> pymysql.Connection:
    """A connection in autocommit mode over verified TLS. name: the schema, or None."""
    return pymysql.connect(
        host=database.database_host,
        port=database.database_port,
        user=user,
        password=password,
        database=name,
        charset="utf8mb4",
        autocommit=True,
        ssl=_tls(str(database.ca_path)),
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=read_timeout,
        write_timeout=READ_TIMEOUT,
        init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    )


class Store:
    """Every method is one statement in one round trip, and raises DatabaseUnavailable."""

    def __init__(self, database: environment.Database):
        self._database = database
        self._connection: pymysql.Connection | None = None
        self._secret: dict[str, Any] | None = None
        self._clock_lead = 0.0
        """The server's clock less ours, in seconds, when the connection was made."""

    def product(self, slug: str) -> str | None:
        """The product as a JSON object in text."""
        row = self._row(
            "SELECT JSON_OBJECT('product_id', product_id, 'sku', sku, 'name', name, 'price', price, 'stock', stock,"
            " 'factory_id', factory_id) FROM product WHERE slug = %s",
            (slug,),
            repeatable=True,
        )
        return row[0] if row else None

    def order(self, order_id: str) -> str | None:
        """The production order as a JSON object in text, with neither requester nor token. Times: ISO 8601, UTC."""
        iso = "DATE_FORMAT({}, '%%Y-%%m-%%dT%%H:%%i:%%s.%%fZ')".format
        row = self._row(
            "SELECT JSON_OBJECT('order_id', order_id, 'status', status, 'sku', sku, 'quantity', quantity,"
            f" 'requested_at', {iso('requested_at')}, 'published_at', {iso('published_at')},"
            f" 'arrived_at', {iso('arrived_at')})"
            " FROM production_order JOIN product USING (product_id) WHERE order_id = %s",
            (order_id,),
            repeatable=True,
        )
        return row[0] if row else None

    def checkout(
        self,
        *,
        slug: str,
        product_id: str | None,
        quantity: int,
        factory_id: str | None,
        requester: str,
        order_id: str,
        callback_token: str,
        publish_within: int,
        idempotency_key: str | None,
        request_hash: bytes | None,
    ) -> Checkout:
        """Sell, or record a production order under order_id; the procedure decides. product_id wins over slug."""
        row = self._row(
            "CALL checkout(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                slug,
                product_id,
                quantity,
                factory_id,
                requester,
                order_id,
                callback_token,
                publish_within,
                idempotency_key,
                request_hash,
            ),
            repeatable=idempotency_key is not None,
            until_deadline=True,
        )
        assert row, "checkout always answers a row"
        outcome, purchased, stock, ordered, stored_hash, product, named, factory = row
        return Checkout(
            outcome=outcome,
            purchased=bool(purchased),
            stock=stock,
            order_id=ordered,
            request_hash=stored_hash,
            product_id=product,
            slug=named,
            factory_id=factory,
        )

    def mark_published(self, order_id: str, *, overdue: int) -> None:
        """overdue: seconds from now until the relay asks again."""
        self._row("CALL mark_published(%s, %s)", (order_id, overdue), repeatable=False)

    def callback_token(self, order_id: str, *, slug: str) -> str | None:
        """The token that restocks this order of this product; None: no such order."""
        row = self._row(
            "SELECT callback_token FROM production_order JOIN product USING (product_id)"
            " WHERE order_id = %s AND slug = %s",
            (order_id, slug),
            repeatable=True,
        )
        return row[0] if row else None

    def restock(self, order_id: str) -> Restock:
        """The caller has shown the order's token."""
        row = self._row("CALL restock(%s)", (order_id,), repeatable=True)
        assert row, "restock always answers a row"
        return Restock(added=bool(row[0]), stock=row[1])

    def claim_orders(
        self, claim: str, *, limit: int, lease: int, max_publications: int
    ) -> list[messages.ProductionOrder]:
        """Due orders, which no other claim gets within `lease` seconds. claim: a UUID of this call's own."""
        rows = self._rows(
            "CALL claim_orders(%s, %s, %s, %s)", (claim, limit, lease, max_publications), repeatable=False
        )
        names = ("order_id", "callback_token", "slug", "product_id", "factory_id", "quantity", "requester")
        return [messages.ProductionOrder(**dict(zip(names, row, strict=True))) for row in rows]

    def purge_idempotency_keys(self, *, retention: int, limit: int) -> int:
        """Forget at most `limit` keys older than `retention` seconds; how many went."""
        row = self._row("CALL purge_idempotency_keys(%s, %s)", (retention, limit), repeatable=True)
        assert row, "purge_idempotency_keys always answers a row"
        return int(row[0])

    def backlog(self) -> Backlog:
        row = self._row(
            "SELECT COALESCE(TIMESTAMPDIFF(SECOND, (SELECT MIN(requested_at) FROM production_order"
            " WHERE status = 'requested'), UTC_TIMESTAMP(6)), 0),"
            " (SELECT COUNT(*) FROM production_order WHERE status = 'stuck')",
            (),
            repeatable=True,
        )
        assert row, "a SELECT without FROM always answers a row"
        return Backlog(oldest_unpublished_seconds=row[0], stuck=row[1])

    def _row(
        self, sql: str, values: tuple[object, ...], *, repeatable: bool, until_deadline: bool = False
    ) -> tuple[Any, ...] | None:
        rows = self._rows(sql, values, repeatable=repeatable, until_deadline=until_deadline)
        return rows[0] if rows else None

    def _rows(
        self, sql: str, values: tuple[object, ...], *, repeatable: bool, until_deadline: bool = False
    ) -> tuple[tuple[Any, ...], ...]:
        """The first result. A statement is sent again, once, only where it is repeatable or was rolled back.

        until_deadline: its last value is to be the time, on the server's clock, after which it must not commit.
        """
        retry_until = time.monotonic() + RETRY_WITHIN
        while True:
            try:
                with self._connected().cursor() as cursor:
                    deadline = (time.time() + self._clock_lead + DECIDE_WITHIN,) if until_deadline else ()
                    cursor.execute(sql, values + deadline)
                    return cursor.fetchall()
            except pymysql.MySQLError as error:
                self._discard()
                code = error.args[0] if error.args else 0
                operational = isinstance(
                    error, pymysql.OperationalError | pymysql.InterfaceError | pymysql.InternalError
                )
                if not operational and code not in NOT_THERE:
                    raise
                again = code in ROLLED_BACK or (repeatable and code in LOST)
                if not again or time.monotonic() > retry_until:
                    raise DatabaseUnavailable(f"{type(error).__name__} {code}") from error
                retry_until = 0
            except BaseException:
                self._discard()
                raise

    def _connected(self) -> pymysql.Connection:
        connection = self._connection
        # Readable while idle: the server has hung up (or spoke out of turn). Cheaper than a ping by far.
        if connection and select.select([connection._sock], [], [], 0)[0]:  # type: ignore[attr-defined]
            self._discard()
        if not self._connection:
            self._connection = self._connect()
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT UNIX_TIMESTAMP(SYSDATE(6))")
                ((now,),) = cursor.fetchall()
            self._clock_lead = float(now) - time.time()
        return self._connection

    def _connect(self) -> pymysql.Connection:
        database = self._database
        if database.database_secret_arn is None:
            credentials = environment.read(environment.Credentials)
            user = APP_USER
            password = iam_login.token(
                host=database.database_host, port=database.database_port, user=user, credentials=credentials
            )
        else:
            self._secret = self._secret or self._read_secret(database.database_secret_arn)
            user, password = self._secret["username"], self._secret["password"]
        try:
            return connect(database, user=user, password=password, name=database.database_name)
        except pymysql.OperationalError as error:
            if error.args[0] == ER.ACCESS_DENIED_ERROR:
                self._secret = None
            raise

    def _read_secret(self, arn: str) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return secret(arn)
        except (BotoCoreError, ClientError) as error:
            raise DatabaseUnavailable(f"secret: {type(error).__name__}") from error

    def _discard(self) -> None:
        """A connection that failed in any way may hold half a transaction: it is never used again."""
        connection, self._connection = self._connection, None
        if connection:
            connection._force_close()  # type: ignore[attr-defined]
