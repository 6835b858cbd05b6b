"""`make smoke` tells whether the deployed shop's loop is closed, and at which hop it is not."""

import subprocess
import time

import pytest

from local.emulator.faults import Fault
from local.factory import Answer
from operations.smoke import depth
from settings import PROJECT
from tests.support.accidents import make_due, run, run_relay, shell_environment
from tests.support.deployed_shop import PATIENCE, Shop
from tests.support.polling import eventually

WITHIN = 4
OVERHEAD = 15
"""Seconds for Python to start, and for everything before the order is followed."""


def test_loop_of_the_local_cloud_is_proved(shop: Shop) -> None:
    said = run(shop, "make smoke")
    assert said.startswith(f"{shop.cloud.endpoint} works: ")
    ((order_id, status, requester),) = shop.sql(
        "SELECT order_id, status, requester FROM production_order"
    )
    assert order_id in said
    assert (status, requester) == ("arrived", "smoke")
    assert shop.stock() == 10


def test_nothing_is_ordered_above_max_order(shop: Shop) -> None:
    shop.set_stock(1000)
    status, sentence = failure(shop, "make smoke")
    assert status != 0
    assert "max_quantity is 1000" in sentence
    assert shop.sql("SELECT * FROM production_order") == []


def failure(shop: Shop, command: str) -> tuple[int, str]:
    """The exit status, and the only line on standard error but for make's own."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=PROJECT,
        env=shell_environment(shop),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    return done.returncode, line


def smoke(shop: Shop) -> str:
    """What a smoke test with little patience fails with."""
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


def test_order_that_sns_refuses_is_named(shop: Shop) -> None:
    with shop.cloud.faults(Fault(service="sns", action="Publish", status=503)):
        sentence = smoke(shop)
    assert "outbox → SNS" in sentence
    assert "`requested`" in sentence
    make_due(shop)
    run_relay(shop)
    ((order_id,),) = shop.sql("SELECT order_id FROM production_order")
    shop.wait_for(order_id)


@pytest.mark.parametrize(
    "answer", [Answer(deliver=False), Answer(status=500, deliver=False)], ids=["silent", "down"]
)
def test_order_that_does_not_arrive_is_named(shop: Shop, answer: Answer) -> None:
    shop.factory.answer = lambda order: answer
    sentence = smoke(shop)
    assert "queue → consumer → factory → callback" in sentence
    assert "in the dead-letter queue" in sentence
    assert "`published`" in sentence

    shop.factory.answer = lambda order: Answer()
    make_due(shop)
    run_relay(shop)
    ((order_id,),) = shop.sql("SELECT order_id FROM production_order")
    shop.wait_for(order_id)  # nothing of it is left in the queues for the next test
    eventually(lambda: queues_are_empty(shop), within=PATIENCE)


def queues_are_empty(shop: Shop) -> None:
    sqs = shop.cloud.client("sqs")
    assert [depth(sqs, f"{name}_local") for name in ("stock_queue", "stock_dlq")] == [0, 0]
