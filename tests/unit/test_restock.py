import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from common import limits
from common.database import DatabaseUnavailable
from common.store import RestockResult

ORDER, TOKEN = "7c7a2b46-0f5c-4f29-9d7e-0f1f5b1c2d3e", "Zm9ydHktdHdvLWJ5dGVzLW9mLXNlY3JldA"


@dataclass
class Shop:
    """Stands in for the store: one order, of 12 donuts. down: every call fails."""

    stock: int = 3
    down: bool = False
    arrived: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def restock(self, order_id: str, *, slug: str, callback_token: str) -> RestockResult | None:
        if self.down:
            raise DatabaseUnavailable("OperationalError 2003")
        self.asked.append(order_id)
        if (order_id, slug, callback_token) != (ORDER, "donut", TOKEN):
            return None
        added = order_id not in self.arrived
        self.arrived.add(order_id)
        self.stock += 12 * added
        return RestockResult(added=added, stock=self.stock)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def restock(
    load: Callable[..., ModuleType], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    module = load("restock")
    monkeypatch.setattr(module, "store", shop)
    return module


def deliver(
    restock: ModuleType, *, slug: str = "donut", body: str = "{}", **query: str
) -> tuple[int, dict[str, Any]]:
    event = {
        "routeKey": "POST /product/{slug}",
        "headers": {},
        "pathParameters": {"slug": slug},
        "queryStringParameters": query,
        "body": body,
    }
    answer = restock.handler(event if query else {**event, "queryStringParameters": None}, None)
    assert answer["headers"]["content-type"] == "application/json; charset=utf-8"
    return answer["statusCode"], json.loads(answer["body"])


def test_the_stock_grows_once(restock: ModuleType, shop: Shop) -> None:
    first = deliver(restock, order=ORDER, token=TOKEN)
    assert first == (200, {"message": "입고 완료! 남은 재고: 15", "stock": 15})
    shop.stock = 9
    assert deliver(restock, order=ORDER, token=TOKEN) == (
        200,
        {"message": "입고 완료! 남은 재고: 9", "stock": 9},
    )


@pytest.mark.parametrize(
    "body",
    ["", "{", "null", '{"MessageAttributeProductCnt": "999999"}', "x" * 100_000],
    ids=lambda body: body[:9],
)
def test_the_body_is_not_read(body: str, restock: ModuleType) -> None:
    status, answer = deliver(restock, order=ORDER, token=TOKEN, body=body)
    assert (status, answer["stock"]) == (200, 15)


FORGED: dict[str, dict[str, str]] = {
    "nothing": {},
    "no token": {"order": ORDER},
    "no order": {"token": TOKEN},
    "empty token": {"order": ORDER, "token": ""},
    "empty order": {"order": "", "token": TOKEN},
    "wrong token": {"order": ORDER, "token": TOKEN[:-1] + "B"},
    "shorter token": {"order": ORDER, "token": TOKEN[:-1]},
    "longer token": {"order": ORDER, "token": TOKEN + "A"},
    "token in capitals": {"order": ORDER, "token": TOKEN.upper()},
    "order id as token": {"order": ORDER, "token": ORDER},
    "Korean token": {"order": ORDER, "token": "토큰"},
    "token twice": {"order": ORDER, "token": f"{TOKEN},{TOKEN}"},
    "unknown order": {"order": "7c7a2b46-0f5c-4f29-9d7e-000000000000", "token": TOKEN},
    "Korean order": {"order": "주문", "token": TOKEN},
    "SQL": {"order": "' OR '1'='1", "token": "' OR '1'='1"},
    "the word None": {"order": ORDER, "token": "None"},
    "another product": {"slug": "bagel", "order": ORDER, "token": TOKEN},
    "no product": {"slug": "", "order": ORDER, "token": TOKEN},
    "Korean product": {"slug": "도넛", "order": ORDER, "token": TOKEN},
}


@pytest.mark.parametrize("call", FORGED.values(), ids=FORGED)
def test_a_forged_callback_adds_nothing(
    call: dict[str, str], restock: ModuleType, shop: Shop
) -> None:
    status, answer = deliver(restock, **call)
    assert status == 403
    assert answer["message"]
    assert (shop.stock, shop.arrived) == (3, set())


LIMITS = {"order": limits.ORDER_ID, "token": limits.CALLBACK_TOKEN, "slug": limits.SLUG}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("excess", [-1, 0], ids=["one less than the limit", "as long as the limit"])
def test_value_within_its_limit_is_looked_up(
    name: str, excess: int, restock: ModuleType, shop: Shop
) -> None:
    value = "a" * (LIMITS[name] + excess)
    assert deliver(restock, **{"order": ORDER, "token": TOKEN, name: value})[0] == 403
    assert len(shop.asked) == 1


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(
    "length", [lambda limit: limit + 1, lambda limit: 2 * limit], ids=["one more", "twice"]
)
def test_value_over_its_limit_reaches_no_database(
    name: str, length: Callable[[int], int], restock: ModuleType, shop: Shop
) -> None:
    value = "a" * length(LIMITS[name])
    assert deliver(restock, **{"order": ORDER, "token": TOKEN, name: value})[0] == 403
    assert shop.asked == []


@pytest.mark.parametrize(
    ("name", "value"), [("order", f"{ORDER} "), ("token", f"{TOKEN} "), ("slug", "donut ")]
)
def test_trailing_space_reaches_no_database(
    name: str, value: str, restock: ModuleType, shop: Shop
) -> None:
    """SQL's comparison ignores trailing spaces: `donut ` would find the donut."""
    assert deliver(restock, **{"order": ORDER, "token": TOKEN, name: value})[0] == 403
    assert shop.asked == []


def test_an_unreachable_database(restock: ModuleType, shop: Shop) -> None:
    shop.down = True
    assert deliver(restock, order=ORDER, token=TOKEN) == (
        503,
        {"message": "데이터베이스 연결 오류"},
    )


@pytest.mark.parametrize("token", [TOKEN, "forged-token"])
@pytest.mark.parametrize("down", [False, True])
def test_no_token_is_logged(
    token: str, down: bool, restock: ModuleType, shop: Shop, logged: Callable[[], str]
) -> None:
    shop.down = down
    deliver(restock, order=ORDER, token=token)
    assert logged()
    assert token not in logged()
    assert TOKEN not in logged()
