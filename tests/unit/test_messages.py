"""Production orders as messages: what is published can be parsed, and nothing else can."""

import json
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config

from common import aws, deadline, messages
from settings import ENVIRONMENTS
from tests.support.orders import ORDER as ANY_ORDER
from tests.support.pipe import Pipe

ORDER = ANY_ORDER._replace(requester='부산 "🍩"\n\'; DROP TABLE product; --')
SECRET = "a-value-that-must-not-be-repeated"


def test_parse_returns_the_published_order(pipe: Pipe) -> None:
    messages.publish(ORDER, topic_arn=pipe.topic_arn)
    (message,) = pipe.receive()
    assert messages.parse(message["Body"]) == ORDER


def test_parse_returns_a_requester_of_full_length(pipe: Pipe) -> None:
    order = ORDER._replace(requester="가" * 200)
    messages.publish(order, topic_arn=pipe.topic_arn)
    (message,) = pipe.receive()
    assert messages.parse(message["Body"]) == order


def test_publish_raises_when_the_topic_does_not_exist(pipe: Pipe) -> None:
    with pytest.raises(botocore.exceptions.ClientError):
        messages.publish(ORDER, topic_arn=f"{pipe.topic_arn}_gone")


def test_publish_uses_a_client_that_gives_up_early(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = {("sns", deadline.PUBLISH): boto3.client("sns")}
    monkeypatch.setattr(aws, "client", lambda *arguments: clients[arguments])
    messages.publish(ORDER, topic_arn=pipe.topic_arn)
    assert len(pipe.receive()) == 1


@pytest.mark.usefixtures("aws")
def test_publish_uses_the_dual_stack_endpoint_of_the_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The settings have the name that the SDK chooses for dual stack. It is used for SNS only."""
    endpoint = ENVIRONMENTS["dev"].sns_endpoint
    assert endpoint
    dual_stack = boto3.client("sns", config=Config(use_dualstack_endpoint=True))
    assert dual_stack.meta.endpoint_url == endpoint
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", endpoint)
    client = aws.client("sns", deadline.PUBLISH)
    assert client.meta.endpoint_url == endpoint
    assert client.meta.region_name == "ap-northeast-2"
    assert (
        aws.client("secretsmanager", deadline.SECRET).meta.endpoint_url
        == "https://secretsmanager.ap-northeast-2.amazonaws.com"
    )


def envelope(**attributes: Any) -> str:
    """Return the envelope of ORDER with these attributes replaced. None removes an attribute."""
    values = {name: str(getattr(ORDER, field)) for field, name in messages.ATTRIBUTES.items()}
    values |= attributes
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


def test_parse_returns_the_order_of_an_envelope() -> None:
    assert messages.parse(envelope()) == ORDER


@pytest.mark.parametrize("slug", ["donut", "A-b_9", "a" * 64])
def test_parse_accepts_every_valid_slug(slug: str) -> None:
    assert messages.parse(envelope(MessageAttributeProductSlug=slug)) == ORDER._replace(slug=slug)


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
def test_parse_rejects_a_malformed_body_without_quoting_it(body: str) -> None:
    with pytest.raises(ValueError, match=r"^not a production order: [\w ,]+$") as failure:
        messages.parse(body)
    assert SECRET not in str(failure.value)
    assert failure.value.__suppress_context__ or failure.value.__context__ is None, (
        "the exception shown above it may quote the body"
    )
