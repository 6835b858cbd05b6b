import re
from pathlib import Path

from settings import ENVIRONMENTS, PROJECT
from tests.support.assembly import Assembly, construct, synth


def test_every_alarm_reaches_the_operators_and_says_what_to_run(assembly: Assembly) -> None:
    topic, _ = assembly.one("AWS::SNS::Topic", "Ops")
    targets = set(
        " ".join(
            re.findall(r"^([a-z -]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
        ).split()
    )
    alarms = assembly.resources("AWS::CloudWatch::Alarm")
    assert {construct(id) for id in alarms} >= {
        "StockDlqNotEmpty",
        "OldestUnpublishedOrder",
        "StuckOrders",
    }
    for alarm in alarms.values():
        properties = alarm["Properties"]
        assert [assembly.origin(action) for action in properties["AlarmActions"]] == [topic]
        command = re.search(
            rf"Run: ENV={assembly.name} make ([a-z-]+)\.", properties["AlarmDescription"]
        )
        assert command
        assert command[1] in targets


def test_cloudwatch_may_publish_alarms(assembly: Assembly) -> None:
    """Without this statement the policy is one Deny, and no alarm ever arrives."""
    topic, _ = assembly.one("AWS::SNS::Topic", "Ops")
    _, policy = assembly.one("AWS::SNS::TopicPolicy", "Ops")
    assert [assembly.origin(protected) for protected in policy["Topics"]] == [topic]
    (allowed,) = [
        item for item in policy["PolicyDocument"]["Statement"] if item["Effect"] == "Allow"
    ]
    assert (allowed["Action"], allowed["Principal"]) == (
        "sns:Publish",
        {"Service": "cloudwatch.amazonaws.com"},
    )
    assert allowed["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    }


def test_one_dead_letter_is_enough(assembly: Assembly) -> None:
    dlq, _ = assembly.one("AWS::SQS::Queue", "StockDlq")
    _, alarm = assembly.one("AWS::CloudWatch::Alarm", "StockDlqNotEmpty")
    (dimension,) = alarm["Dimensions"]
    assert (dimension["Name"], assembly.origin(dimension["Value"])) == ("QueueName", dlq)
    assert (alarm["MetricName"], alarm["Threshold"]) == ("ApproximateNumberOfMessagesVisible", 1)
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"


def test_oldest_message_alarm_fires_only_if_the_consumer_receives_nothing(
    assembly: Assembly,
) -> None:
    """SQS leaves a message that was received three times out of the metric.

    A message that the factory rejects is received for the third time after the first two delays, so the threshold must
    be later than that.
    """
    _, alarm = assembly.one("AWS::CloudWatch::Alarm", "OldestMessage")
    assert (alarm["MetricName"], alarm["Threshold"]) == ("ApproximateAgeOfOldestMessage", 10 * 60)
    assert "the consumer does not take messages" in alarm["AlarmDescription"]
    assert "factory" not in alarm["AlarmDescription"]
    settings = ENVIRONMENTS[assembly.name]
    delays = settings.retry_delay + 2 * settings.retry_delay
    assert delays + 3 * settings.consumer_timeout < alarm["Threshold"]


def test_server_errors_need_a_minimum_of_responses(assembly: Assembly) -> None:
    """Otherwise one 5xx among ten requests at night wakes somebody up."""
    _, alarm = assembly.one("AWS::CloudWatch::Alarm", "ServerErrors")
    (expression,) = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]
    assert expression == "IF(answers >= 20, 100 * errors / answers, 0)"


def test_alarms_go_to_the_address_in_the_settings(tmp_path: Path) -> None:
    settings = ENVIRONMENTS["prod"].override({"alarm_email": "ops@shop.test"})
    assembly = synth(settings, tmp_path)
    topic, _ = assembly.one("AWS::SNS::Topic", "Ops")
    subscriptions = [
        (resource["Properties"]["Protocol"], resource["Properties"]["Endpoint"])
        for resource in assembly.resources("AWS::SNS::Subscription").values()
        if resource["Properties"]["TopicArn"] == {"Ref": topic}
    ]
    assert subscriptions == [("email", "ops@shop.test")]


def test_a_silent_relay_alarms(assembly: Assembly) -> None:
    _, alarm = assembly.one("AWS::CloudWatch::Alarm", "RelaySilent")
    assert construct(assembly.origin(alarm["Dimensions"][0]["Value"])) == "Relay"
    assert alarm["TreatMissingData"] == "breaching"


def test_metrics_come_from_what_the_functions_log(assembly: Assembly) -> None:
    for metric_filter in assembly.resources("AWS::Logs::MetricFilter").values():
        properties = metric_filter["Properties"]
        folder = construct(assembly.origin(properties["LogGroupName"])).removesuffix("Logs").lower()
        source = (PROJECT / "lambdas" / folder / "handler.py").read_text()
        message = re.search(r'\$\.message = "(\w+)"', properties["FilterPattern"])
        assert message
        assert re.search(rf'log\.\w+\(\s*"{message[1]}"', source)
        (transformation,) = properties["MetricTransformations"]
        for field in re.findall(
            r"\$\.(\w+)", f"{properties['FilterPattern']} {transformation['MetricValue']}"
        ):
            assert field == "message" or f'"{field}":' in source


def test_every_alarm_has_its_section_in_the_runbook_and_no_section_lacks_one(
    assembly: Assembly,
) -> None:
    headings = re.findall(r"^## (.+)$", (PROJECT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    sections = {name for heading in headings for name in heading.split(", ")}
    descriptions = [
        alarm["Properties"]["AlarmDescription"]
        for alarm in assembly.resources("AWS::CloudWatch::Alarm").values()
    ]
    named = {description.rpartition("docs/runbook.md: ")[2] for description in descriptions}
    assert named == sections
