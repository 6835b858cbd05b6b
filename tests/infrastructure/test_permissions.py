"""What each function may do, and on which resource. The tables are compared exactly."""

import json
from pathlib import Path
from typing import Any

import pytest

from settings import DATABASE_USERS, ENVIRONMENTS, pascal_case
from tests.support.assembly import Assembly, as_list, construct, synth
from tests.support.environments import WITH_ENDPOINTS, login

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


def write_logs(name: str) -> dict[str, str]:
    return {f"logs:{action}": f"{name}Logs" for action in ("CreateLogStream", "PutLogEvents")}


def read(secret: str) -> dict[str, str]:
    return {f"secretsmanager:{action}": secret for action in ("DescribeSecret", "GetSecretValue")}


def log_in(user: str) -> dict[str, str]:
    return {"rds-db:connect": f"Database/{user}"}


PUBLISH = {"sns:Publish": "StockEmpty"}
Permissions = tuple[dict[str, str], list[str]]
"""Actions, each with the constructs that it is allowed on, and managed policies."""
WITH_IAM: dict[str, Permissions] = {
    "sales": (write_logs("Sales") | log_in("shop_sales") | PUBLISH, [NETWORK]),
    "restock": (write_logs("Restock") | log_in("shop_restock"), [NETWORK]),
    "operate": (write_logs("Operate") | log_in("shop_operate"), [NETWORK]),
    "relay": (write_logs("Relay") | log_in("shop_relay") | PUBLISH, [NETWORK]),
    "migrate": (write_logs("Migrate") | read("Database"), [NETWORK]),
    "consumer": (write_logs("Consumer") | CONSUME, []),
}
WITH_SECRET: dict[str, Permissions] = {
    "sales": (write_logs("Sales") | read("SalesSecret") | PUBLISH, [NETWORK]),
    "restock": (write_logs("Restock") | read("RestockSecret"), [NETWORK]),
    "operate": (write_logs("Operate") | read("OperateSecret"), [NETWORK]),
    "relay": (write_logs("Relay") | read("RelaySecret") | PUBLISH, [NETWORK]),
    "migrate": (
        write_logs("Migrate")
        | read("Database, OperateSecret, RelaySecret, RestockSecret, SalesSecret"),
        [NETWORK],
    ),
    "consumer": (write_logs("Consumer") | CONSUME, []),
}


def permissions(assembly: Assembly, function: str) -> Permissions:
    """Return a function's actions, each with its resources, and its managed policies."""
    role = assembly.origin(assembly.functions()[function]["Role"])
    allowed: dict[str, set[str]] = {}
    for name, policy in assembly.each("AWS::IAM::Policy"):
        if role in map(assembly.origin, policy["Roles"]):
            for statement in policy["PolicyDocument"]["Statement"]:
                assert statement["Effect"] == "Allow", name
                for action in as_list(statement["Action"]):
                    allowed.setdefault(action, set()).update(
                        target(assembly, action, resource)
                        for resource in as_list(statement["Resource"])
                    )
    properties = assembly.resources("AWS::IAM::Role")[role]["Properties"]
    assert "Policies" not in properties, function
    managed = [policy["Fn::Join"][1][-1] for policy in properties.get("ManagedPolicyArns", [])]
    return (
        {action: ", ".join(sorted(resources)) for action, resources in allowed.items()},
        [policy.removeprefix(":iam::aws:policy/") for policy in managed],
    )


def target(assembly: Assembly, action: str, resource: Any) -> str:
    """Return the construct that a resource leads to; of a database, with the user's name."""
    user = resource["Fn::Join"][1][-1] if action == "rds-db:connect" else ""
    return construct(assembly.origin(resource)) + user


def test_each_function_has_its_own_permissions_only(assembly: Assembly) -> None:
    expected = WITH_SECRET if login(assembly.settings) == "secret" else WITH_IAM
    for function in assembly.functions():
        assert function in expected, (
            f"WITH_IAM and WITH_SECRET in this test do not say what {function} may do"
        )
        assert permissions(assembly, function) == expected[function], function
    assert expected.keys() == assembly.functions().keys()


def test_no_two_functions_share_a_role(assembly: Assembly) -> None:
    roles = [assembly.origin(function["Role"]) for function in assembly.functions().values()]
    assert len(set(roles)) == len(roles), roles


@pytest.mark.parametrize("kind", ["AWS::IAM::Policy", "AWS::IAM::Role"])
def test_no_policy_allows_everything(kind: str, assembly: Assembly) -> None:
    for name, properties in assembly.each(kind):
        assert '"*"' not in json.dumps(properties), name


def endpoint_policies(assembly: Assembly) -> dict[str, set[str]]:
    """Return the actions that interface endpoints let through, each with its constructs."""
    allowed = {}
    for _, endpoint in assembly.each("AWS::EC2::VPCEndpoint"):
        (statement,) = endpoint["PolicyDocument"]["Statement"]
        allowed[statement["Action"]] = {
            construct(assembly.origin(resource)) for resource in as_list(statement["Resource"])
        }
    return allowed


def let_through(*secrets: str) -> dict[str, set[str]]:
    """Return what the endpoints of an environment with these secrets let through."""
    return {"sns:Publish": {"StockEmpty"}, "secretsmanager:GetSecretValue": {*secrets}}


SECRETS = ("Database", *(f"{pascal_case(function)}Secret" for function in DATABASE_USERS))


def test_endpoints_let_through_one_topic_and_the_shops_secrets(assembly: Assembly) -> None:
    expected = let_through(*SECRETS if login(assembly.settings) == "secret" else ["Database"])
    assert endpoint_policies(assembly) == (expected if assembly.name in WITH_ENDPOINTS else {})


def test_endpoints_let_through_each_functions_secret(tmp_path: Path) -> None:
    assembly = synth(ENVIRONMENTS["staging"].override({"database_login": "secret"}), tmp_path)
    assert endpoint_policies(assembly) == let_through(*SECRETS)
