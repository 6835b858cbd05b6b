"""The events of the local cloud are valid according to the models of AWS Lambda Powertools."""

import http.client
import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from aws_lambda_powertools.utilities.parser.models import (
    APIGatewayProxyEventV2Model,
    EventBridgeModel,
    SnsNotificationModel,
    SqsModel,
)

from local.cloud import ACCOUNT, Cloud
from local.polling import eventually
from settings import REGION
from tests.support.functions import archive, create_function, log_messages

ECHO = """
import json
def handler(event, context):
    print(json.dumps(event))
    return {"statusCode": 200, "body": json.dumps(event)} if "rawPath" in event else None
"""
PATIENCE = 20


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    cloud.start_emulator()
    try:
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture(scope="module")
def echo(cloud: Cloud) -> str:
    """Return the ARN of a function that logs its events, and returns those of an HTTP API."""
    return create_function(cloud, "echo", archive(echo=ECHO), Handler="echo.handler")


@pytest.fixture(scope="module")
def api_id(cloud: Cloud, echo: str) -> str:
    gateway = cloud.client("apigatewayv2")
    api_id = str(gateway.create_api(Name="echo", ProtocolType="HTTP")["ApiId"])
    integration = gateway.create_integration(
        ApiId=api_id, IntegrationType="AWS_PROXY", IntegrationUri=echo, PayloadFormatVersion="2.0"
    )
    target = f"integrations/{integration['IntegrationId']}"
    for route in ("$default", "GET /product/{slug}"):
        gateway.create_route(ApiId=api_id, RouteKey=route, Target=target)
    gateway.create_stage(ApiId=api_id, StageName="$default", AutoDeploy=True)
    return api_id


def http_event(
    cloud: Cloud,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    with closing(
        http.client.HTTPConnection(urlsplit(cloud.endpoint).netloc, timeout=30)
    ) as connection:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        assert response.status == 200
        return dict(json.loads(response.read()))


def logged_event(cloud: Cloud, mark: str) -> dict[str, Any]:
    """Wait until the function has logged an event with this text in it, and return the event."""

    def logged() -> dict[str, Any]:
        found = [message for message in log_messages(cloud, "echo") if mark in message]
        assert found, f"no event has {mark}"
        return dict(json.loads(found[0]))

    return eventually(logged, within=PATIENCE)


REQUESTS: dict[str, tuple[str, str, bytes | None, dict[str, str]]] = {
    "plain": ("GET", "/", None, {}),
    "route with a parameter": ("GET", "/product/donut", None, {}),
    "query": ("GET", "/product/donut?order=a%20b&token=%26&order=c&empty=&%EA%B0%80", None, {}),
    "JSON": ("POST", "/checkout", '{"가": 1}'.encode(), {"Content-Type": "application/json"}),
    "binary": ("POST", "/checkout", b"\xff\x00", {"Content-Type": "application/json"}),
    "binary type": ("PUT", "/x", b"text", {"Content-Type": "application/octet-stream"}),
    "cookies": ("DELETE", "/x", None, {"Cookie": "a=1; b=2"}),
    "no user agent": ("OPTIONS", "/product/donut/", None, {"Accept": "*/*"}),
    "proxy's own headers": (
        "GET",
        "/",
        None,
        {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "gopher"},
    ),
    "odd path": ("GET", "//a/../%EB%8F%84?x", None, {"Host": "shop.example.com"}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_http_event_is_valid(cloud: Cloud, api_id: str, name: str) -> None:
    method, target, body, headers = REQUESTS[name]
    event = http_event(cloud, method, target, body, headers)
    model = APIGatewayProxyEventV2Model.model_validate(event)
    assert model.requestContext.http.method == method
    assert model.requestContext.apiId == api_id
    assert model.rawQueryString == target.partition("?")[2]
    time = datetime.strptime(model.requestContext.time, "%d/%b/%Y:%H:%M:%S %z")
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)
    assert abs(datetime.now(UTC) - model.requestContext.timeEpoch) < timedelta(minutes=1)
    if body:
        assert event["isBase64Encoded"] == (name != "JSON")
    else:
        assert "body" not in event


def test_http_event_has_the_headers_of_the_gateway(cloud: Cloud, api_id: str) -> None:
    event = http_event(
        cloud, "GET", "/", headers={"Host": "shop.example.com", "X-Forwarded-For": "192.0.2.1"}
    )
    headers = event["headers"]
    assert headers["x-forwarded-for"] == "192.0.2.1, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-port"] == "443"
    assert headers["x-amzn-trace-id"].startswith("Root=1-")
    assert headers["content-length"] == "0"
    assert event["requestContext"]["domainName"] == "shop.example.com"
    assert event["requestContext"]["domainPrefix"] == "shop"
    assert api_id == event["requestContext"]["apiId"]


def test_sqs_event_is_valid(cloud: Cloud, echo: str) -> None:
    """The first message comes through a topic, as the shop's messages do.

    The second is sent to the queue directly.
    """
    sqs, sns = cloud.client("sqs"), cloud.client("sns")
    queue = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    topic = sns.create_topic(Name="events")["TopicArn"]
    cloud.client("iam").put_role_policy(
        RoleName="tried",
        PolicyName="queue",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": arn}],
            }
        ),
    )
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sqs.set_queue_attributes(
        QueueUrl=queue,
        Attributes={
            "Policy": json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": "*",
                            "Action": "sqs:SendMessage",
                            "Resource": arn,
                        }
                    ],
                }
            )
        },
    )
    cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=arn, FunctionName=echo, BatchSize=10
    )
    mark = uuid.uuid4().hex
    sns.publish(
        TopicArn=topic,
        Subject="도너츠 재고 부족",
        Message=mark,
        MessageAttributes={"Order": {"DataType": "String", "StringValue": "7"}},
    )
    event = logged_event(cloud, mark)
    (record,) = SqsModel.model_validate(event).Records
    assert record.eventSource == "aws:sqs"
    assert record.eventSourceARN == arn
    assert record.awsRegion == REGION
    assert record.attributes.ApproximateReceiveCount == "1"
    assert isinstance(record.body, str)
    notification = SnsNotificationModel.model_validate_json(record.body)
    assert notification.TopicArn == topic
    assert notification.Subject == "도너츠 재고 부족"
    assert notification.Message == mark
    sqs.send_message(
        QueueUrl=queue,
        MessageBody=f"direct {mark}",
        MessageAttributes={"Order": {"DataType": "String", "StringValue": "7"}},
    )
    (record,) = SqsModel.model_validate(logged_event(cloud, f"direct {mark}")).Records
    assert record.messageAttributes["Order"].stringValue == "7"


def test_eventbridge_event_is_valid(cloud: Cloud, echo: str) -> None:
    """A schedule's event would take a minute. ministack builds it in the same way."""
    events = cloud.client("events")
    rule = events.put_rule(Name="baked", EventPattern=json.dumps({"source": ["bakery"]}))["RuleArn"]
    cloud.client("lambda").add_permission(
        FunctionName=echo,
        StatementId="events",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )
    events.put_targets(Rule="baked", Targets=[{"Id": "echo", "Arn": echo}])
    mark = uuid.uuid4().hex
    events.put_events(
        Entries=[{"Source": "bakery", "DetailType": "Baked", "Detail": json.dumps({"mark": mark})}]
    )
    event = EventBridgeModel.model_validate(logged_event(cloud, mark))
    assert event.source == "bakery"
    assert event.detail_type == "Baked"
    assert event.account == ACCOUNT
    assert event.region == REGION
    assert event.detail == {"mark": mark}
