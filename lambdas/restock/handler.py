"""POST /product/{slug}?order=…&token=…: the factory delivered. The body is never read."""

import hmac
import logging

from common import environment, http, limits
from common.store import Store

log = logging.getLogger(__name__)
store = Store(environment.read(environment.Restock))


def authorized(*, slug: str, order_id: str, token: str) -> bool:
    """Return whether the token is this order's own, and the order is of this product."""
    sent = ((slug, limits.SLUG), (order_id, limits.ORDER_ID), (token, limits.CALLBACK_TOKEN))
    if not all(limits.is_identifier(value, max_length=max_length) for value, max_length in sent):
        return False
    expected = store.callback_token(order_id, slug=slug)
    return expected is not None and hmac.compare_digest(expected, token)


@http.endpoint
def handler(event: http.Event) -> http.Response:
    query = event.get("queryStringParameters") or {}
    order_id = query.get("order", "")
    if not authorized(slug=event["pathParameters"]["slug"], order_id=order_id, token=query.get("token", "")):
        log.warning("callback refused")
        return http.response(403, {"message": "입고 권한이 없습니다"})
    result = store.restock(order_id)
    log.info("restock", extra={"order_id": order_id, "added": result.added, "stock": result.stock})
    return http.response(200, {"message": f"입고 완료! 남은 재고: {result.stock}", "stock": result.stock})
