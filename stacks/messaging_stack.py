"""The stateful path of a production order: topic → queue → dead-letter queue."""

import aws_cdk as cdk
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from settings import Settings

MAX_RECEIVES = 5
"""How often the consumer receives a message before it is moved to the dead-letter queue."""
VISIBILITY_FACTOR = 6
"""Visibility timeout divided by the consumer's timeout, as AWS advises for event source mappings."""


class MessagingStack(cdk.Stack):
    """The resources, in the order in which they depend on each other."""

    def __init__(
        self, scope: Construct, id: str, *, settings: Settings, env: cdk.Environment
    ) -> None:
        super().__init__(
            scope,
            id,
            env=env,
            description="Donut shop: production orders on their way to the factory",
            termination_protection=settings.termination_protection,
        )
        self.stock_dlq = sqs.Queue(
            self,
            "StockDlq",
            queue_name=settings.queue_name("stock_dlq"),
            retention_period=cdk.Duration.days(14),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )
        self.stock_queue = sqs.Queue(
            self,
            "StockQueue",
            queue_name=settings.queue_name("stock_queue"),
            retention_period=cdk.Duration.days(4),
            visibility_timeout=cdk.Duration.seconds(VISIBILITY_FACTOR * settings.consumer_timeout),
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=self.stock_dlq, max_receive_count=MAX_RECEIVES
            ),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )
        self.stock_empty = sns.Topic(
            self, "StockEmpty", topic_name=settings.topic_name("stock_empty"), enforce_ssl=True
        )
        self.stock_empty.add_subscription(
            subscriptions.SqsSubscription(self.stock_queue, dead_letter_queue=self.stock_dlq)
        )
