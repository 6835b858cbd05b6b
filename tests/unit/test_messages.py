import json
from dataclasses import replace
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from common import messages
from settings import ENVIRONMENTS
from tests.support.pipe import Pipe

ORDER = messages.ProductionOrder(
    order_id="7c7a2b46-0f5c-4f29-9d7e-0f1f5b1c2d3e",
    callback_token="s3cr3t-token",
    slug="donut",
    product_id="a-product",
    factory_id="FF-500293",
    quantity=12,
    requester='부산 "🍩"\n\'; DROP TABLE product; --',
)
SECRET = "a-value-that-must-not-be-repeated"


def test_what_was_published_is_what_is_parsed(pipe: Pipe) -> None:
    messages.publish(ORDER, topic_arn=pipe.topic_arn)
    (message,) = pipe.receive()
    assert messages.parse(message["Body"]) == ORDER


def test_a_requester_of_full_length_survives(pipe: Pipe) -> None:
    order = replace(ORDER, requester="가" * 200)
    messages.publish(order, topic_arn=pipe.topic_arn)
    (message,) = pipe.receive()
    assert messages.parse(message["Body"]) == order


def test_publishing_to_no_topic_raises(pipe: Pipe) -> None:
    with pytest.raises(botocore.exceptions.ClientError):
        messages.publish(ORDER, topic_arn=f"{pipe.topic_arn}_gone")


def test_the_client_waits_briefly_and_tries_once(aws: None) -> None:
    config = messages._sns().meta.config
    assert (config.connect_timeout, config.read_timeout) == (1, 1)
    assert config.retries["total_max_attempts"] == 1


def test_publishes_to_the_dual_stack_endpoint_where_it_is_given(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the name that the SDK itself chooses for dual stack, and Secrets Manager's stays as it is."""
    endpoint = boto3.client("sns", config=Config(use_dualstack_endpoint=True)).meta.endpoint_url
    assert ENVIRONMENTS["dev"].sns_endpoint == endpoint
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", endpoint)
    messages._sns.cache_clear()
    client = messages._sns()
    assert (client.meta.endpoint_url, client.meta.region_name) == (endpoint, "ap-northeast-2")
    assert (
        boto3.client("secretsmanager").meta.endpoint_url
        == "https://secretsmanager.ap-northeast-2.amazonaws.com"
    )


def envelope(**attributes: Any) -> str:
    """The envelope of an order, with these attributes of its own. None: leave it out."""
    values = {
        name: str(getattr(ORDER, field)) for field, name in messages.ATTRIBUTES.items()
    } | attributes
    return json.dumps(
        {
            "Type": "Notification",
            "MessageAttributes": {
                name: {"Type": "String", "Value": value}
                for name, value in values.items()
                if value is not None
            },
        }
    )


def test_parses_the_envelope() -> None:
    assert messages.parse(envelope()) == ORDER


@pytest.mark.parametrize("slug", ["donut", "A-b_9", "a" * 64])
def test_parse_accepts_every_slug_of_the_catalogue(slug: str) -> None:
    assert messages.parse(envelope(MessageAttributeProductSlug=slug)) == replace(ORDER, slug=slug)


MALFORMED = {
    "empty": "",
    "text": SECRET,
    "cut off": f'{{"{SECRET}": ',
    "null": "null",
    "number": "7",
    "array": f'["{SECRET}"]',
    "string": f'"{SECRET}"',
    "no attributes": "{}",
    "attributes are text": f'{{"MessageAttributes": "{SECRET}"}}',
    "attributes are null": '{"MessageAttributes": null}',
    "attributes are a list": f'{{"MessageAttributes": ["{SECRET}"]}}',
    "an attribute is text": f'{{"MessageAttributes": {{"MessageAttributeProductCnt": "{SECRET}"}}}}',
    "wrapped": f'{{"default": {envelope()}}}',
    "deep": "[" * 100_000,
    **{
        f"no {name}": envelope(**{name: None}, Other=SECRET)
        for name in messages.ATTRIBUTES.values()
    },
    **{
        f"empty {name}": envelope(**{name: ""}, Other=SECRET)
        for name in messages.ATTRIBUTES.values()
    },
    "requester is a number": envelope(MessageAttributeRequester=7),
    "requester is a list": envelope(MessageAttributeRequester=[SECRET]),
    "requester is an object": envelope(MessageAttributeRequester={"secret": SECRET}),
    "quantity is a number": envelope(MessageAttributeProductCnt=7),
    "quantity is text": envelope(MessageAttributeProductCnt=SECRET),
    "quantity is negative": envelope(MessageAttributeProductCnt="-5"),
    "quantity is a fraction": envelope(MessageAttributeProductCnt="1.5"),
    "quantity has a space": envelope(MessageAttributeProductCnt="5 "),
    "quantity has a newline": envelope(MessageAttributeProductCnt="5\n"),
    "quantity in Arabic digits": envelope(MessageAttributeProductCnt="٥"),
    "quantity is a superscript": envelope(MessageAttributeProductCnt="²"),
    "quantity is huge": envelope(MessageAttributeProductCnt="9" * 5000),
    **{
        f"slug is {slug!r:.20}": envelope(MessageAttributeProductSlug=slug, Other=SECRET)
        for slug in ("../../x?order=1#", "..", "a/b", "a b", "a%2Fb", "donut\n", "도넛", "a" * 65)
    },
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_rejects_what_is_no_order_without_repeating_it(body: str) -> None:
    with pytest.raises(ValueError, match=r"^not a production order: [\w ,]+$") as failure:
        messages.parse(body)
    assert SECRET not in str(failure.value)
    assert failure.value.__suppress_context__ or failure.value.__context__ is None
