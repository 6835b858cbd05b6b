"""What must always hold in the shop, and what was found to violate it."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from console import view
from console.source import Books, Row, Sold
from operations.logs import LogLine

NAMES = get_args(view.CheckName)
IN_A_ROW = 5
"""How many checks in a row must find a difference between purchases and sold checkouts.

The two rows of one checkout have slightly different times. The beginning of the minute that is
looked at may lie between them, but not that of so many checks with different beginnings.
"""
MOST_VIOLATIONS = 100
"""How many rows are kept per check. The first ones say most about the cause."""
MOST_KEYS = 1000
"""How many Idempotency-Keys of the console's own checkouts are remembered."""
MOST_ARRIVALS = 10_000
"""How many arrived orders are remembered."""


def balance(books: Sequence[Row]) -> list[Row]:
    """Return the books that do not balance: entries - purchases + arrivals is not the stock."""
    return [row for row in books if row["difference"] != 0]


def not_negative(books: Sequence[Row]) -> list[Row]:
    """Return the books in which the stock is below 0."""
    return [row for row in books if row["stock"] < 0]


class Checks:
    """The checks, and the rows that have violated them since the start, or since the last reset.

    A row stays, even if it is repaired. `at` is when it was first seen.
    """

    def __init__(self) -> None:
        self._opened_at: int | None = None
        """When the shop was opened whose rows these are."""
        self._forget()

    def _forget(self) -> None:
        """Forget everything that was found."""
        self._holds: dict[str, bool] = {}
        self._checked_at: dict[str, int] = {}
        self._violations: dict[str, dict[str, Row]] = {name: {} for name in NAMES}
        self._sold: deque[Sold] = deque(maxlen=IN_A_ROW)
        self._arrivals: dict[str, LogLine] = {}
        self._responses: dict[str, Mapping[str, Any]] = {}

    def all(self) -> Sequence[view.Check]:
        """Return each check as it stands."""
        return [
            view.Check(
                name=name,
                holds=self._holds.get(name),
                checked_at=self._checked_at.get(name),
                violations=list(self._violations[name].values()),
            )
            for name in NAMES
        ]

    def books(self, report: Books) -> None:
        """Take what a source has found in its books. If the shop was reset, forget everything else.

        A shop that was reset knows no key, and its orders are others.
        """
        if report.opened_at is not None:
            if self._opened_at not in (None, report.opened_at):
                self._forget()
            self._opened_at = report.opened_at
        for name, rows in report.offending.items():
            self._took(name, report.at, rows)
        if report.sold:
            self._took("key_sold_once", report.at, self._difference(report.sold))

    def unavailable(self) -> None:
        """Take note that the books can't be read now."""
        self._sold.clear()
        for name in self._checked_at.keys() - {"arrives_once"}:
            self._holds.pop(name, None)

    def logged(self, lines: Sequence[LogLine], *, at: int) -> None:
        """Take new log lines. at: when they were read."""
        self._took("arrives_once", at, list(self._arrived_again(lines)))
        self._holds["arrives_once"] = not self._violations["arrives_once"]

    def checked_out(self, checkout: view.Checkout) -> None:
        """Take a response. With the same key, all 200 responses must be equal."""
        key = checkout.key
        if key is None or checkout.status != 200:
            return
        first = self._responses.setdefault(key, checkout.body)
        forget_first(self._responses, most=MOST_KEYS)
        if first != checkout.body:
            row = {"idempotency_key": key, "first": first, "then": checkout.body}
            self._took("key_sold_once", checkout.at, [row])

    def _took(self, name: str, at: int, rows: Sequence[Row]) -> None:
        self._checked_at[name], self._holds[name] = at, not rows
        kept = self._violations[name]
        for row in rows:
            if len(kept) < MOST_VIOLATIONS:
                kept.setdefault(identity(row), {"at": at, **row})

    def _difference(self, sold: Sold) -> list[Row]:
        """Return a row if purchases and sold checkouts differ, and did so each time lately."""
        self._sold.append(sold)
        differences = [last.purchases - last.checkouts for last in self._sold]
        beginnings = {last.since for last in self._sold}
        if len(beginnings) < IN_A_ROW or min(differences) <= 0 <= max(differences):
            return []
        return [{"more_purchases_than_checkouts": differences[-1]}]

    def _arrived_again(self, lines: Sequence[LogLine]) -> Iterator[Row]:
        """Yield a row for each line which says that an order was added that was added before."""
        for line in lines:
            if line.message != "restock" or not line.fields.get("added"):
                continue
            order_id = str(line.fields.get("order_id"))
            first = self._arrivals.setdefault(order_id, line)
            if first != line:
                yield {"order_id": order_id, "first": first.at, "then": line.at}
        forget_first(self._arrivals, most=MOST_ARRIVALS)


def identity(row: Row) -> str:
    """Return what tells a row apart from the others. What else it says may change while it stays."""
    names = ("order_id", "idempotency_key", "slug", "slot", "difference")
    return " ".join(str(row[name]) for name in names if name in row)


def forget_first(remembered: dict[str, Any], *, most: int) -> None:
    """Delete what was added first, until no more than so many are left."""
    while len(remembered) > most:
        del remembered[next(iter(remembered))]
