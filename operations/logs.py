"""Print the functions' log lines of the last 15 minutes, and follow them until Ctrl-C."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from botocore.config import Config

from operations import aws
from settings import ENVIRONMENTS, LAMBDAS, Settings

BACK_SECONDS = 15 * 60
"""How far back the output begins."""
LATE_SECONDS = 60
"""How much later than its own timestamp an event may become visible."""
PAUSE_SECONDS = 0.5
"""Pause after each request.

An account has 5 FilterLogEvents requests per second, and two people may follow the logs at once.
"""
PLATFORM = ("START ", "END ", "REPORT ")
"""The beginnings of Lambda's own lines where the log format is not JSON, as in the local cloud."""


def log_groups(settings: Settings) -> dict[str, str]:
    """Return the name of each function's log group, with the function's name."""
    functions = sorted(path.parent.name for path in LAMBDAS.glob("*/handler.py"))
    return {settings.log_group(function): function for function in functions}


def is_routine(message: str) -> bool:
    """Return whether Lambda itself wrote this line, about an invocation that did not fail."""
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


def follow(logs: Any, groups: Mapping[str, str]) -> Iterator[str]:
    """Yield each line with its function's name in front, without end.

    Raises botocore's errors, among them `ResourceNotFoundException` if a log group does not exist.
    """
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
    settings = ENVIRONMENTS[parser.parse_args().environment]
    # If others use up the quota nevertheless, slow down instead of giving up.
    config = Config(retries={"mode": "adaptive", "max_attempts": 10})
    with suppress(KeyboardInterrupt), aws.errors_as_sentences():
        client = aws.client("logs", config=config)
        try:
            for line in follow(client, log_groups(settings)):
                print(line, flush=True)
        except client.exceptions.ResourceNotFoundException:
            sys.exit(f"{settings.name} has no log groups of the functions: deploy it first")


if __name__ == "__main__":
    main()
