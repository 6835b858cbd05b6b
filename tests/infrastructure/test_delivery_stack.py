"""What GitHub may do: assume CDK's own roles, each job its own share of them."""

import json
import re
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from app import add_delivery
from tests.infrastructure.conftest import CONTEXT, Assembly
from tests.infrastructure.test_app import run

GITHUB = "token.actions.githubusercontent.com"


def delivery(repository: str, environments: str) -> dict[str, Any]:
    app = cdk.App(context={**CONTEXT, "env": environments})
    add_delivery(app, repository)
    (stack,) = app.synth().stacks
    template: dict[str, Any] = stack.template
    return template


def of_kind(template: dict[str, Any], kind: str) -> dict[str, Any]:
    return {id: resource["Properties"] for id, resource in template["Resources"].items() if resource["Type"] == kind}


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return delivery("owner/donut-shop", "dev,prod")


def test_each_job_has_a_role_that_only_it_may_assume(template: dict[str, Any]) -> None:
    subjects = {}
    ((provider, properties),) = of_kind(template, "AWS::IAM::OIDCProvider").items()
    assert (properties["Url"], properties["ClientIdList"]) == (f"https://{GITHUB}", ["sts.amazonaws.com"])
    for role in of_kind(template, "AWS::IAM::Role").values():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert provider in json.dumps(trust["Principal"])
        assert list(trust["Condition"]) == ["StringEquals"]
        conditions = trust["Condition"]["StringEquals"]
        assert conditions.pop(f"{GITHUB}:aud") == "sts.amazonaws.com"
        subjects[role["RoleName"]] = conditions.pop(f"{GITHUB}:sub")
        assert not conditions
        assert not {"ManagedPolicyArns", "Policies"} & role.keys()
    assert subjects == {
        "donut-shop-deploy-dev": "repo:owner/donut-shop:environment:dev",
        "donut-shop-deploy-prod": "repo:owner/donut-shop:environment:prod",
        "donut-shop-diff": "repo:owner/donut-shop:pull_request",
    }


def test_a_role_may_assume_the_cdks_own_and_nothing_else(template: dict[str, Any]) -> None:
    roles = of_kind(template, "AWS::IAM::Role")
    assumes = {}
    for policy in of_kind(template, "AWS::IAM::Policy").values():
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        ((role,),) = ([reference["Ref"] for reference in policy["Roles"]],)
        assumes[roles[role]["RoleName"]] = ["".join(map(str, arn["Fn::Join"][1])) for arn in resources]
    account = "{'Ref': 'AWS::AccountId'}"
    arn = f"arn:aws:iam::{account}:role/cdk-hnb659fds-%s-role-{account}-ap-northeast-2"
    deploy = [arn % kind for kind in ("deploy", "file-publishing", "lookup")]
    assert assumes == {
        "donut-shop-deploy-dev": deploy,
        "donut-shop-deploy-prod": deploy,
        "donut-shop-diff": [arn % "lookup"],
    }


@pytest.mark.parametrize("repository", ["donut-shop", "https://github.com/owner/donut-shop", "owner/*", "owner/a:b"])
def test_a_wrong_repository_is_named(repository: str) -> None:
    with pytest.raises(ValueError, match="is not OWNER/NAME"):
        delivery(repository, "dev")


def test_those_are_the_roles_that_a_deployment_assumes(assembly: Assembly) -> None:
    files = [assembly.directory / "manifest.json", *assembly.directory.glob("*.assets.json")]
    written = "".join(file.read_text() for file in files)
    assert set(re.findall(r"cdk-hnb659fds-([a-z-]+)-role-", written)) == {
        *("deploy", "file-publishing", "lookup"),
        "cfn-exec",  # CloudFormation's own
    }


def test_the_context_asks_for_it_and_for_nothing_else(tmp_path: Path) -> None:
    assert run(tmp_path, env="dev", github_repository="owner/donut-shop").returncode == 0
    assert [path.name for path in tmp_path.glob("*.template.json")] == ["donut-shop-delivery.template.json"]
    wrong = run(tmp_path, env="dev", github_repository="donut-shop")
    assert wrong.stderr.startswith("error: github_repository 'donut-shop' is not OWNER/NAME")
