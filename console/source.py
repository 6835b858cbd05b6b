"""What a source of the console reports. The two sources are account.py and local_source.py.

A source reports several parts, each by a method of its own, because each can fail by itself. Times
are in milliseconds since the epoch.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from console import view
from operations.logs import LogLine
from settings import Settings

Row = Mapping[str, Any]


class Unavailable(Exception):
    """A part can't be reported. The text says why, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class OrderRow:
    """A production order, as it is in the database."""

    order_id: str
    slug: str | None
    quantity: int
    status: str
    requested_at: int
    published_at: int | None = None
    """Of the last publication."""
    publications: int = 0
    stuck_at: int | None = None
    arrived_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class Orders:
    """The newest orders, and how many there are."""

    rows: Sequence[OrderRow]
    lists_arrived: bool
    """Whether orders that have arrived are among them."""
    lists_every_open: bool = True
    """Whether an order that is no longer among them has arrived, if those are not listed."""
    requested: int
    oldest_requested_seconds: int | None
    stuck: int
    arrived: int
    """In the last day."""
    products: Sequence[view.Product] | None = None
    """None: the stock comes with the books."""


@dataclass(frozen=True, kw_only=True)
class Sold:
    """Purchases, and checkouts that were sold, since the same moment."""

    since: int = field(compare=False)
    purchases: int
    checkouts: int


@dataclass(frozen=True, kw_only=True)
class Books:
    """The books, and what violates the checks that the source can make."""

    at: int
    rows: Sequence[Row]
    """A row per product: slug, entries, purchases, arrivals, expected, stock, difference."""
    offending: Mapping[str, Sequence[Row]]
    """By the check's name."""
    sold: Sold | None = None
    opened_at: int | None = None
    """When the shop was opened. Another time means that it was reset. None: it is not known."""
    products: Sequence[view.Product] | None = None
    """None: the stock comes with the orders."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message in a queue."""

    message_id: str
    order_id: str | None
    receives: int
    sent_at: int
    visible_at: int
    in_flight: bool


@dataclass(frozen=True, kw_only=True)
class Queues:
    """The queue and its dead-letter queue."""

    queue: view.Queue
    dead_letters: view.Queue
    max_receives: int | None
    messages: Sequence[Message] | None = None
    """Those of the queue; None: the source does not see them."""
    dead: Sequence[Message] = ()


@dataclass(frozen=True, kw_only=True)
class Made:
    """A request that the factory received."""

    order_id: str
    received_at: int
    status: int | None
    """Of the factory's response; None: it was not sent."""
    stage: int
    stages_began: Sequence[int]
    called_back_at: int | None
    callback_status: int | None


@dataclass(frozen=True, kw_only=True)
class Factory:
    """What the factory has received, the earliest first."""

    made: Sequence[Made]


@dataclass(frozen=True, kw_only=True)
class Log:
    """The lines that are new since the last report, by time."""

    lines: Sequence[LogLine]


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """The alarms, by name."""

    alarms: Sequence[view.Alarm]


@dataclass(frozen=True, kw_only=True)
class Breakages:
    """What can be broken, and what is."""

    breakages: Sequence[view.Breakage]


@dataclass(frozen=True, kw_only=True)
class Throttled:
    """How many invocations were throttled lately, by function, if any were."""

    counts: Mapping[str, int]


Report = Orders | Books | Queues | Factory | Log | Alarms | Breakages | Throttled


class Read(Protocol):
    """Reports a part. Raises Unavailable."""

    def __call__(self) -> Report: ...


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of what a source reports."""

    problem: str
    """The key in `problems` of the view, if the part can't be reported."""
    seconds: float
    """How often it is worth asking."""
    rest: float = 0
    """The pause is at least so many times as long as the read took: a database can be large."""
    read: Read


class Source(Protocol):
    """A shop, and what is known of it."""

    settings: Settings
    can_break: bool

    @property
    def url(self) -> str | None:
        """Return the URL of the shop's API, or None if it is not known."""

    def parts(self) -> Mapping[str, Part]:
        """Return the parts by name. Different parts may be read at the same time."""

    def order(self, order_id: str) -> tuple[OrderRow | None, Sequence[LogLine]]:
        """Return an order's row and all of its log lines by time, however old they are.

        Both are empty if there is no such order. Raises Unavailable.
        """


def now() -> int:
    """Return the time in milliseconds since the epoch."""
    return round(time.time() * 1000)
