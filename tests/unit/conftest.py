import importlib
import socket
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

from common import messages

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_REGION": "ap-northeast-2",
    "AWS_DEFAULT_REGION": "ap-northeast-2",
    "DATABASE_HOST": "database.test",
    "DATABASE_PORT": "13306",
    "DATABASE_NAME": "shop",
    "DATABASE_CA_FILE": "common/rds-ca-ap-northeast-2.pem",
    "STOCK_EMPTY_TOPIC_ARN": "unset",
    "MAX_ORDER": "1000",
    "PUBLISH_WITHIN": "30",
    "OVERDUE": "900",
    "FACTORY_URL": "http://factory.test/api/manufactures",
    "FACTORY_DEADLINE": "13",
    "PUBLIC_URL": "https://shop.test",
    "STOCK_QUEUE_URL": "unset",
    "RETRY_DELAY": "90",
    "MAX_RECEIVES": "5",
}


@pytest.fixture(autouse=True)
def _no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("a unit test reached for the network")  # no `except Exception` hides it

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "DATABASE_SECRET_ARN", "DATABASE_USER", "USER_SECRET_ARNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """A function's handler module, imported anew with these environment variables on top."""

    def load(name: str, **environment: str) -> ModuleType:
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        monkeypatch.delitem(sys.modules, f"{name}.handler", raising=False)
        return importlib.import_module(f"{name}.handler")

    return load


@pytest.fixture
def aws() -> Iterator[None]:
    """AWS in memory."""
    sns = messages._sns
    sns.cache_clear()
    with mock_aws():
        yield
    sns.cache_clear()


class Pipe:
    """A topic and the queue that is subscribed to it, as the messaging stack wires them."""

    def __init__(self) -> None:
        sns, self._sqs = boto3.client("sns"), boto3.client("sqs")
        self.queue_url: str = self._sqs.create_queue(QueueName="stock_queue")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["QueueArn"])["Attributes"]
        self.topic_arn: str = sns.create_topic(Name="stock_empty")["TopicArn"]
        sns.subscribe(TopicArn=self.topic_arn, Protocol="sqs", Endpoint=attributes["QueueArn"])

    def receive(self) -> list[dict[str, Any]]:
        """SQS's messages, with their system attributes."""
        received = self._sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )
        return list(received.get("Messages", []))


@pytest.fixture
def pipe(aws: None) -> Pipe:
    return Pipe()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that was logged so far, at the functions' own level: messages, tracebacks and extra fields."""
    caplog.set_level("INFO")
    return lambda: "\n".join([caplog.text, *(repr(vars(record)) for record in caplog.records)])
