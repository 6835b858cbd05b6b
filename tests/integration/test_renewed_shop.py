"""What a test changes in the shop is gone from the next test's shop."""

from datetime import datetime
from typing import Any

import pytest

from tests.support.database_shop import DatabaseShop, buy, order_more
from tests.support.renewed_shop import renew
from tests.support.schema import data, schema

CHANGES = {
    "row": "UPDATE product SET stock = 7",
    "row that is missing": "DELETE FROM schema_migration LIMIT 1",
    "many rows": "INSERT INTO checkout_outcome (order_id, purchased, stock, created_at)"
    " SELECT seq, 1, 1, NOW() FROM seq_1_to_2000",
    "procedure": "DROP PROCEDURE restock",
    "table": "CREATE TABLE another (id INT)",
    "column": "ALTER TABLE product MODIFY sku VARCHAR(99)",
    "default value": "ALTER TABLE product ALTER slots SET DEFAULT 3",
    "index": "CREATE INDEX another ON product (name)",
    "trigger": "CREATE TRIGGER another BEFORE INSERT ON product FOR EACH ROW SET @a = 1",
    "grant": "GRANT SELECT ON shop.purchase TO shop_restock_password",
    "user": "CREATE USER shop_former",
    "password": "ALTER USER shop_restock_password IDENTIFIED BY 'another'",
    "database": "ALTER DATABASE shop CHARACTER SET latin1",
}


@pytest.fixture
def slots() -> int:
    """Return one number of slots, because others are set later."""
    return 1


def everything(shop: DatabaseShop) -> tuple[Any, ...]:
    """Return the schema, the users with their grants, and the data without its times."""
    rows = {
        table: [
            {name: None if isinstance(value, datetime) else value for name, value in row.items()}
            for row in rows
        ]
        for table, rows in data(shop).items()
    }
    users = [user for (user,) in shop.sql("SELECT user FROM mysql.user WHERE user LIKE 'shop%%'")]
    grants = {user: shop.sql("SHOW GRANTS FOR %s", (user,)) for user in users}
    database = shop.sql("SELECT * FROM information_schema.schemata WHERE schema_name = 'shop'")
    return schema(shop), grants, rows, database


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_is_gone_from_the_next_shop(change: str, shop: DatabaseShop) -> None:
    before = everything(shop)
    shop.sql(change)
    assert everything(shop) != before
    renew(shop)
    assert everything(shop) == before


def test_shop_that_has_only_traded_is_not_created_anew(shop: DatabaseShop) -> None:
    def tables() -> list[tuple[Any, ...]]:
        return shop.sql(
            "SELECT table_id, name FROM information_schema.innodb_sys_tables"
            " WHERE name LIKE 'shop/%%' ORDER BY name"
        )

    before = everything(shop), tables()
    shop.set_slots(3)
    buy(shop.store(), 3, idempotency_key="key", request_hash=bytes(32))
    order_more(shop.store(), 25)
    renew(shop)
    assert (everything(shop), tables()) == before
