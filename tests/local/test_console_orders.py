"""console/orders.py: where an order stands, and what has happened to it, by what was reported."""

from typing import Any

import pytest

from console.orders import Known, Standing, order, stands
from tests.support.reports import (
    ORDER,
    at,
    creation,
    line,
    made,
    message,
    result,
    row,
)

PEEKED: dict[str, Any] = {"is_peeked": True, "max_receives": 5}
LOGGED: dict[str, Any] = {"max_receives": 5}
"""Of an account, where nobody sees the messages in the queues."""
IN_FLIGHT = message(receives=1, visible=30, in_flight=True)
POSTPONED = message(receives=1, visible=2, in_flight=True)
FAILED = result(1, "not placed")
PLACED = result(1, "placed")
REMINDED = row("requested", published_at=at(0.05), publications=0)

CASES: dict[str, tuple[dict[str, Any], Standing]] = {
    "requested": ({"row": row("requested"), **PEEKED}, Standing(place="outbox")),
    "requested, by the log only": ({"lines": [creation()], **LOGGED}, Standing(place="outbox")),
    "left to the relay": (
        {"row": row("requested"), "lines": [line(2, "left to the relay", source="sales")]},
        Standing(place="outbox"),
    ),
    "published": ({"row": row(), **PEEKED}, Standing(place="topic")),
    "published, by the log only": (
        {"lines": [creation(), line(0.05, "published", source="sales")]},
        Standing(place="topic"),
    ),
    "in the queue": (
        {"row": row(), "messages": [message()], **PEEKED},
        Standing(place="queue", receives=0),
    ),
    "in the queue before its publication is recorded": (
        {"row": row(published_at=at(3)), "messages": [message()], **PEEKED},
        Standing(place="queue", receives=0),
    ),
    "in the queue, although sales has given up": (
        {"row": row("requested"), "messages": [message(sent=4)], **PEEKED},
        Standing(place="queue", receives=0),
    ),
    "received": (
        {"row": row(), "messages": [IN_FLIGHT], **PEEKED},
        Standing(place="consumer", receives=1),
    ),
    "received while the factory works on it and does not respond": (
        {"row": row(), "messages": [IN_FLIGHT], "made": [made(0.5, status=None, stages=2)]},
        Standing(place="consumer", receives=1),
    ),
    "waits for a retry": (
        {"row": row(), "messages": [POSTPONED], "lines": [FAILED], **PEEKED},
        Standing(place="queue", receives=1, retry_at=at(2)),
    ),
    "waits for a retry, after a response that came too late": (
        {"row": row(), "messages": [POSTPONED], "lines": [FAILED], "made": [made(0.5)], **PEEKED},
        Standing(place="queue", receives=1, retry_at=at(2)),
    ),
    "can be received again": (
        {"row": row(), "messages": [message(receives=1, visible=2)], "lines": [FAILED], **PEEKED},
        Standing(place="queue", receives=1),
    ),
    "received again": (
        {
            "row": row(),
            "messages": [message(receives=2, visible=30, in_flight=True)],
            "lines": [FAILED],
            **PEEKED,
        },
        Standing(place="consumer", receives=2),
    ),
    "was in the queue, and its result is not known": (
        {"row": row(), "seen": [at(0.04)], **PEEKED},
        Standing(place="consumer"),
    ),
    "placed": (
        {"row": row(), "messages": [IN_FLIGHT], "lines": [PLACED], **PEEKED},
        Standing(place="factory"),
    ),
    "placed, by the factory only": (
        {"row": row(), "seen": [at(0.04)], "made": [made(0.5)], **PEEKED},
        Standing(place="factory"),
    ),
    "rejected by the factory": (
        {"row": row(), "seen": [at(0.04)], "made": [made(0.5, status=500)], **PEEKED},
        Standing(place="consumer"),
    ),
    "placed, by the log only": (
        {"lines": [creation(), line(0.05, "published"), PLACED], **LOGGED},
        Standing(place="factory"),
    ),
    "not placed, by the log only": (
        {"row": row(), "lines": [FAILED], **LOGGED},
        Standing(place="queue", receives=1),
    ),
    "not placed for the last time, by the log only": (
        {"row": row(), "lines": [FAILED, result(9, "not placed", receives=5)], **LOGGED},
        Standing(place="dead_letter", receives=5),
    ),
    "not placed for the last time, and not moved yet": (
        {
            "row": row(),
            "messages": [message(receives=5)],
            "lines": [result(9, "not placed", receives=5)],
            **PEEKED,
        },
        Standing(place="queue", receives=5),
    ),
    "in the dead-letter queue": (
        {"row": row(), "dead": [message(receives=5)], **PEEKED},
        Standing(place="dead_letter", receives=5),
    ),
    "moves to the dead-letter queue, and is in both": (
        {"row": row(), "messages": [message(receives=5)], "dead": [message(receives=5)], **PEEKED},
        Standing(place="dead_letter", receives=5),
    ),
    "redriven": (
        {
            "row": row(),
            "messages": [message(sent=60)],
            "lines": [result(9, "not placed", receives=5)],
            **PEEKED,
        },
        Standing(place="queue", receives=0),
    ),
    "received after a reminder, and its result is not known": (
        {
            "row": row(published_at=at(35), publications=2),
            "seen": [at(0.04), at(35)],
            "made": [made(0.5)],
            **PEEKED,
        },
        Standing(place="consumer"),
    ),
    "discarded from the dead-letter queue": (
        {"row": row(), "lines": [result(9, "not placed", receives=5)], **PEEKED},
        Standing(place="consumer", receives=5),
    ),
    "called back": (
        {"row": row(), "lines": [PLACED], "made": [made(0.5, called_back=6)], **PEEKED},
        Standing(place="callback"),
    ),
    "called back, and rejected": (
        {
            "row": row(),
            "lines": [PLACED],
            "made": [made(0.5, called_back=6, callback_status=503)],
            **PEEKED,
        },
        Standing(place="callback"),
    ),
    "a callback that somebody forges": (
        {"row": row(), "lines": [PLACED, line(3, "callback rejected", source="restock")], **LOGGED},
        Standing(place="factory"),
    ),
    "arrived": ({"row": row("arrived", arrived_at=at(6)), **PEEKED}, Standing(place="arrived")),
    "arrived, and the row is not read yet": (
        {"row": row(), "lines": [line(6, "restock", source="restock", added=True)], **PEEKED},
        Standing(place="arrived"),
    ),
    "arrived late, with a message in the dead-letter queue": (
        {"row": row("arrived", arrived_at=at(6)), "dead": [message(receives=5)], **PEEKED},
        Standing(place="arrived"),
    ),
    "stuck": (
        {"row": row("stuck", publications=4), "lines": [PLACED], "made": [made(0.5)], **PEEKED},
        Standing(place="stuck"),
    ),
    "published again": (
        {"row": row(published_at=at(35), publications=2), "lines": [PLACED], **PEEKED},
        Standing(place="topic"),
    ),
    "published again while the factory is silent": (
        {
            "row": row(published_at=at(35), publications=2),
            "lines": [PLACED],
            "made": [made(0.5)],
            "messages": [message(sent=35)],
            **PEEKED,
        },
        Standing(place="queue", receives=0),
    ),
    "published again while a message is in the dead-letter queue": (
        {
            "row": row(published_at=at(35), publications=2),
            "dead": [message(receives=5)],
            "lines": [result(36, "placed", sent=35)],
            **PEEKED,
        },
        Standing(place="factory"),
    ),
    "reminded by an operator": (
        {"row": REMINDED, "lines": [PLACED], "made": [made(0.5)], **PEEKED},
        Standing(place="outbox"),
    ),
    "reminded by an operator, and in the queue": (
        {"row": REMINDED, "lines": [PLACED], "messages": [message(sent=50)], **PEEKED},
        Standing(place="queue", receives=0),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_order_stands_where_the_last_report_says(case: str) -> None:
    reported, expected = CASES[case]
    assert stands(Known(order_id=ORDER, **reported)) == expected


def test_order_has_its_row_its_stage_and_all_hops_by_time() -> None:
    known = Known(
        order_id=ORDER,
        row=row("arrived", arrived_at=at(9.5)),
        lines=[
            creation(0.01),
            line(0.05, "published", source="sales"),
            FAILED,
            result(2.3, "placed", receives=2),
            line(9.6, "restock", source="restock", added=True, stock=50),
        ],
        made=[made(2.2, stages=2, called_back=9.7, callback_status=200)],
        max_receives=5,
    )
    found = order(known)
    assert found
    shown = (found.quantity, found.slug, found.status, found.place, found.stage, found.arrived_at)
    assert shown == (40, "donut", "arrived", "arrived", 2, at(9.5))
    assert [(hop.at - at(0), hop.source, hop.what, hop.fields) for hop in found.hops] == [
        (0, "database", "requested", {}),
        (10, "sales", "checkout", {"outcome": "out_of_stock", "quantity": 40}),
        (40, "stock_queue", "queued", {}),
        (50, "database", "published", {"publications": 1}),
        (50, "sales", "published", {}),
        (1000, "consumer", "not placed", {"receives": 1}),
        (2200, "factory", "received", {"status": 201}),
        (2200, "factory", "stage", {"stage": 1}),
        (2300, "consumer", "placed", {"receives": 2}),
        (3200, "factory", "stage", {"stage": 2}),
        (9500, "database", "arrived", {}),
        (9600, "restock", "restock", {"added": True, "stock": 50}),
        (9700, "factory", "called back", {"status": 200}),
    ]


STATUSES = {
    "requested": ([creation()], "requested"),
    "published": ([creation(), line(0.05, "published", source="sales")], "published"),
    "arrived": ([creation(), line(6, "restock", source="restock", added=True)], "arrived"),
}


@pytest.mark.parametrize("case", STATUSES)
def test_order_is_known_from_the_log_alone(case: str) -> None:
    lines, status = STATUSES[case]
    found = order(Known(order_id=ORDER, lines=lines))
    assert found
    assert (found.quantity, found.requested_at, found.slug) == (40, at(0), None)
    assert found.status == status


def test_order_of_which_only_a_rejected_callback_is_known_is_not_shown() -> None:
    lines = [line(3, "callback rejected", source="restock")]
    assert order(Known(order_id=ORDER, lines=lines)) is None
