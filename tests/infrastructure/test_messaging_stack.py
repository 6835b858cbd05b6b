"""The topic, the queue and the dead-letter queue."""

from tests.support.assembly import Assembly

MAX_VISIBILITY = 12 * 3600
"""The limit of SQS, in seconds."""


def test_message_received_five_times_is_a_dead_letter(assembly: Assembly) -> None:
    dlq, _ = assembly.one("AWS::SQS::Queue", "StockDlq")
    _, queue = assembly.one("AWS::SQS::Queue", "StockQueue")
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert assembly.origin(queue["RedrivePolicy"]["deadLetterTargetArn"]) == dlq


def test_undeliverable_notification_is_a_dead_letter(assembly: Assembly) -> None:
    dlq, _ = assembly.one("AWS::SQS::Queue", "StockDlq")
    _, subscription = assembly.one("AWS::SNS::Subscription")
    assert assembly.origin(subscription["RedrivePolicy"]["deadLetterTargetArn"]) == dlq


def test_queue_gets_every_notification_with_its_envelope(assembly: Assembly) -> None:
    topic, _ = assembly.one("AWS::SNS::Topic", "StockEmpty")
    queue, _ = assembly.one("AWS::SQS::Queue", "StockQueue")
    _, subscription = assembly.one("AWS::SNS::Subscription")
    assert assembly.origin(subscription["TopicArn"]) == topic
    assert assembly.origin(subscription["Endpoint"]) == queue
    assert not subscription.get("RawMessageDelivery")
    assert "FilterPolicy" not in subscription


def test_only_the_topic_may_send_to_the_queues(assembly: Assembly) -> None:
    topic, _ = assembly.one("AWS::SNS::Topic", "StockEmpty")
    protected = set()
    for name, policy in assembly.each("AWS::SQS::QueuePolicy"):
        statements = policy["PolicyDocument"]["Statement"]
        (allowed,) = [statement for statement in statements if statement["Effect"] == "Allow"]
        assert allowed["Action"] == "sqs:SendMessage", name
        assert allowed["Principal"] == {"Service": "sns.amazonaws.com"}, name
        source = allowed["Condition"]["ArnEquals"]["aws:SourceArn"]
        assert assembly.origin(source) == topic, name
        protected |= {assembly.origin(queue) for queue in policy["Queues"]}
    assert protected == set(assembly.resources("AWS::SQS::Queue"))


def test_queues_are_encrypted(assembly: Assembly) -> None:
    for name, queue in assembly.each("AWS::SQS::Queue"):
        assert queue["SqsManagedSseEnabled"] is True, name


def test_topics_and_queues_require_tls(assembly: Assembly) -> None:
    for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        for name, policy in assembly.each(kind):
            statements = policy["PolicyDocument"]["Statement"]
            (denied,) = [statement for statement in statements if statement["Effect"] == "Deny"]
            assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}, name


def test_message_stays_hidden_longer_than_the_consumer_runs(assembly: Assembly) -> None:
    _, queue = assembly.one("AWS::SQS::Queue", "StockQueue")
    assert queue["VisibilityTimeout"] >= 6 * assembly.functions()["consumer"]["Timeout"]


def test_dead_letters_are_kept_longer_than_messages(assembly: Assembly) -> None:
    """A message's age counts from its first arrival."""
    _, dlq = assembly.one("AWS::SQS::Queue", "StockDlq")
    _, queue = assembly.one("AWS::SQS::Queue", "StockQueue")
    assert dlq["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]


def test_retries_outlast_a_factory_outage(assembly: Assembly) -> None:
    _, queue = assembly.one("AWS::SQS::Queue", "StockQueue")
    receives = queue["RedrivePolicy"]["maxReceiveCount"]
    consumer = assembly.variables("consumer")
    assert int(consumer["MAX_RECEIVES"]) == receives
    delays = [int(consumer["RETRY_DELAY"]) * 2**receive for receive in range(receives - 1)]
    assert max(delays) <= MAX_VISIBILITY
    assert sum(delays) < queue["MessageRetentionPeriod"]
    if assembly.name != "local":
        assert sum(delays) > 15 * 60


def test_physical_names_end_in_the_environment(assembly: Assembly) -> None:
    names = {topic["TopicName"] for _, topic in assembly.each("AWS::SNS::Topic")}
    names |= {queue["QueueName"] for _, queue in assembly.each("AWS::SQS::Queue")}
    resources = ("stock_empty", "stock_queue", "stock_dlq", "donut_shop_ops")
    assert names == {f"{resource}_{assembly.name}" for resource in resources}
