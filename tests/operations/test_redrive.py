"""`make redrive` moves production orders from the dead-letter queue back to the queue.

It loses none, and deletes other messages only if it is told to.
"""

import json
import sys
from typing import Any

import boto3
import pytest

from common import messages
from operations import redrive as operation
from operations import terminal
from operations.redrive import DeadLetters, redrive
from tests.support.orders import ORDER


def body(number: int, **changes: str) -> str:
    """Return the body of a production order's message. changes: of its attributes, by field."""
    values = ORDER._asdict() | {"order_id": f"order-{number}", **changes}
    attributes = {
        name: {"Type": "String", "Value": str(values[field])}
        for field, name in messages.ATTRIBUTES.items()
    }
    return json.dumps({"MessageAttributes": attributes})


BODIES = sorted(body(number) for number in range(25))
MALFORMED = {
    "hello not json": "not a production order: JSONDecodeError",
    "{}": "not a production order: KeyError",
    body(0, quantity="many"): "not a production order: the quantity is not a number",
}
"""Body → why it is not a production order."""
MOVED = "moved 25 message(s) from stock_dlq_dev to stock_queue_dev"

pytestmark = pytest.mark.usefixtures("aws")


class Queues:
    def __init__(self) -> None:
        self.sqs = boto3.client("sqs")
        self.dead_letters, self.queue = (
            self.sqs.create_queue(QueueName=f"{name}_dev")["QueueUrl"]
            for name in ("stock_dlq", "stock_queue")
        )
        self.fill(*BODIES)

    def fill(self, *bodies: str) -> None:
        for text in bodies:
            self.sqs.send_message(QueueUrl=self.dead_letters, MessageBody=text)

    def redrive(self, sqs: Any = None) -> int:
        with DeadLetters(sqs or self.sqs, self.dead_letters) as dead_letters:
            moved, _ = redrive(dead_letters, target_url=self.queue)
            return moved

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


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command, and return what it prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["redrive", "dev", *arguments])
        operation.main()
    return capsys.readouterr().out


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


def test_every_production_order_moves(queues: Queues) -> None:
    assert queues.redrive() == len(BODIES)
    assert queues.take_all(queues.queue) == BODIES
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
    assert run(capsys) == f"{MOVED}\n"
    assert queues.take_all(queues.queue) == BODIES


def test_other_messages_stay_and_are_listed_without_their_contents(
    queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    queues.fill(*MALFORMED)
    first, title, header, *rows, hint = run(capsys).splitlines()
    assert first == MOVED
    assert title == "not production orders, in stock_dlq_dev:"
    assert header.split() == ["message_id", "sent_at", "bytes", "reason"]
    assert hint == "`ENV=dev DISCARD=1 make redrive` deletes them."
    assert {tuple(row.split(maxsplit=3)[2:]) for row in rows} == {
        (str(len(text.encode())), reason) for text, reason in MALFORMED.items()
    }
    printed = "\n".join(rows)
    for secret in ("hello", ORDER.requester, ORDER.callback_token):
        assert secret not in printed, secret
    assert queues.take_all(queues.queue) == BODIES
    assert queues.take_all(queues.dead_letters) == sorted(MALFORMED), "they can be received again"


@pytest.mark.parametrize("how", ["typed", "--yes"])
def test_discard_deletes_exactly_what_is_listed(
    how: str,
    queues: Queues,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    queues.fill(*MALFORMED)

    def ask(question: str) -> str:
        assert how == "typed"
        assert question == "Delete these 3 message(s)? Type yes to continue: "
        queues.fill("sent meanwhile")
        return "yes"

    monkeypatch.setattr(terminal, "ask", ask)
    arguments = ["--discard", *(["--yes"] if how == "--yes" else [])]
    assert run(capsys, *arguments).splitlines()[-1] == "deleted 3 message(s)"
    left = ["sent meanwhile"] if how == "typed" else []
    assert queues.take_all(queues.dead_letters) == left
    assert queues.take_all(queues.queue) == BODIES


def test_discard_without_a_yes_deletes_nothing(
    queues: Queues, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queues.fill(*MALFORMED)
    monkeypatch.setattr(terminal, "ask", lambda question: "no")
    with pytest.raises(SystemExit, match=r"^Nothing was deleted\.$"):
        run(capsys, "--discard")
    assert queues.take_all(queues.dead_letters) == sorted(MALFORMED)


def test_discard_without_a_terminal_deletes_nothing(
    queues: Queues, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queues.fill(*MALFORMED)
    monkeypatch.setattr(terminal, "TERMINAL", "/nowhere/tty")
    with pytest.raises(SystemExit, match="YES=1 skips the question"):
        run(capsys, "--discard")
    assert queues.take_all(queues.dead_letters) == sorted(MALFORMED)


def test_discard_asks_nothing_if_there_are_only_orders(
    queues: Queues, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "--discard") == f"{MOVED}\n"


def test_unknown_environment_is_rejected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["redrive", "production"])
    with pytest.raises(SystemExit):
        operation.main()
    assert "invalid choice: 'production'" in capsys.readouterr().err
