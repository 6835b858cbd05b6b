"""Requests that the API rejects. They change nothing, and the response says why."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from common import limits
from tests.support.deployed_shop import CONTENT_TYPE, DeployedShop

TABLES = ("product", "purchase", "production_order", "idempotency_key")


@pytest.fixture
def untouched(shop: DeployedShop) -> Iterator[DeployedShop]:
    """Return the shop, and expect its books to be unchanged after the test."""
    before = [shop.sql(f"SELECT * FROM {table}") for table in TABLES]
    yield shop
    assert [shop.sql(f"SELECT * FROM {table}") for table in TABLES] == before


def assert_rejected(response: requests.Response, status: int = 400) -> None:
    """Expect this status, and a body with a message and nothing else."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == CONTENT_TYPE, response.text
    assert response.json().keys() == {"message"}
    assert response.json()["message"]


NOT_QUANTITIES: list[object] = [
    None,
    0,
    "0",
    -1,
    "-1",
    1.5,
    "1.5",
    "1.0",
    1001,
    "1001",
    10**30,
    "9" * 5000,
]
NOT_QUANTITIES += [
    "",
    "abc",
    " 5",
    "+5",
    "1e2",
    "0x10",
    "1_0",
    "５",
    "٣",
    True,
    False,
    [],
    [1],
    {},
    {"count": 1},
]


@pytest.mark.parametrize("quantity", NOT_QUANTITIES, ids=lambda quantity: ascii(quantity)[:20])
def test_invalid_quantity_returns_400(untouched: DeployedShop, quantity: object) -> None:
    assert_rejected(untouched.checkout(quantity))


NOT_INTEGERS = [
    "5.0000000000000001",
    "-0.0",
    "1e400",
    "1e99999999999999999999",
    "9" * 5000,
    "NaN",
    "Infinity",
]
FIVE = ["5", '"5"', '"005"', "5.0", "50e-1"]


@pytest.mark.parametrize("literal", NOT_INTEGERS, ids=lambda literal: literal[:20])
def test_quantity_that_is_not_an_integer_returns_400(untouched: DeployedShop, literal: str) -> None:
    body = f'{{"MessageAttributeProductCnt": {literal}}}'
    assert_rejected(untouched.request("POST", "/checkout", data=body))


def test_quantity_is_the_same_request_however_it_is_written(shop: DeployedShop) -> None:
    """Five spellings of one quantity share a key. The first one buys, the others get its response."""
    responses = [
        shop.request(
            "POST",
            "/checkout",
            data=f'{{"MessageAttributeProductCnt": {literal}}}',
            headers={"Idempotency-Key": "five", "Content-Type": "application/json"},
        )
        for literal in FIVE
    ]
    for literal, response in zip(FIVE, responses, strict=True):
        assert response.status_code == 200, literal
        assert response.json()["stock"] == 5, literal
    assert shop.purchases() == [(5, "unknown")]


@pytest.mark.parametrize("body", [{}, {"requester": "홍길동"}, {"messageattributeproductcnt": 1}])
def test_checkout_without_a_quantity_returns_400(
    untouched: DeployedShop, body: dict[str, object]
) -> None:
    assert_rejected(untouched.request("POST", "/checkout", json=body))


@pytest.mark.parametrize(
    "name", ["requester", "MessageAttributeRequester", "MessageAttributeFactoryId"]
)
@pytest.mark.parametrize(
    "text",
    [
        "홍" * (limits.TEXT + 1),
        "a\x00b",
        "\x1b[2J",
        "\x7f",
        "\ud800",
        "\ufffe",
        5,
        True,
        ["홍길동"],
        {"name": "홍길동"},
    ],
    ids=ascii,
)
def test_invalid_text_returns_400(untouched: DeployedShop, name: str, text: Any) -> None:
    assert_rejected(untouched.checkout(1000, **{name: text}))


@pytest.mark.parametrize(
    "body",
    {
        "nothing": b"",
        "text": b"five donuts, please",
        "form": b"MessageAttributeProductCnt=1",
        "cut": b'{"MessageAttributeProductCnt": 1',
        "array": b'[{"MessageAttributeProductCnt": 1}]',
        "string": b'"MessageAttributeProductCnt"',
        "number": b"1",
        "null": b"null",
        "NaN": b'{"MessageAttributeProductCnt": 1, "requester": NaN}',
        "deep": b"[" * 16000,
        "latin-1": '{"MessageAttributeProductCnt": 1, "requester": "ñandú"}'.encode("latin-1"),
        "euc-kr": '{"MessageAttributeProductCnt": 1, "requester": "홍길동"}'.encode("euc-kr"),
        "utf-16": '{"MessageAttributeProductCnt": 1}'.encode("utf-16"),
        "not utf-8": b'{"MessageAttributeProductCnt": 1, "requester": "\xff\xfe"}',
        "too large": b'{"MessageAttributeProductCnt": 1}' + b" " * limits.BODY_BYTES,
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream", None])
def test_body_that_is_not_a_json_object_returns_400(
    untouched: DeployedShop, body: tuple[str, bytes], content_type: str | None
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert_rejected(untouched.request("POST", "/checkout", data=body[1], headers=headers))


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/x-www-form-urlencoded", None]
)
def test_body_of_16_kib_is_accepted_with_any_content_type(
    shop: DeployedShop, content_type: str | None
) -> None:
    body = json.dumps(
        {"MessageAttributeProductCnt": 1, "requester": "홍길동"}, ensure_ascii=False
    ).encode()
    headers = {"Content-Type": content_type} if content_type else {}
    response = shop.request(
        "POST", "/checkout", data=body.ljust(limits.BODY_BYTES), headers=headers
    )
    assert response.status_code == 200
    assert response.json()["stock"] == 9
    assert shop.purchases() == [(1, "홍길동")]


@pytest.mark.parametrize(
    "key", ["", "k" * (limits.IDEMPOTENCY_KEY + 1), "tab\there", "홍길동".encode()], ids=ascii
)
def test_invalid_idempotency_key_returns_400(untouched: DeployedShop, key: str | bytes) -> None:
    assert_rejected(untouched.checkout(1, headers={"Idempotency-Key": key}))


@pytest.mark.parametrize(
    "product_id",
    [
        "no-such-id",
        "donut",
        "'; --",
        "홍",
        "a\x00",
        "x" * limits.PRODUCT_ID,
        "x" * (limits.PRODUCT_ID + 1),
        "x" * 201,
    ],
    ids=ascii,
)
def test_checkout_of_an_unknown_product_returns_400(
    untouched: DeployedShop, product_id: str
) -> None:
    response = untouched.checkout(1, MessageAttributeProductId=product_id)
    assert_rejected(response)
    assert response.json() == {"message": "상품 없음"}


@pytest.mark.parametrize(
    "slug", ["bagel", "DONUT", "donut%20", "'%20OR%20'1", "%ED%99%8D", "%00", "x" * 200]
)
def test_unknown_product_returns_400(untouched: DeployedShop, slug: str) -> None:
    response = untouched.request("GET", f"/product/{slug}")
    assert_rejected(response)
    assert response.json() == {"message": "상품 없음"}


@pytest.mark.parametrize("order_id", ["no-such-order", "%27%20OR%20%271", "%ED%99%8D", "x" * 200])
def test_unknown_order_returns_400(untouched: DeployedShop, order_id: str) -> None:
    response = untouched.request("GET", f"/order/{order_id}")
    assert_rejected(response)
    assert response.json() == {"message": "주문 없음"}


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, "/product/donut") for method in ("PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")]
    + [(method, "/checkout") for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")]
    + [(method, "/order/x") for method in ("POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")]
    + [(method, "/") for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")]
    + [
        ("GET", path)
        for path in (
            "/product",
            "/product/",
            "/product/donut/stock",
            "/orders",
            "/_ministack/health",
        )
    ]
    + [
        ("POST", path)
        for path in ("/product", "/product/", "/checkout/now", "/Checkout", "/CHECKOUT")
    ],
)
def test_any_other_request_returns_404(untouched: DeployedShop, method: str, path: str) -> None:
    response = untouched.request(method, path, json={"MessageAttributeProductCnt": 1})
    assert response.status_code == 404, response.text
    assert response.headers["content-type"] == CONTENT_TYPE, response.text
    if method != "HEAD":
        assert response.json() == {"error": "Not Found"}
