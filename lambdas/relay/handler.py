"""Each minute, mark stuck production orders, publish due ones, purge what is old, and log the stock.

Old keys and outcomes are deleted. The requesters of old purchases and orders are blanked.
"""

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common import environment, failures, messages
from common.database import DatabaseUnavailable
from common.store import Store

CLAIM = 20
"""Orders in one claim."""
LEASE = 60
"""Seconds for which a claimed order is not claimed again: longer than the function's timeout, so
that no other run publishes the orders of this one."""
PORTION = 1000
"""Rows that one statement changes at most, so that it holds their locks for milliseconds only."""
PUBLISH_RESERVE = 15
"""Seconds of the function's time kept for the publication under way and everything after it."""
PURGE_RESERVE = 10
"""Seconds of the function's time kept for the statement under way and the last log line."""
LOGGED_FAILURES = 20
"""Unpublished orders of one run that get a log line each. The last log line counts all."""
OUTCOME_RETENTION = 10 * 60
"""Seconds. A checkout can query its outcome only within its function's timeout of 10 s. The rest is
a margin for clocks that step."""
log = logging.getLogger(__name__)
config = environment.read(environment.Relay)
store = Store(config)


@dataclass(frozen=True, kw_only=True)
class Lane:
    """Due orders that have been published equally often, the newest or the oldest first."""

    publications: int
    newest: bool


@dataclass(kw_only=True)
class Progress:
    """How many orders a run has published, failed to publish and marked as stuck so far.

    overdue: marked as stuck after their last reminder. orphans: because their product was deleted.
    """

    published: int = 0
    failed: int = 0
    overdue: int = 0
    orphans: int = 0
    logged: int = 0

    def log_failure(self, order_id: str, reason: str) -> None:
        """Log that an order was not published, unless this run has logged many already."""
        self.logged += 1
        if self.logged <= LOGGED_FAILURES:
            log.error("not published", extra={"order_id": order_id, "reason": reason})


def publish(order: messages.ProductionOrder, progress: Progress) -> None:
    """Publish one order and mark it as published. If publishing fails, log it."""
    try:
        messages.publish(order, topic_arn=config.stock_empty_topic_arn)
    except Exception as error:
        progress.failed += 1
        progress.log_failure(order.order_id, failures.described(error))
        return
    store.mark_published(order.order_id, overdue_after=config.overdue_after)
    progress.published += 1
    log.info("published", extra={"order_id": order.order_id})


def publish_due(progress: Progress, *, until: float) -> None:
    """Publish due orders, one claim from each lane in turn.

    until: on the monotonic clock. New orders have lanes of their own, so that they do not wait
    behind overdue ones. Each order is tried once per run, so that orders which SNS rejects delay
    the others only briefly.
    """
    lanes = [
        Lane(publications=publications, newest=newest)
        for publications in range(1 + config.max_reminders)
        for newest in (False, True)
    ]
    while lanes:
        lanes = [lane for lane in lanes if publish_from(lane, progress, until=until)]


def publish_from(lane: Lane, progress: Progress, *, until: float) -> bool:
    """Claim orders from the lane and publish them. Return whether the lane may have more."""
    if time.monotonic() >= until:
        return False
    claim = store.claim_orders(
        str(uuid.uuid4()),
        publications=lane.publications,
        newest=lane.newest,
        limit=CLAIM,
        lease=LEASE,
    )
    progress.orphans += len(claim.stuck)
    for order_id in claim.stuck:
        progress.log_failure(order_id, "its product was deleted")
    if claim.stuck:  # there may be thousands more, and a claim marks only CLAIM of them at a time
        progress.orphans += store.mark_orphans(
            publications=lane.publications, newest=lane.newest, limit=PORTION
        )
    for order in claim.orders:
        if time.monotonic() >= until:
            return False
        publish(order, progress)
    return claim.size == CLAIM


def in_portions(change: Callable[..., int], *, until: float, **arguments: int) -> int:
    """Call a method of the store with limit=PORTION until it changes fewer rows than that.

    until: on the monotonic clock. Returns the number of rows changed in all.
    """
    total = 0
    while time.monotonic() < until:
        changed = change(limit=PORTION, **arguments)
        total += changed
        if changed < PORTION:
            break
    return total


@failures.guarded(DatabaseUnavailable)
def handler(event: object, context: Any) -> None:
    """Mark stuck orders, publish due ones, purge what is old, and log the stock and what was done.

    Raises DatabaseUnavailable and Failed.
    """
    start = time.monotonic()
    end = start + context.get_remaining_time_in_millis() / 1000
    publish_until, purge_until = end - PUBLISH_RESERVE, end - PURGE_RESERVE
    # At most half of the time, so that a slow database leaves some for publishing.
    mark_until = (start + publish_until) / 2
    progress = Progress()
    progress.overdue = in_portions(
        store.mark_stuck, max_publications=1 + config.max_reminders, until=mark_until
    )
    publish_due(progress, until=publish_until)
    purged_outcomes = in_portions(
        store.purge_checkout_outcomes, retention=OUTCOME_RETENTION, until=purge_until
    )
    purged_keys = in_portions(
        store.purge_idempotency_keys, retention=config.idempotency_retention, until=purge_until
    )
    blanked = sum(
        in_portions(blank, retention=config.requester_retention, until=purge_until)
        for blank in (store.blank_purchases, store.blank_orders)
    )
    # When time is short, the last log line is more important: alarms depend on it.
    if time.monotonic() < purge_until:
        for slug, stock in store.stocks().items():
            log.info("stock", extra={"slug": slug, "stock": stock})
    backlog = store.backlog()
    log.info(
        "relay",
        extra={
            "published": progress.published,
            "failed": progress.failed,
            "marked_stuck": progress.overdue + progress.orphans,
            "product_deleted": progress.orphans,
            "purged": purged_keys,
            "purged_outcomes": purged_outcomes,
            "blanked": blanked,
            "oldest_unpublished_seconds": backlog.oldest_unpublished_seconds,
            "unpublished": backlog.unpublished,
            "stuck": backlog.stuck,
        },
    )
