"""A production order for tests in which its values do not matter."""

from common import messages

ORDER = messages.ProductionOrder(
    order_id="order-0",
    callback_token="s3cr3t-token",
    slug="donut",
    product_id="a-product",
    factory_id="FF-500293",
    quantity=12,
    requester="홍길동",
)
