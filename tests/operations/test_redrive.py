"""`make redrive` moves messages from the dead-letter queue back to the queue, and loses none."""

import sys
from typing import Any

import boto3
import pytest

from operations import redrive as operation
from operations.redrive import redrive

BODIES = [f"order {number}" for number in range(25)]

pytestmark = pytest.mark.usefixtures("aws")


class Queues:
    def __init__(self) -> None:
        self.sqs = boto3.client("sqs")
        self.dead_letters, self.queue = (
            self.sqs.create_queue(QueueName=f"{name}_dev", Attributes={"VisibilityTimeout": "0"})[
                "QueueUrl"
            ]
            for name in ("stock_dlq", "stock_queue")
        )
        for body in BODIES:
            self.sqs.send_message(QueueUrl=self.dead_letters, MessageBody=body)

    def redrive(self, sqs: Any = None) -> int:
        return redrive(sqs or self.sqs, source_url=self.dead_letters, target_url=self.queue)

    def take_all(self, url: str) -> list[str]:
        bodies = []
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                bodies.append(message["Body"])
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return sorted(bodies)


@pytest.fixture
def queues(aws: None, monkeypatch: pytest.MonkeyPatch) -> Queues:
    monkeypatch.setattr(operation, "WAIT_SECONDS", 0)
    return Queues()


class Interrupted:
    """An SQS client that is interrupted after this many calls of one method."""

    def __init__(self, sqs: Any, *, method: str, after: int) -> None:
        self.sqs, self.method, self.left = sqs, method, after

    def __getattr__(self, name: str) -> Any:
        if name == self.method:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        return getattr(self.sqs, name)


def test_every_message_moves(queues: Queues) -> None:
    assert queues.redrive() == len(BODIES)
    assert queues.take_all(queues.queue) == sorted(BODIES)
    assert queues.take_all(queues.dead_letters) == []


def test_empty_queue_moves_nothing(queues: Queues) -> None:
    queues.take_all(queues.dead_letters)
    assert queues.redrive() == 0


@pytest.mark.parametrize("method", ["send_message", "delete_message"])
def test_interrupted_redrive_loses_no_message(queues: Queues, method: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        queues.redrive(Interrupted(queues.sqs, method=method, after=3))
    queues.redrive()
    arrived = queues.take_all(queues.queue)
    assert set(arrived) == set(BODIES)
    assert len(arrived) <= len(BODIES) + 1
    assert queues.take_all(queues.dead_letters) == []


def test_command_moves_messages_of_its_environment(
    queues: Queues, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setattr(sys, "argv", ["redrive", "dev"])
    operation.main()
    assert capsys.readouterr().out == "moved 25 message(s) from stock_dlq_dev to stock_queue_dev\n"
    assert queues.take_all(queues.queue) == sorted(BODIES)


def test_unknown_environment_is_rejected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["redrive", "production"])
    with pytest.raises(SystemExit):
        operation.main()
    assert "invalid choice: 'production'" in capsys.readouterr().err
