"""Powertools for AWS Lambda: its resolver for HTTP APIs."""

import json
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import BadRequestError

from bench.rivals.buyer import HandlerBuyer, buy, read_product

app = APIGatewayHttpResolver(
    serializer=lambda body: json.dumps(body, separators=(",", ":"), ensure_ascii=False)
)


@app.get("/product/<slug>")
def get_product(slug: str) -> dict[str, Any] | Response[Any]:
    product = read_product(slug)
    if product is None:
        raise BadRequestError("상품 없음")
    return product


@app.post("/checkout")
def checkout() -> dict[str, Any]:
    quantity = app.current_event.json_body.get("MessageAttributeProductCnt")
    if type(quantity) is not int or not 1 <= quantity <= 1000:
        raise BadRequestError("잘못된 수량")
    return buy(quantity)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return app.resolve(event, context)


class Buyer(HandlerBuyer):
    handler = staticmethod(handler)
