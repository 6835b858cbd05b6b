"""Each minute: publishes what the outbox still holds, asks again for what is overdue, purges old idempotency keys."""

import logging
import time
import uuid
from typing import Any

from common import environment, messages
from common.store import Store

BATCH = 20
LEASE = 60
"""Seconds; longer than the function's timeout, so that a claim never outlives its run."""
RESERVE = 15
"""Seconds of the function's time kept for the batch under way and the housekeeping."""
GIVE_UP_AFTER = 3
"""Failures in a row after which the topic is taken to be down; the next run goes on."""
PURGE_BATCH = 1000
log = logging.getLogger(__name__)
settings = environment.read(environment.Relay)
store = Store(settings)


def publish(order: messages.ProductionOrder) -> bool:
    try:
        messages.publish(order, topic_arn=settings.stock_empty_topic_arn)
    except Exception as error:
        log.error("not published", extra={"order_id": order.order_id, "reason": type(error).__name__})
        return False
    store.mark_published(order.order_id, overdue=settings.overdue)
    log.info("published", extra={"order_id": order.order_id})
    return True


def publish_due(*, deadline: float) -> int:
    """How many orders were published. deadline: on the monotonic clock."""
    published = failures = 0
    while True:
        orders = store.claim_orders(
            str(uuid.uuid4()), limit=BATCH, lease=LEASE, max_publications=1 + settings.max_repeats
        )
        for order in orders:
            if time.monotonic() > deadline or failures >= GIVE_UP_AFTER:
                return published
            if publish(order):
                published, failures = published + 1, 0
            else:
                failures += 1
        if not orders:
            return published


def purge_keys(*, deadline: float) -> int:
    """How many idempotency keys went."""
    purged = 0
    while time.monotonic() < deadline:
        bite = store.purge_idempotency_keys(retention=settings.idempotency_retention, limit=PURGE_BATCH)
        purged += bite
        if bite < PURGE_BATCH:
            break
    return purged


def handler(event: object, context: Any) -> None:
    deadline = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - RESERVE
    published = publish_due(deadline=deadline)
    purged = purge_keys(deadline=deadline)
    backlog = store.backlog()
    log.info(
        "relay",
        extra={
            "published": published,
            "purged": purged,
            "oldest_unpublished_seconds": backlog.oldest_unpublished_seconds,
            "stuck": backlog.stuck,
        },
    )
