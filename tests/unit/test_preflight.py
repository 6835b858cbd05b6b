from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from operations.preflight import BOOTSTRAP_PARAMETER, BOOTSTRAP_VERSION, preflight
from stacks.settings import ENVIRONMENTS, REGION

DEV, PROD = ENVIRONMENTS["dev"], ENVIRONMENTS["prod"]
RESERVED = sum(PROD.reserved_concurrency.values())


class Account:
    """An account in memory, bootstrapped, with this much Lambda concurrency."""

    def __init__(self, *, quota: int = 1000) -> None:
        self.quota = quota
        self.bootstrap(BOOTSTRAP_VERSION)

    def bootstrap(self, version: int) -> None:
        boto3.client("ssm").put_parameter(Name=BOOTSTRAP_PARAMETER, Value=str(version), Type="String", Overwrite=True)

    def client(self, service: str) -> Any:
        client = boto3.client(service, region_name=REGION)
        if service == "lambda":
            stubber = Stubber(client)
            stubber.add_response("get_account_settings", {"AccountLimit": {"ConcurrentExecutions": self.quota}})
            stubber.activate()
        return client


@pytest.fixture
def account() -> Iterator[Account]:
    with mock_aws():
        yield Account()


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("ok ")]


def test_nothing_is_missing_in_a_prepared_account(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    assert preflight(account.client, PROD)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", f"{check}:"] for check in ("credentials", "region", "bootstrap", "concurrency")
    ]


def test_without_credentials_it_asks_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def client(service: str) -> Any:
        asked.append(service)
        refusing = boto3.client(service, region_name=REGION)
        stubber = Stubber(refusing)
        stubber.add_client_error("get_caller_identity", "ExpiredToken", "The security token is expired")
        stubber.activate()
        return refusing

    assert not preflight(client, DEV)
    (line,) = said(capsys)
    assert line.startswith("MISSING  no AWS credentials that work: ")
    assert "expired" in line
    assert asked == ["sts"]


def test_an_account_without_bootstrap_is_told_the_command(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    boto3.client("ssm").delete_parameter(Name=BOOTSTRAP_PARAMETER)
    assert not preflight(account.client, DEV)
    assert said(capsys) == ["MISSING  the CDK's bootstrap stack: run ENV=dev make bootstrap"]


def test_an_old_bootstrap_is_told_the_version(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    account.bootstrap(BOOTSTRAP_VERSION - 1)
    assert not preflight(account.client, DEV)
    (line,) = said(capsys)
    assert line.startswith(f"MISSING  a newer bootstrap stack, {BOOTSTRAP_VERSION} instead of {BOOTSTRAP_VERSION - 1}")


@pytest.mark.parametrize(("quota", "enough"), [(10, False), (RESERVED + 99, False), (RESERVED + 100, True)])
def test_reservations_need_a_hundred_more(
    quota: int, enough: bool, account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    account.quota = quota
    assert preflight(account.client, PROD) is enough
    assert [f"Lambda concurrency of {RESERVED + 100}, the quota is {quota}" in line for line in said(capsys)] == (
        [] if enough else [True]
    )


def test_a_new_account_is_enough_where_nothing_is_reserved(account: Account) -> None:
    account.quota = 10
    assert preflight(account.client, DEV)


def test_a_zone_that_is_not_there_is_named(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    settings = replace(DEV, availability_zones=(f"{REGION}a", f"{REGION}x"))
    assert not preflight(account.client, settings)
    assert said(capsys) == [
        f"MISSING  {REGION}x can't be used: choose other availability_zones in the settings",
    ]


def test_what_it_may_not_ask_is_unknown_not_fine(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    def client(service: str) -> Any:
        asked = boto3.client(service, region_name=REGION)
        if service == "lambda":
            stubber = Stubber(asked)
            stubber.add_client_error("get_account_settings", "AccessDeniedException")
            stubber.activate()
        return asked

    assert not preflight(client, DEV)
    (line,) = said(capsys)
    assert line.startswith("UNKNOWN  concurrency: ")
    assert "AccessDenied" in line
