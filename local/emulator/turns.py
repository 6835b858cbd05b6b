"""Limit how many threads run at the same time: a fair semaphore."""

import threading
from collections import deque


class Turns:
    """A semaphore that wakes threads in the order in which they asked for their turn."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Return how many threads wait for a turn."""
        return len(self._waiting)

    def take(self, *, within: float | None) -> bool:
        """Wait for a turn. Return False if there was none within that many seconds."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            turn = threading.Event()
            self._waiting.append(turn)
        if turn.wait(within):
            return True
        with self._lock:
            if turn.is_set():  # It came just after the wait.
                return True
            self._waiting.remove(turn)
            return False

    def give_back(self) -> None:
        """Pass the turn on to whoever has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
