"""Serve the console of a local shop, or of an environment on an account, to the browser."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from console.account import Account
from console.actions import Actions, LocalActions
from console.live import Live
from console.local_source import LocalSource
from console.server import ConsoleServer
from console.stories import STORIES
from local.cloud import PREFERRED_PORTS, Cloud
from operations import aws, guard, status
from operations.operate import PATIENT
from operations.smoke import ShopApi
from settings import ENVIRONMENTS

PREFERRED_PORT = PREFERRED_PORTS["console"]


def serve_local(directory: Path, *, port: int) -> ConsoleServer:
    """Return the console of a local cloud."""
    cloud = Cloud(directory)
    live = Live(LocalSource(cloud), stories=list(STORIES))
    return ConsoleServer(live, LocalActions(live, cloud), port=port)


def client(service: str) -> Any:
    """Return a client of the account. The one of Lambda waits as long as the function may read."""
    return aws.client(service, config=PATIENT if service == "lambda" else aws.CONFIG)


def serve_account(environment: str, *, port: int) -> ConsoleServer:
    """Return the console of an environment on the account of the AWS credentials.

    Raises guard.Stop, status.NotDeployed, and botocore's errors.
    """
    settings = ENVIRONMENTS[environment]
    _, claimed_by = guard.require_credentials()
    stack = status.stacks(aws.client, settings)[settings.stack_name("service")]
    api = ShopApi(status.api_url(stack).rstrip("/"))
    source = Account(settings, client=client, claimed_by=claimed_by, api=api)
    live = Live(source, stories=[])
    actions = Actions(live, settings, api=lambda: api, sqs=lambda: source.client("sqs"))
    try:
        return ConsoleServer(live, actions, port=port)
    except OSError:  # the port is taken
        return ConsoleServer(live, actions, port=0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m console", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--directory", type=Path, help="of the local cloud")
    where.add_argument("--environment", choices=sorted(ENVIRONMENTS.keys() - {"local"}))
    parser.add_argument("--port", type=int, default=PREFERRED_PORT)
    arguments = parser.parse_args()
    if not __debug__:
        sys.exit("Python leaves out assertions (PYTHONOPTIMIZE), so no story could fail.")
    if arguments.directory:
        server = serve_local(arguments.directory, port=arguments.port)
    else:
        with aws.errors_as_sentences():
            try:
                server = serve_account(arguments.environment, port=arguments.port)
            except (guard.Stop, status.NotDeployed) as reason:
                sys.exit(str(reason))
    print(f"The console is at {server.url} until Ctrl-C.", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        os._exit(0)  # the threads of a story would go on until the story ends


if __name__ == "__main__":
    main()
