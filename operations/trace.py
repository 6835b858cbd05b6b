"""Print what happened to one production order in database, functions and queue, by time.

The log lines are the result of a query of CloudWatch Logs Insights. The stack `monitoring` saves
the same query for the console.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from operations import aws, guard, operate
from operations.logs import LogLine, is_order_id, log_groups, no_log_groups, parse
from settings import ENVIRONMENTS, LOG_QUERIES, ORDER_QUERY, ORDER_QUERY_ID, Settings

CLOCK_SECONDS = 60
"""How much the clocks of the database and the functions may differ."""
POLL_SECONDS = 1
UNFINISHED = ("Scheduled", "Running", "Unknown")
MAX_LINES = 10_000
"""The limit in the query's text."""
LEFT_OUT = {"order_id", "queued_at"}
"""Fields that no line shows: the order is the same in each, and `queued_at` has its own line."""
TOPIC = "SNS or the relay: see OldestUnpublishedOrder"
QUEUE = "the queue or the consumer: see OldestMessage"
ARRIVED = "nothing: it has arrived"
WAITS_FOR_BY_STATUS = {
    "requested": TOPIC,
    "stuck": "an operator: see StuckOrders",
    "arrived": ARRIVED,
}
WAITS_FOR_BY_STEP = {
    "published": QUEUE,
    "not placed": "the factory to accept it: see StockDlqNotEmpty",
    "placed": "the factory's callback, or for the next reminder: see StuckOrders",
    "restock": ARRIVED,
}
"""What an order waits for after its last one of these log lines.

The other lines of `restock` are left out: whoever knows an order's id can cause them.
"""
USAGE = "type ORDER=... make trace, with the id of a production order"


def milliseconds(time: str) -> int:
    """Return the milliseconds since the epoch of a time in ISO 8601, which is in UTC."""
    return round(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() * 1000)


def query(
    logs: Any, groups: Sequence[str], order_id: str, *, start: float, end: float
) -> list[Mapping[str, str]]:
    """Return the log events that contain the order's id, each as a dict by field.

    start, end: in seconds since the epoch. Raises operate.Failed, and botocore's errors.
    """
    started = logs.start_query(
        logGroupNames=groups,
        startTime=int(start),
        endTime=int(end) + 1,
        queryString=LOG_QUERIES[ORDER_QUERY].replace(ORDER_QUERY_ID, order_id),
    )
    while True:
        response = logs.get_query_results(queryId=started["queryId"])
        if response["status"] not in UNFINISHED:
            break
        time.sleep(POLL_SECONDS)
    if response["status"] != "Complete":
        raise operate.Failed(f"the query of the logs ended as {response['status']}: try again")
    return [
        {column["field"]: column["value"] for column in row if "value" in column}
        for row in response["results"]
    ]


def logged(events: Sequence[Mapping[str, str]], groups: Mapping[str, str]) -> Iterator[LogLine]:
    """Yield the functions' lines, without those about `make order`, which changes nothing."""
    for event in events:
        line = parse(
            event["@message"],
            at=milliseconds(event["@timestamp"]),
            function=groups[event["@log"].rpartition(":")[2]],
        )
        if line and not (line.source == "operate" and line.fields.get("verb") == "order"):
            yield line


def queued(lines: Sequence[LogLine]) -> list[LogLine]:
    """Return a line for each message of the order, with the time at which it was queued.

    Only messages that the consumer has received are known.
    """
    times = {line.fields["queued_at"] for line in lines if "queued_at" in line.fields}
    return [
        LogLine(at=milliseconds(time), source="stock_queue", message="queued") for time in times
    ]


def shortened(line: LogLine) -> LogLine:
    """Return the line without the fields that are LEFT_OUT."""
    fields = {name: value for name, value in line.fields.items() if name not in LEFT_OUT}
    return replace(line, fields=fields)


def recorded(tables: Sequence[operate.Table]) -> list[LogLine]:
    """Return a line for each time in the order's row."""
    return [
        LogLine(at=milliseconds(row["at"]), source="database", message=row["what"])
        for table in tables
        if table["title"] == "timeline"
        for row in table["rows"]
    ]


def waits_for(status: str | None, lines: Sequence[LogLine]) -> str:
    """Return what an order waits for, and the section of docs/runbook.md about it.

    status: None if the database is unavailable. lines: by time.
    """
    if status in WAITS_FOR_BY_STATUS:
        return WAITS_FOR_BY_STATUS[status]
    steps = [line.message for line in lines if line.message in WAITS_FOR_BY_STEP]
    if steps:
        return WAITS_FOR_BY_STEP[steps[-1]]
    return QUEUE if status else TOPIC


def trace(function: operate.OperateFunction, logs: Any, settings: Settings, order_id: str) -> None:
    """Print the order's row, everything that happened to the order by time, and what it waits for.

    Raises operate.Failed: at once if there is no such order, and after the log lines are printed if
    the row can't be read. Raises botocore's errors.
    """
    tables: Sequence[operate.Table] = []
    problem = None
    try:
        tables = function.invoke("order", order_id=order_id)
    except operate.Rejected:  # a query of the logs would read all of them, which is billed
        raise
    except operate.Failed as error:
        problem = error
    rows = recorded(tables)
    now = time.time()
    start = now - settings.log_retention_days * 24 * 3600
    if rows:
        start = max(start, min(row.at for row in rows) / 1000 - CLOCK_SECONDS)
    groups = log_groups(settings)
    events = query(logs, [*groups], order_id, start=start, end=now)
    lines = sorted(logged(events, groups), key=lambda line: line.at)
    orders = [row for table in tables if table["title"] == "order" for row in table["rows"]]
    status = orders[0]["status"] if orders else None

    for table in tables:
        if table["title"] != "timeline":
            print(operate.render(table), end="\n\n")
    # Within a millisecond, the row's time comes first, because a function records before it logs.
    for line in sorted([*rows, *queued(lines), *lines], key=lambda line: line.at):
        print(shortened(line))
    if not lines:
        days = settings.log_retention_days
        print(f"no log lines: they are kept for {days} day(s), and appear within a minute")
    if len(events) >= MAX_LINES:
        print(f"... cut at {MAX_LINES:,} log lines: there are more")
    if status or lines:
        print(f"The order waits for {waits_for(status, lines)}")
    if problem:
        raise problem


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m operations.trace", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("environment", choices=ENVIRONMENTS)
    parser.add_argument("--order", default="", help="the id of a production order")
    arguments = parser.parse_args()
    settings = ENVIRONMENTS[arguments.environment]
    if not is_order_id(arguments.order):
        sys.exit(USAGE)
    with aws.errors_as_sentences():
        try:
            _, claimed_by = guard.require_credentials()
            client = aws.client("lambda", config=operate.PATIENT)
            function = operate.OperateFunction(client, settings, claimed_by=claimed_by)
            logs = aws.client("logs")
            try:
                trace(function, logs, settings, arguments.order)
            except logs.exceptions.ResourceNotFoundException:
                sys.exit(no_log_groups(settings))
        except (operate.Failed, guard.Stop) as reason:
            sys.exit(str(reason))


if __name__ == "__main__":
    main()
