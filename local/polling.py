"""Wait for what other threads and processes do."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(assertion: Callable[[], T], *, within: float) -> T:
    """Call the assertion until it holds, and return its result.

    Raises its AssertionError if it still fails after `within` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            return assertion()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)
