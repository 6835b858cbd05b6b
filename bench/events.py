"""Requests as API Gateway's HTTP API passes them to a function, for all sides."""

import json
import uuid
from typing import Any

BAGEL = "00000000-0000-4000-8000-000000000001"
"""The product that is always out of stock."""


def event(
    method: str, path: str, *, route: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return an event of payload format 2.0. route: the path with its parameters in braces."""
    names = [part.strip("{}") for part in route.split("/")]
    values = path.partition("?")[0].split("/")
    query = path.partition("?")[2]
    return {
        "version": "2.0",
        "routeKey": f"{method} {route}",
        "rawPath": path.partition("?")[0],
        "rawQueryString": query,
        "headers": {
            "accept": "*/*",
            "content-type": "application/json",
            "host": "shop.test",
            "user-agent": "curl/8.5.0",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "pathParameters": {
            name: value for name, value in zip(names, values, strict=True) if name != value
        },
        "queryStringParameters": dict(pair.split("=") for pair in query.split("&") if pair),
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "shop",
            "domainName": "shop.test",
            "domainPrefix": "shop",
            "http": {
                "method": method,
                "path": path.partition("?")[0],
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "request",
            "routeKey": f"{method} {route}",
            "stage": "$default",
            "time": "24/Nov/2026:00:00:00 +0000",
            "timeEpoch": 1795478400000,
        },
        "body": json.dumps(body, ensure_ascii=False) if body else None,
        "isBase64Encoded": False,
    }


def get() -> dict[str, Any]:
    return event("GET", "/product/donut", route="/product/{slug}")


def checkout(*, key: str | None = None, quantity: int = 1, **body: str) -> dict[str, Any]:
    """Return a checkout of donuts."""
    body = {"MessageAttributeFactoryId": "FF-500293", "requester": "홍길동", **body}
    request = event(
        "POST",
        "/checkout",
        route="/checkout",
        body={"MessageAttributeProductCnt": quantity, **body},
    )
    if key is not None:
        request["headers"]["idempotency-key"] = key
    return request


def checkout_with_key() -> dict[str, Any]:
    """Return a checkout with a key of its own."""
    return checkout(key=str(uuid.uuid4()))


def out_of_stock() -> dict[str, Any]:
    return checkout(quantity=5, MessageAttributeProductId=BAGEL)


def order(order_id: str) -> dict[str, Any]:
    return event("GET", f"/order/{order_id}", route="/order/{order_id}")


def callback(order_id: str, token: str) -> dict[str, Any]:
    """Return the factory's callback for an order of donuts."""
    path = f"/product/donut?order={order_id}&token={token}"
    return event("POST", path, route="/product/{slug}")
