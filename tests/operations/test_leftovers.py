"""What `make destroy` lists at its end."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from operations.leftovers import Client, leftovers
from settings import ENVIRONMENTS, REGION

DEV = ENVIRONMENTS["dev"]
TAGS = [{"Key": "app", "Value": "donut-shop"}, {"Key": "environment", "Value": "dev"}]
OTHER = [{"Key": "app", "Value": "donut-shop"}, {"Key": "environment", "Value": "staging"}]

pytestmark = pytest.mark.usefixtures("aws")


def account(*stacks: Mapping[str, object]) -> Client:
    """Return the clients of moto's account, and of one with these stacks, which moto lacks."""

    def client(service: str) -> Any:
        made = boto3.client(service, region_name=REGION)
        if service == "cloudformation":
            stubber = Stubber(made)
            common = {"StackStatus": "DELETE_FAILED", "CreationTime": datetime.now(UTC)}
            stubber.add_response(
                "describe_stacks", {"Stacks": [{**common, **stack} for stack in stacks]}
            )
            stubber.activate()
        return made

    return client


def left(*stacks: Mapping[str, object]) -> list[str]:
    return [what for what, _ in leftovers(DEV, account(*stacks))]


def test_leftovers_are_none_in_a_new_account() -> None:
    assert leftovers(DEV, account()) == []


def test_leftovers_contain_the_environments_stacks() -> None:
    names = ("service-dev", "service-staging", "github-dev", "data-dev-old")
    stacks = [{"StackName": f"donut-shop-{name}"} for name in names]
    assert leftovers(DEV, account(*stacks)) == [
        ("stack donut-shop-service-dev: DELETE_FAILED, with its resources", "ENV=dev make destroy")
    ]


def test_leftovers_contain_the_databases_manual_snapshots() -> None:
    rds = boto3.client("rds")
    for name, tags in (("ours", TAGS), ("theirs", OTHER), ("untagged", [])):
        rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBInstanceClass="db.t4g.micro",
            Engine="mariadb",
            EngineVersion="10.11.19",
            AllocatedStorage=20,
            CopyTagsToSnapshot=True,
            Tags=tags,
        )
        rds.create_db_snapshot(DBSnapshotIdentifier=f"{name}-final", DBInstanceIdentifier=name)
    assert leftovers(DEV, account()) == [
        (
            "snapshot ours-final: at most 20 GiB",
            "aws rds delete-db-snapshot --db-snapshot-identifier ours-final",
        )
    ]


def test_leftovers_contain_the_environments_log_groups() -> None:
    ours = [
        "/aws/lambda/donut-shop-service-dev-AWSCDKTriggerCustomResource-a1B2",
        "/aws/rds/instance/donut-shop-dev/error",
        "/donut-shop/dev/sales",
    ]
    others = [
        "/aws/lambda/donut-shop-service-devel-a",
        "/aws/rds/instance/donut-shop-staging/error",
        "/donut-shop/staging/sales",
        "/another-donut-shop/dev/sales",
    ]
    for name in [*others, *ours]:
        boto3.client("logs").create_log_group(logGroupName=name)
    boto3.client("logs").put_retention_policy(
        logGroupName="/donut-shop/dev/sales", retentionInDays=30
    )
    assert left() == [
        f"log group {ours[0]}: 0.0 MB, kept for ever",
        f"log group {ours[1]}: 0.0 MB, kept for ever",
        f"log group {ours[2]}: 0.0 MB, each line kept for 30 days",
    ]


def test_leftovers_contain_the_bucket_of_the_cdk_with_its_size() -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="assets", CreateBucketConfiguration={"LocationConstraint": REGION})
    for key in ("a", "b"):
        s3.put_object(Bucket="assets", Key=key, Body=bytes(600_000))
    outputs = [{"OutputKey": "BucketName", "OutputValue": "assets"}]
    assert left({"StackName": "CDKToolkit", "Outputs": outputs}) == [
        "bucket assets: 1.2 MB, for every CDK app of the account"
    ]


def test_leftovers_contain_secrets_that_wait_for_their_deletion() -> None:
    secrets = boto3.client("secretsmanager")
    for name, tags in (("used", TAGS), ("deleted", TAGS), ("theirs", OTHER)):
        secrets.create_secret(Name=name, SecretString="a", Tags=tags)
    deletion = secrets.delete_secret(SecretId="deleted", RecoveryWindowInDays=7)["DeletionDate"]
    assert sorted(left()) == [
        f"secret deleted: free, waits until {deletion:%Y-%m-%d} for its deletion",
        "secret used: in use",
    ]


def test_leftovers_are_read_from_all_pages() -> None:
    for number in range(120):  # CloudWatch Logs returns at most 50 groups per page
        boto3.client("logs").create_log_group(logGroupName=f"/donut-shop/dev/{number}")
    assert len(left()) == 120
