"""What local/emulator patches in ministack, and how it serves an HTTP API: seen from outside."""

import http.client
import io
import json
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from local.cloud import ACCOUNT, Cloud
from local.emulator.faults import Fault
from settings import REGION

HANDLER = """
import json, logging, os
def handler(event, context):
    logging.getLogger("shop").info("seen", extra={"order_id": "7"})
    if event["rawPath"] == "/crash":
        raise RuntimeError("a secret")
    return {"statusCode": 200, "body": json.dumps({"event": event, "environment": dict(os.environ)})}
"""
ROLE = f"arn:aws:iam::{ACCOUNT}:role/echo"
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
        patch.setenv("HOST_SECRET", "of no concern to functions")
        cloud = Cloud(tmp_path_factory.mktemp("cloud"))
        cloud.start_emulator()
    try:
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture(scope="module")
def api(cloud: Cloud) -> str:
    """An HTTP API whose every request goes to HANDLER."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("echo.py", HANDLER)
    cloud.client("iam").create_role(
        RoleName="echo", AssumeRolePolicyDocument=json.dumps({"Statement": []})
    )
    function = cloud.client("lambda").create_function(
        FunctionName="echo",
        Role=ROLE,
        Runtime="python3.14",
        Handler="echo.handler",
        Code={"ZipFile": archive.getvalue()},
        LoggingConfig={"LogFormat": "JSON", "LogGroup": "echo-logs"},
    )
    gateway = cloud.client("apigatewayv2")
    api_id = gateway.create_api(Name="echo", ProtocolType="HTTP")["ApiId"]
    target = gateway.create_integration(
        ApiId=api_id,
        IntegrationType="AWS_PROXY",
        IntegrationUri=function["FunctionArn"],
        PayloadFormatVersion="2.0",
    )["IntegrationId"]
    for route in ("$default", "GET /product/{slug}"):
        gateway.create_route(ApiId=api_id, RouteKey=route, Target=f"integrations/{target}")
    gateway.create_stage(ApiId=api_id, StageName="$default", AutoDeploy=True)
    return str(function["FunctionArn"])


def request(
    cloud: Cloud, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, Any]]:
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
    status, answer = request(cloud, method, path, body, **headers)
    assert status == 200
    return dict(answer["event"])


def test_before_a_deployment_the_service_is_unavailable(tmp_path: Path) -> None:
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
def test_every_request_reaches_the_default_route(cloud: Cloud, method: str, path: str) -> None:
    seen = event(cloud, method, path)
    assert (seen["routeKey"], seen["requestContext"]["http"]["method"], seen["rawPath"]) == (
        "$default",
        method,
        path,
    )


@pytest.mark.usefixtures("api")
def test_a_route_s_parameter_and_the_raw_query_arrive(cloud: Cloud) -> None:
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
def test_a_body_that_is_not_utf_8_arrives_as_base64(cloud: Cloud) -> None:
    seen = event(cloud, "POST", "/", b"\xff", Content_Type="application/json")
    assert (seen["body"], seen["isBase64Encoded"]) == ("/w==", True)
    seen = event(cloud, "POST", "/", '{"가": 1}'.encode(), Content_Type="application/json")
    assert (seen["body"], seen["isBase64Encoded"]) == ('{"가": 1}', False)


@pytest.mark.usefixtures("api")
def test_a_body_beyond_10_mb_is_refused(cloud: Cloud) -> None:
    assert request(cloud, "POST", "/", b"x" * (10 * 1024 * 1024 + 1))[0] == 413


@pytest.mark.usefixtures("api")
def test_a_crash_tells_the_caller_nothing_and_the_log_everything(cloud: Cloud) -> None:
    assert request(cloud, "GET", "/crash") == (500, {"message": "Internal Server Error"})
    lines = log_lines(cloud)
    crash = next(line for line in lines if line["level"] == "ERROR")
    assert (crash["errorType"], crash["errorMessage"]) == ("RuntimeError", "a secret")
    assert "in handler" in "".join(crash["stackTrace"])
    seen = next(line for line in lines if line["requestId"] == crash["requestId"])
    assert (seen["message"], seen["level"], seen["logger"], seen["order_id"]) == (
        "seen",
        "INFO",
        "shop",
        "7",
    )


@pytest.mark.usefixtures("api")
def test_a_silent_wait_for_log_lines_costs_nothing(cloud: Cloud) -> None:
    event(cloud, "GET", "/warm")
    began = time.perf_counter()
    for _ in range(20):
        event(cloud, "GET", "/warm")
    assert time.perf_counter() - began < 20 * 0.05


@pytest.mark.usefixtures("api")
def test_functions_do_not_see_the_host_and_act_as_their_role(cloud: Cloud) -> None:
    environment = request(cloud, "GET", "/")[1]["environment"]
    assert "HOST_SECRET" not in environment
    assert environment["AWS_ENDPOINT_URL"] == cloud.aws_endpoint_url
    assert environment["AWS_ACCESS_KEY_ID"].startswith("ASIA")


def test_templates_use_what_ministack_lacks(cloud: Cloud) -> None:
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


def log_lines(cloud: Cloud) -> list[dict[str, Any]]:
    events = cloud.client("logs").filter_log_events(logGroupName="echo-logs")["events"]
    lines = [json.loads(event["message"]) for event in events if event["message"].startswith("{")]
    return [line for line in lines if "level" in line]


@contextmanager
def timed(*, at_least: float, at_most: float) -> Iterator[None]:
    began = time.perf_counter()
    yield
    assert at_least <= time.perf_counter() - began <= at_most


def test_a_fault_refuses_the_calls_it_names_and_no_others(
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
            sqs.send_message(QueueUrl=queue, MessageBody="refused")
        sqs.send_message(QueueUrl=queue, MessageBody="taken")
    sns.list_topics()
    assert [message["Body"] for message in sqs.receive_message(QueueUrl=queue)["Messages"]] == [
        "taken"
    ]


def test_a_fault_delays_a_call_that_is_then_served(cloud: Cloud) -> None:
    with cloud.faults(Fault(service="sns", delay=0.5)), timed(at_least=0.5, at_most=5):
        cloud.client("sns").list_topics()
