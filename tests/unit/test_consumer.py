import io
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import requests
import urllib3
from botocore.stub import Stubber

from common import messages
from tests.support.orders import ORDER
from tests.support.pipe import Pipe


class Factory:
    """Stands in for the network below `requests`. Its answer may be an exception, or a function of the request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[requests.PreparedRequest] = []
        self.options: list[dict[str, Any]] = []
        self.answer: Callable[[requests.PreparedRequest], urllib3.HTTPResponse] = lambda request: (
            answered(201)
        )

        def send(
            adapter: requests.adapters.HTTPAdapter,
            request: requests.PreparedRequest,
            **options: Any,
        ) -> requests.Response:
            self.requests.append(request)
            self.options.append(options)
            return adapter.build_response(request, self.answer(request))

        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)

    def ordered(self) -> list[str]:
        return sorted(str(request.headers["Idempotency-Key"]) for request in self.requests)


class Body(io.BytesIO):
    """Closes itself when it is read to its end, as a socket's file does."""

    def read(self, amount: int | None = -1) -> bytes:
        data = super().read(amount)
        if not data:
            self.close()
        return data


def answered(status: int, body: Any = b"{}", **headers: str) -> urllib3.HTTPResponse:
    """body: bytes, or a file."""
    file = Body(body) if isinstance(body, bytes) else body
    return urllib3.HTTPResponse(file, headers=headers, status=status, preload_content=False)


@pytest.fixture
def factory(monkeypatch: pytest.MonkeyPatch) -> Factory:
    return Factory(monkeypatch)


@pytest.fixture
def consumer(load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Postponing is a matter of its own, tested below."""
    module = load("consumer")
    monkeypatch.setattr(module, "postpone", lambda record: None)
    return module


def record(number: int = 0, *, body: str | None = None, receives: int = 1) -> dict[str, Any]:
    order = replace(ORDER, order_id=f"order-{number}")
    attributes = {
        name: {"Type": "String", "Value": str(getattr(order, field))}
        for field, name in messages.ATTRIBUTES.items()
    }
    return {
        "messageId": f"message-{number}",
        "receiptHandle": f"receipt-{number}",
        "body": json.dumps({"MessageAttributes": attributes}) if body is None else body,
        "attributes": {"ApproximateReceiveCount": str(receives)},
    }


def handle(consumer: ModuleType, *records: dict[str, Any], remaining: float = 20) -> list[str]:
    """The ids of the messages that come back. remaining: seconds of the function's time."""
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: int(remaining * 1000))
    answer = consumer.handler({"Records": list(records)}, context)
    assert list(answer) == ["batchItemFailures"]
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def test_posts_the_order_as_the_factory_wants_it(consumer: ModuleType, factory: Factory) -> None:
    assert handle(consumer, record()) == []
    (request,) = factory.requests
    assert (request.method, request.url) == ("POST", "http://factory.test/api/manufactures")
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


def test_takes_what_sns_delivers(pipe: Pipe, consumer: ModuleType, factory: Factory) -> None:
    messages.publish(ORDER, topic_arn=pipe.topic_arn)
    (message,) = pipe.receive()
    assert handle(consumer, record(body=message["Body"])) == []
    assert factory.ordered() == ["order-0"]


def test_the_callback_keeps_any_token(consumer: ModuleType) -> None:
    url = urlsplit(consumer.payload(replace(ORDER, callback_token="a+b/c=&d e"))["CallbackUrl"])
    assert parse_qs(url.query) == {"order": ["order-0"], "token": ["a+b/c=&d e"]}


def test_the_call_is_bounded_and_direct(
    load: Callable[..., ModuleType], factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.test:3128")
    assert handle(load("consumer", FACTORY_DEADLINE="13"), record()) == []
    assert handle(load("consumer", FACTORY_DEADLINE="2"), record()) == []
    assert [options["timeout"] for options in factory.options] == [(3, 13), (2, 2)]
    assert not any(options["proxies"] for options in factory.options)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_done(status: int, consumer: ModuleType, factory: Factory) -> None:
    factory.answer = lambda request: answered(status, b"" if status == 204 else b"{}")
    assert handle(consumer, record()) == []


class Endless:
    """A body that never ends. piece: how much of it comes at a time."""

    closed = False

    def __init__(self, *, piece: int) -> None:
        self.piece, self.reads = piece, 0

    def read1(self, amount: int = -1) -> bytes:
        assert amount > 0, "reads it all"
        self.reads += 1
        return b"x" * min(amount, self.piece)

    def read(self, amount: int = -1) -> bytes:
        raise AssertionError("waits for a full piece")

    def close(self) -> None:
        self.closed = True


def answers(
    status: int, **headers: str
) -> Callable[[requests.PreparedRequest], urllib3.HTTPResponse]:
    return lambda request: answered(status, **headers)


def fails(error: Exception) -> Callable[[requests.PreparedRequest], urllib3.HTTPResponse]:
    def answer(request: requests.PreparedRequest) -> urllib3.HTTPResponse:
        raise error

    return answer


FAILURES: dict[str, Callable[[requests.PreparedRequest], urllib3.HTTPResponse]] = {
    **{
        f"{status}": answers(status)
        for status in (300, 304, 400, 403, 404, 408, 409, 422, 429, 500, 502, 503, 504)
    },
    **{
        f"{status} to elsewhere": answers(status, Location="http://elsewhere.test/")
        for status in (301, 302, 303, 307, 308)
    },
    "refused": fails(requests.ConnectionError("[Errno 111] Connection refused")),
    "no answer": fails(requests.ReadTimeout("read timed out")),
    "bug": fails(KeyError("홍길동")),
    "cut off": lambda request: answered(201, b"{", **{"Content-Length": "100"}),
    "endless": lambda request: answered(201, Endless(piece=64 * 1024)),
}


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
def test_a_failed_message_returns_alone_and_is_posted_once(
    answer: Callable[[requests.PreparedRequest], urllib3.HTTPResponse],
    consumer: ModuleType,
    factory: Factory,
) -> None:
    factory.answer = lambda request: (
        answer(request) if request.headers["Idempotency-Key"] == "order-1" else answered(201)
    )
    assert handle(consumer, record(0), record(1), record(2)) == ["message-1"]
    assert factory.ordered() == ["order-0", "order-1", "order-2"]


def test_a_poison_message_fails_alone_among_ten(consumer: ModuleType, factory: Factory) -> None:
    records = [
        record(number, body='{"not": "an order"}' if number == 3 else None) for number in range(10)
    ]
    assert handle(consumer, *records) == ["message-3"]
    assert factory.ordered() == [f"order-{number}" for number in range(10) if number != 3]


def test_a_batch_of_poison_reaches_no_factory(consumer: ModuleType, factory: Factory) -> None:
    assert handle(consumer, record(0, body=""), record(1, body="[")) == ["message-0", "message-1"]
    assert factory.requests == []


def test_a_batch_is_posted_all_at_once(consumer: ModuleType, factory: Factory) -> None:
    everyone = threading.Barrier(10)

    def answer(request: requests.PreparedRequest) -> urllib3.HTTPResponse:
        everyone.wait(timeout=5)
        return answered(201)

    factory.answer = answer
    assert handle(consumer, *map(record, range(10))) == []


@pytest.mark.parametrize(
    ("deadline", "remaining"),
    [("0.1", 20), ("13", 1.6)],
    ids=["the factory's time", "the function's time"],
)
def test_a_post_that_never_ends_is_reported_in_time(
    deadline: str,
    remaining: float,
    load: Callable[..., ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = load("consumer", FACTORY_DEADLINE=deadline)
    monkeypatch.setattr(consumer, "postpone", lambda record: None)
    release, done = threading.Event(), threading.Event()

    def post(order: messages.ProductionOrder, *, deadline: float) -> None:
        if order.order_id == "order-1":
            release.wait(timeout=5)
            done.set()

    monkeypatch.setattr(consumer, "post", post)
    try:
        assert handle(consumer, record(0), record(1), remaining=remaining) == ["message-1"]
        assert not done.is_set()
    finally:
        release.set()
        done.wait(timeout=5)


def test_a_dripping_answer_ends_at_the_deadline(consumer: ModuleType, factory: Factory) -> None:
    drops = Endless(piece=1)
    factory.answer = lambda request: answered(201, drops)
    with pytest.raises(consumer.FactoryError, match="does not end"):
        consumer.post(ORDER, deadline=time.monotonic())
    assert drops.reads == 1


def test_a_post_that_never_began_is_not_placed(consumer: ModuleType) -> None:
    outcome: Future[None] = Future()
    outcome.cancel()
    assert not consumer.is_placed(ORDER, outcome)


@pytest.mark.parametrize(
    ("receives", "seconds"), [(1, 90), (2, 180), (3, 360), (4, 720), (5, 0), (6, 0)]
)
def test_a_failed_message_comes_back_later_each_time_and_is_buried_at_once(
    receives: int,
    seconds: int,
    load: Callable[..., ModuleType],
    factory: Factory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consumer = load("consumer", STOCK_QUEUE_URL="https://queue.test/stock_queue", RETRY_DELAY="90")
    factory.answer = lambda request: answered(503)
    sqs = boto3.client("sqs")
    monkeypatch.setattr(consumer, "_sqs", lambda: sqs)
    with Stubber(sqs) as stub:
        stub.add_response(
            "change_message_visibility",
            {},
            {
                "QueueUrl": "https://queue.test/stock_queue",
                "ReceiptHandle": "receipt-0",
                "VisibilityTimeout": seconds,
            },
        )
        assert handle(consumer, record(receives=receives)) == ["message-0"]
        stub.assert_no_pending_responses()


def test_a_message_that_could_not_be_postponed_still_returns(
    load: Callable[..., ModuleType], factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = load("consumer")
    factory.answer = lambda request: answered(503)
    sqs = boto3.client("sqs")
    monkeypatch.setattr(consumer, "_sqs", lambda: sqs)
    with Stubber(sqs) as stub:
        stub.add_client_error("change_message_visibility", "AccessDenied")
        assert handle(consumer, record()) == ["message-0"]


@pytest.mark.parametrize("answer", FAILURES.values(), ids=FAILURES)
def test_logs_the_order_but_neither_requester_nor_token(
    answer: Callable[[requests.PreparedRequest], urllib3.HTTPResponse],
    consumer: ModuleType,
    factory: Factory,
    logged: Callable[[], str],
) -> None:
    factory.answer = answer
    handle(consumer, record(0), record(1, body='{"MessageAttributes": "홍길동"}'))
    assert "order-0" in logged()
    assert "message-1" in logged()
    assert "홍길동" not in logged()
    assert "s3cr3t" not in logged()
