"""A shop that has sold for a long time."""

from tests.support.database_shop import DatabaseShop

DONUT = "(SELECT product_id FROM product WHERE slug = 'donut')"
LONG_AGO = "UTC_TIMESTAMP(6) - INTERVAL 1 DAY - INTERVAL seq SECOND"
HISTORY = (
    "INSERT INTO purchase (product_id, quantity, requester, purchased_at, unit_price)"
    f" SELECT {DONUT}, 1, '홍길동', UTC_TIMESTAMP(6) - INTERVAL {{count}} - seq SECOND, 19900"
    " FROM {rows}",
    "INSERT INTO production_order (order_id, callback_token, product_id, factory_id, quantity,"
    " requester, status, requested_at, published_at, arrived_at, publications)"
    f" SELECT CONCAT(LPAD(HEX(seq), 8, '0'), '-old'), 'token', {DONUT}, 'FF-500293', 1, '홍길동',"
    f" 'arrived', {LONG_AGO}, {LONG_AGO}, {LONG_AGO}, 1 FROM {{rows}}",
    "INSERT INTO idempotency_key (idempotency_key, request_hash, purchased, stock, order_id,"
    " created_at)"
    " SELECT CONCAT(LPAD(HEX(seq), 8, '0'), '-old'), REPEAT('x', 32), 1, 1, NULL,"
    " UTC_TIMESTAMP(6) - INTERVAL seq MOD 172800 SECOND FROM {rows}",
    "INSERT INTO checkout_outcome (order_id, purchased, stock, created_at)"
    " SELECT CONCAT(LPAD(HEX(seq), 8, '0'), '-old'), 1, 1,"
    " UTC_TIMESTAMP(6) - INTERVAL seq MOD 600 SECOND FROM {rows}",
    "INSERT INTO stock_entry (product_id, kind, amount, reason, recorded_by, recorded_at)"
    f" SELECT {DONUT}, 'stocktake', 0, '', '', UTC_TIMESTAMP(6) FROM {{operations}}",
    "INSERT INTO operation (operation_id, verb, stock_before, stock, recorded_at)"
    " SELECT CONCAT(LPAD(HEX(seq), 8, '0'), '-old'), 'stocktake', 1, 1, UTC_TIMESTAMP(6)"
    " FROM {operations}",
)
"""Fill each table that grows. A table of MariaDB's SEQUENCE engine numbers the rows."""


def fill(shop: DatabaseShop, rows: int) -> None:
    """Add this many rows to each table that checkouts fill, without writing them to the binary log.

    Operators have corrected the stock a hundredth as often.
    """
    sequences = {"rows": f"seq_1_to_{rows}", "operations": f"seq_1_to_{1 + rows // 100}"}
    with shop.owner() as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_log_bin = 0")
        for statement in HISTORY:
            cursor.execute(statement.format(count=rows, **sequences))
    tables = "purchase, production_order, idempotency_key, checkout_outcome, stock_entry, operation"
    shop.sql(f"ANALYZE TABLE {tables}")
