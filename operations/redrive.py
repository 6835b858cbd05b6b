"""Move the messages of the dead-letter queue back to the queue: receive, send, delete.

SQS's own StartMessageMoveTask does not support a queue that SNS sends to. A message is deleted only
after it has been sent, so an interruption may send a message twice but never loses one.
"""

import argparse
from typing import Any

from operations import aws
from settings import ENVIRONMENTS

WAIT_SECONDS = 2


def redrive(sqs: Any, *, source_url: str, target_url: str) -> int:
    """Move messages until a receive returns none. Return the number of messages moved."""
    moved = 0
    while messages := sqs.receive_message(
        QueueUrl=source_url, MaxNumberOfMessages=10, WaitTimeSeconds=WAIT_SECONDS
    ).get("Messages", []):
        for message in messages:
            sqs.send_message(QueueUrl=target_url, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=source_url, ReceiptHandle=message["ReceiptHandle"])
            moved += 1
    return moved


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m operations.redrive", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("environment", choices=ENVIRONMENTS)
    settings = ENVIRONMENTS[parser.parse_args().environment]
    source, target = settings.queue_name("stock_dlq"), settings.queue_name("stock_queue")
    with aws.errors_as_sentences():
        sqs = aws.client("sqs")
        moved = redrive(
            sqs,
            source_url=sqs.get_queue_url(QueueName=source)["QueueUrl"],
            target_url=sqs.get_queue_url(QueueName=target)["QueueUrl"],
        )
    print(f"moved {moved} message(s) from {source} to {target}")


if __name__ == "__main__":
    main()
