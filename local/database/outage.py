"""Break a database server for a limited time.

A process of its own breaks the server, waits and heals it. It does so even if the process that
asked for the outage is killed.
"""

import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from local.database.mariadb import START_SECONDS, MariaDb
from local.database.programs import SEARCH_PATH
from local.database.rds import run_sql
from local.expiry import ends_at, remaining
from local.processes import Background, LocalError
from settings import PROJECT

BROKEN = "broken"
"""What the process prints as soon as the server is broken."""
POLL_SECONDS = 0.05


def kill(database: MariaDb) -> None:
    """Kill the server. Raises LocalError if it does not run."""
    server = database.background.process
    if server is None:
        raise LocalError("The database does not run, so it cannot be killed.")
    server.kill()
    _wait_for_end(database.background)


def make_read_only(database: MariaDb) -> None:
    """Make the server reject changes by anybody but root."""
    run_sql(database.mysql_cnf, "SET GLOBAL read_only = ON")


OUTAGES: dict[str, Callable[[MariaDb], None]] = {"killed": kill, "read_only": make_read_only}


class Outage:
    """An outage of a server. There is at most one at a time."""

    def __init__(self, database: MariaDb) -> None:
        self._directory = database.directory
        self._process = Background(name="outage", directory=database.directory)

    def start(self, name: str, *, seconds: float) -> None:
        """Begin one of the OUTAGES, and end another one. Raises LocalError and ValueError."""
        until = ends_at(seconds)
        self.end()
        command = [sys.executable, "-m", __name__, str(self._directory), name, str(until)]
        self._process.start(command, env={"PATH": SEARCH_PATH}, directory=PROJECT)
        self._process.wait_until(lambda: BROKEN in self._process.log_tail(), within=START_SECONDS)

    def end(self, name: str | None = None) -> None:
        """End the outage of this name, or any if no name is given, and wait for a healed server.

        Do nothing if there is no such outage. Raises LocalError.
        """
        running, process = self._running()[0], self._process.process
        if process and name in (None, running):
            with suppress(psutil.NoSuchProcess):
                process.terminate()
            # Background.stop would also end the server, which the process may have started.
            _wait_for_end(self._process)
            self._process.stop()

    def remaining(self, name: str) -> float:
        """Return for how many seconds one of the OUTAGES still lasts."""
        running, until = self._running()
        return remaining(until) if running == name else 0

    def _running(self) -> tuple[str, float]:
        """Return which of the OUTAGES there is, and when it ends on the monotonic clock."""
        process = self._process.process
        try:
            *_, name, until = process.cmdline() if process else ("", "0")
            return name, float(until)
        except (psutil.Error, ValueError):  # It has just ended.
            return "", 0


def _wait_for_end(process: Background) -> None:
    """Wait until the process has ended by itself. Raises LocalError."""
    deadline = time.monotonic() + START_SECONDS
    while process.process:
        if time.monotonic() > deadline:
            raise LocalError(f"{process.name} has not ended after {START_SECONDS} s.")
        time.sleep(POLL_SECONDS)


def main() -> None:
    """Break the server, and heal it after SIGTERM, or when the time is over."""
    directory, name, until = sys.argv[1:]
    database = MariaDb(Path(directory))
    told_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told_to_end.append(number))
    try:
        OUTAGES[name](database)
        print(BROKEN, flush=True)
        while remaining(float(until)) and not told_to_end:
            time.sleep(POLL_SECONDS)
    finally:
        database.start()


if __name__ == "__main__":
    main()
