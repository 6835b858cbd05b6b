"""Follow the functions' logs of an environment, from a quarter of an hour ago."""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from botocore.config import Config

from operations import aws
from settings import ENVIRONMENTS

BACK_SECONDS = 15 * 60
LATE_SECONDS = 60
"""How late an event may show up, by its own time."""
PAUSE_SECONDS = 0.5
"""After each request: an account has 5 FilterLogEvents requests per second, and two people may follow at once."""
PLATFORM = ("START ", "END ", "REPORT ")
"""How Lambda's own lines begin where the log format is not JSON, as in the local cloud."""


def groups(logs: Any, *, environment: str) -> dict[str, str]:
    """Return the log groups of the functions, each with its function's name.

    CloudFormation names them after their stack, `donut-shop-service-dev-SalesLogs564C5980-…`; the local cloud does so
    with slashes, `/aws/cloudformation/donut-shop-service-local/SalesLogs564C5980`.
    """
    stack = ENVIRONMENTS[environment].stack_name("service")
    found = {}
    for prefix in (f"{stack}-", f"/aws/cloudformation/{stack}/"):
        for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
            for group in page["logGroups"]:
                name = group["logGroupName"]
                if match := re.match(r"(\w+)Logs[0-9A-F]{8}", name.removeprefix(prefix)):
                    found[name] = match[1]
    return found


def is_routine(message: str) -> bool:
    """Say whether Lambda itself wrote this line, about an invocation that did not fail."""
    if message.startswith(PLATFORM):
        return True
    try:
        line = json.loads(message)
    except ValueError:
        return False
    if not isinstance(line, dict) or not str(line.get("type")).startswith("platform."):
        return False
    record = line.get("record")
    return not isinstance(record, dict) or record.get("status", "success") == "success"


def lines(logs: Any, groups: Mapping[str, str]) -> Iterator[str]:
    """Yield the function's name and what it logged, without end."""
    since, seen = time.time() - BACK_SECONDS, set[tuple[object, ...]]()
    while True:
        now, known, seen = time.time(), seen, set()
        for group, function in groups.items():
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=int(since * 1000)
            )
            for page in pages:
                for event in page["events"]:
                    identity = group, event["logStreamName"], event["timestamp"], event["message"]
                    seen.add(identity)
                    if identity not in known and not is_routine(event["message"]):
                        yield f"{function} {event['message'].rstrip()}"
                time.sleep(PAUSE_SECONDS)
        since = max(since, now - LATE_SECONDS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operations.logs", description=__doc__)
    parser.add_argument("environment", choices=ENVIRONMENTS)
    environment = parser.parse_args().environment
    # If others use up the quota nevertheless, slow down instead of giving up.
    config = Config(retries={"mode": "adaptive", "max_attempts": 10})
    with suppress(KeyboardInterrupt), aws.errors_as_sentences():
        client = aws.client("logs", config=config)
        found = groups(client, environment=environment)
        if not found:
            sys.exit(f"{environment} has no log groups: deploy it first")
        for line in lines(client, found):
            print(line, flush=True)


if __name__ == "__main__":
    main()
