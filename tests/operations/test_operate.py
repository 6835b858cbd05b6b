"""The operators' commands: what they send to the function `operate`, and what they print."""

import io
import json
import sys
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from operations import aws, operate, terminal
from tests.support.fakes import fake_client

ROW = {"slug": "donut", "stock_before": 10, "booked": -2, "stock": 8}
BOOKED = {"tables": [{"title": "booked", "rows": [ROW], "cut": False}]}
STUCK = [{"order_id": f"order-{number}", "quantity": 40} for number in range(2)]
CORRECTION = ["--slug=donut", "--n=-2", "--reason=two were dropped"]

pytestmark = pytest.mark.usefixtures("aws")


class Function:
    """Stands in for the deployed function.

    responses: verb → what it returns, or the exception that the client raises. events: those that
    it was invoked with. failed: whether it reports that the function raised an exception.
    """

    def __init__(self, **responses: Any) -> None:
        self.responses = responses
        self.events: list[dict[str, Any]] = []
        self.failed = False
        self.retries = 0
        self.client = fake_client("lambda", Invoke=self.invoke)

    def invoke(self, **event: Any) -> dict[str, Any]:
        self.events.append(event)
        response = self.responses[event["verb"]]
        if isinstance(response, Exception):
            raise response
        payload = io.BytesIO(json.dumps(response).encode())
        return {
            "Payload": payload,
            "ResponseMetadata": {"RetryAttempts": self.retries},
            **({"FunctionError": "Unhandled"} if self.failed else {}),
        }


Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command with this function deployed, and returns its output."""

    def run(function: Function, *arguments: str) -> str:
        monkeypatch.setattr(aws, "client", lambda service, **_: function.client)
        monkeypatch.setattr(sys, "argv", ["operate", "dev", *arguments])
        operate.main()
        return capsys.readouterr().out

    return run


def failure(run: Run, function: Function, *arguments: str) -> str:
    """Return the sentence with which a command fails."""
    with pytest.raises(SystemExit) as exit:
        run(function, *arguments)
    assert isinstance(exit.value.code, str)
    return exit.value.code


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "Invoke")


def timeout() -> ReadTimeoutError:
    return ReadTimeoutError(endpoint_url="https://lambda.test")


def test_tables_are_printed_with_aligned_columns(run: Run) -> None:
    rows = [
        {"status": "stuck", "orders": 1, "oldest": None},
        {"status": "requested", "orders": 1000, "oldest": 3},
    ]
    function = Function(
        orders={
            "tables": [
                {"title": "by status", "rows": rows, "cut": True},
                {"title": "to look at", "rows": [], "cut": False},
            ]
        }
    )
    assert run(function, "orders").splitlines() == [
        "by status:",
        "status     orders  oldest",
        "stuck      1       -",
        "requested  1000    3",
        "... cut at 2 rows: there are more",
        "",
        "to look at: none",
    ]


def test_caller_is_the_one_that_sts_names(run: Run) -> None:
    function = Function(order={"tables": []})
    run(function, "order", "--id=order-0")
    (event,) = function.events
    assert event.pop("claimed_by").startswith("arn:aws:sts::")
    assert event == {"verb": "order", "order_id": "order-0"}


def test_correction_is_sent_with_an_id_of_its_own(run: Run) -> None:
    function = Function(stocktake=BOOKED, adjust=BOOKED)
    run(function, "stocktake", "--slug=donut", "--count=12", "--reason=counted")
    out = run(function, "adjust", *CORRECTION)
    assert out.splitlines()[1:] == [
        "slug   stock_before  booked  stock",
        "donut  10            -2      8",
    ]
    run(function, "adjust", "--slug=donut", "--n=+2", "--reason=found")
    ids = [str(uuid.UUID(event.pop("operation_id"))) for event in function.events]
    assert len(set(ids)) == 3
    for event in function.events:
        del event["claimed_by"]
    assert function.events == [
        {"verb": "stocktake", "slug": "donut", "count": 12, "reason": "counted"},
        {"verb": "adjust", "slug": "donut", "amount": -2, "reason": "two were dropped"},
        {"verb": "adjust", "slug": "donut", "amount": 2, "reason": "found"},
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["order"],
        ["order", "--id="],
        ["stocktake", "--slug=donut", "--count=12", "--reason="],
        ["stocktake", "--slug=", "--count=12", "--reason=a"],
        ["stocktake", "--slug=donut", "--count=", "--reason=a"],
        ["stocktake", "--slug=donut", "--count=-1", "--reason=a"],
        ["stocktake", "--slug=donut", "--count=1.5", "--reason=a"],
        ["adjust", "--slug=donut", "--n=2", "--reason=a"],
        ["adjust", "--slug=donut", "--n=", "--reason=a"],
        ["adjust", "--slug=donut", "--n=-2", "--reason="],
    ],
)
def test_missing_value_is_explained(run: Run, arguments: list[str]) -> None:
    function = Function()
    assert failure(run, function, *arguments) == operate.USAGE[arguments[0]]
    assert function.events == []


# --- remind


def reminding() -> Function:
    stuck = {"tables": [{"title": "stuck orders", "rows": STUCK, "cut": False}]}
    reminded = {"tables": [{"title": "reminded", "rows": [{"orders": 2}], "cut": False}]}
    return Function(stuck=stuck, remind=reminded)


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    """Answer the questions at the terminal, and return the list of them."""
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return text

    monkeypatch.setattr(terminal, "ask", ask)
    return questions


def test_remind_lists_the_orders_and_asks_before_it_reminds(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions, function = answer(monkeypatch, "yes"), reminding()
    out = run(function, "remind")
    assert "order-0" in out
    assert "order-1" in out
    assert questions == ["Remind the factory of 2 order(s)? Type yes to continue: "]
    _, event = function.events
    assert event["verb"] == "remind"
    assert event["order_ids"] == ["order-0", "order-1"]
    assert uuid.UUID(event["operation_id"])


@pytest.mark.parametrize("text", ["", "no", "y", "YES"])
def test_any_other_answer_reminds_of_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    answer(monkeypatch, text)
    function = reminding()
    assert failure(run, function, "remind") == "Nothing was done."
    assert [event["verb"] for event in function.events] == ["stuck"]


def test_remind_without_a_terminal_reminds_of_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "TERMINAL", "/nowhere/tty")
    function = reminding()
    assert "YES=1 skips the question" in failure(run, function, "remind")
    assert [event["verb"] for event in function.events] == ["stuck"]


def test_yes_skips_the_question(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    questions, function = answer(monkeypatch, "no"), reminding()
    run(function, "remind", "--yes")
    assert questions == []
    assert [event["verb"] for event in function.events] == ["stuck", "remind"]


def test_remind_asks_nothing_without_stuck_orders(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = answer(monkeypatch, "yes")
    function = Function(stuck={"tables": [{"title": "stuck orders", "rows": [], "cut": False}]})
    assert run(function, "remind") == "stuck orders: none\n"
    assert questions == []


# --- failures


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        ({"error": "there is no product bagel"}, "there is no product bagel"),
        (
            client_error("AccessDeniedException"),
            "may not do this: allow lambda:InvokeFunction on the function donut-shop-operate-dev",
        ),
        (
            client_error("ResourceNotFoundException"),
            "dev has no function donut-shop-operate-dev: deploy it first",
        ),
        (
            client_error("TooManyRequestsException"),
            "the function donut-shop-operate-dev is throttled: `make status` shows",
        ),
        (timeout(), "It is unknown whether anything has changed"),
        ([], "unexpected response instead of AWS's"),
    ],
)
def test_failure_is_one_sentence(run: Run, response: Any, sentence: str) -> None:
    assert sentence in failure(run, Function(adjust=response), "adjust", *CORRECTION)


def test_failed_read_does_not_warn_of_changes(run: Run) -> None:
    sentence = failure(run, Function(books=timeout()), "books")
    assert sentence.startswith("AWS can't be reached: ")
    assert "unknown" not in sentence
    unavailable = {"error": "the database is unavailable", "problem": "unknown"}
    sentence = failure(run, Function(books=unavailable), "books")
    assert sentence == "the database is unavailable"


@pytest.mark.parametrize(
    ("problem", "retries", "ending"),
    [
        ("rejected", 1, ""),
        ("unavailable", 0, ". Nothing has changed."),
        ("unavailable", 1, "unknown"),
        ("unknown", 0, "unknown"),
        (None, 0, "unknown"),
    ],
)
def test_failed_change_says_whether_anything_has_changed(
    run: Run, problem: str | None, retries: int, ending: str
) -> None:
    """An invocation that was repeated may have changed something the first time."""
    function = Function(adjust={"error": "no", "problem": problem})
    function.retries = retries
    sentence = failure(run, function, "adjust", *CORRECTION)
    (operation_id,) = [event["operation_id"] for event in function.events]
    if ending == "unknown":
        ending = f". {operate.UNKNOWN.format(operation_id=operation_id)}"
    assert sentence == f"no{ending}"


def test_unknown_outcome_can_be_looked_up() -> None:
    sentence = operate.UNKNOWN.format(operation_id="an-id")
    for pointer in ("`make books`", "`make logs`", "operation_id=an-id"):
        assert pointer in sentence, pointer


def test_failed_function_is_reported_with_its_error(run: Run) -> None:
    function = Function(adjust={"errorType": "Failed", "errorMessage": "KeyError"})
    function.failed = True
    sentence = failure(run, function, "adjust", *CORRECTION)
    assert "donut-shop-operate-dev failed: KeyError" in sentence
    assert "`make logs`" in sentence
    assert "It is unknown whether anything has changed" in sentence
