"""The consumer's handler: what it posts to the factory, and which messages return to the queue."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import requests
import urllib3
from botocore.stub import Stubber

from common import aws, deadline, messages
from tests.support.fakes import FakeFactory, Respond, failing, numbered_order
from tests.support.orders import ORDER
from tests.support.pipe import Pipe


class Body(io.BytesIO):
    """Closes itself when it is read to its end, as a socket's file does."""

    def read(self, amount: int | None = -1) -> bytes:
        data = super().read(amount)
        if not data:
            self.close()
        return data


class EndlessBody:
    """A body that never ends. chunk: how many bytes arrive at a time."""

    closed = False

    def __init__(self, *, chunk: int) -> None:
        self.chunk, self.reads = chunk, 0

    def read1(self, amount: int = -1) -> bytes:
        assert amount > 0, "reads the whole body at once"
        self.reads += 1
        return b"x" * min(amount, self.chunk)

    def read(self, amount: int = -1) -> bytes:
        raise AssertionError("waits until a chunk is full")

    def close(self) -> None:
        self.closed = True


def response(status: int, body: Any = b"{}", **headers: str) -> urllib3.HTTPResponse:
    """Return a response. body: bytes, or a file."""
    file = Body(body) if isinstance(body, bytes) else body
    return urllib3.HTTPResponse(file, headers=headers, status=status, preload_content=False)


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> FakeFactory:
    """Return a factory that takes every order."""
    factory = FakeFactory(lambda request: response(201))
    factory.install(monkeypatch)
    return factory


@pytest.fixture
def consumer(load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the handler's module, without the postponing of failed messages."""
    module = load("consumer")
    monkeypatch.setattr(module, "postpone", lambda record, order: None)
    return module


def record(number: int = 0, *, body: str | None = None, receives: int = 1) -> dict[str, Any]:
    """Return an SQS record. body: by default, the envelope of an order. receives: how often."""
    order = numbered_order(number)
    attributes = {
        name: {"Type": "String", "Value": str(getattr(order, field))}
        for field, name in messages.ATTRIBUTES.items()
    }
    return {
        "messageId": f"message-{number}",
        "receiptHandle": f"receipt-{number}",
        "body": json.dumps({"MessageAttributes": attributes}) if body is None else body,
        "attributes": {
            "ApproximateReceiveCount": str(receives),
            "SentTimestamp": "1795478400123",
        },
    }


def handle(consumer: ModuleType, *records: dict[str, Any], remaining: float = 20) -> list[str]:
    """Return the ids of the failed messages. remaining: seconds of the function's time."""
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: int(remaining * 1000))
    result = consumer.handler({"Records": list(records)}, context)
    assert list(result) == ["batchItemFailures"]
    return [failure["itemIdentifier"] for failure in result["batchItemFailures"]]


def test_handler_posts_the_order_as_the_factory_expects_it(
    consumer: ModuleType, factory: FakeFactory
) -> None:
    assert handle(consumer, record()) == []
    (request,) = factory.requests
    assert request.method == "POST"
    assert request.url == "http://factory.test/api/manufactures"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Idempotency-Key"] == "order-0"
    assert json.loads(request.body or b"") == {
        "MessageGroupId": "stock-arrival-group",
        "MessageAttributeProductId": "a-product",
        "MessageAttributeProductCnt": "12",
        "MessageAttributeFactoryId": "FF-500293",
        "MessageAttributeRequester": "홍길동",
        "CallbackUrl": "https://shop.test/product/donut?order=order-0&token=s3cr3t-token",
    }


def test_handler_accepts_what_sns_publishes(
    pipe: Pipe, consumer: ModuleType, factory: FakeFactory
) -> None:
    messages.publish(ORDER, topic_arn=pipe.topic_arn)
    (message,) = pipe.receive()
    assert handle(consumer, record(body=message["Body"])) == []
    assert factory.order_ids() == ["order-0"]


def test_callback_url_escapes_the_token(consumer: ModuleType) -> None:
    url = urlsplit(consumer.payload(ORDER._replace(callback_token="a+b/c=&d e"))["CallbackUrl"])
    assert parse_qs(url.query) == {"order": ["order-0"], "token": ["a+b/c=&d e"]}


def test_call_has_timeouts_and_uses_no_proxy(
    load: Callable[..., ModuleType], factory: FakeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    assert handle(load("consumer", FACTORY_DEADLINE="13"), record()) == []
    assert handle(load("consumer", FACTORY_DEADLINE="2"), record()) == []
    assert factory.timeouts == [(3, 13), (2, 2)]
    assert not any(factory.proxies)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_response_places_the_order(
    status: int, consumer: ModuleType, factory: FakeFactory
) -> None:
    factory.respond = lambda request: response(status, b"" if status == 204 else b"{}")
    assert handle(consumer, record()) == []


def respond_with(status: int, **headers: str) -> Respond:
    return lambda request: response(status, **headers)


FAILURES: dict[str, Respond] = {
    **{
        f"{status}": respond_with(status)
        for status in (300, 304, 400, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504)
    },
    **{
        f"{status} with a location": respond_with(status, Location="http://elsewhere.test/")
        for status in (301, 302, 303, 307, 308)
    },
    "connection refused": failing(requests.ConnectionError("[Errno 111] Connection refused")),
    "no response": failing(requests.ReadTimeout("read timed out")),
    "defect": failing(KeyError("홍길동")),
    "cut off": lambda request: response(201, b"{", **{"Content-Length": "100"}),
    "endless": lambda request: response(201, EndlessBody(chunk=64 * 1024)),
}


@pytest.mark.parametrize("respond", FAILURES.values(), ids=FAILURES)
def test_failed_message_returns_alone_and_is_posted_once(
    respond: Respond, consumer: ModuleType, factory: FakeFactory
) -> None:
    factory.respond = lambda request: (
        respond(request) if request.headers["Idempotency-Key"] == "order-1" else response(201)
    )
    assert handle(consumer, record(0), record(1), record(2)) == ["message-1"]
    assert factory.order_ids() == ["order-0", "order-1", "order-2"]


def test_malformed_message_fails_alone_among_ten(
    consumer: ModuleType, factory: FakeFactory
) -> None:
    records = [
        record(number, body='{"not": "an order"}' if number == 3 else None) for number in range(10)
    ]
    assert handle(consumer, *records) == ["message-3"]
    assert factory.order_ids() == [f"order-{number}" for number in range(10) if number != 3]


def test_batch_of_malformed_messages_is_not_posted(
    consumer: ModuleType, factory: FakeFactory
) -> None:
    assert handle(consumer, record(0, body=""), record(1, body="[")) == ["message-0", "message-1"]
    assert factory.requests == []


def test_batch_is_posted_concurrently(consumer: ModuleType, factory: FakeFactory) -> None:
    everyone = threading.Barrier(10)

    def respond(request: requests.PreparedRequest) -> urllib3.HTTPResponse:
        everyone.wait(timeout=5)
        return response(201)

    factory.respond = respond
    assert handle(consumer, *map(record, range(10))) == []


@pytest.mark.parametrize(
    ("factory_deadline", "remaining"),
    [("0.1", 20), ("13", 1.6)],
    ids=["the factory's time", "the function's time"],
)
def test_post_that_does_not_end_is_reported_in_time(
    factory_deadline: str,
    remaining: float,
    load: Callable[..., ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = load("consumer", FACTORY_DEADLINE=factory_deadline)
    monkeypatch.setattr(consumer, "postpone", lambda record, order: None)
    release, done = threading.Event(), threading.Event()

    def post(order: messages.ProductionOrder, *, until: float) -> None:
        if order.order_id == "order-1":
            release.wait(timeout=5)
            done.set()

    monkeypatch.setattr(consumer, "post", post)
    start = time.monotonic()
    try:
        assert handle(consumer, record(0), record(1), remaining=remaining) == ["message-1"]
        assert time.monotonic() < start + remaining, "no time was left for postponing"
        assert not done.is_set()
    finally:
        release.set()
        done.wait(timeout=5)


def test_post_that_has_not_begun_in_time_is_never_made(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message returns to the queue, so the factory would get the order twice."""
    consumer = load("consumer", FACTORY_DEADLINE="0.1")
    monkeypatch.setattr(consumer, "postpone", lambda record, order: None)
    executor = ThreadPoolExecutor(max_workers=1)  # the second thread does not start
    monkeypatch.setattr(consumer, "ThreadPoolExecutor", lambda max_workers: executor)
    release, begun = threading.Event(), []

    def post(order: messages.ProductionOrder, *, until: float) -> None:
        begun.append(order.order_id)
        release.wait(timeout=5)

    monkeypatch.setattr(consumer, "post", post)
    try:
        assert handle(consumer, record(0), record(1)) == ["message-0", "message-1"]
    finally:
        release.set()
        executor.shutdown()
    assert begun == ["order-0"]


def test_response_in_single_bytes_ends_at_the_deadline(
    consumer: ModuleType, factory: FakeFactory
) -> None:
    body = EndlessBody(chunk=1)
    factory.respond = lambda request: response(201, body)
    with pytest.raises(consumer.FactoryError, match="does not end"):
        consumer.post(ORDER, until=time.monotonic())
    assert body.reads == 1


def test_response_may_have_one_mebibyte(consumer: ModuleType, factory: FakeFactory) -> None:
    """A longer one is not read to its end."""
    factory.respond = lambda request: response(201, bytes(1024 * 1024))
    assert handle(consumer, record()) == []
    factory.respond = lambda request: response(201, bytes(1024 * 1024 + 1))
    assert handle(consumer, record()) == ["message-0"]


def test_response_is_not_decompressed(consumer: ModuleType, factory: FakeFactory) -> None:
    """Nobody reads it, so it does not matter that it can't be."""
    headers = {"content-encoding": "gzip"}
    factory.respond = lambda request: response(201, b"not compressed", **headers)
    assert handle(consumer, record()) == []


@pytest.mark.parametrize("line", [b"long line\n", b"long "], ids=["longer", "as long as the limit"])
def test_header_line_is_read_up_to_a_limit(line: bytes, consumer: ModuleType) -> None:
    assert consumer.WholeLines(io.BytesIO(line)).readline(5) == b"long "


def test_log_says_why_an_order_is_not_placed(
    consumer: ModuleType, factory: FakeFactory, caplog: pytest.LogCaptureFixture
) -> None:
    factory.respond = lambda request: response(500)
    handle(consumer, record())
    factory.respond = lambda request: response(201, EndlessBody(chunk=64 * 1024))
    handle(consumer, record())
    consumer.is_placed(record(), ORDER, Future())
    assert [vars(line)["reason"] for line in caplog.records] == [
        "the factory returned status 500",
        "the response does not end",
        "no complete response in time",
    ]


def test_post_that_never_began_is_not_placed(consumer: ModuleType) -> None:
    outcome: Future[None] = Future()
    outcome.cancel()
    assert not consumer.is_placed(record(), ORDER, outcome)


# --- postponing ---


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch, factory: FakeFactory) -> Iterator[Stubber]:
    """Stub the consumer's SQS client. The factory fails, so that messages are postponed."""
    factory.respond = respond_with(503)
    client = boto3.client("sqs")
    clients = {("sqs", deadline.POSTPONE): client}
    monkeypatch.setattr(aws, "client", lambda *arguments: clients[arguments])
    with Stubber(client) as stub:
        yield stub


@pytest.mark.parametrize(
    ("receives", "seconds"), [(1, 90), (2, 180), (3, 360), (4, 720), (5, 0), (6, 0)]
)
def test_failed_message_is_postponed_longer_each_time(
    receives: int, seconds: int, load: Callable[..., ModuleType], sqs: Stubber
) -> None:
    """After its last receive, it goes to the dead-letter queue without a delay."""
    consumer = load("consumer", STOCK_QUEUE_URL="https://queue.test/stock_queue", RETRY_DELAY="90")
    sqs.add_response(
        "change_message_visibility",
        {},
        {
            "QueueUrl": "https://queue.test/stock_queue",
            "ReceiptHandle": "receipt-0",
            "VisibilityTimeout": seconds,
        },
    )
    assert handle(consumer, record(receives=receives)) == ["message-0"]
    sqs.assert_no_pending_responses()


def test_message_that_cannot_be_postponed_still_returns(
    load: Callable[..., ModuleType], sqs: Stubber
) -> None:
    sqs.add_client_error("change_message_visibility", "AccessDenied")
    assert handle(load("consumer"), record()) == ["message-0"]
    sqs.assert_no_pending_responses()


# --- logs ---


@pytest.mark.parametrize("respond", FAILURES.values(), ids=FAILURES)
def test_log_has_the_order_but_neither_requester_nor_token(
    respond: Respond,
    consumer: ModuleType,
    factory: FakeFactory,
    logged: Callable[[], str],
) -> None:
    factory.respond = respond
    handle(consumer, record(0), record(1, body='{"MessageAttributes": "홍길동"}'))
    assert "order-0" in logged()
    assert "message-1" in logged()
    assert "홍길동" not in logged()
    assert "s3cr3t" not in logged()
