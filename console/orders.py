"""Where each production order stands, and what has happened to it, by what was reported.

Nothing here asks anybody or looks at a clock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from console import view
from console.source import Made, Message, OrderRow
from operations.logs import LogLine
from operations.trace import milliseconds

SLACK = 5_000
"""Milliseconds between the times at which one publication is recorded by different parts.

A message may be in the queue before its publication is recorded in the database: by as long as a
function's request takes. Publications of one order are at least 30 seconds apart.
"""
LEFT_OUT = {"order_id", "queued_at"}
"""Fields that no hop shows: the order is the same in each, and `queued_at` is a hop of its own."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """Everything that was reported of one order."""

    order_id: str
    row: OrderRow | None = None
    lines: Sequence[LogLine] = ()
    """By time."""
    messages: Sequence[Message] = ()
    """Those in the queue now."""
    dead: Sequence[Message] = ()
    """Those in the dead-letter queue now."""
    seen: Sequence[int] = ()
    """When messages were sent that have been in a queue, now or before."""
    made: Sequence[Made] = ()
    """The earliest first."""
    max_receives: int | None = None
    is_peeked: bool = False
    """Whether the queues' messages are reported."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where an order stands."""

    place: view.Place
    receives: int | None = None
    retry_at: int | None = None


def order(known: Known) -> view.Order | None:
    """Return the order, or None if nothing says how many pieces it has."""
    row = known.row
    created = next((each for each in known.lines if is_creation(each)), None)
    if row is None and created is None:
        return None
    quantity = row.quantity if row else created.fields["quantity"] if created else 0
    requested_at = row.requested_at if row else created.at if created else 0
    standing = stands(known)
    last = known.made[-1] if known.made else None
    return view.Order(
        order_id=known.order_id,
        slug=row.slug if row else None,
        quantity=quantity,
        status=status(known),
        place=standing.place,
        stage=last.stage if last else None,
        receives=standing.receives,
        max_receives=known.max_receives,
        retry_at=standing.retry_at,
        requested_at=requested_at,
        arrived_at=arrived_at(known),
        hops=hops(known),
    )


def is_creation(line: LogLine) -> bool:
    """Return whether the line says that a checkout has made this order."""
    return line.message == "checkout" and line.fields.get("outcome") == "out_of_stock"


def status(known: Known) -> str:
    """Return the order's status, as the row or a later log line says."""
    if has_arrived(known):
        return "arrived"
    if known.row:
        return known.row.status
    return "published" if publications(known) else "requested"


def has_arrived(known: Known) -> bool:
    """Return whether the order has arrived. The log may know it before the row is read."""
    is_in_row = known.row is not None and known.row.status == "arrived"
    return is_in_row or arrived_at(known) is not None


def arrived_at(known: Known) -> int | None:
    """Return when the order arrived, or None."""
    if known.row and known.row.arrived_at is not None:
        return known.row.arrived_at
    return next((line.at for line in known.lines if line.message == "restock"), None)


def publications(known: Known) -> list[int]:
    """Return the known times of publications."""
    logged = [line.at for line in known.lines if line.message == "published"]
    row = known.row
    return [*logged, *([row.published_at] if row and row.published_at else [])]


def queued_at(known: Known) -> list[int]:
    """Return when the order's messages were queued, the earliest first."""
    logged = {at for line in known.lines if (at := queued_time(line)) is not None}
    here = {message.sent_at for message in [*known.messages, *known.dead]}
    return sorted({*logged, *here, *known.seen})


def queued_time(line: LogLine) -> int | None:
    """Return when the message was queued that the line is about, or None if it does not say."""
    time = line.fields.get("queued_at")
    return milliseconds(time) if isinstance(time, str) else None


def stands(known: Known) -> Standing:
    """Return where the order stands, by the last report of its newest message."""
    row = known.row
    if has_arrived(known):
        return Standing(place="arrived")
    if row and row.status == "stuck":
        return Standing(place="stuck")
    published, queued = publications(known), queued_at(known)
    if row and row.status == "requested" and row.published_at:
        # An operator reminds of it: it waits to be published again, as if it were new.
        after = row.published_at + SLACK
        published, queued = ([at for at in each if at > after] for each in (published, queued))
    if not published and not queued:
        return Standing(place="outbox")
    if not queued or max(published, default=0) - SLACK > queued[-1]:
        return Standing(place="topic")
    return of_message(known, sent_at=queued[-1])


def of_message(known: Known, *, sent_at: int) -> Standing:
    """Return where the order stands whose newest message was sent to the queue at this time."""
    here = next((each for each in known.messages if each.sent_at == sent_at), None)
    dead = next((each for each in known.dead if each.sent_at == sent_at), None)
    results = [line for line in known.lines if queued_time(line) == sent_at]
    failures = [int(line.fields["receives"]) for line in results if line.message == "not placed"]
    receives = max([*failures, here.receives if here else 0, dead.receives if dead else 0])
    if dead:
        return Standing(place="dead_letter", receives=receives)
    if any(line.message == "placed" for line in results):
        return at_factory(known, sent_at=sent_at)
    if here:
        was_returned = here.receives <= max(failures, default=0)
        if not here.in_flight:
            return Standing(place="queue", receives=receives)
        if was_returned:
            return Standing(place="queue", receives=receives, retry_at=here.visible_at)
        return Standing(place="consumer", receives=receives)
    if accepted(known, sent_at=sent_at):
        return at_factory(known, sent_at=sent_at)
    if failures and not known.is_peeked:
        is_last = known.max_receives is not None and receives >= known.max_receives
        return Standing(place="dead_letter" if is_last else "queue", receives=receives)
    return Standing(place="consumer", receives=receives or None)


def accepted(known: Known, *, sent_at: int) -> Sequence[Made]:
    """Return what the factory has accepted since the message was sent."""
    return [
        made
        for made in known.made
        if made.received_at >= sent_at and made.status is not None and 200 <= made.status < 300
    ]


def at_factory(known: Known, *, sent_at: int) -> Standing:
    """Return where an order stands that was placed and has not arrived."""
    found = accepted(known, sent_at=sent_at)
    called_back = bool(found) and found[-1].called_back_at is not None
    return Standing(place="callback" if called_back else "factory")


def hops(known: Known) -> Sequence[view.Hop]:
    """Return what has happened to the order, by time.

    Within a millisecond, the database comes first, because a function records before it logs.
    """
    found = [*of_row(known.row), *of_queue(known), *of_lines(known.lines), *of_made(known.made)]
    return sorted(found, key=lambda hop: hop.at)


def of_row(row: OrderRow | None) -> Iterator[view.Hop]:
    if row is None:
        return
    times = {
        "requested": row.requested_at,
        "published": row.published_at,
        "stuck": row.stuck_at,
        "arrived": row.arrived_at,
    }
    for what, at in times.items():
        if at is not None:
            fields = {"publications": row.publications} if what == "published" else {}
            yield view.Hop(at=at, source="database", what=what, fields=fields)


def of_queue(known: Known) -> Iterator[view.Hop]:
    for at in queued_at(known):
        yield view.Hop(at=at, source="stock_queue", what="queued")


def of_lines(lines: Sequence[LogLine]) -> Iterator[view.Hop]:
    for line in lines:
        fields = {name: value for name, value in line.fields.items() if name not in LEFT_OUT}
        yield view.Hop(at=line.at, source=line.source, what=line.message, fields=fields)


def of_made(made: Sequence[Made]) -> Iterator[view.Hop]:
    for each in made:
        status = {"status": each.status}
        yield view.Hop(at=each.received_at, source="factory", what="received", fields=status)
        for stage, at in enumerate(each.stages_began, start=1):
            yield view.Hop(at=at, source="factory", what="stage", fields={"stage": stage})
        if each.called_back_at is not None:
            status = {"status": each.callback_status}
            yield view.Hop(
                at=each.called_back_at, source="factory", what="called back", fields=status
            )
