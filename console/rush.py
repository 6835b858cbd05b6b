"""A rush: many customers who each buy one piece, a limited number of them at the same time."""

import math
import threading
import time
import uuid
from bisect import insort
from collections.abc import Callable
from dataclasses import replace

from console import view
from console.shop import PATIENCE, Checkout

PAUSE_SECONDS = 0.2
"""Before a customer tries again."""

Buy = Callable[[str], Checkout | None]
"""Buys with an Idempotency-Key. None: there was no response."""


class Rush:
    """Customers who buy until the shop decides, each with a key.

    report: gets the numbers each time they change.
    """

    def __init__(
        self, buy: Buy, *, buyers: int, at_once: int, report: Callable[[view.Rush], None]
    ) -> None:
        self._buy = buy
        self._report = report
        self._lock = threading.Lock()
        self._waiting = buyers
        self._milliseconds: list[float] = []
        self._rush = view.Rush(buyers=buyers, at_once=at_once)

    def run(self) -> view.Rush:
        """Let all customers buy, and return the numbers.

        The shop has PATIENCE to decide. What it has not decided then is tried once more.
        """
        self._report(self._rush)
        deadline = time.monotonic() + PATIENCE
        # The threads of a pool would keep the process from ending.
        threads = [
            threading.Thread(target=self._serve_customers, args=(deadline,), daemon=True)
            for _ in range(min(self._rush.at_once, self._rush.buyers))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self._rush

    def _serve_customers(self, deadline: float) -> None:
        """Let one customer after the other buy, until no more are waiting."""
        while True:
            with self._lock:
                if not self._waiting:
                    return
                self._waiting -= 1
            began = time.monotonic()
            checkout = self._decided(str(uuid.uuid4()), deadline)
            self._count(checkout, milliseconds=(time.monotonic() - began) * 1000)

    def _decided(self, key: str, deadline: float) -> Checkout | None:
        """Buy, and repeat it with the same key until the shop decides. None: it has not."""
        while True:
            checkout = self._buy(key)
            if checkout and checkout.status == 200:
                return checkout
            if (checkout and is_final(checkout.status)) or time.monotonic() > deadline:
                return None
            time.sleep(PAUSE_SECONDS)

    def _count(self, checkout: Checkout | None, *, milliseconds: float) -> None:
        """Add a customer to the numbers, and report them."""
        with self._lock:
            rush = self._rush
            if checkout is None:
                rush = replace(rush, failed=rush.failed + 1)
            else:
                insort(self._milliseconds, milliseconds)
                rush = replace(
                    rush,
                    sold=rush.sold + checkout.purchased,
                    out_of_stock=rush.out_of_stock + (not checkout.purchased),
                    p50=percentile(self._milliseconds, 50),
                    p99=percentile(self._milliseconds, 99),
                )
            self._rush = rush
            self._report(rush)


def is_final(status: int) -> bool:
    """Return whether the shop has rejected a request, so that it will reject it again."""
    return 400 <= status < 500 and status != 429


def percentile(ordered: list[float], percent: float) -> float:
    """Return the smallest value that is not less than so many percent of all. ordered: all."""
    return round(ordered[math.ceil(len(ordered) * percent / 100) - 1], 1)
