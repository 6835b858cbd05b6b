"""Production orders of the bench, apart from database.py, whose imports a cold start pays for."""

import uuid

from bench.sides.database import connect

TOKEN = "token-of-every-order-of-the-bench"
DONUT = "e3957c48-2e06-4d5e-8404-4ff32e8b8f9f"


def add_orders(count: int) -> list[str]:
    """Record production orders that are due at once, and return their ids."""
    order_ids = [str(uuid.uuid4()) for _ in range(count)]
    with connect() as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO production_order (order_id, callback_token, product_id, factory_id,"
            " quantity, requester, requested_at, next_attempt_at)"
            " VALUES (%s, %s, %s, 'FF-500293', 1, 'bench', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
            [(order_id, TOKEN, DONUT) for order_id in order_ids],
        )
    return order_ids
