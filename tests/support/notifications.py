"""The notification of a production order, as it should be by the order's row."""

import json

from tests.support.books import Books

COLUMNS = {
    "MessageAttributeProductId": "product_id",
    "MessageAttributeFactoryId": "production_order.factory_id",
    "MessageAttributeProductCnt": "quantity",
    "MessageAttributeRequester": "requester",
    "MessageAttributeOrderId": "order_id",
    "MessageAttributeCallbackToken": "callback_token",
    "MessageAttributeProductSlug": "slug",
}


def attributes(books: Books, order_id: str) -> dict[str, str]:
    """Return the message attributes of the order's notification."""
    (values,) = books.sql(
        f"SELECT {', '.join(COLUMNS.values())} FROM production_order JOIN product USING (product_id)"
        " WHERE order_id = %s",
        (order_id,),
    )
    return {name: str(value) for name, value in zip(COLUMNS, values, strict=True)}


def envelope(books: Books, order_id: str) -> str:
    """Return the body of the order's message in the queue, as far as the consumer reads it."""
    values = attributes(books, order_id)
    fields = {name: {"Type": "String", "Value": value} for name, value in values.items()}
    return json.dumps({"MessageAttributes": fields})
