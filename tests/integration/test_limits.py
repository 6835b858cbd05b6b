"""The widths of the database's columns and procedure parameters against the limits of the functions."""

import pytest

from common import limits
from tests.support.database_shop import Shop

WIDTHS = {
    "product_id": limits.PRODUCT_ID,
    "slug": limits.SLUG,
    "order_id": limits.ORDER_ID,
    "callback_token": limits.CALLBACK_TOKEN,
    "factory_id": limits.TEXT,
    "requester": limits.TEXT,
    "idempotency_key": limits.IDEMPOTENCY_KEY,
}
"""Name of a column, or of a parameter without its `p_` → characters."""
COLUMNS = """
    SELECT table_name, column_name, character_maximum_length
    FROM information_schema.columns WHERE table_schema = DATABASE()"""
PARAMETERS = """
    SELECT specific_name, parameter_name, character_maximum_length
    FROM information_schema.parameters WHERE specific_schema = DATABASE() AND parameter_mode IS NOT NULL"""


@pytest.mark.parametrize("statement", [COLUMNS, PARAMETERS], ids=["columns", "parameters"])
def test_database_is_as_wide_as_the_limits(statement: str, shop: Shop) -> None:
    found = set()
    for owner, column, width in shop.sql(statement):
        name = column.removeprefix("p_")
        if name in WIDTHS:
            found.add(name)
            assert width == WIDTHS[name], (
                f"{owner}.{column} holds {width} characters, the limit is {WIDTHS[name]}"
            )
    assert found == set(WIDTHS), "a limit is compared with nothing"
