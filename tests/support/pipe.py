"""A topic and its queue, in moto's AWS."""

from typing import Any

import boto3


class Pipe:
    """A topic and the queue that is subscribed to it, as the messaging stack wires them."""

    def __init__(self) -> None:
        sns, self._sqs = boto3.client("sns"), boto3.client("sqs")
        self.queue_url: str = self._sqs.create_queue(QueueName="stock_queue")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self.queue_url, AttributeNames=["QueueArn"]
        )["Attributes"]
        self.topic_arn: str = sns.create_topic(Name="stock_empty")["TopicArn"]
        sns.subscribe(TopicArn=self.topic_arn, Protocol="sqs", Endpoint=attributes["QueueArn"])

    def receive(self) -> list[dict[str, Any]]:
        """SQS's messages, with their system attributes."""
        received = self._sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )
        return list(received.get("Messages", []))
