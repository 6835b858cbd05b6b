"""Operators' commands invoke the deployed function, if IAM allows the caller to."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest
from botocore.config import Config

from local.polling import eventually
from migrate.handler import PROCEDURES
from operations.operate import OperateFunction
from settings import PROJECT, REGION
from tests.support.deployed_shop import PATIENCE, SETTINGS, DeployedShop

USER, POLICY = "kim", "operate"


@dataclass(frozen=True, kw_only=True)
class Person:
    """A user of the local cloud. variables: those of a shell that has the person's credentials."""

    shop: DeployedShop
    variables: dict[str, str]

    def allow(self) -> None:
        """Let the person invoke the function `operate`, and do nothing else."""
        client = self.shop.cloud.client("lambda")
        function = client.get_function(FunctionName=SETTINGS.function_name("operate"))
        statement = {
            "Effect": "Allow",
            "Action": "lambda:InvokeFunction",
            "Resource": function["Configuration"]["FunctionArn"],
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam = self.shop.cloud.client("iam")
        iam.put_user_policy(UserName=USER, PolicyName=POLICY, PolicyDocument=document)

    def deny(self) -> None:
        """Take the permission away."""
        iam = self.shop.cloud.client("iam")
        iam.delete_user_policy(UserName=USER, PolicyName=POLICY)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an operator's command as this person."""
        return subprocess.run(
            [sys.executable, "-m", "operations.operate", "local", *arguments],
            cwd=PROJECT,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def person(shop: DeployedShop) -> Iterator[Person]:
    iam = shop.cloud.client("iam")
    iam.create_user(UserName=USER)
    key = iam.create_access_key(UserName=USER)["AccessKey"]
    credentials = {
        "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
    }
    yield Person(shop=shop, variables=shop.cloud.variables | credentials)
    iam.delete_access_key(UserName=USER, AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName=USER)


def test_person_needs_the_permission_to_invoke(person: Person, shop: DeployedShop) -> None:
    adjust = ("adjust", "--slug=donut", "--n=-2", "--reason=dropped")
    person.allow()
    done = person.run(*adjust)
    assert done.returncode == 0, done.stderr
    assert shop.stock() == 8

    person.deny()
    denied = person.run(*adjust)
    assert denied.returncode == 1
    assert denied.stdout == ""
    assert denied.stderr.splitlines() == [
        f"arn:aws:iam::000000000000:user/{USER} may not do this: allow lambda:InvokeFunction on"
        " the function donut-shop-operate-local"
    ]
    assert shop.stock() == 8
    assert shop.sql(
        "SELECT kind, amount, reason, recorded_by FROM stock_entry WHERE kind = 'adjustment'"
    ) == [("adjustment", -2, "dropped", f"arn:aws:iam::000000000000:user/{USER}")]


def operations(shop: DeployedShop) -> list[dict[str, object]]:
    """Return the log lines of the operations of this test."""
    lines = [json.loads(line) for line in shop.log_lines() if '"operation"' in line]
    return [line for line in lines if line.get("message") == "operation"]


def test_operation_is_logged_with_the_callers_arn(person: Person, shop: DeployedShop) -> None:
    person.allow()
    assert person.run("books").returncode == 0
    person.deny()

    def logged() -> None:
        (line,) = operations(shop)
        assert line["verb"] == "books"
        assert line["claimed_by"] == f"arn:aws:iam::000000000000:user/{USER}"

    eventually(logged, within=PATIENCE)


@pytest.fixture
def slow_correction(shop: DeployedShop) -> Iterator[None]:
    """Make a correction take 2 seconds in the middle of its transaction."""
    text = (PROCEDURES / "correct_stock.sql").read_text()
    last = "UPDATE operation"
    assert text.count(last) == 1
    shop.sql(text.replace(last, f"DO SLEEP(2);\n        {last}"))
    yield
    shop.sql(text)


@pytest.mark.usefixtures("slow_correction")
def test_repeated_invocation_is_booked_once(shop: DeployedShop) -> None:
    """Botocore repeats an invocation that times out, while the function still executes it."""
    impatient = boto3.client(
        "lambda",
        endpoint_url=shop.cloud.aws_endpoint_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(read_timeout=1, retries={"total_max_attempts": 8}, proxies={}),
    )
    function = OperateFunction(impatient, SETTINGS, claimed_by="a test")
    (table,) = function.change("adjust", slug="donut", amount=-2, reason="dropped")
    assert table["rows"] == [{"slug": "donut", "stock_before": 10, "booked": -2, "stock": 8}]
    assert shop.stock() == 8
    shop.assert_balanced()

    def repeated() -> None:
        ids = [line["operation_id"] for line in operations(shop)]
        assert len(ids) >= 2
        assert len(set(ids)) == 1

    eventually(repeated, within=PATIENCE)
