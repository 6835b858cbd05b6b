"""The variables with which each function logs in to the database."""

from collections.abc import Callable
from contextlib import suppress
from types import ModuleType, SimpleNamespace
from typing import Any

import pymysql
import pytest

from common import database, failures
from settings import DATABASE_USERS
from tests.support.fakes import FakeServer

REQUESTS: dict[str, dict[str, Any]] = {
    "sales": {"routeKey": "GET /product/{slug}", "pathParameters": {"slug": "donut"}},
    "restock": {
        "pathParameters": {"slug": "donut"},
        "queryStringParameters": {"order": "a", "token": "a"},
    },
    "operate": {"verb": "orders", "claimed_by": "arn:aws:iam::000000000000:root"},
}
"""Function → an event that makes it use the database. Others use it whatever the event is."""
UNAVAILABLE = {
    "sales": ("statusCode", 503),
    "restock": ("statusCode", 503),
    "operate": ("error", "the database is unavailable: OperationalError 2003"),
}
"""Function → what it returns if it does not reach the database. Others raise an exception."""


@pytest.mark.parametrize("function", DATABASE_USERS)
def test_function_logs_in_as_its_own_user(
    function: str, load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeServer(errors=[pymysql.OperationalError(2003, "cannot connect")])
    monkeypatch.setattr(database, "connect", server.connect)
    module = load(function, DATABASE_USER=DATABASE_USERS[function])
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 55_000)
    response = None
    with suppress(database.DatabaseUnavailable, failures.Failed):
        response = module.handler(REQUESTS.get(function, {}), context)
    assert server.logins, f"lambdas/{function} did not log in: add to REQUESTS what makes it do so"
    if function in UNAVAILABLE:
        assert response, "a function that somebody waits for returns a response"
        field, value = UNAVAILABLE[function]
        assert response[field] == value
    ((user, _, schema),) = server.logins
    assert user == DATABASE_USERS[function]
    assert schema == "shop"
