"""Limit how long anything may stay broken on purpose.

Whatever takes effect somewhere, such as in the emulator, ends there by itself. It therefore ends
even if the process that asked for it is killed.
"""

import time

LONGEST = 120.0
"""Seconds: how long it lasts at most, and unless a shorter time is given."""


def ends_at(seconds: float) -> float:
    """Return when what begins now ends, on the monotonic clock. Raises ValueError if it is too long.

    All processes of the machine share this clock.
    """
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"{seconds} is not between 0 and {LONGEST:.0f} seconds")
    return time.monotonic() + seconds


def remaining(until: float) -> float:
    """Return for how many seconds it still lasts. until: on the monotonic clock."""
    return max(0.0, until - time.monotonic())
