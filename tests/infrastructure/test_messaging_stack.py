from tests.support.assembly import Assembly

MAX_VISIBILITY = 12 * 3600
"""SQS's own limit, in seconds."""


def test_what_is_received_in_vain_goes_to_the_dead_letter_queue(assembly: Assembly) -> None:
    dlq, _ = assembly.one("AWS::SQS::Queue", "StockDlq")
    _, queue = assembly.one("AWS::SQS::Queue", "StockQueue")
    assert queue["RedrivePolicy"]["maxReceiveCount"] == 5
    assert assembly.origin(queue["RedrivePolicy"]["deadLetterTargetArn"]) == dlq


def test_what_the_topic_can_not_deliver_goes_there_too(assembly: Assembly) -> None:
    dlq, _ = assembly.one("AWS::SQS::Queue", "StockDlq")
    _, subscription = assembly.one("AWS::SNS::Subscription")
    assert assembly.origin(subscription["RedrivePolicy"]["deadLetterTargetArn"]) == dlq


def test_the_queue_gets_the_whole_notification(assembly: Assembly) -> None:
    topic, _ = assembly.one("AWS::SNS::Topic", "StockEmpty")
    queue, _ = assembly.one("AWS::SQS::Queue", "StockQueue")
    _, subscription = assembly.one("AWS::SNS::Subscription")
    assert (
        assembly.origin(subscription["TopicArn"]),
        assembly.origin(subscription["Endpoint"]),
    ) == (topic, queue)
    assert not subscription.get("RawMessageDelivery")
    assert "FilterPolicy" not in subscription


def test_only_the_topic_may_send_to_the_queues(assembly: Assembly) -> None:
    topic, _ = assembly.one("AWS::SNS::Topic", "StockEmpty")
    protected = set()
    for policy in assembly.resources("AWS::SQS::QueuePolicy").values():
        statements = policy["Properties"]["PolicyDocument"]["Statement"]
        (allowed,) = [statement for statement in statements if statement["Effect"] == "Allow"]
        assert (allowed["Action"], allowed["Principal"]) == (
            "sqs:SendMessage",
            {"Service": "sns.amazonaws.com"},
        )
        assert assembly.origin(allowed["Condition"]["ArnEquals"]["aws:SourceArn"]) == topic
        protected |= {assembly.origin(queue) for queue in policy["Properties"]["Queues"]}
    assert protected == set(assembly.resources("AWS::SQS::Queue"))


def test_queues_are_encrypted_and_demand_tls(assembly: Assembly) -> None:
    for queue in assembly.resources("AWS::SQS::Queue").values():
        assert queue["Properties"]["SqsManagedSseEnabled"] is True
    for kind in ("SQS::QueuePolicy", "SNS::TopicPolicy"):
        for policy in assembly.resources(f"AWS::{kind}").values():
            statements = policy["Properties"]["PolicyDocument"]["Statement"]
            (denied,) = [statement for statement in statements if statement["Effect"] == "Deny"]
            assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_a_message_stays_hidden_longer_than_it_is_worked_on(assembly: Assembly) -> None:
    _, queue = assembly.one("AWS::SQS::Queue", "StockQueue")
    assert (
        queue["VisibilityTimeout"] >= 6 * assembly.functions()["consumer"]["Properties"]["Timeout"]
    )


def test_a_dead_letter_outlives_its_age_in_the_queue(assembly: Assembly) -> None:
    """A message's age counts from its first arrival."""
    _, dlq = assembly.one("AWS::SQS::Queue", "StockDlq")
    _, queue = assembly.one("AWS::SQS::Queue", "StockQueue")
    assert dlq["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]


def test_retries_outlast_a_factory_outage(assembly: Assembly) -> None:
    _, queue = assembly.one("AWS::SQS::Queue", "StockQueue")
    receives = queue["RedrivePolicy"]["maxReceiveCount"]
    delays = [
        int(assembly.environment("consumer")["RETRY_DELAY"]) * 2**receive
        for receive in range(receives - 1)
    ]
    assert int(assembly.environment("consumer")["MAX_RECEIVES"]) == receives
    assert max(delays) <= MAX_VISIBILITY
    if assembly.name != "local":
        assert sum(delays) > 15 * 60
    assert sum(delays) < queue["MessageRetentionPeriod"]


def test_physical_names_carry_the_environment(assembly: Assembly) -> None:
    topics, queues = assembly.resources("AWS::SNS::Topic"), assembly.resources("AWS::SQS::Queue")
    names = {topic["Properties"]["TopicName"] for topic in topics.values()}
    names |= {queue["Properties"]["QueueName"] for queue in queues.values()}
    assert {
        f"{name}_{assembly.name}" for name in ("stock_empty", "stock_queue", "stock_dlq")
    } <= names
    assert all(name.endswith(f"_{assembly.name}") for name in names)
