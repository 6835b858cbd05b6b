"""No function lets an exception out whose text may quote a customer: Lambda itself would log it."""

import traceback
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pymysql
import pytest
from botocore.exceptions import ClientError, ParamValidationError

from common import database, failures, messages

CANARY = "홍길동-canary"
QUOTING: dict[str, Exception] = {
    "IntegrityError 1062": pymysql.IntegrityError(
        1062, f"Duplicate entry '{CANARY}' for key 'name'"
    ),
    "OperationalError 1292": pymysql.OperationalError(
        1292, f"Truncated incorrect DOUBLE value: '{CANARY}'"
    ),
    "InterfaceError": pymysql.InterfaceError(CANARY),
    "ClientError InvalidParameter": ClientError(
        {"Error": {"Code": "InvalidParameter", "Message": CANARY}}, "Publish"
    ),
    "ParamValidationError": ParamValidationError(report=CANARY),
    "ValueError": ValueError(CANARY),
    "KeyError": KeyError(CANARY),
}
EVENT = {
    "Records": [
        {
            "messageId": "m",
            "receiptHandle": "r",
            "body": "{}",
            "attributes": {"ApproximateReceiveCount": CANARY},
        }
    ],
}
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 20_000)


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*args: object, **kwargs: object) -> Any:
        raise error

    return fail


class FailingStore:
    """Stands in for the store. Every method raises the error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return failing(self.error)


def fails_in_relay(
    load: Callable[..., ModuleType], patch: pytest.MonkeyPatch, error: Exception
) -> ModuleType:
    relay = load(
        "relay", STOCK_EMPTY_TOPIC_ARN="the-topic", MAX_REMINDERS="3", IDEMPOTENCY_RETENTION="9"
    )
    patch.setattr(relay, "store", FailingStore(error))
    return relay


def fails_in_consumer(
    load: Callable[..., ModuleType], patch: pytest.MonkeyPatch, error: Exception
) -> ModuleType:
    consumer = load("consumer")
    patch.setattr(messages, "parse", failing(error))
    patch.setattr(consumer, "postpone", failing(error))
    return consumer


def fails_in_migrate(
    load: Callable[..., ModuleType], patch: pytest.MonkeyPatch, error: Exception
) -> ModuleType:
    migrate = load("migrate", DATABASE_SECRET_ARN="master")
    patch.setattr(migrate, "secret", lambda arn, times: {"username": "admin", "password": "p"})
    patch.setattr(migrate, "connect", failing(error))
    return migrate


def text_that_lambda_logs(error: BaseException) -> str:
    """As awslambdaric logs it, and the causes that it does not log on top."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("name", QUOTING)
@pytest.mark.parametrize("function", [fails_in_relay, fails_in_consumer, fails_in_migrate])
def test_function_lets_no_customer_s_data_out(
    function: Callable[..., ModuleType],
    name: str,
    load: Callable[..., ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = function(load, monkeypatch, QUOTING[name])
    with pytest.raises(failures.Failed) as failure:
        module.handler(EVENT, CONTEXT)
    assert str(failure.value) == name
    assert CANARY not in text_that_lambda_logs(failure.value)
    assert "in fail" in text_that_lambda_logs(failure.value), "the stack shows where"
    assert CANARY not in caplog.text


def test_consumer_lets_nothing_out_of_a_record_that_sqs_never_sends(
    load: Callable[..., ModuleType],
) -> None:
    with pytest.raises(failures.Failed) as failure:
        load("consumer").handler(EVENT, CONTEXT)
    assert CANARY not in text_that_lambda_logs(failure.value)


def test_database_that_is_unavailable_is_told_as_it_is(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text contains neither host names nor values."""
    relay = fails_in_relay(load, monkeypatch, database.DatabaseUnavailable("OperationalError 2013"))
    with pytest.raises(database.DatabaseUnavailable, match="2013"):
        relay.handler({}, CONTEXT)


def test_aws_s_code_is_told(aws: None) -> None:
    with pytest.raises(ClientError) as failure:
        boto3.client("sns").publish(
            TopicArn="arn:aws:sns:ap-northeast-2:123456789012:nowhere", Message=CANARY
        )
    assert failures.described(failure.value) in (
        "ClientError NotFound",
        "NotFoundException NotFound",
    )
