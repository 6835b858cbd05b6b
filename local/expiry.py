"""Limit how long anything may stay broken on purpose.

The process that breaks something, such as the emulator, also knows when to stop. What it breaks
therefore heals even if the process that asked for it is killed.
"""

import time

LONGEST = 120.0
"""Seconds for which something stays broken at most, and by default."""


def ends_at(seconds: float) -> float:
    """Return the time at which something ends that begins now and lasts for this long.

    The time is on the monotonic clock, which all processes of the machine share. Raises ValueError
    if it would last longer than LONGEST.
    """
    if not 0 < seconds <= LONGEST:
        raise ValueError(f"{seconds} is not between 0 and {LONGEST:.0f} seconds")
    return time.monotonic() + seconds


def remaining(until: float) -> float:
    """Return the seconds until this time, or 0 if it is over. until: on the monotonic clock."""
    return max(0.0, until - time.monotonic())
