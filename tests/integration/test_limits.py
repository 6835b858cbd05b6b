"""The columns and the procedures' parameters hold what common/limits.py and the catalogue allow."""

import re
from collections.abc import Mapping

import pytest

from common import limits
from migrate import catalogue
from tests.support.database_shop import DatabaseShop

WIDTHS = {
    "product_id": limits.PRODUCT_ID,
    "slug": limits.SLUG,
    "order_id": limits.ORDER_ID,
    "callback_token": limits.CALLBACK_TOKEN,
    "factory_id": limits.TEXT,
    "requester": limits.TEXT,
    "operation_id": limits.OPERATION_ID,
    "idempotency_key": limits.IDEMPOTENCY_KEY,
    "sku": catalogue.SKU,
    "name": limits.TEXT,
    "reason": limits.TEXT,
    "recorded_by": limits.TEXT,
}
"""For each column, and each parameter without its prefix `p_`, the limit in characters."""
IN_COLUMNS_ONLY = {"sku", "name"}
"""No procedure has a parameter for these, which the catalogue declares."""
COLUMNS = """
    SELECT table_name, column_name, character_maximum_length
    FROM information_schema.columns WHERE table_schema = DATABASE()"""
PARAMETERS = """
    SELECT specific_name, parameter_name, character_maximum_length
    FROM information_schema.parameters
    WHERE specific_schema = DATABASE() AND parameter_mode IS NOT NULL"""
STORED_AS = {
    "unit_price": "price",
    "stock": "opening_stock",
    "stock_before": "opening_stock",
    "amount": "opening_stock",
    "slot": "slots",
}
"""Column, or parameter without its prefix → the number of the catalogue that it stores, if the names
differ."""
TYPES = """
    SELECT table_name, column_name, column_type
    FROM information_schema.columns WHERE table_schema = DATABASE()
    UNION ALL
    SELECT specific_name, parameter_name, dtd_identifier
    FROM information_schema.parameters
    WHERE specific_schema = DATABASE() AND parameter_mode IS NOT NULL
    ORDER BY 1, 2"""
CHECKS = """
    SELECT table_name, check_clause
    FROM information_schema.check_constraints WHERE constraint_schema = DATABASE()"""
BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}


@pytest.fixture
def slots() -> int:
    """Return one number of slots, because the schema is the same for each."""
    return 1


@pytest.mark.parametrize(
    ("statement", "missing"),
    [(COLUMNS, set()), (PARAMETERS, IN_COLUMNS_ONLY)],
    ids=["columns", "parameters"],
)
def test_columns_and_parameters_are_as_wide_as_the_limits(
    statement: str, missing: set[str], shop: DatabaseShop
) -> None:
    found = set()
    for owner, column, width in shop.sql(statement):
        name = column.removeprefix("p_")
        if name in WIDTHS:
            found.add(name)
            assert width == WIDTHS[name], (
                f"{owner}.{column} holds {width} characters, the limit is {WIDTHS[name]}"
            )
    assert found == set(WIDTHS) - missing, "a limit was compared with no column or parameter"


@pytest.mark.parametrize(
    ("table", "rules"),
    [("factory", catalogue.FACTORY), ("product", catalogue.PRODUCT)],
    ids=["factory", "product"],
)
def test_columns_hold_the_longest_texts_of_the_catalogue(
    table: str, rules: Mapping[str, catalogue.Rule], shop: DatabaseShop
) -> None:
    """Otherwise a product that the synthesis accepts would make the migration fail."""
    widths = {column: width for owner, column, width in shop.sql(COLUMNS) if owner == table}
    texts = {key for key in rules if widths.get(key) is not None}
    assert texts, f"no rule was compared with a column of {table}"
    for key in sorted(texts):
        longest = rules[key].max_length
        assert longest is not None, (
            f"{table}.{key} holds {widths[key]} characters: give its rule in"
            f" lambdas/migrate/catalogue.py a max_length, as line({widths[key]}) does"
        )
        assert longest <= widths[key], (
            f"{table}.{key} holds {widths[key]} characters, but its rule in"
            f" lambdas/migrate/catalogue.py accepts {longest}: write line({widths[key]}), or widen"
            " the column in its migration"
        )
        assert not rules[key].is_valid((longest + 1) * "a"), (
            f"the rule of {key} in lambdas/migrate/catalogue.py accepts more than its max_length"
        )


def numbers_of(kind: str) -> range | None:
    """Return the numbers that a column of this SQL type holds, or None if it is not an integer."""
    bits = BITS.get(re.split(r"\W", kind)[0])
    if bits is None:
        return None
    return range(2**bits) if "unsigned" in kind else range(-(2 ** (bits - 1)), 2 ** (bits - 1))


def lowest_allowed(shop: DatabaseShop) -> dict[tuple[str, str], int]:
    """Return table and column → the lowest number that a CHECK constraint allows."""
    return {
        (table, column): int(lowest)
        for table, clause in shop.sql(CHECKS)
        for column, lowest in re.findall(r"`(\w+)` >= (\d+)", clause)
    }


def test_columns_hold_every_number_of_the_catalogue(shop: DatabaseShop) -> None:
    """Otherwise a product that the synthesis accepts would make the migration fail."""
    rules = {**catalogue.FACTORY, **catalogue.PRODUCT}
    allowed = lowest_allowed(shop)
    compared = set()
    for owner, column, kind in shop.sql(TYPES):
        name = column.removeprefix("p_")
        key, numbers = STORED_AS.get(name, name), numbers_of(kind)
        if key not in rules or numbers is None:
            continue
        compared.add(key)
        lowest = allowed.get((owner, column), numbers.start)
        for number in (lowest - 1, numbers.stop):
            assert not rules[key].is_valid(number), (
                f"{owner}.{column} holds {lowest:,} to {numbers.stop - 1:,}, but the rule of {key}"
                f" in lambdas/migrate/catalogue.py accepts {number:,}: narrow the rule, or widen the"
                " column in a migration"
            )
    assert compared == {key for key, rule in rules.items() if rule.max_length is None}, (
        "a number of the catalogue was compared with no column: add it to STORED_AS in this test"
    )
