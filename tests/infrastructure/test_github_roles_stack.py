"""What GitHub's jobs may do: assume the CDK's own roles, and send the requests of `make smoke`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
import yaml
from moto import mock_aws

from app import add_github_roles
from operations import aws, smoke
from settings import ENVIRONMENTS, PROJECT, REGION
from tests.support.assembly import CONTEXT, Assembly, as_list, run_app
from tests.support.environments import ON_AN_ACCOUNT
from tests.support.fake_shop_api import fake_shop_api

GITHUB = "token.actions.githubusercontent.com"


Templates = dict[str, dict[str, Any]]


def synthesize(repository: str, environments: str, **context: str) -> Templates:
    """Synthesize what lets a repository deploy. Return the templates by stack name."""
    app = cdk.App(context={**CONTEXT, "env": environments, **context})
    add_github_roles(app, repository)
    return {stack.stack_name: stack.template for stack in app.synth().stacks}


def of_kind(templates: Templates, kind: str) -> dict[str, Any]:
    """Return the resources' properties by stack name and logical id."""
    return {
        f"{name}/{id}": resource["Properties"]
        for name, template in templates.items()
        for id, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def subjects(templates: Templates) -> dict[str, str]:
    """Return the subject that each role trusts, after checking that it trusts nothing else."""
    found = {}
    for path, role in of_kind(templates, "AWS::IAM::Role").items():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Action"] == "sts:AssumeRoleWithWebIdentity", path
        assert list(trust["Condition"]) == ["StringEquals"], path
        conditions = trust["Condition"]["StringEquals"]
        assert conditions.keys() == {f"{GITHUB}:aud", f"{GITHUB}:sub"}, path
        assert conditions[f"{GITHUB}:aud"] == "sts.amazonaws.com", path
        assert not {"ManagedPolicyArns", "Policies"} & role.keys(), path
        found[role["RoleName"]] = conditions[f"{GITHUB}:sub"]
    return found


def trusted_providers(templates: Templates) -> set[str]:
    """Return the ARNs of the identity providers that roles trust, with ${} for the account."""
    providers = set()
    for role in of_kind(templates, "AWS::IAM::Role").values():
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        arn = trust["Principal"]["Federated"]
        parts = [arn] if isinstance(arn, str) else arn["Fn::Join"][1]
        providers.add("".join(part if isinstance(part, str) else "${}" for part in parts))
    return providers


@pytest.fixture(scope="module")
def templates() -> Templates:
    return synthesize("owner/donut-shop", "dev,prod")


@pytest.mark.parametrize("repository", ["owner/donut-shop", "owner@123456/donut-shop@456789"])
def test_each_job_has_a_role_of_its_own(repository: str) -> None:
    """Subjects have numbers if the repository was created, renamed or moved after 2026-07-15."""
    assert subjects(synthesize(repository, "dev,prod")) == {
        "donut-shop-deploy-dev": f"repo:{repository}:environment:dev",
        "donut-shop-deploy-prod": f"repo:{repository}:environment:prod",
        "donut-shop-diff": f"repo:{repository}:pull_request",
    }


def test_github_is_the_identity_provider(templates: Templates) -> None:
    (provider,) = of_kind(templates, "AWS::IAM::OIDCProvider").values()
    assert provider["Url"] == f"https://{GITHUB}"
    assert provider["ClientIdList"] == ["sts.amazonaws.com"]
    assert trusted_providers(templates) == {f"arn:aws:iam::${{}}:oidc-provider/{GITHUB}"}


def test_identity_provider_is_kept(templates: Templates) -> None:
    """A stack that is given the provider's ARN later must not delete what other projects use."""
    (provider,) = [
        resource
        for resource in templates["donut-shop-github"]["Resources"].values()
        if resource["Type"] == "AWS::IAM::OIDCProvider"
    ]
    assert provider["DeletionPolicy"] == "Retain"
    assert provider["UpdateReplacePolicy"] == "Retain"


EXISTING = f"arn:aws:iam::123456789012:oidc-provider/{GITHUB}"


def test_existing_identity_provider_is_used() -> None:
    """An account has one provider per issuer: creating a second one fails with EntityAlreadyExists."""
    templates = synthesize("owner/donut-shop", "dev", github_oidc_provider_arn=EXISTING)
    assert not of_kind(templates, "AWS::IAM::OIDCProvider")
    assert trusted_providers(templates) == {EXISTING}


@pytest.mark.parametrize(
    "arn", [GITHUB, EXISTING.replace(GITHUB, "accounts.google.com"), f"{EXISTING}/", "arn:*"]
)
def test_provider_other_than_github_is_rejected(arn: str) -> None:
    with pytest.raises(ValueError, match="is not the ARN of GitHub's identity provider"):
        synthesize("owner/donut-shop", "dev", github_oidc_provider_arn=arn)


def test_stacks_of_an_environment_do_not_depend_on_the_others(templates: Templates) -> None:
    """Otherwise deploying the roles of one environment would change or delete another's."""
    dev, prod = synthesize("owner/donut-shop", "dev"), synthesize("owner/donut-shop", "prod")
    assert dev.keys() == {"donut-shop-github", "donut-shop-github-dev"}
    assert prod.keys() == {"donut-shop-github", "donut-shop-github-prod"}
    assert dev["donut-shop-github"] == prod["donut-shop-github"]
    assert templates == dev | prod


ACCOUNT = "{'Ref': 'AWS::AccountId'}"


def permissions(templates: Templates) -> dict[str, set[tuple[str, str]]]:
    """Return what each role may do, as pairs of an action and a resource."""
    roles = of_kind(templates, "AWS::IAM::Role")
    allowed: dict[str, set[tuple[str, str]]] = {role["RoleName"]: set() for role in roles.values()}
    for path, policy in of_kind(templates, "AWS::IAM::Policy").items():
        (role,) = [roles[f"{path.partition('/')[0]}/{role['Ref']}"] for role in policy["Roles"]]
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement.keys() == {"Action", "Effect", "Resource"}, path
            assert statement["Effect"] == "Allow", path
            allowed[role["RoleName"]] |= {
                (
                    action,
                    resource
                    if isinstance(resource, str)
                    else "".join(map(str, resource["Fn::Join"][1])),
                )
                for action in as_list(statement["Action"])
                for resource in as_list(statement["Resource"])
            }
    return allowed


def test_roles_may_assume_the_roles_of_the_cdk_only(templates: Templates) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/cdk-hnb659fds-%s-role-{ACCOUNT}-ap-northeast-2"
    deploy = {arn % kind for kind in ("deploy", "file-publishing", "lookup")}
    assert {
        role: {resource for action, resource in allowed if action == "sts:AssumeRole"}
        for role, allowed in permissions(templates).items()
    } == {
        "donut-shop-deploy-dev": deploy,
        "donut-shop-deploy-prod": deploy,
        "donut-shop-diff": set(),
    }


@dataclass
class Account:
    """An account with the shop. requests: those since its deployment, as action and resource."""

    requests: set[tuple[str, str]] = field(default_factory=set)

    def deploy(self, environment: str) -> None:
        for queue in ("stock_queue", "stock_dlq"):
            aws.client("sqs").create_queue(QueueName=f"{queue}_{environment}")
        run = {
            "MetricName": "oldest_unpublished_seconds",
            "Timestamp": datetime.now(UTC) + timedelta(minutes=1),  # after the test has begun
            "Value": 0,
        }
        aws.client("cloudwatch").put_metric_data(
            Namespace=f"DonutShop/{environment}", MetricData=[run]
        )
        self.requests.clear()

    def record(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        service = model.service_model.service_name
        queue = params.get("QueueName") or params.get("QueueUrl", "").rpartition("/")[2]
        resource = f"arn:aws:{service}:{REGION}:{ACCOUNT}:{queue}" if queue else "*"
        self.requests.add((f"{service}:{model.name}", resource))


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    account = Account()
    client = aws.client

    def recording(service: str) -> Any:
        recorded = client(service)
        recorded.meta.events.register("provide-client-params", account.record)
        return recorded

    with mock_aws():
        monkeypatch.setattr(aws, "client", recording)
        yield account


@pytest.mark.parametrize("environment", ON_AN_ACCOUNT)
def test_deploy_role_may_send_the_requests_of_the_smoke_test(
    environment: str, account: Account
) -> None:
    """`make smoke` runs with this role after the deployment. No more than that is allowed."""
    account.deploy(environment)
    settings = ENVIRONMENTS[environment]
    with fake_shop_api() as server:
        server.statuses = ["arrived"]
        assert smoke.smoke(server.api, settings, order=False, within=0)
        if settings.smoke_test_orders:
            server.statuses = ["published"]
            queues = r"\(0 message\(s\) in the queue, 0 in the dead-letter queue\)"
            with pytest.raises(smoke.Failed, match=queues):
                smoke.smoke(server.api, settings, order=False, within=0)
    allowed = permissions(synthesize("owner/donut-shop", environment))[
        f"donut-shop-deploy-{environment}"
    ]
    assert account.requests
    assert {
        (action, resource) for action, resource in allowed if action != "sts:AssumeRole"
    } == account.requests


def test_deploy_role_lasts_as_long_as_the_job(templates: Templates) -> None:
    """A multi-AZ database, a failed migration and slow network interfaces take over an hour."""
    job = yaml.safe_load((PROJECT / ".github/workflows/deploy-to.yml").read_text())["jobs"][
        "deploy"
    ]
    (credentials,) = [
        step["with"] for step in job["steps"] if "role-to-assume" in step.get("with", {})
    ]
    assert job["timeout-minutes"] == 120
    assert credentials["role-duration-seconds"] == 7200
    durations = {
        role["RoleName"]: role["MaxSessionDuration"]
        for role in of_kind(templates, "AWS::IAM::Role").values()
    }
    assert durations == {
        "donut-shop-deploy-dev": 7200,
        "donut-shop-deploy-prod": 7200,
        "donut-shop-diff": 3600,
    }


@pytest.mark.parametrize(
    "repository",
    [
        "donut-shop",
        "https://github.com/owner/donut-shop",
        "owner/*",
        "owner/a:b",
        "owner@1/donut-shop",
        "owner/donut-shop@1",
        "owner@*/donut-shop@*",
        "owner@x/donut-shop@1",
        "repo:owner@1/donut-shop@2",
    ],
)
def test_wrong_repository_is_named(repository: str) -> None:
    with pytest.raises(ValueError, match="is neither OWNER/NAME nor OWNER@ID/NAME@ID"):
        synthesize(repository, "dev")


def test_deploy_role_may_assume_every_role_of_the_assembly(assembly: Assembly) -> None:
    files = [assembly.directory / "manifest.json", *assembly.directory.glob("*.assets.json")]
    written = "".join(file.read_text() for file in files)
    assert set(re.findall(r"cdk-hnb659fds-([a-z-]+)-role-", written)) == {
        *("deploy", "file-publishing", "lookup"),
        "cfn-exec",  # CloudFormation's own
    }


def test_context_with_a_repository_has_only_github_stacks(tmp_path: Path) -> None:
    """The CDK's own validation finds nothing in them, as `run_app` runs it."""
    done = run_app(tmp_path, env=",".join(ENVIRONMENTS), github_repository="owner/donut-shop")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("*.template.json")} == {
        "donut-shop-github.template.json",
        *(f"donut-shop-github-{name}.template.json" for name in ENVIRONMENTS),
    }
    wrong = run_app(tmp_path, env="dev", github_repository="donut-shop")
    assert wrong.stderr.startswith(
        "error: github_repository 'donut-shop' is neither OWNER/NAME nor"
    )
