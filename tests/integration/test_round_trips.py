"""How many statements a request sends to the database. Each of them takes one round trip."""

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

import pymysql
import pytest
from pymysql.constants import COMMAND

from common import messages
from common.sockets import TlsSocket
from local.database.mariadb import MariaDb
from tests.support.database_shop import TOKEN, DatabaseShop, order_more, shop_on
from tests.support.fakes import FakeTopic
from tests.support.variables import set_variables

Event = dict[str, Any]
ORDER = "11111111-1111-4111-8111-111111111111"
"""The id of a production order that has not arrived."""


@pytest.fixture(scope="module", params=[1, 16], ids=["one row", "16 slots"])
def shop(server: MariaDb, request: pytest.FixtureRequest) -> Iterator[DatabaseShop]:
    """Create one shop for all tests, because a new one for each would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        shop = shop_on(server, patch)
        shop.recreate()
        shop.migrate()
        shop.set_slots(request.param)
        yield shop


@dataclass
class Functions:
    """The handlers behind the API, which have not connected yet."""

    sales: ModuleType
    restock: ModuleType

    def status(self, event: Event) -> int:
        """Call the function of the event's route, and return the status of its response."""
        is_callback = event["routeKey"] == "POST /product/{slug}"
        response = (self.restock if is_callback else self.sales).handler(event, None)
        return int(response["statusCode"])


@pytest.fixture
def functions(shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch) -> Functions:
    """Return the functions of a shop with ten donuts and one order."""
    shop.clear(stock=10, slots=shop.slots())
    order_more(shop.store(), 11, order_id=ORDER)
    monkeypatch.setattr(messages, "publish", FakeTopic().publish)

    def load(name: str) -> ModuleType:
        set_variables(monkeypatch, DATABASE_SECRET_ARN=name)
        return importlib.reload(importlib.import_module(f"{name}.handler"))

    return Functions(sales=load("sales"), restock=load("restock"))


@dataclass
class Traffic:
    """What was sent to the server over TLS.

    round_trips: how often something was sent and then something else received.
    """

    statements: list[str] = field(default_factory=list)
    round_trips: int = 0
    sending: bool = False

    def names(self) -> list[str]:
        """Return the procedure that each statement calls, or its first word."""
        return [re.split(r"\W", text.removeprefix("CALL "))[0] for text in self.statements]


@pytest.fixture
def traffic(functions: Functions, monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Record what the functions send."""
    traffic = Traffic()
    # Private: PyMySQL has no public hook that sees each command.
    execute = pymysql.Connection._execute_command  # type: ignore[attr-defined]  # the stubs leave out private names
    send, receive = TlsSocket.send, TlsSocket.recv_into

    def recording(self: pymysql.Connection, command: int, sql: str | bytes) -> None:
        assert command == COMMAND.COM_QUERY
        traffic.statements.append(sql if isinstance(sql, str) else sql.decode())
        execute(self, command, sql)

    def sending(self: TlsSocket, *arguments: Any) -> int:
        traffic.sending = True
        return send(self, *arguments)

    def receiving(self: TlsSocket, *arguments: Any) -> int:
        traffic.round_trips += traffic.sending
        traffic.sending = False
        return receive(self, *arguments)

    monkeypatch.setattr(pymysql.Connection, "_execute_command", recording)
    monkeypatch.setattr(TlsSocket, "send", sending)
    monkeypatch.setattr(TlsSocket, "recv_into", receiving)
    return traffic


def product(slug: str) -> Event:
    return {"routeKey": "GET /product/{slug}", "pathParameters": {"slug": slug}}


def order(order_id: str) -> Event:
    return {"routeKey": "GET /order/{order_id}", "pathParameters": {"order_id": order_id}}


def checkout(quantity: int, *, key: str | None = None, product_id: str | None = None) -> Event:
    body = {"MessageAttributeProductCnt": quantity, "MessageAttributeProductId": product_id}
    headers = {} if key is None else {"idempotency-key": key}
    return {"routeKey": "POST /checkout", "headers": headers, "body": json.dumps(body)}


def callback(token: str) -> Event:
    return {
        "routeKey": "POST /product/{slug}",
        "pathParameters": {"slug": "donut"},
        "queryStringParameters": {"order": ORDER, "token": token},
    }


class Case(NamedTuple):
    """A request, the status of its response, and what it sends, as in Traffic.names."""

    event: Event
    status: int
    names: list[str]
    after: tuple[Event, ...] = ()
    """Requests before this one."""


CASES = {
    "product": Case(product("donut"), 200, ["SELECT"]),
    "unknown product": Case(product("bagel"), 400, ["SELECT"]),
    "slug that no product can have": Case(product("도너츠"), 400, []),
    "purchase": Case(checkout(1), 200, ["checkout"]),
    "purchase with a key": Case(checkout(1, key="a"), 200, ["checkout"]),
    "repeated purchase": Case(
        checkout(1, key="a"), 200, ["checkout"], after=(checkout(1, key="a"),)
    ),
    "out of stock": Case(checkout(1000), 200, ["checkout", "mark_published"]),
    "out of stock with a key": Case(checkout(1000, key="a"), 200, ["checkout", "mark_published"]),
    "repeated out of stock": Case(
        checkout(1000, key="a"), 200, ["checkout"], after=(checkout(1000, key="a"),)
    ),
    "key of another request": Case(
        checkout(2, key="a"), 422, ["checkout"], after=(checkout(1, key="a"),)
    ),
    "checkout of an unknown product": Case(checkout(1, product_id="a"), 400, ["checkout"]),
    "invalid quantity": Case(checkout(0), 400, []),
    "invalid key": Case(checkout(1, key=""), 400, []),
    "order": Case(order(ORDER), 200, ["SELECT"]),
    "unknown order": Case(order("a"), 400, ["SELECT"]),
    "callback": Case(callback(TOKEN), 200, ["restock"]),
    "repeated callback": Case(callback(TOKEN), 200, ["restock"], after=(callback(TOKEN),)),
    "callback with a wrong token": Case(callback("a"), 403, ["restock"]),
    "callback without a token": Case(callback(""), 403, []),
    "unknown route": Case({"routeKey": "$default"}, 404, []),
}
WARM = (product("donut"), checkout(1), callback("a"))
"""Requests after which both functions are connected, and `sales` knows the product's slots."""


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_warm_request_sends_few_statements(
    functions: Functions, traffic: Traffic, case: Case
) -> None:
    for event in (*WARM, *case.after):
        functions.status(event)
    traffic.statements, traffic.round_trips = [], 0
    assert functions.status(case.event) == case.status
    assert traffic.names() == case.names
    assert traffic.round_trips == len(case.names)


CONNECT = [
    "SET NAMES utf8mb4",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
]
CLOCK = "SELECT UNIX_TIMESTAMP(SYSDATE(6)) AS server_clock"
FIRST = {
    "product": (product("donut"), CONNECT),
    "order": (order(ORDER), CONNECT),
    "purchase": (checkout(1), [*CONNECT, CLOCK]),
    "callback": (callback(TOKEN), CONNECT),
}
"""Requests, and the statements that prepare the connection for them."""


@pytest.mark.parametrize(("event", "before"), FIRST.values(), ids=FIRST)
def test_first_request_prepares_its_connection_with_few_statements(
    functions: Functions, traffic: Traffic, event: Event, before: list[str]
) -> None:
    assert functions.status(event) == 200
    assert traffic.statements[:-1] == before
    login = 1
    assert traffic.round_trips == login + len(traffic.statements)
