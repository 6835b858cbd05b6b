"""The handler of the operate function: which events it accepts, and what it returns."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest

from common import limits
from common.database import DatabaseUnavailable, OutcomeUnknown
from common.store import OperationIdUsed
from tests.support.fakes import FakeOperateStore

WHO = "arn:aws:iam::000000000000:user/kim"
VALID: dict[str, dict[str, Any]] = {
    "orders": {},
    "order": {"order_id": "order-0"},
    "books": {},
    "stuck": {},
    "remind": {"operation_id": "an-id", "order_ids": ["order-0", "order-1"]},
    "stocktake": {"operation_id": "an-id", "slug": "donut", "count": 0, "reason": "쥐가 먹었다"},
    "adjust": {"operation_id": "an-id", "slug": "donut", "amount": -2, "reason": "dropped"},
}
"""Verb → the fields of a valid event."""
TITLES = {
    "orders": [
        "published orders that have not arrived, the oldest first",
        "requested and stuck orders, the oldest first",
        "production orders by status (arrived: in the last day)",
    ],
    "order": ["order", "timeline"],
    "books": ["books"],
    "stuck": ["stuck orders, the oldest first"],
    "remind": ["reminded"],
    "stocktake": ["booked"],
    "adjust": ["booked"],
}
"""Verb → the titles of its tables."""
ORDER = {
    "order_id": "order-0",
    "status": "published",
    "requested_at": datetime(2026, 11, 30, 1, 2, 3, 456789),
    "published_at": datetime(2026, 11, 30, 1, 2, 4),
    "arrived_at": None,
    "next_attempt_at": datetime(2026, 11, 30, 1, 17, 4),
    "stuck_at": None,
    "reminded_at": None,
    "reminded_by": None,
    "slug": "donut",
}


@pytest.fixture
def store() -> FakeOperateStore:
    return FakeOperateStore()


@pytest.fixture
def operate(
    load: Callable[..., ModuleType], store: FakeOperateStore, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    module = load("operate")
    monkeypatch.setattr(module, "store", store)
    return module


def invoke(operate: ModuleType, verb: object, **changes: object) -> Any:
    """Invoke a verb with valid fields and these changes. A field that is ... is left out."""
    fields = VALID.get(verb, {}) if isinstance(verb, str) else {}
    event = {"verb": verb, "claimed_by": WHO, **fields, **changes}
    return operate.handler({name: value for name, value in event.items() if value is not ...}, None)


@pytest.mark.parametrize("verb", sorted(VALID))
def test_verb_returns_tables(operate: ModuleType, store: FakeOperateStore, verb: str) -> None:
    store.results = [[dict(ORDER)]] if verb == "order" else []
    response = invoke(operate, verb)
    assert response.keys() == {"tables"}
    assert [table["title"] for table in response["tables"]] == TITLES[verb]
    for table in response["tables"]:
        assert table.keys() == {"title", "rows", "cut"}, table


def test_each_verb_is_tested(operate: ModuleType) -> None:
    assert VALID.keys() == operate.VERBS.keys()


PIECES = limits.PIECES
REJECTED: list[tuple[object, dict[str, object], str]] = [
    ("sql", {}, "verb must be one of orders, order, books, stuck, remind, stocktake, adjust"),
    (None, {}, "verb must be one of"),
    (["orders"], {}, "verb must be one of"),
    ("orders", {"claimed_by": ...}, "claimed_by is missing"),
    ("orders", {"claimed_by": ""}, "claimed_by is missing"),
    ("orders", {"claimed_by": 1}, "claimed_by is missing"),
    ("order", {"order_id": ...}, "order_id must be 1 to 36 ASCII letters"),
    ("order", {"order_id": "'; --"}, "order_id must be 1 to 36 ASCII letters"),
    ("order", {"order_id": "unknown"}, "there is no order unknown"),
    ("remind", {"operation_id": ...}, "operation_id must be 1 to 36"),
    ("remind", {"order_ids": ...}, "order_ids must be a list of 1 to 1000"),
    ("remind", {"order_ids": []}, "order_ids must be a list of 1 to 1000"),
    ("remind", {"order_ids": ["a"] * 1001}, "order_ids must be a list of 1 to 1000"),
    ("remind", {"order_ids": ["a", "b c"]}, "each of order_ids must be"),
    ("remind", {"order_ids": ["a", 1]}, "each of order_ids must be"),
    ("stocktake", {"operation_id": "a" * 37}, "operation_id must be 1 to 36"),
    ("stocktake", {"slug": "bagel"}, "there is no product bagel"),
    ("stocktake", {"slug": "a" * 65}, "slug must be 1 to 64"),
    ("stocktake", {"count": -1}, f"count must be an integer from 0 to {PIECES}"),
    ("stocktake", {"count": PIECES + 1}, "count must be an integer"),
    ("stocktake", {"count": "5"}, "count must be an integer"),
    ("stocktake", {"count": True}, "count must be an integer"),
    ("stocktake", {"count": 1.0}, "count must be an integer"),
    ("stocktake", {"reason": ...}, "reason must be 1 to 200 printable characters"),
    ("stocktake", {"reason": "  "}, "reason must be 1 to 200 printable characters"),
    ("stocktake", {"reason": "a" * 201}, "reason must be 1 to 200 printable characters"),
    ("stocktake", {"reason": "a\x1b[2J"}, "reason must be 1 to 200 printable characters"),
    ("stocktake", {"reason": "\ud800"}, "reason must be 1 to 200 printable characters"),
    ("adjust", {"operation_id": ...}, "operation_id must be 1 to 36"),
    ("adjust", {"amount": 0}, "amount must not be 0"),
    ("adjust", {"amount": -PIECES - 1}, f"amount must be an integer from -{PIECES} to {PIECES}"),
    (
        "adjust",
        {"amount": -11},
        "nothing was booked: the stock of donut is 10, and would fall below 0",
    ),
]


@pytest.mark.parametrize(("verb", "changes", "sentence"), REJECTED)
def test_invalid_event_is_rejected_with_a_sentence(
    operate: ModuleType,
    store: FakeOperateStore,
    verb: object,
    changes: dict[str, object],
    sentence: str,
) -> None:
    response = invoke(operate, verb, **changes)
    assert response.keys() == {"error", "problem"}
    assert response["error"].startswith(sentence)
    assert response["problem"] == "rejected"
    assert store.stock == 10


@pytest.mark.parametrize("event", [[], "x", None, 1], ids=str)
def test_event_that_is_not_an_object_is_rejected(operate: ModuleType, event: object) -> None:
    assert operate.handler(event, None) == {
        "error": "claimed_by is missing",
        "problem": "rejected",
    }


@pytest.mark.parametrize("verb", ["remind", "stocktake", "adjust"])
def test_id_of_another_operation_is_rejected(
    operate: ModuleType, store: FakeOperateStore, verb: str
) -> None:
    store.error = OperationIdUsed("stocktake")
    assert invoke(operate, verb) == {
        "error": "operation_id an-id was used by stocktake: nothing was done",
        "problem": "rejected",
    }


@pytest.mark.parametrize(
    ("verb", "changes"),
    [
        ("stocktake", {"reason": "a" * limits.TEXT}),
        ("stocktake", {"count": PIECES}),
        ("remind", {"order_ids": ["order-0"] * 1000}),
    ],
    ids=["reason", "count", "order_ids"],
)
def test_largest_values_are_accepted(
    operate: ModuleType, verb: str, changes: dict[str, object]
) -> None:
    assert "error" not in invoke(operate, verb, **changes)


@pytest.mark.parametrize(
    ("verb", "names"),
    [
        ("order", ["order_id"]),
        ("remind", ["operation_id"]),
        ("stocktake", ["operation_id", "slug", "count"]),
        ("adjust", ["operation_id", "slug", "amount"]),
    ],
)
def test_fields_of_an_event_are_logged(
    operate: ModuleType,
    store: FakeOperateStore,
    verb: str,
    names: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    store.results = [[dict(ORDER)]] if verb == "order" else []
    invoke(operate, verb)
    (line,) = [vars(line) for line in caplog.records if line.name == "operate.handler"]
    assert {name: line[name] for name in names} == {name: VALID[verb][name] for name in names}


def test_reminder_is_logged_with_the_number_of_orders(
    operate: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """The ids of a thousand orders would be a line of 40,000 characters."""
    caplog.set_level("INFO")
    invoke(operate, "remind", order_ids=["order-0"] * 1000)
    (line,) = [vars(line) for line in caplog.records if line.name == "operate.handler"]
    assert line["orders"] == 1000
    assert "order-0" not in str(line)


def test_stocktake_returns_the_stock_before_and_after(
    operate: ModuleType, store: FakeOperateStore
) -> None:
    (table,) = invoke(operate, "stocktake", count=4)["tables"]
    assert table["rows"] == [{"slug": "donut", "stock_before": 10, "booked": -6, "stock": 4}]
    (call,) = store.calls
    assert call == {
        "operation_id": "an-id",
        "slug": "donut",
        "count": 4,
        "amount": None,
        "reason": "쥐가 먹었다",
        "recorded_by": WHO,
    }


def test_end_of_a_long_arn_is_recorded(operate: ModuleType, store: FakeOperateStore) -> None:
    """A user's ARN contains a path, with which it may be longer than the column."""
    invoke(operate, "adjust", claimed_by=f"arn:aws:iam::0:user/{'a' * 500}/kim")
    recorded = store.calls[0]["recorded_by"]
    assert len(recorded) == limits.TEXT
    assert recorded.endswith("a/kim")


def test_times_of_an_order_are_in_a_table_of_their_own(
    operate: ModuleType, store: FakeOperateStore
) -> None:
    store.results = [[dict(ORDER)]]
    order, timeline = invoke(operate, "order")["tables"]
    assert order["rows"] == [{"order_id": "order-0", "status": "published", "slug": "donut"}]
    assert timeline["rows"] == [
        {"at": "2026-11-30T01:02:03.456Z", "what": "requested"},
        {"at": "2026-11-30T01:02:04.000Z", "what": "published for the last time"},
        {
            "at": "2026-11-30T01:17:04.000Z",
            "what": "next: the relay reminds the factory of it, or marks it as stuck",
        },
    ]


def test_arrival_is_part_of_the_timeline(operate: ModuleType, store: FakeOperateStore) -> None:
    store.results = [[{**ORDER, "arrived_at": datetime(2026, 11, 30, 1, 2, 5)}]]
    _, timeline = invoke(operate, "order")["tables"]
    assert {"at": "2026-11-30T01:02:05.000Z", "what": "arrived"} in timeline["rows"]


def test_relay_publishes_a_requested_order_next(
    operate: ModuleType, store: FakeOperateStore
) -> None:
    store.results = [[{**ORDER, "status": "requested", "published_at": None}]]
    _, timeline = invoke(operate, "order")["tables"]
    *_, last = timeline["rows"]
    assert last == {"at": "2026-11-30T01:17:04.000Z", "what": "next: the relay publishes it"}


@pytest.mark.parametrize(("found", "shown", "cut"), [(1000, 1000, False), (1001, 1000, True)])
def test_table_is_cut_at_1000_rows(
    operate: ModuleType, store: FakeOperateStore, found: int, shown: int, cut: bool
) -> None:
    store.results = [[{"difference": Decimal(number)} for number in range(found)]]
    (table,) = invoke(operate, "books")["tables"]
    assert len(table["rows"]) == shown
    assert table["rows"][-1] == {"difference": shown - 1}
    assert table["cut"] is cut
    assert [query.rpartition(" ")[2] for query in store.queries] == ["1001"]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (DatabaseUnavailable("OperationalError 1290"), "unavailable"),
        (OutcomeUnknown("OperationalError 2013"), "unknown"),
    ],
    ids=["nothing has changed", "unknown"],
)
def test_unavailable_database_is_reported_in_a_sentence(
    operate: ModuleType, store: FakeOperateStore, error: Exception, problem: str
) -> None:
    store.error = error
    for verb in ("orders", "adjust"):
        assert invoke(operate, verb) == {
            "error": f"the database is unavailable: {error}",
            "problem": problem,
        }, verb
