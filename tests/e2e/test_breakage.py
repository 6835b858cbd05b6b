"""local/breakage.py: what is broken on purpose heals by itself, even if the breaker is killed."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from local.breakage import Breakage, breakages
from local.polling import eventually
from local.processes import accepts_connections
from settings import PROJECT
from tests.support.deployed_shop import PATIENCE, UNAVAILABLE, DeployedShop

SECONDS = 4
EVERYTHING = ("sns", "sqs", "factory_off", "database_killed")
"""Of the factory's and of the database's breakages, one is in effect at a time."""
PROGRAM = """
import sys, time
from pathlib import Path
from local.breakage import breakages
from local.cloud import Cloud
directory, seconds, *names = sys.argv[1:]
known = breakages(Cloud(Path(directory)))
for name in names:
    known[name].start(float(seconds))
print("broken", flush=True)
time.sleep(600)
"""
"""Breaks the cloud in a directory for some seconds, and goes on until it is killed."""


@pytest.fixture
def known(shop: DeployedShop) -> Iterator[dict[str, Breakage]]:
    known = dict(breakages(shop.cloud))
    yield known
    for each in known.values():
        each.end()


def test_everything_heals_when_the_breaking_process_is_killed(
    shop: DeployedShop, known: dict[str, Breakage]
) -> None:
    command = [sys.executable, "-c", PROGRAM, str(shop.cloud.directory), str(SECONDS), *EVERYTHING]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as breaker:
        assert breaker.stdout
        assert breaker.stdout.readline() == "broken\n"
        breaker.kill()
    for name in EVERYTHING:
        assert 0 < known[name].remaining() <= SECONDS, name
    assert shop.checkout(1).json() == UNAVAILABLE

    def healed() -> None:
        for name in EVERYTHING:
            assert known[name].remaining() == 0, name
        assert shop.checkout(1).status_code == 200

    eventually(healed, within=SECONDS + PATIENCE)
    assert shop.purchases() == [(1, "unknown")]
    shop.wait_for(shop.order_more(40))
    assert shop.stock() == 49
    shop.assert_balanced()


def test_read_only_database_sells_nothing_until_it_heals(
    shop: DeployedShop, known: dict[str, Breakage]
) -> None:
    known["database_read_only"].start()
    assert 100 < known["database_read_only"].remaining() <= 120
    assert shop.checkout(1).json() == UNAVAILABLE
    assert shop.request("GET", "/product/donut").json()["stock"] == 10
    known["database_read_only"].end()
    assert shop.checkout(1).json()["stock"] == 9


def test_another_outage_replaces_the_first(shop: DeployedShop, known: dict[str, Breakage]) -> None:
    known["database_read_only"].start()
    known["database_killed"].start()
    assert known["database_read_only"].remaining() == 0
    assert not accepts_connections(shop.cloud.database.port)
    known["database_read_only"].end()
    assert known["database_killed"].remaining() > 0
    known["database_killed"].end()
    assert shop.checkout(1).json()["stock"] == 9


@pytest.mark.parametrize("service", ["sns", "sqs"])
def test_broken_service_rejects_every_call(
    shop: DeployedShop, known: dict[str, Breakage], service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    client = shop.cloud.client(service)
    calls = {"sns": "list_topics", "sqs": "list_queues"}
    call = getattr(client, calls[service])
    known[service].start()
    with pytest.raises(client.exceptions.ClientError, match="503"):
        call()
    known[service].end()
    call()


@pytest.mark.parametrize("name", ["sns", "factory_off", "database_killed"])
@pytest.mark.parametrize("seconds", [0, -1, 121, float("nan"), float("inf")])
def test_nothing_is_broken_for_longer_than_two_minutes(
    known: dict[str, Breakage], name: str, seconds: float
) -> None:
    with pytest.raises(ValueError, match="120 seconds"):
        known[name].start(seconds)
    assert known[name].remaining() == 0
