"""Connections of the sides to the shop's database, with PyMySQL alone."""

import json
import os
import ssl
import uuid
from typing import Any

import pymysql

LOGIN: dict[str, Any] = json.loads(os.environ["BENCH_LOGIN"])
TOKEN = "token-of-every-order-of-the-bench"
DONUT = "e3957c48-2e06-4d5e-8404-4ff32e8b8f9f"


def connect(user: str = "admin") -> pymysql.Connection:
    """Connect over verified TLS in autocommit mode, as the shop does."""
    return pymysql.connect(
        host=LOGIN["host"],
        port=LOGIN["port"],
        user=user,
        password=LOGIN["passwords"][user],
        database=LOGIN["database"],
        charset="utf8mb4",
        autocommit=True,
        ssl=ssl.create_default_context(cafile=LOGIN["ca_file"]),
    )


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
