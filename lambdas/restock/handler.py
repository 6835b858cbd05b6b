"""Handle POST /product/{slug}?order=…&token=…, the factory's callback. The body is never read."""

import logging

from common import environment, http_api, limits
from common.store import Store

log = logging.getLogger(__name__)
config = environment.read(environment.Restock)
store = Store(config)


def are_valid(*, slug: str, order_id: str, token: str) -> bool:
    """Return whether the values have the form of a slug, an order id and a token."""
    return (
        limits.is_identifier(slug, max_length=limits.SLUG)
        and limits.is_identifier(order_id, max_length=limits.ORDER_ID)
        and limits.is_identifier(token, max_length=limits.CALLBACK_TOKEN)
    )


@http_api.endpoint
def handler(event: http_api.Event) -> http_api.Response:
    """Add the order's quantity to the stock, once, and return the stock."""
    query = event.get("queryStringParameters") or {}
    slug = event["pathParameters"]["slug"]
    order_id, token = query.get("order", ""), query.get("token", "")
    result = None
    if are_valid(slug=slug, order_id=order_id, token=token):
        result = store.restock(order_id, slug=slug, callback_token=token)
    if result is None:
        log.warning("callback rejected", extra=http_api.order_named_by(event))
        return http_api.response(403, {"message": "입고 권한이 없습니다"})
    log.info(
        "restock",
        extra={
            "order_id": order_id,
            "added": result.added,
            "stock": result.stock,
            "lead_time_seconds": result.lead_time_seconds,
        },
    )
    return http_api.response(
        200, {"message": f"입고 완료! 남은 재고: {result.stock}", "stock": result.stock}
    )
