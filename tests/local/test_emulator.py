"""local/emulator, as its clients see it: ministack's patches, the HTTP API, faults and messages."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from local.cloud import ACCOUNT, Cloud
from local.emulator.faults import Fault
from local.polling import eventually
from settings import REGION
from tests.support.functions import archive, create_function, log_lines

HANDLER = """
import json, logging, os
def handler(event, context):
    logging.getLogger("shop").info("seen", extra={"order_id": "7"})
    if event["rawPath"] == "/crash":
        raise RuntimeError("a secret")
    return {"statusCode": 200, "body": json.dumps({"event": event, "variables": dict(os.environ)})}
"""
TEMPLATE = {
    "Resources": {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.9.0.0/16"}},
        "Group": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {"GroupDescription": "g", "VpcId": {"Ref": "Vpc"}},
        },
        "Rule": {
            "Type": "AWS::EC2::SecurityGroupIngress",
            "Properties": {
                "GroupId": {"Fn::GetAtt": ["Group", "GroupId"]},
                "IpProtocol": "tcp",
                "FromPort": 13306,
                "ToPort": 13306,
                "CidrIp": {"Fn::GetAtt": ["Vpc", "CidrBlock"]},
            },
        },
        "FlowLog": {
            "Type": "AWS::EC2::FlowLog",
            "Properties": {
                "ResourceId": {"Ref": "Vpc"},
                "ResourceType": "VPC",
                "TrafficType": "REJECT",
            },
        },
        "Secret": {"Type": "AWS::SecretsManager::Secret", "Properties": {"SecretString": "s"}},
    },
    "Outputs": {
        "Secret": {"Value": {"Ref": "Secret"}},
        "Group": {"Value": {"Fn::GetAtt": ["Group", "GroupId"]}},
    },
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOST_SECRET", "not for functions")
        cloud = Cloud(tmp_path_factory.mktemp("cloud"))
        cloud.start_emulator()
    try:
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture(scope="module")
def api(cloud: Cloud) -> str:
    """Create an HTTP API whose requests all go to HANDLER. Return the ARN of the function."""
    arn = create_function(cloud, "echo", archive(echo=HANDLER), Handler="echo.handler")
    gateway = cloud.client("apigatewayv2")
    api_id = gateway.create_api(Name="echo", ProtocolType="HTTP")["ApiId"]
    target = gateway.create_integration(
        ApiId=api_id,
        IntegrationType="AWS_PROXY",
        IntegrationUri=arn,
        PayloadFormatVersion="2.0",
    )["IntegrationId"]
    for route in ("$default", "GET /product/{slug}"):
        gateway.create_route(ApiId=api_id, RouteKey=route, Target=f"integrations/{target}")
    gateway.create_stage(ApiId=api_id, StageName="$default", AutoDeploy=True)
    return arn


def request(
    cloud: Cloud, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON of the response."""
    with closing(
        http.client.HTTPConnection(urlsplit(cloud.endpoint).netloc, timeout=30)
    ) as connection:
        connection.request(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def event(
    cloud: Cloud, method: str, path: str, body: bytes | None = None, **headers: str
) -> dict[str, Any]:
    """Return the event that the function gets for the request."""
    status, content = request(cloud, method, path, body, **headers)
    assert status == 200
    return dict(content["event"])


def test_http_api_returns_503_before_a_deployment(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    try:
        cloud.start_emulator()
        assert request(cloud, "GET", "/") == (503, {"message": "Service Unavailable"})
    finally:
        cloud.stop()


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
@pytest.mark.parametrize(
    "path",
    ["/", "/health", "/_ministack/reset", "/_aws/execute-api/x/y", "//x/../y", "/product/a/"],
)
def test_default_route_gets_every_method_and_path(cloud: Cloud, method: str, path: str) -> None:
    seen = event(cloud, method, path)
    assert seen["routeKey"] == "$default"
    assert seen["requestContext"]["http"]["method"] == method
    assert seen["rawPath"] == path


@pytest.mark.usefixtures("api")
def test_event_has_the_path_parameter_the_query_and_the_cookies(cloud: Cloud) -> None:
    seen = event(
        cloud,
        "GET",
        "/product/%EB%8F%84?order=a%20b&token=%26&order=c",
        Host="s3.localhost",
        Cookie="a=1; b=2",
    )
    assert seen["routeKey"] == "GET /product/{slug}"
    assert seen["pathParameters"] == {"slug": "도"}
    assert seen["rawQueryString"] == "order=a%20b&token=%26&order=c"
    assert seen["queryStringParameters"] == {"order": "a b,c", "token": "&"}
    assert seen["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in seen["headers"]


@pytest.mark.usefixtures("api")
def test_body_is_base64_in_the_event_unless_it_is_utf_8(cloud: Cloud) -> None:
    seen = event(cloud, "POST", "/", b"\xff", Content_Type="application/json")
    assert seen["body"] == "/w=="
    assert seen["isBase64Encoded"] is True
    seen = event(cloud, "POST", "/", '{"가": 1}'.encode(), Content_Type="application/json")
    assert seen["body"] == '{"가": 1}'
    assert seen["isBase64Encoded"] is False


@pytest.mark.usefixtures("api")
def test_body_over_10_mib_returns_413(cloud: Cloud) -> None:
    assert request(cloud, "POST", "/", b"x" * (10 * 1024 * 1024 + 1))[0] == 413


@pytest.mark.usefixtures("api")
def test_exception_is_in_the_log_and_not_in_the_response(cloud: Cloud) -> None:
    assert request(cloud, "GET", "/crash") == (500, {"message": "Internal Server Error"})
    lines = log_lines(cloud, "echo")
    crash = next(line for line in lines if line["level"] == "ERROR")
    assert crash["errorType"] == "RuntimeError"
    assert crash["errorMessage"] == "a secret"
    assert "in handler" in "".join(crash["stackTrace"])
    seen = next(line for line in lines if line["requestId"] == crash["requestId"])
    assert seen["message"] == "seen"
    assert seen["level"] == "INFO"
    assert seen["logger"] == "shop"
    assert seen["order_id"] == "7"


@pytest.mark.usefixtures("api")
def test_function_gets_its_role_and_no_variable_of_the_host(cloud: Cloud) -> None:
    variables = request(cloud, "GET", "/")[1]["variables"]
    assert "HOST_SECRET" not in variables
    assert variables["AWS_ENDPOINT_URL"] == cloud.aws_endpoint_url
    assert variables["AWS_ACCESS_KEY_ID"].startswith("ASIA"), "they are not of a session"


def test_stack_with_what_ministack_lacks_is_created_and_deleted(cloud: Cloud) -> None:
    cloudformation = cloud.client("cloudformation")
    cloudformation.create_stack(StackName="lacking", TemplateBody=json.dumps(TEMPLATE))
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="lacking", WaiterConfig={"Delay": 1}
    )
    stack = cloudformation.describe_stacks(StackName="lacking")["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert outputs["Secret"].startswith(f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:")
    group = cloud.client("ec2").describe_security_groups(GroupIds=[outputs["Group"]])[
        "SecurityGroups"
    ][0]
    assert [rule["IpRanges"][0]["CidrIp"] for rule in group["IpPermissions"]] == ["10.9.0.0/16"]
    cloudformation.delete_stack(StackName="lacking")
    cloudformation.get_waiter("stack_delete_complete").wait(
        StackName="lacking", WaiterConfig={"Delay": 1}
    )
    assert not cloud.client("secretsmanager").list_secrets()["SecretList"]


def test_fault_fails_only_the_calls_that_it_names(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    sns, sqs = cloud.client("sns"), cloud.client("sqs")
    queue = sqs.create_queue(QueueName="faulty")["QueueUrl"]
    with cloud.faults(
        Fault(service="sns", action="ListTopics", status=503),
        Fault(service="sqs", status=503, count=1),
    ):
        with pytest.raises(ClientError, match="503"):
            sns.list_topics()
        assert sns.list_subscriptions()["Subscriptions"] == []
        with pytest.raises(ClientError, match="503"):
            sqs.send_message(QueueUrl=queue, MessageBody="rejected")
        sqs.send_message(QueueUrl=queue, MessageBody="accepted")
    sns.list_topics()
    assert [message["Body"] for message in sqs.receive_message(QueueUrl=queue)["Messages"]] == [
        "accepted"
    ]


def test_fault_delays_a_call(cloud: Cloud) -> None:
    with cloud.faults(Fault(service="sns", delay=0.5)):
        began = time.monotonic()
        cloud.client("sns").list_topics()
    assert time.monotonic() - began >= 0.5


def test_fault_ends_by_itself(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that it delays does not wait for longer than the fault lasts."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    sns = cloud.client("sns")
    began = time.monotonic()
    cloud.set_faults(Fault(service="sns", status=503, seconds=1, delay=60))
    with pytest.raises(ClientError, match="503"):
        sns.list_topics()
    assert 0.5 < time.monotonic() - began < 10

    def ended() -> None:
        assert cloud.faults_remaining("default") == 0

    eventually(ended, within=10)
    sns.list_topics()


def test_group_replaces_its_own_faults_only(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    cloud.set_faults(Fault(service="sns", status=503), group="one")
    cloud.set_faults(Fault(service="sqs", status=503), group="two")
    cloud.set_faults(group="two")
    cloud.client("sqs").list_queues()
    assert 100 < cloud.faults_remaining("one") <= 120
    with pytest.raises(ClientError, match="503"):
        cloud.client("sns").list_topics()
    cloud.set_faults(group="one")
    cloud.client("sns").list_topics()


def test_fault_lasts_no_longer_than_two_minutes() -> None:
    assert Fault(service="sns").seconds <= 120
    with pytest.raises(ValueError, match="120 seconds"):
        Fault(service="sns", seconds=121)


def test_messages_are_seen_and_do_not_change(cloud: Cloud) -> None:
    """One waits, one was received, one is delayed, and one is not a production order."""
    sqs = cloud.client("sqs")
    queue = sqs.create_queue(QueueName="seen")["QueueUrl"]

    def send(body: str, *, delay: int = 0) -> str:
        return str(
            sqs.send_message(QueueUrl=queue, MessageBody=body, DelaySeconds=delay)["MessageId"]
        )

    def order(order_id: str) -> str:
        return json.dumps({"MessageAttributes": {"MessageAttributeOrderId": {"Value": order_id}}})

    began = int(time.time() * 1000)
    received = send(order("received"))
    (message,) = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=60)["Messages"]
    waiting, delayed = send(order("waiting")), send(order("delayed"), delay=60)
    unreadable = [send(body) for body in ("not JSON", "[1]", "{}", "[" * 5000)]

    (seen,) = cloud.control("messages", ["seen"]).values()
    by_id = {each["message_id"]: each for each in seen}
    expected = {
        received: ("received", 1, True),
        waiting: ("waiting", 0, False),
        delayed: ("delayed", 0, False),
        **dict.fromkeys(unreadable, (None, 0, False)),
    }
    for message_id, values in expected.items():
        each = by_id.pop(message_id)
        assert (each["order_id"], each["receives"], each["in_flight"]) == values
        assert began <= each["sent_at"] <= time.time() * 1000, values
        is_hidden = each["visible_at"] - each["sent_at"] > 50_000
        assert is_hidden == (message_id in (received, delayed)), values
    assert not by_id

    assert cloud.control("messages", ["seen", "missing"]) == {"seen": seen}
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == "5"
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "1"
    assert attributes["ApproximateNumberOfMessagesDelayed"] == "1"
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    again = sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, AttributeNames=["ApproximateReceiveCount"]
    )["Messages"]
    counts = {each["MessageId"]: each["Attributes"]["ApproximateReceiveCount"] for each in again}
    assert counts == dict.fromkeys([waiting, *unreadable], "1")
    sqs.delete_queue(QueueUrl=queue)
