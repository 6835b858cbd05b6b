"""Buying, running out, producing, delivering."""

from itertools import chain
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from local.factory import Answer, Order
from tests.support.concurrency import at_once
from tests.support.deployed_shop import PATIENCE, Shop
from tests.support.polling import eventually


def hold_back(order: Order) -> Answer:
    """A factory that takes orders and delivers nothing."""
    return Answer(deliver=False)


def test_the_donut_is_for_sale(shop: Shop) -> None:
    answer = shop.request("GET", "/product/donut")
    ((product_id,),) = shop.sql("SELECT product_id FROM product")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json() == {
        "product_id": product_id,
        "sku": "CP-502101",
        "name": "부산도너츠",
        "price": 19900,
        "stock": 10,
        "factory_id": "FF-500293",
    }


@pytest.mark.parametrize("count", [3, "3"])
def test_a_purchase_takes_from_the_stock(shop: Shop, count: object) -> None:
    answer = shop.checkout(count, requester="홍길동")
    assert answer.status_code == 200
    assert answer.json() == {"message": "구매 완료! 남은 재고: 7", "purchased": True, "stock": 7}
    assert shop.request("GET", "/product/donut").json()["stock"] == 7
    assert shop.ledger() == [(3, "홍길동")]


def test_running_out_asks_the_factory_for_more(shop: Shop) -> None:
    shop.factory.answer = hold_back
    shop.checkout(10)
    answer = shop.checkout("7", requester="홍길동", MessageAttributeFactoryId="FF-1")
    order_id = answer.json()["order_id"]
    assert answer.json() == {
        "message": "구매 실패! 남은 재고: 0",
        "purchased": False,
        "stock": 0,
        "order_id": order_id,
    }

    call = shop.factory_call(order_id)
    callback = urlsplit(call.payload["CallbackUrl"])
    query = parse_qs(callback.query, strict_parsing=True)
    assert {name: value for name, value in call.payload.items() if name != "CallbackUrl"} == {
        "MessageGroupId": "stock-arrival-group",
        "MessageAttributeProductId": shop.request("GET", "/product/donut").json()["product_id"],
        "MessageAttributeProductCnt": "7",
        "MessageAttributeFactoryId": "FF-1",
        "MessageAttributeRequester": "홍길동",
    }
    assert (
        f"{callback.scheme}://{callback.netloc}{callback.path}"
        == f"{shop.cloud.endpoint}/product/donut"
    )
    assert query.keys() == {"order", "token"}
    assert query["order"] == [order_id]
    assert len(query["token"][0]) >= 22, "fewer than 128 bits"


def test_an_order_asks_the_products_own_factory_for_nobody_in_particular(shop: Shop) -> None:
    call = shop.factory_call(shop.order_more(requester=None, MessageAttributeFactoryId=""))
    assert call.payload["MessageAttributeFactoryId"] == "FF-500293"
    assert call.payload["MessageAttributeRequester"] == "unknown"


def test_what_the_factory_delivers_is_for_sale(shop: Shop) -> None:
    order_id = shop.order_more(40)
    shop.wait_for(order_id)
    assert shop.request("GET", "/product/donut").json()["stock"] == 50
    assert shop.checkout(45).json()["stock"] == 5


def test_an_order_can_be_followed(shop: Shop) -> None:
    shop.factory.answer = hold_back
    order_id = shop.order_more(40, requester="홍길동")
    shop.wait_for(order_id, "published")
    call = shop.factory_call(order_id)
    requests.post(call.payload["CallbackUrl"], json=call.payload, timeout=10)

    arrived = shop.request("GET", f"/order/{order_id}").json()
    times = [arrived.pop(name) for name in ("requested_at", "published_at", "arrived_at")]
    assert arrived == {
        "order_id": order_id,
        "status": "arrived",
        "sku": "CP-502101",
        "quantity": 40,
    }
    assert times == sorted(times)


def test_a_delivery_counts_once_with_the_orders_own_quantity(shop: Shop) -> None:
    shop.factory.answer = hold_back
    callback = shop.factory_call(shop.order_more(40)).payload["CallbackUrl"]
    boast = {"MessageAttributeProductCnt": "1000000", "quantity": 1000000}

    first = requests.post(callback, json=boast, timeout=10)
    assert first.status_code == 200
    assert first.headers["content-type"] == "application/json; charset=utf-8"
    assert first.json() == {"message": "입고 완료! 남은 재고: 50", "stock": 50}

    shop.checkout(30)
    repeat = requests.post(callback, data=b"\xff not JSON", timeout=10)
    assert (repeat.status_code, repeat.json()) == (
        200,
        {"message": "입고 완료! 남은 재고: 20", "stock": 20},
    )
    assert shop.stock() == 20


def test_deliveries_cannot_be_forged(shop: Shop) -> None:
    shop.factory.answer = hold_back
    shop.sql(
        "INSERT INTO product VALUES ('bagel-id', 'bagel', 'CP-2', '베이글', 1, 5, 'FF-500293')"
    )
    order_id, other_id = shop.order_more(40), shop.order_more(50)
    token = parse_qs(urlsplit(shop.factory_call(order_id).payload["CallbackUrl"]).query)["token"][0]

    for path in (
        "/product/donut",
        f"/product/donut?order={order_id}",
        f"/product/donut?token={token}",
        f"/product/donut?order={order_id}&token=",
        f"/product/donut?order={order_id}&token={order_id}",
        f"/product/donut?order={order_id}&token={token[:-1]}",
        f"/product/donut?order={order_id}&token={token}x",
        f"/product/donut?order={order_id}&token={token.swapcase()}",
        f"/product/donut?order={order_id}&token={token}&token={token}",
        f"/product/donut?order={order_id}&token=%ED%99%8D",
        f"/product/donut?order={other_id}&token={token}",
        f"/product/donut?order=no-such-order&token={token}",
        f"/product/donut?order=%25&token={token}",
        f"/product/bagel?order={order_id}&token={token}",
        f"/product/nothing?order={order_id}&token={token}",
        f"/product/DONUT?order={order_id}&token={token}",
    ):
        answer = shop.request("POST", path, json={"MessageAttributeProductCnt": "40"})
        assert (path, answer.status_code, answer.json()) == (
            path,
            403,
            {"message": "입고 권한이 없습니다"},
        )
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert shop.sql("SELECT slug, stock FROM product ORDER BY slug") == [
        ("bagel", 5),
        ("donut", 10),
    ]
    assert [status for _, status, _ in shop.orders()] == ["published", "published"]


def test_a_repeated_key_is_one_purchase(shop: Shop) -> None:
    key = {"Idempotency-Key": "a key, 1"}
    first = shop.checkout(3, headers=key)
    shop.checkout(2)
    repeat = shop.checkout("3", headers=key)
    assert (repeat.status_code, repeat.json()) == (200, first.json())
    assert shop.checkout(4, headers=key).status_code == 422
    assert shop.ledger() == [(3, "unknown"), (2, "unknown")]


def test_a_repeated_key_is_one_order(shop: Shop) -> None:
    key = {"Idempotency-Key": "a key, 2"}
    first = shop.checkout(40, headers=key)
    shop.wait_for(first.json()["order_id"])
    repeat = shop.checkout(40, headers=key)
    assert (repeat.status_code, repeat.json()) == (200, first.json())
    assert shop.orders() == [(first.json()["order_id"], "arrived", 40)]


def test_many_buyers_at_once_share_the_stock(shop: Shop) -> None:
    shop.set_stock(40)
    shop.factory.answer = hold_back

    def shopping() -> list[dict[str, Any]]:
        return [shop.checkout(3).json() for _ in range(2)]

    answers = list(chain(*at_once(*[shopping] * 12)))
    left = [answer["stock"] for answer in answers if answer["purchased"]]
    assert sorted(left, reverse=True) == list(range(37, 0, -3))
    assert shop.stock() == 1
    assert shop.ledger() == [(3, "unknown")] * 13
    refused = {answer["order_id"] for answer in answers if not answer["purchased"]}
    assert {order_id for order_id, _, _ in shop.orders()} == refused


TEXTS = [
    "홍길동 🍩 👩‍🍳",
    "'); DROP TABLE product; -- \\'\"",
    "<b>&amp;%s{0}\n두 줄\t탭",
    "홍" * 200,
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_reaches_the_factory_unharmed(shop: Shop, text: str) -> None:
    call = shop.factory_call(shop.order_more(requester=text, MessageAttributeFactoryId=text))
    assert call.payload["MessageAttributeRequester"] == text
    assert call.payload["MessageAttributeFactoryId"] == text


def test_one_order_id_is_in_every_log_and_no_secret_in_any(shop: Shop) -> None:
    order_id = shop.order_more(40, requester="비밀의 구매자")
    shop.wait_for(order_id)
    (token,) = parse_qs(urlsplit(shop.factory_call(order_id).payload["CallbackUrl"]).query)["token"]

    def lines() -> list[str]:
        lines = shop.log_lines()
        for message in ('"checkout"', '"placed"', '"restock"'):
            assert any(order_id in line and f'"message": {message}' in line for line in lines)
        return lines

    text = "\n".join(eventually(lines, within=PATIENCE))
    assert token not in text
    assert "비밀" not in text and "\\ube44\\ubc00" not in text
