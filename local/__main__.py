"""The local cloud's commands; the Makefile is their manual."""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from local.cloud import PROJECT, Cloud
from local.mariadb import install
from local.processes import LocalError

POLL_SECONDS = 0.5


def up(cloud: Cloud) -> None:
    cloud.start(factory_url=os.environ.get("FACTORY_URL") or None, on_step=_print_step)
    order = "curl -X POST -H 'Content-Type: application/json' -d"
    print(
        f"\nThe donut shop is open at {cloud.endpoint}\n\n"
        f"  curl {cloud.endpoint}/product/donut\n"
        f"""  {order} '{{"MessageAttributeProductCnt": 1, "requester": "me"}}' {cloud.endpoint}/checkout\n"""
        f"""  {order} '{{"MessageAttributeProductCnt": 1000, "requester": "me"}}' {cloud.endpoint}/checkout"""
        "   # more than there is: the factory makes them\n"
    )


def down(cloud: Cloud) -> None:
    cloud.stop()


def clean(cloud: Cloud) -> None:
    cloud.stop()
    shutil.rmtree(cloud.directory)


def database_server(cloud: Cloud) -> None:
    """Install MariaDB where it is missing."""
    install()


def logs(cloud: Cloud) -> None:
    """Follow every function's log from now on. The emulator writes a stream for each invocation, when it ends."""
    client = cloud.client("logs")
    since, seen = int(time.time() * 1000), set[tuple[str, str]]()
    while True:
        for group in client.get_paginator("describe_log_groups").paginate().search("logGroups[].logGroupName"):
            pages = client.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=since)
            events = [event for event in pages.search("events") if (group, event["logStreamName"]) not in seen]
            for event in events:
                if not event["message"].startswith(("START ", "END ", "REPORT ")):
                    print(group.rpartition("/")[2], event["message"].rstrip(), flush=True)
            seen.update((group, event["logStreamName"]) for event in events)
        time.sleep(POLL_SECONDS)


def mysql(cloud: Cloud) -> None:
    os.execvp("mariadb", ["mariadb", f"--defaults-extra-file={cloud.mysql_cnf}"])


COMMANDS = {command.__name__.replace("_", "-"): command for command in (up, down, clean, database_server, logs, mysql)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--directory", type=Path, default=PROJECT / ".local")
    arguments = parser.parse_args()
    try:
        COMMANDS[arguments.command](Cloud(arguments.directory))
    except LocalError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; `make down` stops what was started.")


def _print_step(name: str, seconds: float) -> None:
    print(f"{name:<14} {seconds:5.1f} s", flush=True)


if __name__ == "__main__":
    main()
