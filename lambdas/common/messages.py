"""Production orders as messages: published to the topic, received from its queue."""

import json
import re
import time
from datetime import UTC, datetime
from typing import NamedTuple

from common import aws, deadline, limits

SUBJECT = "도너츠 재고 부족"
MESSAGE = "도너츠 재고가 없습니다. 제품을 생산해주세요! \n메시지 작성 시각: {time}"


class ProductionOrder(NamedTuple):
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
"""The SNS message attribute of each field. All are of type String."""


def publish(order: ProductionOrder, *, topic_arn: str) -> None:
    """Publish the order to the topic.

    Raises botocore's BotoCoreError or ClientError, or TimeoutError after PUBLISH_SECONDS, in
    which case the order may still be published later.
    """
    attributes = {
        ATTRIBUTES[field]: {"DataType": "String", "StringValue": str(value)}
        for field, value in order._asdict().items()
    }
    message = MESSAGE.format(time=datetime.now(UTC).isoformat(timespec="milliseconds"))
    deadline.wait_for(
        lambda: aws.client("sns", deadline.PUBLISH).publish(
            TopicArn=topic_arn, Subject=SUBJECT, Message=message, MessageAttributes=attributes
        ),
        until=time.monotonic() + deadline.PUBLISH_SECONDS,
    )


def parse(body: str) -> ProductionOrder:
    """Return the order in the body of an SQS message, which is SNS's envelope.

    Raises ValueError. Its text repeats nothing of the body.
    """
    try:
        attributes = json.loads(body)["MessageAttributes"]
        values = {field: attributes[name]["Value"] for field, name in ATTRIBUTES.items()}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a production order: {type(error).__name__}") from None
    if not all(isinstance(value, str) and value for value in values.values()):
        raise ValueError("not a production order: an attribute is empty or not a string")
    if not re.fullmatch(r"[0-9]{1,18}", values["quantity"]):
        raise ValueError("not a production order: the quantity is not a number")
    # The slug becomes part of the callback URL.
    if not limits.is_identifier(values["slug"], max_length=limits.SLUG):
        raise ValueError("not a production order: the slug does not match its pattern")
    return ProductionOrder(**{**values, "quantity": int(values["quantity"])})
