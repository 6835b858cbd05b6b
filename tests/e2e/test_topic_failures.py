"""Failures of the topic and its queue: no order is lost, and no message delays another.

test_factory_failures.py says which failure belongs to which file.
"""

import json

import pytest

from local.emulator.faults import Fault
from local.factory import FactoryResponse, Order, accept
from local.polling import eventually
from operations.redrive import DeadLetters, redrive
from tests.support.accidents import make_due, run_relay
from tests.support.deployed_shop import RESPONDS_WITHIN, DeployedShop
from tests.support.misbehaving import accept_without_callback
from tests.support.notifications import attributes, envelope


def test_checkout_responds_in_time_when_the_topic_hangs(shop: DeployedShop) -> None:
    """The relay publishes the order as soon as the topic works again.

    The story `sns_outage` has a topic that fails at once.
    """
    with shop.cloud.faults(Fault(service="sns", action="Publish", status=503, delay=10)):
        response = shop.checkout(40)
        order_id = response.json().get("order_id")
        assert response.json() == {
            "message": "구매 실패! 남은 재고: 10",
            "purchased": False,
            "stock": 10,
            "order_id": order_id,
        }
        assert response.elapsed.total_seconds() < RESPONDS_WITHIN
        make_due(shop)
        run_relay(shop)
        assert shop.status(order_id) == "requested"
        assert not shop.placed_orders(order_id)
    make_due(shop)
    run_relay(shop)
    shop.wait_for(order_id)
    assert shop.stock() == 50


def test_order_published_unnoticed_by_sales_adds_stock_once(shop: DeployedShop) -> None:
    """The topic accepts the notification after sales has given up.

    Then the relay publishes again.
    """
    with shop.cloud.faults(Fault(service="sns", action="Publish", delay=1.5, count=1)):
        order_id = shop.order_more(40)
        make_due(shop)
        run_relay(shop)
    shop.wait_for_two_callbacks(order_id)
    assert shop.stock() == 50


def test_repeated_notification_adds_stock_once(shop: DeployedShop) -> None:
    order_id = shop.order_more(40)
    shop.wait_for(order_id)
    message_attributes = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in attributes(shop, order_id).items()
    }
    shop.cloud.client("sns").publish(
        TopicArn=shop.topic_arn(), Message="again", MessageAttributes=message_attributes
    )
    shop.wait_for_two_callbacks(order_id)
    assert shop.stock() == 50


def test_relay_publishes_an_order_that_was_never_published(shop: DeployedShop) -> None:
    """As after a function that ended between the commit and the publication."""
    shop.sql(
        "INSERT INTO production_order SET order_id = 'forgotten', callback_token = 'secret',"
        " product_id = (SELECT product_id FROM product WHERE slug = 'donut'), quantity = 40,"
        " factory_id = 'FF-1', requester = '홍길동',"
        " requested_at = UTC_TIMESTAMP(6), next_attempt_at = UTC_TIMESTAMP(6)"
    )
    run_relay(shop)
    shop.wait_for("forgotten")
    assert shop.placed_order("forgotten").payload["MessageAttributeRequester"] == "홍길동"
    assert shop.stock() == 50


@pytest.mark.usefixtures("two_receives")
def test_unreadable_messages_reach_the_dead_letter_queue_alone(shop: DeployedShop) -> None:
    """Orders in the same batch are placed.

    One that the factory rejects ends there too, and can be redriven.
    """
    sqs = shop.cloud.client("sqs")
    queue, dead_letters = shop.queue_url("stock_queue"), shop.queue_url("stock_dlq")
    sqs.purge_queue(QueueUrl=dead_letters)
    shop.factory.respond = accept_without_callback
    good = [shop.order_more(1000) for _ in range(2)]
    rejected = shop.order_more(999)
    for order_id in (*good, rejected):
        shop.placed_order(order_id)

    def reject_one(order: Order) -> FactoryResponse:
        if order.headers.get("idempotency-key") == rejected:
            return FactoryResponse(status=404, callbacks=0)
        return FactoryResponse()

    shop.factory.respond = reject_one
    unreadable = ["not JSON", json.dumps({"MessageAttributes": {}}), "[" * 5000]
    bodies = [
        unreadable[0],
        envelope(shop, good[0]),
        unreadable[1],
        envelope(shop, rejected),
        envelope(shop, good[1]),
        unreadable[2],
    ]
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
    assert not sqs.send_message_batch(QueueUrl=queue, Entries=entries).get("Failed")
    for order_id in good:
        shop.wait_for(order_id)

    def all_dead() -> None:
        received = sqs.receive_message(
            QueueUrl=dead_letters, MaxNumberOfMessages=10, VisibilityTimeout=0
        )
        dead = [message["Body"] for message in received.get("Messages", [])]
        assert sorted(dead) == sorted([*unreadable, envelope(shop, rejected)])

    eventually(all_dead, within=60)
    assert shop.status(rejected) == "published"

    shop.factory.respond = accept
    with DeadLetters(sqs, dead_letters) as received:
        moved, others = redrive(received, target_url=queue)
    assert moved == 1
    assert sorted(message["Body"] for message in others) == sorted(unreadable)
    shop.wait_for(rejected)
    sqs.purge_queue(QueueUrl=dead_letters)
    assert shop.stock() == 10 + 2 * 1000 + 999
