"""console/books.py: what must always hold, and that what violated it stays."""

from typing import Any

import pytest

from console import view
from console.books import IN_A_ROW, MOST_VIOLATIONS, NAMES, Checks, balance, not_negative
from console.source import Books, Sold
from tests.support.reports import ORDER, line

BALANCED = {"slug": "donut", "stock": 9, "difference": 0}
WRONG = {"slug": "donut", "stock": 7, "difference": -2}


def books(
    at: int,
    *,
    sold: Sold | None = None,
    opened_at: int | None = None,
    **offending: list[dict[str, Any]],
) -> Books:
    """Return a report in which nothing is wrong but these rows."""
    empty: dict[str, list[dict[str, Any]]] = {"balance": [], "not_negative": [], "one_order": []}
    return Books(
        at=at, rows=[BALANCED], offending=empty | offending, sold=sold, opened_at=opened_at
    )


def check(checks: Checks, name: str) -> view.Check:
    return next(each for each in checks.all() if each.name == name)


def test_books_that_do_not_balance_are_found() -> None:
    assert balance([BALANCED, WRONG]) == [WRONG]


def test_negative_stock_is_found() -> None:
    negative = {"slug": "bagel", "stock": -1, "difference": 0}
    assert not_negative([BALANCED, {**BALANCED, "stock": 0}, negative]) == [negative]


def test_nothing_is_checked_at_first() -> None:
    found = Checks().all()
    assert [each.name for each in found] == list(NAMES)
    assert all((each.holds, each.checked_at, each.violations) == (None, None, []) for each in found)


def test_violation_stays_after_the_repair() -> None:
    checks = Checks()
    checks.books(books(1))
    assert check(checks, "balance").holds is True
    checks.books(books(2, balance=[WRONG]))
    violated = check(checks, "balance")
    assert (violated.holds, violated.checked_at) == (False, 2)
    assert violated.violations == [{"at": 2, **WRONG}]
    checks.books(books(3))
    repaired = check(checks, "balance")
    assert (repaired.holds, repaired.checked_at) == (True, 3)
    assert repaired.violations == [{"at": 2, **WRONG}]
    assert check(checks, "not_negative").violations == []


def test_violation_that_lasts_is_one_row() -> None:
    checks = Checks()
    for at, stock in enumerate((7, 6, 5)):
        checks.books(books(at, balance=[{**WRONG, "stock": stock}]))
    checks.books(books(3, balance=[{**WRONG, "difference": -3}]))
    rows = check(checks, "balance").violations
    assert [(row["at"], row["difference"]) for row in rows] == [(0, -2), (3, -3)]


def test_number_of_violations_is_limited() -> None:
    checks = Checks()
    rows = [{"order_id": str(number)} for number in range(MOST_VIOLATIONS + 1)]
    checks.books(books(1, one_order=rows))
    assert len(check(checks, "one_order").violations) == MOST_VIOLATIONS


def test_checks_of_the_books_do_not_hold_while_the_database_is_away() -> None:
    checks = Checks()
    checks.books(books(1))
    checks.logged([], at=1)
    checks.unavailable()
    assert [check(checks, name).holds for name in NAMES] == [None, None, None, True, None]


def sold(since: int, difference: int) -> Sold:
    return Sold(since=since, purchases=10 + difference, checkouts=10)


DIFFERENCES = {
    "none": ([0] * 9, True),
    "a checkout at the beginning of the minute": ([0, 1, 0, 0, -1, 1, 1, 1, 1], True),
    "one purchase too many": ([0, 0, 1, 1, 1, 1, 1], False),
    "one purchase too few": ([-1] * IN_A_ROW, False),
    "more and more": ([1, 2, 3, 4, 5], False),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_difference_counts_if_it_is_seen_in_5_checks(case: str) -> None:
    differences, holds = DIFFERENCES[case]
    checks = Checks()
    for since, difference in enumerate(differences):
        checks.books(books(since, sold=sold(since, difference)))
    assert check(checks, "key_sold_once").holds is holds


def test_difference_of_the_same_beginning_counts_once() -> None:
    checks = Checks()
    for at in range(IN_A_ROW):
        checks.books(books(at, sold=sold(0, 1)))
    assert check(checks, "key_sold_once").holds is True


def test_order_that_is_added_twice_violates() -> None:
    checks = Checks()
    first, repeated = (
        line(at, "restock", source="restock", added=added) for at, added in ((1, True), (2, False))
    )
    checks.logged([first, repeated], at=1)
    checks.logged([first], at=2)  # the same line, read twice
    assert check(checks, "arrives_once").holds is True
    again = line(3, "restock", source="restock", added=True)
    checks.logged([again], at=3)
    checks.logged([], at=4)
    violated = check(checks, "arrives_once")
    assert violated.holds is False
    assert violated.violations == [
        {"at": 3, "order_id": ORDER, "first": first.at, "then": again.at}
    ]


def checkout(key: str | None, status: int, **body: object) -> view.Checkout:
    return view.Checkout(at=5, quantity=1, key=key, status=status, body=body, milliseconds=1)


def test_responses_to_one_key_must_be_equal() -> None:
    checks = Checks()
    for response in (
        checkout("a", 200, stock=9),
        checkout("a", 503, message="try again"),
        checkout("a", 422, message="another request"),
        checkout("a", 200, stock=9),
        checkout("b", 200, stock=8),
        checkout(None, 200, stock=7),
        checkout(None, 200, stock=6),
    ):
        checks.checked_out(response)
    assert check(checks, "key_sold_once").violations == []
    checks.checked_out(checkout("a", 200, stock=5))
    violated = check(checks, "key_sold_once")
    assert violated.holds is False
    assert violated.violations == [
        {"at": 5, "idempotency_key": "a", "first": {"stock": 9}, "then": {"stock": 5}}
    ]


def test_shop_that_was_reset_begins_anew() -> None:
    """A key is new to it, and its books have never been wrong."""
    checks = Checks()
    checks.books(books(1, opened_at=1, balance=[WRONG]))
    checks.checked_out(checkout("a", 200, stock=7))
    checks.checked_out(checkout("b", 200, stock=4))
    checks.books(books(2, opened_at=2))
    checks.checked_out(checkout("a", 200, stock=6))
    assert [check(checks, name).violations for name in NAMES] == [[]] * len(NAMES)
    assert check(checks, "balance").holds is True
    checks.checked_out(checkout("a", 200, stock=5))
    assert check(checks, "key_sold_once").holds is False


def test_response_before_the_first_books_after_a_reset_is_no_violation() -> None:
    checks = Checks()
    checks.books(books(1, opened_at=1))
    checks.checked_out(checkout("a", 200, stock=7))
    checks.checked_out(checkout("a", 200, stock=6))
    checks.books(books(2, opened_at=2))
    assert check(checks, "key_sold_once").violations == []


def test_shop_that_stays_or_does_not_say_when_it_opened_was_not_reset() -> None:
    checks = Checks()
    checks.books(books(1, opened_at=1, balance=[WRONG]))
    for at, opened_at in enumerate((1, None, 1), start=2):
        checks.books(books(at, opened_at=opened_at))
    assert len(check(checks, "balance").violations) == 1
