"""POST /product/{slug}?order=…&token=…: the factory calls back. The body is never read."""

import logging

from common import environment, http_api, limits
from common.store import Store

log = logging.getLogger(__name__)
store = Store(environment.read(environment.Restock))


def acceptable(*, slug: str, order_id: str, token: str) -> bool:
    """Tell whether these can be a slug, an order id and a token at all."""
    sent = ((slug, limits.SLUG), (order_id, limits.ORDER_ID), (token, limits.CALLBACK_TOKEN))
    return all(limits.is_identifier(value, max_length=max_length) for value, max_length in sent)


@http_api.endpoint
def handler(event: http_api.Event) -> http_api.Response:
    query = event.get("queryStringParameters") or {}
    slug, order_id, token = (
        event["pathParameters"]["slug"],
        query.get("order", ""),
        query.get("token", ""),
    )
    result = None
    if acceptable(slug=slug, order_id=order_id, token=token):
        result = store.restock(order_id, slug=slug, callback_token=token)
    if result is None:
        log.warning("callback rejected")
        return http_api.response(403, {"message": "입고 권한이 없습니다"})
    log.info("restock", extra={"order_id": order_id, "added": result.added, "stock": result.stock})
    return http_api.response(
        200, {"message": f"입고 완료! 남은 재고: {result.stock}", "stock": result.stock}
    )
