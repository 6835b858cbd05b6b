"""The time of a request, and calls that end with it."""

import threading
import time

import pytest

from common import deadline
from tests.support.fakes import FakeClock, failing

CONTRACT = 5
"""Seconds for the whole request."""


def test_parts_of_a_request_fit_into_the_contracts_time() -> None:
    assert deadline.RESERVE > 0
    assert deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT + deadline.RESERVE < CONTRACT


def test_publication_ends_before_the_request() -> None:
    assert deadline.PUBLISH.connect + deadline.PUBLISH.read <= deadline.PUBLISH_SECONDS
    assert deadline.PUBLISH_START + deadline.PUBLISH_SECONDS + deadline.RESERVE < CONTRACT
    assert (
        deadline.PUBLISH_START + deadline.PUBLISH_SECONDS
        < deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT
    )


def test_second_attempt_leaves_a_window_to_commit() -> None:
    """Without one, a checkout with an Idempotency-Key could never be sent again."""
    assert deadline.CLOCK_TOLERANCE < deadline.SECOND_ATTEMPT


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock(now=100.0)
    monkeypatch.setattr(deadline, "time", clock)
    return clock


def test_request_began_when_its_block_was_entered(clock: FakeClock) -> None:
    with deadline.request():
        clock.now += 3
        assert deadline.began() == 100


def test_request_begins_now_outside_a_block(clock: FakeClock) -> None:
    with deadline.request():
        pass
    clock.now += 3
    assert deadline.began() == 103


@pytest.mark.parametrize("seconds", [2.5, 0.125])
def test_left_returns_the_seconds_until_the_deadline(seconds: float, clock: FakeClock) -> None:
    assert deadline.left(clock.now + seconds) == seconds


@pytest.mark.parametrize("until", [100.0, 99.0])
def test_left_raises_when_no_time_is_left(until: float, clock: FakeClock) -> None:
    with pytest.raises(TimeoutError, match=r"^past the deadline$"):
        deadline.left(until)


def test_wait_for_returns_what_the_call_returns() -> None:
    assert deadline.wait_for(lambda: 7, until=time.monotonic() + 5) == 7


def test_wait_for_raises_what_the_call_raises() -> None:
    with pytest.raises(KeyError, match="wrong"):
        deadline.wait_for(failing(KeyError("wrong")), until=time.monotonic() + 5)


def test_wait_for_uses_a_daemon_thread() -> None:
    """Any other thread would keep the process from ending while the call hangs."""

    def is_daemon() -> bool:
        return threading.current_thread().daemon

    assert deadline.wait_for(is_daemon, until=time.monotonic() + 5)


def test_wait_for_raises_when_the_call_takes_too_long() -> None:
    release = threading.Event()
    try:
        with pytest.raises(TimeoutError, match=r"^past the deadline$"):
            deadline.wait_for(lambda: release.wait(5), until=time.monotonic() + 0.05)
        assert not release.is_set()
    finally:
        release.set()
