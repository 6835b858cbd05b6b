"""A topic and its queue, in moto's AWS."""

import functools
from typing import Any

import boto3


@functools.cache
def session() -> boto3.Session:
    """Return the boto3 session of all tests. Each new session reads the services' models again."""
    return boto3.Session()


class Pipe:
    """A topic and the queue that is subscribed to it, as the messaging stack connects them."""

    def __init__(self) -> None:
        sns, self._sqs = boto3.client("sns"), boto3.client("sqs")
        self.queue_url: str = self._sqs.create_queue(QueueName="stock_queue")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self.queue_url, AttributeNames=["QueueArn"]
        )["Attributes"]
        self.topic_arn: str = sns.create_topic(Name="stock_empty")["TopicArn"]
        sns.subscribe(TopicArn=self.topic_arn, Protocol="sqs", Endpoint=attributes["QueueArn"])

    def receive(self) -> list[dict[str, Any]]:
        """Return up to ten messages with their system attributes, as SQS returns them."""
        received = self._sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )
        return list(received.get("Messages", []))
