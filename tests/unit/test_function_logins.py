"""The variables with which each function logs in to the database."""

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pymysql
import pytest

from common import database
from tests.support.fakes import FakeServer

EVENTS: dict[str, dict[str, Any]] = {
    "sales": {"routeKey": "GET /product/{slug}", "pathParameters": {"slug": "donut"}},
    "restock": {
        "pathParameters": {"slug": "donut"},
        "queryStringParameters": {"order": "a", "token": "a"},
    },
    "relay": {},
}


@pytest.mark.parametrize("function", EVENTS)
def test_function_logs_in_as_its_own_user(
    function: str, load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeServer(errors=[pymysql.OperationalError(2003, "cannot connect")])
    monkeypatch.setattr(database, "connect", server.connect)
    module = load(
        function,
        DATABASE_USER=f"shop_{function}",
        MAX_REMINDERS="3",
        IDEMPOTENCY_RETENTION="172800",
    )
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 55_000)
    try:
        assert module.handler(EVENTS[function], context)["statusCode"] == 503
    except database.DatabaseUnavailable:
        assert function == "relay", "an HTTP function returns a response"
    ((user, _, schema),) = server.logins
    assert user == f"shop_{function}"
    assert schema == "shop"
