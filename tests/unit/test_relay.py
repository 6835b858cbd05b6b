from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from types import ModuleType, SimpleNamespace

import pytest

from common import messages
from common.store import Backlog, Claim

RETENTION = 48 * 3600
METRICS = {
    "published": 2,
    "failed": 1,
    "marked_stuck": 6,
    "purged": 4,
    "purged_outcomes": 6,
    "oldest_unpublished_seconds": 7,
    "stuck": 2,
}


def order(number: int) -> messages.ProductionOrder:
    return messages.ProductionOrder(
        order_id=f"order-{number}",
        callback_token="s3cr3t-token",
        slug="donut",
        product_id="a-product",
        factory_id="FF-500293",
        quantity=12,
        requester="홍길동",
    )


@dataclass
class FakeStore:
    """Stands in for the store.

    due: by number of publications, the orders' numbers, oldest first. gone: those whose product is gone. overdue,
    old_keys, old_outcomes: how many there are to mark as stuck or to delete.
    """

    due: dict[int, list[int]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    overdue: int = 0
    old_keys: int = 0
    old_outcomes: int = 0
    claims: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    portions: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def claim_orders(
        self, claim: str, *, publications: int, newest: bool, limit: int, lease: int
    ) -> Claim:
        self.claims.append(claim)
        numbers = self._first(publications, newest, limit)
        self.due[publications] = [
            number for number in self.due.get(publications, []) if number not in numbers
        ]
        orders = [order(number) for number in numbers if number not in self.gone]
        return Claim(orders=orders, stuck=len(numbers) - len(orders))

    def mark_orphans(self, *, publications: int, newest: bool, limit: int) -> int:
        orphans = self.gone.intersection(self._first(publications, newest, limit))
        self.due[publications] = [
            number for number in self.due[publications] if number not in orphans
        ]
        self.portions["orphans"].append(len(orphans))
        return len(orphans)

    def _first(self, publications: int, newest: bool, limit: int) -> list[int]:
        numbers = self.due.get(publications, [])
        return (numbers[::-1] if newest else numbers)[:limit]

    def mark_stuck(self, *, max_publications: int, limit: int) -> int:
        assert max_publications == 1 + 3
        return self._portion("overdue", limit)

    def mark_published(self, order_id: str, *, overdue_after: int) -> None:
        assert overdue_after == 900
        self.published.append(order_id)

    def purge_idempotency_keys(self, *, retention: int, limit: int) -> int:
        assert retention == RETENTION
        return self._portion("old_keys", limit)

    def purge_checkout_outcomes(self, *, retention: int, limit: int) -> int:
        assert retention == 600
        return self._portion("old_outcomes", limit)

    def _portion(self, what: str, limit: int) -> int:
        portion = min(limit, getattr(self, what))
        setattr(self, what, getattr(self, what) - portion)
        self.portions[what].append(portion)
        return portion

    def backlog(self) -> Backlog:
        return Backlog(oldest_unpublished_seconds=7, stuck=2)


@dataclass
class Clock:
    """Stands in for the module `time`. It moves only as the test says."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Topic:
    """Stands in for SNS. refuses: the orders that it does not take."""

    refuses: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def publish(self, order: messages.ProductionOrder, *, topic_arn: str) -> None:
        assert topic_arn == "the-topic"
        self.asked.append(order.order_id)
        if order.order_id in self.refuses:
            raise ConnectionError(f"{order.requester} {order.callback_token}")


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    topic = Topic()
    monkeypatch.setattr(messages, "publish", topic.publish)
    return topic


@pytest.fixture
def relay(
    load: Callable[..., ModuleType], store: FakeStore, topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    module = load(
        "relay",
        STOCK_EMPTY_TOPIC_ARN="the-topic",
        MAX_REMINDERS="3",
        IDEMPOTENCY_RETENTION=str(RETENTION),
    )
    monkeypatch.setattr(module, "store", store)
    return module


def run(relay: ModuleType, *, remaining: float = 55) -> None:
    """remaining: seconds of the function's time."""
    relay.handler({}, SimpleNamespace(get_remaining_time_in_millis=lambda: int(remaining * 1000)))


def ids(numbers: Iterable[int]) -> set[str]:
    return {f"order-{number}" for number in numbers}


def test_publishes_all_that_is_due(relay: ModuleType, store: FakeStore, topic: Topic) -> None:
    store.due = {
        publications: list(range(100 * publications, 100 * publications + 2 * relay.CLAIM + 1))
        for publications in range(4)
    }
    everything = ids(chain(*store.due.values()))
    run(relay)
    assert sorted(store.published) == sorted(topic.asked) == sorted(everything)
    assert len(set(store.claims)) == len(store.claims)


def test_new_orders_go_before_overdue_ones(
    relay: ModuleType, store: FakeStore, topic: Topic
) -> None:
    store.due = {0: [1, 2], 1: list(range(100, 300))}
    run(relay)
    assert topic.asked[:2] == ["order-1", "order-2"]


def test_each_number_of_publications_has_its_turn(
    relay: ModuleType, store: FakeStore, topic: Topic
) -> None:
    store.due = {
        publications: list(range(1000 * publications, 1000 * publications + 100))
        for publications in range(4)
    }
    run(relay)
    first_round = topic.asked[: 8 * relay.CLAIM]
    assert ids([0, 99, 1000, 1099, 2000, 2099, 3000, 3099]) <= set(first_round)


def test_an_unpublishable_order_blocks_no_other(
    relay: ModuleType, store: FakeStore, topic: Topic
) -> None:
    store.due, topic.refuses = {0: list(range(9))}, ids([0, 1, 4, 5, 8])
    run(relay)
    assert store.published == ["order-2", "order-3", "order-6", "order-7"]


def test_orders_behind_unpublishable_ones_go_out(
    relay: ModuleType, store: FakeStore, topic: Topic
) -> None:
    store.due, topic.refuses = {0: list(range(1000))}, ids(range(980))
    run(relay)
    assert set(store.published) == ids(range(980, 1000))


def test_no_claimed_order_stays_untried(relay: ModuleType, store: FakeStore, topic: Topic) -> None:
    store.due, topic.refuses = {0: list(range(1000)), 1: list(range(1000, 2000))}, ids(range(2000))
    run(relay)
    assert set(topic.asked) == ids(range(2000)) - ids(chain(*store.due.values()))


def test_each_order_is_tried_once_while_the_topic_refuses_all(
    relay: ModuleType, store: FakeStore, topic: Topic, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on with the rest of its work, and its log stays short."""
    store.due, topic.refuses = {0: list(range(1000))}, ids(range(1000))
    run(relay)
    assert sorted(topic.asked) == sorted(ids(range(1000)))
    assert store.published == []
    assert store.portions["old_keys"], "no keys were deleted"
    assert (
        len([record for record in caplog.records if record.msg == "not published"])
        == relay.LOGGED_FAILURES
    )


def test_orders_of_a_gone_product_do_not_end_the_run(
    relay: ModuleType, store: FakeStore, topic: Topic
) -> None:
    store.due, store.gone = {0: list(range(5000))}, set(range(5000)) - {2500}
    run(relay)
    assert topic.asked == store.published == ["order-2500"]
    assert store.due == {publications: [] for publications in range(4)}
    assert max(store.portions["orphans"]) == relay.PORTION


def test_marks_stuck_orders_in_portions(relay: ModuleType, store: FakeStore) -> None:
    store.overdue = 2 * relay.PORTION + 5
    run(relay)
    assert store.portions["overdue"] == [relay.PORTION, relay.PORTION, 5]


@pytest.fixture
def clock(relay: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(relay, "time", clock)
    return clock


def test_marking_leaves_time_for_publishing(
    relay: ModuleType, store: FakeStore, topic: Topic, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mark_stuck(*, max_publications: int, limit: int) -> int:
        clock.now += 3
        return limit

    monkeypatch.setattr(store, "mark_stuck", mark_stuck)
    store.due = {0: [1]}
    run(relay)
    assert store.published == ["order-1"]


def test_a_topic_that_hangs_leaves_time_for_purging(
    relay: ModuleType, store: FakeStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(order: messages.ProductionOrder, *, topic_arn: str) -> None:
        clock.now += 2
        raise TimeoutError

    monkeypatch.setattr(messages, "publish", hang)
    store.due, store.old_keys, store.old_outcomes = {0: list(range(1000))}, 5, 6
    run(relay)
    assert (store.portions["old_keys"], store.portions["old_outcomes"]) == ([5], [6])
    assert clock.now < 55 - relay.PURGE_RESERVE


def test_claims_nothing_when_the_time_is_short(
    relay: ModuleType, store: FakeStore, topic: Topic
) -> None:
    store.due, store.overdue, store.old_keys = {0: [1]}, 5, 5
    run(relay, remaining=relay.PUBLISH_RESERVE - 1)
    assert (store.claims, topic.asked, store.portions["overdue"]) == ([], [], [])
    assert store.portions["old_keys"] == [5]


def test_stops_before_its_time_is_over(relay: ModuleType, store: FakeStore, topic: Topic) -> None:
    store.due, store.overdue, store.old_keys, store.old_outcomes = {0: [1]}, 5, 5, 5
    run(relay, remaining=relay.PURGE_RESERVE - 1)
    assert (store.claims, topic.asked, store.published) == ([], [], [])
    assert not any(store.portions.values())


@pytest.mark.parametrize("what", ["old_keys", "old_outcomes"])
def test_purges_in_portions(what: str, relay: ModuleType, store: FakeStore) -> None:
    setattr(store, what, 2 * relay.PORTION + 5)
    run(relay)
    assert store.portions[what] == [relay.PORTION, relay.PORTION, 5]


def test_closing_line_carries_the_metrics(
    relay: ModuleType, store: FakeStore, topic: Topic, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store.due, store.gone, topic.refuses = {0: [0, 1, 2, 3]}, {3}, {"order-1"}
    store.overdue, store.old_keys, store.old_outcomes = 5, 4, 6
    run(relay)
    last = vars(caplog.records[-1])
    assert last["msg"] == "relay"
    assert {name: last[name] for name in METRICS} == METRICS


def test_logs_the_orders_but_neither_requester_nor_token(
    relay: ModuleType, store: FakeStore, topic: Topic, logged: Callable[[], str]
) -> None:
    store.due, topic.refuses = {0: [0, 1]}, {"order-1"}
    run(relay)
    assert "order-0" in logged()
    assert "order-1" in logged()
    assert "홍길동" not in logged()
    assert "s3cr3t" not in logged()


def test_a_lease_outlives_the_run_that_took_it(relay: ModuleType) -> None:
    assert relay.LEASE >= 60, "a run takes less than a minute"
