"""The relay's handler: which orders it publishes, in which order, and how it uses its time."""

from collections.abc import Callable, Iterable
from itertools import chain
from types import ModuleType, SimpleNamespace

import pytest

from common import messages
from tests.support.fakes import FakeClock, FakeRelayStore, FakeTopic

TIMEOUT = 55
"""Seconds. The function's own."""
KEY_RETENTION, REQUESTER_RETENTION = 48 * 3600, 90 * 86_400
"""Seconds."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> FakeRelayStore:
    return FakeRelayStore(clock)


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> FakeTopic:
    topic = FakeTopic()
    monkeypatch.setattr(messages, "publish", topic.publish)
    return topic


@pytest.fixture
def relay(
    load: Callable[..., ModuleType],
    store: FakeRelayStore,
    topic: FakeTopic,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> ModuleType:
    module = load(
        "relay",
        STOCK_EMPTY_TOPIC_ARN="the-topic",
        OVERDUE_AFTER="900",
        MAX_REMINDERS="3",
        IDEMPOTENCY_RETENTION=str(KEY_RETENTION),
        REQUESTER_RETENTION=str(REQUESTER_RETENTION),
    )
    monkeypatch.setattr(module, "store", store)
    monkeypatch.setattr(module, "time", clock)
    return module


def run(relay: ModuleType, *, remaining: float = TIMEOUT) -> None:
    """Call the handler. remaining: seconds of the function's time."""
    relay.handler({}, SimpleNamespace(get_remaining_time_in_millis=lambda: int(remaining * 1000)))


def ids(numbers: Iterable[int]) -> set[str]:
    return {f"order-{number}" for number in numbers}


# --- which orders are published ---


def test_run_publishes_every_due_order_once(
    relay: ModuleType, store: FakeRelayStore, topic: FakeTopic
) -> None:
    store.due = {
        publications: list(range(100 * publications, 100 * publications + 2 * relay.CLAIM + 1))
        for publications in range(4)
    }
    due = sorted(ids(chain(*store.due.values())))
    run(relay)
    assert sorted(topic.tried) == due
    assert sorted(store.published) == due


def test_run_uses_the_configured_topic_and_times(
    relay: ModuleType, store: FakeRelayStore, topic: FakeTopic
) -> None:
    store.due = {0: [1]}
    run(relay)
    assert topic.arns == {"the-topic"}
    assert store.arguments == {
        "max_publications": 1 + 3,
        "overdue_after": 900,
        "keys' retention": KEY_RETENTION,
        "outcomes' retention": 600,
        "purchases' retention": REQUESTER_RETENTION,
        "orders' retention": REQUESTER_RETENTION,
    }


def test_new_orders_are_published_before_overdue_ones(
    relay: ModuleType, store: FakeRelayStore, topic: FakeTopic
) -> None:
    store.due = {0: [1, 2], 1: list(range(100, 300))}
    run(relay)
    assert topic.tried[:2] == ["order-1", "order-2"]


def test_each_number_of_publications_gets_a_turn(
    relay: ModuleType, store: FakeRelayStore, topic: FakeTopic
) -> None:
    """In the first round, the oldest and the newest orders of each are published."""
    store.due = {
        publications: list(range(1000 * publications, 1000 * publications + 100))
        for publications in range(4)
    }
    run(relay)
    first_round = topic.tried[: 8 * relay.CLAIM]
    assert ids([0, 99, 1000, 1099, 2000, 2099, 3000, 3099]) <= set(first_round)


# --- orders that can't be published ---


def test_rejected_order_does_not_block_others(
    relay: ModuleType, store: FakeRelayStore, topic: FakeTopic
) -> None:
    store.due, topic.rejected = {0: list(range(9))}, ids([0, 1, 4, 5, 8])
    run(relay)
    assert store.published == ["order-2", "order-3", "order-6", "order-7"]


def test_orders_behind_many_rejected_ones_are_published(
    relay: ModuleType, store: FakeRelayStore, topic: FakeTopic
) -> None:
    store.due, topic.rejected = {0: list(range(1000))}, ids(range(980))
    run(relay)
    assert set(store.published) == ids(range(980, 1000))


def test_every_claimed_order_is_tried(
    relay: ModuleType, store: FakeRelayStore, topic: FakeTopic
) -> None:
    store.due = {0: list(range(1000)), 1: list(range(1000, 2000))}
    topic.rejected = ids(range(2000))
    run(relay)
    assert set(topic.tried) == ids(range(2000)) - ids(chain(*store.due.values()))


def test_run_tries_each_order_once_when_the_topic_rejects_all(
    relay: ModuleType,
    store: FakeRelayStore,
    topic: FakeTopic,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The run goes on with the rest of its work, and its log stays short."""
    store.due, topic.rejected = {0: list(range(1000))}, ids(range(1000))
    run(relay)
    assert sorted(topic.tried) == sorted(ids(range(1000)))
    assert store.published == []
    assert store.portions["old_keys"], "no keys were deleted"
    failures = [record for record in caplog.records if record.msg == "not published"]
    assert len(failures) == relay.LOGGED_FAILURES


def test_orders_of_a_deleted_product_do_not_end_the_run(
    relay: ModuleType,
    store: FakeRelayStore,
    topic: FakeTopic,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names the first ones and counts all."""
    caplog.set_level("INFO")
    store.due, store.deleted = {0: list(range(5000))}, set(range(5000)) - {2500}
    run(relay)
    named = [record for record in caplog.records if record.msg == "not published"]
    assert len(named) == relay.LOGGED_FAILURES
    assert vars(caplog.records[-1])["product_deleted"] == 4999
    assert topic.tried == ["order-2500"]
    assert store.published == ["order-2500"]
    assert store.due == {publications: [] for publications in range(4)}
    assert max(store.portions["orphans"]) == relay.PORTION


def test_orphans_are_marked_from_the_end_they_were_found_at(
    relay: ModuleType, store: FakeRelayStore
) -> None:
    store.due, store.deleted = {0: list(range(3000))}, set(range(2000, 3000))
    run(relay)
    assert store.portions["orphans"] == [1000 - relay.CLAIM]


def test_last_log_line_counts_all_portions(
    relay: ModuleType, store: FakeRelayStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store.due, store.deleted = {0: list(range(30))}, set(range(30))
    store.overdue, store.old_keys, store.old_outcomes = 1500, 2500, 1200
    store.old_purchases, store.old_orders = 3500, 1700
    run(relay)
    line = vars(caplog.records[-1])
    assert line["marked_stuck"] == 1500 + 30
    assert line["purged"] == 2500
    assert line["purged_outcomes"] == 1200
    assert line["blanked"] == 3500 + 1700


# --- marking, deleting and blanking ---


@pytest.mark.parametrize(
    "kind", ["overdue", "old_keys", "old_outcomes", "old_purchases", "old_orders"]
)
def test_rows_are_changed_in_portions(kind: str, relay: ModuleType, store: FakeRelayStore) -> None:
    setattr(store, kind, 2 * relay.PORTION + 5)
    run(relay)
    assert store.portions[kind] == [relay.PORTION, relay.PORTION, 5]


# --- time ---


def test_lease_lasts_until_the_run_has_ended(
    relay: ModuleType,
    store: FakeRelayStore,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise another run publishes orders that this run is about to publish."""

    def publish_slowly(order: messages.ProductionOrder, *, topic_arn: str) -> None:
        clock.now += 1

    monkeypatch.setattr(messages, "publish", publish_slowly)
    store.due = {0: list(range(1000))}
    run(relay)
    assert store.published, "nothing was claimed"
    assert min(store.leases.values()) >= TIMEOUT


def test_marking_leaves_time_for_publishing(
    relay: ModuleType,
    store: FakeRelayStore,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def mark_slowly(*, max_publications: int, limit: int) -> int:
        clock.now += 3
        return limit

    monkeypatch.setattr(store, "mark_stuck", mark_slowly)
    store.due = {0: [1]}
    run(relay, remaining=relay.PUBLISH_RESERVE + 40)
    assert clock.now == 21, "marking took another part of the time than half"
    assert store.published == ["order-1"]


@pytest.mark.parametrize(("seconds", "published"), [(9.99, 3), (10, 2)])
def test_publishing_ends_in_time_for_the_rest(
    seconds: float,
    published: int,
    relay: ModuleType,
    store: FakeRelayStore,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """seconds: what one publication takes. No other is begun when its time is over."""

    def publish_slowly(order: messages.ProductionOrder, *, topic_arn: str) -> None:
        clock.now += seconds

    monkeypatch.setattr(messages, "publish", publish_slowly)
    store.due = {0: list(range(9))}
    run(relay, remaining=relay.PUBLISH_RESERVE + 20)
    assert len(store.published) == published


def test_topic_that_hangs_leaves_time_for_purging(
    relay: ModuleType,
    store: FakeRelayStore,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hang(order: messages.ProductionOrder, *, topic_arn: str) -> None:
        clock.now += 2
        raise TimeoutError

    monkeypatch.setattr(messages, "publish", hang)
    store.due, store.old_keys, store.old_outcomes = {0: list(range(1000))}, 5, 6
    store.old_purchases, store.old_orders = 7, 8
    run(relay)
    assert store.portions["old_keys"] == [5]
    assert store.portions["old_outcomes"] == [6]
    assert store.portions["old_purchases"] == [7]
    assert store.portions["old_orders"] == [8]
    assert clock.now < TIMEOUT - relay.PURGE_RESERVE


@pytest.mark.parametrize("missing", [0, 1])
def test_run_only_purges_when_time_is_short(
    missing: int, relay: ModuleType, store: FakeRelayStore, topic: FakeTopic
) -> None:
    store.due, store.overdue, store.old_keys = {0: [1]}, 5, 5
    run(relay, remaining=relay.PUBLISH_RESERVE - missing)
    assert store.leases == {}
    assert topic.tried == []
    assert store.portions["overdue"] == []
    assert store.portions["old_keys"] == [5]


@pytest.mark.parametrize("missing", [0, 1])
def test_run_changes_nothing_when_its_time_is_nearly_over(
    missing: int, relay: ModuleType, store: FakeRelayStore, topic: FakeTopic
) -> None:
    store.due, store.overdue, store.old_keys, store.old_outcomes = {0: [1]}, 5, 5, 5
    store.old_purchases, store.old_orders = 5, 5
    run(relay, remaining=relay.PURGE_RESERVE - missing)
    assert store.leases == {}
    assert topic.tried == []
    assert not any(store.portions.values())


# --- logs ---


def test_last_log_line_has_the_metrics(
    relay: ModuleType,
    store: FakeRelayStore,
    topic: FakeTopic,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    store.due, store.deleted, topic.rejected = {0: [0, 1, 2, 3, 4]}, {3}, ids([1, 4])
    store.overdue, store.old_keys, store.old_outcomes = 5, 4, 6
    store.old_purchases, store.old_orders = 8, 1
    run(relay)
    metrics = {
        "published": 2,
        "failed": 2,
        "marked_stuck": 6,
        "purged": 4,
        "purged_outcomes": 6,
        "blanked": 9,
        "oldest_unpublished_seconds": 7,
        "unpublished": 3,
        "stuck": 2,
    }
    line = vars(caplog.records[-1])
    assert line["msg"] == "relay"
    assert {name: line[name] for name in metrics} == metrics


@pytest.mark.parametrize("missing", [0, 1])
def test_stock_is_not_logged_when_time_is_nearly_over(
    missing: int, relay: ModuleType, topic: FakeTopic, caplog: pytest.LogCaptureFixture
) -> None:
    """Reading it would leave too little time for the last log line."""
    caplog.set_level("INFO")
    run(relay, remaining=relay.PURGE_RESERVE - missing)
    assert [record.msg for record in caplog.records] == ["relay"]


def test_log_has_the_orders_but_neither_requester_nor_token(
    relay: ModuleType, store: FakeRelayStore, topic: FakeTopic, logged: Callable[[], str]
) -> None:
    store.due, topic.rejected = {0: [0, 1]}, {"order-1"}
    run(relay)
    assert "order-0" in logged()
    assert "order-1" in logged()
    assert "홍길동" not in logged()
    assert "s3cr3t" not in logged()
