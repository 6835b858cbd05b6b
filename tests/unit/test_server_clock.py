"""The estimate of the database server's clock."""

import pytest

from common.server_clock import ServerClock


def test_clock_is_unknown_until_it_is_observed() -> None:
    clock = ServerClock()
    assert not clock.known
    clock.observe(1000.0, sent=0.0, received=0.2)
    assert clock.known


def test_first_observation_is_dated_halfway() -> None:
    clock = ServerClock()
    clock.observe(1000.0, sent=0.0, received=0.2)
    assert clock.at(0.1) == pytest.approx(1000.0)
    assert clock.at(60.1) == pytest.approx(1060.0)


OBSERVATIONS = {
    "agrees": (1010.0, 9.9, 10.1, 1000.0),
    "was long under way": (1010.0, 7.0, 10.5, 1000.0),
    "was long under way back": (1010.0, 9.9, 14.0, 1000.0),
    "server's clock has stepped forward": (1015.0, 9.9, 10.1, 1004.9),
    "server's clock has stepped back": (1005.0, 9.9, 10.1, 995.1),
}


@pytest.mark.parametrize(
    ("server_clock", "sent", "received", "lead"), OBSERVATIONS.values(), ids=OBSERVATIONS
)
def test_later_observation_moves_the_estimate_minimally(
    server_clock: float, sent: float, received: float, lead: float
) -> None:
    """lead: of the server's Unix time over the monotonic clock; 1000 before the observation."""
    clock = ServerClock()
    clock.observe(1000.0, sent=0.0, received=0.0)
    clock.observe(server_clock, sent=sent, received=received)
    assert clock.at(0.0) == pytest.approx(lead)
