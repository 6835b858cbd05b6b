"""How long a function waits for Secrets Manager."""

import json
from typing import Any

import boto3
import pytest

from common import deadline
from common.database import secret


@pytest.fixture
def configs(aws: None, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configuration of each client that is created, in order; there is a secret `sales`."""
    boto3.client("secretsmanager").create_secret(
        Name="sales", SecretString=json.dumps({"username": "u"})
    )
    create, configs = boto3.client, list[Any]()

    def client(service: str, *, config: Any) -> Any:
        configs.append(config)
        return create(service, config=config)

    monkeypatch.setattr(boto3, "client", client)
    return configs


@pytest.mark.parametrize(
    ("arguments", "connect", "read", "attempts"),
    [((), 1, 1, 2), ((deadline.PATIENT_SECRET,), 10, 10, 5)],
    ids=["within a request", "in the migration"],
)
def test_secret_is_waited_for_this_long(
    arguments: tuple[Any, ...], connect: float, read: float, attempts: int, configs: list[Any]
) -> None:
    assert secret("sales", *arguments) == {"username": "u"}
    (config,) = configs
    assert (config.connect_timeout, config.read_timeout) == (connect, read)
    assert config.retries["total_max_attempts"] == attempts


def test_patient_reads_leave_time_to_migrate() -> None:
    """At the worst: the master's secret and one for each of three functions."""
    times = deadline.PATIENT_SECRET
    assert 4 * times.attempts * (times.connect + times.read) < 7 * 60
