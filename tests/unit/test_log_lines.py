"""The functions' log lines, which metric filters, `make logs` and the runbook read by name."""

import json
import logging
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from common import aws, http_api, messages
from common.database import DatabaseUnavailable
from tests.support.fakes import (
    FakeOperateStore,
    FakeRelayStore,
    FakeRestockStore,
    FakeSalesStore,
    FakeTopic,
    failing,
)
from tests.support.orders import ORDER

Line = tuple[str, str, str, dict[str, Any]]
"""Logger, level, message and fields."""
STANDARD_FIELDS = {*vars(logging.makeLogRecord({})), "asctime", "message"}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[Line]]:
    """Return the lines that were logged so far, at the functions' own level."""
    caplog.set_level("INFO")

    def lines() -> list[Line]:
        return [
            (
                record.name,
                record.levelname,
                record.getMessage(),
                {
                    name: value
                    for name, value in vars(record).items()
                    if name not in STANDARD_FIELDS
                },
            )
            for record in caplog.records
        ]

    return lines


Lines = Callable[[], list[Line]]
Load = Callable[..., ModuleType]
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 55_000)


def test_checkout_is_logged(load: Load, monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    sales = load("sales")
    monkeypatch.setattr(sales, "store", FakeSalesStore(outcome="sold", stock=7))
    sales.handler(checkout_of(5), None)
    fields = {"outcome": "sold", "quantity": 5, "stock": 7, "order_id": None}
    assert lines() == [("sales.handler", "INFO", "checkout", fields)]


@pytest.mark.parametrize("rejected", [False, True], ids=["published", "not published"])
def test_new_order_is_logged_with_what_became_of_it(
    rejected: bool, load: Load, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    sales, store, topic = (
        load("sales"),
        FakeSalesStore(outcome="out_of_stock", stock=3),
        FakeTopic(),
    )
    monkeypatch.setattr(sales, "store", store)
    monkeypatch.setattr(
        messages, "publish", failing(ConnectionError()) if rejected else topic.publish
    )
    sales.handler(checkout_of(5), None)
    order_id = store.checkouts[0]["order_id"]
    fields = {"outcome": "out_of_stock", "quantity": 5, "stock": 3, "order_id": order_id}
    failure = {"order_id": order_id, "reason": "ConnectionError"}
    assert lines() == [
        ("sales.handler", "INFO", "checkout", fields),
        ("sales.handler", "WARNING", "left to the relay", failure)
        if rejected
        else ("sales.handler", "INFO", "published", {"order_id": order_id}),
    ]


AWS_ERROR = ClientError({"Error": {"Code": "ServiceUnavailable", "Message": "홍길동"}}, "Call")


@pytest.mark.parametrize("message", ["left to the relay", "not published", "not postponed"])
def test_failure_of_aws_is_logged_with_its_code(
    message: str, load: Load, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    monkeypatch.setattr(aws, "client", failing(AWS_ERROR))
    sales, relay, consumer = (load(function) for function in ("sales", "relay", "consumer"))
    store = FakeRelayStore()
    store.due = {0: [1]}
    monkeypatch.setattr(sales, "store", FakeSalesStore(outcome="out_of_stock"))
    monkeypatch.setattr(relay, "store", store)
    sales.handler(checkout_of(5), None)
    relay.handler({}, CONTEXT)
    consumer.handler({"Records": [record("")]}, CONTEXT)
    reasons = {said: fields.get("reason") for _, _, said, fields in lines()}
    assert reasons[message] == "ClientError ServiceUnavailable"


def checkout_of(quantity: int) -> dict[str, Any]:
    body = json.dumps({"MessageAttributeProductCnt": quantity})
    return {"routeKey": "POST /checkout", "headers": {}, "body": body}


@pytest.mark.parametrize("error", [DatabaseUnavailable("OperationalError 2003"), KeyError("이름")])
def test_failure_of_a_handler_is_logged(error: Exception, lines: Lines) -> None:
    http_api.endpoint(failing(error))({}, None)
    ((logger, level, message, fields),) = lines()
    assert logger == "common.http_api"
    assert level == "ERROR"
    if isinstance(error, DatabaseUnavailable):
        assert message == "database unavailable"
        assert fields == {"reason": "OperationalError 2003"}
    else:
        assert message == "unexpected error"
        assert fields.keys() == {"reason", "stack"}
        assert fields["reason"] == "KeyError"


def test_callback_is_logged(load: Load, monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    restock = load("restock")
    monkeypatch.setattr(restock, "store", FakeRestockStore(stock=3))
    restock.handler(callback(token=ORDER.callback_token), None)
    restock.handler(callback(token="forged"), None)
    fields = {
        "order_id": ORDER.order_id,
        "added": True,
        "stock": 3 + ORDER.quantity,
        "lead_time_seconds": 60,
    }
    assert lines() == [
        ("restock.handler", "INFO", "restock", fields),
        ("restock.handler", "WARNING", "callback rejected", {}),
    ]


AN_ID = "0a1b2c3d-0000-4000-8000-00000000000f"
NAMED_BY = {
    "a callback": {"queryStringParameters": {"order": AN_ID, "token": "forged"}},
    "GET /order": {"pathParameters": {"order_id": AN_ID}},
}
NO_ORDER: dict[str, dict[str, Any]] = {
    "no parameters": {"queryStringParameters": None},
    "a token in its place": {
        "queryStringParameters": {"order": "dG9rZW4tdG9rZW4tdG9rZW4tdG9rZW4t"}
    },
    "more than an id": {"queryStringParameters": {"order": f"{AN_ID},{AN_ID}"}},
    "a line break": {"pathParameters": {"order_id": f"{AN_ID}\n"}},
}


@pytest.mark.parametrize("event", NAMED_BY.values(), ids=NAMED_BY)
def test_failure_is_logged_with_the_order_of_its_request(
    event: dict[str, Any], lines: Lines
) -> None:
    for error in (DatabaseUnavailable("OperationalError 2003"), KeyError("이름")):
        http_api.endpoint(failing(error))(event, None)
        *_, (_, _, _, fields) = lines()
        assert fields["order_id"] == AN_ID, error


@pytest.mark.parametrize("event", NO_ORDER.values(), ids=NO_ORDER)
def test_what_is_not_an_order_id_is_not_logged(event: dict[str, Any], lines: Lines) -> None:
    http_api.endpoint(failing(DatabaseUnavailable("OperationalError 2003")))(event, None)
    ((_, _, _, fields),) = lines()
    assert fields.keys() == {"reason"}


def test_rejected_callback_is_logged_with_its_order(
    load: Load, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    restock = load("restock")
    monkeypatch.setattr(restock, "store", FakeRestockStore())
    restock.handler({"pathParameters": {"slug": "donut"}, **NAMED_BY["a callback"]}, None)
    assert lines() == [("restock.handler", "WARNING", "callback rejected", {"order_id": AN_ID})]


def callback(*, token: str) -> dict[str, Any]:
    return {
        "pathParameters": {"slug": ORDER.slug},
        "queryStringParameters": {"order": ORDER.order_id, "token": token},
    }


def test_run_of_the_relay_is_logged(
    load: Load, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    relay = load("relay")
    store, topic = FakeRelayStore(), FakeTopic(rejected={"order-2"})
    store.due, store.deleted, store.old_keys, store.old_outcomes = {0: [1, 2, 3]}, {3}, 4, 5
    monkeypatch.setattr(relay, "store", store)
    monkeypatch.setattr(messages, "publish", topic.publish)
    relay.handler({}, CONTEXT)
    rejected = {"order_id": "order-2", "reason": "ConnectionError"}
    totals = {
        "published": 1,
        "failed": 1,
        "marked_stuck": 1,
        "product_deleted": 1,
        "purged": 4,
        "purged_outcomes": 5,
        "blanked": 0,
        "oldest_unpublished_seconds": 7,
        "unpublished": 3,
        "stuck": 2,
    }
    deleted = {"order_id": "order-3", "reason": "its product was deleted"}
    assert lines() == [
        ("relay.handler", "ERROR", "not published", deleted),
        ("relay.handler", "INFO", "published", {"order_id": "order-1"}),
        ("relay.handler", "ERROR", "not published", rejected),
        ("relay.handler", "INFO", "stock", {"slug": "bagel", "stock": 0}),
        ("relay.handler", "INFO", "stock", {"slug": "donut", "stock": 10}),
        ("relay.handler", "INFO", "relay", totals),
    ]


def test_operation_is_logged_with_who_claims_to_ask(
    load: Load, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    """The reason is not logged: it may contain names."""
    operate = load("operate")
    monkeypatch.setattr(operate, "store", FakeOperateStore())
    who = {"verb": "adjust", "claimed_by": "arn:aws:iam::000000000000:user/kim"}
    fields = {"operation_id": "an-id", "slug": "donut", "amount": -2}
    operate.handler({**who, **fields, "reason": "홍길동 dropped two"}, None)
    operate.handler({**who, **fields, "reason": ""}, None)
    monkeypatch.setattr(
        operate, "store", FakeOperateStore(error=DatabaseUnavailable("OperationalError 2003"))
    )
    operate.handler({**who, **fields, "reason": "a"}, None)
    rejected = {"reason": "reason must be 1 to 200 printable characters"}
    assert lines() == [
        ("operate.handler", "INFO", "operation", {**who, **fields}),
        ("operate.handler", "WARNING", "operation rejected", {**who, **rejected}),
        (
            "operate.handler",
            "ERROR",
            "database unavailable",
            {**who, **fields, "reason": "OperationalError 2003"},
        ),
    ]


def record(body: str) -> dict[str, Any]:
    return {
        "messageId": "message-0",
        "receiptHandle": "receipt-0",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "2", "SentTimestamp": "1795478400123"},
    }


@pytest.mark.usefixtures("time_zone")
@pytest.mark.parametrize(
    ("error", "level", "message", "fields"),
    [
        (None, "INFO", "placed", {}),
        (OSError("홍길동"), "ERROR", "not placed", {"reason": "OSError"}),
    ],
    ids=["placed", "not placed"],
)
def test_placed_or_failed_order_is_logged(
    error: Exception | None,
    level: str,
    message: str,
    fields: dict[str, str],
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
    lines: Lines,
) -> None:
    consumer = load("consumer")
    monkeypatch.setattr(consumer, "post", failing(error) if error else lambda order, until: None)
    monkeypatch.setattr(consumer, "postpone", lambda record, order: None)
    consumer.handler({"Records": [record(envelope())]}, CONTEXT)
    assert lines() == [("consumer.handler", level, message, {**OF_MESSAGE, **fields})]


OF_MESSAGE = {
    "order_id": ORDER.order_id,
    "queued_at": "2026-11-24T00:00:00.123Z",
    "receives": 2,
}
"""The fields of a line about the order in a message."""


def envelope() -> str:
    """Return the body of an order's message."""
    attributes = {
        name: {"Value": str(getattr(ORDER, field))} for field, name in messages.ATTRIBUTES.items()
    }
    return json.dumps({"MessageAttributes": attributes})


def test_order_that_is_not_postponed_is_logged(
    load: Load, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    consumer = load("consumer")
    monkeypatch.setattr(consumer, "post", failing(OSError("홍길동")))
    monkeypatch.setattr(aws, "client", failing(TimeoutError("홍길동")))
    consumer.handler({"Records": [record(envelope())]}, CONTEXT)
    *_, (_, _, message, fields) = lines()
    assert message == "not postponed"
    assert fields == {
        "message_id": "message-0",
        "order_id": ORDER.order_id,
        "reason": "TimeoutError",
    }


def test_malformed_message_and_failed_postponing_are_logged(
    load: Load, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    consumer = load("consumer")
    monkeypatch.setattr(aws, "client", failing(TimeoutError("홍길동")))
    consumer.handler({"Records": [record("홍길동")]}, CONTEXT)
    reason = "not a production order: JSONDecodeError"
    assert lines() == [
        ("consumer.handler", "ERROR", "not placed", {"message_id": "message-0", "reason": reason}),
        (
            "consumer.handler",
            "WARNING",
            "not postponed",
            {"message_id": "message-0", "order_id": None, "reason": "TimeoutError"},
        ),
    ]
