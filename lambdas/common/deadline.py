"""How long one request may take: the time limit of each part. All times are in seconds.

A request begins when its handler is called; a cold start and the gateway's queue come before that.
The contract allows 5 s for the whole request.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

FIRST_ATTEMPT = 3.4
"""Seconds from the request's beginning to connect, to send the statement and to read its result."""
SECOND_ATTEMPT = 1.1
"""Seconds after the first attempt, on a new connection: to send the statement again, or to find out
whether it was executed."""
RESERVE = 0.4
"""Seconds for the function's own work, before and after the database is called."""
OPERATOR_READ = 25
"""Seconds for what an operator reads, which may be every purchase that was ever made."""

PUBLISH_START = 1.5
"""Seconds from the request's beginning. Later than that, a new order is left to the relay."""
PUBLISH_SECONDS = 2.5
"""Seconds for one publication, including the creation of the client. After that the order is left
to the relay, too."""


class ClientTimeouts(NamedTuple):
    """How long an AWS client waits in each attempt, in seconds, and how often it tries.

    `read` limits each read from the socket, of which one response may need many.
    """

    connect: float
    read: float
    attempts: int


PUBLISH = ClientTimeouts(connect=1, read=1, attempts=1)
"""To publish an order: the relay tries again."""
POSTPONE = ClientTimeouts(connect=1, read=1, attempts=1)
"""To postpone a message: without it, the queue's own visibility timeout applies."""
SECRET = ClientTimeouts(connect=1, read=1, attempts=2)
"""To read a secret during a request."""
MIGRATION_SECRET = ClientTimeouts(connect=10, read=10, attempts=5)
"""To read a secret during a migration. Nobody waits for it, and if it fails, so does the whole
deployment."""

CLOCK_TOLERANCE = 0.5
"""Seconds. A backward step of the server's clock up to this long can go unnoticed, so it is
subtracted from the time window in which a checkout may commit."""
RETRY_PAUSE = 0.05
"""Seconds between two tries to reach the server in the second attempt."""

_request_began: ContextVar[float | None] = ContextVar("request_began", default=None)


@contextmanager
def request() -> Iterator[None]:
    """Start the time of one request now, for everything inside the block."""
    token = _request_began.set(time.monotonic())
    try:
        yield
    finally:
        _request_began.reset(token)


def began() -> float:
    """Return when the request began, on the monotonic clock. Outside a request, return now."""
    moment = _request_began.get()
    return time.monotonic() if moment is None else moment


def left(until: float) -> float:
    """Return the seconds left until a moment of the monotonic clock.

    Raises TimeoutError if none are left.
    """
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("past the deadline")
    return seconds


def wait_for(call: Callable[[], T], *, until: float) -> T:
    """Call `call` in a thread and return its result, for calls that take no deadline themselves.

    Raises what `call` raises, and TimeoutError if it has not returned by `until`, on the monotonic
    clock. The thread then goes on by itself, and its result is dropped.
    """
    outcome: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            outcome.append((True, call()))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=left(until))
    if not outcome:
        raise TimeoutError("past the deadline")
    ((succeeded, result),) = outcome
    if not succeeded:
        raise result
    return result
