"""console/live.py: polls while somebody looks, and shows what was reported, or why nothing was."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import pytest

from console import view
from console.history import TRADE_MARKS, History
from console.live import Live
from console.source import (
    Books,
    Breakages,
    Factory,
    Log,
    Message,
    OrderRow,
    Orders,
    Part,
    Queues,
    Report,
    Unavailable,
    now,
)
from local.polling import eventually
from operations.logs import LogLine
from settings import ENVIRONMENTS
from tests.support.reports import ORDER, at, creation, line, made, message, result, row

DONUT = view.Product(slug="donut", name="도너츠", price=1, stock=10, max_quantity=1000)
ORDERS = Orders(
    rows=[],
    lists_arrived=True,
    requested=1,
    oldest_requested_seconds=3,
    stuck=2,
    arrived=4,
    products=[DONUT],
)
BOOK = {"slug": "donut", "stock": 10, "difference": 0}
ONE, NONE = (view.Queue(visible=number, in_flight=0, delayed=0) for number in (1, 0))
REPORTS: dict[str, Report] = {
    "orders": ORDERS,
    "books": Books(at=1, rows=[BOOK], offending={"balance": []}),
    "queues": Queues(queue=ONE, dead_letters=NONE, max_receives=5, messages=[]),
    "factory": Factory(made=[]),
    "log": Log(lines=[]),
    "breakages": Breakages(breakages=[]),
}
PROBLEMS = {
    "orders": "database",
    "books": "database",
    "queues": "queues",
    "factory": "factory",
    "log": "logs",
    "breakages": "shop",
}
WITHIN = 5.0


class FakeSource:
    """A source that reports what a test says, as often as it is asked.

    reports: by part. An exception is raised instead. reads: how often each part was read.
    """

    settings = ENVIRONMENTS["local"]
    url: str | None = "http://127.0.0.1:1"
    can_break = True

    def __init__(self, seconds: float = 0.01) -> None:
        self.reports: dict[str, Report | Exception] = dict(REPORTS)
        self.reads = dict.fromkeys(REPORTS, 0)
        self.seconds = seconds
        self.found: tuple[OrderRow | None, Sequence[LogLine]] | Exception = None, ()

    def parts(self) -> Mapping[str, Part]:
        return {
            name: Part(problem=PROBLEMS[name], seconds=self.seconds, read=self._read(name))
            for name in self.reports
        }

    def order(self, order_id: str) -> tuple[OrderRow | None, Sequence[LogLine]]:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def log(self, *lines: LogLine) -> None:
        """Report these lines once."""
        self.reports["log"] = Log(lines=lines)

    def _read(self, name: str) -> Callable[[], Report]:
        def read() -> Report:
            self.reads[name] += 1
            report = self.reports[name]
            if isinstance(report, Exception):
                raise report
            if name == "log":
                self.reports["log"] = Log(lines=[])
            return report

        return read


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def live(source: FakeSource) -> Iterator[Live]:
    """Return a Live that is watched, and check that no thread is left."""
    live = Live(source, stories=["the_loop"])
    with live.watch():
        yield live
    eventually(no_pollers, within=WITHIN)


def no_pollers() -> None:
    running = [thread.name for thread in threading.enumerate() if "console " in thread.name]
    assert not running, f"{running} still run"


def shown(live: Live, holds: Callable[[view.View], object]) -> view.View:
    """Wait for a view of which this holds, and return it. No view may come too late to be seen."""
    version = 0

    def seen() -> view.View:
        nonlocal version
        version, found = live.wait(version, 0.1)
        assert holds(found), found
        return found

    return eventually(seen, within=WITHIN)


def test_view_has_what_the_parts_report(live: Live) -> None:
    found = shown(live, lambda view: view.books and view.pipeline.queue and view.pipeline.stages)
    assert found.environment == "local"
    assert found.url == "http://127.0.0.1:1"
    assert (found.can_buy, found.asks_before_buying, found.can_break) == (True, False, True)
    assert found.products == [DONUT]
    assert found.books == [BOOK]
    pipeline = found.pipeline
    assert (pipeline.requested, pipeline.oldest_requested_seconds) == (1, 3)
    assert (pipeline.stuck, pipeline.arrived) == (2, 4)
    assert (pipeline.queue, pipeline.dead_letters) == (ONE, NONE)
    assert pipeline.stages == [0, 0, 0, 0, 0]
    assert found.problems == {}
    assert found.stories == [view.StoryRun(name="the_loop", state="never")]


def test_nothing_is_polled_unless_somebody_looks(source: FakeSource) -> None:
    live = Live(source, stories=[])
    version, _ = live.wait(0, 0)
    live.soon()
    assert live.wait(version, 0.1)[0] == version
    assert set(source.reads.values()) == {0}
    with live.watch(), live.watch():
        shown(live, lambda view: view.books)
    eventually(no_pollers, within=WITHIN)
    reads = dict(source.reads)
    version, _ = live.wait(0, 0)
    live.soon()
    assert live.wait(version, 0.1)[0] == version
    assert source.reads == reads, "polled although nobody looks"


def test_polling_goes_on_while_one_of_two_looks(live: Live, source: FakeSource) -> None:
    with live.watch():
        shown(live, lambda view: view.books)
    before = dict(source.reads)

    def polled() -> None:
        for name, reads in source.reads.items():
            assert reads > before[name] + 1, name

    eventually(polled, within=WITHIN)


def test_polling_begins_again(source: FakeSource) -> None:
    live = Live(source, stories=[])
    for stock in (10, 9, 8):
        source.reports["orders"] = replace(ORDERS, products=[replace(DONUT, stock=stock)])
        with live.watch():
            has_stock(live, stock)
    eventually(no_pollers, within=WITHIN)


def has_stock(live: Live, stock: int) -> None:
    shown(live, lambda view: view.products and view.products[0].stock == stock)


def test_waiting_client_wakes_up_as_soon_as_something_changes(source: FakeSource) -> None:
    live = Live(source, stories=[])
    version, _ = live.wait(0, 0)
    woken = threading.Thread(target=live.wait, args=(version, 60))
    woken.start()
    live.busy("rush")
    woken.join(WITHIN)
    assert not woken.is_alive(), "it still waits"
    assert live.wait(version, 0)[1].busy == "rush"


def test_wait_ends_when_nothing_changes(source: FakeSource) -> None:
    live = Live(source, stories=[])
    version, first = live.wait(0, 0)
    assert live.wait(version, 0.05) == (version, first)


def test_soon_reads_at_once() -> None:
    source = FakeSource(seconds=60)
    live = Live(source, stories=[])
    with live.watch():
        shown(live, lambda view: view.books and view.pipeline.queue)
        source.reports["queues"] = queues(queue=NONE)
        live.soon()
        shown(live, lambda view: view.pipeline.queue == NONE)
    eventually(no_pollers, within=WITHIN)


def test_part_that_takes_long_is_read_less_often() -> None:
    """The books add up all purchases that were ever made."""

    class LargeSource(FakeSource):
        def parts(self) -> Mapping[str, Part]:
            parts = dict(super().parts())
            return parts | {"books": replace(parts["books"], read=self._slowly, rest=1000)}

        def _slowly(self) -> Report:
            time.sleep(0.05)
            return self._read("books")()

    large = LargeSource()
    live = Live(large, stories=[])

    def others_were_read() -> None:
        assert large.reads["orders"] > 20

    with live.watch():
        eventually(others_were_read, within=WITHIN)
        assert large.reads["books"] == 1
        live.soon()
        eventually(lambda: read_again(large), within=WITHIN)
    eventually(no_pollers, within=WITHIN)


def read_again(source: FakeSource) -> None:
    assert source.reads["books"] == 2


FAILURES: dict[str, tuple[str, Callable[[view.View], object]]] = {
    "orders": ("database", lambda view: (view.pipeline.requested, view.pipeline.stuck)),
    "books": ("database", lambda view: (view.checks[0].holds,)),
    "queues": ("queues", lambda view: (view.pipeline.queue, view.pipeline.dead_letters)),
    "factory": ("factory", lambda view: (view.pipeline.stages,)),
    "log": ("logs", lambda view: ()),
    "breakages": ("shop", lambda view: view.breakages),
}
"""The problem's key of each part, and what must not be shown while it fails."""


@pytest.mark.parametrize("part", FAILURES)
def test_part_that_fails_says_why_and_stops_no_other(
    live: Live, source: FakeSource, part: str
) -> None:
    shown(live, lambda view: view.books and view.pipeline.queue)
    key, values = FAILURES[part]
    source.reports[part] = Unavailable("it is away")
    found = shown(live, lambda view: view.problems)
    assert found.problems == {key: "it is away"}
    assert not any(value is not None for value in values(found))  # type: ignore[attr-defined]  # the lambdas of FAILURES are untyped
    before = dict(source.reads)

    def polled() -> None:
        for name, reads in source.reads.items():
            assert reads > before[name] + 1, name

    eventually(polled, within=WITHIN)
    source.reports[part] = REPORTS[part]
    shown(live, lambda view: not view.problems)


def test_products_and_orders_stay_while_the_database_is_away(
    live: Live, source: FakeSource
) -> None:
    source.reports["orders"] = replace(ORDERS, rows=[row()])
    shown(live, lambda view: view.orders)
    source.reports["orders"] = source.reports["books"] = Unavailable("it is away")
    source.reports["queues"] = queues(message(receives=1, visible=30, in_flight=True))
    found = shown(live, lambda view: view.problems and view.orders[0].place == "consumer")
    assert found.products == [DONUT]
    assert found.books == [BOOK]


def test_unexpected_error_is_a_problem_of_its_part(live: Live, source: FakeSource) -> None:
    source.reports["factory"] = KeyError("stage")
    found = shown(live, lambda view: view.problems and view.books)
    assert found.problems == {"factory": "unexpected error: KeyError: 'stage'"}


def queues(*messages: Message, queue: view.Queue = ONE) -> Queues:
    return Queues(queue=queue, dead_letters=NONE, max_receives=5, messages=messages)


def test_order_moves_with_the_reports(live: Live, source: FakeSource) -> None:
    """Between two reports, a message that has left the queue stays where it was last seen."""

    def place(expected: str) -> view.Order:
        found = shown(live, lambda view: view.orders and view.orders[0].place == expected)
        return found.orders[0]

    source.reports["orders"] = replace(ORDERS, rows=[row("requested")])
    place("outbox")
    source.reports["orders"] = replace(ORDERS, rows=[row()])
    place("topic")
    source.reports["queues"] = queues(message())
    place("queue")
    source.reports["queues"] = queues(message(receives=1, visible=30, in_flight=True))
    assert place("consumer").max_receives == 5
    source.log(result(1, "not placed"))
    assert place("queue").retry_at == at(30)
    source.reports["queues"] = queues(message(receives=2, visible=60, in_flight=True))
    place("consumer")
    source.reports["queues"] = queues()
    source.reports["factory"] = Factory(made=[made(2, stages=3)])
    assert place("factory").stage == 3
    found = shown(live, lambda view: view.pipeline.stages == [0, 0, 1, 0, 0])
    source.log(result(2.1, "placed", receives=2))
    shown(live, lambda view: view.log and view.log[0].message == "placed")
    source.reports["factory"] = Factory(made=[made(2, stages=5, called_back=8)])
    place("callback")
    source.reports["orders"] = replace(ORDERS, rows=[row("arrived", arrived_at=at(9))])
    assert place("arrived").arrived_at == at(9)
    assert found.problems == {}


def test_order_that_was_seen_in_the_queue_is_not_back_at_the_topic(
    live: Live, source: FakeSource
) -> None:
    source.reports["orders"] = replace(ORDERS, rows=[row()])
    source.reports["queues"] = queues(message())
    shown(live, lambda view: view.orders and view.orders[0].place == "queue")
    source.reports["queues"] = queues()
    shown(live, lambda view: view.orders[0].place == "consumer")


def test_order_stays_while_the_queues_and_the_factory_cannot_be_seen(
    live: Live, source: FakeSource
) -> None:
    source.reports["orders"] = replace(ORDERS, rows=[row()])
    source.reports["queues"] = queues(message())
    shown(live, lambda view: view.orders and view.orders[0].place == "queue")
    source.reports["queues"] = source.reports["factory"] = Unavailable("it is away")
    found = shown(live, lambda view: view.problems.keys() == {"queues", "factory"})
    assert [order.place for order in found.orders] == ["queue"]


@pytest.mark.parametrize(
    ("lists_every_open", "line_is_read"), [(True, True), (True, False), (False, True)]
)
def test_open_order_that_is_not_listed_any_more_has_arrived(
    live: Live, source: FakeSource, lists_every_open: bool, line_is_read: bool
) -> None:
    """The function `operate` lists open orders only. When one arrived, only the log says."""
    listed = replace(ORDERS, lists_arrived=False, lists_every_open=lists_every_open)
    source.reports["orders"] = replace(listed, rows=[row()])
    shown(live, lambda view: view.orders and view.orders[0].place == "topic")
    source.reports["orders"] = listed
    if line_is_read:
        source.log(line(6, "restock", source="restock", added=True))
    found = shown(live, lambda view: view.orders and view.orders[0].place == "arrived")
    order = found.orders[0]
    assert (order.quantity, order.status) == (40, "arrived")
    assert order.arrived_at == (at(6) if line_is_read else None)


def test_open_order_that_is_left_out_of_a_long_list_stays(live: Live, source: FakeSource) -> None:
    listed = replace(ORDERS, lists_arrived=False, lists_every_open=False)
    source.reports["orders"] = replace(listed, rows=[row()])
    shown(live, lambda view: view.orders)
    source.reports["orders"] = replace(listed, requested=2)
    found = shown(live, lambda view: view.pipeline.requested == 2)
    assert [order.place for order in found.orders] == ["topic"]


@pytest.mark.parametrize(("lists_arrived", "number"), [(False, 1), (True, 0)])
def test_order_of_the_log_is_shown_unless_all_orders_are_listed(
    live: Live, source: FakeSource, lists_arrived: bool, number: int
) -> None:
    """After `make reset`, the log still has orders that the database has not."""
    source.reports["orders"] = replace(ORDERS, lists_arrived=lists_arrived)
    shown(live, lambda view: view.products)
    source.log(creation())
    found = shown(live, lambda view: view.log)
    assert len(found.orders) == number


def test_newest_orders_come_first_and_are_limited(live: Live, source: FakeSource) -> None:
    def some(status: str, number: int, arrived_at: int | None = None) -> list[OrderRow]:
        return [
            row(status, order_id=f"{status} {each}", requested_at=at(each), arrived_at=arrived_at)
            for each in range(number)
        ]

    source.reports["orders"] = replace(
        ORDERS, rows=[*some("arrived", 60, at(99)), *some("stuck", 60)]
    )
    found = shown(live, lambda view: view.orders)
    times = [order.requested_at for order in found.orders]
    assert times == sorted(times, reverse=True)
    assert [order.place for order in found.orders].count("stuck") == 50
    assert [order.place for order in found.orders].count("arrived") == 30


def test_order_has_older_lines_and_the_row_of_its_source(live: Live, source: FakeSource) -> None:
    newer = line(0.05, "published", source="sales")
    source.log(newer)
    shown(live, lambda view: view.log)
    source.found = row("arrived", arrived_at=at(9)), [creation(0.01), newer]
    order = live.order(ORDER)
    assert order
    assert [hop.what for hop in order.hops] == [
        *("requested", "checkout", "published", "published", "arrived")
    ]
    source.found = Unavailable("it is away")
    assert live.order(ORDER) is None, "nothing says how many pieces it has"
    source.log(creation(0.01))
    shown(live, lambda view: len(view.log) == 2)
    order = live.order(ORDER)
    assert order
    assert order.quantity == 40
    source.found = None, ()
    assert live.order("missing") is None


def test_log_lines_become_marks(live: Live, source: FakeSource) -> None:
    source.reports["orders"] = replace(ORDERS, rows=[row()])
    shown(live, lambda view: view.orders)
    sold = line(1, "checkout", source="sales", outcome="sold", quantity=3)
    repeated = line(2, "checkout", source="sales", outcome="replayed", quantity=3)
    source.log(
        sold,
        repeated,
        creation(3),
        line(4, "restock", source="restock", added=True),
        line(5, "restock", source="restock", added=False),
    )
    found = shown(live, lambda view: len(view.log) == 5)
    assert found.marks == [
        view.Mark(at=at(1), kind="purchase", quantity=3),
        view.Mark(at=at(3), kind="out_of_stock", quantity=40),
        view.Mark(at=at(4), kind="arrival", quantity=40),
    ]
    assert [entry.message for entry in found.log][:2] == ["restock", "restock"]
    assert found.log[-1].text == f"order_id={ORDER}  outcome=sold  quantity=3"


def test_samples_keep_both_ends_of_a_horizontal_line(live: Live, source: FakeSource) -> None:
    def stock(number: int) -> None:
        source.reports["orders"] = replace(ORDERS, products=[replace(DONUT, stock=number)])
        reads = source.reads["orders"]

        def read_often() -> None:
            assert source.reads["orders"] > reads + 5

        eventually(read_often, within=WITHIN)

    for number in (10, 9, 49):
        stock(number)
    found = shown(live, lambda view: view.products[0].stock == 49)
    samples = found.samples["donut"]
    assert [sample.stock for sample in samples[:5]] == [10, 10, 9, 9, 49]
    assert [sample.at for sample in samples] == sorted(sample.at for sample in samples)


def broken(remaining: float) -> Breakages:
    """Report that SNS is broken for this long, and that a callback can be forged."""
    return Breakages(
        breakages=[
            view.Breakage(name="sns", part="topic", remaining=remaining, lasts=True, alarm=None),
            view.Breakage(
                name="forged_callback", part="callback", remaining=0, lasts=False, alarm=None
            ),
        ]
    )


def kinds(view: view.View) -> list[tuple[str, str]]:
    return [(mark.kind, mark.name) for mark in view.marks]


def test_breakage_is_marked_once_whoever_breaks_and_heals(live: Live, source: FakeSource) -> None:
    source.reports["breakages"] = broken(0)
    shown(live, lambda view: view.breakages)
    live.mark(view.Mark(at=now(), kind="broken", name="sns"))
    source.reports["breakages"] = broken(9)
    shown(live, lambda view: view.breakages[0].remaining == 9)
    source.reports["breakages"] = broken(0)
    healed = shown(live, lambda view: len(view.marks) == 2)
    assert kinds(healed) == [("broken", "sns"), ("healed", "sns")]
    live.mark(view.Mark(at=now(), kind="healed", name="sns"))
    for _ in range(2):
        live.mark(view.Mark(at=now(), kind="broken", name="forged_callback"))
    assert kinds(live.wait(0, 0)[1])[2:] == [("broken", "forged_callback")] * 2


def test_report_that_began_before_the_breakage_marks_nothing() -> None:
    history = History()
    history.take(broken(0), began=1, at=2)
    history.mark(view.Mark(at=4, kind="broken", name="sns"))
    history.take(broken(9), began=3, at=5)
    history.take(broken(0), began=4, at=6)
    assert [mark.kind for mark in history.marks] == ["broken"]
    history.take(broken(9), began=7, at=8)
    history.take(broken(0), began=9, at=10)
    assert [(mark.at, mark.kind) for mark in history.marks] == [(4, "broken"), (10, "healed")]


def test_rush_of_purchases_leaves_the_marks_of_breakages() -> None:
    history = History()
    history.take(broken(9), began=1, at=2)
    for at_ in range(3, 5000):
        history.mark(view.Mark(at=at_, kind="purchase", quantity=1))
    history.take(broken(8), began=5001, at=5002)
    history.take(broken(0), began=5003, at=5004)
    kinds = [mark.kind for mark in history.marks]
    assert kinds == ["broken", *["purchase"] * TRADE_MARKS, "healed"]


def test_old_purchases_are_no_longer_marked() -> None:
    history = History()
    history.take(broken(9), began=1, at=2)
    for at_ in (3, 200_000, 200_001):
        history.mark(view.Mark(at=at_, kind="purchase", quantity=1))
    assert [mark.at for mark in history.marks] == [2, 200_000, 200_001]


def test_what_the_actions_report_is_shown(source: FakeSource) -> None:
    live = Live(source, stories=["the_loop", "callbacks"])
    checkout = view.Checkout(
        at=1, quantity=1, key="k", status=200, body={"stock": 9}, milliseconds=5
    )
    live.checked_out(checkout)
    live.checked_out(replace(checkout, body={"stock": 8}))
    live.rush(view.Rush(buyers=50, at_once=20, sold=3))
    live.story(view.StoryRun(name="callbacks", state="running"))
    _, found = live.wait(0, 0)
    assert [each.body["stock"] for each in found.checkouts] == [8, 9]
    assert found.rush == view.Rush(buyers=50, at_once=20, sold=3)
    assert [(run.name, run.state) for run in found.stories] == [
        ("the_loop", "never"),
        ("callbacks", "running"),
    ]
    (violated,) = [check for check in found.checks if check.violations]
    assert violated.name == "key_sold_once"
    live.rush(None)
    assert live.wait(0, 0)[1].rush is None
