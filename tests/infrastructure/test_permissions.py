"""What each function may do, and on what. One permission more or less fails here."""

import json
from typing import Any

import pytest

from stacks.settings import ENVIRONMENTS
from tests.infrastructure.conftest import Assembly, construct

NETWORK = "service-role/AWSLambdaVPCAccessExecutionRole"
CONSUME = {
    f"sqs:{action}": "StockQueue"
    for action in ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl", "ReceiveMessage")
}


def log(name: str) -> dict[str, str]:
    return {f"logs:{action}": f"{name}Logs" for action in ("CreateLogStream", "PutLogEvents")}


def read(secret: str) -> dict[str, str]:
    return {f"secretsmanager:{action}": secret for action in ("DescribeSecret", "GetSecretValue")}


IAM_LOGIN = {"rds-db:connect": "Database"}
PUBLISH = {"sns:Publish": "StockEmpty"}
WITH_IAM: dict[str, tuple[dict[str, str], list[str]]] = {
    "sales": (log("Sales") | IAM_LOGIN | PUBLISH, [NETWORK]),
    "restock": (log("Restock") | IAM_LOGIN, [NETWORK]),
    "relay": (log("Relay") | IAM_LOGIN | PUBLISH, [NETWORK]),
    "migrate": (log("Migrate") | read("Database"), [NETWORK]),
    "consumer": (log("Consumer") | CONSUME, []),
}
WITH_SECRET: dict[str, tuple[dict[str, str], list[str]]] = {
    "sales": (log("Sales") | read("AppSecret") | PUBLISH, [NETWORK]),
    "restock": (log("Restock") | read("AppSecret"), [NETWORK]),
    "relay": (log("Relay") | read("AppSecret") | PUBLISH, [NETWORK]),
    "migrate": (log("Migrate") | read("AppSecret, Database"), [NETWORK]),
    "consumer": (log("Consumer") | CONSUME, []),
}


def permissions(assembly: Assembly) -> dict[str, tuple[dict[str, str], list[str]]]:
    """Function → its actions with their resources, and its managed policies."""
    table = {}
    for name, function in assembly.functions().items():
        role = assembly.origin(function["Properties"]["Role"])
        allowed: dict[str, set[str]] = {}
        for policy in assembly.resources("AWS::IAM::Policy").values():
            if role in map(assembly.origin, policy["Properties"]["Roles"]):
                for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
                    assert statement["Effect"] == "Allow"
                    for action in listed(statement["Action"]):
                        allowed.setdefault(action, set()).update(
                            construct(assembly.origin(resource)) for resource in listed(statement["Resource"])
                        )
        properties = assembly.resources("AWS::IAM::Role")[role]["Properties"]
        assert "Policies" not in properties
        managed = [policy["Fn::Join"][1][-1] for policy in properties.get("ManagedPolicyArns", [])]
        table[name] = (
            {action: ", ".join(sorted(resources)) for action, resources in allowed.items()},
            [policy.removeprefix(":iam::aws:policy/") for policy in managed],
        )
    return table


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_a_function_may_do_its_own_work_and_nothing_else(assembly: Assembly) -> None:
    assert permissions(assembly) == (WITH_SECRET if assembly.name == "local" else WITH_IAM)


def test_functions_log_in_as_app_only(assembly: Assembly) -> None:
    for policy in assembly.resources("AWS::IAM::Policy").values():
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
            if "rds-db:connect" in listed(statement["Action"]):
                assert statement["Resource"]["Fn::Join"][1][-1] == "/app"


def test_no_two_functions_share_a_role(assembly: Assembly) -> None:
    roles = [assembly.origin(function["Properties"]["Role"]) for function in assembly.functions().values()]
    assert len(set(roles)) == len(roles)


@pytest.mark.parametrize("kind", ["AWS::IAM::Policy", "AWS::IAM::Role"])
def test_nothing_is_allowed_on_everything(kind: str, assembly: Assembly) -> None:
    for resource in assembly.resources(kind).values():
        assert '"*"' not in json.dumps(resource["Properties"])


def test_endpoints_let_through_one_topic_and_the_shops_secrets(assembly: Assembly) -> None:
    allowed = {}
    for endpoint in assembly.resources("AWS::EC2::VPCEndpoint").values():
        (statement,) = endpoint["Properties"]["PolicyDocument"]["Statement"]
        resources = {construct(assembly.origin(resource)) for resource in listed(statement["Resource"])}
        allowed[statement["Action"]] = resources
    expected = {"sns:Publish": {"StockEmpty"}, "secretsmanager:GetSecretValue": {"Database"}}
    assert allowed == (expected if ENVIRONMENTS[assembly.name].endpoint_zones else {})
