"""What an operator, the passage of time or an accident does to the deployed shop."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from settings import PROJECT
from tests.support import documentation
from tests.support.deployed_shop import DeployedShop


def run_relay(shop: DeployedShop) -> None:
    """Run the relay now, instead of waiting for its schedule."""
    shop.invoke("relay")


def make_due(shop: DeployedShop) -> None:
    """Make every open order due, as if the time until the relay's next look at it had passed."""
    shop.sql(
        "UPDATE production_order SET next_attempt_at = UTC_TIMESTAMP(6)"
        " WHERE next_attempt_at IS NOT NULL"
    )


def database_process(shop: DeployedShop) -> psutil.Process:
    """Return the process of the database server."""
    pid = shop.cloud.database.pid
    assert pid, "the database does not run"  # psutil.Process(None) is the tests' own process
    return psutil.Process(pid)


def kill_database(shop: DeployedShop) -> None:
    """Kill the database server, and wait for its end."""
    server = database_process(shop)
    server.kill()
    server.wait(timeout=10)


@contextmanager
def database_killed(shop: DeployedShop) -> Iterator[None]:
    """Kill the database server, and start it again at the end of the block."""
    kill_database(shop)
    try:
        yield
    finally:
        shop.cloud.database.start()


def shell_variables(shop: DeployedShop) -> dict[str, str]:
    """Return the variables of a person's shell in which `make` refers to this cloud."""
    return documentation.shell_variables() | {
        "CLOUD_DIRECTORY": str(shop.cloud.directory),
        "ENV": "local",
    }


def executed(shop: DeployedShop, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's root until it ends, and return what it printed."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=PROJECT,
        env=shell_variables(shop),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run(shop: DeployedShop, command: str) -> str:
    """Run a command in the project's root, and return what it prints.

    Fails if the command fails.
    """
    done = executed(shop, command)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout
