"""Print the functions' log lines of the last 15 minutes by time, and follow them until Ctrl-C."""

import argparse
import heapq
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.config import Config

from operations import aws
from settings import ENVIRONMENTS, FUNCTIONS, Settings

BACK_SECONDS = 15 * 60
"""How far back the output begins."""
LATE_SECONDS = 60
"""How much later than its own timestamp an event may become visible."""
PAUSE_SECONDS = 0.5
"""Pause after each request.

An account has at least 5 FilterLogEvents requests per second, and two people may follow the logs at
once.
"""
MAX_EVENTS = 10_000
"""Events that one response holds at most."""
PLATFORM = ("START ", "END ", "REPORT ")
"""The beginnings of Lambda's own lines where the log format is not JSON, as in the local cloud."""
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
ALIASES = {"WARN": "WARNING", "FATAL": "CRITICAL"}
HIDDEN = {
    *("timestamp", "level", "log_level", "message", "stack", "stackTrace"),
    *("logger", "requestId", "location"),
}
"""The fields that a line does not repeat by name, and those that people do not need."""
WIDTH = len("stock_queue")
"""Characters of the longest source."""


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """A line that people read.

    at: milliseconds since the epoch. source: what the line comes from, such as a function. level:
    one of LEVELS, or empty if the line has none.
    """

    at: int
    source: str
    level: str = ""
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    stack: Sequence[str] = ()

    def __str__(self) -> str:
        at = datetime.fromtimestamp(self.at / 1000, UTC).isoformat(timespec="milliseconds")
        words = [
            f"{at.removesuffix('+00:00')}Z",
            self.source.ljust(WIDTH),
            self.level.ljust(len("CRITICAL")),
            self.message,
            *(f"{name}={as_word(value)}" for name, value in self.fields.items()),
        ]
        stack = [f"    {line}" for text in self.stack for line in str(text).rstrip().splitlines()]
        return "\n".join(["  ".join(words), *stack])


def as_word(value: object) -> str:
    """Return a field's value as text: in JSON, unless it is a word."""
    if isinstance(value, str) and value.isprintable() and re.fullmatch(r'[^\s"=]+', value):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def parse(message: str, *, at: int, function: str) -> LogLine | None:
    """Return the line in a log event.

    Returns None if it is Lambda's own, about an invocation that did not fail.
    """
    message = message.rstrip()
    if message.startswith(PLATFORM):
        return None
    try:
        line = json.loads(message)
    except ValueError:
        line = None
    raw = LogLine(at=at, source=function, message=message)
    if not isinstance(line, dict):
        return raw
    kind = str(line.get("type"))
    if kind.startswith("platform."):
        return platform_line(line.get("record"), kind=kind, at=at, function=function)
    fields = {name: value for name, value in line.items() if name not in HIDDEN}
    if "message" in line:
        text = str(line["message"])
    elif "errorType" in line:  # the runtime's own line about an exception
        text = f"{fields.pop('errorType')}: {fields.pop('errorMessage', '')}"
    else:
        return raw
    stack = line.get("stack") or line.get("stackTrace") or []
    return LogLine(
        at=at,
        source=function,
        level=level_name(str(line.get("level") or line.get("log_level") or "")),
        message=text,
        fields=fields,
        stack=stack if isinstance(stack, list) else [stack],
    )


def platform_line(record: Any, *, kind: str, at: int, function: str) -> LogLine | None:
    """Return the line that Lambda wrote, or None if it is not about a failure."""
    if not isinstance(record, dict) or record.get("status", "success") == "success":
        return None
    return LogLine(at=at, source=function, level="ERROR", message=kind, fields=record)


def level_name(text: str) -> str:
    """Return the level as it is in LEVELS."""
    return ALIASES.get(text.upper(), text.upper())


def is_at_least(line: LogLine, level: str) -> bool:
    """Return whether the line has this level, a higher one, or none at all."""
    return line.level not in LEVELS or LEVELS.index(line.level) >= LEVELS.index(level)


def is_order_id(text: str) -> bool:
    """Return whether the text has the form of an order's id, which needs no quoting in a query."""
    return re.fullmatch(r"[A-Za-z0-9_-]{1,36}", text) is not None


def log_groups(settings: Settings) -> dict[str, str]:
    """Return the name of each function's log group, with the function's name."""
    return {settings.log_group(function): function for function in FUNCTIONS}


def read(
    logs: Any, group: str, *, start: int, end: int, order_id: str, pause: float = PAUSE_SECONDS
) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """Yield each event from start to end by time, as its time, its group and the event.

    start, end: in milliseconds. order_id: only events that contain it; empty: all events. pause:
    seconds after each request.

    The emulator returns the oldest 10,000 events and no token for the others. These are read with
    requests that start at the last event's millisecond, so its events are yielded twice.
    """
    pattern = {"filterPattern": f'"{order_id}"'} if order_id else {}
    paginator = logs.get_paginator("filter_log_events")
    while True:
        last = start
        for page in paginator.paginate(logGroupName=group, startTime=start, endTime=end, **pattern):
            time.sleep(pause)
            events = page["events"]
            for event in events:
                last = event["timestamp"]
                yield last, group, event
        if len(events) < MAX_EVENTS or last == start:
            return
        start = last


class Tail:
    """The lines of all groups from 15 minutes ago on, which each `read` continues.

    order_id: only lines that contain it; empty: all lines. level: only lines of this level or a
    higher one. late: seconds in which an event may become visible after its own time. pause: seconds
    after each request.
    """

    def __init__(
        self,
        logs: Any,
        groups: Mapping[str, str],
        *,
        order_id: str = "",
        level: str = LEVELS[0],
        late: float = LATE_SECONDS,
        pause: float = PAUSE_SECONDS,
    ) -> None:
        self._logs, self._groups = logs, groups
        self._order_id, self._level = order_id, level
        self._late, self._pause = late, pause
        self._since, self._seen = time.time() - BACK_SECONDS, set[tuple[object, ...]]()

    def read(self) -> Iterator[LogLine]:
        """Yield the new lines by time. An event that becomes visible late is yielded late.

        Raises botocore's errors, among them `ResourceNotFoundException` if a log group does not
        exist. After an error, the next `read` begins where this one began.
        """
        now, seen = time.time(), set[tuple[object, ...]]()
        # All groups are read up to the same moment. A group that is read a second later than
        # another one would otherwise be a second ahead of it.
        start, end = int(self._since * 1000), int(now * 1000)
        streams = [
            read(
                self._logs,
                group,
                start=start,
                end=end,
                order_id=self._order_id,
                pause=self._pause,
            )
            for group in self._groups
        ]
        for at, group, event in heapq.merge(*streams, key=lambda entry: entry[0]):
            identity = group, event["logStreamName"], at, event["message"]
            is_new = identity not in self._seen and identity not in seen
            seen.add(identity)
            line = parse(event["message"], at=at, function=self._groups[group])
            if is_new and line and is_at_least(line, self._level):
                yield line
        self._since, self._seen = max(self._since, now - self._late), seen


def follow(
    logs: Any, groups: Mapping[str, str], *, order_id: str = "", level: str = LEVELS[0]
) -> Iterator[LogLine]:
    """Yield the lines of all groups by time, as Tail does, without end."""
    tail = Tail(logs, groups, order_id=order_id, level=level)
    while True:
        yield from tail.read()


def no_log_groups(settings: Settings) -> str:
    """Return the sentence for an environment that is not deployed."""
    return f"{settings.name} has no log groups of the functions: deploy it first"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operations.logs", description=__doc__)
    parser.add_argument("environment", choices=ENVIRONMENTS)
    parser.add_argument("--order", default="", help="only lines with the id of this order")
    parser.add_argument("--level", default="", help="only lines of this level, or a higher one")
    arguments = parser.parse_args()
    settings, level = ENVIRONMENTS[arguments.environment], level_name(arguments.level or LEVELS[0])
    if arguments.order and not is_order_id(arguments.order):
        sys.exit("ORDER must be the id of a production order")
    if level not in LEVELS:
        sys.exit(f"LEVEL must be one of {', '.join(LEVELS)}")
    # If others use up the quota nevertheless, slow down instead of giving up.
    config = Config(retries={"mode": "adaptive", "max_attempts": 10})
    with suppress(KeyboardInterrupt), aws.errors_as_sentences():
        client = aws.client("logs", config=config)
        try:
            for line in follow(client, log_groups(settings), order_id=arguments.order, level=level):
                print(line, flush=True)
        except client.exceptions.ResourceNotFoundException:
            sys.exit(no_log_groups(settings))


if __name__ == "__main__":
    main()
