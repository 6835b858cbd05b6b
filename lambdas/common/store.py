"""The shop's SQL. Each method sends one statement in one round trip, and raises DatabaseUnavailable."""

import time
from dataclasses import dataclass
from typing import Any

from common import deadline, environment, messages
from common.database import Connection, Database, DatabaseUnavailable


@dataclass(frozen=True, kw_only=True)
class CheckoutResult:
    """outcome: no_such_product, sold, out_of_stock (order_id was recorded) or replayed (a recorded answer)."""

    outcome: str
    purchased: bool = False
    stock: int = 0
    order_id: str | None = None
    request_hash: bytes | None = None
    """Of the request that this is the answer to: with a replayed Idempotency-Key, the first one."""
    product_id: str | None = None
    slug: str | None = None
    factory_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class RestockResult:
    """added: whether this call was the order's first."""

    added: bool
    stock: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    orders: list[messages.ProductionOrder]
    stuck: int
    """How many orders were claimed beside these, and became stuck because their product is gone."""

    @property
    def size(self) -> int:
        return len(self.orders) + self.stuck


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """What the outbox holds that should not be there for long."""

    oldest_unpublished_seconds: int
    """0: none."""
    stuck: int


class Store:
    def __init__(self, config: environment.Database) -> None:
        self._database = Database(config)

    def product(self, slug: str) -> str | None:
        """Return the product as a JSON object in text, or None."""
        row = self._query_one(
            "SELECT JSON_OBJECT('product_id', product_id, 'sku', sku, 'name', name, 'price', price, 'stock', stock,"
            " 'factory_id', factory_id) AS product FROM product WHERE slug = %s",
            (slug,),
            repeatable=True,
        )
        return row["product"] if row else None

    def order(self, order_id: str) -> str | None:
        """Return the production order as a JSON object in text, or None. Times are ISO 8601, UTC."""
        iso = "DATE_FORMAT({}, '%%Y-%%m-%%dT%%H:%%i:%%s.%%fZ')".format
        row = self._query_one(
            "SELECT JSON_OBJECT('order_id', order_id, 'status', status, 'sku', sku, 'quantity', quantity,"
            f" 'requested_at', {iso('requested_at')}, 'published_at', {iso('published_at')},"
            f" 'arrived_at', {iso('arrived_at')}) AS production_order"
            " FROM production_order JOIN product USING (product_id) WHERE order_id = %s",
            (order_id,),
            repeatable=True,
        )
        return row["production_order"] if row else None

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
    ) -> CheckoutResult:
        """Sell, or record a production order under order_id. product_id wins over slug.

        Where the answer does not arrive, a checkout with a key is sent again; one without is cancelled under its order
        id, unless it turns out to have succeeded. Raises DatabaseUnavailable: nothing was sold, and nothing will be.
        """
        order = (order_id, callback_token, publish_within)
        values = (
            slug,
            product_id,
            quantity,
            factory_id,
            requester,
            *order,
            idempotency_key,
            request_hash,
        )

        def call(connection: Connection) -> dict[str, Any]:
            row = self._call_checkout(connection, values)
            if row["outcome"] == "late":  # the clocks were off; this answer has set them
                row = self._call_checkout(connection, values)
            return row

        def cancel(connection: Connection) -> dict[str, Any]:
            (row,) = connection.query("CALL cancel_checkout(%s)", (order_id,))
            return row

        row = self._database.run(call, in_doubt=cancel if idempotency_key is None else call)
        row.pop("server_clock", None)
        if row["outcome"] in ("late", "cancelled"):
            raise DatabaseUnavailable(row["outcome"])
        return CheckoutResult(
            **{"request_hash": request_hash, **row, "purchased": bool(row.get("purchased"))}
        )

    def _call_checkout(self, connection: Connection, values: tuple[object, ...]) -> dict[str, Any]:
        """Call the procedure with the window of the server's clock within which it may commit.

        The window ends after half of the time that is left: whatever reaches the server by then has the other half for
        its answer to come back. A step of the clock that goes unnoticed, up to CLOCK_TOLERANCE, would make the window
        longer, so it is taken off before. Raises DatabaseUnavailable if no time is left to send the call.
        """
        clock = connection.clock()
        sent = time.monotonic()
        window = (connection.until - sent - deadline.CLOCK_TOLERANCE) / 2
        if window <= 0:
            raise DatabaseUnavailable("no time left")
        not_before, not_after = clock.at(sent) - deadline.CLOCK_TOLERANCE, clock.at(sent) + window
        placeholders = ", ".join(["%s"] * (len(values) + 2))
        (row,) = connection.query(
            f"CALL checkout({placeholders})", (*values, not_before, not_after)
        )
        clock.observe(float(row["server_clock"]), sent=sent, received=time.monotonic())
        return row

    def mark_published(self, order_id: str, *, overdue_after: int) -> None:
        """Record a publication. overdue_after: seconds from now until the relay asks again."""
        self._query_one("CALL mark_published(%s, %s)", (order_id, overdue_after), repeatable=False)

    def restock(self, order_id: str, *, slug: str, callback_token: str) -> RestockResult | None:
        """Book the arrival of an order, once. None: the token is not this order's, or the product is another."""
        row = self._query_one(
            "CALL restock(%s, %s, %s)", (order_id, slug, callback_token), repeatable=True
        )
        return RestockResult(added=bool(row["added"]), stock=row["stock"]) if row else None

    def claim_orders(
        self, claim: str, *, publications: int, newest: bool, limit: int, lease: int
    ) -> Claim:
        """Lease at most `limit` due orders to this claim, for `lease` seconds.

        claim: a UUID of this call's own. publications: how often the orders have been published. newest: take the
        newest of those that were not claimed since then, instead of the oldest of all.
        """
        values = (claim, publications, newest, limit, lease)
        rows = self._query("CALL claim_orders(%s, %s, %s, %s, %s)", values, repeatable=False)
        orders = [messages.ProductionOrder(**row) for row in rows if row["product_id"] is not None]
        return Claim(orders=orders, stuck=len(rows) - len(orders))

    def mark_stuck(self, *, max_publications: int, limit: int) -> int:
        """Mark at most `limit` overdue orders, published that often or more, as stuck; return the number marked."""
        row = self._query_one(
            "CALL mark_stuck(%s, %s)", (max_publications, limit), repeatable=False
        )
        assert row, "mark_stuck always returns a row"
        return int(row["marked"])

    def mark_orphans(self, *, publications: int, newest: bool, limit: int) -> int:
        """Mark as stuck those of the first `limit` due orders whose product is gone; return the number marked.

        publications, newest: which orders come first, as in claim_orders.
        """
        row = self._query_one(
            "CALL mark_orphans(%s, %s, %s)", (publications, newest, limit), repeatable=False
        )
        assert row, "mark_orphans always returns a row"
        return int(row["marked"])

    def purge_idempotency_keys(self, *, retention: int, limit: int) -> int:
        """Delete at most `limit` keys older than `retention` seconds; return the number deleted."""
        return self._purge("CALL purge_idempotency_keys(%s, %s)", retention, limit)

    def purge_checkout_outcomes(self, *, retention: int, limit: int) -> int:
        """Delete at most `limit` outcomes older than `retention` seconds; return the number deleted."""
        return self._purge("CALL purge_checkout_outcomes(%s, %s)", retention, limit)

    def _purge(self, sql: str, retention: int, limit: int) -> int:
        row = self._query_one(sql, (retention, limit), repeatable=True)
        assert row, "a purge always returns a row"
        return int(row["purged"])

    def backlog(self) -> Backlog:
        row = self._query_one(
            "SELECT COALESCE(TIMESTAMPDIFF(SECOND, (SELECT MIN(requested_at) FROM production_order"
            " WHERE status = 'requested'), UTC_TIMESTAMP(6)), 0) AS oldest_unpublished_seconds,"
            " (SELECT COUNT(*) FROM production_order WHERE status = 'stuck') AS stuck",
            (),
            repeatable=True,
        )
        assert row, "a SELECT without FROM always returns a row"
        return Backlog(**row)

    def _query_one(
        self, sql: str, values: tuple[object, ...], *, repeatable: bool
    ) -> dict[str, Any] | None:
        rows = self._query(sql, values, repeatable=repeatable)
        return rows[0] if rows else None

    def _query(
        self, sql: str, values: tuple[object, ...], *, repeatable: bool
    ) -> list[dict[str, Any]]:
        """Return the first result. If it does not arrive, a repeatable statement is sent again."""

        def send(connection: Connection) -> list[dict[str, Any]]:
            return connection.query(sql, values)

        return self._database.run(send, in_doubt=send if repeatable else None)
