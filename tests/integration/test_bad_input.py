"""Bad input in bulk, in process: the functions' own handlers on a real MariaDB, called as API Gateway calls them."""

import base64
import importlib
import io
import logging
import random
from collections import Counter
from dataclasses import replace
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl, unquote

import pytest
from awslambdaric.lambda_runtime_log_utils import JsonFormatter

from common import limits, messages
from common.store import Store
from tests.support.database_shop import Shop
from tests.support.hostile import (
    AROUND,
    CANARY,
    INPUTS,
    MAX_QUANTITY,
    Answer,
    Input,
    boundaries,
    boundary_inputs,
    hostile_inputs,
    try_all,
)


def event(input: Input) -> dict[str, Any]:
    """Payload format 2.0: what the functions read of it."""
    route = f"{input.route[1].upper()} {input.route[0]}" if input.route else "$default"
    headers = {name: value.decode(errors="replace") for name, value in input.headers.items()}
    event: dict[str, Any] = {"routeKey": route, "headers": headers, "isBase64Encoded": False}
    if name := route.partition("{")[2].rstrip("}"):
        event["pathParameters"] = {name: unquote(input.path.rpartition("/")[2])}
    query: dict[str, str] = {}
    for name, value in parse_qsl(input.target.partition("?")[2], keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    if query:
        event["queryStringParameters"] = query
    if input.body is not None:
        try:
            event["body"] = input.body.decode()
        except UnicodeDecodeError:
            event |= {"body": base64.b64encode(input.body).decode(), "isBase64Encoded": True}
    return event


class Functions:
    """Both handlers; whatever is logged in a call is looked at after it, as Lambda's own formatter writes it."""

    def __init__(self) -> None:
        self.sales = importlib.reload(importlib.import_module("sales.handler"))
        self.restock = importlib.reload(importlib.import_module("restock.handler"))

    def call(self, event: dict[str, Any]) -> Answer:
        function = self.restock if event["routeKey"] == "POST /product/{slug}" else self.sales
        handler = logging.StreamHandler(io.StringIO())
        handler.setFormatter(JsonFormatter())
        with patch.object(logging.root, "handlers", [handler]):
            answer = function.handler(event, None)
        log = handler.stream.getvalue()
        assert CANARY not in log and '"level": "ERROR"' not in log, log
        return Answer(answer["statusCode"], answer["headers"], answer["body"].encode())


@pytest.fixture
def functions(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Functions:
    settings = {
        "DATABASE_SECRET_ARN": "sales",
        "STOCK_EMPTY_TOPIC_ARN": "topic",
        "MAX_QUANTITY": str(MAX_QUANTITY),
    }
    for name, value in (settings | {"PUBLISH_WITHIN": "30", "OVERDUE_AFTER": "900"}).items():
        monkeypatch.setenv(name, value)
    functions = Functions()
    restock = Store(replace(shop.database, database_secret_arn="restock"))
    monkeypatch.setattr(functions.restock, "store", restock)
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(messages, "publish", lambda order, *, topic_arn: None)
    monkeypatch.setattr(
        functions.sales.secrets,
        "token_urlsafe",
        lambda size: f"{CANARY}-{random.randbytes(8).hex()}",
    )
    return functions


@pytest.mark.usefixtures("undurable")
def test_bad_input_changes_nothing_and_learns_nothing(
    shop: Shop, functions: Functions, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = try_all(
        hostile_inputs(INPUTS), shop=shop, send=lambda input: functions.call(event(input))
    )
    with capsys.disabled():
        print(f"\nbad input, in process: {tried}")


def test_bulk_holds_the_boundaries_of_every_limit_twice() -> None:
    assert set(AROUND) == {
        name for name in vars(limits) if name.isupper() and not name.startswith("_")
    }
    tried = Counter(str(input) for input in boundary_inputs())
    for name, around in AROUND.items():
        for length in boundaries(getattr(limits, name)):
            for input in around(length):
                assert tried[str(input)] >= 2, (name, length, input)
    assert min(tried.values()) >= 2


def test_every_bulk_starts_with_the_boundaries() -> None:
    assert list(hostile_inputs(0)) == boundary_inputs()


ODD_CHECKOUTS: list[dict[str, Any]] = [
    {"body": None},
    {"body": ""},
    {"headers": None},
    {"body": "\ud800"},
    {"body": "%", "isBase64Encoded": True},
    {"body": "홍", "isBase64Encoded": True},
    {"body": '{"MessageAttributeProductCnt": 1}', "isBase64Encoded": True},
    {"body": '{"MessageAttributeProductCnt": 1}', "headers": {"idempotency-key": "a\r\nb"}},
    {"body": '{"MessageAttributeProductCnt": 1}', "headers": {"idempotency-key": "a\x00"}},
    {"body": '{"MessageAttributeProductCnt": 1}', "headers": {"idempotency-key": "\ud800"}},
]


def test_events_that_no_gateway_should_send_are_refused(shop: Shop, functions: Functions) -> None:
    checkout = {"routeKey": "POST /checkout", "body": "{}", "isBase64Encoded": False, "headers": {}}
    for odd in ODD_CHECKOUTS:
        assert functions.call(checkout | odd).status == 400, odd
    for slug in ("donut", "", "\ud800", "\x00", "홍"):
        callback = {"routeKey": "POST /product/{slug}", "pathParameters": {"slug": slug}}
        for query in (
            {},
            {"queryStringParameters": None},
            {"queryStringParameters": {"order": "\ud800"}},
        ):
            assert functions.call(callback | query).status == 403, (slug, query)
    assert (shop.stock(), shop.ledger(), shop.orders()) == (10, [], [])
