"""The texts that clients read, word by word."""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.support.fakes import FakeRestockStore, FakeSalesStore

Load = Callable[..., ModuleType]

LONG = "a" * 201
QUANTITY_RANGE = "MessageAttributeProductCnt는 1 이상 1000 이하의 정수여야 합니다"
CHECKOUTS: dict[str, tuple[dict[str, Any], str]] = {
    "not Base64": (
        {"body": "?", "isBase64Encoded": True},
        "요청 본문의 인코딩이 잘못되었습니다",
    ),
    "too long": ({"body": "a" * (16 * 1024 + 1)}, "요청 본문이 16 KiB를 넘습니다"),
    "not UTF-8": ({"body": "/w==", "isBase64Encoded": True}, "요청 본문이 UTF-8이 아닙니다"),
    "not JSON": ({"body": "{"}, "요청 본문이 올바른 JSON이 아닙니다"),
    "no body": ({}, "요청 본문이 올바른 JSON이 아닙니다"),
    "NaN": (
        {"body": '{"MessageAttributeProductCnt": NaN}'},
        "요청 본문이 올바른 JSON이 아닙니다",
    ),
    "not an object": ({"body": "[]"}, "요청 본문이 JSON 객체가 아닙니다"),
    "no quantity": ({"body": "{}"}, QUANTITY_RANGE),
    "quantity too high": ({"body": '{"MessageAttributeProductCnt": 1001}'}, QUANTITY_RANGE),
    "quantity with 21 digits": (
        {"body": '{"MessageAttributeProductCnt": "000000000000000000005"}'},
        QUANTITY_RANGE,
    ),
    "requester not a string": ({"body": '{"requester": 1}'}, "requester는 문자열이어야 합니다"),
    "requester with a control character": (
        {"body": '{"requester": "\\u0000"}'},
        "requester에 사용할 수 없는 문자가 있습니다",
    ),
    "requester too long": (
        {"body": json.dumps({"requester": LONG})},
        "requester는 200자 이하여야 합니다",
    ),
    "alias of the requester": (
        {"body": '{"MessageAttributeRequester": 1}'},
        "MessageAttributeRequester는 문자열이어야 합니다",
    ),
    "factory id": (
        {"body": '{"MessageAttributeProductCnt": 1, "MessageAttributeFactoryId": 1}'},
        "MessageAttributeFactoryId는 문자열이어야 합니다",
    ),
    "product id not a string": (
        {"body": '{"MessageAttributeProductId": 1}'},
        "MessageAttributeProductId는 문자열이어야 합니다",
    ),
    "impossible product id": ({"body": '{"MessageAttributeProductId": "도넛"}'}, "상품 없음"),
    "product id with a control character": (
        {"body": '{"MessageAttributeProductId": "a\\u001f"}'},
        "상품 없음",
    ),
    "idempotency key": (
        {"headers": {"idempotency-key": ""}},
        "Idempotency-Key는 1자 이상 255자 이하의 출력 가능한 ASCII 문자여야 합니다",
    ),
}


@pytest.mark.parametrize(("event", "message"), CHECKOUTS.values(), ids=CHECKOUTS)
def test_rejected_checkout_says_why(event: dict[str, Any], message: str, load: Load) -> None:
    response = load("sales").handler({"routeKey": "POST /checkout", **event}, None)
    assert response["statusCode"] == 400
    assert json.loads(response["body"]) == {"message": message}


@pytest.mark.parametrize(
    ("store", "event", "status", "message"),
    [
        (
            FakeSalesStore(outcome="no_such_product"),
            {"routeKey": "POST /checkout", "body": '{"MessageAttributeProductCnt": 1}'},
            400,
            {"message": "상품 없음"},
        ),
        (
            FakeSalesStore(outcome="replayed", first_hash=b"another"),
            {
                "routeKey": "POST /checkout",
                "headers": {"idempotency-key": "a"},
                "body": '{"MessageAttributeProductCnt": 1}',
            },
            422,
            {"message": "같은 Idempotency-Key로 다른 요청을 보낼 수 없습니다"},
        ),
        (
            FakeSalesStore(),
            {"routeKey": "GET /product/{slug}", "pathParameters": {"slug": "bagel"}},
            400,
            {"message": "상품 없음"},
        ),
        (
            FakeSalesStore(),
            {"routeKey": "GET /order/{order_id}", "pathParameters": {"order_id": "unknown"}},
            400,
            {"message": "주문 없음"},
        ),
        (FakeSalesStore(), {"routeKey": "$default"}, 404, {"error": "Not Found"}),
    ],
    ids=["no such product", "another request's key", "product", "order", "route"],
)
def test_what_does_not_exist_is_named(
    store: FakeSalesStore,
    event: dict[str, Any],
    status: int,
    message: dict[str, str],
    load: Load,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sales = load("sales")
    monkeypatch.setattr(sales, "store", store)
    response = sales.handler(event, None)
    assert response["statusCode"] == status
    assert json.loads(response["body"]) == message


def test_rejected_callback_says_so(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    restock = load("restock")
    monkeypatch.setattr(restock, "store", FakeRestockStore())
    response = restock.handler({"pathParameters": {"slug": "donut"}}, None)
    assert json.loads(response["body"]) == {"message": "입고 권한이 없습니다"}


def test_message_is_sent_as_utf_8(load: Load) -> None:
    """JSON would also allow an escape for each character, which nobody can read."""
    response = load("sales").handler({"routeKey": "POST /checkout"}, None)
    assert "요청 본문이 올바른 JSON이 아닙니다" in response["body"]


@pytest.mark.parametrize("missing", ["order", "token"])
def test_callback_without_a_parameter_is_not_looked_up(
    missing: str, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    restock, store = load("restock"), FakeRestockStore()
    monkeypatch.setattr(restock, "store", store)
    query = {name: "a" for name in ("order", "token") if name != missing}
    restock.handler({"pathParameters": {"slug": "donut"}, "queryStringParameters": query}, None)
    assert store.looked_up == []


@pytest.mark.parametrize(("name", "length"), [("order", 36), ("token", 64)])
def test_callback_parameter_may_be_as_long_as_its_column(
    name: str, length: int, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer one is not looked up."""
    restock, store = load("restock"), FakeRestockStore()
    monkeypatch.setattr(restock, "store", store)
    for excess in (0, 1):
        query = {"order": "a", "token": "a", name: "a" * (length + excess)}
        event = {"pathParameters": {"slug": "donut"}, "queryStringParameters": query}
        restock.handler(event, None)
    assert len(store.looked_up) == 1
