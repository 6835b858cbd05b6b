"""What `make preflight` finds in an account. A failing check does not hide the others."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    UnknownServiceError,
)
from botocore.stub import Stubber

from operations.guard import Stop, require_alarm_address
from operations.preflight import (
    BOOTSTRAP_PARAMETER,
    BOOTSTRAP_VERSION,
    CHECKS,
    ENGINE,
    ENGINE_VERSION,
    GITHUB,
    RDS_ROLE,
    STORAGE_TYPE,
    VPC_QUOTA,
    preflight,
)
from settings import (
    DATABASE_PARAMETERS,
    ENVIRONMENTS,
    PROJECT,
    REGION,
    ExistingDatabase,
    ManagedDatabase,
    Settings,
)
from tests.support.assembly import Assembly, synth

DEV, PROD = ENVIRONMENTS["dev"], replace(ENVIRONMENTS["prod"], alarm_email="ops@shop.test")
RESERVED = sum(PROD.reserved_concurrency.values())
FREE_DATABASE = ManagedDatabase(instance_class="t4g.micro", backup_days=1)
EXISTING = ExistingDatabase(
    host="database.test",
    port=3306,
    secret_arn="s",
    vpc_id="v",
    subnet_ids=("a", "b"),
    security_group_id="g",
)


class Account:
    """A prepared account on the paid plan: moto's, and stubs for what moto does not implement.

    held: reservations of deployed functions. options: what RDS offers; None: no such engine
    version. github_stack: the status of each resource of the GitHub stack; None: no such stack.
    parameters: name → whether RDS lets it be set. cost_tags: those that are active; None: another
    account pays. broken: service → function that returns its client instead.
    """

    def __init__(self) -> None:
        self.quota = 1000
        self.reserved_by_others = 0
        self.held: dict[str, int] = {}
        self.plan: str | None = "PAID"
        self.options: list[dict[str, Any]] | None = [offer(*DEV.availability_zones)]
        self.vpc_quota = 5
        self.github_stack: dict[str, str] | None = None
        self.parameters = dict.fromkeys(DATABASE_PARAMETERS, True)
        self.cost_tags: list[str] | None = ["app", "environment"]
        self.asked: list[tuple[str, str]] = []
        self.calls: set[str] = set()
        self.broken: dict[str, Callable[[], Any]] = {}
        self.bootstrap(BOOTSTRAP_VERSION)
        self.iam = boto3.client("iam")
        self.iam.create_role(RoleName=RDS_ROLE, AssumeRolePolicyDocument="{}")

    def bootstrap(self, version: int) -> None:
        boto3.client("ssm").put_parameter(
            Name=BOOTSTRAP_PARAMETER, Value=str(version), Type="String", Overwrite=True
        )

    def trust_github(self) -> str:
        """Create an identity provider for GitHub, and return its ARN."""
        created = self.iam.create_open_id_connect_provider(
            Url=f"https://{GITHUB}", ThumbprintList=["0" * 40]
        )
        return str(created["OpenIDConnectProviderArn"])

    def client(self, service: str, *, region: str = REGION) -> Any:
        self.asked.append((service, region))
        if service in self.broken:
            return self.broken[service]()
        client = boto3.client(service, region_name=region)
        prefix = service.replace("-", "")
        client.meta.events.register(
            "provide-client-params.*", lambda model, **_: self.calls.add(f"{prefix}:{model.name}")
        )
        stubber = Stubber(client)
        if service == "lambda":
            self._lambda(stubber)
        elif service == "freetier":
            self._freetier(stubber)
        elif service == "rds":
            self._rds(stubber)
        elif service == "cloudformation":
            self._cloudformation(stubber)
        elif service == "ce":
            self._cost_explorer(stubber)
        elif service == "service-quotas":
            stubber.add_response(
                "get_service_quota",
                {"Quota": {"Value": float(self.vpc_quota)}},
                {"ServiceCode": "vpc", "QuotaCode": VPC_QUOTA},
            )
        else:
            return client
        stubber.activate()
        return client

    def _lambda(self, stubber: Stubber) -> None:
        unreserved = self.quota - self.reserved_by_others - sum(self.held.values())
        limit = {"ConcurrentExecutions": self.quota, "UnreservedConcurrentExecutions": unreserved}
        stubber.add_response("get_account_settings", {"AccountLimit": limit})
        for name in PROD.reserved_concurrency:
            if name in self.held:
                held = {"ReservedConcurrentExecutions": self.held[name]}
                stubber.add_response(
                    "get_function_concurrency", held, {"FunctionName": f"donut-shop-{name}-prod"}
                )
            else:
                stubber.add_client_error("get_function_concurrency", "ResourceNotFoundException")

    def _freetier(self, stubber: Stubber) -> None:
        if self.plan is None:
            stubber.add_client_error("get_account_plan_state", "ResourceNotFoundException")
        else:
            plan = {
                "accountId": "1" * 12,
                "accountPlanType": self.plan,
                "accountPlanStatus": "ACTIVE",
            }
            stubber.add_response("get_account_plan_state", plan)

    def _rds(self, stubber: Stubber) -> None:
        operation = "describe_orderable_db_instance_options"
        if self.options is None:
            sentence = f"Cannot find version {ENGINE_VERSION} for mariadb"
            stubber.add_client_error(operation, "InvalidParameterCombination", sentence)
        else:
            stubber.add_response(operation, {"OrderableDBInstanceOptions": self.options})
        stubber.add_response(
            "describe_engine_default_parameters",
            engine_defaults(self.parameters),
            {"DBParameterGroupFamily": "mariadb10.11"},
        )

    def _cost_explorer(self, stubber: Stubber) -> None:
        operation = "list_cost_allocation_tags"
        if self.cost_tags is None:
            sentence = "Linked account doesn't have access to cost allocation tags."
            stubber.add_client_error(operation, "AccessDeniedException", sentence)
            return
        tags = [
            {"TagKey": key, "Type": "UserDefined", "Status": "Active"} for key in self.cost_tags
        ]
        asked = {"TagKeys": ["app", "environment"], "Type": "UserDefined", "Status": "Active"}
        stubber.add_response(operation, {"CostAllocationTags": tags}, asked)

    def _cloudformation(self, stubber: Stubber) -> None:
        operation, stack = "describe_stack_resources", {"StackName": "donut-shop-github"}
        if self.github_stack is None:
            sentence = "Stack with id donut-shop-github does not exist"
            stubber.add_client_error(operation, "ValidationError", sentence)
            return
        resources = [
            {
                "LogicalResourceId": "GitHub",
                "PhysicalResourceId": id,
                "ResourceType": "AWS::IAM::OIDCProvider",
                "Timestamp": datetime.now(UTC),
                "ResourceStatus": status,
            }
            for id, status in self.github_stack.items()
        ]
        stubber.add_response(operation, {"StackResources": resources}, stack)


def engine_defaults(parameters: Mapping[str, bool]) -> dict[str, Any]:
    """Return RDS's response. parameters: name → whether it may be set."""
    listed = [
        {"ParameterName": name, "IsModifiable": modifiable}
        for name, modifiable in parameters.items()
    ]
    return {"EngineDefaults": {"Parameters": listed}}


def offer(*zones: str, **others: Any) -> dict[str, Any]:
    """Return an option of RDS that suits every environment in these zones."""
    return {
        "StorageType": "gp3",
        "AvailabilityZones": [{"Name": zone} for zone in zones],
        "MultiAZCapable": True,
        "SupportsIAMDatabaseAuthentication": True,
    } | others


@pytest.fixture
def account(aws: None) -> Account:
    return Account()


def problems(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the printed lines, without those that begin with `ok`."""
    return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("ok ")]


def only_missing(account: Account, settings: Settings, capsys: pytest.CaptureFixture[str]) -> str:
    """Run preflight, and return its only problem, which is something missing."""
    assert not preflight(account.client, settings)
    (line,) = problems(capsys)
    check, _, problem = line.removeprefix("MISSING  ").partition(": ")
    assert line.startswith("MISSING  ")
    assert check in CHECKS
    return problem


@pytest.mark.parametrize("settings", [DEV, PROD], ids=["dev", "prod"])
def test_prepared_account_lacks_nothing(
    settings: Settings, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    assert preflight(account.client, settings)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"ok       {check}" for check in CHECKS]


def test_documentation_lists_the_permissions_of_preflight(account: Account) -> None:
    account.trust_github()
    preflight(account.client, PROD)
    document = (PROJECT / "docs/deployment.md").read_text()
    assert set(re.findall(r"`([a-z0-9]+:[A-Z]\w+)`", document)) == account.calls


# --- failures of AWS ---


def test_no_other_check_runs_without_credentials(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.broken["sts"] = lambda: Broken(NoCredentialsError())
    assert not preflight(account.client, DEV)
    (line,) = problems(capsys)
    assert line.startswith("MISSING  credentials: no AWS credentials: ")
    assert account.asked == [("sts", REGION)]


def test_expired_credentials_are_reported_in_one_sentence(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.broken["sts"] = lambda: Broken(
        client_error("ExpiredToken", "The security\ntoken is expired")
    )
    line = only_missing(account, DEV, capsys)
    assert line.startswith("no AWS credentials that work: ")
    assert "The security token is expired" in line


class Broken:
    """A client whose every call raises the outcome, or returns it if it is not an exception."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(*arguments: Any, **parameters: Any) -> Any:
            if isinstance(self._outcome, Exception):
                raise self._outcome
            return self._outcome

        return call


def client_error(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "AnyOperation")


def not_created() -> Any:
    raise UnknownServiceError(service_name="freetier", known_service_names="others")


CHECKS_OF = {
    "freetier": ["account plan"],
    "ec2": ["region", "VPCs"],
    "ssm": ["bootstrap"],
    "lambda": ["concurrency"],
    "service-quotas": ["VPCs"],
    "rds": ["database"],
    "iam": ["service-linked role", "GitHub"],
    "cloudformation": ["GitHub"],
    "ce": ["cost tags"],
}
FAILURES: dict[str, tuple[Callable[[], Any], str]] = {
    "access denied": (
        lambda: Broken(client_error("AccessDenied", "not authorized\nto do this")),
        "not authorized to do",
    ),
    "throttled": (
        lambda: Broken(client_error("ThrottlingException", "Rate exceeded")),
        "Rate exceeded",
    ),
    "not in the region": (
        lambda: Broken(EndpointConnectionError(endpoint_url="https://x.test")),
        "https://x.test",
    ),
    "timeout": (
        lambda: Broken(ConnectTimeoutError(endpoint_url="https://x.test")),
        "https://x.test",
    ),
    "not in botocore": (not_created, "freetier"),
    "response without the expected fields": (lambda: Broken({}), ""),
    "response that is None": (lambda: Broken(None), ""),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("service", CHECKS_OF)
def test_failing_check_is_unknown_and_the_others_continue(
    service: str, failure: str, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    arn = account.trust_github()
    account.github_stack = {arn: "CREATE_COMPLETE"}
    account.broken[service], words = FAILURES[failure]
    assert not preflight(account.client, PROD)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CHECKS)
    unknown = [line for line in lines if not line.startswith("ok ")]
    assert [line.partition(": ")[0] for line in unknown] == [
        f"UNKNOWN  {check}" for check in CHECKS_OF[service]
    ]
    for line in unknown:
        assert ": could not be checked: " in line, line
        assert words in line, line
        assert line.partition("could not be checked: ")[2].strip(), f"{line!r} does not say why"


# --- the account's plan ---


def test_account_plan_is_read_in_its_only_region(account: Account) -> None:
    preflight(account.client, DEV)
    assert ("freetier", "us-east-1") in account.asked


@pytest.mark.parametrize(
    ("database", "excess"),
    [
        (replace(FREE_DATABASE, backup_days=7), ["7 days of backups"]),
        (replace(FREE_DATABASE, instance_class="t4g.small"), ["db.t4g.small"]),
        (ManagedDatabase(instance_class="t4g.small"), ["7 days of backups", "db.t4g.small"]),
    ],
    ids=["backups", "class", "both"],
)
def test_free_plan_names_the_settings_that_exceed_it(
    database: ManagedDatabase,
    excess: list[str],
    account: Account,
    capsys: pytest.CaptureFixture[str],
) -> None:
    account.plan = "FREE"
    line = only_missing(account, replace(DEV, database=database), capsys)
    for setting in excess:
        assert setting in line, setting
    assert "paid plan" in line


@pytest.mark.parametrize("database", [FREE_DATABASE, EXISTING], ids=["smallest", "existing"])
def test_free_plan_suffices_for_settings_within_it(
    database: ManagedDatabase | ExistingDatabase, account: Account
) -> None:
    account.plan = "FREE"
    assert preflight(account.client, replace(DEV, database=database))


def test_account_older_than_the_plans_passes(account: Account) -> None:
    account.plan = None
    assert preflight(account.client, PROD)


# --- bootstrap ---


def test_missing_bootstrap_stack_names_the_command(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    boto3.client("ssm").delete_parameter(Name=BOOTSTRAP_PARAMETER)
    assert (
        only_missing(account, DEV, capsys)
        == "the CDK's bootstrap stack does not exist: run ENV=dev make bootstrap"
    )


def test_old_bootstrap_stack_names_the_versions(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.bootstrap(BOOTSTRAP_VERSION - 1)
    line = only_missing(account, DEV, capsys)
    assert line.startswith(
        f"the bootstrap stack has version {BOOTSTRAP_VERSION - 1},"
        f" and {BOOTSTRAP_VERSION} is needed"
    )


# --- quotas ---


@pytest.mark.parametrize(
    ("quota", "others", "held", "enough"),
    [
        (10, 0, {}, False),
        (RESERVED + 99, 0, {}, False),
        (RESERVED + 100, 0, {}, True),
        (RESERVED + 100, 1, {}, False),
        (RESERVED + 100, 0, PROD.reserved_concurrency, True),
        (RESERVED + 100, 1, {"sales": PROD.reserved_concurrency["sales"]}, False),
        (RESERVED + 101, 1, {"sales": PROD.reserved_concurrency["sales"]}, True),
        (1000, 1000 - RESERVED - 99, {}, False),
        (1000, 1000 - RESERVED - 100, {}, True),
    ],
)
def test_reservations_leave_a_hundred_unreserved(
    quota: int,
    others: int,
    held: dict[str, int],
    enough: bool,
    account: Account,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What others have reserved is not available; what this environment has reserved already is."""
    account.quota, account.reserved_by_others, account.held = quota, others, dict(held)
    assert preflight(account.client, PROD) is enough
    spare = max(0, quota - others - 100)
    assert problems(capsys) == (
        []
        if enough
        else [
            f"MISSING  concurrency: the settings reserve {RESERVED}, and the account has {spare}"
            f" to reserve of its {quota}: ask Service Quotas for more"
            " (Lambda, Concurrent executions), or reserve less"
        ]
    )


def test_new_account_suffices_without_reservations(account: Account) -> None:
    account.quota = 10
    assert preflight(account.client, DEV)


def test_vpc_quota_leaves_room_for_one_more(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    ec2 = boto3.client("ec2")
    while len(ec2.describe_vpcs()["Vpcs"]) < account.vpc_quota:
        assert preflight(account.client, DEV), f"{len(ec2.describe_vpcs()['Vpcs'])} VPCs"
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    capsys.readouterr()
    assert "5 VPCs" in only_missing(account, DEV, capsys)
    assert preflight(account.client, replace(DEV, database=EXISTING)), (
        "an existing database needs no VPC"
    )
    ec2.create_tags(
        Resources=[vpc],
        Tags=[{"Key": "aws:cloudformation:stack-name", "Value": "donut-shop-data-dev"}],
    )
    assert preflight(account.client, DEV), "the environment has one already"


# --- the database ---


def test_unavailable_zone_is_named(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    settings = replace(DEV, availability_zones=(f"{REGION}a", f"{REGION}x"), database=EXISTING)
    line = only_missing(account, settings, capsys)
    assert line == f"{REGION}x can't be used: choose other availability_zones in the settings"


@pytest.mark.parametrize("settings", [DEV, PROD], ids=["dev", "prod"])
def test_zone_without_the_instance_class_is_named(
    settings: Settings, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = settings.availability_zones
    account.options = [offer(first), offer(second, StorageType="gp2")]
    line = only_missing(account, settings, capsys)
    assert second in line
    assert first not in line
    assert ENGINE_VERSION in line


@pytest.mark.parametrize("lacking", ["MultiAZCapable", "SupportsIAMDatabaseAuthentication"])
def test_option_without_a_needed_feature_does_not_count(
    lacking: str, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.options = [offer(*PROD.availability_zones, **{lacking: False})]
    assert "db.t4g.small" in only_missing(account, PROD, capsys)


def test_instance_class_that_is_not_offered_is_named(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.options = []
    assert "db.t4g.micro" in only_missing(account, DEV, capsys)


def test_retired_engine_version_is_named(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.options = None
    assert f"Cannot find version {ENGINE_VERSION}" in only_missing(account, DEV, capsys)


def test_request_to_rds_names_engine_version_and_class(account: Account) -> None:
    asked: list[dict[str, Any]] = []

    class Rds:
        def get_paginator(self, operation: str) -> Any:
            self.operation = operation
            return self

        def paginate(self, **parameters: Any) -> list[dict[str, Any]]:
            if self.operation == "describe_engine_default_parameters":
                return [engine_defaults({name: True}) for name in DATABASE_PARAMETERS]
            asked.append(parameters)
            return [
                {"OrderableDBInstanceOptions": [offer(zone)]} for zone in DEV.availability_zones
            ]

    account.broken["rds"] = Rds
    assert preflight(account.client, DEV), "the zones and the parameters are on several pages"
    assert asked == [
        {
            "Engine": ENGINE,
            "EngineVersion": ENGINE_VERSION,
            "DBInstanceClass": "db.t4g.micro",
            "Vpc": True,
        }
    ]


@pytest.mark.parametrize("lacking", ["unknown", "fixed"])
def test_parameter_that_cannot_be_set_is_named(
    lacking: str, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    if lacking == "fixed":
        account.parameters["log_slow_disabled_statements"] = False
    else:
        del account.parameters["log_slow_disabled_statements"]
    line = only_missing(account, DEV, capsys)
    assert line.startswith("RDS does not let log_slow_disabled_statements be set")


def test_missing_service_linked_role_names_the_command(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.iam.delete_role(RoleName=RDS_ROLE)
    assert "create-service-linked-role" in only_missing(account, DEV, capsys)
    assert preflight(account.client, replace(DEV, database=EXISTING))


# --- GitHub, alarms and cost tags ---


def test_other_identity_providers_are_ignored(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.iam.create_open_id_connect_provider(
        Url="https://gitlab.test", ThumbprintList=["0" * 40]
    )
    assert preflight(account.client, DEV)
    assert problems(capsys) == []


def test_existing_provider_for_github_is_noted(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only `make deploy-github-roles` needs to know it."""
    arn = account.trust_github()
    assert preflight(account.client, DEV)
    (line,) = problems(capsys)
    assert line.startswith("NOTE     GitHub: ")
    assert f"GITHUB_OIDC_PROVIDER_ARN={arn} make deploy-github-roles" in line
    account.github_stack = {"another resource": "CREATE_COMPLETE", arn: "DELETE_SKIPPED"}
    assert preflight(account.client, DEV)
    assert problems(capsys) == [line], "the stack was given the ARN, and has given up its own"
    account.github_stack = {arn: "UPDATE_COMPLETE"}
    assert preflight(account.client, DEV)
    assert problems(capsys) == [], "the stack has created it"


def test_prod_needs_an_alarm_address(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    assert "ALARM_EMAIL=" in only_missing(account, replace(PROD, alarm_email=None), capsys)
    assert preflight(account.client, replace(PROD, alarm_email=None, requires_alarm_email=False))


@pytest.mark.parametrize("active", [[], ["app"], None], ids=["none", "one", "another account"])
def test_cost_tags_that_are_not_active_are_noted(
    active: list[str] | None, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    """They can't be active before the first deployment, so nothing is missing."""
    account.cost_tags = active
    assert preflight(account.client, DEV)
    (line,) = problems(capsys)
    assert line.startswith("NOTE     cost tags: ")
    assert "activate the tags app and environment in the Billing console" in line


def test_cost_tags_are_read_in_their_only_region(account: Account) -> None:
    preflight(account.client, DEV)
    assert ("ce", "us-east-1") in account.asked


# --- the synthesized templates ---


def test_bootstrap_version_is_what_the_assembly_needs(assembly: Assembly) -> None:
    manifest = (assembly.directory / "manifest.json").read_text()
    versions = map(int, re.findall(r'"requiresBootstrapStackVersion": (\d+)', manifest))
    assert max(versions) == BOOTSTRAP_VERSION
    parameters = set(re.findall(r'"bootstrapStackVersionSsmParameter": ("[^"]+")', manifest))
    assert {json.loads(parameter) for parameter in parameters} == {BOOTSTRAP_PARAMETER}


def test_engine_and_storage_are_those_of_the_template(managed: Assembly) -> None:
    _, database = managed.one("AWS::RDS::DBInstance")
    assert database["Engine"] == ENGINE
    assert database["EngineVersion"] == ENGINE_VERSION
    assert database["StorageType"] == STORAGE_TYPE


def test_alarm_address_must_be_in_the_assembly(
    assembly_of: Callable[[str], Assembly], tmp_path: Path
) -> None:
    """A workflow deploys what another job has synthesized, so that job must get the address."""
    without = replace(PROD, alarm_email=None)
    with pytest.raises(Stop, match="make synth ENV=prod ALARM_EMAIL="):
        require_alarm_address(PROD, assembly=assembly_of("prod").directory)
    require_alarm_address(without, assembly=synth(PROD, tmp_path).directory)
