"""Follow the functions' logs of an environment, from a quarter of an hour ago."""

import argparse
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from operations import aws
from stacks.settings import ENVIRONMENTS

BACK_SECONDS = 15 * 60
LATE_SECONDS = 60
"""How late an event may show up, by its own time."""
POLL_SECONDS = 2
PLATFORM = ("START ", "END ", "REPORT ")


def groups(logs: Any, *, environment: str) -> dict[str, str]:
    """Each function's log group, as the service stack names it: `...donut-shop-service-dev-SalesLogs564C5980...`."""
    stack = f"donut-shop-service-{environment}"
    names = logs.get_paginator("describe_log_groups").paginate().search("logGroups[].logGroupName")
    found = {name: re.search(rf"{stack}[-/](\w+)Logs[0-9A-F]{{8}}", name) for name in names}
    return {name: match[1] for name, match in found.items() if match}


def lines(logs: Any, *, environment: str) -> Iterator[str]:
    """Without end: the function's name and what it logged."""
    since, seen = time.time() - BACK_SECONDS, set[tuple[object, ...]]()
    while True:
        now, known, seen = time.time(), seen, set()
        for group, function in groups(logs, environment=environment).items():
            pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=int(since * 1000))
            for event in pages.search("events[]"):
                identity = group, event["logStreamName"], event["timestamp"], event["message"]
                seen.add(identity)
                if identity not in known and not event["message"].startswith(PLATFORM):
                    yield f"{function} {event['message'].rstrip()}"
        since = max(since, now - LATE_SECONDS)
        time.sleep(POLL_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operations.logs", description=__doc__)
    parser.add_argument("environment", choices=ENVIRONMENTS)
    environment = parser.parse_args().environment
    with suppress(KeyboardInterrupt), aws.errors_as_sentences():
        for line in lines(aws.client("logs"), environment=environment):
            print(line, flush=True)


if __name__ == "__main__":
    main()
