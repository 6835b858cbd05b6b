"""`make logs`: the log groups, the lines that are printed, and the rate of requests."""

import itertools
import json
import sys
from typing import Any

import pytest

from operations import aws, logs
from settings import ENVIRONMENTS
from tests.support.assembly import Assembly
from tests.support.fakes import fake_client

GROUPS = logs.log_groups(ENVIRONMENTS["dev"])
QUOTA = 5
"""FilterLogEvents requests per second that an account has in most regions."""


class LogEvents:
    """What CloudWatch Logs returns: these pages of messages for each group.

    groups: the group of each request. limit: the number of requests before someone types Ctrl-C.
    """

    def __init__(self, *pages: list[str], limit: int = sys.maxsize) -> None:
        self.pages = pages or ([],)
        self.limit = limit
        self.groups: list[str] = []
        self.client = fake_client("logs", FilterLogEvents=self.filter_log_events)

    def filter_log_events(
        self, *, logGroupName: str, startTime: int, nextToken: str = "0"
    ) -> dict[str, Any]:
        if len(self.groups) == self.limit:
            raise KeyboardInterrupt
        self.groups.append(logGroupName)
        page = int(nextToken)
        response: dict[str, Any] = {
            "events": [
                {"logStreamName": "stream", "timestamp": number, "message": message}
                for number, message in enumerate(self.pages[page])
            ]
        }
        if page + 1 < len(self.pages):
            response["nextToken"] = str(page + 1)
        return response


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make time pass in sleep() only, and return the list of the pauses."""
    pauses: list[float] = []
    monkeypatch.setattr("operations.logs.time.time", lambda: 1_000_000 + sum(pauses))
    monkeypatch.setattr("operations.logs.time.sleep", pauses.append)
    return pauses


def test_groups_are_those_of_the_template(assembly: Assembly) -> None:
    created = {
        group["Properties"].get("LogGroupName")
        for group in assembly.resources("AWS::Logs::LogGroup").values()
    }
    found = logs.log_groups(assembly.settings)
    assert set(found.values()) == assembly.functions().keys()
    assert found.keys() <= created


def test_groups_are_read_in_turn_until_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    events = LogEvents(limit=3 * len(GROUPS))
    monkeypatch.setattr(sys, "argv", ["logs", "dev"])
    monkeypatch.setattr(aws, "client", lambda *_, **__: events.client)
    logs.main()
    assert events.groups == [*GROUPS] * 3


@pytest.mark.parametrize("pages", [1, 7])
def test_two_people_stay_below_the_quota(pages: int, clock: list[float]) -> None:
    """This holds while one page follows another, too, as in the first round."""
    events = LogEvents(*([f"line {number}"] for number in range(pages)), limit=140)
    with pytest.raises(KeyboardInterrupt):
        list(logs.follow(events.client, GROUPS))
    per_second = len(events.groups) / sum(clock)
    assert 2 * per_second < QUOTA


def platform(kind: str, **record: Any) -> str:
    return json.dumps(
        {"time": "2026-11-24T00:00:00Z", "type": f"platform.{kind}", "record": record}
    )


def test_lines_of_successful_invocations_are_left_out(clock: list[float]) -> None:
    """Lambda writes its own lines as JSON. Those about a timeout stay."""
    timeout = platform("report", requestId="2", status="timeout", metrics={"durationMs": 10000})
    own = [
        '{"level": "INFO", "message": "checkout", "outcome": "sold"}',
        "not JSON at all",
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
    events = LogEvents([*noise, *own, timeout])
    followed = list(itertools.islice(logs.follow(events.client, {"group": "sales"}), len(own) + 1))
    assert followed == [f"sales {line}" for line in [*own, timeout]]


@pytest.mark.usefixtures("aws")
def test_environment_without_log_groups_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["logs", "dev"])
    with pytest.raises(SystemExit, match="dev has no log groups of the functions: deploy it first"):
        logs.main()
