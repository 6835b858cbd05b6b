"""What the rivals in Python share: one kept connection over TLS, and the two statements.

A purchase is one UPDATE, which returns the stock that it left as its LAST_INSERT_ID. That is the
best that is known for one round trip without a procedure.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from bench import events
from bench.sides import database

connection = database.connect()


def read_product(slug: str) -> dict[str, Any] | None:
    """Return the product, or None."""
    names = ("product_id", "sku", "name", "price", "stock", "factory_id")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(names)} FROM product WHERE slug = %s", (slug,))
        row = cursor.fetchone()
    return dict(zip(names, row, strict=True)) if row else None


def buy(quantity: int) -> dict[str, Any]:
    """Sell this many donuts if there are enough, and return the body of the response."""
    with connection.cursor() as cursor:
        sold = cursor.execute(
            "UPDATE product SET stock = LAST_INSERT_ID(stock - %s)"
            " WHERE slug = 'donut' AND stock >= %s",
            (quantity, quantity),
        )
        if sold:
            stock = cursor.lastrowid
        else:
            cursor.execute("SELECT stock FROM product WHERE slug = 'donut'")
            (stock,) = cursor.fetchone() or (0,)
    verdict = "구매 완료" if sold else "구매 실패"
    return {"message": f"{verdict}! 남은 재고: {stock}", "purchased": bool(sold), "stock": stock}


class HandlerBuyer:
    """Passes events to a Lambda handler in this process."""

    handler: Callable[[dict[str, Any], Any], dict[str, Any]]

    def prepare(self, scenario: str, calls: int) -> list[Callable[[], Any]]:
        return [partial(self._call, getattr(events, scenario)()) for _ in range(calls)]

    def sold(self, result: Any) -> bool:
        return "구매 완료" in result["body"]

    def _call(self, event: dict[str, Any]) -> dict[str, Any]:
        response = type(self).handler(event, None)
        assert response["statusCode"] == 200, response
        return response
