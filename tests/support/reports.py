"""What a source of the console may report, with values that tests do not look at filled in."""

from typing import Any

from console.source import Made, Message, OrderRow
from operations.logs import LogLine

ORDER = "0a1b2c3d-0000-4000-8000-00000000000f"
REQUESTED_AT = 1_795_478_400_000
"""2026-11-24 00:00:00 in UTC."""


def at(seconds: float) -> int:
    """Return the time so many seconds after the order was requested."""
    return REQUESTED_AT + round(seconds * 1000)


def iso(milliseconds: int) -> str:
    """Return a time of the first minute as the functions log it."""
    return f"2026-11-24T00:00:{(milliseconds - REQUESTED_AT) / 1000:06.3f}Z"


def row(status: str = "published", **fields: Any) -> OrderRow:
    """Return the order's row. Its publication was recorded 50 ms after the request."""
    times = {"published_at": at(0.05), "publications": 1} if status != "requested" else {}
    defaults = {"order_id": ORDER, "slug": "donut", "quantity": 40, "requested_at": at(0)}
    return OrderRow(**{**defaults, **times, "status": status, **fields})


def line(seconds: float, message: str, *, source: str = "consumer", **fields: Any) -> LogLine:
    """Return a log line about the order, so many seconds after the order was requested."""
    return LogLine(
        at=at(seconds),
        source=source,
        level="INFO",
        message=message,
        fields={"order_id": ORDER, **fields},
    )


def result(seconds: float, message: str, *, receives: int = 1, sent: float = 0.04) -> LogLine:
    """Return the consumer's line about a receive of the message that was sent at this time."""
    return line(seconds, message, queued_at=iso(at(sent)), receives=receives)


def creation(seconds: float = 0, **fields: Any) -> LogLine:
    """Return the line of the checkout that has made the order."""
    values = {"outcome": "out_of_stock", "quantity": 40, **fields}
    return line(seconds, "checkout", source="sales", **values)


def message(
    *, sent: float = 0.04, receives: int = 0, visible: float | None = None, in_flight: bool = False
) -> Message:
    """Return the order's message in a queue."""
    return Message(
        message_id=f"sent {sent}",
        order_id=ORDER,
        receives=receives,
        sent_at=at(sent),
        visible_at=at(sent if visible is None else visible),
        in_flight=in_flight,
    )


def made(
    seconds: float,
    *,
    status: int | None = 201,
    stages: int = 0,
    called_back: float | None = None,
    callback_status: int | None = None,
) -> Made:
    """Return the order as the factory has received it. Each of its stages takes a second."""
    return Made(
        order_id=ORDER,
        received_at=at(seconds),
        status=status,
        stage=stages,
        stages_began=[at(seconds + stage) for stage in range(stages)],
        called_back_at=at(called_back) if called_back is not None else None,
        callback_status=callback_status,
    )
