from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace

import pytest

from common import messages
from common.store import Backlog

RETENTION = 48 * 3600


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
class Outbox:
    """Stands in for the store: these many orders are due, and these many keys are old."""

    due: int = 0
    old_keys: int = 0
    claims: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    bites: list[int] = field(default_factory=list)
    claimed: int = 0

    def claim_orders(
        self, claim: str, *, limit: int, lease: int, max_publications: int
    ) -> list[messages.ProductionOrder]:
        assert max_publications == 1 + 3
        self.claims.append(claim)
        first, self.claimed = self.claimed, min(self.due, self.claimed + limit)
        return [order(number) for number in range(first, self.claimed)]

    def mark_published(self, order_id: str, *, overdue: int) -> None:
        assert overdue == 900
        self.published.append(order_id)

    def purge_idempotency_keys(self, *, retention: int, limit: int) -> int:
        assert retention == RETENTION
        self.bites.append(min(limit, self.old_keys))
        self.old_keys -= self.bites[-1]
        return self.bites[-1]

    def backlog(self) -> Backlog:
        return Backlog(oldest_unpublished_seconds=7, stuck=2)


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
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    topic = Topic()
    monkeypatch.setattr(messages, "publish", topic.publish)
    return topic


@pytest.fixture
def relay(load: Callable[..., ModuleType], outbox: Outbox, topic: Topic, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load("relay", STOCK_EMPTY_TOPIC_ARN="the-topic", MAX_REPEATS="3", IDEMPOTENCY_RETENTION=str(RETENTION))
    monkeypatch.setattr(module, "store", outbox)
    return module


def run(relay: ModuleType, *, remaining: float = 55) -> None:
    """remaining: seconds of the function's time."""
    relay.handler({}, SimpleNamespace(get_remaining_time_in_millis=lambda: int(remaining * 1000)))


def test_publishes_all_that_is_due(relay: ModuleType, outbox: Outbox, topic: Topic) -> None:
    outbox.due = 2 * relay.BATCH + 1
    run(relay)
    assert outbox.published == topic.asked == [f"order-{number}" for number in range(outbox.due)]
    assert len(set(outbox.claims)) == len(outbox.claims)


def test_an_unpublishable_order_blocks_no_other(relay: ModuleType, outbox: Outbox, topic: Topic) -> None:
    outbox.due, topic.refuses = 9, {f"order-{number}" for number in (0, 1, 4, 5, 8)}
    run(relay)
    assert outbox.published == ["order-2", "order-3", "order-6", "order-7"]


def test_gives_up_while_the_topic_is_down(relay: ModuleType, outbox: Outbox, topic: Topic) -> None:
    outbox.due, topic.refuses = 100, {f"order-{number}" for number in range(100)}
    run(relay)
    assert len(topic.asked) == relay.GIVE_UP_AFTER
    assert outbox.published == []
    assert outbox.bites, "housekeeping goes on"


def test_stops_before_its_time_is_over(relay: ModuleType, outbox: Outbox, topic: Topic) -> None:
    outbox.due, outbox.old_keys = 5, 5
    run(relay, remaining=relay.RESERVE - 1)
    assert (topic.asked, outbox.published, outbox.bites) == ([], [], [])


def test_forgets_old_keys_bite_by_bite(relay: ModuleType, outbox: Outbox) -> None:
    outbox.old_keys = 2 * relay.PURGE_BATCH + 5
    run(relay)
    assert outbox.bites == [relay.PURGE_BATCH, relay.PURGE_BATCH, 5]


def test_its_closing_line_carries_the_metrics(
    relay: ModuleType, outbox: Outbox, topic: Topic, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    outbox.due, outbox.old_keys, topic.refuses = 3, 4, {"order-1"}
    run(relay)
    last = vars(caplog.records[-1])
    names = ("msg", "published", "purged", "oldest_unpublished_seconds", "stuck")
    assert [last[name] for name in names] == ["relay", 2, 4, 7, 2]


def test_logs_the_orders_but_neither_requester_nor_token(
    relay: ModuleType, outbox: Outbox, topic: Topic, logged: Callable[[], str]
) -> None:
    outbox.due, topic.refuses = 2, {"order-1"}
    run(relay)
    assert "order-0" in logged()
    assert "order-1" in logged()
    assert "홍길동" not in logged()
    assert "s3cr3t" not in logged()


def test_a_lease_outlives_the_run_that_took_it(relay: ModuleType) -> None:
    assert relay.LEASE >= 60, "a run takes less than a minute"
