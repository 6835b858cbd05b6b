"""`make trace`: what it requests from the function and from the logs, and what it prints."""

import io
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from operations import aws, trace
from settings import ENVIRONMENTS, REGION
from tests.support.documentation import sections
from tests.support.fakes import fake_client

ORDER_ID = "0a1b2c3d-0000-4000-8000-00000000000f"
DEV = ENVIRONMENTS["dev"]
FUNCTIONS = ["consumer", "migrate", "operate", "relay", "restock", "sales"]
NOW = 1_795_478_500.0
"""2026-11-24 00:01:40 in UTC."""
ROW = {"order_id": ORDER_ID, "status": "arrived"}
TIMELINE = [
    {"at": "2026-11-24T00:00:00.000Z", "what": "requested"},
    {"at": "2026-11-24T00:00:00.060Z", "what": "published for the last time"},
    {"at": "2026-11-24T00:00:50.000Z", "what": "arrived"},
]
FOUND = {
    "tables": [
        {"title": "order", "rows": [ROW], "cut": False},
        {"title": "timeline", "rows": TIMELINE, "cut": False},
    ]
}
UNAVAILABLE = {
    "error": "the database is unavailable: OperationalError 2003",
    "problem": "unavailable",
}

pytestmark = pytest.mark.usefixtures("aws")


def event(function: str, seconds: str, message: str, **fields: object) -> list[dict[str, str]]:
    """Return one result of a query. seconds: the last part of its time, with milliseconds."""
    text = json.dumps({"level": "INFO", "message": message, "order_id": ORDER_ID, **fields})
    values = {
        "@timestamp": f"2026-11-24 00:00:{seconds}",
        "@log": f"123456789012:{DEV.log_group(function)}",
        "@message": text,
        "@ptr": "a-pointer",
    }
    return [{"field": name, "value": value} for name, value in values.items()]


QUEUED = {"queued_at": "2026-11-24T00:00:00.055Z"}
EVENTS = [
    event("restock", "50.000", "restock", added=True),
    event("consumer", "00.300", "not placed", **QUEUED, receives=1),
    event("consumer", "30.000", "placed", **QUEUED, receives=2),
    event("sales", "00.010", "checkout", outcome="out_of_stock"),
    event("sales", "00.050", "published"),
    event("operate", "10.000", "operation", verb="order"),
]


class Cloud:
    """Stands in for the deployed function and for the logs.

    function: what the function returns. events: the results of the query. statuses: those of the
    query, one for each request. queries: the parameters of each query that was started.
    """

    def __init__(
        self,
        *,
        function: dict[str, Any] | None = None,
        events: list[list[dict[str, str]]] | None = None,
        statuses: tuple[str, ...] = ("Complete",),
    ) -> None:
        self.function = FOUND if function is None else function
        self.events = EVENTS if events is None else events
        self.statuses = list(statuses)
        self.queries: list[dict[str, Any]] = []
        self.clients = {
            "lambda": fake_client("lambda", Invoke=self.invoke),
            "logs": fake_client(
                "logs", StartQuery=self.start_query, GetQueryResults=self.get_query_results
            ),
        }

    def invoke(self, **event: Any) -> dict[str, Any]:
        assert (event["verb"], event["order_id"]) == ("order", ORDER_ID)
        return {
            "Payload": io.BytesIO(json.dumps(self.function).encode()),
            "ResponseMetadata": {"RetryAttempts": 0},
        }

    def start_query(self, **query: Any) -> dict[str, Any]:
        self.queries.append(query)
        return {"queryId": "a-query"}

    def get_query_results(self, **_: Any) -> dict[str, Any]:
        status = self.statuses.pop(0)
        return {"status": status, "results": self.events if status == "Complete" else []}


Run = Callable[[Cloud], tuple[list[str], object]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command.

    It returns the printed lines, and the sentence with which the command fails, or None.
    """

    def run(cloud: Cloud) -> tuple[list[str], object]:
        monkeypatch.setattr(aws, "client", lambda service, **_: cloud.clients[service])
        monkeypatch.setattr("operations.trace.time.time", lambda: NOW)
        monkeypatch.setattr("operations.trace.time.sleep", lambda seconds: None)
        monkeypatch.setattr(sys, "argv", ["trace", "dev", f"--order={ORDER_ID}"])
        sentence = None
        try:
            trace.main()
        except SystemExit as exit:
            sentence = exit.code
        return capsys.readouterr().out.splitlines(), sentence

    return run


def steps(lines: list[str]) -> list[str]:
    """Return what is printed in each line with a time, without repeated spaces."""
    return [" ".join(line.split()) for line in lines if line.startswith("2026-")]


def test_row_queue_and_log_lines_are_printed_by_time(run: Run) -> None:
    lines, sentence = run(Cloud())
    assert sentence is None
    assert [line.split() for line in lines[1:3]] == [["order_id", "status"], [ORDER_ID, "arrived"]]
    assert steps(lines) == [
        "2026-11-24T00:00:00.000Z database requested",
        "2026-11-24T00:00:00.010Z sales INFO checkout outcome=out_of_stock",
        "2026-11-24T00:00:00.050Z sales INFO published",
        "2026-11-24T00:00:00.055Z stock_queue queued",
        "2026-11-24T00:00:00.060Z database published for the last time",
        "2026-11-24T00:00:00.300Z consumer INFO not placed receives=1",
        "2026-11-24T00:00:30.000Z consumer INFO placed receives=2",
        "2026-11-24T00:00:50.000Z database arrived",
        "2026-11-24T00:00:50.000Z restock INFO restock added=true",
    ]


def test_query_begins_a_minute_before_the_order(run: Run) -> None:
    """Clocks differ. Insights charges for what a query reads."""
    cloud = Cloud()
    run(cloud)
    (query,) = cloud.queries
    assert query == {
        "logGroupNames": [DEV.log_group(function) for function in FUNCTIONS],
        "startTime": int(NOW) - 100 - 60,
        "endTime": int(NOW) + 1,
        "queryString": (
            f"fields @timestamp, @log, @message\n| filter @message like /{ORDER_ID}/"
            "\n| sort @timestamp asc\n| limit 10000"
        ),
    }


def test_log_lines_are_printed_when_the_database_is_unavailable(run: Run) -> None:
    cloud = Cloud(function=UNAVAILABLE)
    lines, sentence = run(cloud)
    assert sentence == UNAVAILABLE["error"]
    assert steps(lines)[0] == "2026-11-24T00:00:00.010Z sales INFO checkout outcome=out_of_stock"
    assert len(steps(lines)) == 6
    (query,) = cloud.queries
    assert query["startTime"] == int(NOW) - DEV.log_retention_days * 24 * 3600


def test_logs_are_not_read_for_an_order_that_does_not_exist(run: Run) -> None:
    """A word such as `relay` is in many lines, and a query of the whole retention is billed."""
    cloud = Cloud(function={"error": f"there is no order {ORDER_ID}", "problem": "rejected"})
    assert run(cloud) == ([], f"there is no order {ORDER_ID}")
    assert cloud.queries == []


SALES = event("sales", "00.050", "published")
REJECTED = event("restock", "40.000", "callback rejected")
NOT_PLACED = event("consumer", "01.000", "not placed", **QUEUED, receives=1)
PLACED = event("consumer", "02.000", "placed", **QUEUED, receives=2)
AGAIN = event("relay", "30.000", "published")


@pytest.mark.parametrize(
    ("status", "events", "waits_for"),
    [
        ("requested", [], "SNS or the relay: see OldestUnpublishedOrder"),
        ("requested", [SALES, PLACED], "SNS or the relay: see OldestUnpublishedOrder"),
        ("published", [], "the queue or the consumer: see OldestMessage"),
        ("published", [SALES], "the queue or the consumer: see OldestMessage"),
        ("published", [SALES, NOT_PLACED], "the factory to accept it: see StockDlqNotEmpty"),
        ("published", [SALES, NOT_PLACED, PLACED], "the factory's callback"),
        ("published", [SALES, PLACED, REJECTED], "the factory's callback"),
        ("published", [SALES, PLACED, AGAIN], "the queue or the consumer: see OldestMessage"),
        ("stuck", [SALES, PLACED], "an operator: see StuckOrders"),
        ("arrived", [SALES, PLACED, REJECTED], "nothing: it has arrived"),
    ],
)
def test_last_line_says_what_the_order_waits_for(
    run: Run, status: str, events: list[list[dict[str, str]]], waits_for: str
) -> None:
    """A rejected callback does not change it: whoever knows the order's id can cause one."""
    order = {"title": "order", "rows": [{**ROW, "status": status}], "cut": False}
    lines, _ = run(Cloud(function={"tables": [order]}, events=events))
    assert lines[-1].startswith(f"The order waits for {waits_for}")


def test_last_line_names_sections_of_the_runbook() -> None:
    for text in (
        trace.TOPIC,
        *trace.WAITS_FOR_BY_STATUS.values(),
        *trace.WAITS_FOR_BY_STEP.values(),
    ):
        for section in re.findall(r"see (\w+)", text):
            assert section in sections("docs/runbook.md"), text


def test_last_line_needs_no_database(run: Run) -> None:
    for events, waits_for in (
        ([SALES, NOT_PLACED], "the factory to accept it"),
        ([SALES, PLACED, REJECTED], "the factory's callback"),
        (EVENTS, "nothing: it has arrived"),
    ):
        lines, _ = run(Cloud(function=UNAVAILABLE, events=events))
        assert lines[-1].startswith(f"The order waits for {waits_for}"), waits_for


def test_query_is_polled_until_it_is_complete(run: Run) -> None:
    lines, sentence = run(Cloud(statuses=("Scheduled", "Running", "Unknown", "Complete")))
    assert sentence is None
    assert len(steps(lines)) == 9


@pytest.mark.parametrize("status", ["Failed", "Cancelled", "Timeout"])
def test_query_that_fails_is_named(status: str, run: Run) -> None:
    _, sentence = run(Cloud(statuses=("Running", status)))
    assert sentence == f"the query of the logs ended as {status}: try again"


def test_missing_log_lines_are_named(run: Run) -> None:
    lines, _ = run(Cloud(events=[]))
    assert lines[-2] == "no log lines: they are kept for 7 day(s), and appear within a minute"


def test_cut_query_says_so(run: Run) -> None:
    lines, _ = run(Cloud(events=[event("sales", "00.010", "checkout")] * 10_000))
    assert lines[-2] == "... cut at 10,000 log lines: there are more"


@pytest.mark.parametrize("order_id", ["", "a/", "a b", "a" * 37])
def test_invalid_order_is_not_looked_up(order_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["trace", "dev", f"--order={order_id}"])
    with pytest.raises(SystemExit, match=r"type ORDER=\.\.\. make trace, with the id"):
        trace.main()


def test_environment_without_log_groups_is_named(run: Run) -> None:
    cloud = Cloud()
    cloud.clients["logs"] = boto3.client("logs", region_name=REGION)  # an account without any
    _, sentence = run(cloud)
    assert sentence == "dev has no log groups of the functions: deploy it first"
