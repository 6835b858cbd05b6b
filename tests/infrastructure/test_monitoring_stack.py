"""The alarms, the metrics that they watch, and their sections in the runbook."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from settings import ENVIRONMENTS, LAMBDAS
from tests.support.assembly import Assembly, construct, synth
from tests.support.documentation import make_targets, sections, works_in
from tests.support.environments import MANAGED
from tests.support.log_lines import logged_fields


def test_alarms_reach_the_operators(assembly: Assembly) -> None:
    topic, _ = assembly.one("AWS::SNS::Topic", "Ops")
    for name, alarm in assembly.each("AWS::CloudWatch::Alarm"):
        for actions in ("AlarmActions", "OKActions"):
            reached = [assembly.origin(action) for action in alarm.get(actions, [])]
            assert reached == [topic], (
                f"the {actions} of {name} are not the topic Ops: add the alarm with "
                "MonitoringStack._alarm"
            )


def description(alarm: dict[str, Any]) -> str:
    return str(alarm.get("AlarmDescription", ""))


def first_command(environment: str, alarm: dict[str, Any]) -> str:
    """Return the make target that the alarm's description names for its environment, or ""."""
    command = re.search(rf"Run: ENV={environment} make ([a-z-]+)\.", description(alarm))
    return command[1] if command else ""


def test_alarms_name_a_command_that_works_in_their_environment(assembly: Assembly) -> None:
    """`make mysql` reaches the local database only."""
    for name, alarm in assembly.each("AWS::CloudWatch::Alarm"):
        command = first_command(assembly.name, alarm)
        assert command, (
            f"the description of {name} names no command: add the alarm with MonitoringStack._alarm"
        )
        assert works_in(assembly.name, command), (
            f"{name}: the Makefile rejects `ENV={assembly.name} make {command}`"
        )


@pytest.mark.parametrize(
    ("environment", "target", "expected"),
    [
        ("prod", "logs", True),
        ("local", "orders", True),
        ("prod", "orders", True),
        ("prod", "mysql", False),
        ("prod", "unit", False),
        ("prod", "missing", False),
    ],
)
def test_makefile_says_what_works_in_an_environment(
    environment: str, target: str, expected: bool
) -> None:
    assert works_in(environment, target) is expected


def test_runbook_section_names_its_alarms_command(assembly: Assembly) -> None:
    texts = {
        name: text
        for heading, text in sections("docs/runbook.md").items()
        for name in heading.split(", ")
    }
    for id, alarm in assembly.each("AWS::CloudWatch::Alarm"):
        command = first_command(assembly.name, alarm)
        assert command in make_targets(texts.get(construct(id), "")), (
            f"docs/runbook.md has no section `## {construct(id)}` that names `make {command}`"
        )


def test_orders_that_need_attention_have_an_alarm(assembly: Assembly) -> None:
    alarms = {construct(id) for id, _ in assembly.each("AWS::CloudWatch::Alarm")}
    assert alarms >= {"StockDlqNotEmpty", "OldestUnpublishedOrder", "StuckOrders"}


def sections_of_alarms() -> dict[str, str]:
    """Return the text of the runbook about each alarm.

    A section may have several alarms in its heading, separated by commas. Only headings of other
    sections are sentences.
    """
    return {
        name: text.strip()
        for heading, text in sections("docs/runbook.md").items()
        for name in heading.split(", ")
        if " " not in name
    }


def test_each_alarm_has_a_section_in_the_runbook(assembly: Assembly) -> None:
    documented = sections_of_alarms()
    for id, alarm in assembly.each("AWS::CloudWatch::Alarm"):
        section = description(alarm).rpartition("docs/runbook.md: ")[2]
        assert section == construct(id), (
            f"the description of {id} does not end in its section of the runbook: add the alarm "
            "with MonitoringStack._alarm"
        )
        assert section in documented, f"docs/runbook.md has no section `## {section}`"
        assert documented[section], f"the section `## {section}` of docs/runbook.md has no text"


def test_each_section_of_the_runbook_is_about_an_alarm(managed: Assembly) -> None:
    """Environments with a database of their own have all alarms."""
    alarms = {construct(id) for id, _ in managed.each("AWS::CloudWatch::Alarm")}
    assert sections_of_alarms().keys() <= alarms, (
        "docs/runbook.md has a section for an alarm that does not exist"
    )


def test_alarms_about_the_database_are_for_one_of_our_own(assembly: Assembly) -> None:
    """The owner of a database that exists already monitors it."""
    alarms = {construct(id) for id, _ in assembly.each("AWS::CloudWatch::Alarm")}
    about_it = {name for name in sections_of_alarms() if name.startswith("Database")}
    assert about_it
    assert alarms & about_it == (about_it if assembly.name in MANAGED else set())
    assert alarms >= sections_of_alarms().keys() - about_it


def test_each_function_has_its_alarms(assembly: Assembly) -> None:
    alarms = {
        (alarm["MetricName"], assembly.function_at(dimension["Value"]))
        for _, alarm in assembly.each("AWS::CloudWatch::Alarm")
        for dimension in alarm.get("Dimensions", [])
        if dimension["Name"] == "FunctionName"
    }
    for name in assembly.functions():
        assert ("Errors", name) in alarms, name
        assert ("Throttles", name) in alarms, name


def test_services_of_this_account_may_publish_alarms(assembly: Assembly) -> None:
    """Without these statements the policy only denies, and no alarm reaches the topic."""
    topic, _ = assembly.one("AWS::SNS::Topic", "Ops")
    _, policy = assembly.one("AWS::SNS::TopicPolicy", "Ops")
    assert [assembly.origin(protected) for protected in policy["Topics"]] == [topic]
    statements = policy["PolicyDocument"]["Statement"]
    allowed = {
        statement["Principal"]["Service"]: statement
        for statement in statements
        if statement["Effect"] == "Allow"
    }
    assert sorted(allowed) == [
        "budgets.amazonaws.com",
        "cloudwatch.amazonaws.com",
        "events.rds.amazonaws.com",
    ]
    account = {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    for service, statement in allowed.items():
        assert statement["Action"] == "sns:Publish", service
        assert statement["Condition"] == {"StringEquals": account}, service


def test_topic_of_the_alarms_is_not_encrypted(assembly: Assembly) -> None:
    """None of the services may use AWS's own key, and RDS sends no event to a topic that has it."""
    _, topic = assembly.one("AWS::SNS::Topic", "Ops")
    assert "KmsMasterKeyId" not in topic


def policy_of_ops(assembly: Assembly) -> str:
    id, _ = assembly.one("AWS::SNS::TopicPolicy", "Ops")
    return id


def test_events_of_the_database_reach_the_operators(managed: Assembly) -> None:
    topic, _ = managed.one("AWS::SNS::Topic", "Ops")
    database, _ = managed.one("AWS::RDS::DBInstance")
    (events,) = managed.resources("AWS::RDS::EventSubscription").values()
    properties = events["Properties"]
    assert managed.origin(properties["SnsTopicArn"]) == topic
    assert [managed.origin(source) for source in properties["SourceIds"]] == [database]
    assert properties["SourceType"] == "db-instance"
    assert {"failure", "failover", "low storage"} <= set(properties["EventCategories"])
    assert policy_of_ops(managed) in events["DependsOn"], "RDS may not publish yet"


def test_budget_counts_the_environment_and_reaches_the_operators(assembly: Assembly) -> None:
    topic, _ = assembly.one("AWS::SNS::Topic", "Ops")
    (budget,) = assembly.resources("AWS::Budgets::Budget").values()
    limit = budget["Properties"]["Budget"]
    assert limit["BudgetLimit"] == {"Amount": assembly.settings.monthly_budget, "Unit": "USD"}
    assert limit["CostFilters"] == {"TagKeyValue": [f"user:environment${assembly.name}"]}
    assert "BudgetName" not in limit, "a budget with a name can't be replaced"
    subscribers = {
        notification["Notification"]["NotificationType"]: [
            (subscriber["SubscriptionType"], assembly.origin(subscriber["Address"]))
            for subscriber in notification["Subscribers"]
        ]
        for notification in budget["Properties"]["NotificationsWithSubscribers"]
    }
    assert subscribers == {"ACTUAL": [("SNS", topic)], "FORECASTED": [("SNS", topic)]}
    assert policy_of_ops(assembly) in budget["DependsOn"], "Budgets may not publish yet"


def test_queries_of_all_logs_are_saved(assembly: Assembly) -> None:
    groups = {assembly.settings.log_group(function) for function in assembly.functions()}
    saved = {query["Name"]: query for _, query in assembly.each("AWS::Logs::QueryDefinition")}
    shop = f"donut-shop-{assembly.name}"
    assert saved.keys() == {f"{shop}/one order", f"{shop}/failures", f"{shop}/durations"}
    for name, query in saved.items():
        assert set(query["LogGroupNames"]) == groups, name
    assert "like /ORDER_ID/" in saved[f"{shop}/one order"]["QueryString"]


def test_costs_can_be_told_apart_by_tags(managed: Assembly) -> None:
    """The budget counts by one of them."""
    _, database = managed.one("AWS::RDS::DBInstance")
    tags = {tag["Key"]: tag["Value"] for tag in database["Tags"]}
    assert tags["app"] == "donut-shop"
    assert tags["environment"] == managed.name


def test_alarms_go_to_the_address_in_the_settings(tmp_path: Path) -> None:
    settings = ENVIRONMENTS["prod"].override({"alarm_email": "ops@shop.test"})
    assembly = synth(settings, tmp_path)
    topic, _ = assembly.one("AWS::SNS::Topic", "Ops")
    subscriptions = [
        (subscription["Protocol"], subscription["Endpoint"])
        for _, subscription in assembly.each("AWS::SNS::Subscription")
        if subscription["TopicArn"] == {"Ref": topic}
    ]
    assert subscriptions == [("email", "ops@shop.test")]


def test_dead_letter_alarm_fires_at_one_message(assembly: Assembly) -> None:
    dlq, _ = assembly.one("AWS::SQS::Queue", "StockDlq")
    _, alarm = assembly.one("AWS::CloudWatch::Alarm", "StockDlqNotEmpty")
    (dimension,) = alarm["Dimensions"]
    assert dimension["Name"] == "QueueName"
    assert assembly.origin(dimension["Value"]) == dlq
    assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert alarm["Threshold"] == 1
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"


UNMEASURED_AFTER = 3, "three"
"""Receives after which SQS leaves a message out of the age of the oldest message."""


def test_oldest_message_alarm_is_about_the_consumer_only(assembly: Assembly) -> None:
    """A message that the factory rejects must leave the metric before the threshold.

    It leaves it when it is received for the third time, after the first two delays.
    """
    runbook = " ".join(sections("docs/runbook.md")["OldestMessage"].split())
    assert f"it has been received {UNMEASURED_AFTER[1]} times" in runbook
    _, alarm = assembly.one("AWS::CloudWatch::Alarm", "OldestMessage")
    assert alarm["MetricName"] == "ApproximateAgeOfOldestMessage"
    assert alarm["Threshold"] == 10 * 60
    assert "the consumer does not take messages" in alarm["AlarmDescription"]
    assert "factory" not in alarm["AlarmDescription"]
    settings = assembly.settings
    receives = UNMEASURED_AFTER[0]
    delays = sum(settings.retry_delay * 2**count for count in range(receives - 1))
    assert delays + receives * settings.consumer_timeout < alarm["Threshold"]


def test_server_error_alarm_needs_a_minimum_of_responses(assembly: Assembly) -> None:
    """Otherwise it would fire for a single 5xx among ten requests at night."""
    _, alarm = assembly.one("AWS::CloudWatch::Alarm", "ServerErrors")
    (expression,) = [metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric]
    assert expression == "IF(responses >= 20, 100 * errors / responses, 0)"


def test_alarm_fires_if_the_relay_does_not_run(assembly: Assembly) -> None:
    _, alarm = assembly.one("AWS::CloudWatch::Alarm", "RelaySilent")
    (dimension,) = alarm["Dimensions"]
    assert assembly.function_at(dimension["Value"]) == "relay"
    assert alarm["TreatMissingData"] == "breaching"


VALUES = {
    ("checkout", "outcome"): {
        *re.findall(
            r"SELECT '(\w+)' AS outcome",
            (LAMBDAS / "migrate/procedures/checkout.sql").read_text(),
        )
    }
    - {"late", "cancelled"}
}
"""The values of a text that metric filters compare, by the line and the field.

The store raises DatabaseUnavailable for the outcomes that are left out.
"""


def test_metrics_are_made_from_lines_that_the_functions_log(assembly: Assembly) -> None:
    functions = {
        assembly.origin(function["LoggingConfig"]["LogGroup"]): name
        for name, function in assembly.functions().items()
    }
    for id, metric_filter in assembly.each("AWS::Logs::MetricFilter"):
        pattern = metric_filter["FilterPattern"]
        message = re.search(r'\$\.message = "([^"]+)"', pattern)
        assert message, f"{id}: {pattern}"
        function = functions[assembly.origin(metric_filter["LogGroupName"])]
        logged = logged_fields(function)
        assert message[1] in logged, f"{id}: lambdas/{function} does not log {message[1]!r}"
        (transformation,) = metric_filter["MetricTransformations"]
        read = set(re.findall(r"\$\.(\w+)", pattern + transformation["MetricValue"]))
        missing = read - {"message"} - logged[message[1]]
        assert not missing, f"{id}: the line {message[1]!r} of {function} has no {missing}"
        for field, value in re.findall(r'\$\.(\w+) = "([^"]+)"', pattern):
            assert field == "message" or value in VALUES.get((message[1], field), ()), (
                f"{id}: no line {message[1]!r} has the {field} {value!r}, so the filter never"
                " matches: VALUES in this test has the values of each field"
            )


def test_lines_of_the_http_api_are_found() -> None:
    """They are logged in lambdas/common, and not in the handlers."""
    assert logged_fields("restock")["database unavailable"] == {"reason"}
    assert "restock" not in logged_fields("relay")


METRICS = {
    "AWS/ApiGateway": {"4xx", "5xx", "Count", "DataProcessed", "IntegrationLatency", "Latency"},
    "AWS/Lambda": {"ConcurrentExecutions", "Duration", "Errors", "Invocations", "Throttles"},
    "AWS/RDS": {
        *("CPUUtilization", "DatabaseConnections", "FreeStorageSpace", "FreeableMemory"),
        *("DiskQueueDepth", "ReadLatency", "WriteLatency"),
    },
    "AWS/SNS": {"NumberOfMessagesPublished", "NumberOfNotificationsFailed"},
    "AWS/SQS": {
        *("ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"),
        *("NumberOfMessagesDeleted", "NumberOfMessagesReceived", "NumberOfMessagesSent"),
    },
}
"""Metrics that AWS's services produce, by namespace. Those of AWS/ApiGateway are an HTTP API's, a
REST API's have other names."""


def watched_metrics(alarm: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the metrics of an alarm, also those of its formula."""
    yield alarm
    for metric in alarm.get("Metrics", []):
        yield metric.get("MetricStat", {}).get("Metric", {})


def test_metrics_of_aws_that_alarms_watch_exist(assembly: Assembly) -> None:
    for id, alarm in assembly.each("AWS::CloudWatch::Alarm"):
        for metric in watched_metrics(alarm):
            namespace = metric.get("Namespace", assembly.settings.metric_namespace)
            if namespace != assembly.settings.metric_namespace:
                assert metric["MetricName"] in METRICS.get(namespace, ()), (
                    f"the alarm {construct(id)} watches {metric['MetricName']!r}, which is not a"
                    f" metric of {namespace} in METRICS of this test: look its name up in AWS's"
                    " documentation, and add it there"
                )


def test_metrics_of_the_shop_that_alarms_watch_are_made(assembly: Assembly) -> None:
    """CloudWatch accepts an alarm on a metric that nothing produces, and it never fires."""
    namespace = assembly.settings.metric_namespace
    made = {
        transformation["MetricName"]
        for _, metric_filter in assembly.each("AWS::Logs::MetricFilter")
        for transformation in metric_filter["MetricTransformations"]
        if transformation["MetricNamespace"] == namespace
    }
    watched = [
        (construct(id), metric["MetricName"])
        for id, alarm in assembly.each("AWS::CloudWatch::Alarm")
        for metric in watched_metrics(alarm)
        if metric.get("Namespace") == namespace
    ]
    assert watched
    for name, metric in watched:
        assert metric in made, (
            f"the alarm {name} watches {metric!r}, which nothing produces: make it from a log line "
            "in stacks/log_metrics.py"
        )


def test_no_two_metrics_have_the_same_name(assembly: Assembly) -> None:
    names = [
        transformation["MetricName"]
        for _, metric_filter in assembly.each("AWS::Logs::MetricFilter")
        for transformation in metric_filter["MetricTransformations"]
    ]
    assert len(set(names)) == len(names), names
