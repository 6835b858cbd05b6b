"""`make smoke` checks the deployed shop's whole loop.

If a hop does not work, the error message names it.
"""

import time
from collections.abc import Callable

import pytest

from local.emulator.faults import Fault
from local.factory import FactoryResponse, Order, accept
from local.polling import eventually
from operations.smoke import depth
from tests.support.accidents import executed, make_due, run, run_relay
from tests.support.deployed_shop import PATIENCE, SETTINGS, DeployedShop
from tests.support.misbehaving import accept_without_callback, reject

WITHIN = 4
OVERHEAD = 15
"""Seconds for the start of Python, and for everything before the command waits for the order."""


def test_smoke_test_passes_on_the_local_cloud(shop: DeployedShop) -> None:
    output = run(shop, "make smoke")
    assert output.startswith(f"{shop.cloud.endpoint} works: ")
    ((order_id, status, requester),) = shop.sql(
        "SELECT order_id, status, requester FROM production_order"
    )
    assert order_id in output
    assert status == "arrived"
    assert requester == "smoke"
    assert shop.stock() == 10


def test_smoke_test_buys_a_stock_that_no_order_can_exceed(shop: DeployedShop) -> None:
    shop.set_stock(1003)
    run(shop, "make smoke")
    ((_, quantity),) = shop.sql("SELECT order_id, quantity FROM production_order")
    assert quantity == 4
    assert shop.stock() == 3


def failure(shop: DeployedShop, command: str) -> tuple[int, str]:
    """Run a command that fails.

    Return its status, and its only line on stderr apart from make's own.
    """
    done = executed(shop, command)
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    return done.returncode, line


def smoke(shop: DeployedShop) -> str:
    """Run a smoke test that waits only WITHIN seconds, and return its error message."""
    directory = f"--directory={shop.cloud.directory}"
    endpoint = f"--endpoint={shop.cloud.directory}/endpoint"
    began = time.monotonic()
    status, sentence = failure(
        shop,
        f".venv/bin/python -m local {directory} run "
        f".venv/bin/python -m operations.smoke local {endpoint} --within={WITHIN}",
    )
    assert time.monotonic() - began < WITHIN + OVERHEAD
    assert status == 1
    return sentence


def test_order_that_sns_rejects_is_named(shop: DeployedShop) -> None:
    with shop.cloud.faults(Fault(service="sns", action="Publish", status=503)):
        sentence = smoke(shop)
    assert "outbox → SNS" in sentence
    assert "`requested`" in sentence
    make_due(shop)
    run_relay(shop)
    ((order_id,),) = shop.sql("SELECT order_id FROM production_order")
    shop.wait_for(order_id)


@pytest.mark.parametrize("respond", [accept_without_callback, reject])
def test_order_that_does_not_arrive_is_named(
    shop: DeployedShop, respond: Callable[[Order], FactoryResponse]
) -> None:
    shop.factory.respond = respond
    sentence = smoke(shop)
    assert "queue → consumer → factory → callback" in sentence
    assert "in the dead-letter queue" in sentence
    assert "`published`" in sentence

    shop.factory.respond = accept
    make_due(shop)
    run_relay(shop)
    ((order_id,),) = shop.sql("SELECT order_id FROM production_order")
    shop.wait_for(order_id)
    # The next test finds no message of this one.
    eventually(lambda: queues_are_empty(shop), within=PATIENCE)


def queues_are_empty(shop: DeployedShop) -> None:
    sqs = shop.cloud.client("sqs")
    assert [depth(sqs, SETTINGS.queue_name(name)) for name in ("stock_queue", "stock_dlq")] == [
        0,
        0,
    ]
