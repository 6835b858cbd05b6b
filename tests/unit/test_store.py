"""The store's statements, and what it makes of their results."""

from decimal import Decimal
from typing import Any

import pytest

from common import deadline, environment
from common import store as store_module
from common.database import DatabaseUnavailable, OutcomeUnknown
from common.store import CheckoutResult, RestockResult, Store
from tests.support.fakes import FakeClock, FakeConnection, FakeDatabase
from tests.support.orders import ORDER

CHECKOUT: dict[str, Any] = {
    "slug": "donut",
    "product_id": None,
    "quantity": 5,
    "factory_id": None,
    "requester": "홍길동",
    "order_id": "order-0",
    "callback_token": "token",
    "publish_within": 30,
    "idempotency_key": None,
    "request_hash": None,
}
"""In the order of the procedure's parameters."""
SOLD = {"outcome": "sold", "purchased": 1, "stock": 7, "server_clock": 1100.0}
LATE = {"outcome": "late", "server_clock": 1100.0}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock(now=100.0)
    monkeypatch.setattr(store_module, "time", clock)
    return clock


@pytest.fixture
def connection(clock: FakeClock) -> FakeConnection:
    """Return a connection with 3 s left, to a server whose clock is 1000 s ahead."""
    connection = FakeConnection(until=clock.now + 3)
    connection.server_clock.observe(1000.0, sent=0.0, received=0.0)
    return connection


@pytest.fixture
def database(connection: FakeConnection) -> FakeDatabase:
    return FakeDatabase(connection)


@pytest.fixture
def store(database: FakeDatabase, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(store_module, "Database", lambda config: database)
    return Store(environment.read(environment.Restock))


def statements(connection: FakeConnection) -> list[str]:
    return [sql for sql, _ in connection.statements]


# --- checkout ---


def test_checkout_sends_its_values_and_the_window(store: Store, connection: FakeConnection) -> None:
    """The window begins CLOCK_TOLERANCE early and ends after half of the time left."""
    connection.results = [[SOLD]]
    store.checkout(**CHECKOUT)
    ((sql, values),) = connection.statements
    assert sql == "CALL checkout(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
    *arguments, not_before, not_after = values
    assert arguments == list(CHECKOUT.values())
    assert not_before == pytest.approx(1100 - deadline.CLOCK_TOLERANCE)
    assert not_after == pytest.approx(1100 + (3 - deadline.CLOCK_TOLERANCE) / 2)


ROWS: dict[str, tuple[dict[str, Any], CheckoutResult]] = {
    "sold": (
        SOLD,
        CheckoutResult(outcome="sold", purchased=True, stock=7, request_hash=b"hash"),
    ),
    "no_such_product": (
        {"outcome": "no_such_product", "server_clock": 1100.0},
        CheckoutResult(outcome="no_such_product", request_hash=b"hash"),
    ),
    "out_of_stock": (
        {
            "outcome": "out_of_stock",
            "purchased": 0,
            "stock": 3,
            "order_id": "order-0",
            "product_id": "a-product",
            "slug": "donut",
            "factory_id": "FF-1",
            "server_clock": 1100.0,
        },
        CheckoutResult(
            outcome="out_of_stock",
            stock=3,
            order_id="order-0",
            product_id="a-product",
            slug="donut",
            factory_id="FF-1",
            request_hash=b"hash",
        ),
    ),
    "replayed": (
        {
            "outcome": "replayed",
            "purchased": 0,
            "stock": 3,
            "order_id": "first-order",
            "request_hash": b"first hash",
            "server_clock": 1100.0,
        },
        CheckoutResult(
            outcome="replayed", stock=3, order_id="first-order", request_hash=b"first hash"
        ),
    ),
}


@pytest.mark.parametrize(("row", "result"), ROWS.values(), ids=ROWS)
def test_checkout_returns_the_row(
    row: dict[str, Any], result: CheckoutResult, store: Store, connection: FakeConnection
) -> None:
    connection.results = [[row]]
    assert store.checkout(**CHECKOUT | {"request_hash": b"hash"}) == result


def test_late_checkout_is_called_again_with_a_corrected_clock(
    store: Store, connection: FakeConnection
) -> None:
    connection.results = [[LATE | {"server_clock": 5100.0}], [SOLD]]
    assert store.checkout(**CHECKOUT).purchased
    _, (_, values) = connection.statements
    assert values[-2] == pytest.approx(5100 - deadline.CLOCK_TOLERANCE)


def test_checkout_raises_when_it_is_late_twice(store: Store, connection: FakeConnection) -> None:
    connection.results = [[LATE], [LATE]]
    with pytest.raises(DatabaseUnavailable, match="late"):
        store.checkout(**CHECKOUT)


@pytest.mark.parametrize("seconds", [deadline.CLOCK_TOLERANCE, 0.1, -1])
def test_checkout_is_not_sent_when_no_time_is_left(
    seconds: float, store: Store, connection: FakeConnection, clock: FakeClock
) -> None:
    connection.until = clock.now + seconds
    with pytest.raises(DatabaseUnavailable, match=r"^no time left$"):
        store.checkout(**CHECKOUT)
    assert connection.statements == []


def test_checkout_is_sent_when_little_time_is_left(
    store: Store, connection: FakeConnection, clock: FakeClock
) -> None:
    connection.until = clock.now + deadline.CLOCK_TOLERANCE + 0.1
    connection.results = [[SOLD]]
    assert store.checkout(**CHECKOUT).purchased


def test_result_without_a_product_names_none() -> None:
    result = CheckoutResult(outcome="no_such_product")
    assert tuple(result) == ("no_such_product", False, 0, None, None, None, None, None)


def test_lost_checkout_with_a_key_is_sent_again(
    store: Store, database: FakeDatabase, connection: FakeConnection
) -> None:
    database.lost = True
    connection.results = [[SOLD], [SOLD | {"outcome": "replayed"}]]
    assert store.checkout(**CHECKOUT | {"idempotency_key": "key"}).outcome == "replayed"
    first, second = statements(connection)
    assert first == second


def test_lost_checkout_without_a_key_is_cancelled(
    store: Store, database: FakeDatabase, connection: FakeConnection
) -> None:
    database.lost = True
    connection.results = [[SOLD], [{"outcome": "cancelled"}]]
    with pytest.raises(DatabaseUnavailable, match="cancelled"):
        store.checkout(**CHECKOUT)
    assert connection.statements[1] == ("CALL cancel_checkout(%s)", ("order-0",))


def test_lost_checkout_that_succeeded_is_not_cancelled(
    store: Store, database: FakeDatabase, connection: FakeConnection
) -> None:
    database.lost = True
    connection.results = [[SOLD], [{"outcome": "sold", "purchased": 1, "stock": 7}]]
    assert store.checkout(**CHECKOUT).purchased


# --- the other statements ---


def test_restock_returns_whether_it_added_the_quantity(
    store: Store, connection: FakeConnection
) -> None:
    connection.results = [[{"added": 1, "stock": 15, "lead_time_seconds": 60}]]
    result = store.restock("order-0", slug="donut", callback_token="token")
    assert result
    assert result.added is True
    assert result.stock == 15
    assert result.lead_time_seconds == 60
    assert connection.statements == [
        ("CALL restock(%s, %s, %s)", ("order-0", "donut", "token")),
    ]


def test_restock_works_with_the_procedure_of_the_first_release(
    store: Store, connection: FakeConnection
) -> None:
    """While a deployment is taken back, the functions are replaced after the procedures."""
    connection.results = [[{"added": 1, "stock": 15}]]
    result = store.restock("order-0", slug="donut", callback_token="token")
    assert result == RestockResult(added=True, stock=15, lead_time_seconds=None)


def test_restock_returns_none_when_there_is_no_row(
    store: Store, connection: FakeConnection
) -> None:
    connection.results = [[]]
    assert store.restock("order-0", slug="donut", callback_token="token") is None


def test_claim_names_orders_without_a_product_as_stuck(
    store: Store, connection: FakeConnection
) -> None:
    row = ORDER._asdict()
    connection.results = [[row, row | {"order_id": "order-1", "product_id": None, "slug": None}]]
    claim = store.claim_orders("claim", publications=1, newest=True, limit=20, lease=60)
    assert claim.orders == [ORDER]
    assert claim.stuck == ["order-1"]
    assert claim.size == 2
    assert connection.statements == [
        ("CALL claim_orders(%s, %s, %s, %s, %s)", ("claim", 1, True, 20, 60)),
    ]


def test_changes_return_the_number_of_rows(store: Store, connection: FakeConnection) -> None:
    counts = [{"marked": 1}, {"marked": 2}, {"purged": 3}, {"purged": 4}]
    connection.results = [[row] for row in [*counts, {"blanked": 5}, {"blanked": 6}]]
    assert store.mark_stuck(max_publications=4, limit=10) == 1
    assert store.mark_orphans(publications=1, newest=False, limit=20) == 2
    assert store.purge_idempotency_keys(retention=60, limit=30) == 3
    assert store.purge_checkout_outcomes(retention=70, limit=40) == 4
    assert store.blank_purchases(retention=80, limit=50) == 5
    assert store.blank_orders(retention=90, limit=60) == 6
    assert connection.statements == [
        ("CALL mark_stuck(%s, %s)", (4, 10)),
        ("CALL mark_orphans(%s, %s, %s)", (1, False, 20)),
        ("CALL purge_idempotency_keys(%s, %s)", (60, 30)),
        ("CALL purge_checkout_outcomes(%s, %s)", (70, 40)),
        ("CALL blank_purchases(%s, %s)", (80, 50)),
        ("CALL blank_orders(%s, %s)", (90, 60)),
    ]


def test_product_and_order_are_returned_as_text(store: Store, connection: FakeConnection) -> None:
    connection.results = [[{"product": "{}", "slots": 1}], [{"production_order": "[]"}]]
    assert store.product("donut") == "{}"
    assert store.order("order-0") == "[]"
    assert [values for _, values in connection.statements] == [("donut",), ("order-0",)]


def test_slots_are_added_up_only_if_the_product_has_any(
    store: Store, connection: FakeConnection
) -> None:
    """The fourth statement is the second of a call that finds the product spread over slots."""
    in_one_row, in_slots = {"product": "{}", "slots": 1}, {"product": "{}", "slots": 16}
    connection.results = [
        [in_one_row],
        [{"product": "{}"}],
        [{"product": None}],
        [in_slots],
        [in_slots],
    ]
    for call in range(4):
        assert store.product("donut") == "{}", f"call {call}"
    adds_up = ["product_slot" in sql for sql, _ in connection.statements]
    assert adds_up == [True, False, False, True, True]
    assert {values for _, values in connection.statements} == {("donut",)}


def test_missing_product_and_order_are_none(store: Store, connection: FakeConnection) -> None:
    connection.results = [[], []]
    assert store.product("donut") is None
    assert store.order("order-0") is None


def test_backlog_is_returned(store: Store, connection: FakeConnection) -> None:
    connection.results = [[BACKLOG]]
    backlog = store.backlog()
    assert backlog.oldest_unpublished_seconds == 7
    assert backlog.unpublished == 3
    assert backlog.stuck == 2


def test_stocks_are_returned_as_integers(store: Store, connection: FakeConnection) -> None:
    """The sum over slots is a DECIMAL, which JSON does not have."""
    connection.results = [[{"slug": "donut", "stock": Decimal(10)}]]
    assert [(slug, type(stock)) for slug, stock in store.stocks().items()] == [("donut", int)]


REPEATABLE = {
    "product": lambda store: store.product("donut"),
    "order": lambda store: store.order("order-0"),
    "restock": lambda store: store.restock("order-0", slug="donut", callback_token="token"),
    "purge_idempotency_keys": lambda store: store.purge_idempotency_keys(retention=60, limit=1),
    "purge_checkout_outcomes": lambda store: store.purge_checkout_outcomes(retention=60, limit=1),
    "blank_purchases": lambda store: store.blank_purchases(retention=60, limit=1),
    "blank_orders": lambda store: store.blank_orders(retention=60, limit=1),
    "backlog": lambda store: store.backlog(),
    "stocks": lambda store: store.stocks(),
}
UNREPEATABLE = {
    "mark_published": lambda store: store.mark_published("order-0", overdue_after=900),
    "claim_orders": lambda store: store.claim_orders(
        "claim", publications=0, newest=False, limit=20, lease=60
    ),
    "mark_stuck": lambda store: store.mark_stuck(max_publications=4, limit=10),
    "mark_orphans": lambda store: store.mark_orphans(publications=0, newest=False, limit=10),
}
BACKLOG = {"oldest_unpublished_seconds": 7, "unpublished": 3, "stuck": 2}
ROW = {
    "product": "{}",
    "slug": "donut",
    "slots": 16,
    "production_order": "{}",
    "added": 0,
    "stock": 1,
    "lead_time_seconds": 60,
    "purged": 0,
    "blanked": 0,
    "marked": 0,
}


@pytest.mark.parametrize("name", REPEATABLE)
def test_lost_repeatable_statement_is_sent_again(
    name: str, store: Store, database: FakeDatabase, connection: FakeConnection
) -> None:
    database.lost = True
    row = BACKLOG if name == "backlog" else ROW
    connection.results = [[row], [row]]
    REPEATABLE[name](store)
    first, second = connection.statements
    assert first == second


@pytest.mark.parametrize("send", UNREPEATABLE.values(), ids=UNREPEATABLE)
def test_lost_unrepeatable_statement_is_not_sent_again(
    send: Any, store: Store, database: FakeDatabase, connection: FakeConnection
) -> None:
    database.lost = True
    connection.results = [[ROW]]
    with pytest.raises(OutcomeUnknown):
        send(store)
    assert len(connection.statements) == 1


READS: dict[str, tuple[dict[str, Any], Any]] = {
    "checkout": (ROWS["out_of_stock"][0], lambda store: store.checkout(**CHECKOUT)),
    "restock": (ROW, REPEATABLE["restock"]),
    "claim_orders": (ORDER._asdict(), UNREPEATABLE["claim_orders"]),
    "correct_stock": (
        {"changed": 1, "stock_before": 10, "stock": 4},
        lambda store: store.correct_stock(
            "an-id", slug="donut", count=4, amount=None, reason="a", recorded_by="b"
        ),
    ),
}
"""Procedures that return rows with several columns: such a row, and how the store reads it."""


@pytest.mark.parametrize("name", READS)
def test_columns_of_a_later_release_are_ignored(
    name: str, store: Store, connection: FakeConnection
) -> None:
    """While a deployment is under way, the functions call the procedures of the next release."""
    row, read = READS[name]
    connection.results = [[dict(row)], [row | {"added_later": 1}]]
    assert read(store) == read(store)


# --- operators ---


def test_reads_are_bounded_and_in_one_transaction(
    store: Store, database: FakeDatabase, connection: FakeConnection
) -> None:
    rows = [{"status": "stuck"}]
    connection.results = [[], [], [], rows, [], []]
    assert store.read(["SELECT 1", "SELECT 2"], ("a",)) == [rows, []]
    assert database.within == [None, 25], "a database that hangs is noticed within a request's time"
    assert connection.statements == [
        ("DO 0", ()),
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", ()),
        ("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", ()),
        ("SET STATEMENT max_statement_time = 25 FOR SELECT 1", ("a",)),
        ("SET STATEMENT max_statement_time = 25 FOR SELECT 2", ("a",)),
        ("COMMIT", ()),
    ]


def test_lost_result_of_a_correction_is_asked_for_again(
    store: Store, database: FakeDatabase, connection: FakeConnection
) -> None:
    """The procedure changes nothing again for the same id."""
    database.lost = True
    row = {"changed": 1, "stock_before": 10, "stock": 4}
    connection.results = [[row], [row]]
    correction = store.correct_stock(
        "an-id", slug="donut", count=4, amount=None, reason="a", recorded_by="b"
    )
    assert correction == (True, 10, 4)
    call = ("CALL correct_stock(%s, %s, %s, %s, %s, %s)", ("an-id", "donut", 4, None, "a", "b"))
    assert connection.statements == [call, call]


def test_lost_result_of_a_reminder_is_asked_for_again(
    store: Store, database: FakeDatabase, connection: FakeConnection
) -> None:
    database.lost = True
    connection.results = [[{"reminded": 2}], [{"reminded": 2}]]
    assert store.remind_stuck("an-id", order_ids=["a", "b"]) == 2
    call = ("CALL remind_stuck(%s, %s)", ("an-id", '["a", "b"]'))
    assert connection.statements == [call, call]
