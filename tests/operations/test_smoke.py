"""What `make smoke` reads from AWS: the relay's metric and the queues."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from operations.smoke import Failed, depth, require_no_dead_letters, require_relay
from settings import ENVIRONMENTS, PROJECT
from tests.support.documentation import sections

pytestmark = pytest.mark.usefixtures("aws")


def relay_ran(
    cloudwatch: Any, *, at: datetime, oldest: float = 0, environment: str = "prod"
) -> None:
    data = {
        "MetricName": "oldest_unpublished_seconds",
        "Timestamp": at,
        "Value": oldest,
    }
    cloudwatch.put_metric_data(
        Namespace=ENVIRONMENTS[environment].metric_namespace, MetricData=[data]
    )


def minutes_ago(minutes: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def test_run_since_then_that_left_nothing_passes() -> None:
    cloudwatch = boto3.client("cloudwatch")
    relay_ran(cloudwatch, at=minutes_ago(5), oldest=300)
    relay_ran(cloudwatch, at=minutes_ago(1))
    require_relay(cloudwatch, settings=ENVIRONMENTS["prod"], since=minutes_ago(3), within=0)


@pytest.mark.parametrize("second", [0, 1, 30, 59])
def test_run_of_the_minute_before_does_not_count(second: int) -> None:
    """CloudWatch says in which minute a run was, which may have begun before `since`."""
    cloudwatch = boto3.client("cloudwatch")
    minute = minutes_ago(3).replace(second=0, microsecond=0)
    since = minute + timedelta(seconds=second, microseconds=1)
    relay_ran(cloudwatch, at=minute + timedelta(seconds=59))
    with pytest.raises(Failed, match="no run of the relay"):
        require_relay(cloudwatch, settings=ENVIRONMENTS["prod"], since=since, within=0)
    relay_ran(cloudwatch, at=minute + timedelta(seconds=60))
    require_relay(cloudwatch, settings=ENVIRONMENTS["prod"], since=since, within=0)


@pytest.mark.parametrize(
    ("minutes", "oldest", "words"),
    [
        (None, 0, "outbox → relay: CloudWatch has no run"),
        (5, 0, "outbox → relay: CloudWatch has no run"),
        (1, 90, "outbox → SNS: an order has waited 90 s"),
    ],
)
def test_silent_or_failing_relay_is_named(minutes: float | None, oldest: float, words: str) -> None:
    cloudwatch = boto3.client("cloudwatch")
    relay_ran(cloudwatch, at=minutes_ago(1), environment="staging")
    if minutes:
        relay_ran(cloudwatch, at=minutes_ago(minutes), oldest=oldest)
    with pytest.raises(Failed, match=words):
        require_relay(cloudwatch, settings=ENVIRONMENTS["prod"], since=minutes_ago(3), within=0)


def test_late_metric_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cloudwatch = boto3.client("cloudwatch")
    monkeypatch.setattr(
        "operations.smoke.time.sleep", lambda seconds: relay_ran(cloudwatch, at=minutes_ago(0.5))
    )
    require_relay(cloudwatch, settings=ENVIRONMENTS["prod"], since=minutes_ago(3), within=10)


def test_dead_letters_fail_the_check() -> None:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="stock_dlq_prod")["QueueUrl"]
    require_no_dead_letters(sqs, settings=ENVIRONMENTS["prod"])
    for _ in range(3):
        sqs.send_message(QueueUrl=url, MessageBody="an order")
    sqs.receive_message(QueueUrl=url)
    assert depth(sqs, "stock_dlq_prod") == 3, "a message in flight counts, too"
    with pytest.raises(Failed, match=r"3 message\(s\) in the dead-letter queue"):
        require_no_dead_letters(sqs, settings=ENVIRONMENTS["prod"])


def test_runbook_explains_every_message_of_the_command() -> None:
    section = sections("docs/runbook.md")["Find out whether the shop works"]
    table, _, prod = section.partition("With `ENV=prod`")
    source = (PROJECT / "operations/smoke.py").read_text()
    named = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)))
    assert named
    for hop in named:
        assert hop in source, hop
    methods = re.findall(r"\.(get_[a-z_]+)\(", source)
    permissions = re.findall(r"`(?:sqs|cloudwatch):(\w+)`", prod)
    assert sorted(permissions) == sorted(
        "".join(map(str.capitalize, name.split("_"))) for name in methods
    )
