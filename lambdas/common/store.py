"""The shop's statements. Decisions are made in the procedures in lambdas/migrate/procedures.

Each method but `read` sends one statement in one round trip. Each raises DatabaseUnavailable. If a
result does not arrive, a repeatable statement is sent again.
"""

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from common import deadline, environment, messages
from common.database import Connection, Database, DatabaseUnavailable

PRODUCT = (
    "JSON_OBJECT('product_id', product_id, 'sku', sku, 'name', name, 'price', price,"
    " 'stock', stock{in_other_slots}, 'factory_id', factory_id)"
)
SLOTS = (
    " + COALESCE((SELECT SUM(product_slot.stock) FROM product_slot"
    " WHERE product_slot.product_id = product.product_id), 0)"
)
FROM_PRODUCT = "FROM product WHERE slug = %s AND in_catalogue"
PRODUCT_IN_ONE_ROW = (
    f"SELECT IF(slots = 1, {PRODUCT.format(in_other_slots='')}, NULL) AS product {FROM_PRODUCT}"
)
"""The product is NULL if its stock is spread over slots."""
PRODUCT_IN_SLOTS = f"SELECT {PRODUCT.format(in_other_slots=SLOTS)} AS product, slots {FROM_PRODUCT}"
"""Also right for a product in one row, but takes a fifth longer."""
CHECKOUT = "CALL checkout(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"


class CheckoutResult(NamedTuple):
    outcome: str
    """sold; out_of_stock: a production order was recorded; no_such_product; replayed, which means
    recorded before: the checkout was decided already, and this is its recorded result."""
    purchased: bool = False
    stock: int = 0
    order_id: str | None = None
    request_hash: bytes | None = None
    """Hash of the request that this is the result of: the key's first request, if replayed."""
    product_id: str | None = None
    slug: str | None = None
    factory_id: str | None = None


class RestockResult(NamedTuple):
    added: bool
    """Whether this callback was the order's first one, which added its quantity."""
    stock: int
    lead_time_seconds: int | None
    """Seconds from the order's request to its arrival. None: the procedure of release 1.0, which
    functions call while a deployment is taken back, does not return it."""


class StockCorrection(NamedTuple):
    changed: bool
    """False: the stock would have fallen below 0."""
    stock_before: int
    stock: int


class OperationIdUsed(Exception):
    """The id belongs to an operation of another kind, its verb. Nothing has changed."""


class Claim(NamedTuple):
    """Orders that nobody else publishes until their lease ends."""

    orders: list[messages.ProductionOrder]
    stuck: list[str]
    """The ids of claimed orders that became stuck instead, because their product was deleted."""

    @property
    def size(self) -> int:
        return len(self.orders) + len(self.stuck)


class Backlog(NamedTuple):
    """Orders in the outbox that need attention if they stay there."""

    oldest_unpublished_seconds: int
    """Age of the oldest order that was never published; 0 if there is none."""
    unpublished: int
    """Number of orders that were never published."""
    stuck: int
    """Number of stuck orders."""


class Store:
    """The products, purchases and production orders in the database."""

    def __init__(self, config: environment.Database) -> None:
        self._database = Database(config)
        self._in_one_row: set[str] = set()
        """The slugs of products whose stock was in one row when they were read last."""

    def product(self, slug: str) -> str | None:
        """Return the product as the text of a JSON object, or None if the catalogue has no such slug.

        A second statement is sent only if the product has been spread over slots since the last call.
        """
        in_one_row = slug in self._in_one_row
        sql = PRODUCT_IN_ONE_ROW if in_one_row else PRODUCT_IN_SLOTS
        row = self._query_one(sql, (slug,), repeatable=True)
        if row and row["product"] is None:
            self._in_one_row.remove(slug)
            return self.product(slug)
        if row and not in_one_row and row["slots"] == 1:
            self._in_one_row.add(slug)
        return row["product"] if row else None

    def order(self, order_id: str) -> str | None:
        """Return the order as the text of a JSON object, or None if it does not exist.

        Times are ISO 8601, in UTC.
        """
        row = self._query_one(
            "SELECT JSON_OBJECT('order_id', order_id, 'status', status, 'sku', sku,"
            " 'quantity', quantity,"
            f" 'requested_at', {_iso_8601('requested_at')},"
            f" 'published_at', {_iso_8601('published_at')},"
            f" 'arrived_at', {_iso_8601('arrived_at')}) AS production_order"
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
        """Sell, or record a production order with this order_id if the product is out of stock.

        product_id: names the product; slug is used only if this is None. factory_id: None means the
        product's own factory. publish_within: seconds until the relay publishes the order,
        unless it is marked as published before. request_hash: recorded with the idempotency_key.

        If the result does not arrive, a checkout with a key is sent again, and one without a key is
        cancelled, unless the server says that it has succeeded. Raises DatabaseUnavailable if
        nothing was sold, and nothing will be.
        """
        # In the order of the procedure's parameters.
        values = (
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
        )

        def call(connection: Connection) -> dict[str, Any]:
            row = self._call_checkout(connection, values)
            if row["outcome"] == "late":  # a clock had stepped; the row has corrected the estimate
                row = self._call_checkout(connection, values)
            return row

        def cancel(connection: Connection) -> dict[str, Any]:
            (row,) = connection.query("CALL cancel_checkout(%s)", (order_id,))
            return row

        row = self._database.run(call, in_doubt=cancel if idempotency_key is None else call)
        if row["outcome"] in ("late", "cancelled"):
            raise DatabaseUnavailable(row["outcome"])
        row["purchased"] = bool(row.get("purchased"))
        row.setdefault("request_hash", request_hash)
        return CheckoutResult(**_known(row, CheckoutResult._fields))

    def _call_checkout(self, connection: Connection, values: tuple[object, ...]) -> dict[str, Any]:
        """Call the procedure, which commits only within a window of time on the server's clock.

        The window ends after half of the time that is left, so that the other half remains for the
        result of a call that arrives at its end. A step of the clock that goes unnoticed, up to
        CLOCK_TOLERANCE, would make the window longer, so it is subtracted first.

        Raises DatabaseUnavailable if there is no time left to send the call.
        """
        clock = connection.clock()
        sent = time.monotonic()
        window = (connection.until - sent - deadline.CLOCK_TOLERANCE) / 2
        if window <= 0:
            raise DatabaseUnavailable("no time left")
        not_before = clock.at(sent) - deadline.CLOCK_TOLERANCE
        not_after = clock.at(sent) + window
        (row,) = connection.query(CHECKOUT, (*values, not_before, not_after))
        clock.observe(float(row["server_clock"]), sent=sent, received=time.monotonic())
        return row

    def mark_published(self, order_id: str, *, overdue_after: int) -> None:
        """Mark the order as published. overdue_after: seconds from now until its next reminder."""
        self._query_one("CALL mark_published(%s, %s)", (order_id, overdue_after), repeatable=False)

    def restock(self, order_id: str, *, slug: str, callback_token: str) -> RestockResult | None:
        """Add the order's quantity to the stock, once, and mark the order as arrived.

        Return None if the order, its token and its product do not belong together.
        """
        row = self._query_one(
            "CALL restock(%s, %s, %s)", (order_id, slug, callback_token), repeatable=True
        )
        if row is None:
            return None
        return RestockResult(
            added=bool(row["added"]),
            stock=row["stock"],
            lead_time_seconds=row.get("lead_time_seconds"),
        )

    def claim_orders(
        self, claim: str, *, publications: int, newest: bool, limit: int, lease: int
    ) -> Claim:
        """Claim at most `limit` due orders, so that nobody else claims them until the lease ends.

        claim: a new UUID. publications: how often the orders have been published. newest: claim the
        newest of the orders that have not been tried since their last publication, instead of the
        oldest of all. lease: seconds; the procedure makes it longer for orders that failed before.
        """
        values = (claim, publications, newest, limit, lease)
        rows = self._query("CALL claim_orders(%s, %s, %s, %s, %s)", values, repeatable=False)
        orders = [
            messages.ProductionOrder(**_known(row, messages.ProductionOrder._fields))
            for row in rows
            if row["product_id"] is not None
        ]
        stuck = [row["order_id"] for row in rows if row["product_id"] is None]
        return Claim(orders=orders, stuck=stuck)

    def mark_stuck(self, *, max_publications: int, limit: int) -> int:
        """Mark overdue orders as stuck that were published max_publications times or more.

        Mark at most `limit` orders, and return the number marked.
        """
        row = self._query_one(
            "CALL mark_stuck(%s, %s)", (max_publications, limit), repeatable=False
        )
        assert row, "mark_stuck always returns a row"
        return int(row["marked"])

    def mark_orphans(self, *, publications: int, newest: bool, limit: int) -> int:
        """Mark those of the first `limit` due orders as stuck whose product was deleted.

        publications, newest: which orders are the first, as in claim_orders. Return the number
        marked.
        """
        row = self._query_one(
            "CALL mark_orphans(%s, %s, %s)", (publications, newest, limit), repeatable=False
        )
        assert row, "mark_orphans always returns a row"
        return int(row["marked"])

    def purge_idempotency_keys(self, *, retention: int, limit: int) -> int:
        """Delete at most `limit` keys older than `retention` seconds. Return the number."""
        return self._in_old_rows("CALL purge_idempotency_keys(%s, %s)", retention, limit)["purged"]

    def purge_checkout_outcomes(self, *, retention: int, limit: int) -> int:
        """Delete at most `limit` outcomes older than `retention` seconds. Return the number."""
        return self._in_old_rows("CALL purge_checkout_outcomes(%s, %s)", retention, limit)["purged"]

    def blank_purchases(self, *, retention: int, limit: int) -> int:
        """Blank the requester in at most `limit` purchases older than `retention` seconds.

        Return the number.
        """
        return self._in_old_rows("CALL blank_purchases(%s, %s)", retention, limit)["blanked"]

    def blank_orders(self, *, retention: int, limit: int) -> int:
        """Blank the requester in at most `limit` orders that arrived `retention` seconds ago.

        Return the number.
        """
        return self._in_old_rows("CALL blank_orders(%s, %s)", retention, limit)["blanked"]

    def _in_old_rows(self, sql: str, retention: int, limit: int) -> dict[str, int]:
        """Call a procedure that changes old rows, and return its row, which says how many."""
        row = self._query_one(sql, (retention, limit), repeatable=True)
        assert row, "these procedures always return a row"
        return row

    def backlog(self) -> Backlog:
        """Return how old the oldest unpublished order is, and how many are unpublished or stuck."""
        row = self._query_one(
            "SELECT COALESCE(TIMESTAMPDIFF(SECOND,"
            " (SELECT MIN(requested_at) FROM production_order WHERE status = 'requested'),"
            " UTC_TIMESTAMP(6)), 0) AS oldest_unpublished_seconds,"
            " (SELECT COUNT(*) FROM production_order WHERE status = 'requested') AS unpublished,"
            " (SELECT COUNT(*) FROM production_order WHERE status = 'stuck') AS stuck",
            (),
            repeatable=True,
        )
        assert row, "a SELECT without FROM always returns a row"
        return Backlog(**row)

    def stocks(self) -> dict[str, int]:
        """Return the stock of each product in the catalogue, by slug."""
        rows = self._query(
            f"SELECT slug, stock{SLOTS} AS stock FROM product WHERE in_catalogue ORDER BY slug",
            (),
            repeatable=True,
        )
        return {row["slug"]: int(row["stock"]) for row in rows}

    def correct_stock(
        self,
        operation_id: str,
        *,
        slug: str,
        count: int | None,
        amount: int | None,
        reason: str,
        recorded_by: str,
    ) -> StockCorrection | None:
        """Set the stock to what was counted, or add an amount to it, once per operation_id.

        count: None for an adjustment. amount: None for a stocktake. Return the stock before and
        after, also of a repeated operation, or None if there is no such product. Raises
        OperationIdUsed.
        """
        row = self._query_one(
            "CALL correct_stock(%s, %s, %s, %s, %s, %s)",
            (operation_id, slug, count, amount, reason, recorded_by),
            repeatable=True,
        )
        if row is None:
            return None
        _require_verb(row, "adjust" if count is None else "stocktake")
        return StockCorrection(
            changed=bool(row["changed"]), stock_before=row["stock_before"], stock=row["stock"]
        )

    def remind_stuck(self, operation_id: str, *, order_ids: Sequence[str]) -> int:
        """Request these stuck orders again, once per operation_id, and return their number.

        Those that are not stuck any more are left alone. Raises OperationIdUsed.
        """
        values = (operation_id, json.dumps(order_ids))
        row = self._query_one("CALL remind_stuck(%s, %s)", values, repeatable=True)
        assert row, "remind_stuck always returns a row"
        _require_verb(row, "remind")
        return int(row["reminded"])

    def read(
        self, sql: Sequence[str], values: tuple[object, ...] = ()
    ) -> list[list[dict[str, Any]]]:
        """Return the rows of several queries with the same values, all of them from one snapshot.

        They wait for no lock, and nobody waits for them. A database that hangs is noticed within the
        time of a request, before the longer time of the queries begins.
        """

        def send(connection: Connection) -> list[list[dict[str, Any]]]:
            connection.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            limit = f"SET STATEMENT max_statement_time = {deadline.OPERATOR_READ} FOR"
            found = [connection.query(f"{limit} {query}", values) for query in sql]
            connection.query("COMMIT")
            return found

        self._database.run(lambda connection: connection.query("DO 0"))
        return self._database.run(send, within=deadline.OPERATOR_READ)

    def _query_one(
        self, sql: str, values: tuple[object, ...], *, repeatable: bool
    ) -> dict[str, Any] | None:
        """Return the first row of the result, or None if it is empty."""
        rows = self._query(sql, values, repeatable=repeatable)
        return rows[0] if rows else None

    def _query(
        self, sql: str, values: tuple[object, ...], *, repeatable: bool
    ) -> list[dict[str, Any]]:
        """Return the statement's first result."""

        def send(connection: Connection) -> list[dict[str, Any]]:
            return connection.query(sql, values)

        return self._database.run(send, in_doubt=send if repeatable else None)


def _known(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the row without other columns, which the procedure of a later release may have."""
    return {name: row[name] for name in names if name in row}


def _require_verb(row: dict[str, Any], verb: str) -> None:
    """Raise OperationIdUsed if the row is the result of an earlier operation with another verb."""
    if row.get("verb", verb) != verb:
        raise OperationIdUsed(row["verb"])


def _iso_8601(column: str) -> str:
    """Return an SQL expression. Percent signs are doubled for PyMySQL's placeholders."""
    return f"DATE_FORMAT({column}, '%%Y-%%m-%%dT%%H:%%i:%%s.%%fZ')"
