"""What a function knows about the clock of the database server."""


class ServerClock:
    """An estimate of the lead: the server's Unix time minus the function's monotonic clock.

    The server reads its clock after a statement is sent and before its result is received, so each
    result gives a lowest and a highest possible lead. An estimate between the two is kept. One
    outside them is wrong, because a clock has stepped, and moves to the nearer of the two. A result
    that took long to arrive therefore changes the estimate little.
    """

    def __init__(self) -> None:
        self._lead: float | None = None

    @property
    def known(self) -> bool:
        return self._lead is not None

    def observe(self, server_clock: float, *, sent: float, received: float) -> None:
        """Correct the estimate by one result.

        server_clock: the server's Unix time. sent, received: on the monotonic clock.
        """
        lowest, highest = server_clock - received, server_clock - sent
        if self._lead is None:
            self._lead = (lowest + highest) / 2
        self._lead = min(max(self._lead, lowest), highest)

    def at(self, moment: float) -> float:
        """Return the server's Unix time at a moment of the monotonic clock."""
        assert self._lead is not None, "the clock was never observed"
        return moment + self._lead
