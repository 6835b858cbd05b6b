"""The commands in docs/runbook.md work.

Each section's commands are run in a shop in which the section's alarm would fire.
"""

import os
import signal
import subprocess
import threading

from local.emulator.faults import Fault
from local.factory import accept
from settings import PROJECT
from tests.support.accidents import make_due, run, run_relay, shell_variables
from tests.support.deployed_shop import PATIENCE, SETTINGS, DeployedShop
from tests.support.documentation import blocks, commands, make_targets, makefile_targets, sections
from tests.support.misbehaving import accept_without_callback
from tests.support.notifications import envelope

RUNBOOK = sections("docs/runbook.md")


def follow(shop: DeployedShop, section: str) -> str:
    """Run the commands of a section, and return what they print."""
    return "".join(run(shop, command) for command in commands(RUNBOOK[section]))


def test_every_section_with_commands_has_a_test() -> None:
    with_commands = {heading for heading, text in RUNBOOK.items() if blocks(text, "console")}
    assert with_commands == {
        "StockDlqNotEmpty",
        "OldestMessage",
        "OldestUnpublishedOrder",
        "StuckOrders",
        "RelaySilent",
        "Find out whether the stock is right",
    }
    assert make_targets("".join(RUNBOOK.values())) <= makefile_targets()


def test_redrive_places_an_order_of_the_dead_letter_queue(shop: DeployedShop) -> None:
    """The story `factory_outage` shows how an order gets there."""
    sqs, dead_letters = shop.cloud.client("sqs"), shop.queue_url("stock_dlq")
    sqs.purge_queue(QueueUrl=dead_letters)
    shop.factory.respond = accept_without_callback
    order_id = shop.order_more(40)
    shop.placed_order(order_id)
    sqs.send_message(QueueUrl=dead_letters, MessageBody=envelope(shop, order_id))
    shop.factory.respond = accept
    assert "moved 1 message(s)" in follow(shop, "StockDlqNotEmpty")
    shop.wait_for(order_id)
    orders = run(shop, "make orders")
    assert order_id not in orders
    assert "arrived" in orders
    assert shop.stock() == 50


def test_message_that_is_not_an_order_is_listed_and_discarded(shop: DeployedShop) -> None:
    sqs, dead_letters = shop.cloud.client("sqs"), shop.queue_url("stock_dlq")
    sqs.purge_queue(QueueUrl=dead_letters)
    sent = sqs.send_message(QueueUrl=dead_letters, MessageBody="hello not json")["MessageId"]
    listed = follow(shop, "StockDlqNotEmpty")
    assert sent in listed
    assert "not a production order: JSONDecodeError" in listed
    assert "hello" not in listed
    assert "deleted 1 message(s)" in run(shop, "DISCARD=1 YES=1 make redrive")
    assert follow(shop, "StockDlqNotEmpty").splitlines() == [
        "moved 0 message(s) from stock_dlq_local to stock_queue_local"
    ]


def test_disabled_consumer_is_named_and_enabled(shop: DeployedShop) -> None:
    functions = shop.cloud.client("lambda")
    (mapping,) = functions.list_event_source_mappings(
        FunctionName=SETTINGS.function_name("consumer")
    )["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    order_id = shop.order_more(40)
    status, resume = commands(RUNBOOK["OldestMessage"])
    assert "OFF: event source mapping of consumer is Disabled" in run(shop, status)
    assert shop.placed_orders(order_id) == []
    assert "event source mapping of consumer was Disabled" in run(shop, resume)
    shop.wait_for(order_id)
    assert run(shop, status).splitlines()[-1] == "Nothing is off."


def test_disabled_schedule_is_named_and_enabled(shop: DeployedShop) -> None:
    rules = shop.cloud.client("events")
    (rule,) = [rule["Name"] for rule in rules.list_rules()["Rules"] if "EachMinute" in rule["Name"]]
    rules.disable_rule(Name=rule)
    status, resume, _ = commands(RUNBOOK["RelaySilent"])
    assert "OFF: rule EachMinute of relay is DISABLED" in run(shop, status)
    assert "rule EachMinute of relay was DISABLED" in run(shop, resume)
    assert rules.describe_rule(Name=rule)["State"] == "ENABLED"


def test_throttled_function_is_named_and_sells_again(shop: DeployedShop) -> None:
    shop.cloud.client("lambda").put_function_concurrency(
        FunctionName=SETTINGS.function_name("sales"), ReservedConcurrentExecutions=0
    )
    assert shop.checkout(3).status_code == 503
    shown = run(shop, "make status")
    assert shown.splitlines()[0] == f"API: {shop.cloud.endpoint}"
    assert "OFF: reserved concurrency of sales is 0" in shown
    run(shop, "make resume")
    assert shop.checkout(3).json()["stock"] == 7


def test_unpublished_order_is_listed(shop: DeployedShop) -> None:
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


def test_stuck_order_is_listed_and_can_be_requested_again(shop: DeployedShop) -> None:
    shop.factory.respond = accept_without_callback
    order_id = shop.order_more(40)
    shop.placed_order(order_id)
    shop.sql("UPDATE production_order SET publications = 4")
    make_due(shop)
    run_relay(shop)
    shop.wait_for(order_id, "stuck")
    orders, remind = commands(RUNBOOK["StuckOrders"])
    shown = next(line for line in run(shop, orders).splitlines() if order_id in line)
    assert "stuck" in shown

    shop.factory.respond = accept
    assert order_id in run(shop, f"YES=1 {remind}")
    run_relay(shop)
    shop.wait_for(order_id)
    ((publications,),) = shop.sql("SELECT publications FROM production_order")
    assert publications <= 1, "the number of publications starts again"
    assert shop.stock() == 50
    traced = run(shop, f"ORDER={order_id} make trace").splitlines()
    for step in ("marked as stuck", "reminded by `make remind`", "arrived"):
        assert any(step in line for line in traced), step
    assert traced[-1] == "The order waits for nothing: it has arrived"


def test_counted_stock_is_booked(shop: DeployedShop) -> None:
    """The runbook's example counts 12, and then takes 2."""
    stocktake, adjust, books = commands(RUNBOOK["Find out whether the stock is right"])
    assert run(shop, stocktake).splitlines()[-1].split() == ["donut", "10", "2", "12"]
    assert run(shop, adjust).splitlines()[-1].split() == ["donut", "12", "-2", "10"]
    *_, difference = run(shop, books).splitlines()[-1].split()
    assert difference == "0"
    assert shop.stock() == 10


def test_logs_show_the_runs_of_the_relay(shop: DeployedShop) -> None:
    *_, command = commands(RUNBOOK["RelaySilent"])
    run_relay(shop)
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=PROJECT,
        env=shell_variables(shop),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as logs:
        interrupt = threading.Timer(PATIENCE, os.killpg, (logs.pid, signal.SIGINT))
        interrupt.start()
        assert logs.stdout
        shown = any(line.split()[1:4] == ["relay", "INFO", "relay"] for line in logs.stdout)
        interrupt.cancel()
        os.killpg(logs.pid, signal.SIGINT)
    assert shown
