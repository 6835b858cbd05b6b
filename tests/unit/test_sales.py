"""The sales function's handler: products, checkouts and orders over HTTP."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import botocore.exceptions
import pytest

from common import aws, deadline, limits, messages
from common.database import DatabaseUnavailable
from tests.support.fakes import FakeSalesStore, failing
from tests.support.orders import ORDER
from tests.support.pipe import Pipe
from tests.support.variables import LOGIN, VARIABLES

QUANTITY = "MessageAttributeProductCnt"
PRODUCT = "MessageAttributeProductId"
FACTORY = "MessageAttributeFactoryId"
LAMBDAS = Path(messages.__file__).parent.parent
PRODUCT_ID = "3e0c4d7e-1c1f-4b8e-9a53-1f5b3c5f6a10"


@pytest.fixture
def store() -> FakeSalesStore:
    return FakeSalesStore()


@pytest.fixture
def sales(
    load: Callable[..., ModuleType], store: FakeSalesStore, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    module = load("sales")
    monkeypatch.setattr(module, "store", store)
    return module


Response = tuple[int, dict[str, Any]]
"""The status and the body."""


def call(sales: ModuleType, event: dict[str, Any]) -> Response:
    response = sales.handler(event, None)
    assert response["headers"]["content-type"] == "application/json; charset=utf-8"
    return response["statusCode"], json.loads(response["body"])


def checkout(
    sales: ModuleType,
    body: dict[str, Any] | str | bytes | None,
    *,
    headers: dict[str, str] | None = None,
) -> Response:
    """Send a checkout. body: an object to serialize, a text, or bytes to send in Base64."""
    event = {
        "routeKey": "POST /checkout",
        "headers": headers or {},
        "isBase64Encoded": isinstance(body, bytes),
    }
    if isinstance(body, bytes):
        text: str | None = base64.b64encode(body).decode()
    else:
        text = json.dumps(body) if isinstance(body, dict) else body
    return call(sales, event if text is None else {**event, "body": text})


def padded(size: int) -> bytes:
    """Return a valid body of this many bytes."""
    return f'{{"{QUANTITY}": 5}}'.encode().ljust(size)


# --- quantity ---


def digits(quantity: int, length: int) -> str:
    """Return the quantity as a JSON string of this many digits, with leading zeros."""
    return f'"{quantity:0{length}}"'


FIVE = [
    "5",
    '"5"',
    '"005"',
    "5.0",
    "5e0",
    "50e-1",
    "0.5E+1",
    f"5.{'0' * 5000}",
    digits(5, limits.QUANTITY_DIGITS),
]
"""JSON literals that all mean five."""
GOOD_QUANTITIES = {
    **dict.fromkeys(FIVE, 5),
    "1": 1,
    "1.0": 1,
    "1e0": 1,
    "1e1": 10,
    "1e2": 100,
    "1E+3": 1000,
    "999": 999,
    "1000": 1000,
    "1000.0": 1000,
    f"5{'0' * 5000}e-5000": 5,
    '"1"': 1,
    '"999"': 999,
    '"1000"': 1000,
    digits(5, limits.QUANTITY_DIGITS - 1): 5,
}
# Grouped by what is wrong with them. The formatter would put each literal on a line of its own.
# fmt: off
BAD_QUANTITIES = [
    # not a number
    "null", "true", "false", "[5]", "{}",
    # not an integer
    "1.5", "5.0000000000000001", "0.9999999999999999999", "1000.0000000000000001", "1e-400",
    "1e-999999999", "1e-99999999999999999999", f"5.{'0' * 5000}1", f"0.{'0' * 5000}1",
    # too small
    "0", "-1", "-0", "0.0", "-0.0", "-5.0", "0e5", "-1e400", "-1e99999999999999999999",
    "0e99999999999999999999",
    # too large
    "1001", "2000", "1001.0", "1.001e3", "1e4", "1e400", "1e999", "1e999999999",
    "1e999999999999999999", "1e99999999999999999999", "9" * 100, "9" * 5000, f"5{'0' * 5000}",
    # not JSON
    "NaN", "Infinity", "-Infinity", "05", "+5", "5.", ".5", "0x5", "1_0", "٥",
    # a string that is not digits only
    '""', '"-1"', '"+5"', '" 5"', '"5 "', '"5\\n"', '"1.5"', '"5.0"', '"1e2"', '"0x5"', '"1_0"',
    '"abc"', '"٥"', '"５"', '"²"', '"true"', '"NaN"', '"Infinity"', '"-0"', '"\\ud800"',
    # a string of digits that is out of range, or too long
    '"0"', '"1001"', f'"{"9" * limits.QUANTITY_DIGITS}"', f'"{"9" * 5000}"',
    digits(0, limits.QUANTITY_DIGITS), digits(5, limits.QUANTITY_DIGITS + 1),
    digits(5, 2 * limits.QUANTITY_DIGITS), digits(5, 5000),
]
# fmt: on


@pytest.mark.parametrize(
    ("literal", "quantity"), GOOD_QUANTITIES.items(), ids=lambda value: str(value)[:12]
)
def test_checkout_sells_an_integer_quantity(
    literal: str, quantity: int, sales: ModuleType, store: FakeSalesStore
) -> None:
    status, body = checkout(sales, f'{{"{QUANTITY}": {literal}}}')
    assert status == 200
    assert body == {"message": "구매 완료! 남은 재고: 7", "purchased": True, "stock": 7}
    assert [request["quantity"] for request in store.checkouts] == [quantity]


@pytest.mark.parametrize("literal", BAD_QUANTITIES, ids=lambda literal: literal[:12])
def test_checkout_rejects_any_other_quantity(
    literal: str, sales: ModuleType, store: FakeSalesStore
) -> None:
    status, body = checkout(sales, f'{{"{QUANTITY}": {literal}}}')
    assert status == 400
    assert body["message"]
    assert store.checkouts == []


NOT_INTEGERS = [
    "null",
    "0",
    "1001",
    "-0.0",
    "5.0000000000000001",
    "1e400",
    "1e99999999999999999999",
    "9" * 5000,
]


@pytest.mark.parametrize("literal", NOT_INTEGERS, ids=lambda literal: literal[:12])
def test_checkout_names_the_quantity_when_it_is_out_of_range(
    literal: str, sales: ModuleType
) -> None:
    """Such a literal is valid JSON, so the message is about the quantity and not about the body."""
    status, body = checkout(sales, f'{{"{QUANTITY}": {literal}}}')
    assert status == 400
    assert body == {"message": f"{QUANTITY}는 1 이상 1000 이하의 정수여야 합니다"}


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_checkout_rejects_python_constants_as_json(literal: str, sales: ModuleType) -> None:
    status, body = checkout(sales, f'{{"{QUANTITY}": {literal}}}')
    assert status == 400
    assert body == {"message": "요청 본문이 올바른 JSON이 아닙니다"}


@pytest.mark.parametrize(
    "literal", ["1e400", "1e999999999", "1e99999999999999999999", "9" * 5000], ids=len
)
def test_checkout_ignores_numbers_in_unknown_fields(
    literal: str, sales: ModuleType, store: FakeSalesStore
) -> None:
    status, _ = checkout(sales, f'{{"{QUANTITY}": 5, "extra": {literal}}}')
    assert status == 200
    assert len(store.checkouts) == 1


@pytest.mark.parametrize(
    "body", [{}, {"messageattributeproductcnt": 5}, {"requester": "홍길동"}], ids=json.dumps
)
def test_checkout_rejects_a_missing_quantity(
    body: dict[str, Any], sales: ModuleType, store: FakeSalesStore
) -> None:
    status, response = checkout(sales, body)
    assert status == 400
    assert QUANTITY in response["message"]
    assert store.checkouts == []


def test_checkout_rejects_more_than_the_configured_quantity(
    load: Callable[..., ModuleType], store: FakeSalesStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sales = load("sales", MAX_QUANTITY="3")
    monkeypatch.setattr(sales, "store", store)
    assert checkout(sales, {QUANTITY: 3})[0] == 200
    assert checkout(sales, {QUANTITY: 4})[0] == 400


# --- text ---

GOOD_TEXTS = {
    "Korean": ("부산 홍길동", "부산 홍길동"),
    "emoji": ("🍩👩‍👩‍👧", "🍩👩‍👩‍👧"),
    "quotes": ("\"'`\\", "\"'`\\"),
    "SQL": ("'; DROP TABLE product; --", "'; DROP TABLE product; --"),
    "format": ("%s %(a)s {0} ${IFS}", "%s %(a)s {0} ${IFS}"),
    "lines": ("a\tb\nc\r\nd", "a\tb\nc\r\nd"),
    "trimmed": (" \t\n이름\u3000 ", "이름"),
    "one less than the limit": ("가" * (limits.TEXT - 1), "가" * (limits.TEXT - 1)),
    "as long as the limit": ("가" * limits.TEXT, "가" * limits.TEXT),
    "as many emoji as the limit": ("🍩" * limits.TEXT, "🍩" * limits.TEXT),
    "as long as the limit after trimming": (f"  {'a' * limits.TEXT}  ", "a" * limits.TEXT),
}
MISSING = {"null": None, "empty": "", "blank": " \t\n"}
BAD_TEXTS = {
    "one more than the limit": f'"{"가" * (limits.TEXT + 1)}"',
    "one more emoji than the limit": f'"{"🍩" * (limits.TEXT + 1)}"',
    "twice the limit": f'"{"가" * 2 * limits.TEXT}"',
    "number": "7",
    "boolean": "false",
    "array": '["a"]',
    "object": "{}",
    "high surrogate": r'"\ud800"',
    "low surrogate": r'"a\udf69b"',
    "surrogates swapped": r'"\udf69\ud83c"',
    "NUL": r'"a\u0000b"',
    "bell": r'"\u0007"',
    "escape": r'"\u001b[31m"',
    "unit separator to trim": r'"a\u001f"',
    "delete": r'"\u007f"',
    "C1": r'"\u0085"',
    "U+FFFE": r'"\ufffe"',
    "U+FFFF": r'"\uffff"',
}


@pytest.mark.parametrize(("sent", "kept"), GOOD_TEXTS.values(), ids=GOOD_TEXTS)
@pytest.mark.parametrize("name", ["requester", "MessageAttributeRequester", FACTORY])
def test_checkout_accepts_text(
    name: str, sent: str, kept: str, sales: ModuleType, store: FakeSalesStore
) -> None:
    assert checkout(sales, {QUANTITY: 5, name: sent})[0] == 200
    assert [
        request["factory_id" if name == FACTORY else "requester"] for request in store.checkouts
    ] == [kept]


def test_checkout_decodes_an_escaped_surrogate_pair(
    sales: ModuleType, store: FakeSalesStore
) -> None:
    assert checkout(sales, f'{{"{QUANTITY}": 5, "requester": "\\ud83c\\udf69"}}')[0] == 200
    assert store.checkouts[0]["requester"] == "🍩"


@pytest.mark.parametrize("literal", BAD_TEXTS.values(), ids=BAD_TEXTS)
@pytest.mark.parametrize("name", ["requester", "MessageAttributeRequester", FACTORY])
def test_checkout_names_the_field_of_bad_text(
    name: str, literal: str, sales: ModuleType, store: FakeSalesStore
) -> None:
    status, body = checkout(sales, f'{{"{QUANTITY}": 5, "{name}": {literal}}}')
    assert status == 400
    assert name in body["message"]
    assert store.checkouts == []


@pytest.mark.parametrize("value", MISSING.values(), ids=MISSING)
def test_checkout_treats_blank_text_as_missing(
    value: str | None, sales: ModuleType, store: FakeSalesStore
) -> None:
    assert (
        checkout(sales, {QUANTITY: 5, "requester": value, FACTORY: value, PRODUCT: value})[0] == 200
    )
    assert checkout(sales, {QUANTITY: 5})[0] == 200
    blank, missing = store.checkouts
    assert blank == {
        **missing,
        "order_id": blank["order_id"],
        "callback_token": blank["callback_token"],
    }
    assert missing["slug"] == "donut"
    assert missing["product_id"] is None
    assert missing["factory_id"] is None
    assert missing["requester"] == "unknown"


def test_checkout_prefers_requester_to_its_alias(sales: ModuleType, store: FakeSalesStore) -> None:
    checkout(sales, {QUANTITY: 5, "requester": "a", "MessageAttributeRequester": "b"})
    checkout(sales, {QUANTITY: 5, "requester": "", "MessageAttributeRequester": "b"})
    assert [request["requester"] for request in store.checkouts] == ["a", "b"]


def test_checkout_rejects_a_bad_alias_beside_a_requester(
    sales: ModuleType, store: FakeSalesStore
) -> None:
    status, _ = checkout(sales, {QUANTITY: 5, "requester": "a", "MessageAttributeRequester": False})
    assert status == 400
    assert store.checkouts == []


def test_checkout_sells_the_named_product(sales: ModuleType, store: FakeSalesStore) -> None:
    assert checkout(sales, {QUANTITY: 5, PRODUCT: f" {PRODUCT_ID} "})[0] == 200
    assert store.checkouts[0]["product_id"] == PRODUCT_ID


@pytest.mark.parametrize("length", [1, limits.PRODUCT_ID - 1, limits.PRODUCT_ID])
def test_product_id_within_its_limit_is_looked_up(
    length: int, sales: ModuleType, store: FakeSalesStore
) -> None:
    assert checkout(sales, {QUANTITY: 5, PRODUCT: f"\t{'a' * length}\u3000"})[0] == 200
    assert [request["product_id"] for request in store.checkouts] == ["a" * length]


IMPOSSIBLE_PRODUCT_IDS = {
    "one more than the limit": "a" * (limits.PRODUCT_ID + 1),
    "a product's id and a letter": f"{PRODUCT_ID}a",
    "as long as a slug": "a" * limits.SLUG,
    "longer than a slug": "a" * (limits.SLUG + 1),
    "twice the limit": "a" * 2 * limits.PRODUCT_ID,
    "longer than a text": "a" * (limits.TEXT + 1),
    "Korean": "도너츠",
    "space": "a b",
    "SQL": "' OR 1=1",
    "emoji": "🍩",
    "slash": "a/b",
    "NUL": f"{PRODUCT_ID}\0",
    "unit separator, which strip() removes": f"{PRODUCT_ID}\x1f",
    "surrogate": "\ud800",
}


@pytest.mark.parametrize("product_id", IMPOSSIBLE_PRODUCT_IDS.values(), ids=IMPOSSIBLE_PRODUCT_IDS)
def test_impossible_product_id_is_not_looked_up(
    product_id: str, sales: ModuleType, store: FakeSalesStore
) -> None:
    assert checkout(sales, {QUANTITY: 5, PRODUCT: product_id}) == (400, {"message": "상품 없음"})
    assert store.checkouts == []


@pytest.mark.parametrize("value", [7, 36.0, False, ["a"], {}], ids=str)
def test_product_id_that_is_not_a_string_is_rejected_by_name(
    value: object, sales: ModuleType, store: FakeSalesStore
) -> None:
    status, body = checkout(sales, {QUANTITY: 5, PRODUCT: value})
    assert status == 400
    assert body == {"message": f"{PRODUCT}는 문자열이어야 합니다"}
    assert store.checkouts == []


def test_unknown_product_is_rejected(sales: ModuleType, store: FakeSalesStore) -> None:
    store.outcome = "no_such_product"
    assert checkout(sales, {QUANTITY: 5, PRODUCT: PRODUCT_ID}) == (400, {"message": "상품 없음"})


def test_order_id_and_callback_token_are_within_their_limits(
    sales: ModuleType, store: FakeSalesStore
) -> None:
    checkout(sales, {QUANTITY: 5})
    (request,) = store.checkouts
    assert limits.is_identifier(request["order_id"], max_length=limits.ORDER_ID)
    assert limits.is_identifier(request["callback_token"], max_length=limits.CALLBACK_TOKEN)


def test_callback_token_holds_24_random_bytes(sales: ModuleType, store: FakeSalesStore) -> None:
    checkout(sales, {QUANTITY: 5})
    assert len(base64.urlsafe_b64decode(store.checkouts[0]["callback_token"])) == 24


# --- body ---

BAD_BODIES: dict[str, str | bytes | None] = {
    "none": None,
    "empty": "",
    "text": "donut",
    "form": f"{QUANTITY}=5",
    "cut off": f'{{"{QUANTITY}": 5',
    "two objects": f'{{"{QUANTITY}": 5}}{{"{QUANTITY}": 5}}',
    "null": "null",
    "number": "5",
    "string": '"5"',
    "array": f'[{{"{QUANTITY}": 5}}]',
    "NaN": f'{{"{QUANTITY}": 5, "extra": NaN}}',
    "Infinity": f'{{"{QUANTITY}": 5, "extra": -Infinity}}',
    "deep": f'{{"{QUANTITY}": 5, "extra": {"[" * 16000}',
    "byte order mark": f'\ufeff{{"{QUANTITY}": 5}}',
    "surrogate": f'{{"{QUANTITY}": 5, "requester": "\ud800"}}',
    "not UTF-8": f'{{"{QUANTITY}": 5, "requester": "홍길동"}}'.encode("cp949"),
    "UTF-16": f'{{"{QUANTITY}": 5}}'.encode("utf-16"),
    "one byte more than the limit": padded(limits.BODY_BYTES + 1),
    "twice the limit": padded(2 * limits.BODY_BYTES),
    "16 KiB of bytes, not of characters": f'{{"{QUANTITY}": 5, "extra": "{"가" * 6000}"}}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_body_is_rejected(
    body: str | bytes | None, sales: ModuleType, store: FakeSalesStore
) -> None:
    status, response = checkout(sales, body)
    assert status == 400
    assert response["message"]
    assert store.checkouts == []


def test_deeply_nested_field_is_ignored_or_rejected(
    sales: ModuleType, store: FakeSalesStore
) -> None:
    """Python 3.11 reads about 1,000 levels; 3.13 about 10,000, and no body holds as many."""
    status, _ = checkout(sales, f'{{"{QUANTITY}": 5, "extra": {"[" * 8000}{"]" * 8000}}}')
    assert (status, len(store.checkouts)) in [(200, 1), (400, 0)]


BASE64 = base64.b64encode(f'{{"{QUANTITY}": 5}}'.encode()).decode()


@pytest.mark.parametrize(
    "body", ["!", "a", "YQ", "한글", f"{BASE64}\n", f"{BASE64[:4]}!{BASE64[4:]}", BASE64[:-1]]
)
def test_bad_base64_is_rejected(body: str, sales: ModuleType, store: FakeSalesStore) -> None:
    event = {"routeKey": "POST /checkout", "headers": {}, "body": body, "isBase64Encoded": True}
    status, response = call(sales, event)
    assert status == 400
    assert response["message"]
    assert store.checkouts == []


@pytest.mark.parametrize("size", [limits.BODY_BYTES - 1, limits.BODY_BYTES])
@pytest.mark.parametrize("encode", [bytes, bytes.decode], ids=["base64", "text"])
def test_body_within_its_limit_is_read(
    size: int, encode: Callable[[bytes], Any], sales: ModuleType, store: FakeSalesStore
) -> None:
    assert checkout(sales, encode(padded(size)))[0] == 200
    assert len(store.checkouts) == 1


def test_base64_body_is_decoded(sales: ModuleType, store: FakeSalesStore) -> None:
    assert checkout(sales, f'{{"{QUANTITY}": "5", "requester": "홍길동"}}'.encode())[0] == 200
    assert store.checkouts[0]["requester"] == "홍길동"


# --- Idempotency-Key ---

KEY = limits.IDEMPOTENCY_KEY


@pytest.mark.parametrize(
    "key",
    ["a", "a" * (KEY - 1), "a" * KEY, " ", "~!@#$%^&*()", "7f1d9a2e-2d7a-4c2f-8d0c-6b8f7a5e4d3c"],
)
def test_idempotency_key_is_passed_to_the_store(
    key: str, sales: ModuleType, store: FakeSalesStore
) -> None:
    assert checkout(sales, {QUANTITY: 5}, headers={"idempotency-key": key})[0] == 200
    assert store.checkouts[0]["idempotency_key"] == key


def test_missing_idempotency_key_is_passed_as_none(
    sales: ModuleType, store: FakeSalesStore
) -> None:
    assert checkout(sales, {QUANTITY: 5}, headers={"content-type": "application/json"})[0] == 200
    assert store.checkouts[0]["idempotency_key"] is None


@pytest.mark.parametrize(
    "key", ["", "a" * (KEY + 1), "a" * 2 * KEY, "열쇠", "a\tb", "a\n", "\x7f", "\x00", "é"]
)
def test_invalid_idempotency_key_is_rejected(
    key: str, sales: ModuleType, store: FakeSalesStore
) -> None:
    status, response = checkout(sales, {QUANTITY: 5}, headers={"idempotency-key": key})
    assert status == 400
    assert "Idempotency-Key" in response["message"]
    assert store.checkouts == []


def test_idempotency_key_of_another_request_is_rejected(
    sales: ModuleType, store: FakeSalesStore
) -> None:
    store.outcome, store.first_hash = "replayed", b"another request's"
    status, response = checkout(sales, {QUANTITY: 5}, headers={"idempotency-key": "key"})
    assert status == 422
    assert "Idempotency-Key" in response["message"]


def test_repeated_checkout_returns_the_first_response(
    sales: ModuleType, store: FakeSalesStore
) -> None:
    store.outcome, store.purchased = "replayed", False
    assert checkout(sales, {QUANTITY: 5}, headers={"idempotency-key": "key"}) == (
        200,
        {
            "message": "구매 실패! 남은 재고: 7",
            "purchased": False,
            "stock": 7,
            "order_id": "first-order",
        },
    )


SAME_REQUEST: list[dict[str, Any]] = [
    {QUANTITY: 5},
    {QUANTITY: "5"},
    {QUANTITY: "005", "requester": None},
    {"requester": " unknown ", FACTORY: "", QUANTITY: 5},
]
OTHER_REQUESTS: list[dict[str, Any]] = [
    {QUANTITY: 6},
    {QUANTITY: 5, "requester": "a"},
    {QUANTITY: 5, FACTORY: "a"},
    {QUANTITY: 5, PRODUCT: "a"},
]


def test_request_hash_ignores_how_the_quantity_is_written(
    sales: ModuleType, store: FakeSalesStore
) -> None:
    for literal in FIVE:
        assert (
            checkout(sales, f'{{"{QUANTITY}": {literal}}}', headers={"idempotency-key": "key"})[0]
            == 200
        ), literal
    assert len(store.checkouts) == len(FIVE)
    assert len({request["request_hash"] for request in store.checkouts}) == 1


def test_request_hash_differs_for_different_requests_only(
    sales: ModuleType, store: FakeSalesStore
) -> None:
    for body in SAME_REQUEST + OTHER_REQUESTS:
        checkout(sales, body, headers={"idempotency-key": "key"})
    hashes = [request["request_hash"] for request in store.checkouts]
    assert len(set(hashes[: len(SAME_REQUEST)])) == 1
    assert len(set(hashes[len(SAME_REQUEST) - 1 :])) == 1 + len(OTHER_REQUESTS)


def test_checkout_without_a_key_has_no_request_hash(
    sales: ModuleType, store: FakeSalesStore
) -> None:
    checkout(sales, {QUANTITY: 5})
    assert store.checkouts[0]["idempotency_key"] is None
    assert store.checkouts[0]["request_hash"] is None


# --- out of stock ---


@pytest.fixture
def out_of_stock(
    pipe: Pipe,
    load: Callable[..., ModuleType],
    store: FakeSalesStore,
    monkeypatch: pytest.MonkeyPatch,
) -> ModuleType:
    """Return the handler's module, with a topic and a store that is out of stock."""
    module = load("sales", STOCK_EMPTY_TOPIC_ARN=pipe.topic_arn)
    store.outcome = "out_of_stock"
    monkeypatch.setattr(module, "store", store)
    return module


def test_out_of_stock_checkout_returns_the_order_id(
    out_of_stock: ModuleType, store: FakeSalesStore
) -> None:
    status, response = checkout(out_of_stock, {QUANTITY: 12})
    (request,) = store.checkouts
    assert status == 200
    assert response == {
        "message": "구매 실패! 남은 재고: 7",
        "purchased": False,
        "stock": 7,
        "order_id": request["order_id"],
    }


def test_out_of_stock_checkout_publishes_the_order(
    out_of_stock: ModuleType, store: FakeSalesStore, pipe: Pipe
) -> None:
    checkout(out_of_stock, {QUANTITY: 12, "requester": "부산 홍길동 🍩", FACTORY: "FF-1"})
    (request,) = store.checkouts
    (message,) = pipe.receive()
    envelope = json.loads(message["Body"])
    assert envelope["Subject"] == "도너츠 재고 부족"
    text, time = envelope["Message"].rsplit(" ", 1)
    assert text == "도너츠 재고가 없습니다. 제품을 생산해주세요! \n메시지 작성 시각:"
    assert datetime.fromisoformat(time).utcoffset() == timedelta(0)
    assert envelope["MessageAttributes"] == {
        "MessageAttributeProductId": {"Type": "String", "Value": ORDER.product_id},
        "MessageAttributeFactoryId": {"Type": "String", "Value": "FF-1"},
        "MessageAttributeProductCnt": {"Type": "String", "Value": "12"},
        "MessageAttributeRequester": {"Type": "String", "Value": "부산 홍길동 🍩"},
        "MessageAttributeOrderId": {"Type": "String", "Value": request["order_id"]},
        "MessageAttributeCallbackToken": {"Type": "String", "Value": request["callback_token"]},
        "MessageAttributeProductSlug": {"Type": "String", "Value": "donut"},
    }
    assert store.published == [(request["order_id"], 900)]


def test_checkout_passes_publish_within_to_the_store(
    out_of_stock: ModuleType, store: FakeSalesStore
) -> None:
    checkout(out_of_stock, {QUANTITY: 12})
    assert store.checkouts[0]["publish_within"] == 30


def test_each_order_has_its_own_id_and_secret_token(
    out_of_stock: ModuleType, store: FakeSalesStore
) -> None:
    for number in range(20):
        _, response = checkout(out_of_stock, {QUANTITY: 12})
        token = store.checkouts[-1]["callback_token"]
        assert token not in json.dumps(response), f"order {number}"
    ids = {request["order_id"] for request in store.checkouts}
    tokens = {request["callback_token"] for request in store.checkouts}
    assert len(ids) == len(store.checkouts)
    assert len(tokens) == len(store.checkouts)
    assert not ids & tokens
    assert min(len(base64.urlsafe_b64decode(f"{token}==")) for token in tokens) >= 128 / 8


@pytest.mark.parametrize(
    ("outcome", "purchased"),
    [("sold", True), ("no_such_product", False), ("replayed", True), ("replayed", False)],
)
def test_other_outcomes_publish_nothing(
    outcome: str,
    purchased: bool,
    out_of_stock: ModuleType,
    store: FakeSalesStore,
    pipe: Pipe,
) -> None:
    store.outcome, store.purchased = outcome, purchased
    checkout(out_of_stock, {QUANTITY: 5}, headers={"idempotency-key": "key"})
    assert pipe.receive() == []
    assert store.published == []


Break = Callable[[ModuleType, FakeSalesStore, pytest.MonkeyPatch], None]
"""Makes publishing fail."""


def break_topic(sales: ModuleType, store: FakeSalesStore, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = f"{sales.config.stock_empty_topic_arn}_deleted"
    monkeypatch.setattr(sales, "config", replace(sales.config, stock_empty_topic_arn=arn))


def break_network(
    sales: ModuleType, store: FakeSalesStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = botocore.exceptions.EndpointConnectionError(endpoint_url="https://sns.test")
    monkeypatch.setattr(aws, "client", failing(error))


def break_marking(
    sales: ModuleType, store: FakeSalesStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publishing = DatabaseUnavailable("OperationalError 2013")


@pytest.mark.parametrize("break_", [break_topic, break_network, break_marking])
def test_response_does_not_depend_on_publishing(
    break_: Break,
    out_of_stock: ModuleType,
    store: FakeSalesStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_(out_of_stock, store, monkeypatch)
    status, response = checkout(out_of_stock, {QUANTITY: 12})
    assert status == 200
    assert response["purchased"] is False
    assert response["order_id"] == store.checkouts[0]["order_id"]
    assert store.published == []


def test_order_is_left_to_the_relay_when_the_request_was_slow(
    out_of_stock: ModuleType,
    store: FakeSalesStore,
    pipe: Pipe,
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[], str],
) -> None:
    monkeypatch.setattr(deadline, "began", lambda: time.monotonic() - deadline.PUBLISH_START - 0.1)
    assert checkout(out_of_stock, {QUANTITY: 12})[0] == 200
    assert pipe.receive() == []
    assert store.published == []
    assert "left to the relay" in logged()


def test_published_order_is_marked_after_slow_publishing(
    out_of_stock: ModuleType, store: FakeSalesStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the relay publishes the order again. A cold function publishes this slowly."""

    def publish_slowly(order: messages.ProductionOrder, **_: object) -> None:
        began = time.monotonic() - 2 * deadline.PUBLISH_START
        monkeypatch.setattr(deadline, "began", lambda: began)

    monkeypatch.setattr(messages, "publish", publish_slowly)
    assert checkout(out_of_stock, {QUANTITY: 12})[0] == 200
    (request,) = store.checkouts
    assert store.published == [(request["order_id"], 900)]


# --- the other routes ---


def get(sales: ModuleType, route: str, name: str, value: str) -> Response:
    return call(sales, {"routeKey": route, "headers": {}, "pathParameters": {name: value}})


def get_product(sales: ModuleType, slug: str) -> Response:
    return get(sales, "GET /product/{slug}", "slug", slug)


def get_order(sales: ModuleType, order_id: str) -> Response:
    return get(sales, "GET /order/{order_id}", "order_id", order_id)


def test_product_is_returned(sales: ModuleType) -> None:
    assert get_product(sales, "donut") == (200, {"sku": "CP-502101", "name": "부산도너츠"})


def test_order_is_returned(sales: ModuleType) -> None:
    assert get_order(sales, "known") == (200, {"status": "published"})


@pytest.mark.parametrize("name", ["bagel", "DONUT", "donut2"])
def test_unknown_product_and_order_return_400(
    name: str, sales: ModuleType, store: FakeSalesStore
) -> None:
    assert get_product(sales, name) == (400, {"message": "상품 없음"})
    assert get_order(sales, name) == (400, {"message": "주문 없음"})
    assert store.looked_up == [name, name]


@pytest.mark.parametrize("excess", [-1, 0], ids=["one less than the limit", "as long as the limit"])
def test_slug_and_order_id_within_their_limits_are_looked_up(
    excess: int, sales: ModuleType, store: FakeSalesStore
) -> None:
    slug, order_id = "a" * (limits.SLUG + excess), "a" * (limits.ORDER_ID + excess)
    assert get_product(sales, slug) == (400, {"message": "상품 없음"})
    assert get_order(sales, order_id) == (400, {"message": "주문 없음"})
    assert store.looked_up == [slug, order_id]


@pytest.mark.parametrize(
    "length", [lambda limit: limit + 1, lambda limit: 2 * limit], ids=["one more", "twice"]
)
def test_slug_and_order_id_over_their_limits_are_not_looked_up(
    length: Callable[[int], int], sales: ModuleType, store: FakeSalesStore
) -> None:
    assert get_product(sales, "a" * length(limits.SLUG)) == (400, {"message": "상품 없음"})
    assert get_order(sales, "a" * length(limits.ORDER_ID)) == (400, {"message": "주문 없음"})
    assert store.looked_up == []


@pytest.mark.parametrize("name", ["", "도넛", "donut ", "donut\n", "%64onut", "' OR '1'='1"])
def test_impossible_slug_and_order_id_are_not_looked_up(
    name: str, sales: ModuleType, store: FakeSalesStore
) -> None:
    assert get_product(sales, name) == (400, {"message": "상품 없음"})
    assert get_order(sales, name) == (400, {"message": "주문 없음"})
    assert store.looked_up == []


@pytest.mark.parametrize("route", ["$default", "DELETE /checkout"])
def test_unknown_route_returns_404(route: str, sales: ModuleType) -> None:
    assert call(sales, {"routeKey": route, "headers": {}}) == (404, {"error": "Not Found"})


# --- failures ---

REQUESTS: dict[str, Callable[[ModuleType], Response]] = {
    "product": lambda sales: get_product(sales, "donut"),
    "order": lambda sales: get_order(sales, "known"),
    "checkout": lambda sales: checkout(sales, {QUANTITY: 5, "requester": "홍길동"}),
}


@pytest.mark.parametrize("send", REQUESTS.values(), ids=REQUESTS)
def test_unavailable_database_returns_503(
    send: Callable[[ModuleType], Response], sales: ModuleType, store: FakeSalesStore
) -> None:
    store.outcome = DatabaseUnavailable("OperationalError 2003")
    assert send(sales) == (503, {"message": "데이터베이스 연결 오류"})


@pytest.mark.parametrize("send", REQUESTS.values(), ids=REQUESTS)
def test_unexpected_error_returns_500_without_its_text(
    send: Callable[[ModuleType], Response], sales: ModuleType, store: FakeSalesStore
) -> None:
    store.outcome = RuntimeError("SELECT stock FROM product on database.test")
    assert send(sales) == (500, {"message": "서버 오류"})


@pytest.mark.parametrize(
    "outcome",
    [
        "sold",
        "out_of_stock",
        "no_such_product",
        "replayed",
        DatabaseUnavailable("OperationalError 2003"),
        RuntimeError("'홍길동' does not fit"),
    ],
    ids=str,
)
def test_log_has_neither_requester_nor_token(
    outcome: str | Exception,
    out_of_stock: ModuleType,
    store: FakeSalesStore,
    logged: Callable[[], str],
) -> None:
    store.outcome = outcome
    checkout(
        out_of_stock, {QUANTITY: 12, "requester": "홍길동"}, headers={"idempotency-key": "key"}
    )
    checkout(out_of_stock, {QUANTITY: 0, "requester": "홍길동"})
    checkout(out_of_stock, f'{{"{QUANTITY}": 5, "requester": "홍길동"')
    assert logged(), "nothing was logged"
    assert "홍길동" not in logged()
    assert store.checkouts[0]["callback_token"] not in logged()


@pytest.mark.parametrize("break_", [break_topic, break_network, break_marking])
def test_log_has_no_personal_data_when_publishing_fails(
    break_: Break,
    out_of_stock: ModuleType,
    store: FakeSalesStore,
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[], str],
) -> None:
    break_(out_of_stock, store, monkeypatch)
    checkout(out_of_stock, {QUANTITY: 12, "requester": "홍길동"})
    (request,) = store.checkouts
    assert request["order_id"] in logged()
    assert "홍길동" not in logged()
    assert request["callback_token"] not in logged()


# --- imports ---

IMPORTED = """
    annotationlib array ast atexit base64 binascii bisect codeop collections common configparser
    contextlib contextvars copy copyreg dataclasses datetime decimal dis enum errno functools
    genericpath getpass hashlib hmac importlib inspect ipaddress itertools json keyword linecache
    logging math numbers opcode operator os platform posixpath pwd pymysql random re reprlib sales
    secrets select selectors socket ssl stat string struct termios textwrap threading token
    tokenize traceback types typing urllib uuid warnings weakref
"""
"""What the first purchase may import, by top-level names: the sum over Python 3.11 to 3.14.

annotationlib and codeop are what the standard library itself imports since 3.14.
"""

PURCHASE = """
import sys
bare = set(sys.modules)
sys.modules["cryptography"] = None  # the layer does not have it, and PyMySQL does without
import json
from common.store import CheckoutResult
from sales import handler

def checkout(*, request_hash, **_):
    return CheckoutResult(outcome="sold", purchased=True, stock=1, request_hash=request_hash)

handler.store.checkout = checkout
handler.store._database._login(until=0)
event = {"routeKey": "POST /checkout", "headers": {}, "body": '{"MessageAttributeProductCnt": 1}'}
response = handler.handler(event, None)
assert response["statusCode"] == 200, response
print(json.dumps(sorted(name for name in sys.modules.keys() - bare if sys.modules[name])))
"""
CONSUMER = """
import json, sys
from consumer import handler
print(json.dumps(sorted(sys.modules)))
"""


def modules_after(program: str) -> set[str]:
    """Run the program without start-up files, and return the top-level modules that it prints.

    Leave out private ones, which differ from one version of Python to the next.
    """
    packages = [path for path in sys.path if path.endswith("site-packages")]
    process = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={
            **LOGIN,
            **VARIABLES,
            "DATABASE_USER": "shop_sales",
            "PYTHONPATH": os.pathsep.join([str(LAMBDAS), *packages]),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert process.returncode == 0, process.stderr
    names = {name.partition(".")[0] for name in json.loads(process.stdout)}
    return {name for name in names if not name.startswith("_")}


def test_first_purchase_imports_the_listed_modules_only() -> None:
    """A cold start pays for each of them: boto3 takes about 0.3 s. The purchase logs in with IAM.

    The connection itself is not made, so what a connection imports is not seen here.
    """
    unlisted = modules_after(PURCHASE) - set(IMPORTED.split())
    assert not unlisted, (
        f"the first purchase also imports {', '.join(sorted(unlisted))}. Import them only where "
        f"they are needed, or add them to IMPORTED in {Path(__file__).name}"
    )


def test_consumer_does_not_import_boto3() -> None:
    assert not modules_after(CONSUMER) & {"boto3", "botocore"}
