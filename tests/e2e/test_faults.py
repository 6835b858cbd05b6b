"""What fails comes back, and what cannot be mended stays out of the way."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import psutil
import pytest

from local.factory import Answer, Factory, Order
from operations.redrive import redrive
from tests.support.deployed_shop import ANSWERED_WITHIN, PATIENCE, Shop
from tests.support.polling import eventually


def attributes(shop: Shop, order_id: str) -> dict[str, str]:
    """What the notification of an order carries."""
    (values,) = shop.sql(
        "SELECT product_id, production_order.factory_id, quantity, requester, order_id, callback_token, slug"
        " FROM production_order JOIN product USING (product_id) WHERE order_id = %s",
        (order_id,),
    )
    names = (
        "ProductId",
        "FactoryId",
        "ProductCnt",
        "Requester",
        "OrderId",
        "CallbackToken",
        "ProductSlug",
    )
    return {
        f"MessageAttribute{name}": str(value) for name, value in zip(names, values, strict=True)
    }


def assert_not_placed(shop: Shop, order_id: str) -> None:
    """The consumer has tried, in vain."""
    assert any(order_id in line and '"not placed"' in line for line in shop.log_lines())


def test_a_notification_is_as_the_contract_says(shop: Shop) -> None:
    sqs, sns = shop.cloud.client("sqs"), shop.cloud.client("sns")
    anybody = {
        "Statement": {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "sqs:SendMessage",
            "Resource": "*",
        }
    }
    queue = sqs.create_queue(QueueName="eavesdropper", Attributes={"Policy": json.dumps(anybody)})[
        "QueueUrl"
    ]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    subscription = sns.subscribe(TopicArn=shop.topic_arn(), Protocol="sqs", Endpoint=arn)[
        "SubscriptionArn"
    ]
    order_id = shop.order_more(40, requester="홍길동")
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    sns.unsubscribe(SubscriptionArn=subscription)
    sqs.delete_queue(QueueUrl=queue)

    notification = json.loads(message["Body"])
    text, _, _time = notification["Message"].rpartition(" ")
    assert notification["Subject"] == "도너츠 재고 부족"
    assert text == "도너츠 재고가 없습니다. 제품을 생산해주세요! \n메시지 작성 시각:"
    assert notification["MessageAttributes"] == {
        name: {"Type": "String", "Value": value}
        for name, value in attributes(shop, order_id).items()
    }


def test_an_order_waits_for_a_factory_that_is_down(shop: Shop) -> None:
    shop.factory.stop()
    try:
        order_id = shop.order_more(40)
        eventually(lambda: assert_not_placed(shop, order_id), within=PATIENCE)
    finally:
        shop.factory.start()
    shop.wait_for(order_id)
    assert shop.stock() == 50


def test_an_order_that_the_factory_rejects_is_sent_again(shop: Shop) -> None:
    shop.factory.answer = lambda order: Answer(status=500, deliver=False)
    order_id = shop.order_more(40)
    shop.factory_call(order_id)
    shop.factory.answer = lambda order: Answer()
    shop.wait_for(order_id)
    first, second = shop.calls(order_id)
    assert first.payload == second.payload
    assert shop.stock() == 50


def test_a_factory_that_answers_too_late_is_asked_again_and_counts_once(shop: Shop) -> None:
    slow = iter([Answer(delay=4)])
    shop.factory.answer = lambda order: next(slow, Answer())
    order_id = shop.order_more(40)

    def asked_and_delivered_twice() -> None:
        assert [call.callback_status for call in shop.calls(order_id)] == [200, 200]

    eventually(asked_and_delivered_twice, within=PATIENCE)
    assert shop.stock() == 50


class Redirecting(BaseHTTPRequestHandler):
    """A factory that has moved."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(307)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_GET = do_POST


class Dripping(BaseHTTPRequestHandler):
    """A factory whose answer never ends."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.asked.append(f"{self.command} {self.path}")
        self.send_response(201)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b" ")
                time.sleep(0.1)


@contextmanager
def replaced_by(behaviour: type[BaseHTTPRequestHandler], factory: Factory) -> Iterator[None]:
    factory.stop()
    with ThreadingHTTPServer(("127.0.0.1", factory.port), behaviour) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
    factory.start()


@pytest.mark.parametrize("behaviour", [Redirecting, Dripping])
def test_an_answer_that_is_no_yes_leaves_the_order_in_the_queue(
    shop: Shop, behaviour: type[Redirecting | Dripping]
) -> None:
    with replaced_by(behaviour, shop.factory):
        order_id = shop.order_more(40)
        eventually(lambda: assert_not_placed(shop, order_id), within=PATIENCE)
        assert set(behaviour.asked) == {"POST /api/manufactures"}
    shop.wait_for(order_id)
    assert shop.stock() == 50


def test_a_notification_that_comes_twice_counts_once(shop: Shop) -> None:
    order_id = shop.order_more(40)
    shop.wait_for(order_id)
    message_attributes = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in attributes(shop, order_id).items()
    }
    shop.cloud.client("sns").publish(
        TopicArn=shop.topic_arn(), Message="again", MessageAttributes=message_attributes
    )

    def delivered_twice() -> None:
        assert [call.callback_status for call in shop.calls(order_id)] == [200, 200]

    eventually(delivered_twice, within=PATIENCE)
    assert shop.stock() == 50


def test_an_order_recorded_but_never_published_is_published_by_the_relay(shop: Shop) -> None:
    shop.sql(
        "INSERT INTO production_order SET order_id = 'forgotten', callback_token = 'secret', quantity = 40,"
        " product_id = (SELECT product_id FROM product WHERE slug = 'donut'), factory_id = 'FF-1',"
        " requester = '홍길동', requested_at = UTC_TIMESTAMP(6), next_attempt_at = UTC_TIMESTAMP(6)"
    )
    shop.cloud.client("lambda").invoke(FunctionName="donut-shop-relay-local", Payload=b"{}")
    shop.wait_for("forgotten")
    assert shop.factory_call("forgotten").payload["MessageAttributeRequester"] == "홍길동"
    assert shop.stock() == 50


def test_poison_ends_in_the_dead_letter_queue_alone_and_a_rejected_order_can_be_brought_back(
    shop: Shop,
) -> None:
    sqs, queue, dead_letters = (
        shop.cloud.client("sqs"),
        shop.queue_url("stock_queue"),
        shop.queue_url("stock_dlq"),
    )
    sqs.purge_queue(QueueUrl=dead_letters)
    shop.factory.answer = lambda order: Answer(deliver=False)
    good, rejected = [shop.order_more(1000) for _ in range(2)], shop.order_more(999)
    for order_id in (*good, rejected):
        shop.factory_call(order_id)
    shop.factory.answer = lambda order: (
        Answer(status=404, deliver=False) if is_order(order, rejected) else Answer()
    )

    def envelope(order_id: str) -> str:
        values = attributes(shop, order_id)
        return json.dumps(
            {
                "MessageAttributes": {
                    name: {"Type": "String", "Value": values[name]} for name in values
                }
            }
        )

    poison = ["not JSON", json.dumps({"MessageAttributes": {}}), "[" * 5000]
    bodies = [
        poison[0],
        envelope(good[0]),
        poison[1],
        envelope(rejected),
        envelope(good[1]),
        poison[2],
    ]
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
    assert not sqs.send_message_batch(QueueUrl=queue, Entries=entries).get("Failed")
    for order_id in good:
        shop.wait_for(order_id)

    def dead() -> list[str]:
        answer = sqs.receive_message(
            QueueUrl=dead_letters, MaxNumberOfMessages=10, VisibilityTimeout=0
        )
        return sorted(message["Body"] for message in answer.get("Messages", []))

    def all_dead() -> None:
        assert dead() == sorted([*poison, envelope(rejected)])

    eventually(all_dead, within=60)
    assert shop.status(rejected) == "published"

    shop.factory.answer = lambda order: Answer()
    redrive(sqs, source_url=dead_letters, target_url=queue)
    shop.wait_for(rejected)
    sqs.purge_queue(QueueUrl=queue)
    assert shop.stock() == 10 + 2 * 1000 + 999


def is_order(order: Order, order_id: str) -> bool:
    return order.headers.get("idempotency-key") == order_id


def test_without_its_database_the_shop_says_so_in_time_and_sells_nothing(shop: Shop) -> None:
    database = psutil.Process(shop.cloud.database.pid)
    database.kill()
    try:
        for answer in (
            shop.checkout(3),
            shop.request("GET", "/product/donut"),
            shop.request("GET", "/order/x"),
        ):
            assert (answer.status_code, answer.json()) == (
                503,
                {"message": "데이터베이스 연결 오류"},
            )
            assert answer.headers["content-type"] == "application/json; charset=utf-8"
            assert int(answer.headers["retry-after"]) > 0
            assert answer.elapsed.total_seconds() < ANSWERED_WITHIN
    finally:
        shop.cloud.database.start()
    assert shop.ledger() == []
    assert shop.checkout(3).json()["stock"] == 7


def test_a_database_that_hangs_is_given_up_in_time(shop: Shop) -> None:
    shop.request("GET", "/product/donut")
    database = psutil.Process(shop.cloud.database.pid)
    database.suspend()
    try:
        answer = shop.request("GET", "/product/donut")
    finally:
        database.resume()
    assert (answer.status_code, answer.json()) == (503, {"message": "데이터베이스 연결 오류"})
    assert answer.elapsed.total_seconds() < ANSWERED_WITHIN
    assert shop.request("GET", "/product/donut").status_code == 200
