"""The shop's own handlers, each buyer with copies of them as if in an execution environment."""

import importlib.util
import itertools
import json
import logging
import os
import sys
import uuid
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from bench import events
from bench.sides import database, orders
from common import iam_login, messages
from settings import LAMBDAS
from tests.support.variables import LOGIN, VARIABLES

CLAIMED = 20
"""Orders in one claim of the relay."""
copies = itertools.count()

os.environ.update(LOGIN | VARIABLES)
os.environ.update(
    DATABASE_HOST=database.LOGIN["host"],
    DATABASE_PORT=str(database.LOGIN["port"]),
    DATABASE_NAME=database.LOGIN["database"],
    DATABASE_CA_FILE=database.LOGIN["ca_file"],
)
sign = iam_login.token


def password_after_signing(*, user: str, **others: Any) -> str:
    """Sign a token, as for RDS, but return a password, because this server takes no tokens."""
    sign(user=user, **others)
    return str(database.LOGIN["passwords"][user])


def publish_nothing(order: messages.ProductionOrder, *, topic_arn: str) -> None:
    """Stand in for SNS, whose time is not the shop's."""


def log_as_deployed() -> None:
    """Write log lines as JSON, with the code that runs on Lambda, to a file that drops them."""
    from awslambdaric import bootstrap

    sink = bootstrap.FramedTelemetryLogSink(os.open(os.devnull, os.O_WRONLY))
    sink.__enter__()
    bootstrap._setup_logging(bootstrap.LogFormat.JSON, "INFO", sink)


iam_login.token = password_after_signing
messages.publish = publish_nothing
logging.getLogger().addHandler(logging.NullHandler())
if os.environ.get("BENCH_LOG"):
    log_as_deployed()


def load(function: str) -> ModuleType:
    """Import a new copy of a function's handler, which has a connection of its own."""
    os.environ["DATABASE_USER"] = f"shop_{function}_password"
    name = f"{function}_handler_{next(copies)}"
    spec = importlib.util.spec_from_file_location(name, LAMBDAS / function / "handler.py")
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Buyer:
    def __init__(self) -> None:
        self._sales = load("sales")
        self._restock: ModuleType | None = None
        self._relay: ModuleType | None = None
        self._call(events.get())

    def prepare(self, scenario: str, calls: int) -> list[Callable[[], Any]]:
        prepare: Callable[[int], list[Callable[[], Any]]] | None
        if prepare := getattr(self, f"_{scenario}", None):
            return prepare(calls)
        return [partial(self._call, getattr(events, scenario)()) for _ in range(calls)]

    def sold(self, result: Any) -> bool:
        return isinstance(result, dict) and "구매 완료" in result["body"]

    def _call(self, event: dict[str, Any]) -> dict[str, Any]:
        response = self._sales.handler(event, None)
        assert response["statusCode"] == 200, response
        return dict(response)

    def _replay(self, calls: int) -> list[Callable[[], Any]]:
        """Use a key, and repeat it. Each repetition gets the first response, which has sold."""
        event = events.checkout_with_key()
        self._call(event)
        return [partial(self._call, event)] * calls

    def _order(self, calls: int) -> list[Callable[[], Any]]:
        order_id = json.loads(self._call(events.out_of_stock())["body"])["order_id"]
        return [partial(self._call, events.order(order_id))] * calls

    def _restocks(self, calls: int) -> list[Callable[[], Any]]:
        """Let the factory call back for orders of its own."""
        self._restock = self._restock or load("restock")
        order_ids = orders.add_orders(calls)
        handler = self._restock.handler
        return [partial(handler, events.callback(id, orders.TOKEN), None) for id in order_ids]

    def _claim(self, calls: int) -> list[Callable[[], Any]]:
        """Claim orders that are due and were never published, as the relay does."""
        self._relay = self._relay or load("relay")
        orders.add_orders(calls * CLAIMED)
        claim = partial(
            self._relay.store.claim_orders,
            publications=0,
            newest=False,
            limit=CLAIMED,
            lease=3600,
        )
        return [partial(claim, str(uuid.uuid4())) for _ in range(calls)]

    def _mark_stuck(self, calls: int) -> list[Callable[[], Any]]:
        """Mark a portion of the overdue orders as stuck, as the relay does before it claims."""
        self._relay = self._relay or load("relay")
        portion = self._relay.PORTION
        return [partial(self._relay.store.mark_stuck, max_publications=4, limit=portion)] * calls
