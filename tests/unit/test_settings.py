from dataclasses import replace
from typing import Any

import pytest

from stacks.settings import ENVIRONMENTS, ExistingDatabase, ManagedDatabase, Settings

DEV = ENVIRONMENTS["dev"]
MANAGED = ManagedDatabase(instance_class="t4g.micro", backup_days=35)
EXISTING = ExistingDatabase(
    host="database.example",
    port=3306,
    secret_arn="a-secret",
    vpc_id="vpc-1",
    subnet_ids=("subnet-1", "subnet-2"),
    security_group_id="sg-1",
)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"factory_url": "factory.test/api"}, "factory_url 'factory.test/api' is not an http or https URL"),
        ({"factory_url": "ftp://factory.test"}, "factory_url 'ftp://factory.test' is not an http or https URL"),
        ({"factory_url": "https:///api"}, "factory_url 'https:///api' is not an http or https URL"),
        ({"factory_url": ""}, "factory_url '' is not an http or https URL"),
        (
            {"factory_url": "http://factory.test", "allow_http_factory": False},
            "factory_url is plain http: set allow_http_factory to allow it",
        ),
        (
            {"public_url": "shop.test"},
            "public_url 'shop.test' is not an http or https URL without a trailing slash",
        ),
        (
            {"public_url": "https://shop.test/"},
            "public_url 'https://shop.test/' is not an http or https URL without a trailing slash",
        ),
        (
            {"factory_deadline": 20, "consumer_timeout": 20},
            "factory_deadline must be shorter than consumer_timeout",
        ),
        ({"endpoint_zones": -1}, "endpoint_zones must be between 0 and the number of availability_zones"),
        ({"endpoint_zones": 3}, "endpoint_zones must be between 0 and the number of availability_zones"),
        ({"availability_zones": ("ap-northeast-2a",)}, "an RDS subnet group needs two availability_zones"),
        (
            {"idempotency_retention": 24 * 3600 - 1},
            "idempotency_retention must be at least 24 hours, as the contract promises",
        ),
        (
            {"reserved_concurrency": {"sales": 1, "consumer": 1}},
            "reserved_concurrency names consumer, not a function with a database",
        ),
        (
            {"reserved_concurrency": {"sales": 10, "relay": 5}},
            "reserved_concurrency may open 40 connections, too many for t4g.micro",
        ),
        (
            {"database": replace(MANAGED, instance_class="m7i.large")},
            "instance_class 'm7i.large' is not one of t4g.micro, t4g.small, t4g.medium, t4g.large",
        ),
        ({"database": replace(MANAGED, backup_days=0)}, "backup_days must be between 1 and 35"),
        ({"database": replace(MANAGED, backup_days=36)}, "backup_days must be between 1 and 35"),
        (
            {"database": replace(EXISTING, subnet_ids=("subnet-1",))},
            "an existing database needs one of subnet_ids for each of availability_zones",
        ),
        ({"max_order": 0}, "max_order must be between 1 and 1,000,000"),
        ({"max_order": 1_000_001}, "max_order must be between 1 and 1,000,000"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as failure:
        replace(DEV, **change)
    assert str(failure.value) == f"environment dev: {sentence}"


@pytest.mark.parametrize(
    "change",
    [
        {"factory_url": "https://factory.test/api", "allow_http_factory": False},
        {"public_url": "http://127.0.0.1:8080"},
        {"public_url": None},
        {"max_order": 1},
        {"max_order": 1_000_000},
        {"endpoint_zones": 2},
        {"idempotency_retention": 24 * 3600},
        {"reserved_concurrency": {"sales": 10, "relay": 4}},
        {"database": MANAGED},
        {"database": EXISTING},
    ],
    ids=str,
)
def test_a_right_setting_is_taken(change: dict[str, Any]) -> None:
    settings = replace(DEV, **change)
    assert {name: getattr(settings, name) for name in change} == change


def test_the_command_line_overrides() -> None:
    assert DEV.override({"factory_url": "https://factory.test/api", "public_url": "https://shop.test"}) == replace(
        DEV, factory_url="https://factory.test/api", public_url="https://shop.test"
    )


def test_the_command_line_overrides_the_managed_databases_login() -> None:
    local = ENVIRONMENTS["local"]
    assert isinstance(local.database, ManagedDatabase)
    assert local.override({"database_login": "iam"}) == replace(local, database=replace(local.database, login="iam"))
    with pytest.raises(ValueError, match="the database's login 'none' is not one of iam, secret"):
        local.override({"database_login": "none"})
    with pytest.raises(ValueError, match="environment dev: database_login is for a managed database"):
        replace(DEV, database=EXISTING).override({"database_login": "iam"})


def test_the_command_line_overrides_nothing_else() -> None:
    assert DEV.override({"max_order": "7", "database": "mine", "factory_url": ""}) == DEV


def test_what_the_command_line_says_is_checked() -> None:
    with pytest.raises(ValueError, match="factory_url"):
        DEV.override({"factory_url": "factory.test"})


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_found_by_its_own_name(name: str) -> None:
    assert ENVIRONMENTS[name].environment == name


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_data_outlives_the_stack_where_it_matters(name: str) -> None:
    settings: Settings = ENVIRONMENTS[name]
    assert settings.retain_data
    assert settings.idempotency_retention >= 24 * 3600
