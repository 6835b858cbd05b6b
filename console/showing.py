"""Reports as the page shows them."""

from collections.abc import Collection, Sequence

from console import view
from console.history import History
from console.source import Factory
from local.factory import STAGES
from operations.logs import LogLine, as_word


def pipeline(history: History, *, failing: Collection[str]) -> view.Pipeline:
    """Return the numbers between a checkout and an arrival, None where nothing is reported.

    failing: the parts that can't be reported now.
    """
    counted = None if "orders" in failing else history.orders_report
    queues = None if "queues" in failing else history.queues
    factory = None if "factory" in failing else history.factory
    return view.Pipeline(
        requested=counted.requested if counted else None,
        oldest_requested_seconds=counted.oldest_requested_seconds if counted else None,
        queue=queues.queue if queues else None,
        dead_letters=queues.dead_letters if queues else None,
        stuck=counted.stuck if counted else None,
        stages=stages(factory) if factory else None,
        arrived=counted.arrived if counted else None,
    )


def stages(factory: Factory) -> Sequence[int]:
    """Return how many orders are in each stage of the factory."""
    working = [made.stage for made in factory.made if made.called_back_at is None]
    return [working.count(stage) for stage in range(1, STAGES + 1)]


def entry(line: LogLine) -> view.LogEntry:
    """Return a log line as the page shows it."""
    order_id = line.fields.get("order_id")
    words = [f"{name}={as_word(value)}" for name, value in line.fields.items()]
    stack = [text.rstrip() for text in map(str, line.stack)]
    return view.LogEntry(
        at=line.at,
        source=line.source,
        level=line.level,
        message=line.message,
        order_id=order_id if isinstance(order_id, str) else None,
        text="\n".join(["  ".join(words), *stack]),
    )
