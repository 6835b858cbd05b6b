"""Handle the requests of customers. ROUTES lists their routes; any other returns 404."""

import hashlib
import json
import logging
import re
import secrets
import time
import uuid
from decimal import Decimal
from typing import Any, NamedTuple

from common import deadline, environment, failures, http_api, limits, messages
from common.store import CheckoutResult, Store

DEFAULT_SLUG = "donut"
NO_SUCH_PRODUCT = "상품 없음"
DIGITS = re.compile(rf"[0-9]{{1,{limits.QUANTITY_DIGITS}}}")
UNSENDABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Control characters except tab, newline and carriage return; lone surrogates; noncharacters.

SNS rejects most of them.
"""
log = logging.getLogger(__name__)
config = environment.read(environment.Sales)
store = Store(config)


class CheckoutRequest(NamedTuple):
    """A parsed checkout. Bodies that are parsed to equal objects are the same request."""

    product_id: str | None
    quantity: int
    factory_id: str | None
    requester: str

    def hash(self) -> bytes:
        """Return the hash that is stored with the request's Idempotency-Key."""
        return hashlib.sha256(json.dumps(self).encode()).digest()


def parse_quantity(value: object) -> int:
    """Return the quantity, sent as an integer (5.0 is one) or a string of ASCII digits.

    Raises BadRequest.
    """
    if isinstance(value, str) and DIGITS.fullmatch(value):
        value = Decimal(value)
    # The range is checked first: int(Decimal("1e999999999")) would use up all memory.
    if isinstance(value, Decimal) and 1 <= value <= config.max_quantity and value == int(value):
        return int(value)
    raise http_api.BadRequest(
        f"MessageAttributeProductCnt는 1 이상 {config.max_quantity} 이하의 정수여야 합니다"
    )


def read_string(body: dict[str, Any], name: str) -> str:
    """Return the field as it was sent, or an empty string if it is null or missing.

    Raises BadRequest if it is not a string.
    """
    value = body.get(name)
    if not isinstance(value, str | None):
        raise http_api.BadRequest(f"{name}는 문자열이어야 합니다")
    return value or ""


def parse_text(body: dict[str, Any], name: str) -> str | None:
    """Return the field, trimmed, or None if nothing is left of it. Raises BadRequest."""
    value = read_string(body, name)
    if UNSENDABLE.search(value):
        raise http_api.BadRequest(f"{name}에 사용할 수 없는 문자가 있습니다")
    value = value.strip()
    if len(value) > limits.TEXT:
        raise http_api.BadRequest(f"{name}는 {limits.TEXT}자 이하여야 합니다")
    return value or None


def parse_product_id(body: dict[str, Any]) -> str | None:
    """Return the product id, trimmed, or None if nothing is left of it.

    Raises BadRequest if no product can have this id.
    """
    value = read_string(body, "MessageAttributeProductId")
    product_id = value.strip()
    # The untrimmed value is searched, because strip() removes some control characters (U+001F).
    if UNSENDABLE.search(value):
        raise http_api.BadRequest(NO_SUCH_PRODUCT)
    if product_id and not limits.is_identifier(product_id, max_length=limits.PRODUCT_ID):
        raise http_api.BadRequest(NO_SUCH_PRODUCT)
    return product_id or None


def parse_checkout(event: http_api.Event) -> CheckoutRequest:
    """Return the checkout that the request's body asks for. Raises BadRequest."""
    body = http_api.json_object(event)
    requester, alias = parse_text(body, "requester"), parse_text(body, "MessageAttributeRequester")
    return CheckoutRequest(
        product_id=parse_product_id(body),
        quantity=parse_quantity(body.get("MessageAttributeProductCnt")),
        factory_id=parse_text(body, "MessageAttributeFactoryId"),
        requester=requester or alias or "unknown",
    )


def parse_idempotency_key(event: http_api.Event) -> str | None:
    """Return the header, or None if it is missing.

    Raises BadRequest if it is too long or holds anything but printable ASCII characters.
    """
    key = (event.get("headers") or {}).get("idempotency-key")
    if key is not None and not limits.is_idempotency_key(key):
        raise http_api.BadRequest(
            f"Idempotency-Key는 1자 이상 {limits.IDEMPOTENCY_KEY}자 이하의"
            " 출력 가능한 ASCII 문자여야 합니다"
        )
    return key


def publish(order: messages.ProductionOrder) -> None:
    """Publish a new order and mark it as published. On any failure, leave it to the relay.

    Publishing begins before PUBLISH_START or not at all. Marking may take the time that is left.
    """
    try:
        if time.monotonic() > deadline.began() + deadline.PUBLISH_START:
            raise TimeoutError
        messages.publish(order, topic_arn=config.stock_empty_topic_arn)
        log.info("published", extra={"order_id": order.order_id})
        store.mark_published(order.order_id, overdue_after=config.overdue_after)
    except Exception as error:
        reason = failures.described(error)
        log.warning("left to the relay", extra={"order_id": order.order_id, "reason": reason})


def get_product(event: http_api.Event) -> http_api.Response:
    """Return the product as JSON."""
    slug = event["pathParameters"]["slug"]
    product = None
    if limits.is_identifier(slug, max_length=limits.SLUG):
        product = store.product(slug)
    if product is None:
        return http_api.response(400, {"message": NO_SUCH_PRODUCT})
    return http_api.response(200, product)


def get_order(event: http_api.Event) -> http_api.Response:
    """Return the production order as JSON."""
    order_id = event["pathParameters"]["order_id"]
    order = None
    if limits.is_identifier(order_id, max_length=limits.ORDER_ID):
        order = store.order(order_id)
    if order is None:
        return http_api.response(400, {"message": "주문 없음"})
    return http_api.response(200, order)


def checkout_response(result: CheckoutResult) -> http_api.Response:
    """Return the response to a checkout that was sold or is out of stock."""
    verdict = "구매 완료" if result.purchased else "구매 실패"
    body: dict[str, Any] = {
        "message": f"{verdict}! 남은 재고: {result.stock}",
        "purchased": result.purchased,
        "stock": result.stock,
    }
    if not result.purchased:
        body["order_id"] = result.order_id
    return http_api.response(200, body)


def checkout(event: http_api.Event) -> http_api.Response:
    """Sell, or order from the factory if the product is out of stock."""
    key = parse_idempotency_key(event)
    request = parse_checkout(event)
    request_hash = request.hash() if key is not None else None
    order_id, callback_token = str(uuid.uuid4()), secrets.token_urlsafe(24)
    result = store.checkout(
        slug=DEFAULT_SLUG,
        product_id=request.product_id,
        quantity=request.quantity,
        factory_id=request.factory_id,
        requester=request.requester,
        order_id=order_id,
        callback_token=callback_token,
        publish_within=config.publish_within,
        idempotency_key=key,
        request_hash=request_hash,
    )
    log.info(
        "checkout",
        extra={
            "outcome": result.outcome,
            "quantity": request.quantity,
            "stock": result.stock,
            "order_id": result.order_id,
        },
    )
    if result.outcome == "no_such_product":
        return http_api.response(400, {"message": NO_SUCH_PRODUCT})
    if result.request_hash != request_hash:
        return http_api.response(
            422, {"message": "같은 Idempotency-Key로 다른 요청을 보낼 수 없습니다"}
        )
    if result.outcome == "out_of_stock":
        assert result.slug, "the procedure returns it with a new order"
        assert result.product_id, "the procedure returns it with a new order"
        assert result.factory_id, "the procedure returns it with a new order"
        publish(
            messages.ProductionOrder(
                order_id=order_id,
                callback_token=callback_token,
                slug=result.slug,
                product_id=result.product_id,
                factory_id=result.factory_id,
                quantity=request.quantity,
                requester=request.requester,
            )
        )
    return checkout_response(result)


ROUTES = {
    "GET /product/{slug}": get_product,
    "POST /checkout": checkout,
    "GET /order/{order_id}": get_order,
}


def not_found(event: http_api.Event) -> http_api.Response:
    """Return 404: no route matches the request."""
    return http_api.response(404, {"error": "Not Found"})


@http_api.endpoint
def handler(event: http_api.Event) -> http_api.Response:
    """Return the response of the request's route."""
    return ROUTES.get(event["routeKey"], not_found)(event)
