"""The columns and the procedures' parameters are as wide as common/limits.py says."""

import pytest

from common import limits
from tests.support.database_shop import DatabaseShop

WIDTHS = {
    "product_id": limits.PRODUCT_ID,
    "slug": limits.SLUG,
    "order_id": limits.ORDER_ID,
    "callback_token": limits.CALLBACK_TOKEN,
    "factory_id": limits.TEXT,
    "requester": limits.TEXT,
    "idempotency_key": limits.IDEMPOTENCY_KEY,
}
"""For each column, and each parameter without its prefix `p_`, the limit in characters."""
COLUMNS = """
    SELECT table_name, column_name, character_maximum_length
    FROM information_schema.columns WHERE table_schema = DATABASE()"""
PARAMETERS = """
    SELECT specific_name, parameter_name, character_maximum_length
    FROM information_schema.parameters
    WHERE specific_schema = DATABASE() AND parameter_mode IS NOT NULL"""


@pytest.mark.parametrize("statement", [COLUMNS, PARAMETERS], ids=["columns", "parameters"])
def test_columns_and_parameters_are_as_wide_as_the_limits(
    statement: str, shop: DatabaseShop
) -> None:
    found = set()
    for owner, column, width in shop.sql(statement):
        name = column.removeprefix("p_")
        if name in WIDTHS:
            found.add(name)
            assert width == WIDTHS[name], (
                f"{owner}.{column} holds {width} characters, the limit is {WIDTHS[name]}"
            )
    assert found == set(WIDTHS), "a limit was compared with no column or parameter"
