"""What the page shows, as one JSON object. Each value is what a query or an event reported.

A value that its source did not report is None, and `problems` says why. Times are in milliseconds
since the epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Place = Literal[
    "outbox",  # recorded in the database, and not published
    "topic",  # published, and not known to be in the queue
    "queue",  # waits in the queue, or for the next receive
    "consumer",  # received, and not known to be placed
    "factory",  # placed, and not called back
    "callback",  # called back, and not arrived
    "arrived",
    "dead_letter",
    "stuck",
]
"""Where an order stands, by the last report of it."""
CheckName = Literal["balance", "not_negative", "one_order", "arrives_once", "key_sold_once"]


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One line of an order's timeline."""

    at: int
    source: str
    """What reported it: database, stock_queue, factory, or a function's name."""
    what: str
    """Such as `requested`, `published`, `queued`, `placed`, `not placed`, `stage`, `arrived`."""
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Order:
    """A production order, and everything that was reported of it."""

    order_id: str
    slug: str | None
    quantity: int
    status: str
    """As in the database."""
    place: Place
    stage: int | None = None
    """The last stage that the factory has begun, 0 to STAGES; None if it does not say."""
    receives: int | None = None
    """How often the message was received from the queue."""
    max_receives: int | None = None
    retry_at: int | None = None
    """When the message can be received again, if it waits for that."""
    requested_at: int
    arrived_at: int | None = None
    hops: Sequence[Hop] = ()
    """By time."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """How many messages a queue has. SQS calls these numbers approximate."""

    visible: int
    in_flight: int
    delayed: int


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The parts between a checkout and an arrival."""

    requested: int | None = None
    """Orders in the outbox that are not published."""
    oldest_requested_seconds: int | None = None
    queue: Queue | None = None
    dead_letters: Queue | None = None
    stuck: int | None = None
    stages: Sequence[int] | None = None
    """How many orders are in each stage of the factory, from the first one; None: it does not say."""
    arrived: int | None = None
    """Orders that have arrived in the last day."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """A product of the catalogue."""

    slug: str
    product_id: str | None = None
    """A checkout of another product than the donut names it."""
    name: str | None
    price: int | None
    stock: int
    max_quantity: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A product's stock at a time."""

    at: int
    stock: int


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that happened, beside the curve of the stock."""

    at: int
    kind: Literal["purchase", "out_of_stock", "arrival", "broken", "healed"]
    name: str = ""
    """Of the breakage."""
    quantity: int | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """Something that must always hold."""

    name: CheckName
    holds: bool | None = None
    """Whether the last check found nothing; None: the source does not report what it takes."""
    checked_at: int | None = None
    violations: Sequence[Mapping[str, Any]] = ()
    """The offending rows of all checks since the start, with the time `at` of the first sight."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """An alarm, as CloudWatch describes it."""

    name: str
    description: str
    threshold: float
    comparison: str
    periods: int
    period_seconds: int | None
    state: str


@dataclass(frozen=True, kw_only=True)
class Breakage:
    """Something that can be broken."""

    name: str
    part: Literal["factory", "topic", "queue", "consumer", "database", "callback"]
    """The part that is red meanwhile."""
    remaining: float
    """Seconds until it heals by itself; 0: it is not broken."""
    lasts: bool
    """False: it happens once, and there is nothing to heal, such as a forged callback."""
    alarm: Alarm | None
    """The alarm that would fire on AWS."""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A response to a customer."""

    at: int
    quantity: int
    key: str | None
    status: int
    """0: there was no response."""
    body: Mapping[str, Any]
    milliseconds: float


@dataclass(frozen=True, kw_only=True)
class Rush:
    """Many customers at once. It is complete when sold + out_of_stock + failed = buyers."""

    buyers: int
    at_once: int
    sold: int = 0
    out_of_stock: int = 0
    failed: int = 0
    p50: float | None = None
    """Milliseconds from a customer's first request to the shop's decision."""
    p99: float | None = None
    lost: int | None = None
    """Pieces sold to these customers that the purchases do not show; None: not known yet."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """A line of a story: the key of a text, and its values."""

    key: str
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StoryRun:
    """How the last run of a story went."""

    name: str
    state: Literal["never", "running", "passed", "failed"]
    seconds: float | None = None
    reason: str | None = None
    said: Sequence[Said] = ()


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """A log line."""

    at: int
    source: str
    level: str
    message: str
    order_id: str | None
    text: str
    """The fields, as `name=value`, and a stack trace."""


@dataclass(frozen=True, kw_only=True)
class View:
    """Everything that the page shows."""

    environment: str
    url: str | None
    """Of the shop's API."""
    at: int
    can_buy: bool
    asks_before_buying: bool
    can_break: bool
    problems: Mapping[str, str] = field(default_factory=dict)
    """What a source said instead of its values: database, queues, factory, logs, alarms, shop."""
    products: Sequence[Product] = ()
    books: Sequence[Mapping[str, Any]] = ()
    """A row per product: slug, entries, purchases, arrivals, expected, stock, difference."""
    checks: Sequence[Check] = ()
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    """By the product's slug, the earliest first."""
    marks: Sequence[Mark] = ()
    pipeline: Pipeline = field(default_factory=Pipeline)
    orders: Sequence[Order] = ()
    """The newest first."""
    breakages: Sequence[Breakage] = ()
    alarms: Sequence[Alarm] = ()
    throttled: Mapping[str, int] = field(default_factory=dict)
    """Invocations that were throttled in the last 15 minutes, by function, if any were."""
    checkouts: Sequence[Checkout] = ()
    """The last responses, the newest first."""
    rush: Rush | None = None
    stories: Sequence[StoryRun] = ()
    log: Sequence[LogEntry] = ()
    """The newest first."""
    busy: str | None = None
    """What runs and keeps other actions waiting: `rush`, or a story's name."""
