"""docs/runbook.md does what it says: each section's commands are typed where its alarm would ring."""

import os
import signal
import subprocess
import threading

import pytest

from local.emulator.faults import Fault
from local.factory import Answer, Order
from settings import PROJECT
from tests.support.accidents import make_due, run, run_relay, shell_environment
from tests.support.deployed_shop import PATIENCE, Shop
from tests.support.documentation import blocks, commands, make_targets, makefile_targets, sections
from tests.support.polling import eventually

RUNBOOK = sections("docs/runbook.md")


def follow(shop: Shop, section: str) -> str:
    """What the section's commands say."""
    return "".join(run(shop, command) for command in commands(RUNBOOK[section]))


def hold_back(order: Order) -> Answer:
    """A factory that takes orders and delivers nothing."""
    return Answer(deliver=False)


def test_every_command_of_the_runbook_is_typed_here() -> None:
    with_commands = {
        heading
        for heading, text in RUNBOOK.items()
        if blocks(text, "console") or blocks(text, "sql")
    }
    assert with_commands == {
        "StockDlqNotEmpty",
        "OldestUnpublishedOrder",
        "StuckOrders",
        "RelaySilent",
    }
    assert make_targets("".join(RUNBOOK.values())) <= makefile_targets()


def test_an_order_that_the_factory_took_five_times_in_vain_is_brought_back(shop: Shop) -> None:
    sqs, queue = shop.cloud.client("sqs"), {"QueueUrl": shop.queue_url("stock_dlq")}
    sqs.purge_queue(**queue)
    shop.factory.answer = lambda order: Answer(status=500, deliver=False)
    order_id = shop.order_more(40)

    def dead() -> None:
        depth = sqs.get_queue_attributes(**queue, AttributeNames=["ApproximateNumberOfMessages"])[
            "Attributes"
        ]
        assert depth == {"ApproximateNumberOfMessages": "1"}

    eventually(dead, within=2 * PATIENCE)
    assert len(shop.calls(order_id)) == 5

    shop.factory.answer = lambda order: Answer()
    assert "moved 1 message(s)" in follow(shop, "StockDlqNotEmpty")
    shop.wait_for(order_id)
    assert "arrived" in run(shop, "make orders")
    assert shop.stock() == 50


def test_an_order_that_could_not_be_published_is_shown(shop: Shop) -> None:
    with shop.cloud.faults(Fault(service="sns", status=503)):
        order_id = shop.order_more(40)
        shown = next(
            line for line in follow(shop, "OldestUnpublishedOrder").splitlines() if order_id in line
        )
        assert "requested" in shown
    make_due(shop)
    run_relay(shop)
    shop.wait_for(order_id)
    assert order_id not in follow(shop, "OldestUnpublishedOrder")


def test_a_stuck_order_is_shown_and_asked_for_again(shop: Shop) -> None:
    shop.factory.answer = hold_back
    order_id = shop.order_more(40)
    shop.factory_call(order_id)
    shop.sql("UPDATE production_order SET publications = 4")
    make_due(shop)
    run_relay(shop)
    shop.wait_for(order_id, "stuck")
    shown = next(line for line in follow(shop, "StuckOrders").splitlines() if order_id in line)
    assert "stuck" in shown

    shop.factory.answer = lambda order: Answer()
    (ask_again,) = blocks(RUNBOOK["StuckOrders"], "sql")
    run(shop, "make mysql", stdin=ask_again)
    run_relay(shop)
    shop.wait_for(order_id)
    ((publications,),) = shop.sql("SELECT publications FROM production_order")
    assert publications <= 1, "it is asked for from the start"
    assert shop.stock() == 50


def test_the_relay_is_heard_in_the_logs(shop: Shop) -> None:
    (command,) = commands(RUNBOOK["RelaySilent"])
    run_relay(shop)
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=PROJECT,
        env=shell_environment(shop),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as logs:
        impatience = threading.Timer(PATIENCE, os.killpg, (logs.pid, signal.SIGINT))
        impatience.start()
        assert logs.stdout
        heard = any(
            line.startswith("Relay ") and '"message": "relay"' in line for line in logs.stdout
        )
        impatience.cancel()
        os.killpg(logs.pid, signal.SIGINT)
    assert heard


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_an_account_s_database_is_never_mistaken_for_this_machine_s(
    shop: Shop, environment: str
) -> None:
    for target in ("orders", "mysql"):
        with pytest.raises(AssertionError, match=target):
            run(shop, f"ENV={environment} make {target}")
