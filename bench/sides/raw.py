"""Bare PyMySQL loops: the statements without the shop around them, on a connection like its own."""

import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from bench import events
from bench.sides import database
from common.database import Connection
from common.server_clock import ServerClock
from common.store import Store
from tests.support.database_shop import buy

Statement = tuple[str, tuple[object, ...]]
COLUMNS = "SELECT product_id, sku, name, price, stock, factory_id FROM product WHERE slug = %s"
KEY = "SELECT purchased, stock, order_id, request_hash FROM idempotency_key WHERE idempotency_key = %s"
UPDATE = "UPDATE product SET stock = stock - %s WHERE slug = %s AND stock >= %s"


class Sent(Exception):
    """A statement that the shop would send."""


class Recorder(Connection):
    """A connection that raises each statement instead of sending it."""

    def __init__(self) -> None:
        self.until = time.monotonic() + 600

    def run(self, send: Callable[[Connection], Any], *, in_doubt: object = None) -> Any:
        """Stand in for Database.run."""
        return send(self)

    def clock(self) -> ServerClock:
        now, clock = time.monotonic(), ServerClock()
        clock.observe(time.time(), sent=now, received=now)
        return clock

    def query(self, sql: str, values: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        raise Sent(sql, values)


def statement(call: Callable[[Store], object]) -> Statement:
    """Return the statement that a method of the store would send, with its values."""
    store = Store.__new__(Store)
    store._database = Recorder()  # type: ignore[assignment]  # it records instead of sending
    try:
        call(store)
    except Sent as sent:
        sql, values = sent.args
        return sql, values
    raise AssertionError("the store sent no statement")


class Buyer:
    def __init__(self) -> None:
        self._connection = database.connect()

    def prepare(self, scenario: str, calls: int) -> list[Callable[[], Any]]:
        prepare: Callable[[], list[Statement]] = getattr(self, f"_{scenario}")
        if scenario == "replay":
            return [partial(self._send, *prepare())] * calls
        return [partial(self._send, *prepare()) for _ in range(calls)]

    def sold(self, result: Any) -> bool:
        """Return whether the UPDATE found its row, or the CALL said `sold`."""
        rows, changed = result
        return "sold" in str(rows) if rows else changed == 1

    def _send(self, *statements: Statement) -> tuple[Any, int]:
        for sql, values in statements:
            with self._connection.cursor() as cursor:
                changed = cursor.execute(sql, values)
                rows = cursor.fetchall()
        return rows, changed

    def _get(self) -> list[Statement]:
        return [(COLUMNS, ("donut",))]

    def _replay(self) -> list[Statement]:
        """Read a row of the keys. The key is recorded before."""
        key = str(uuid.uuid4())
        self._send(statement(lambda store: buy(store, 1, idempotency_key=key)))
        return [(KEY, (key,))]

    def _update(self) -> list[Statement]:
        return [(UPDATE, (1, "donut", 1))]

    def _checkout(self) -> list[Statement]:
        return [statement(lambda store: buy(store, 1, requester="홍길동", request_hash=None))]

    def _checkout_unrecorded(self) -> list[Statement]:
        """Check out by a procedure that records no internal key: see bench/parts/requests.py."""
        ((sql, values),) = self._checkout()
        return [(sql.replace("CALL checkout(", "CALL checkout_unrecorded("), values)]

    def _checkout_with_key(self) -> list[Statement]:
        key = str(uuid.uuid4())
        return [statement(lambda store: buy(store, 1, requester="홍길동", idempotency_key=key))]

    def _out_of_stock(self) -> list[Statement]:
        """Record an order, and mark it as published."""
        order_id = str(uuid.uuid4())
        order = {"product_id": events.BAGEL, "order_id": order_id, "request_hash": None}
        return [
            statement(lambda store: buy(store, 5, requester="홍길동", **order)),
            statement(lambda store: store.mark_published(order_id, overdue_after=900)),
        ]
