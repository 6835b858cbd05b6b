"""The relay, with thousands of orders in the outbox that keep it busy or can't be published."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from types import ModuleType, SimpleNamespace

import pytest

from common import messages
from common.store import Claim, Store
from tests.support.database_shop import DatabaseShop, buy, claim_orders, order_more
from tests.support.fakes import FakeTopic
from tests.support.variables import set_variables

SIZE = 20_000
"""Orders in a crowd: more than the relay can try in the seconds that it has for publishing here."""
SECONDS = 1
"""Seconds for publishing in a run that would otherwise use all of the function's 40 seconds."""


@pytest.fixture
def slots() -> int:
    """One: the relay reads no stock."""
    return 1


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Up to SIZE orders, all due for hours. Their ids begin with `bad`."""

    publications: int = 0
    attempts: int = 0
    product: str = "(SELECT product_id FROM product)"
    unpublishable: bool = False
    """The topic rejects all of them."""

    def insert(
        self, shop: DatabaseShop, *, first: int = 1, last: int = SIZE, hours: int = 2
    ) -> None:
        """Insert the orders from the first number to the last, due for that many hours."""
        shop.sql(
            "INSERT INTO production_order"
            " (order_id, callback_token, product_id, factory_id, quantity, requester,"
            " status, requested_at, publications, attempts, next_attempt_at)"
            f" SELECT CONCAT('bad-', seq), 'token', {self.product}, 'factory', 1, 'requester',"
            f" '{'published' if self.publications else 'requested'}', UTC_TIMESTAMP(6),"
            f" {self.publications}, {self.attempts},"
            f" UTC_TIMESTAMP(6) - INTERVAL {hours} HOUR + INTERVAL seq MICROSECOND"
            f" FROM seq_{first}_to_{last}"
        )


CROWDS = {
    "overdue": Crowd(publications=1),
    "to be stuck": Crowd(publications=4),
    "of a deleted product": Crowd(product="'deleted'"),
    "unpublishable": Crowd(unpublishable=True),
    "unpublishable, tried before": Crowd(unpublishable=True, attempts=3),
    "unpublishable, overdue": Crowd(unpublishable=True, publications=1),
}


CROWD_IDS = frozenset(f"bad-{number}" for number in range(1, SIZE + 1))
"""The ids of the orders of a crowd."""


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> FakeTopic:
    topic = FakeTopic()
    monkeypatch.setattr(messages, "publish", topic.publish)
    return topic


@pytest.fixture
def relay(shop: DatabaseShop, topic: FakeTopic, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    set_variables(monkeypatch, DATABASE_SECRET_ARN="relay")
    return importlib.reload(importlib.import_module("relay.handler"))


def run(relay: ModuleType, *, seconds: float = 40) -> None:
    """Run the relay once, with that many seconds for publishing."""
    milliseconds = int((seconds + 15) * 1000)
    relay.handler({}, SimpleNamespace(get_remaining_time_in_millis=lambda: milliseconds))


def counts(shop: DatabaseShop) -> dict[str, int]:
    """Count the orders of the crowd by status."""
    by_status = shop.sql(
        "SELECT status, COUNT(*) FROM production_order WHERE order_id LIKE 'bad%%' GROUP BY status"
    )
    return {status: count for status, count in by_status}


@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS)
def test_good_orders_behind_a_crowd_are_published(
    crowd: Crowd, shop: DatabaseShop, relay: ModuleType, topic: FakeTopic
) -> None:
    crowd.insert(shop)
    topic.rejected = CROWD_IDS if crowd.unpublishable else ()
    good = {order_more(shop.store(), 25, publish_within=0) for _ in range(20)}
    run(relay, seconds=SECONDS)
    assert good <= topic.published
    published = shop.sql(
        "SELECT order_id FROM production_order WHERE order_id NOT LIKE 'bad%%' AND publications = 1"
    )
    assert {order_id for (order_id,) in published} == good


def test_good_orders_that_failed_once_pass_a_crowd_that_did(
    shop: DatabaseShop, relay: ModuleType, topic: FakeTopic
) -> None:
    """After an outage of the topic every order was tried once: good ones look like bad ones."""
    crowd = replace(CROWDS["unpublishable"], attempts=1)
    crowd.insert(shop, last=SIZE // 2, hours=3)
    good = {order_more(shop.store(), 25, publish_within=-2 * 3600) for _ in range(20)}
    shop.sql("UPDATE production_order SET attempts = 1")
    crowd.insert(shop, first=SIZE // 2 + 1, hours=1)
    topic.rejected = CROWD_IDS
    run(relay, seconds=8)
    assert topic.published == good


def test_orders_of_a_deleted_product_become_stuck_among_bad_ones(
    shop: DatabaseShop, relay: ModuleType, topic: FakeTopic
) -> None:
    CROWDS["unpublishable"].insert(shop, last=100, hours=3)
    CROWDS["of a deleted product"].insert(shop, first=101, last=1100, hours=2)
    CROWDS["unpublishable"].insert(shop, first=1101, last=1200, hours=1)
    topic.rejected = CROWD_IDS
    run(relay)
    assert counts(shop) == {"stuck": 1000, "requested": 200}


def test_good_orders_pass_a_crowd_of_a_deleted_product(
    shop: DatabaseShop, relay: ModuleType, topic: FakeTopic
) -> None:
    """All the other orders become stuck in the same run."""
    crowd = CROWDS["of a deleted product"]
    crowd.insert(shop, last=SIZE // 2, hours=3)
    good = {order_more(shop.store(), 25, publish_within=-2 * 3600) for _ in range(20)}
    crowd.insert(shop, first=SIZE // 2 + 1, hours=1)
    run(relay)
    assert topic.published == good
    assert counts(shop) == {"stuck": SIZE}


def test_every_claimed_order_is_tried(
    shop: DatabaseShop, relay: ModuleType, topic: FakeTopic
) -> None:
    CROWDS["unpublishable"].insert(shop, last=1000)
    topic.rejected = CROWD_IDS
    run(relay)
    leased = shop.sql(
        "SELECT order_id FROM production_order WHERE next_attempt_at > UTC_TIMESTAMP(6)"
    )
    assert {order_id for (order_id,) in leased} == set(topic.tried)
    assert len(topic.tried) == 1000


def test_crowd_becomes_stuck_in_one_run(
    shop: DatabaseShop, relay: ModuleType, topic: FakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    CROWDS["to be stuck"].insert(shop)
    committed = [0]
    mark_stuck: Callable[..., int] = relay.store.mark_stuck

    def observe(**arguments: int) -> int:
        marked = mark_stuck(**arguments)
        # Counted on another connection. Not after each call: a count takes longer than the call.
        if len(committed) < 6:
            committed.append(counts(shop).get("stuck", 0))
        return marked

    monkeypatch.setattr(relay.store, "mark_stuck", observe)
    run(relay)
    assert counts(shop) == {"stuck": SIZE}
    assert committed == [0, 1000, 2000, 3000, 4000, 5000]
    assert topic.tried == []


def test_run_deletes_old_outcomes_and_keeps_young_ones(
    shop: DatabaseShop, relay: ModuleType
) -> None:
    store = shop.store()
    for order_id in ("old", "young"):
        buy(store, 1, order_id=order_id)
    age = (
        "UPDATE checkout_outcome SET created_at = created_at - INTERVAL %s SECOND"
        " WHERE order_id = %s"
    )
    shop.sql(age, (601, "old"))
    shop.sql(age, (590, "young"))
    run(relay)
    assert shop.sql("SELECT order_id FROM checkout_outcome") == [("young",)]


# --- how many rows one call reads


@pytest.fixture
def store(shop: DatabaseShop) -> Store:
    """Return the relay's own store. Its connection counts the rows that it reads."""
    return Store(replace(shop.database, database_secret_arn="relay"))


def rows_read(store: Store, call: Callable[[], object]) -> int:
    """Return how many rows of all tables the server asks InnoDB for during the call."""

    def counter() -> int:
        counters = store._query("SHOW SESSION STATUS LIKE 'Handler_read%%'", (), repeatable=True)
        return sum(int(row["Value"]) for row in counters)

    before = counter()
    call()
    return counter() - before


def test_rows_read_counts_each_row_of_a_scan(shop: DatabaseShop, store: Store) -> None:
    CROWDS["overdue"].insert(shop, last=500)
    scan = "SELECT COUNT(requested_at), status FROM production_order GROUP BY status"
    assert rows_read(store, lambda: store._query(scan, (), repeatable=True)) >= 500


@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS)
def test_claim_of_20_reads_at_most_200_rows(crowd: Crowd, shop: DatabaseShop, store: Store) -> None:
    crowd.insert(shop)
    for publications, newest in product(range(5), (False, True)):
        claim = partial(claim_orders, store, publications=publications, newest=newest)
        assert rows_read(store, claim) <= 200, f"{publications} publications, newest: {newest}"


def test_claim_does_not_read_a_crowd_that_is_not_due(shop: DatabaseShop, store: Store) -> None:
    Crowd().insert(shop, hours=-2)
    for newest in (False, True):
        good = order_more(shop.store(), 25, publish_within=0)
        claims: list[Claim] = []

        def claim(claims: list[Claim] = claims, newest: bool = newest) -> None:
            claims.append(claim_orders(store, newest=newest))

        assert rows_read(store, claim) <= 200, f"newest: {newest}"
        assert [order.order_id for order in claims[0].orders] == [good], f"newest: {newest}"


def test_mark_stuck_reads_only_what_it_marks(shop: DatabaseShop, store: Store) -> None:
    """It reads neither the orders that have arrived or are stuck, nor those that are not due."""
    Crowd(publications=4).insert(shop, last=10_000)
    shop.sql("UPDATE production_order SET status = 'arrived', next_attempt_at = NULL")
    Crowd(publications=5).insert(shop, first=200_000, last=200_999)
    Crowd(publications=5).insert(shop, first=300_000, last=309_999, hours=-2)
    mark_stuck = partial(store.mark_stuck, max_publications=4, limit=1000)
    assert rows_read(store, mark_stuck) <= 2 * 1000 + 20
    assert counts(shop)["stuck"] == 1000
    assert rows_read(store, mark_stuck) <= 20


@pytest.mark.parametrize("newest", [False, True], ids=["oldest", "newest"])
def test_mark_orphans_reads_no_more_than_its_limit_needs(
    newest: bool, shop: DatabaseShop, store: Store
) -> None:
    CROWDS["of a deleted product"].insert(shop)
    rows = rows_read(store, lambda: store.mark_orphans(publications=0, newest=newest, limit=1000))
    assert counts(shop)["stuck"] == 1000
    assert rows <= 5 * 1000
