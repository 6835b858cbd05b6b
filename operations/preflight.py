"""Check what an account still lacks before an environment can be deployed to it."""

import argparse
import sys
from typing import Any, Protocol

from botocore.exceptions import ClientError

from operations import aws
from operations.guard import Stop, require_alarm_address, require_credentials
from settings import (
    APP_TAG,
    DATABASE_PARAMETERS,
    ENVIRONMENT_TAG,
    ENVIRONMENTS,
    GITHUB_STACK_NAME,
    REGION,
    ManagedDatabase,
    Settings,
)

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = 8
"""The oldest version that supports everything that the CDK CLI does with our stacks."""
UNRESERVED = 100
"""The part of an account's Lambda concurrency that AWS does not allow to be reserved."""
FREE_TIER_REGION = "us-east-1"
"""The only region with an endpoint of the Free Tier API."""
FREE_PLAN_BACKUP_DAYS = 1
FREE_PLAN_SIZE = "micro"
ENGINE, ENGINE_VERSION, STORAGE_TYPE = "mariadb", "10.11.19", "gp3"
"""As in the data stack; a test compares them with its template."""
ENGINE_SERIES = ENGINE_VERSION.rpartition(".")[0]
PARAMETER_FAMILY = f"{ENGINE}{ENGINE_SERIES}"
BILLING_REGION = "us-east-1"
"""The only region with an endpoint of the Cost Explorer API."""
VPC_QUOTA = "L-F678F1CE"
"""The quota `VPCs per Region`."""
RDS_ROLE = "AWSServiceRoleForRDS"
GITHUB = "token.actions.githubusercontent.com"


class Client(Protocol):
    def __call__(self, service: str, *, region: str = REGION) -> Any: ...


class Missing(Exception):
    """Something is missing. The text says what, and what to do."""


class Note(Exception):
    """Nothing is missing, but the text is worth knowing."""


def credentials(client: Client, settings: Settings) -> str:
    """Check that there are valid credentials."""
    try:
        account, arn = require_credentials(client)
    except Stop as stop:
        raise Missing(str(stop)) from stop
    return f"account {account}, as {arn}"


def account_plan(client: Client, settings: Settings) -> str:
    """Check the settings against the Free plan, which a new account has.

    RDS rejects what the plan does not allow, with FreeTierRestrictionError.
    """
    try:
        plan = client("freetier", region=FREE_TIER_REGION).get_account_plan_state()[
            "accountPlanType"
        ]
    except ClientError as error:
        if _code(error) != "ResourceNotFoundException":
            raise
        return "none; the account is older than the plans"
    database = settings.database
    excess = []
    if plan == "FREE" and isinstance(database, ManagedDatabase):
        if database.backup_days > FREE_PLAN_BACKUP_DAYS:
            excess.append(
                f"{database.backup_days} days of backups (at most {FREE_PLAN_BACKUP_DAYS})"
            )
        if not database.instance_class.endswith(f".{FREE_PLAN_SIZE}"):
            excess.append(f"db.{database.instance_class} (only {FREE_PLAN_SIZE} classes)")
    if excess:
        raise Missing(
            f"the account is on the Free plan, which does not allow {' and '.join(excess)}: "
            "change to the paid plan in the Billing console, or change the settings"
        )
    return str(plan).lower()


def region(client: Client, settings: Settings) -> str:
    """Check that the availability zones of the settings are available."""
    zones = client("ec2").describe_availability_zones()["AvailabilityZones"]
    open_zones = {zone["ZoneName"] for zone in zones if zone["State"] == "available"}
    if closed := set(settings.availability_zones) - open_zones:
        raise Missing(
            f"{', '.join(sorted(closed))} can't be used:"
            " choose other availability_zones in the settings"
        )
    return f"{REGION}, {len(settings.availability_zones)} zones"


def bootstrap(client: Client, settings: Settings) -> str:
    """Check the version of the CDK's bootstrap stack."""
    remedy = f"run ENV={settings.name} make bootstrap"
    try:
        version = int(client("ssm").get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"])
    except ClientError as error:
        if _code(error) != "ParameterNotFound":
            raise
        raise Missing(f"the CDK's bootstrap stack does not exist: {remedy}") from None
    if version < BOOTSTRAP_VERSION:
        raise Missing(
            f"the bootstrap stack has version {version}, and {BOOTSTRAP_VERSION} is needed:"
            f" {remedy}"
        )
    return f"version {version}"


def concurrency(client: Client, settings: Settings) -> str:
    """Check that the settings' reservations fit what can be reserved.

    What this environment's functions have reserved already is available to them.
    """
    lambda_ = client("lambda")
    limit = lambda_.get_account_settings()["AccountLimit"]
    quota, unreserved = (
        int(limit["ConcurrentExecutions"]),
        int(limit["UnreservedConcurrentExecutions"]),
    )
    reserved = sum(settings.reserved_concurrency.values())
    held = sum(
        _held(lambda_, settings.function_name(function))
        for function in settings.reserved_concurrency
    )
    spare = max(0, unreserved + held - UNRESERVED)
    if reserved > spare:
        raise Missing(
            f"the settings reserve {reserved}, and the account has {spare} to reserve of its "
            f"{quota}: ask Service Quotas for more (Lambda, Concurrent executions), or reserve less"
        )
    return f"{quota}, {reserved} of it reserved for {settings.name}"


def _held(lambda_: Any, function: str) -> int:
    """Return a function's reservation; 0 if it has none or does not exist."""
    try:
        return int(
            lambda_.get_function_concurrency(FunctionName=function).get(
                "ReservedConcurrentExecutions", 0
            )
        )
    except ClientError as error:
        if _code(error) != "ResourceNotFoundException":
            raise
        return 0


def vpcs(client: Client, settings: Settings) -> str:
    """Check that the quota has room for the environment's VPC, unless it exists already."""
    quota = int(
        client("service-quotas").get_service_quota(ServiceCode="vpc", QuotaCode=VPC_QUOTA)["Quota"][
            "Value"
        ]
    )
    present = [*aws.listed(client("ec2"), "describe_vpcs", "Vpcs")]
    own = {"Key": "aws:cloudformation:stack-name", "Value": settings.stack_name("data")}
    needed = isinstance(settings.database, ManagedDatabase) and not any(
        own in vpc.get("Tags", []) for vpc in present
    )
    if needed and len(present) >= quota:
        raise Missing(
            f"the region has {len(present)} VPCs, and its quota is {quota}: delete one,"
            " or ask Service Quotas for more (VPC, VPCs per Region)"
        )
    return f"{len(present)} of {quota}"


def database(client: Client, settings: Settings) -> str:
    """Check that RDS offers the instance class and engine version in the zones of the settings.

    Also check that it lets the parameters be set.
    """
    managed = settings.database
    if not isinstance(managed, ManagedDatabase):
        return "an existing one"
    wanted = f"db.{managed.instance_class} with {ENGINE} {ENGINE_VERSION} on {STORAGE_TYPE}"
    rds = client("rds")
    paginator = rds.get_paginator("describe_orderable_db_instance_options")
    request = {
        "Engine": ENGINE,
        "EngineVersion": ENGINE_VERSION,
        "DBInstanceClass": f"db.{managed.instance_class}",
    }
    try:
        pages = [
            page["OrderableDBInstanceOptions"] for page in paginator.paginate(**request, Vpc=True)
        ]
    except ClientError as error:
        if _code(error) not in ("InvalidParameterCombination", "InvalidParameterValue"):
            raise
        raise Missing(
            f"{wanted}: {aws.sentence(error)}: change ENGINE in stacks/data_stack.py"
        ) from None
    suitable = [
        option
        for options in pages
        for option in options
        if option["StorageType"] == STORAGE_TYPE
        and (option["MultiAZCapable"] or not managed.multi_az)
        and (option["SupportsIAMDatabaseAuthentication"] or managed.login != "iam")
    ]
    zones = {zone["Name"] for option in suitable for zone in option["AvailabilityZones"]}
    if absent := sorted(set(settings.availability_zones) - zones):
        raise Missing(
            f"{wanted}: RDS does not offer it in {', '.join(absent)}:"
            " choose other availability_zones or another instance_class in the settings"
        )
    if fixed := sorted(DATABASE_PARAMETERS.keys() - _modifiable_parameters(rds)):
        raise Missing(
            f"RDS does not let {', '.join(fixed)} be set in the family {PARAMETER_FAMILY}: "
            "change DATABASE_PARAMETERS in settings.py"
        )
    return wanted


def _modifiable_parameters(rds: Any) -> set[str]:
    """Return the names of the parameters that a parameter group may set."""
    pages = rds.get_paginator("describe_engine_default_parameters").paginate(
        DBParameterGroupFamily=PARAMETER_FAMILY
    )
    return {
        parameter["ParameterName"]
        for page in pages
        for parameter in page["EngineDefaults"]["Parameters"]
        if parameter["IsModifiable"]
    }


def service_linked_role(client: Client, settings: Settings) -> str:
    """Check that RDS's role exists.

    An account's first database creates it, and may fail because the role can't be used at once.
    """
    if not isinstance(settings.database, ManagedDatabase):
        return "not needed"
    if not _role_exists(client("iam"), RDS_ROLE):
        raise Missing(
            "it does not exist, so an account's first database may fail: run "
            "aws iam create-service-linked-role --aws-service-name rds.amazonaws.com"
        )
    return RDS_ROLE


def github(client: Client, settings: Settings) -> str:
    """Check whether the account's identity provider for GitHub is that of the GitHub stack.

    An account can have only one. If something else created it, the GitHub stack needs its ARN at
    each deployment.
    """
    iam = client("iam")
    providers = [
        provider["Arn"]
        for provider in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    ]
    found = [arn for arn in providers if arn.endswith(f":oidc-provider/{GITHUB}")]
    if not found:
        return "no identity provider yet; make deploy-github-roles creates it"
    if found[0] in _resources(client("cloudformation"), GITHUB_STACK_NAME):
        return f"its identity provider belongs to the stack {GITHUB_STACK_NAME}"
    raise Note(
        f"the account has an identity provider for it that does not belong to the stack "
        f"{GITHUB_STACK_NAME}. Each time you run make deploy-github-roles, type "
        f"GITHUB_OIDC_PROVIDER_ARN={found[0]} make deploy-github-roles with the other variables"
    )


def _resources(cloudformation: Any, stack: str) -> set[str]:
    """Return the physical ids of a stack's resources; none if the stack does not exist.

    A resource that the stack has given up without deleting it may be listed for a while.
    """
    try:
        found = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    except ClientError as error:
        if _code(error) != "ValidationError":
            raise
        return set()
    return {
        resource.get("PhysicalResourceId", "")
        for resource in found
        if not resource["ResourceStatus"].startswith("DELETE_")
    }


def _role_exists(iam: Any, name: str) -> bool:
    try:
        return bool(iam.get_role(RoleName=name)["Role"])
    except ClientError as error:
        if _code(error) != "NoSuchEntity":
            raise
        return False


def alarms(client: Client, settings: Settings) -> str:
    """Check that the alarms reach somebody, where the settings require it."""
    try:
        require_alarm_address(settings)
    except Stop as stop:
        raise Missing(str(stop)) from stop
    return f"to {settings.alarm_email}" if settings.alarm_email else "to nobody"


def cost_tags(client: Client, settings: Settings) -> str:
    """Check that the bill tells costs apart by the resources' tags, which the budget counts by.

    A tag can be activated about a day after the first resource has it. In an organization only the
    account that pays may activate tags, or ask about them.
    """
    wanted = [APP_TAG, ENVIRONMENT_TAG]
    remedy = (
        f"activate the tags {' and '.join(wanted)} in the Billing console, under Cost allocation "
        "tags, of the account that pays; AWS lists a tag there about a day after a deployment. "
        "Until then the budget counts nothing"
    )
    try:
        found = client("ce", region=BILLING_REGION).list_cost_allocation_tags(
            TagKeys=wanted, Type="UserDefined", Status="Active"
        )["CostAllocationTags"]
    except ClientError as error:
        if "linked account" not in aws.sentence(error).lower():
            raise
        raise Note(f"another account pays, which this one can't ask: {remedy}") from None
    if {tag["TagKey"] for tag in found} != set(wanted):
        raise Note(remedy)
    return " and ".join(wanted)


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


CHECKS = {
    "credentials": credentials,
    "account plan": account_plan,
    "region": region,
    "bootstrap": bootstrap,
    "concurrency": concurrency,
    "VPCs": vpcs,
    "database": database,
    "service-linked role": service_linked_role,
    "GitHub": github,
    "alarms": alarms,
    "cost tags": cost_tags,
}
"""Each check returns what it found, or raises Missing, Note or one of botocore's errors."""


def preflight(client: Client, settings: Settings) -> bool:
    """Print one line per check. Return whether nothing is missing or unknown.

    Without credentials no other check is possible.
    """
    complete = True
    for name, check in CHECKS.items():
        try:
            print(f"ok       {name}: {check(client, settings)}")
        except Note as note:
            print(f"NOTE     {name}: {note}")
        except Missing as missing:
            print(f"MISSING  {name}: {missing}")
            complete = False
        except Exception as error:  # an unexpected response must not hide the other checks
            print(f"UNKNOWN  {name}: could not be checked: {aws.sentence(error)}")
            complete = False
        if check is credentials and not complete:
            break
    return complete


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operations.preflight", description=__doc__)
    parser.add_argument("environment", choices=ENVIRONMENTS)
    parser.add_argument("--alarm-email", default="")
    arguments = parser.parse_args()
    try:
        settings = ENVIRONMENTS[arguments.environment].override(
            {"alarm_email": arguments.alarm_email}
        )
    except ValueError as error:
        sys.exit(str(error))
    if not preflight(aws.client, settings):
        sys.exit(1)


if __name__ == "__main__":
    main()
