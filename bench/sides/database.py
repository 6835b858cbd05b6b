"""Connections of the sides to the shop's database, with PyMySQL alone."""

import json
import os
import ssl
from typing import Any

import pymysql

LOGIN: dict[str, Any] = json.loads(os.environ["BENCH_LOGIN"])


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
