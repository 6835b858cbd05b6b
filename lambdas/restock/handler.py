"""POST /product/{slug}?order=…&token=…: the factory delivered. The body is never read."""

import logging

from common import environment, http
from common.store import Store

log = logging.getLogger(__name__)
store = Store(environment.read(environment.Restock))


def acceptable(value: str) -> bool:
    """Tell whether the value can be a slug, an order id or a token at all."""
    return value.isascii() and 0 < len(value) <= 64


@http.endpoint
def handler(event: http.Event) -> http.Response:
    query = event.get("queryStringParameters") or {}
    slug, order_id, token = event["pathParameters"]["slug"], query.get("order", ""), query.get("token", "")
    acceptable_call = all(map(acceptable, (slug, order_id, token)))
    result = store.restock(order_id, slug=slug, callback_token=token) if acceptable_call else None
    if result is None:
        log.warning("callback refused")
        return http.response(403, {"message": "입고 권한이 없습니다"})
    log.info("restock", extra={"order_id": order_id, "added": result.added, "stock": result.stock})
    return http.response(200, {"message": f"입고 완료! 남은 재고: {result.stock}", "stock": result.stock})
