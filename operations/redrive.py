"""Move production orders from the dead-letter queue back to the queue: receive, send, delete.

Other messages stay, and are listed without their contents, unless they are discarded.

SQS's own StartMessageMoveTask does not support a queue that SNS sends to. A message is deleted only
after it has been sent, so an interruption may send a message twice but never loses one.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from common import messages
from operations import aws, terminal
from operations.operate import render
from settings import ENVIRONMENTS, Settings

WAIT_SECONDS = 2
HIDDEN_SECONDS = 600
"""How long a received message is hidden at most: longer than all of them take."""

Message = Mapping[str, Any]


class DeadLetters:
    """The messages of the dead-letter queue, in a `with` block.

    Those that are received and not deleted can be received again from the end of the block on.
    """

    def __init__(self, sqs: Any, url: str) -> None:
        self.sqs = sqs
        self._url = url
        self._hidden: dict[str, Message] = {}

    def __enter__(self) -> "DeadLetters":
        return self

    def __exit__(self, *_: object) -> None:
        for message in self._hidden.values():
            self.sqs.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )

    def receive(self) -> Iterator[Message]:
        """Yield messages until a receive returns none."""
        while received := self.sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=WAIT_SECONDS,
            VisibilityTimeout=HIDDEN_SECONDS,
            AttributeNames=["SentTimestamp"],
        ).get("Messages", []):
            self._hidden.update({message["MessageId"]: message for message in received})
            yield from received

    def delete(self, message: Message) -> None:
        self.sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        del self._hidden[message["MessageId"]]


def reason_against(message: Message) -> str | None:
    """Return why the consumer would not take the message for a production order, or None.

    The reason repeats nothing of the message.
    """
    try:
        messages.parse(message["Body"])
    except ValueError as error:
        return str(error)
    return None


def redrive(dead_letters: DeadLetters, *, target_url: str) -> tuple[int, list[Message]]:
    """Move the production orders. Return their number, and the other messages."""
    moved, others = 0, {}
    for message in dead_letters.receive():
        if reason_against(message):
            others[message["MessageId"]] = message  # it may be received again while this runs
        else:
            dead_letters.sqs.send_message(QueueUrl=target_url, MessageBody=message["Body"])
            dead_letters.delete(message)
            moved += 1
    return moved, [*others.values()]


def described(message: Message) -> dict[str, object]:
    """Return what may be shown of a message: neither a name nor a callback token."""
    sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
    return {
        "message_id": message["MessageId"],
        "sent_at": f"{sent:%Y-%m-%dT%H:%M:%SZ}",
        "bytes": len(message["Body"].encode()),
        "reason": reason_against(message),
    }


def run(settings: Settings, *, discard: bool, yes: bool) -> None:
    """Move the orders, and list the other messages. Raises terminal.Declined.

    discard: delete the other messages. yes: do not ask before that.
    """
    source, target = settings.queue_name("stock_dlq"), settings.queue_name("stock_queue")
    sqs = aws.client("sqs")
    source_url, target_url = (
        sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in (source, target)
    )
    with DeadLetters(sqs, source_url) as dead_letters:
        moved, others = redrive(dead_letters, target_url=target_url)
        print(f"moved {moved} message(s) from {source} to {target}")
        if not others:
            return
        rows = [described(message) for message in others]
        title = f"not production orders, in {source}"
        print(render({"title": title, "rows": rows, "cut": False}))
        if not discard:
            print(f"`ENV={settings.name} DISCARD=1 make redrive` deletes them.")
            return
        if not yes:
            question = f"Delete these {len(others)} message(s)?"
            terminal.confirm(question, otherwise="Nothing was deleted")
        for message in others:
            dead_letters.delete(message)
        print(f"deleted {len(others)} message(s)")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m operations.redrive", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("environment", choices=ENVIRONMENTS)
    parser.add_argument("--discard", action="store_true", help="delete the other messages")
    parser.add_argument("--yes", action="store_true", help="do not ask before deleting")
    arguments = parser.parse_args()
    settings = ENVIRONMENTS[arguments.environment]
    with aws.errors_as_sentences():
        try:
            run(settings, discard=arguments.discard, yes=arguments.yes)
        except terminal.Declined as reason:
            sys.exit(str(reason))


if __name__ == "__main__":
    main()
