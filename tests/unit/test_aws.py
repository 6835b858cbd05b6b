"""The AWS clients of the functions: how long they wait, and how often they try."""

import json
from typing import Any

import boto3
import pytest

from common import aws, deadline
from common.database import secret

pytestmark = pytest.mark.usefixtures("aws")


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list to which the configuration of each new client is added."""
    create, configs = boto3.client, list[Any]()

    def client(service: str, *, config: Any) -> Any:
        configs.append(config)
        return create(service, config=config)

    monkeypatch.setattr(boto3, "client", client)
    return configs


TIMEOUTS = {
    "publish": (deadline.PUBLISH, 1, 1, 1),
    "postpone": (deadline.POSTPONE, 1, 1, 1),
    "secret in a request": (deadline.SECRET, 1, 1, 2),
    "secret in the migration": (deadline.MIGRATION_SECRET, 10, 10, 5),
}


@pytest.mark.parametrize(
    ("timeouts", "connect", "read", "attempts"), TIMEOUTS.values(), ids=TIMEOUTS
)
def test_client_waits_and_tries_as_the_timeouts_say(
    timeouts: deadline.ClientTimeouts,
    connect: float,
    read: float,
    attempts: int,
    configs: list[Any],
) -> None:
    aws.client("sns", timeouts)
    (config,) = configs
    assert config.connect_timeout == connect
    assert config.read_timeout == read
    assert config.retries["total_max_attempts"] == attempts


def test_client_is_created_once(configs: list[Any]) -> None:
    assert aws.client("sns", deadline.PUBLISH) is aws.client("sns", deadline.PUBLISH)
    assert len(configs) == 1


def test_secret_is_read_with_the_timeouts_of_a_request(configs: list[Any]) -> None:
    aws.client("secretsmanager", deadline.MIGRATION_SECRET).create_secret(
        Name="sales", SecretString=json.dumps({"username": "shop_sales_password"})
    )
    assert secret("sales") == {"username": "shop_sales_password"}
    assert configs[-1].read_timeout == deadline.SECRET.read


def test_secret_reads_leave_the_migration_time_to_migrate() -> None:
    """It reads the administrator's secret and one for each of three functions."""
    timeouts = deadline.MIGRATION_SECRET
    assert 4 * timeouts.attempts * (timeouts.connect + timeouts.read) < 7 * 60
