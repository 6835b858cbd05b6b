"""The restock function's handler: the factory's callbacks, genuine and forged."""

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from common import limits
from common.database import DatabaseUnavailable
from tests.support.fakes import FakeRestockStore
from tests.support.orders import ORDER

ORDER_ID, TOKEN = ORDER.order_id, ORDER.callback_token
UNAVAILABLE = DatabaseUnavailable("OperationalError 2003")


@pytest.fixture
def store() -> FakeRestockStore:
    return FakeRestockStore()


@pytest.fixture
def restock(
    load: Callable[..., ModuleType], store: FakeRestockStore, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    module = load("restock")
    monkeypatch.setattr(module, "store", store)
    return module


def call_back(
    restock: ModuleType, *, slug: str = "donut", body: str = "{}", **query: str
) -> tuple[int, dict[str, Any]]:
    """Return the status and the body of the response. query: the query string's parameters."""
    event = {
        "routeKey": "POST /product/{slug}",
        "headers": {},
        "pathParameters": {"slug": slug},
        "queryStringParameters": query or None,
        "body": body,
    }
    response = restock.handler(event, None)
    assert response["headers"]["content-type"] == "application/json; charset=utf-8"
    return response["statusCode"], json.loads(response["body"])


def test_callback_adds_the_quantity_once(restock: ModuleType, store: FakeRestockStore) -> None:
    """A repeated callback returns the current stock."""
    assert call_back(restock, order=ORDER_ID, token=TOKEN) == (
        200,
        {"message": "입고 완료! 남은 재고: 15", "stock": 15},
    )
    store.stock = 9
    assert call_back(restock, order=ORDER_ID, token=TOKEN) == (
        200,
        {"message": "입고 완료! 남은 재고: 9", "stock": 9},
    )


@pytest.mark.parametrize(
    "body",
    ["", "{", "null", '{"MessageAttributeProductCnt": "999999"}', "x" * 100_000],
    ids=lambda body: body[:9],
)
def test_callback_body_is_ignored(body: str, restock: ModuleType) -> None:
    status, response = call_back(restock, order=ORDER_ID, token=TOKEN, body=body)
    assert status == 200
    assert response["stock"] == 15


FORGED: dict[str, dict[str, str]] = {
    "nothing": {},
    "no token": {"order": ORDER_ID},
    "no order": {"token": TOKEN},
    "empty token": {"order": ORDER_ID, "token": ""},
    "empty order": {"order": "", "token": TOKEN},
    "wrong token": {"order": ORDER_ID, "token": TOKEN[:-1] + "B"},
    "shorter token": {"order": ORDER_ID, "token": TOKEN[:-1]},
    "longer token": {"order": ORDER_ID, "token": TOKEN + "A"},
    "token in capitals": {"order": ORDER_ID, "token": TOKEN.upper()},
    "order id as token": {"order": ORDER_ID, "token": ORDER_ID},
    "Korean token": {"order": ORDER_ID, "token": "토큰"},
    "token twice": {"order": ORDER_ID, "token": f"{TOKEN},{TOKEN}"},
    "unknown order": {"order": "order-1", "token": TOKEN},
    "Korean order": {"order": "주문", "token": TOKEN},
    "SQL": {"order": "' OR '1'='1", "token": "' OR '1'='1"},
    "the word None": {"order": ORDER_ID, "token": "None"},
    "another product": {"slug": "bagel", "order": ORDER_ID, "token": TOKEN},
    "no product": {"slug": "", "order": ORDER_ID, "token": TOKEN},
    "Korean product": {"slug": "도넛", "order": ORDER_ID, "token": TOKEN},
}


@pytest.mark.parametrize("callback", FORGED.values(), ids=FORGED)
def test_forged_callback_is_rejected(
    callback: dict[str, str], restock: ModuleType, store: FakeRestockStore
) -> None:
    status, response = call_back(restock, **callback)
    assert status == 403
    assert response["message"]
    assert store.stock == 3
    assert not store.arrived


LIMITS = {"order": limits.ORDER_ID, "token": limits.CALLBACK_TOKEN, "slug": limits.SLUG}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("excess", [-1, 0], ids=["one less than the limit", "as long as the limit"])
def test_value_within_its_limit_is_looked_up(
    name: str, excess: int, restock: ModuleType, store: FakeRestockStore
) -> None:
    value = "a" * (LIMITS[name] + excess)
    assert call_back(restock, **{"order": ORDER_ID, "token": TOKEN, name: value})[0] == 403
    assert len(store.looked_up) == 1


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(
    "length", [lambda limit: limit + 1, lambda limit: 2 * limit], ids=["one more", "twice"]
)
def test_value_over_its_limit_is_not_looked_up(
    name: str, length: Callable[[int], int], restock: ModuleType, store: FakeRestockStore
) -> None:
    value = "a" * length(LIMITS[name])
    assert call_back(restock, **{"order": ORDER_ID, "token": TOKEN, name: value})[0] == 403
    assert store.looked_up == []


@pytest.mark.parametrize(
    ("name", "value"), [("order", f"{ORDER_ID} "), ("token", f"{TOKEN} "), ("slug", "donut ")]
)
def test_value_with_a_trailing_space_is_not_looked_up(
    name: str, value: str, restock: ModuleType, store: FakeRestockStore
) -> None:
    """SQL's comparison ignores trailing spaces, so `donut ` would be found."""
    assert call_back(restock, **{"order": ORDER_ID, "token": TOKEN, name: value})[0] == 403
    assert store.looked_up == []


def test_callback_gets_503_when_the_database_is_unavailable(
    restock: ModuleType, store: FakeRestockStore
) -> None:
    store.error = UNAVAILABLE
    assert call_back(restock, order=ORDER_ID, token=TOKEN) == (
        503,
        {"message": "데이터베이스 연결 오류"},
    )


@pytest.mark.parametrize("token", [TOKEN, "forged-token"])
@pytest.mark.parametrize(
    "error",
    [None, UNAVAILABLE, RuntimeError(f"'{TOKEN}' or 'forged-token'")],
    ids=["no error", "unavailable", "defect"],
)
def test_log_has_no_token(
    token: str,
    error: Exception | None,
    restock: ModuleType,
    store: FakeRestockStore,
    logged: Callable[[], str],
) -> None:
    store.error = error
    call_back(restock, order=ORDER_ID, token=token)
    assert logged(), "nothing was logged"
    assert token not in logged()
    assert TOKEN not in logged()
