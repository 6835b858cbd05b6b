"""The outbox: which orders the relay publishes, sends a reminder for, and marks as stuck."""

import json
import re
from collections.abc import Sequence
from functools import partial
from itertools import chain

import pytest

from common.messages import ProductionOrder
from common.store import Store
from tests.support.books import LOCK_STOCK
from tests.support.concurrency import at_once
from tests.support.database_shop import DatabaseShop, arrive, buy, claim_orders, order_more


def claim(
    store: Store, *, publications: int = 0, newest: bool = False, limit: int = 20
) -> Sequence[ProductionOrder]:
    return claim_orders(store, publications=publications, newest=newest, limit=limit).orders


def ids(orders: Sequence[ProductionOrder]) -> set[str]:
    return {order.order_id for order in orders}


def make_due(shop: DatabaseShop, order_id: str) -> None:
    """Move the order's next attempt into the past."""
    shop.sql(
        "UPDATE production_order SET next_attempt_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND"
        " WHERE order_id = %s",
        (order_id,),
    )


def orphan_orders(shop: DatabaseShop) -> None:
    """Leave the orders so far without a product, as if its row had been deleted."""
    shop.sql("UPDATE production_order SET product_id = 'deleted'")


def status(shop: DatabaseShop, order_id: str) -> str:
    return next(status for id, status, _ in shop.orders() if id == order_id)


def recently_stuck(shop: DatabaseShop) -> set[str]:
    """Return the ids of the orders that have become stuck within the last minute."""
    recent = "stuck_at BETWEEN UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE AND UTC_TIMESTAMP(6)"
    return {id for (id,) in shop.sql(f"SELECT order_id FROM production_order WHERE {recent}")}


def test_order_has_its_state_and_times_but_no_secrets(shop: DatabaseShop) -> None:
    store = shop.store()
    order_id = order_more(store, 25, requester="홍길동", callback_token="Token-1")
    requested = json.loads(store.order(order_id) or "")
    assert requested == {
        "order_id": order_id,
        "status": "requested",
        "sku": "CP-502101",
        "quantity": 25,
        "requested_at": requested["requested_at"],
        "published_at": None,
        "arrived_at": None,
    }
    store.mark_published(order_id, overdue_after=60)
    arrive(store, order_id, callback_token="Token-1")
    arrived = json.loads(store.order(order_id) or "")
    assert arrived["status"] == "arrived"
    times = [arrived[name] for name in ("requested_at", "published_at", "arrived_at")]
    assert times == sorted(times)
    assert times[0] == requested["requested_at"]
    for moment in times:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", moment), moment


def test_new_order_is_not_claimed(shop: DatabaseShop) -> None:
    store = shop.store()
    order_more(store, 25, publish_within=30)
    assert claim(store) == []


def test_claim_returns_all_that_is_published_of_an_order(shop: DatabaseShop) -> None:
    store = shop.store()
    ((product_id,),) = shop.sql("SELECT product_id FROM product")
    order_id = order_more(
        store,
        25,
        requester="홍길동 🍩",
        factory_id="공장",
        callback_token="Token-1",
        publish_within=0,
    )
    assert claim(store) == [
        ProductionOrder(
            order_id=order_id,
            callback_token="Token-1",
            slug="donut",
            product_id=product_id,
            factory_id="공장",
            quantity=25,
            requester="홍길동 🍩",
        )
    ]


def test_claimed_order_is_not_claimed_again_until_its_lease_ends(shop: DatabaseShop) -> None:
    store = shop.store()
    order_id = order_more(store, 25, publish_within=0)
    assert ids(claim(store)) == {order_id}
    assert claim(store) == []
    make_due(shop, order_id)
    assert ids(claim(store)) == {order_id}


def test_simultaneous_claims_never_share_an_order(shop: DatabaseShop) -> None:
    stores = [shop.store() for _ in range(8)]
    orders = [order_more(stores[0], 25, publish_within=0) for _ in range(40)]
    claims = at_once(*[partial(claim, store, limit=5) for store in stores])
    assert sorted(order.order_id for order in chain(*claims)) == sorted(orders)


def test_published_order_is_claimed_again_when_it_is_overdue(shop: DatabaseShop) -> None:
    store = shop.store()
    order_id = order_more(store, 25, publish_within=0)
    claim(store)
    store.mark_published(order_id, overdue_after=900)
    assert status(shop, order_id) == "published"
    assert claim(store) == []
    assert claim(store, publications=1) == []
    make_due(shop, order_id)
    assert claim(store) == []
    assert ids(claim(store, publications=1)) == {order_id}


def test_order_is_stuck_after_its_last_reminder_until_it_arrives(shop: DatabaseShop) -> None:
    store = shop.store()
    order_id = order_more(store, 25)
    for _ in range(4):
        store.mark_published(order_id, overdue_after=0)
    assert store.mark_stuck(max_publications=5, limit=20) == 0
    assert ids(claim(store, publications=4)) == {order_id}
    assert store.mark_stuck(max_publications=4, limit=20) == 0, "the order is claimed"
    make_due(shop, order_id)
    assert recently_stuck(shop) == set()
    assert store.mark_stuck(max_publications=4, limit=20) == 1
    assert status(shop, order_id) == "stuck"
    assert recently_stuck(shop) == {order_id}
    assert store.backlog().stuck == 1
    make_due(shop, order_id)
    arrive(store, order_id)
    assert status(shop, order_id) == "arrived"
    assert store.backlog().stuck == 0


def test_mark_stuck_marks_orders_above_the_limit(shop: DatabaseShop) -> None:
    """Where the setting was lowered, some orders have been published more often than it allows."""
    store = shop.store()
    orders = [order_more(store, 25) for _ in range(6)]
    for publications, order_id in enumerate(orders, start=1):
        for _ in range(publications):
            store.mark_published(order_id, overdue_after=0)
    assert [store.mark_stuck(max_publications=3, limit=3) for _ in range(3)] == [3, 1, 0]
    assert [status(shop, order_id) for order_id in orders] == ["published"] * 2 + ["stuck"] * 4


def test_mark_stuck_leaves_orders_that_are_not_due(shop: DatabaseShop) -> None:
    store = shop.store()
    store.mark_published(order_more(store, 25), overdue_after=900)
    assert store.mark_stuck(max_publications=1, limit=20) == 0


def test_claim_takes_the_oldest_or_the_newest(shop: DatabaseShop) -> None:
    store = shop.store()
    oldest, second, third, newest = (
        order_more(store, 25, publish_within=-age) for age in (40, 30, 20, 10)
    )
    assert ids(claim(store, limit=1)) == {oldest}
    assert ids(claim(store, limit=1, newest=True)) == {newest}
    assert ids(claim(store, limit=1)) == {second}
    assert ids(claim(store, newest=True)) == {third}


def test_claim_of_the_newest_skips_orders_that_were_tried(shop: DatabaseShop) -> None:
    """Otherwise orders that can't be published would come before those that were never tried."""
    store = shop.store()
    tried, published = (order_more(store, 25, publish_within=0) for _ in range(2))
    claim(store, newest=True)
    store.mark_published(published, overdue_after=0)
    make_due(shop, tried)
    assert claim(store, newest=True) == []
    assert ids(claim(store)) == {tried}
    assert ids(claim(store, publications=1, newest=True)) == {published}


def test_lease_doubles_with_each_failed_attempt(shop: DatabaseShop) -> None:
    store = shop.store()
    order_id = order_more(store, 25, publish_within=0)
    leases: list[int] = []
    for newest in (True, False, False, False):
        assert ids(claim(store, newest=newest)) == {order_id}, f"attempt {len(leases) + 1}"
        lease = "TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6) - INTERVAL 1 SECOND, next_attempt_at)"
        leases += [seconds for (seconds,) in shop.sql(f"SELECT {lease} FROM production_order")]
        make_due(shop, order_id)
    assert leases == [60, 120, 240, 240]


@pytest.mark.parametrize("newest", [False, True])
def test_claim_marks_orders_of_a_deleted_product_as_stuck(newest: bool, shop: DatabaseShop) -> None:
    store = shop.store()
    orphans = {order_more(store, 25, publish_within=0) for _ in range(3)}
    orphan_orders(shop)
    order_id = order_more(store, 25, publish_within=0)
    result = claim_orders(store, newest=newest)
    assert ids(result.orders) == {order_id}
    assert set(result.stuck) == orphans
    assert result.size == 4
    assert {status(shop, orphan) for orphan in orphans} == {"stuck"}
    assert recently_stuck(shop) == orphans
    assert store.backlog().stuck == 3


@pytest.mark.parametrize("newest", [False, True])
def test_mark_orphans_marks_only_orders_of_a_deleted_product(
    newest: bool, shop: DatabaseShop
) -> None:
    store = shop.store()
    orphans = {order_more(store, 25, publish_within=0) for _ in range(3)}
    orphan_orders(shop)
    order_id = order_more(store, 25, publish_within=0)
    assert store.mark_orphans(publications=1, newest=newest, limit=20) == 0
    assert store.mark_orphans(publications=0, newest=newest, limit=2) == (1 if newest else 2)
    assert store.mark_orphans(publications=0, newest=newest, limit=20) == (2 if newest else 1)
    assert {status(shop, orphan) for orphan in orphans} == {"stuck"}
    assert recently_stuck(shop) == orphans
    assert ids(claim(store)) == {order_id}


def test_claim_does_not_wait_for_a_locked_product(shop: DatabaseShop) -> None:
    """A checkout in progress locks its product's row. The test holds the lock, so a wait fails."""
    store = shop.store()
    order_id = order_more(store, 25, publish_within=0)
    order_more(store, 25, publish_within=0)
    with shop.owner() as connection, connection.cursor() as cursor:
        connection.begin()
        cursor.execute(LOCK_STOCK)
        assert store.mark_orphans(publications=0, newest=False, limit=20) == 0
        assert ids(claim(store, limit=1)) == {order_id}
        assert len(claim(store, newest=True)) == 1
        connection.rollback()


def test_arrived_order_stays_arrived(shop: DatabaseShop) -> None:
    store = shop.store()
    order_id = order_more(store, 25, publish_within=0)
    arrive(store, order_id)
    store.mark_published(order_id, overdue_after=0)
    assert status(shop, order_id) == "arrived"
    make_due(shop, order_id)
    assert claim(store) == []
    assert claim(store, newest=True) == []
    assert store.mark_stuck(max_publications=0, limit=20) == 0


def test_backlog_is_as_old_as_its_oldest_unpublished_order(shop: DatabaseShop) -> None:
    store = shop.store()
    assert store.backlog().oldest_unpublished_seconds == 0
    published, old, young = (order_more(store, 25) for _ in range(3))
    store.mark_published(published, overdue_after=900)
    for order_id, age in ((published, 9000), (old, 500), (young, 50)):
        ago = "UTC_TIMESTAMP(6) - INTERVAL %s SECOND"
        shop.sql(
            f"UPDATE production_order SET requested_at = {ago} WHERE order_id = %s", (age, order_id)
        )
    assert 500 <= store.backlog().oldest_unpublished_seconds < 510


def test_backlog_counts_unpublished_orders(shop: DatabaseShop) -> None:
    store = shop.store()
    assert store.backlog().unpublished == 0
    published, *_ = [order_more(store, 25) for _ in range(3)]
    store.mark_published(published, overdue_after=900)
    assert store.backlog().unpublished == 2


def test_stocks_are_those_of_the_catalogue(shop: DatabaseShop) -> None:
    """A product that is spread over slots has their total."""
    shop.add_product("bagel", product_id="bagel-id", stock=5)
    shop.add_product("removed", product_id="removed-id", stock=7)
    shop.sql("UPDATE product SET in_catalogue = FALSE WHERE slug = 'removed'")
    assert shop.store().stocks() == {"bagel": 5, "donut": 10}


def test_purge_deletes_only_old_keys_up_to_its_limit(shop: DatabaseShop) -> None:
    store = shop.store()
    for key in ("old 1", "old 2", "old 3", "young"):
        buy(store, 1, idempotency_key=key)
    shop.sql(
        "UPDATE idempotency_key SET created_at = created_at - INTERVAL 25 HOUR"
        " WHERE idempotency_key LIKE 'old%%'"
    )
    purged = [store.purge_idempotency_keys(retention=24 * 3600, limit=2) for _ in range(3)]
    assert purged == [2, 1, 0]
    assert shop.sql("SELECT idempotency_key FROM idempotency_key") == [("young",)]
