"""Following the functions' logs: which groups, which lines, and how often CloudWatch is asked."""

import itertools
import json
import sys
from typing import Any

import boto3
import pytest

from operations import logs

GROUPS = {
    "donut-shop-service-dev-SalesLogs564C5980-aBcDeFgHiJkL": "Sales",
    "donut-shop-service-dev-RelayLogs0A1B2C3D-mNoPqRsTuVwX": "Relay",
}
OTHERS = [
    "donut-shop-service-dev-Unknown",
    "donut-shop-service-staging-SalesLogs564C5980-aBcDeFgHiJkL",
    "/aws/vendedlogs/donut-shop-dev",
    "/aws/lambda/another-teams-function",
]
QUOTA = 5
"""FilterLogEvents requests per second that an account has in most regions."""


class FakeLogs:
    """CloudWatch Logs, as far as it is asked. pages: what each group answers. requests: (operation, parameters)."""

    def __init__(self, *names: str, pages: list[list[str]] | None = None) -> None:
        self.names, self.pages = names, pages or [[]]
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.limits: dict[str, int] = {}

    def get_paginator(self, operation: str) -> Any:
        class Paginator:
            def paginate(paginator, **parameters: Any) -> Any:
                for page in getattr(self, operation)(**parameters):
                    if self.count(operation) == self.limits.get(operation):
                        raise KeyboardInterrupt
                    self.requests.append((operation, parameters))
                    yield page

        return Paginator()

    def describe_log_groups(self, logGroupNamePrefix: str) -> Any:
        found = [
            {"logGroupName": name} for name in self.names if name.startswith(logGroupNamePrefix)
        ]
        return [{"logGroups": found}]

    def filter_log_events(self, **_: Any) -> Any:
        for messages in self.pages:
            yield {
                "events": [
                    {"logStreamName": "stream", "timestamp": number, "message": message}
                    for number, message in enumerate(messages)
                ]
            }

    def stop_after(self, **limits: int) -> None:
        """End with Ctrl-C once there were so many requests of an operation."""
        self.limits = limits

    def count(self, operation: str) -> int:
        return sum(name == operation for name, _ in self.requests)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only while somebody sleeps; the list holds every pause."""
    pauses: list[float] = []
    monkeypatch.setattr("operations.logs.time.time", lambda: 1_000_000 + sum(pauses))
    monkeypatch.setattr("operations.logs.time.sleep", pauses.append)
    return pauses


@pytest.mark.usefixtures("aws")
def test_groups_are_those_of_the_environments_functions() -> None:
    client = boto3.client("logs")
    for name in [*GROUPS, *OTHERS]:
        client.create_log_group(logGroupName=name)
    assert logs.groups(client, environment="dev") == GROUPS


def test_groups_of_the_local_cloud_are_found() -> None:
    name = "/aws/cloudformation/donut-shop-service-local/SalesLogs564C5980"
    assert logs.groups(FakeLogs(name), environment="local") == {name: "Sales"}


def test_groups_are_asked_for_by_prefix_and_once(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    client = FakeLogs(*GROUPS, *OTHERS)
    client.stop_after(filter_log_events=40)
    monkeypatch.setattr(sys, "argv", ["logs", "dev"])
    monkeypatch.setattr(boto3, "client", lambda *_, **__: client)
    logs.main()
    assert client.count("describe_log_groups") == 2  # one for each way to name a group
    assert client.count("filter_log_events") == 40
    prefixes = {
        parameters["logGroupNamePrefix"]
        for name, parameters in client.requests
        if name.startswith("describe")
    }
    assert all("donut-shop-service-dev" in prefix for prefix in prefixes)


@pytest.mark.parametrize("pages", [1, 7])
def test_two_people_stay_below_the_quota(pages: int, clock: list[float]) -> None:
    """Also while a page follows another, as in the first round."""
    client = FakeLogs(*GROUPS, pages=[[f"line {number}"] for number in range(pages)])
    client.stop_after(filter_log_events=140)
    with pytest.raises(KeyboardInterrupt):
        list(logs.lines(client, GROUPS))
    per_second = client.count("filter_log_events") / sum(clock)
    assert 2 * per_second < QUOTA


def platform(kind: str, **record: Any) -> str:
    return json.dumps(
        {"time": "2026-11-24T00:00:00Z", "type": f"platform.{kind}", "record": record}
    )


def test_lines_are_the_functions_own_and_failures(clock: list[float]) -> None:
    """Lambda writes its own lines as JSON. Those of an invocation that succeeded are noise, a timeout is not."""
    timeout = platform("report", requestId="2", status="timeout", metrics={"durationMs": 10000})
    own = [
        '{"level": "INFO", "message": "checkout", "outcome": "sold"}',
        "no JSON at all",
        "[1]",
        '{"type": 1}',
    ]
    noise = [
        platform("initStart", initializationType="on-demand"),
        platform("start", requestId="1"),
        platform(
            "report",
            requestId="1",
            status="success",
            metrics={"durationMs": 12.3, "initDurationMs": 300},
        ),
        platform("report", requestId="1", metrics={"durationMs": 12.3}),
        "START RequestId: 1 Version: $LATEST",
        "END RequestId: 1",
        "REPORT RequestId: 1\tDuration: 12.30 ms",
    ]
    client = FakeLogs(pages=[[*noise, *own, timeout]])
    followed = list(itertools.islice(logs.lines(client, {"group": "Sales"}), len(own) + 1))
    assert followed == [f"Sales {line}" for line in [*own, timeout]]


def test_environment_without_log_groups_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["logs", "dev"])
    monkeypatch.setattr(boto3, "client", lambda *_, **__: FakeLogs(*OTHERS))
    with pytest.raises(SystemExit, match="dev has no log groups: deploy it first"):
        logs.main()
