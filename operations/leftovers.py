"""List what is left of a deleted environment in the account, and how to delete it."""

import argparse
import re
from collections.abc import Callable, Iterator
from typing import Any

from operations import aws
from settings import APP_TAG, ENVIRONMENT_TAG, ENVIRONMENTS, PREFIX, REGION, Settings

TOOLKIT_STACK = "CDKToolkit"

Client = Callable[[str], Any]


def stacks(client: Client, settings: Settings) -> Iterator[tuple[str, str]]:
    """Find stacks that were not deleted. Their resources are not listed one by one."""
    named = re.compile(rf"{PREFIX}-[a-z]+-{settings.name}")
    for stack in aws.listed(client("cloudformation"), "describe_stacks", "Stacks"):
        name = stack["StackName"]
        if named.fullmatch(name) and name != settings.stack_name("github"):  # it costs nothing
            yield (
                f"stack {name}: {stack['StackStatus']}, with its resources",
                f"ENV={settings.name} make destroy",
            )


def snapshots(client: Client, settings: Settings) -> Iterator[tuple[str, str]]:
    """Find the snapshots of the environment's database that nothing deletes by itself."""
    request = {"SnapshotType": "manual"}
    for snapshot in aws.listed(client("rds"), "describe_db_snapshots", "DBSnapshots", **request):
        if _is_own(settings, snapshot["TagList"]):
            name = snapshot["DBSnapshotIdentifier"]
            yield (
                f"snapshot {name}: at most {snapshot['AllocatedStorage']} GiB",
                f"aws rds delete-db-snapshot --db-snapshot-identifier {name}",
            )


def log_groups(client: Client, settings: Settings) -> Iterator[tuple[str, str]]:
    """Find log groups. The CDK's own functions leave theirs, and a late log line creates one."""
    named = re.compile(
        rf"/{PREFIX}-([a-z]+-)?{settings.name}(-|/|$)"  # an instance, or a function of the CDK
        rf"|^/{PREFIX}/{settings.name}/"
    )
    for group in aws.listed(client("logs"), "describe_log_groups", "logGroups"):
        name, days = group["logGroupName"], group.get("retentionInDays")
        if named.search(name):
            yield (
                f"log group {name}: {_megabytes(group['storedBytes'])}, "
                + (f"each line kept for {days} days" if days else "kept for ever"),
                f"aws logs delete-log-group --log-group-name {name}",
            )


def bucket(client: Client, settings: Settings) -> Iterator[tuple[str, str]]:
    """Find the CDK's bucket, which all environments and all CDK apps of the account share."""
    for stack in aws.listed(client("cloudformation"), "describe_stacks", "Stacks"):
        if stack["StackName"] == TOOLKIT_STACK:
            outputs = {item["OutputKey"]: item["OutputValue"] for item in stack["Outputs"]}
            name = outputs["BucketName"]
            pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=name)
            # S3 leaves out the field of an empty list.
            size = sum(stored["Size"] for page in pages for stored in page.get("Contents", []))
            yield (
                f"bucket {name}: {_megabytes(size)}, for every CDK app of the account",
                f"keep it while there is one; then empty it and delete the stack {TOOLKIT_STACK}",
            )


def secrets(client: Client, settings: Settings) -> Iterator[tuple[str, str]]:
    """Find secrets. One that waits for its deletion is free, and can be restored until then."""
    request = {"IncludePlannedDeletion": True}
    for secret in aws.listed(client("secretsmanager"), "list_secrets", "SecretList", **request):
        if _is_own(settings, secret.get("Tags", [])):
            until = secret.get("DeletedDate")
            yield (
                f"secret {secret['Name']}: "
                + (f"free, waits until {until:%Y-%m-%d} for its deletion" if until else "in use"),
                "aws secretsmanager delete-secret --force-delete-without-recovery "
                f"--secret-id {secret['ARN']}",
            )


FINDERS = (stacks, snapshots, log_groups, bucket, secrets)


def _is_own(settings: Settings, tags: list[dict[str, str]]) -> bool:
    """Return whether a resource has the tags that every resource of the environment has."""
    values = {tag["Key"]: tag["Value"] for tag in tags}
    return values.get(APP_TAG) == PREFIX and values.get(ENVIRONMENT_TAG) == settings.name


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def leftovers(settings: Settings, client: Client = aws.client) -> list[tuple[str, str]]:
    """Return what is left of an environment, and the command that deletes each part.

    Raises botocore's errors.
    """
    return [found for finder in FINDERS for found in finder(client, settings)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operations.leftovers", description=__doc__)
    parser.add_argument("environments", help="separated by commas")
    for name in parser.parse_args().environments.split(","):
        with aws.errors_as_sentences():
            found = leftovers(ENVIRONMENTS[name])
        print(f"What is left of {name} in the account's region {REGION}, and how to delete it:")
        for what, command in found:
            print(f"  {what}\n      {command}")
        if not found:
            print("  nothing")


if __name__ == "__main__":
    main()
