"""Publish due production orders each minute, mark those that are stuck, and delete old keys and outcomes."""

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
"""Seconds; longer than the function's timeout, so that a claim never outlives its run."""
PORTION = 1000
"""Rows that one statement marks or deletes at most, so that it holds their locks for milliseconds only."""
PUBLISH_RESERVE = 15
"""Seconds of the function's time kept for the publication under way and what follows it."""
PURGE_RESERVE = 10
"""Seconds of the function's time kept for the statement under way and the closing line's numbers."""
LOGGED_FAILURES = 20
"""Failed publications with a log line of their own in one run; the closing line counts the others."""
OUTCOME_RETENTION = 10 * 60
"""Seconds. A checkout asks for its outcome within its function's 10 s; the rest allows for clocks that step."""
log = logging.getLogger(__name__)
config = environment.read(environment.Relay)
store = Store(config)


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One end of the due orders that have been published this often."""

    publications: int
    newest: bool


@dataclass(kw_only=True)
class Progress:
    """What a run has done so far."""

    published: int = 0
    failed: int = 0
    stuck: int = 0


def publish(order: messages.ProductionOrder, progress: Progress) -> None:
    """Publish one order, or log the failure."""
    try:
        messages.publish(order, topic_arn=config.stock_empty_topic_arn)
    except Exception as error:
        progress.failed += 1
        if progress.failed <= LOGGED_FAILURES:
            log.error(
                "not published", extra={"order_id": order.order_id, "reason": type(error).__name__}
            )
        return
    store.mark_published(order.order_id, overdue_after=config.overdue_after)
    progress.published += 1
    log.info("published", extra={"order_id": order.order_id})


def publish_due(progress: Progress, *, until: float) -> None:
    """Publish due orders until that moment of the monotonic clock: one claim from each lane in turn.

    New orders have lanes of their own, so they do not wait behind overdue ones. Each order is tried once per run, so
    orders that SNS refuses hold up the others only as long as it takes to be refused.
    """
    lanes = [
        Lane(publications=publications, newest=newest)
        for publications in range(1 + config.max_reminders)
        for newest in (False, True)
    ]
    while lanes:
        lanes = [lane for lane in lanes if publish_from(lane, progress, until=until)]


def publish_from(lane: Lane, progress: Progress, *, until: float) -> bool:
    """Publish one claim of orders. Return whether there may be more in the lane."""
    if time.monotonic() >= until:
        return False
    claim = store.claim_orders(
        str(uuid.uuid4()),
        publications=lane.publications,
        newest=lane.newest,
        limit=CLAIM,
        lease=LEASE,
    )
    progress.stuck += claim.stuck
    if claim.stuck:  # there may be more: mark them by the thousand, not by the score
        progress.stuck += store.mark_orphans(
            publications=lane.publications, newest=lane.newest, limit=PORTION
        )
    for order in claim.orders:
        if time.monotonic() >= until:
            return False
        publish(order, progress)
    return claim.size == CLAIM


def in_portions(statement: Callable[..., int], *, until: float, **arguments: int) -> int:
    """Call a statement that changes PORTION rows at most, until it finds fewer. Returns how many it changed in all."""
    total = 0
    while time.monotonic() < until:
        changed = statement(limit=PORTION, **arguments)
        total += changed
        if changed < PORTION:
            break
    return total


@failures.guarded(DatabaseUnavailable)
def handler(event: object, context: Any) -> None:
    """Handle EventBridge's event of each minute. Raises DatabaseUnavailable and Failed."""
    start = time.monotonic()
    end = start + context.get_remaining_time_in_millis() / 1000
    publish_until, purge_until = end - PUBLISH_RESERVE, end - PURGE_RESERVE
    # Half of the time at most, so that a slow database leaves some for publishing.
    mark_until = (start + publish_until) / 2
    stuck = in_portions(
        store.mark_stuck, max_publications=1 + config.max_reminders, until=mark_until
    )
    progress = Progress(stuck=stuck)
    publish_due(progress, until=publish_until)
    purged_outcomes = in_portions(
        store.purge_checkout_outcomes, retention=OUTCOME_RETENTION, until=purge_until
    )
    purged_keys = in_portions(
        store.purge_idempotency_keys, retention=config.idempotency_retention, until=purge_until
    )
    backlog = store.backlog()
    log.info(
        "relay",
        extra={
            "published": progress.published,
            "failed": progress.failed,
            "marked_stuck": progress.stuck,
            "purged": purged_keys,
            "purged_outcomes": purged_outcomes,
            "oldest_unpublished_seconds": backlog.oldest_unpublished_seconds,
            "stuck": backlog.stuck,
        },
    )
