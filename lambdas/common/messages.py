"""The one event: a production order on its way to the factory. Source: the `stock_empty` topic's contract."""

import functools
import json
import re
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from common import deadline, limits

SUBJECT = "도너츠 재고 부족"
MESSAGE = "도너츠 재고가 없습니다. 제품을 생산해주세요! \n메시지 작성 시각: {time}"


@dataclass(frozen=True, kw_only=True)
class ProductionOrder:
    order_id: str
    callback_token: str
    slug: str
    product_id: str
    factory_id: str
    quantity: int
    requester: str


ATTRIBUTES = {
    "product_id": "MessageAttributeProductId",
    "factory_id": "MessageAttributeFactoryId",
    "quantity": "MessageAttributeProductCnt",
    "requester": "MessageAttributeRequester",
    "order_id": "MessageAttributeOrderId",
    "callback_token": "MessageAttributeCallbackToken",
    "slug": "MessageAttributeProductSlug",
}
"""Field → SNS message attribute, all of type String. The slug is in the callback's path."""


@functools.cache
def _sns() -> Any:
    """Return the client, imported and made on first use: a sale never pays for it. It tries once."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=deadline.PUBLISH_CONNECT,
        read_timeout=deadline.PUBLISH_READ,
        retries={"total_max_attempts": 1},
    )
    return boto3.client("sns", config=config)


def publish(order: ProductionOrder, *, topic_arn: str) -> None:
    """Notify the topic. Raises botocore's BotoCoreError or ClientError, or TimeoutError: it may be published later."""
    values = {ATTRIBUTES[field]: str(value) for field, value in asdict(order).items()}
    deadline.wait_for(
        lambda: _sns().publish(
            TopicArn=topic_arn,
            Subject=SUBJECT,
            Message=MESSAGE.format(time=datetime.now(UTC).isoformat(timespec="milliseconds")),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in values.items()
            },
        ),
        until=time.monotonic() + deadline.PUBLISH_WITHIN,
    )


def parse(body: str) -> ProductionOrder:
    """Return the order in an SQS body, which holds SNS's envelope.

    Raises ValueError, whose text holds nothing of the body.
    """
    try:
        attributes = json.loads(body)["MessageAttributes"]
        values = {field: attributes[name]["Value"] for field, name in ATTRIBUTES.items()}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a production order: {type(error).__name__}") from None
    if not all(isinstance(value, str) and value for value in values.values()):
        raise ValueError("not a production order: an attribute is empty or no string")
    if not re.fullmatch(r"[0-9]{1,18}", values["quantity"]):
        raise ValueError("not a production order: the quantity is no number")
    if not limits.is_identifier(values["slug"], max_length=limits.SLUG):  # it becomes part of a URL
        raise ValueError("not a production order: the slug does not match its pattern")
    return ProductionOrder(**{**values, "quantity": int(values["quantity"])})
