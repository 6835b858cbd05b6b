"""What each function may do, and on what. One permission more or less fails here."""

import json
from pathlib import Path
from typing import Any

import pytest

from settings import ENVIRONMENTS
from tests.support.assembly import Assembly, construct, synth

NETWORK = "service-role/AWSLambdaVPCAccessExecutionRole"
CONSUME = {
    f"sqs:{action}": "StockQueue"
    for action in (
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ReceiveMessage",
    )
}


def log(name: str) -> dict[str, str]:
    return {f"logs:{action}": f"{name}Logs" for action in ("CreateLogStream", "PutLogEvents")}


def read(secret: str) -> dict[str, str]:
    return {f"secretsmanager:{action}": secret for action in ("DescribeSecret", "GetSecretValue")}


def log_in(user: str) -> dict[str, str]:
    return {"rds-db:connect": f"Database/{user}"}


PUBLISH = {"sns:Publish": "StockEmpty"}
WITH_IAM: dict[str, tuple[dict[str, str], list[str]]] = {
    "sales": (log("Sales") | log_in("shop_sales") | PUBLISH, [NETWORK]),
    "restock": (log("Restock") | log_in("shop_restock"), [NETWORK]),
    "relay": (log("Relay") | log_in("shop_relay") | PUBLISH, [NETWORK]),
    "migrate": (log("Migrate") | read("Database"), [NETWORK]),
    "consumer": (log("Consumer") | CONSUME, []),
}
WITH_SECRET: dict[str, tuple[dict[str, str], list[str]]] = {
    "sales": (log("Sales") | read("SalesSecret") | PUBLISH, [NETWORK]),
    "restock": (log("Restock") | read("RestockSecret"), [NETWORK]),
    "relay": (log("Relay") | read("RelaySecret") | PUBLISH, [NETWORK]),
    "migrate": (
        log("Migrate") | read("Database, RelaySecret, RestockSecret, SalesSecret"),
        [NETWORK],
    ),
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
                            target(assembly, action, resource)
                            for resource in listed(statement["Resource"])
                        )
        properties = assembly.resources("AWS::IAM::Role")[role]["Properties"]
        assert "Policies" not in properties
        managed = [policy["Fn::Join"][1][-1] for policy in properties.get("ManagedPolicyArns", [])]
        table[name] = (
            {action: ", ".join(sorted(resources)) for action, resources in allowed.items()},
            [policy.removeprefix(":iam::aws:policy/") for policy in managed],
        )
    return table


def target(assembly: Assembly, action: str, resource: Any) -> str:
    """Return the construct that a resource leads to; of a database, with the user's name."""
    user = resource["Fn::Join"][1][-1] if action == "rds-db:connect" else ""
    return construct(assembly.origin(resource)) + user


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_a_function_may_do_its_own_work_and_nothing_else(assembly: Assembly) -> None:
    assert permissions(assembly) == (WITH_SECRET if assembly.name == "local" else WITH_IAM)


def test_no_two_functions_share_a_role(assembly: Assembly) -> None:
    roles = [
        assembly.origin(function["Properties"]["Role"])
        for function in assembly.functions().values()
    ]
    assert len(set(roles)) == len(roles)


@pytest.mark.parametrize("kind", ["AWS::IAM::Policy", "AWS::IAM::Role"])
def test_nothing_is_allowed_on_everything(kind: str, assembly: Assembly) -> None:
    for resource in assembly.resources(kind).values():
        assert '"*"' not in json.dumps(resource["Properties"])


def endpoint_policies(assembly: Assembly) -> dict[str, set[str]]:
    """Action → the constructs that the interface endpoints let through."""
    allowed = {}
    for endpoint in assembly.resources("AWS::EC2::VPCEndpoint").values():
        (statement,) = endpoint["Properties"]["PolicyDocument"]["Statement"]
        resources = {
            construct(assembly.origin(resource)) for resource in listed(statement["Resource"])
        }
        allowed[statement["Action"]] = resources
    return allowed


def test_endpoints_let_through_one_topic_and_the_shops_secrets(assembly: Assembly) -> None:
    expected = {"sns:Publish": {"StockEmpty"}, "secretsmanager:GetSecretValue": {"Database"}}
    assert endpoint_policies(assembly) == (
        expected if ENVIRONMENTS[assembly.name].endpoint_zones else {}
    )


def test_endpoint_lets_through_each_functions_secret(tmp_path: Path) -> None:
    assembly = synth(ENVIRONMENTS["staging"].override({"database_login": "secret"}), tmp_path)
    assert endpoint_policies(assembly) == {
        "sns:Publish": {"StockEmpty"},
        "secretsmanager:GetSecretValue": {
            "Database",
            "SalesSecret",
            "RestockSecret",
            "RelaySecret",
        },
    }
