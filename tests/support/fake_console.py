"""Stand-ins for what the console's server uses.

tests/local/test_console_server.py compares the signature of every public method with the
original's.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from console import view
from local.expiry import LONGEST

EMPTY = view.View(
    environment="local",
    url=None,
    at=0,
    can_buy=True,
    asks_before_buying=False,
    can_break=True,
)


@dataclass
class FakeLive:
    """Stands in for Live: its view changes when a test calls `change`.

    watching: how many clients look. orders: those that are known.
    """

    watching: int = 0
    orders: dict[str, view.Order] = field(default_factory=dict)
    version: int = 0
    shown: view.View = EMPTY
    changed: threading.Condition = field(default_factory=threading.Condition)

    def _change(self, shown: view.View) -> None:
        with self.changed:
            self.version, self.shown = self.version + 1, shown
            self.changed.notify_all()

    @contextmanager
    def watch(self) -> Iterator[None]:
        self.watching += 1
        try:
            yield
        finally:
            self.watching -= 1

    def wait(self, seen: int, timeout: float) -> tuple[int, view.View]:
        with self.changed:
            self.changed.wait_for(lambda: self.version > seen, timeout)
            return self.version, self.shown

    def order(self, order_id: str) -> view.Order | None:
        return self.orders.get(order_id)


@dataclass
class FakeActions:
    """Stands in for Actions: it remembers the calls.

    error: raised by every call. body: of the response to a purchase.
    """

    error: Exception | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    body: dict[str, Any] = field(default_factory=lambda: {"stock": 9})

    def _record(self, *call: object) -> None:
        if self.error:
            raise self.error
        self.calls.append(call)

    def buy(
        self,
        quantity: int,
        requester: str,
        key: str | None = None,
        product_id: str | None = None,
    ) -> view.Checkout:
        self._record("buy", quantity, requester, key, product_id)
        return view.Checkout(
            at=1, quantity=quantity, key=key, status=200, body=self.body, milliseconds=1.5
        )

    def rush(self, buyers: int, at_once: int) -> None:
        self._record("rush", buyers, at_once)

    def redrive(self) -> Mapping[str, int]:
        self._record("redrive")
        return {"moved": 2, "others": 1}

    def break_down(self, name: str, seconds: float = LONGEST) -> Mapping[str, object]:
        self._record("break_down", name, seconds)
        return {}

    def heal(self, name: str) -> None:
        self._record("heal", name)

    def heal_everything(self) -> None:
        self._record("heal_everything")

    def tell_story(self, name: str) -> None:
        self._record("tell_story", name)

    def count_stock(self, count: int) -> None:
        self._record("count_stock", count)

    def run_relay(self) -> None:
        self._record("run_relay")


@dataclass
class FakeReports:
    """Stands in for Live, as the actions use it: it remembers what they report."""

    reports: list[tuple[Any, ...]] = field(default_factory=list)

    def _require(self, *report: Any) -> None:
        """Check that this was reported."""
        assert report in self.reports, f"{report} was not reported"

    def checked_out(self, checkout: view.Checkout) -> None:
        self.reports.append(("checked_out", checkout))

    def rush(self, rush: view.Rush | None) -> None:
        self.reports.append(("rush", rush))

    def story(self, run: view.StoryRun) -> None:
        self.reports.append(("story", run))

    def busy(self, name: str | None) -> None:
        self.reports.append(("busy", name))

    def mark(self, mark: view.Mark) -> None:
        self.reports.append(("mark", mark))

    def soon(self) -> None:
        self.reports.append(("soon",))
