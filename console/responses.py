"""What AWS and the function `operate` return, as what a source reports."""

import json
from collections.abc import Mapping
from typing import Any

from console import view
from console.source import OrderRow
from operations.smoke import QUEUE_DEPTH
from operations.trace import milliseconds

REDRIVE_POLICY = "RedrivePolicy"
QUEUE_ATTRIBUTES = [*QUEUE_DEPTH, REDRIVE_POLICY]


def order_row(row: Mapping[str, Any]) -> OrderRow:
    """Return the row of a table as an order."""

    def at(name: str) -> int | None:
        return milliseconds(row[name]) if row.get(name) else None

    return OrderRow(
        order_id=row["order_id"],
        slug=row.get("slug"),
        quantity=row["quantity"],
        status=row["status"],
        requested_at=at("requested_at") or 0,
        published_at=at("published_at"),
        publications=row["publications"],
        stuck_at=at("stuck_at"),
        arrived_at=at("arrived_at"),
    )


def counted_queue(attributes: Mapping[str, str]) -> view.Queue:
    visible, in_flight, delayed = (int(attributes.get(name, "0")) for name in QUEUE_DEPTH)
    return view.Queue(visible=visible, in_flight=in_flight, delayed=delayed)


def max_receives(attributes: Mapping[str, str]) -> int | None:
    """Return how often a message is received before it is in the dead-letter queue."""
    policy = json.loads(attributes.get(REDRIVE_POLICY) or "{}")
    return int(policy["maxReceiveCount"]) if "maxReceiveCount" in policy else None


def as_alarm(described: Mapping[str, Any], *, prefix: str) -> view.Alarm:
    """Return an alarm as CloudWatch describes it. prefix: of its name in this environment."""
    return view.Alarm(
        name=described["AlarmName"].removeprefix(prefix),
        description=described.get("AlarmDescription", ""),
        threshold=described["Threshold"],
        comparison=described["ComparisonOperator"],
        periods=described["EvaluationPeriods"],
        period_seconds=described.get("Period"),
        state=described["StateValue"],
    )
