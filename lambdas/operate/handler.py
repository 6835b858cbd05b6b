"""Execute operators' commands. VERBS lists them, and IAM decides who may invoke the function.

An event has a `verb`, the verb's own fields, and `claimed_by`, the ARN that the caller states. The
event of a verb that changes something has an `operation_id`, too. Only the first event with an id
changes anything.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from common import deadline, environment, failures, limits
from common.database import DatabaseUnavailable, OutcomeUnknown
from common.store import OperationIdUsed, Store
from operate import reads

LOGGED = ("operation_id", "order_id", "slug", "count", "amount")
"""The fields of an event that are logged. The reason is not: it may contain a person's name."""
NEXT = {
    "requested": "next: the relay publishes it",
    "published": "next: the relay reminds the factory of it, or marks it as stuck",
}
"""What happens at an open order's `next_attempt_at`, by its status."""
log = logging.getLogger(__name__)
config = environment.read(environment.Operate)
store = Store(config)

Event = dict[str, Any]
Table = dict[str, Any]
"""A `title`, the `rows`, each a dict by column, and `cut`: whether rows were left out."""


class Rejected(Exception):
    """The command can't be executed. The text tells the operator why."""


def read_text(event: Event, name: str) -> str:
    """Return a field, trimmed. Raises Rejected."""
    value = event.get(name)
    text = value.strip() if isinstance(value, str) else ""
    if not 1 <= len(text) <= limits.TEXT or not text.isprintable():
        raise Rejected(f"{name} must be 1 to {limits.TEXT} printable characters")
    return text


def read_identifier(value: object, name: str, *, max_length: int) -> str:
    """Return a value that has the form of an id or a slug. Raises Rejected."""
    if not isinstance(value, str) or not limits.is_identifier(value, max_length=max_length):
        raise Rejected(
            f"{name} must be 1 to {max_length} ASCII letters, digits, hyphens and underscores"
        )
    return value


def read_pieces(event: Event, name: str, *, least: int) -> int:
    """Return a number of pieces. Raises Rejected."""
    value = event.get(name)
    if type(value) is not int or not least <= value <= limits.PIECES:
        raise Rejected(f"{name} must be an integer from {least} to {limits.PIECES}")
    return value


def as_json(value: object) -> object:
    """Return a database value in a type that JSON has. Times are in UTC."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, datetime):
        return f"{value.isoformat(timespec='milliseconds')}Z"
    return value


def table(title: str, rows: list[dict[str, Any]]) -> Table:
    """Return a table with at most reads.ROWS rows."""
    shown = [{name: as_json(value) for name, value in row.items()} for row in rows[: reads.ROWS]]
    return {"title": title, "rows": shown, "cut": len(rows) > reads.ROWS}


def show(queries: Mapping[str, str]) -> list[Table]:
    """Return the table of each query. Read one row too many, which shows whether it must be cut."""
    found = store.read([f"{sql} LIMIT {reads.ROWS + 1}" for sql in queries.values()])
    return [table(title, rows) for title, rows in zip(queries, found, strict=True)]


def show_order(event: Event) -> list[Table]:
    """Return an order's row, and a table of its times, the earliest first. Raises Rejected."""
    order_id = read_identifier(event.get("order_id"), "order_id", max_length=limits.ORDER_ID)
    (rows,) = store.read([reads.ORDER], (order_id,))
    if not rows:
        raise Rejected(f"there is no order {order_id}")
    (order,) = rows
    product_gone = "" if order["slug"] else ", because its product was deleted"
    steps = {
        "requested_at": "requested",
        "published_at": "published for the last time",
        "stuck_at": f"marked as stuck{product_gone}",
        "reminded_at": f"reminded by `make remind`, operation_id={order.pop('reminded_by')}",
        "arrived_at": "arrived",
        "next_attempt_at": NEXT.get(order["status"]),
    }
    timeline = [{"at": order.pop(column), "what": what} for column, what in steps.items()]
    timeline = [step for step in timeline if step["at"] is not None]
    timeline.sort(key=lambda step: step["at"])
    return [table("order", [order]), table("timeline", timeline)]


def read_operation_id(event: Event) -> str:
    """Return the id of a command that changes something. Raises Rejected."""
    value = event.get("operation_id")
    return read_identifier(value, "operation_id", max_length=limits.OPERATION_ID)


def remind(event: Event) -> list[Table]:
    """Set those of the listed orders that are stuck back to `requested`. Raises Rejected."""
    order_ids = event.get("order_ids")
    if not isinstance(order_ids, list) or not 1 <= len(order_ids) <= reads.ROWS:
        raise Rejected(f"order_ids must be a list of 1 to {reads.ROWS} order ids")
    for order_id in order_ids:
        read_identifier(order_id, "each of order_ids", max_length=limits.ORDER_ID)
    reminded = store.remind_stuck(read_operation_id(event), order_ids=order_ids)
    return [table("reminded", [{"orders": reminded}])]


def take_stock(event: Event) -> list[Table]:
    """Set a product's stock to what was counted. Raises Rejected."""
    return correct_stock(event, count=read_pieces(event, "count", least=0))


def adjust(event: Event) -> list[Table]:
    """Add pieces to a product's stock, or take some from it. Raises Rejected."""
    amount = read_pieces(event, "amount", least=-limits.PIECES)
    if amount == 0:
        raise Rejected("amount must not be 0")
    return correct_stock(event, amount=amount)


def correct_stock(
    event: Event, *, count: int | None = None, amount: int | None = None
) -> list[Table]:
    """Set a product's stock to the count, or add the amount to it.

    Returns the stock before and after. Raises Rejected.
    """
    slug = read_identifier(event.get("slug"), "slug", max_length=limits.SLUG)
    correction = store.correct_stock(
        read_operation_id(event),
        slug=slug,
        count=count,
        amount=amount,
        reason=read_text(event, "reason"),
        recorded_by=event["claimed_by"][-limits.TEXT :],  # the end of an ARN names the person
    )
    if correction is None:
        raise Rejected(f"there is no product {slug}")
    before, stock = correction.stock_before, correction.stock
    if not correction.changed:
        raise Rejected(
            f"nothing was booked: the stock of {slug} is {stock}, and would fall below 0"
        )
    booked = {"slug": slug, "stock_before": before, "booked": stock - before, "stock": stock}
    return [table("booked", [booked])]


VERBS: dict[str, Callable[[Event], list[Table]]] = {
    "orders": lambda event: show(reads.ORDERS),
    "order": show_order,
    "books": lambda event: show(reads.BOOKS),
    "stuck": lambda event: show(reads.STUCK),
    "remind": remind,
    "stocktake": take_stock,
    "adjust": adjust,
}


def execute(event: Event) -> list[Table]:
    """Execute the event's verb. Raises Rejected and DatabaseUnavailable."""
    verb, claimed_by = event.get("verb"), event.get("claimed_by")
    if not isinstance(claimed_by, str) or not claimed_by:
        raise Rejected("claimed_by is missing")
    if not isinstance(verb, str) or verb not in VERBS:
        raise Rejected(f"verb must be one of {', '.join(VERBS)}")
    try:
        with deadline.request():
            return VERBS[verb](event)
    except OperationIdUsed as first:
        used = f"operation_id {event['operation_id']} was used by {first}"
        raise Rejected(f"{used}: nothing was done") from None


@failures.guarded()
def handler(event: object, context: object) -> dict[str, Any]:
    """Return the verb's tables, or as `error` a sentence that says why not, with its `problem`.

    The problem is `rejected`; or `unavailable` if this invocation has changed nothing, although an
    earlier one with the same id may have; or `unknown`. Raises Failed.
    """
    event = event if isinstance(event, dict) else {}
    who = {"verb": event.get("verb"), "claimed_by": event.get("claimed_by")}
    what = {name: event[name] for name in LOGGED if name in event}
    if isinstance(event.get("order_ids"), list):
        what["orders"] = len(event["order_ids"])
    try:
        tables = execute(event)
    except Rejected as error:
        log.warning("operation rejected", extra={**who, "reason": str(error)})
        return {"error": str(error), "problem": "rejected"}
    except DatabaseUnavailable as error:
        log.error("database unavailable", extra={**who, **what, "reason": str(error)})
        problem = "unknown" if isinstance(error, OutcomeUnknown) else "unavailable"
        return {"error": f"the database is unavailable: {error}", "problem": problem}
    log.info("operation", extra={**who, **what})
    return {"tables": tables}
