"""`make logs`: the log groups, the lines, their order and filters, and the rate of requests."""

import itertools
import json
import sys
import time
from typing import Any

import pytest

from operations import aws, logs
from settings import ENVIRONMENTS
from tests.support.assembly import Assembly
from tests.support.fakes import fake_client

GROUPS = logs.log_groups(ENVIRONMENTS["dev"])
QUOTA = 5
"""FilterLogEvents requests per second that an account has in any region."""
NOW = 1_000_000
"""Seconds since the epoch when a command begins."""


class LogEvents:
    """What CloudWatch Logs returns: these pages of messages for each group.

    groups: the group of each request. requests: the other parameters of each request. limit: the
    number of requests before someone types Ctrl-C.
    """

    def __init__(self, *pages: list[str], limit: int = sys.maxsize) -> None:
        self.pages = pages or ([],)
        self.limit = limit
        self.groups: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.client = fake_client("logs", FilterLogEvents=self.filter_log_events)

    def filter_log_events(
        self, *, logGroupName: str, nextToken: str = "0", **parameters: Any
    ) -> dict[str, Any]:
        if len(self.groups) == self.limit:
            raise KeyboardInterrupt
        self.groups.append(logGroupName)
        self.requests.append(parameters)
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
    monkeypatch.setattr("operations.logs.time.time", lambda: NOW + sum(pauses))
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
    """This also holds in the first round, in which a group has several pages."""
    events = LogEvents(*([f"line {number}"] for number in range(pages)), limit=140)
    with pytest.raises(KeyboardInterrupt):
        list(logs.follow(events.client, GROUPS))
    per_second = len(events.groups) / sum(clock)
    assert 2 * per_second < QUOTA


def first(number: int, events: LogEvents, **filters: str) -> list[logs.LogLine]:
    """Return the first lines of one group."""
    followed = logs.follow(events.client, {"group": "sales"}, **filters)
    return list(itertools.islice(followed, number))


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
    followed = [str(line) for line in first(len(own) + 1, events)]
    assert [line.split(maxsplit=2)[2] for line in followed] == [
        "INFO      checkout  outcome=sold",
        "not JSON at all",
        "[1]",
        '{"type": 1}',
        'ERROR     platform.report  requestId=2  status=timeout  metrics={"durationMs": 10000}',
    ]


def logged(level: str, message: str, **fields: Any) -> str:
    """Return a line as Lambda writes it for a function."""
    of_lambda = {"timestamp": "2026-11-24T00:00:00Z", "logger": "a.handler", "requestId": "1"}
    return json.dumps({**of_lambda, "level": level, "message": message, **fields})


EXCEPTION = {
    "log_level": "ERROR",
    "errorMessage": "no such key",
    "errorType": "Failed",
    "requestId": "1",
    "stackTrace": ['  File "handler.py", line 3\n    fail()\n'],
}
READABLE = {
    "words": (
        logged("INFO", "checkout", outcome="sold", stock=7),
        "INFO      checkout  outcome=sold  stock=7",
    ),
    "texts": (
        logged("WARNING", "a", b="two words", c="홍", d="", e="\x1b[2J", f="\x9b2J", g='="'),
        'WARNING   a  b="two words"  c=홍  d=""  e="\\u001b[2J"  f="\\u009b2J"  g="=\\""',
    ),
    "exception": (
        json.dumps(EXCEPTION),
        'ERROR     Failed: no such key\n      File "handler.py", line 3\n        fail()',
    ),
    "our own stack": (
        logged("ERROR", "unexpected error", reason="KeyError", stack=["  in fail\n"]),
        "ERROR     unexpected error  reason=KeyError\n      in fail",
    ),
}


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("case", READABLE)
def test_line_is_readable(case: str) -> None:
    message, expected = READABLE[case]
    (line,) = first(1, LogEvents([message]))
    assert str(line) == f"1970-01-01T00:00:00.000Z  sales        {expected}"


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("DEBUG", ["debug", "info", "warning", "error", "no level"]),
        ("INFO", ["info", "warning", "error", "no level"]),
        ("WARNING", ["warning", "error", "no level"]),
        ("ERROR", ["error", "no level"]),
    ],
)
def test_lines_below_the_level_are_left_out(level: str, shown: list[str]) -> None:
    lines = [
        logged("DEBUG", "debug"),
        logged("INFO", "info"),
        logged("WARN", "warning"),  # as some runtimes call it
        logged("ERROR", "error"),
        "no level",
    ]
    found = first(len(shown), LogEvents(lines), level=level)
    assert [line.message for line in found] == shown


class Stored:
    """Stands in for the emulator, which returns the oldest events, and no token for the others.

    events: group → the time in milliseconds and the message of each event. limit: the most events
    that one response has.
    """

    def __init__(self, events: dict[str, list[tuple[int, str]]], *, limit: int) -> None:
        self.events, self.limit = events, limit
        self.client = fake_client("logs", FilterLogEvents=self.filter_log_events)

    def filter_log_events(
        self, *, logGroupName: str, startTime: int, endTime: int, filterPattern: str = ""
    ) -> dict[str, Any]:
        end = min(endTime, time.time() * 1000)  # nothing has happened in the future
        found = [
            {"logStreamName": "stream", "timestamp": at, "message": message}
            for at, message in sorted(self.events[logGroupName])
            if startTime <= at <= end and filterPattern.strip('"') in message
        ]
        return {"events": found[: self.limit]}


START = (NOW - logs.BACK_SECONDS) * 1000


@pytest.mark.usefixtures("clock")
def test_lines_of_all_groups_are_printed_by_time() -> None:
    stored = Stored(
        {
            "a": [(START + 1, "1"), (START + 4, "4"), (START + 5, "5")],
            "b": [(START + 3, "3")],
            "c": [(START + 2, "2"), (START + 6, "6"), (START - 1, "before")],
        },
        limit=logs.MAX_EVENTS,
    )
    followed = logs.follow(stored.client, {"a": "sales", "b": "relay", "c": "restock"})
    lines = list(itertools.islice(followed, 6))
    assert [line.message for line in lines] == ["1", "2", "3", "4", "5", "6"]
    assert [line.source for line in lines[:3]] == ["sales", "restock", "relay"]


def test_groups_are_read_up_to_the_same_moment(clock: list[float]) -> None:
    """Otherwise a line of one group would come before an earlier line of another group."""
    begun, meanwhile = NOW * 1000 - 1, NOW * 1000 + 100
    stored = Stored(
        {"a": [(begun, "1"), (meanwhile, "2")], "b": [(begun, "1"), (meanwhile + 1, "3")]},
        limit=logs.MAX_EVENTS,
    )
    followed = logs.follow(stored.client, {"a": "sales", "b": "relay"})
    assert [line.message for line in itertools.islice(followed, 4)] == ["1", "1", "2", "3"]


def test_late_event_is_printed_once(clock: list[float]) -> None:
    stored = Stored({"a": [(START + 10, "first")]}, limit=logs.MAX_EVENTS)
    followed = logs.follow(stored.client, {"a": "sales"})
    assert next(followed).message == "first"
    stored.events["a"].append((NOW * 1000 - 1000, "late"))
    assert next(followed).message == "late"
    stored.events["a"].append((NOW * 1000 + 1, "next"))
    assert next(followed).message == "next"


@pytest.mark.usefixtures("clock")
def test_events_without_a_token_are_read_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_EVENTS", 3)
    times = [1, 2, 3, 3, 4, 5, 6]
    events = [(START + at, f"{number}") for number, at in enumerate(times)]
    stored = Stored({"a": events}, limit=3)
    followed = logs.follow(stored.client, {"a": "sales"})
    found = [line.message for line in itertools.islice(followed, len(times))]
    assert found == ["0", "1", "2", "3", "4", "5", "6"]


@pytest.mark.usefixtures("clock")
def test_events_of_an_order_are_filtered_by_cloudwatch() -> None:
    stored = Stored({"a": [(START, "order-1"), (START + 1, "order-2")]}, limit=logs.MAX_EVENTS)
    followed = logs.follow(stored.client, {"a": "sales"}, order_id="order-2")
    assert next(followed).message == "order-2"


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--order=a b", "ORDER must be the id of a production order"),
        ('--order="', "ORDER must be the id of a production order"),
        ("--level=loud", "LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
    ],
)
def test_invalid_filter_is_named(
    argument: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["logs", "dev", argument])
    with pytest.raises(SystemExit, match=sentence):
        logs.main()


def test_filters_of_the_command_are_applied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    events = LogEvents([logged("ERROR", "b"), logged("INFO", "a")], limit=len(GROUPS))
    monkeypatch.setattr(sys, "argv", ["logs", "dev", "--order=order-1", "--level=warn"])
    monkeypatch.setattr(aws, "client", lambda *_, **__: events.client)
    logs.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == ["b"] * len(GROUPS)
    assert {request["filterPattern"] for request in events.requests} == {'"order-1"'}


@pytest.mark.usefixtures("aws")
def test_environment_without_log_groups_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["logs", "dev"])
    with pytest.raises(SystemExit, match="dev has no log groups of the functions: deploy it first"):
        logs.main()
