"""What an account still lacks before an environment can be deployed to it."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from stacks.settings import ENVIRONMENTS, REGION, Settings

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = 8
"""The oldest that can serve all that the CDK CLI does with our stacks."""
UNRESERVED = 100
"""How much of an account's Lambda concurrency AWS keeps from being reserved."""

Client = Callable[[str], Any]


class Missing(Exception):
    """Says what is missing, and what helps."""


def credentials(client: Client, settings: Settings) -> str:
    try:
        identity = client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise Missing(f"no AWS credentials that work: {error}") from error
    return f"account {identity['Account']}, as {identity['Arn']}"


def region(client: Client, settings: Settings) -> str:
    try:
        zones = client("ec2").describe_availability_zones()["AvailabilityZones"]
    except ClientError as error:
        raise Missing(f"{REGION} can't be used: {error}") from error
    open_zones = {zone["ZoneName"] for zone in zones if zone["State"] == "available"}
    if closed := set(settings.availability_zones) - open_zones:
        raise Missing(f"{', '.join(sorted(closed))} can't be used: choose other availability_zones in the settings")
    return f"{REGION}, {len(settings.availability_zones)} zones"


def bootstrap(client: Client, settings: Settings) -> str:
    remedy = f"run ENV={settings.environment} make bootstrap"
    ssm = client("ssm")
    try:
        version = int(ssm.get_parameter(Name=BOOTSTRAP_PARAMETER)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        raise Missing(f"the CDK's bootstrap stack: {remedy}") from None
    if version < BOOTSTRAP_VERSION:
        raise Missing(f"a newer bootstrap stack, {BOOTSTRAP_VERSION} instead of {version}: {remedy}")
    return f"version {version}"


def concurrency(client: Client, settings: Settings) -> str:
    quota = int(client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"])
    reserved = sum(settings.reserved_concurrency.values())
    if reserved and quota < reserved + UNRESERVED:
        raise Missing(
            f"Lambda concurrency of {reserved + UNRESERVED}, the quota is {quota}: ask Service Quotas for more "
            f"(Lambda, Concurrent executions), or reserve less than {reserved} in the settings"
        )
    return f"{quota}, {reserved} of it reserved"


CHECKS = (credentials, region, bootstrap, concurrency)


def preflight(client: Client, settings: Settings) -> bool:
    """Print what is there and what is missing. Without credentials, nothing else can be known."""
    complete = True
    for check in CHECKS:
        try:
            print(f"ok       {check.__name__}: {check(client, settings)}")
        except Missing as missing:
            print(f"MISSING  {missing}")
            complete = False
            if check is credentials:
                break
        except ClientError as error:
            print(f"UNKNOWN  {check.__name__}: {error}")
            complete = False
    return complete


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operations.preflight", description=__doc__)
    parser.add_argument("environment", choices=ENVIRONMENTS)
    settings = ENVIRONMENTS[parser.parse_args().environment]
    if not preflight(lambda service: boto3.client(service, region_name=REGION), settings):
        sys.exit(1)


if __name__ == "__main__":
    main()
