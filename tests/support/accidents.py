"""What an operator, the clock or an accident does to the deployed shop."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from settings import PROJECT
from tests.support.deployed_shop import Shop


def run_relay(shop: Shop) -> None:
    """Now, and not when its minute has come."""
    answer = shop.cloud.client("lambda").invoke(
        FunctionName="donut-shop-relay-local", Payload=b"{}"
    )
    assert "FunctionError" not in answer, answer["Payload"].read()


def make_due(shop: Shop) -> None:
    """The time until the relay looks at an open order again has passed."""
    shop.sql(
        "UPDATE production_order SET next_attempt_at = UTC_TIMESTAMP(6) WHERE next_attempt_at IS NOT NULL"
    )


def kill_database(shop: Shop) -> None:
    pid = shop.cloud.database.pid
    assert pid, "it is not running"  # psutil takes None for the tests' own process
    server = psutil.Process(pid)
    server.kill()
    server.wait(timeout=10)


@contextmanager
def database_killed(shop: Shop) -> Iterator[None]:
    kill_database(shop)
    try:
        yield
    finally:
        shop.cloud.database.start()


def shell_environment(shop: Shop) -> dict[str, str]:
    """A person's, whose `make` is about this cloud."""
    of_another_make = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    host = {name: value for name, value in os.environ.items() if name not in of_another_make}
    return host | {"CLOUD_DIRECTORY": str(shop.cloud.directory), "ENV": "local"}


def run(shop: Shop, command: str, *, stdin: str = "") -> str:
    """What a command says, typed in the project's root."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=PROJECT,
        env=shell_environment(shop),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout
