"""A plain Python handler: a function per route, and nothing else."""

import json
from typing import Any

from bench.rivals.buyer import HandlerBuyer, buy, read_product


def response(status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json; charset=utf-8"},
        "body": json.dumps(body, ensure_ascii=False),
    }


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Return the response of the request's route."""
    if event["routeKey"] == "GET /product/{slug}":
        product = read_product(event["pathParameters"]["slug"])
        return response(200, product) if product else response(400, {"message": "상품 없음"})
    if event["routeKey"] == "POST /checkout":
        quantity = json.loads(event["body"]).get("MessageAttributeProductCnt")
        if type(quantity) is not int or not 1 <= quantity <= 1000:
            return response(400, {"message": "잘못된 수량"})
        return response(200, buy(quantity))
    return response(404, {"error": "Not Found"})


class Buyer(HandlerBuyer):
    handler = staticmethod(handler)
