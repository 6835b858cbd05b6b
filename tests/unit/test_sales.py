import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import botocore.exceptions
import pytest

from common import deadline, limits, messages
from common.database import DatabaseUnavailable
from common.store import CheckoutResult
from tests.support.pipe import Pipe
from tests.support.variables import ENVIRONMENT

COUNT = "MessageAttributeProductCnt"
PRODUCT = "MessageAttributeProductId"
FACTORY = "MessageAttributeFactoryId"
PRODUCT_ID = "3e0c4d7e-1c1f-4b8e-9a53-1f5b3c5f6a10"


@dataclass
class Shop:
    """Stands in for the store. outcome: what a checkout comes to; an exception is raised by whatever is called."""

    outcome: str | Exception = "sold"
    stock: int = 7
    purchased: bool = True
    """What a replayed answer was."""
    stored_hash: bytes | None = None
    """What the key was first used for; None: this very request."""
    publishing: Exception | None = None
    checkouts: list[dict[str, Any]] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    published: list[tuple[str, int]] = field(default_factory=list)

    def checkout(self, **request: Any) -> CheckoutResult:
        self.checkouts.append(request)
        outcome = self._outcome()
        purchased = self.purchased if outcome == "replayed" else outcome == "sold"
        return CheckoutResult(
            outcome=outcome,
            purchased=purchased,
            stock=self.stock,
            order_id=None
            if purchased
            else "first-order"
            if outcome == "replayed"
            else request["order_id"],
            request_hash=self.stored_hash or request["request_hash"],
            product_id=PRODUCT_ID,
            slug="donut",
            factory_id=request["factory_id"] or "FF-500293",
        )

    def product(self, slug: str) -> str | None:
        self.looked_up.append(slug)
        return (
            '{"sku": "CP-502101", "name": "부산도너츠"}'
            if self._outcome() and slug == "donut"
            else None
        )

    def order(self, order_id: str) -> str | None:
        self.looked_up.append(order_id)
        return '{"status": "published"}' if self._outcome() and order_id == "known" else None

    def mark_published(self, order_id: str, *, overdue_after: int) -> None:
        if self.publishing:
            raise self.publishing
        self.published.append((order_id, overdue_after))

    def _outcome(self) -> str:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def sales(
    load: Callable[..., ModuleType], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    module = load("sales")
    monkeypatch.setattr(module, "store", shop)
    return module


Answer = tuple[int, dict[str, Any]]


def call(sales: ModuleType, event: dict[str, Any]) -> Answer:
    answer = sales.handler(event, None)
    assert answer["headers"]["content-type"] == "application/json; charset=utf-8"
    return answer["statusCode"], json.loads(answer["body"])


def checkout(
    sales: ModuleType,
    body: dict[str, Any] | str | bytes | None,
    *,
    headers: dict[str, str] | None = None,
) -> Answer:
    """body: an object, the text itself, or bytes that arrive in Base64."""
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
    return f'{{"{COUNT}": 5}}'.encode().ljust(size)


# --- quantity ---


def digits(quantity: int, length: int) -> str:
    """Return the quantity as a JSON string of so many digits."""
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
"""Literals that all mean five."""
GOOD_QUANTITIES = {
    **dict.fromkeys(FIVE, 5),
    **{
        "1": 1,
        "1.0": 1,
        "1e0": 1,
        "1e1": 10,
        "1e2": 100,
        "1E+3": 1000,
        "999": 999,
        "1000": 1000,
        "1000.0": 1000,
    },
    **{'"1"': 1, '"999"': 999, '"1000"': 1000, digits(5, limits.QUANTITY_DIGITS - 1): 5},
    f"{'5'}{'0' * 5000}e-5000": 5,
}
BAD_QUANTITIES = [
    *(
        "null",
        "0",
        "-1",
        "1001",
        "2000",
        "1.5",
        "true",
        "false",
        "[5]",
        "{}",
        "9" * 100,
        "9" * 5000,
        f"5{'0' * 5000}",
    ),
    *(
        "5.0000000000000001",
        "0.9999999999999999999",
        "1000.0000000000000001",
        "1001.0",
        "1.001e3",
        "1e4",
        "-5.0",
    ),
    *("0.0", "-0", "-0.0", "0e5", f"5.{'0' * 5000}1", f"0.{'0' * 5000}1"),
    *("1e400", "-1e400", "1e-400", "1e999", "1e999999999", "1e-999999999", "1e999999999999999999"),
    *(
        "1e99999999999999999999",
        "-1e99999999999999999999",
        "1e-99999999999999999999",
        "0e99999999999999999999",
    ),
    *("NaN", "Infinity", "-Infinity", "05", "+5", "5.", ".5", "0x5", "1_0", "٥"),
    *(
        '""',
        '"0"',
        '"-1"',
        '"+5"',
        '" 5"',
        '"5 "',
        '"5\\n"',
        '"1001"',
        '"1.5"',
        '"5.0"',
        '"1e2"',
        '"0x5"',
        '"1_0"',
    ),
    *('"abc"', '"٥"', '"５"', '"²"', '"true"', '"NaN"', '"Infinity"', '"-0"', '"\\ud800"'),
    *(f'"{"9" * limits.QUANTITY_DIGITS}"', f'"{"9" * 5000}"', digits(0, limits.QUANTITY_DIGITS)),
    *(
        digits(5, limits.QUANTITY_DIGITS + 1),
        digits(5, 2 * limits.QUANTITY_DIGITS),
        digits(5, 5000),
    ),
]


@pytest.mark.parametrize(
    ("literal", "quantity"), GOOD_QUANTITIES.items(), ids=lambda value: str(value)[:12]
)
def test_sells_a_whole_number(literal: str, quantity: int, sales: ModuleType, shop: Shop) -> None:
    status, body = checkout(sales, f'{{"{COUNT}": {literal}}}')
    assert (status, body) == (
        200,
        {"message": "구매 완료! 남은 재고: 7", "purchased": True, "stock": 7},
    )
    assert [request["quantity"] for request in shop.checkouts] == [quantity]


@pytest.mark.parametrize("literal", BAD_QUANTITIES, ids=lambda literal: literal[:12])
def test_sells_nothing_else(literal: str, sales: ModuleType, shop: Shop) -> None:
    status, body = checkout(sales, f'{{"{COUNT}": {literal}}}')
    assert status == 400
    assert body["message"]
    assert shop.checkouts == []


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
def test_number_out_of_range_is_rejected_as_a_quantity(literal: str, sales: ModuleType) -> None:
    """Such a literal is JSON: the client reads what was wrong with the quantity, not with the body."""
    status, body = checkout(sales, f'{{"{COUNT}": {literal}}}')
    assert (status, body) == (400, {"message": f"{COUNT}는 1 이상 1000 이하의 정수여야 합니다"})


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_python_constant_is_rejected_as_json(literal: str, sales: ModuleType) -> None:
    status, body = checkout(sales, f'{{"{COUNT}": {literal}}}')
    assert (status, body) == (400, {"message": "요청 본문이 올바른 JSON이 아닙니다"})


@pytest.mark.parametrize(
    "literal", ["1e400", "1e999999999", "1e99999999999999999999", "9" * 5000], ids=len
)
def test_number_in_an_unknown_field_is_ignored(literal: str, sales: ModuleType, shop: Shop) -> None:
    status, _ = checkout(sales, f'{{"{COUNT}": 5, "extra": {literal}}}')
    assert (status, len(shop.checkouts)) == (200, 1)


@pytest.mark.parametrize(
    "body", [{}, {"messageattributeproductcnt": 5}, {"requester": "홍길동"}], ids=json.dumps
)
def test_the_quantity_is_required(body: dict[str, Any], sales: ModuleType, shop: Shop) -> None:
    status, answer = checkout(sales, body)
    assert status == 400
    assert COUNT in answer["message"]
    assert shop.checkouts == []


def test_the_largest_order_is_a_setting(
    load: Callable[..., ModuleType], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sales = load("sales", MAX_QUANTITY="3")
    monkeypatch.setattr(sales, "store", shop)
    assert checkout(sales, {COUNT: 3})[0] == 200
    assert checkout(sales, {COUNT: 4})[0] == 400


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
def test_text_passes_through(
    name: str, sent: str, kept: str, sales: ModuleType, shop: Shop
) -> None:
    assert checkout(sales, {COUNT: 5, name: sent})[0] == 200
    assert [
        request["factory_id" if name == FACTORY else "requester"] for request in shop.checkouts
    ] == [kept]


def test_escaped_surrogate_pairs_are_one_character(sales: ModuleType, shop: Shop) -> None:
    assert checkout(sales, f'{{"{COUNT}": 5, "requester": "\\ud83c\\udf69"}}')[0] == 200
    assert shop.checkouts[0]["requester"] == "🍩"


@pytest.mark.parametrize("literal", BAD_TEXTS.values(), ids=BAD_TEXTS)
@pytest.mark.parametrize("name", ["requester", "MessageAttributeRequester", FACTORY])
def test_bad_text_is_refused_by_name(
    name: str, literal: str, sales: ModuleType, shop: Shop
) -> None:
    status, body = checkout(sales, f'{{"{COUNT}": 5, "{name}": {literal}}}')
    assert status == 400
    assert name in body["message"]
    assert shop.checkouts == []


@pytest.mark.parametrize("value", MISSING.values(), ids=MISSING)
def test_blank_text_counts_as_missing(value: str | None, sales: ModuleType, shop: Shop) -> None:
    assert checkout(sales, {COUNT: 5, "requester": value, FACTORY: value, PRODUCT: value})[0] == 200
    assert checkout(sales, {COUNT: 5})[0] == 200
    for request in shop.checkouts:
        assert (request["slug"], request["product_id"]) == ("donut", None)
        assert (request["factory_id"], request["requester"]) == (None, "unknown")


def test_requester_wins_over_its_alias(sales: ModuleType, shop: Shop) -> None:
    checkout(sales, {COUNT: 5, "requester": "a", "MessageAttributeRequester": "b"})
    checkout(sales, {COUNT: 5, "requester": "", "MessageAttributeRequester": "b"})
    assert [request["requester"] for request in shop.checkouts] == ["a", "b"]


def test_a_bad_alias_is_refused_even_where_requester_wins(sales: ModuleType, shop: Shop) -> None:
    status, _ = checkout(sales, {COUNT: 5, "requester": "a", "MessageAttributeRequester": False})
    assert (status, shop.checkouts) == (400, [])


def test_another_product_may_be_named(sales: ModuleType, shop: Shop) -> None:
    assert checkout(sales, {COUNT: 5, PRODUCT: f" {PRODUCT_ID} "})[0] == 200
    assert shop.checkouts[0]["product_id"] == PRODUCT_ID


@pytest.mark.parametrize("length", [1, limits.PRODUCT_ID - 1, limits.PRODUCT_ID])
def test_product_id_within_its_limit_is_looked_up(
    length: int, sales: ModuleType, shop: Shop
) -> None:
    assert checkout(sales, {COUNT: 5, PRODUCT: f"\t{'a' * length}\u3000"})[0] == 200
    assert [request["product_id"] for request in shop.checkouts] == ["a" * length]


NO_PRODUCT_IDS = {
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


@pytest.mark.parametrize("product_id", NO_PRODUCT_IDS.values(), ids=NO_PRODUCT_IDS)
def test_what_can_be_no_product_is_not_looked_up(
    product_id: str, sales: ModuleType, shop: Shop
) -> None:
    assert checkout(sales, {COUNT: 5, PRODUCT: product_id}) == (400, {"message": "상품 없음"})
    assert shop.checkouts == []


@pytest.mark.parametrize("value", [7, 36.0, False, ["a"], {}], ids=str)
def test_product_id_that_is_not_a_string_is_rejected_by_name(
    value: object, sales: ModuleType, shop: Shop
) -> None:
    status, body = checkout(sales, {COUNT: 5, PRODUCT: value})
    assert (status, body) == (400, {"message": f"{PRODUCT}는 문자열이어야 합니다"})
    assert shop.checkouts == []


def test_an_unknown_product(sales: ModuleType, shop: Shop) -> None:
    shop.outcome = "no_such_product"
    assert checkout(sales, {COUNT: 5, PRODUCT: PRODUCT_ID}) == (400, {"message": "상품 없음"})


def test_order_id_and_callback_token_are_within_their_limits(sales: ModuleType, shop: Shop) -> None:
    checkout(sales, {COUNT: 5})
    (request,) = shop.checkouts
    assert limits.is_identifier(request["order_id"], max_length=limits.ORDER_ID)
    assert limits.is_identifier(request["callback_token"], max_length=limits.CALLBACK_TOKEN)


# --- body ---

BAD_BODIES: dict[str, str | bytes | None] = {
    "none": None,
    "empty": "",
    "text": "donut",
    "form": f"{COUNT}=5",
    "cut off": f'{{"{COUNT}": 5',
    "two objects": f'{{"{COUNT}": 5}}{{"{COUNT}": 5}}',
    "null": "null",
    "number": "5",
    "string": '"5"',
    "array": f'[{{"{COUNT}": 5}}]',
    "NaN": f'{{"{COUNT}": 5, "extra": NaN}}',
    "Infinity": f'{{"{COUNT}": 5, "extra": -Infinity}}',
    "deep": f'{{"{COUNT}": 5, "extra": {"[" * 16000}',
    "byte order mark": f'\ufeff{{"{COUNT}": 5}}',
    "surrogate": f'{{"{COUNT}": 5, "requester": "\ud800"}}',
    "not UTF-8": f'{{"{COUNT}": 5, "requester": "홍길동"}}'.encode("cp949"),
    "UTF-16": f'{{"{COUNT}": 5}}'.encode("utf-16"),
    "one byte more than the limit": padded(limits.BODY_BYTES + 1),
    "twice the limit": padded(2 * limits.BODY_BYTES),
    "16 KiB of bytes, not of characters": f'{{"{COUNT}": 5, "extra": "{"가" * 6000}"}}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_body_is_refused(body: str | bytes | None, sales: ModuleType, shop: Shop) -> None:
    status, answer = checkout(sales, body)
    assert status == 400
    assert answer["message"]
    assert shop.checkouts == []


def test_deeply_nested_field_is_ignored_or_rejected(sales: ModuleType, shop: Shop) -> None:
    """Python 3.11 reads about 1,000 levels; 3.13 about 10,000, and no body holds as many."""
    status, _ = checkout(sales, f'{{"{COUNT}": 5, "extra": {"[" * 8000}{"]" * 8000}}}')
    assert (status, len(shop.checkouts)) in [(200, 1), (400, 0)]


BASE64 = base64.b64encode(f'{{"{COUNT}": 5}}'.encode()).decode()


@pytest.mark.parametrize(
    "body", ["!", "a", "YQ", "한글", f"{BASE64}\n", f"{BASE64[:4]}!{BASE64[4:]}", BASE64[:-1]]
)
def test_bad_base64_is_refused(body: str, sales: ModuleType, shop: Shop) -> None:
    event = {"routeKey": "POST /checkout", "headers": {}, "body": body, "isBase64Encoded": True}
    status, answer = call(sales, event)
    assert status == 400
    assert answer["message"]
    assert shop.checkouts == []


@pytest.mark.parametrize("size", [limits.BODY_BYTES - 1, limits.BODY_BYTES])
@pytest.mark.parametrize("encode", [bytes, bytes.decode], ids=["base64", "text"])
def test_body_within_its_limit_is_read(
    size: int, encode: Callable[[bytes], Any], sales: ModuleType, shop: Shop
) -> None:
    assert checkout(sales, encode(padded(size)))[0] == 200
    assert len(shop.checkouts) == 1


def test_base64_is_decoded(sales: ModuleType, shop: Shop) -> None:
    assert checkout(sales, f'{{"{COUNT}": "5", "requester": "홍길동"}}'.encode())[0] == 200
    assert shop.checkouts[0]["requester"] == "홍길동"


# --- Idempotency-Key ---

KEY = limits.IDEMPOTENCY_KEY


@pytest.mark.parametrize(
    "key",
    ["a", "a" * (KEY - 1), "a" * KEY, " ", "~!@#$%^&*()", "7f1d9a2e-2d7a-4c2f-8d0c-6b8f7a5e4d3c"],
)
def test_a_key_reaches_the_store(key: str, sales: ModuleType, shop: Shop) -> None:
    assert checkout(sales, {COUNT: 5}, headers={"idempotency-key": key})[0] == 200
    assert shop.checkouts[0]["idempotency_key"] == key


def test_without_a_key_none_reaches_the_store(sales: ModuleType, shop: Shop) -> None:
    assert checkout(sales, {COUNT: 5}, headers={"content-type": "application/json"})[0] == 200
    assert shop.checkouts[0]["idempotency_key"] is None


@pytest.mark.parametrize(
    "key", ["", "a" * (KEY + 1), "a" * 2 * KEY, "열쇠", "a\tb", "a\n", "\x7f", "\x00", "é"]
)
def test_an_invalid_key_is_refused(key: str, sales: ModuleType, shop: Shop) -> None:
    status, answer = checkout(sales, {COUNT: 5}, headers={"idempotency-key": key})
    assert status == 400
    assert "Idempotency-Key" in answer["message"]
    assert shop.checkouts == []


def test_a_key_used_for_another_request_is_refused(sales: ModuleType, shop: Shop) -> None:
    shop.outcome, shop.stored_hash = "replayed", b"another request's"
    status, answer = checkout(sales, {COUNT: 5}, headers={"idempotency-key": "key"})
    assert status == 422
    assert "Idempotency-Key" in answer["message"]


def test_a_repeat_gets_the_first_answer(sales: ModuleType, shop: Shop) -> None:
    shop.outcome, shop.purchased = "replayed", False
    assert checkout(sales, {COUNT: 5}, headers={"idempotency-key": "key"}) == (
        200,
        {
            "message": "구매 실패! 남은 재고: 7",
            "purchased": False,
            "stock": 7,
            "order_id": "first-order",
        },
    )


SAME: list[dict[str, Any]] = [
    {COUNT: 5},
    {COUNT: "5"},
    {COUNT: "005", "requester": None},
    {"requester": " unknown ", FACTORY: "", COUNT: 5},
]
OTHERS: list[dict[str, Any]] = [
    {COUNT: 6},
    {COUNT: 5, "requester": "a"},
    {COUNT: 5, FACTORY: "a"},
    {COUNT: 5, PRODUCT: "a"},
]


def test_same_quantity_has_one_hash_however_it_is_written(sales: ModuleType, shop: Shop) -> None:
    for literal in FIVE:
        assert (
            checkout(sales, f'{{"{COUNT}": {literal}}}', headers={"idempotency-key": "key"})[0]
            == 200
        ), literal
    assert len(shop.checkouts) == len(FIVE)
    assert len({request["request_hash"] for request in shop.checkouts}) == 1


def test_the_same_request_has_the_same_hash_and_no_other(sales: ModuleType, shop: Shop) -> None:
    for body in SAME + OTHERS:
        checkout(sales, body, headers={"idempotency-key": "key"})
    hashes = [request["request_hash"] for request in shop.checkouts]
    assert len(set(hashes[: len(SAME)])) == 1
    assert len(set(hashes[len(SAME) - 1 :])) == 1 + len(OTHERS)


# --- shortage ---


@pytest.fixture
def short(
    pipe: Pipe, load: Callable[..., ModuleType], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """sales, with too little stock."""
    module = load("sales", STOCK_EMPTY_TOPIC_ARN=pipe.topic_arn)
    shop.outcome = "out_of_stock"
    monkeypatch.setattr(module, "store", shop)
    return module


def test_a_shortage_is_answered_with_the_order(short: ModuleType, shop: Shop) -> None:
    status, answer = checkout(short, {COUNT: 12})
    (request,) = shop.checkouts
    assert (status, answer) == (
        200,
        {
            "message": "구매 실패! 남은 재고: 7",
            "purchased": False,
            "stock": 7,
            "order_id": request["order_id"],
        },
    )


def test_a_shortage_is_notified(short: ModuleType, shop: Shop, pipe: Pipe) -> None:
    checkout(short, {COUNT: 12, "requester": "부산 홍길동 🍩", FACTORY: "FF-1"})
    (request,) = shop.checkouts
    (message,) = pipe.receive()
    envelope = json.loads(message["Body"])
    assert envelope["Subject"] == "도너츠 재고 부족"
    text, time = envelope["Message"].rsplit(" ", 1)
    assert text == "도너츠 재고가 없습니다. 제품을 생산해주세요! \n메시지 작성 시각:"
    assert datetime.fromisoformat(time).utcoffset() == timedelta(0)
    assert envelope["MessageAttributes"] == {
        "MessageAttributeProductId": {"Type": "String", "Value": PRODUCT_ID},
        "MessageAttributeFactoryId": {"Type": "String", "Value": "FF-1"},
        "MessageAttributeProductCnt": {"Type": "String", "Value": "12"},
        "MessageAttributeRequester": {"Type": "String", "Value": "부산 홍길동 🍩"},
        "MessageAttributeOrderId": {"Type": "String", "Value": request["order_id"]},
        "MessageAttributeCallbackToken": {"Type": "String", "Value": request["callback_token"]},
        "MessageAttributeProductSlug": {"Type": "String", "Value": "donut"},
    }
    assert shop.published == [(request["order_id"], 900)]


def test_the_store_learns_how_soon_the_relay_takes_over(short: ModuleType, shop: Shop) -> None:
    checkout(short, {COUNT: 12})
    assert shop.checkouts[0]["publish_within"] == 30


def test_each_order_has_an_id_and_a_token_of_its_own(short: ModuleType, shop: Shop) -> None:
    for _ in range(20):
        _, answer = checkout(short, {COUNT: 12})
        assert shop.checkouts[-1]["callback_token"] not in json.dumps(answer)
    ids, tokens = (
        {request[name] for request in shop.checkouts} for name in ("order_id", "callback_token")
    )
    assert len(ids) == len(tokens) == len(shop.checkouts)
    assert not ids & tokens
    assert all(len(base64.urlsafe_b64decode(f"{token}==")) >= 128 / 8 for token in tokens)


@pytest.mark.parametrize(
    ("outcome", "purchased"),
    [("sold", True), ("no_such_product", False), ("replayed", True), ("replayed", False)],
)
def test_nothing_else_is_notified(
    outcome: str, purchased: bool, short: ModuleType, shop: Shop, pipe: Pipe
) -> None:
    shop.outcome, shop.purchased = outcome, purchased
    checkout(short, {COUNT: 5}, headers={"idempotency-key": "key"})
    assert pipe.receive() == []
    assert shop.published == []


def break_topic(short: ModuleType, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = replace(short.config, stock_empty_topic_arn=f"{short.config.stock_empty_topic_arn}_gone")
    monkeypatch.setattr(short, "config", gone)


def break_network(short: ModuleType, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> None:
        raise botocore.exceptions.EndpointConnectionError(endpoint_url="https://sns.test")

    monkeypatch.setattr(messages, "_sns", unreachable)


def break_mark(short: ModuleType, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.publishing = DatabaseUnavailable("OperationalError 2013")


@pytest.mark.parametrize("broken", [break_topic, break_network, break_mark])
def test_the_answer_does_not_depend_on_sns(
    broken: Callable[[ModuleType, Shop, pytest.MonkeyPatch], None],
    short: ModuleType,
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken(short, shop, monkeypatch)
    status, answer = checkout(short, {COUNT: 12})
    assert (status, answer["purchased"]) == (200, False)
    assert answer["order_id"] == shop.checkouts[0]["order_id"]
    assert shop.published == []


# --- the other routes ---


def get(sales: ModuleType, route: str, name: str, value: str) -> Answer:
    return call(sales, {"routeKey": route, "headers": {}, "pathParameters": {name: value}})


def get_product(sales: ModuleType, slug: str) -> Answer:
    return get(sales, "GET /product/{slug}", "slug", slug)


def get_order(sales: ModuleType, order_id: str) -> Answer:
    return get(sales, "GET /order/{order_id}", "order_id", order_id)


def test_the_product_is_shown(sales: ModuleType) -> None:
    assert get_product(sales, "donut") == (200, {"sku": "CP-502101", "name": "부산도너츠"})


def test_the_order_is_shown(sales: ModuleType) -> None:
    assert get_order(sales, "known") == (200, {"status": "published"})


@pytest.mark.parametrize("name", ["bagel", "DONUT", "donut2"])
def test_what_is_not_there(name: str, sales: ModuleType, shop: Shop) -> None:
    assert get_product(sales, name) == (400, {"message": "상품 없음"})
    assert get_order(sales, name) == (400, {"message": "주문 없음"})
    assert shop.looked_up == [name, name]


@pytest.mark.parametrize("excess", [-1, 0], ids=["one less than the limit", "as long as the limit"])
def test_slug_and_order_id_within_their_limits_are_looked_up(
    excess: int, sales: ModuleType, shop: Shop
) -> None:
    slug, order_id = "a" * (limits.SLUG + excess), "a" * (limits.ORDER_ID + excess)
    assert get_product(sales, slug) == (400, {"message": "상품 없음"})
    assert get_order(sales, order_id) == (400, {"message": "주문 없음"})
    assert shop.looked_up == [slug, order_id]


@pytest.mark.parametrize(
    "length", [lambda limit: limit + 1, lambda limit: 2 * limit], ids=["one more", "twice"]
)
def test_slug_and_order_id_over_their_limits_are_not_looked_up(
    length: Callable[[int], int], sales: ModuleType, shop: Shop
) -> None:
    assert get_product(sales, "a" * length(limits.SLUG)) == (400, {"message": "상품 없음"})
    assert get_order(sales, "a" * length(limits.ORDER_ID)) == (400, {"message": "주문 없음"})
    assert shop.looked_up == []


@pytest.mark.parametrize("name", ["", "도넛", "donut ", "donut\n", "%64onut", "' OR '1'='1"])
def test_what_can_not_be_there_is_not_looked_up(name: str, sales: ModuleType, shop: Shop) -> None:
    assert get_product(sales, name) == (400, {"message": "상품 없음"})
    assert get_order(sales, name) == (400, {"message": "주문 없음"})
    assert shop.looked_up == []


@pytest.mark.parametrize("route", ["$default", "DELETE /checkout"])
def test_anything_else_is_not_found(route: str, sales: ModuleType) -> None:
    assert call(sales, {"routeKey": route, "headers": {}}) == (404, {"error": "Not Found"})


# --- failure ---

REQUESTS: dict[str, Callable[[ModuleType], Answer]] = {
    "product": lambda sales: get_product(sales, "donut"),
    "order": lambda sales: get_order(sales, "known"),
    "checkout": lambda sales: checkout(sales, {COUNT: 5, "requester": "홍길동"}),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_an_unreachable_database(
    request_: Callable[[ModuleType], Answer], sales: ModuleType, shop: Shop
) -> None:
    shop.outcome = DatabaseUnavailable("OperationalError 2003")
    assert request_(sales) == (503, {"message": "데이터베이스 연결 오류"})


def test_an_unreachable_database_says_when_to_come_back(sales: ModuleType, shop: Shop) -> None:
    shop.outcome = DatabaseUnavailable("OperationalError 2003")
    event = {"routeKey": "GET /product/{slug}", "pathParameters": {"slug": "donut"}}
    assert int(sales.handler(event, None)["headers"]["retry-after"]) > 0


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_an_unexpected_failure_tells_the_client_nothing(
    request_: Callable[[ModuleType], Answer], sales: ModuleType, shop: Shop
) -> None:
    shop.outcome = RuntimeError("SELECT stock FROM product on database.test")
    assert request_(sales) == (500, {"message": "서버 오류"})


@pytest.mark.parametrize(
    "outcome",
    [
        "sold",
        "out_of_stock",
        "no_such_product",
        "replayed",
        DatabaseUnavailable("OperationalError 2003"),
        RuntimeError("bug"),
    ],
    ids=str,
)
def test_neither_requester_nor_token_is_logged(
    outcome: str | Exception, short: ModuleType, shop: Shop, logged: Callable[[], str]
) -> None:
    shop.outcome = outcome
    checkout(short, {COUNT: 12, "requester": "홍길동"}, headers={"idempotency-key": "key"})
    checkout(short, {COUNT: 0, "requester": "홍길동"})
    checkout(short, f'{{"{COUNT}": 5, "requester": "홍길동"')
    assert logged()
    assert "홍길동" not in logged()
    assert shop.checkouts[0]["callback_token"] not in logged()


@pytest.mark.parametrize("broken", [break_topic, break_network, break_mark])
def test_neither_requester_nor_token_is_logged_when_publishing_fails(
    broken: Callable[[ModuleType, Shop, pytest.MonkeyPatch], None],
    short: ModuleType,
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[], str],
) -> None:
    broken(short, shop, monkeypatch)
    checkout(short, {COUNT: 12, "requester": "홍길동"})
    (request,) = shop.checkouts
    assert request["order_id"] in logged()
    assert "홍길동" not in logged()
    assert request["callback_token"] not in logged()


def test_order_is_left_to_the_relay_when_the_request_already_took_long(
    short: ModuleType, shop: Shop, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    notified = []
    monkeypatch.setattr(
        short.messages, "publish", lambda order, **_: notified.append(order.order_id)
    )
    monkeypatch.setattr(deadline, "began", lambda: time.monotonic() - deadline.PUBLISH_START - 0.1)
    assert checkout(short, {COUNT: 12})[0] == 200
    assert (notified, shop.published) == ([], [])
    assert "left to the relay" in logged()


def test_published_order_is_marked_however_long_publishing_took(
    short: ModuleType, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the relay publishes it again, as it did after a cold function's first out-of-stock checkout."""

    def publish_slowly(order: messages.ProductionOrder, **_: object) -> None:
        monkeypatch.setattr(
            deadline, "began", lambda: time.monotonic() - 2 * deadline.PUBLISH_START
        )

    monkeypatch.setattr(short.messages, "publish", publish_slowly)
    assert checkout(short, {COUNT: 12})[0] == 200
    (request,) = shop.checkouts
    assert shop.published == [(request["order_id"], 900)]


A_SALE = """
import json, sys
from common.store import CheckoutResult
from sales import handler

class Shop:
    def checkout(self, *, request_hash, **_):
        return CheckoutResult(outcome="sold", purchased=True, stock=1, order_id=None, request_hash=request_hash,
                        product_id=None, slug=None, factory_id=None)

handler.store = Shop()
event = {"routeKey": "POST /checkout", "headers": {}, "body": '{"MessageAttributeProductCnt": 1}'}
answer = handler.handler(event, None)
assert answer["statusCode"] == 200, answer
print(json.dumps([name for name in ("boto3", "botocore", "requests", "urllib3") if name in sys.modules]))
"""


def test_a_sale_imports_no_client_library() -> None:
    lambdas = Path(messages.__file__).parent.parent
    sale = subprocess.run(
        [sys.executable, "-c", A_SALE],
        env={**ENVIRONMENT, "PYTHONPATH": str(lambdas)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert sale.returncode == 0, sale.stderr
    assert json.loads(sale.stdout) == []
