"""No handler raises an exception whose text may quote a customer: Lambda would log it."""

import ast
import traceback
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import boto3
import pymysql
import pytest
from botocore.exceptions import ClientError, ParamValidationError

from common import database, failures, messages
from settings import PROJECT
from tests.support.fakes import FakeSecrets, failing, failing_store

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
    "verb": "orders",
    "claimed_by": "arn:aws:iam::000000000000:root",
    "Records": [
        {
            "messageId": "m",
            "receiptHandle": "r",
            "body": "{}",
            "attributes": {"ApproximateReceiveCount": CANARY, "SentTimestamp": CANARY},
        }
    ],
}
CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 20_000)
HANDLERS = {handler.parent.name: handler for handler in PROJECT.glob("lambdas/*/handler.py")}
"""Function → its handler's file."""


def failing_relay(
    load: Callable[..., ModuleType], patch: pytest.MonkeyPatch, error: Exception
) -> ModuleType:
    relay = load("relay", STOCK_EMPTY_TOPIC_ARN="the-topic")
    patch.setattr(relay, "store", failing_store(error))
    return relay


def failing_consumer(
    load: Callable[..., ModuleType], patch: pytest.MonkeyPatch, error: Exception
) -> ModuleType:
    consumer = load("consumer")
    patch.setattr(messages, "parse", failing(error))
    patch.setattr(consumer, "postpone", failing(error))
    return consumer


def failing_operator(
    load: Callable[..., ModuleType], patch: pytest.MonkeyPatch, error: Exception
) -> ModuleType:
    operate = load("operate")
    patch.setattr(operate, "store", failing_store(error))
    return operate


def failing_migration(
    load: Callable[..., ModuleType], patch: pytest.MonkeyPatch, error: Exception
) -> ModuleType:
    migrate = load("migrate", DATABASE_SECRET_ARN="master")
    secrets = FakeSecrets({"master": {"username": "admin", "password": "p"}})
    patch.setattr(migrate, "secret", secrets.secret)
    patch.setattr(migrate, "connect", failing(error))
    return migrate


@pytest.mark.parametrize("function", sorted(HANDLERS))
def test_each_handler_is_guarded(function: str) -> None:
    """Both decorators catch every exception. Another one around them might raise what they caught."""
    decorators = [
        ast.unparse(node.decorator_list[0]).partition("(")[0] if node.decorator_list else None
        for node in ast.parse(HANDLERS[function].read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "handler"
    ]
    assert decorators in (["failures.guarded"], ["http_api.endpoint"]), (
        f"lambdas/{function}/handler.py: decorate handler with @failures.guarded(), or with "
        "@http_api.endpoint if it has a route, so that Lambda does not log customers' data"
    )


def text_that_lambda_logs(error: BaseException) -> str:
    """Return the traceback that Lambda logs, and the causes, which it does not log."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("name", QUOTING)
@pytest.mark.parametrize(
    "function", [failing_relay, failing_consumer, failing_operator, failing_migration]
)
def test_handler_raises_no_customer_data(
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
    text = text_that_lambda_logs(failure.value)
    assert CANARY not in text
    assert "in fail" in text, "the stack trace does not show where it was raised"
    assert CANARY not in caplog.text


def test_consumer_raises_no_data_of_a_malformed_record(load: Callable[..., ModuleType]) -> None:
    """SQS never sends a receive count that is not a number."""
    with pytest.raises(failures.Failed) as failure:
        load("consumer").handler(EVENT, CONTEXT)
    assert CANARY not in text_that_lambda_logs(failure.value)


def test_unavailable_database_is_raised_with_its_text(
    load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text contains neither host names nor values."""
    relay = failing_relay(load, monkeypatch, database.DatabaseUnavailable("OperationalError 2013"))
    with pytest.raises(database.DatabaseUnavailable, match="2013"):
        relay.handler({}, CONTEXT)


@pytest.mark.usefixtures("aws")
def test_failure_has_the_error_code_of_aws() -> None:
    with pytest.raises(ClientError) as failure:
        boto3.client("sns").publish(
            TopicArn="arn:aws:sns:ap-northeast-2:123456789012:nowhere", Message=CANARY
        )
    assert failures.described(failure.value) in (
        "ClientError NotFound",
        "NotFoundException NotFound",
    )


@pytest.mark.parametrize("response", [{}, {"Error": {}}, {"Error": {"Code": ""}}, "a response"])
def test_failure_without_an_error_code_has_its_type_only(response: object) -> None:
    error = OSError()
    error.response = response  # type: ignore[attr-defined]  # as botocore's and requests' have it
    assert failures.described(error) == "OSError"
