"""The time that one request may take: all its parts, in seconds. Together they stay below the contract's 5 s.

A request begins when the handler is entered. A cold start and the gateway's queue come before that.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

FIRST_ATTEMPT = 3.4
"""From the beginning: to connect, to send the statement and to read its result."""
SECOND_ATTEMPT = 1.1
"""After that, on a new connection: to find out what became of the statement, or to send it again."""
RESERVE = 0.4
"""For the function's own work, before and after."""

PUBLISH_START = 1.5
"""From the beginning: later, a new order's notification is left to the relay."""
PUBLISH_WITHIN = 2.5
"""For a publication as a whole, a cold client included; after that it is left to the relay, too."""
PUBLISH_CONNECT = 1.0
PUBLISH_READ = 1.0
"""For each read: an answer may consist of many."""


@dataclass(frozen=True, kw_only=True)
class SecretTimes:
    """Seconds for each attempt to read a secret, and how many attempts there are."""

    connect: float
    read: float
    attempts: int


SECRET = SecretTimes(connect=1, read=1, attempts=2)
"""Within a request."""
PATIENT_SECRET = SecretTimes(connect=10, read=10, attempts=5)
"""In the migration, which nobody waits for: one that fails undoes the whole deployment."""

CLOCK_TOLERANCE = 0.5
"""A backward step of the server's clock up to this long goes unnoticed, so it is taken off the statement's window."""
RETRY_PAUSE = 0.05
"""Between two tries to reach the server in the second attempt."""

_request_began: ContextVar[float | None] = ContextVar("request_began", default=None)


@contextmanager
def request() -> Iterator[None]:
    """Let the time of one request begin now, for everything inside the block."""
    token = _request_began.set(time.monotonic())
    try:
        yield
    finally:
        _request_began.reset(token)


def began() -> float:
    """Return when the request began, on the monotonic clock. Outside a request: now."""
    moment = _request_began.get()
    return time.monotonic() if moment is None else moment


def left(until: float) -> float:
    """Return the seconds left until a moment of the monotonic clock. Raises TimeoutError if there are none."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("past the deadline")
    return seconds


def wait_for(call: Callable[[], T], *, until: float) -> T:
    """Return what `call` returns, for calls that know no deadline of their own.

    Raises TimeoutError if it takes too long, and leaves it to itself; and raises what `call` raises.
    """
    outcome: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((True, call()))
        except BaseException as error:
            outcome.put((False, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        succeeded, result = outcome.get(timeout=left(until))
    except queue.Empty:
        raise TimeoutError("past the deadline") from None
    if not succeeded:
        raise result
    return result
