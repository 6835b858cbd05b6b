"""What the page shows, kept up to date while somebody looks at it."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from console import view
from console.history import History
from console.showing import entry, pipeline
from console.source import Part, Source, Unavailable, now

CHECKOUTS = 20
"""How many of the console's own checkouts are shown."""
SHOWN_LINES = 200


@dataclass
class Poller:
    """The thread that reads a part, while somebody looks."""

    name: str
    part: Part
    reading: threading.Lock = field(default_factory=threading.Lock)
    """Held by the thread. After a pause, the next one waits for the one before it."""
    wake: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)


class Live:
    """A source, polled while somebody looks, and the history of its reports.

    All methods may be called by any thread.
    """

    def __init__(self, source: Source, *, stories: Sequence[str]) -> None:
        self._source = source
        self._pollers = [Poller(name, part) for name, part in source.parts().items()]
        self._changed = threading.Condition()
        self._watchers = 0
        self._version = 1
        self._built: tuple[int, view.View] | None = None
        self._history = History()
        self._problems: dict[str, str] = {}
        """By the part's name."""
        self._checkouts: deque[view.Checkout] = deque(maxlen=CHECKOUTS)
        self._rush: view.Rush | None = None
        self._stories = {name: view.StoryRun(name=name, state="never") for name in stories}
        self._busy: str | None = None

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Poll the source during the block."""
        with self._changed:
            self._watchers += 1
            if self._watchers == 1:
                self._start()
        try:
            yield
        finally:
            with self._changed:
                self._watchers -= 1
                if self._watchers == 0:
                    self._stop()

    def wait(self, seen: int, timeout: float) -> tuple[int, view.View]:
        """Wait until the version is not the one that was seen, for `timeout` seconds at most.

        Return the version and the view.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, timeout)
            if self._built is None or self._built[0] != self._version:
                self._built = self._version, self._view()
            return self._built

    def soon(self) -> None:
        """Read all parts now, if somebody looks."""
        for poller in self._pollers:
            poller.wake.set()

    def order(self, order_id: str) -> view.Order | None:
        """Return an order with all that has happened to it, or None if there is none."""
        try:
            row, lines = self._source.order(order_id)
        except Unavailable:  # what was reported before is better than nothing
            row, lines = None, ()
        with self._changed:
            return self._history.order(order_id, row=row, lines=lines)

    def checked_out(self, checkout: view.Checkout) -> None:
        """Show a response to the console's own checkout, and compare it with others of its key."""
        with self._change():
            self._checkouts.appendleft(checkout)
            self._history.checks.checked_out(checkout)

    def rush(self, rush: view.Rush | None) -> None:
        """Show how a rush goes."""
        with self._change():
            self._rush = rush

    def story(self, run: view.StoryRun) -> None:
        """Show how a story goes."""
        with self._change():
            self._stories[run.name] = run

    def busy(self, name: str | None) -> None:
        """Show what runs and keeps other actions waiting."""
        with self._change():
            self._busy = name

    def mark(self, mark: view.Mark) -> None:
        """Show that something has happened."""
        with self._change():
            self._history.mark(mark)

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Change something in the block, and tell those who wait."""
        with self._changed:
            yield
            self._version += 1
            self._changed.notify_all()

    def _start(self) -> None:
        for poller in self._pollers:
            poller.stopped = threading.Event()
            threading.Thread(
                target=self._poll,
                args=(poller, poller.stopped),
                name=f"console {poller.name}",
                daemon=True,  # a source that hangs must not keep the console from ending
            ).start()

    def _stop(self) -> None:
        for poller in self._pollers:
            poller.stopped.set()
            poller.wake.set()

    def _poll(self, poller: Poller, stopped: threading.Event) -> None:
        """Read a part again and again, until nobody looks any more."""
        with poller.reading:
            while True:
                poller.wake.clear()
                if stopped.is_set():
                    return
                began = time.monotonic()
                self._read(poller)
                rest = (time.monotonic() - began) * poller.part.rest
                poller.wake.wait(max(poller.part.seconds, rest))

    def _read(self, poller: Poller) -> None:
        """Read a part once, and keep what it reports, or why it does not."""
        began, name = now(), poller.name
        try:
            report = poller.part.read()
        except Unavailable as error:
            self._failed(name, str(error))
        except Exception as error:  # the other parts are shown, whatever fails
            self._failed(name, f"unexpected error: {type(error).__name__}: {error}")
        else:
            with self._changed:
                is_new = self._history.take(report, began=began, at=now())
                if self._problems.pop(name, None) is not None or is_new:
                    self._version += 1
                    self._changed.notify_all()

    def _failed(self, name: str, reason: str) -> None:
        with self._changed:
            if name == "books":
                self._history.checks.unavailable()
            if self._problems.get(name) != reason:
                self._problems[name] = reason
                self._version += 1
                self._changed.notify_all()

    def _view(self) -> view.View:
        settings, history = self._source.settings, self._history
        books = history.books_report
        return view.View(
            environment=settings.name,
            url=self._source.url,
            at=now(),
            can_buy=settings.smoke_test_orders,
            asks_before_buying=settings.name != "local",
            can_break=self._source.can_break,
            problems=self._problems_by_key(),
            products=history.products,
            books=books.rows if books else (),
            checks=history.checks.all(),
            samples={slug: list(samples) for slug, samples in history.samples.items()},
            marks=history.marks,
            pipeline=pipeline(history, failing=self._problems.keys()),
            orders=history.shown_orders(),
            breakages=() if "breakages" in self._problems else history.breakages,
            alarms=history.alarms,
            throttled=history.throttled,
            checkouts=list(self._checkouts),
            rush=self._rush,
            stories=list(self._stories.values()),
            log=[entry(line) for line in reversed(list(history.lines)[-SHOWN_LINES:])],
            busy=self._busy,
        )

    def _problems_by_key(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for poller in self._pollers:
            if reason := self._problems.get(poller.name):
                found.setdefault(poller.part.problem, reason)
        return found
