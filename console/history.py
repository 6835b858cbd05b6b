"""Everything that a source has reported, as far as the page shows it."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from console import orders, view
from console.books import Checks, forget_first
from console.source import (
    Alarms,
    Books,
    Breakages,
    Factory,
    Log,
    OrderRow,
    Orders,
    Queues,
    Report,
    Throttled,
)
from operations.logs import LogLine

SAMPLES = 2000
"""How many samples of a product's stock are kept."""
TRADE_MARKS, CHANGE_MARKS = 1000, 100
"""How many marks are kept: of purchases and arrivals, and of what was broken or healed."""
MARKED_MILLISECONDS = 180_000
"""Older marks of purchases and arrivals are not kept. console/page/stock.js shows as many."""
LINES = 300
ORDERS = 500
"""Of how many orders the log lines are kept, and the times at which they were queued."""
LINES_PER_ORDER = 60
OPEN, ARRIVED = 50, 30
"""How many orders are shown at most that have not arrived, and that have."""


class History:
    """The last report of each part, and what earlier ones leave behind."""

    def __init__(self) -> None:
        self.orders_report: Orders | None = None
        self.books_report: Books | None = None
        self.queues: Queues | None = None
        self.factory: Factory | None = None
        self.alarms: Sequence[view.Alarm] = ()
        self.breakages: Sequence[view.Breakage] = ()
        self.throttled: Mapping[str, int] = {}
        self.products: Sequence[view.Product] = ()
        self.samples: dict[str, deque[view.Sample]] = {}
        self.lines: deque[LogLine] = deque(maxlen=LINES)
        self.checks = Checks()
        self._trade: deque[view.Mark] = deque(maxlen=TRADE_MARKS)
        self._changes: deque[view.Mark] = deque(maxlen=CHANGE_MARKS)
        """Kept apart, so that a rush of purchases leaves the marks of breakages."""
        self._last_marks: dict[str, view.Mark] = {}
        """By the breakage's name."""
        self._rows: dict[str, OrderRow] = {}
        self._lines: dict[str, deque[LogLine]] = {}
        self._sent: dict[str, set[int]] = {}

    def take(self, report: Report, *, began: int, at: int) -> bool:
        """Take a report that was read between these times. Return whether it says anything new."""
        match report:
            case Orders():
                return self._take_orders(report, at)
            case Books():
                self.books_report = report
                self.checks.books(report)
                self._take_products(report.products, at)
                return True
            case Queues():
                changed, self.queues = self.queues != report, report
                for message in [*(report.messages or ()), *report.dead]:
                    if message.order_id:
                        self._sent.setdefault(message.order_id, set()).add(message.sent_at)
                forget_first(self._sent, most=ORDERS)
            case Factory():
                changed, self.factory = self.factory != report, report
            case Log():
                self._take_lines(report.lines, at)
                return bool(report.lines)
            case Alarms():
                changed, self.alarms = self.alarms != report.alarms, report.alarms
            case Breakages():
                changed, self.breakages = self.breakages != report.breakages, report.breakages
                self._mark_changes(report.breakages, began=began, at=at)
            case Throttled():
                changed, self.throttled = self.throttled != report.counts, report.counts
        return changed

    def mark(self, mark: view.Mark) -> None:
        """Add a mark, unless it says what the last mark of the same breakage has said."""
        lasting = {each.name for each in self.breakages if each.lasts}
        if mark.name in lasting and (mark.kind == "broken") == self._is_marked_broken(mark.name):
            return
        if mark.kind not in ("broken", "healed"):
            self._mark_trade(mark)
            return
        self._changes.append(mark)
        self._last_marks[mark.name] = mark

    @property
    def marks(self) -> Sequence[view.Mark]:
        """Return the marks by time."""
        return sorted([*self._trade, *self._changes], key=lambda mark: mark.at)

    def shown_orders(self) -> Sequence[view.Order]:
        """Return the orders that are shown, the newest first."""
        every = [order for each in self._order_ids() if (order := self.order(each))]
        every.sort(key=lambda order: order.requested_at, reverse=True)
        arrived = [order for order in every if order.place == "arrived"][:ARRIVED]
        others = [order for order in every if order.place != "arrived"][:OPEN]
        return sorted([*arrived, *others], key=lambda order: order.requested_at, reverse=True)

    def order(
        self, order_id: str, *, row: OrderRow | None = None, lines: Sequence[LogLine] = ()
    ) -> view.Order | None:
        """Return an order by all that is known of it, or None.

        row, lines: what its source has said now, beside what was reported before.
        """
        return orders.order(self.known(order_id, row=row, lines=lines))

    def known(
        self, order_id: str, *, row: OrderRow | None = None, lines: Sequence[LogLine] = ()
    ) -> orders.Known:
        """Return everything that is known of an order."""
        queues, factory = self.queues, self.factory
        older = [line for line in lines if line not in self._lines.get(order_id, ())]
        every = sorted([*older, *self._lines.get(order_id, ())], key=lambda line: line.at)
        is_peeked = queues is not None and queues.messages is not None
        return orders.Known(
            order_id=order_id,
            row=row or self._rows.get(order_id),
            lines=every,
            messages=[
                each for each in (queues and queues.messages) or () if each.order_id == order_id
            ],
            dead=[each for each in (queues.dead if queues else ()) if each.order_id == order_id],
            seen=sorted(self._sent.get(order_id, ())),
            made=[each for each in (factory.made if factory else ()) if each.order_id == order_id],
            max_receives=queues.max_receives if queues else None,
            is_peeked=is_peeked,
        )

    def _order_ids(self) -> Sequence[str]:
        """Return the orders that may be shown."""
        logged = [
            order_id
            for order_id, lines in self._lines.items()
            if order_id not in self._rows and any(map(orders.is_creation, lines))
        ]
        report = self.orders_report
        return [*self._rows, *([] if report is None or report.lists_arrived else logged)]

    def _take_orders(self, report: Orders, at: int) -> bool:
        changed, self.orders_report = self.orders_report != report, report
        listed = {row.order_id: row for row in report.rows}
        self._rows = listed if report.lists_arrived else self._also_arrived(report, listed)
        forget_first(self._rows, most=ORDERS)
        self._take_products(report.products, at)
        return changed

    def _also_arrived(self, report: Orders, listed: Mapping[str, OrderRow]) -> dict[str, OrderRow]:
        """Return the listed orders, and those that are no longer listed because they have arrived."""
        gone = {name: row for name, row in self._rows.items() if name not in listed}
        if report.lists_every_open:
            gone = {name: replace(row, status="arrived") for name, row in gone.items()}
        return {**gone, **listed}

    def _take_products(self, products: Sequence[view.Product] | None, at: int) -> None:
        if products is None:
            return
        self.products = products
        for product in products:
            samples = self.samples.setdefault(product.slug, deque(maxlen=SAMPLES))
            sample = view.Sample(at=at, stock=product.stock)
            if len(samples) > 1 and samples[-2].stock == samples[-1].stock == product.stock:
                samples.pop()  # a horizontal line needs no more than its two ends
            samples.append(sample)

    def _take_lines(self, lines: Sequence[LogLine], at: int) -> None:
        self.checks.logged(lines, at=at)
        for line in lines:
            self.lines.append(line)
            order_id = line.fields.get("order_id")
            if isinstance(order_id, str):
                own = self._lines.setdefault(order_id, deque(maxlen=LINES_PER_ORDER))
                own.append(line)
            if mark := self._mark_of(line):
                self._mark_trade(mark)
        forget_first(self._lines, most=ORDERS)

    def _mark_trade(self, mark: view.Mark) -> None:
        self._trade.append(mark)
        while self._trade[0].at < mark.at - MARKED_MILLISECONDS:
            self._trade.popleft()

    def _mark_of(self, line: LogLine) -> view.Mark | None:
        """Return the mark of a purchase, of a checkout that was out of stock, or of an arrival."""
        fields = line.fields
        if line.message == "checkout" and fields.get("outcome") == "sold":
            return view.Mark(at=line.at, kind="purchase", quantity=fields.get("quantity"))
        if orders.is_creation(line):
            return view.Mark(at=line.at, kind="out_of_stock", quantity=fields.get("quantity"))
        if line.message == "restock" and fields.get("added"):
            order = self.order(str(fields.get("order_id")))
            return view.Mark(at=line.at, kind="arrival", quantity=order.quantity if order else None)
        return None

    def _mark_changes(self, breakages: Sequence[view.Breakage], *, began: int, at: int) -> None:
        """Mark what is broken or healed since the last mark, also by somebody else.

        A report that began before a mark of the same breakage may be out of date.
        """
        for each in breakages:
            last, is_broken = self._last_marks.get(each.name), each.remaining > 0
            if each.lasts and not (last and last.at >= began):
                kind: Literal["broken", "healed"] = "broken" if is_broken else "healed"
                self.mark(view.Mark(at=at, kind=kind, name=each.name))

    def _is_marked_broken(self, name: str) -> bool:
        last = self._last_marks.get(name)
        return last is not None and last.kind == "broken"
