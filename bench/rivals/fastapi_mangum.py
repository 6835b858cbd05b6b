"""FastAPI behind Mangum.

The endpoints are coroutines that block, because a Lambda function serves one request at a time:
ordinary functions would be moved to a thread for each request, which takes longer.
"""

from typing import Annotated, Any

from fastapi import FastAPI, HTTPException
from mangum import Mangum
from pydantic import BaseModel, Field

from bench.rivals.buyer import HandlerBuyer, buy, read_product

app = FastAPI(openapi_url=None)


class Checkout(BaseModel):
    quantity: Annotated[int, Field(ge=1, le=1000, alias="MessageAttributeProductCnt")]
    factory_id: Annotated[str | None, Field(alias="MessageAttributeFactoryId")] = None
    requester: str = "unknown"


@app.get("/product/{slug}")
async def get_product(slug: str) -> dict[str, Any]:
    product = read_product(slug)
    if product is None:
        raise HTTPException(400, "상품 없음")
    return product


@app.post("/checkout")
async def checkout(checkout: Checkout) -> dict[str, Any]:
    return buy(checkout.quantity)


class Buyer(HandlerBuyer):
    handler = staticmethod(Mangum(app, lifespan="off"))
