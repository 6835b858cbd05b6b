"""Bad input in bulk, in this process: the handlers are called as API Gateway calls them."""

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
from tests.support.bad_input import (
    AROUND,
    CANARY,
    DOCUMENTED,
    GENERATED,
    MAX_QUANTITY,
    Input,
    Response,
    bad_inputs,
    boundaries,
    boundary_inputs,
    try_all,
)
from tests.support.database_shop import DatabaseShop
from tests.support.fakes import FakeTopic
from tests.support.variables import set_variables


def event(input: Input) -> dict[str, Any]:
    """Return the input in payload format 2.0, as far as the functions read it."""
    route = "$default"
    if input.operation:
        path, method = input.operation
        route = f"{method.upper()} {path}"
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
    """The handlers behind the API.

    What a call logs is checked after it, as Lambda's own formatter writes it.
    """

    def __init__(self) -> None:
        self.sales = importlib.reload(importlib.import_module("sales.handler"))
        self.restock = importlib.reload(importlib.import_module("restock.handler"))

    def call(self, event: dict[str, Any]) -> Response:
        function = self.restock if event["routeKey"] == "POST /product/{slug}" else self.sales
        handler = logging.StreamHandler(io.StringIO())
        handler.setFormatter(JsonFormatter())
        with patch.object(logging.root, "handlers", [handler]):
            response = function.handler(event, None)
        log = handler.stream.getvalue()
        assert CANARY not in log, "the log repeats a text of the request"
        assert '"level": "ERROR"' not in log
        return Response(response["statusCode"], response["headers"], response["body"].encode())


@pytest.fixture
def functions(
    shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Functions:
    """Return the functions. The topic takes everything, and callback tokens contain the canary."""
    set_variables(monkeypatch, DATABASE_SECRET_ARN="sales", MAX_QUANTITY=str(MAX_QUANTITY))
    functions = Functions()
    restock = Store(replace(shop.database, database_secret_arn="restock"))
    monkeypatch.setattr(functions.restock, "store", restock)
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(messages, "publish", FakeTopic().publish)
    monkeypatch.setattr(
        functions.sales.secrets,
        "token_urlsafe",
        lambda size: f"{CANARY}-{random.randbytes(8).hex()}",
    )
    return functions


def test_bad_input_changes_nothing_and_reveals_nothing(
    shop: DatabaseShop,
    functions: Functions,
    input_count: int,
    input_seed: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inputs = bad_inputs(input_count, seed=input_seed)
    summary = try_all(
        inputs, seed=input_seed, shop=shop, send=lambda input: functions.call(event(input))
    )
    with capsys.disabled():
        print(f"\nbad input, in process: {summary}")


def test_every_limit_has_inputs_around_it() -> None:
    """Those of operators' commands have tests in tests/unit/test_operate.py."""
    limited = {name for name in vars(limits) if name.isupper() and not name.startswith("_")}
    limited -= {"OPERATION_ID", "PIECES"}
    assert set(AROUND) == limited, "add a function to AROUND in tests/support/bad_input.py"


def test_every_operation_has_generated_inputs() -> None:
    assert set(GENERATED) == DOCUMENTED, (
        "add the operation to GENERATED and to `assembled` in tests/support/bad_input.py"
    )


def test_boundary_inputs_are_sent_twice() -> None:
    sent = Counter(str(input) for input in boundary_inputs())
    for name, around in AROUND.items():
        for length in boundaries(getattr(limits, name)):
            for input in around(length):
                assert sent[str(input)] >= 2, (name, length, input)
    assert min(sent.values()) >= 2


def test_every_bulk_starts_with_the_boundaries() -> None:
    assert list(bad_inputs(0, seed=0)) == boundary_inputs()


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
"""Changes to the event of a checkout, such as API Gateway should never send."""


@pytest.mark.parametrize("odd", ODD_CHECKOUTS, ids=ascii)
def test_malformed_checkout_event_is_rejected(
    odd: dict[str, Any], shop: DatabaseShop, functions: Functions
) -> None:
    checkout = {"routeKey": "POST /checkout", "body": "{}", "isBase64Encoded": False, "headers": {}}
    assert functions.call(checkout | odd).status == 400
    assert shop.stock() == 10
    assert shop.purchases() == []
    assert shop.orders() == []


def test_callback_event_without_order_and_token_is_rejected(
    shop: DatabaseShop, functions: Functions
) -> None:
    for slug in ("donut", "", "\ud800", "\x00", "홍"):
        callback = {"routeKey": "POST /product/{slug}", "pathParameters": {"slug": slug}}
        for query in (
            {},
            {"queryStringParameters": None},
            {"queryStringParameters": {"order": "\ud800"}},
        ):
            assert functions.call(callback | query).status == 403, (slug, query)
    assert shop.stock() == 10
    assert shop.purchases() == []
    assert shop.orders() == []
