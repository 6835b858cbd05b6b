from dataclasses import replace
from typing import Any

import pytest

from settings import (
    ENVIRONMENTS,
    MAX_CONNECTIONS,
    REQUEST_SECONDS,
    ExistingDatabase,
    ManagedDatabase,
    Settings,
    Throttle,
)

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
        (
            {"factory_url": "factory.test/api"},
            "factory_url 'factory.test/api' is not an http or https URL",
        ),
        (
            {"factory_url": "ftp://factory.test"},
            "factory_url 'ftp://factory.test' is not an http or https URL",
        ),
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
        (
            {"endpoint_zones": -1},
            "endpoint_zones must be between 0 and the number of availability_zones",
        ),
        (
            {"endpoint_zones": 3},
            "endpoint_zones must be between 0 and the number of availability_zones",
        ),
        (
            {"availability_zones": ("ap-northeast-2a",)},
            "an RDS subnet group needs two availability_zones",
        ),
        (
            {"idempotency_retention": 24 * 3600 - 1},
            "idempotency_retention must be at least 24 hours, as the contract promises",
        ),
        (
            {"reserved_concurrency": {"sales": 1, "consumer": 1}},
            "reserved_concurrency names consumer, not a function with a database",
        ),
        (
            {"reserved_concurrency": {"sales": 10, "restock": 4, "relay": 1}},
            "the functions may open 40 connections, too many for t4g.micro: reserve less, or lower the throttles",
        ),
        (
            {"throttle": Throttle(rate=200, burst=50)},
            "the functions may open 118 connections, too many for t4g.micro: reserve less, or lower the throttles",
        ),
        ({"alarm_email": "nobody"}, "alarm_email 'nobody' is not an e-mail address"),
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
        ({"max_quantity": 0}, "max_quantity must be between 1 and 1,000,000"),
        ({"max_quantity": 1_000_001}, "max_quantity must be between 1 and 1,000,000"),
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
        {"max_quantity": 1},
        {"max_quantity": 1_000_000},
        {"endpoint_zones": 2},
        {"idempotency_retention": 24 * 3600},
        {"reserved_concurrency": {"sales": 9, "restock": 4, "relay": 1}},
        {"alarm_email": "ops@shop.test"},
        {"database": MANAGED},
        {"database": EXISTING},
    ],
    ids=str,
)
def test_a_right_setting_is_taken(change: dict[str, Any]) -> None:
    settings = replace(DEV, **change)
    assert {name: getattr(settings, name) for name in change} == change


def test_the_command_line_overrides() -> None:
    assert DEV.override(
        {"factory_url": "https://factory.test/api", "public_url": "https://shop.test"}
    ) == replace(DEV, factory_url="https://factory.test/api", public_url="https://shop.test")


def test_the_command_line_overrides_the_managed_databases_login() -> None:
    local = ENVIRONMENTS["local"]
    assert isinstance(local.database, ManagedDatabase)
    assert local.override({"database_login": "iam"}) == replace(
        local, database=replace(local.database, login="iam")
    )
    with pytest.raises(ValueError, match="the database's login 'none' is not one of iam, secret"):
        local.override({"database_login": "none"})
    with pytest.raises(
        ValueError, match="environment dev: database_login is for a managed database"
    ):
        replace(DEV, database=EXISTING).override({"database_login": "iam"})


def test_the_command_line_overrides_nothing_else() -> None:
    assert DEV.override({"max_quantity": "7", "database": "mine", "factory_url": ""}) == DEV


def test_what_the_command_line_says_is_checked() -> None:
    with pytest.raises(ValueError, match="factory_url"):
        DEV.override({"factory_url": "factory.test"})


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_found_by_its_own_name(name: str) -> None:
    assert ENVIRONMENTS[name].name == name


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_data_outlives_the_stack_where_it_matters(name: str) -> None:
    settings: Settings = ENVIRONMENTS[name]
    assert settings.retain_data
    assert settings.idempotency_retention >= 24 * 3600


def test_dev_fits_an_account_on_the_free_plan() -> None:
    """RDS refuses more than one day of backups there, and a new account has no concurrency to reserve."""
    assert isinstance(DEV.database, ManagedDatabase)
    assert DEV.database.backup_days == 1
    assert DEV.database.instance_class == "t4g.micro"
    assert not DEV.reserved_concurrency


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_backups_are_kept_for_a_week_where_data_matters(name: str) -> None:
    database = ENVIRONMENTS[name].database
    assert isinstance(database, ManagedDatabase)
    assert database.backup_days >= 7


@pytest.mark.parametrize("settings", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_zones_are_those_with_every_instance_family(settings: Settings) -> None:
    """ap-northeast-2b lacks several families: t2, m4 and t3a are refused there."""
    assert settings.availability_zones == ("ap-northeast-2a", "ap-northeast-2c")


@pytest.mark.parametrize("settings", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_connections_fit_the_database_at_the_worst(settings: Settings) -> None:
    """With a reservation: twice it, for a deployment. Without: what the throttle admits while the first still runs."""
    assert isinstance(settings.database, ManagedDatabase)
    reserved = settings.reserved_concurrency
    connections: float = 10  # people and the migration
    for function, throttle in (
        ("sales", settings.throttle),
        ("restock", settings.callback_throttle),
    ):
        admitted = throttle.burst + throttle.rate * REQUEST_SECONDS
        connections += 2 * reserved[function] if function in reserved else admitted
    connections += 2 * reserved.get("relay", 1)  # one run each minute
    assert connections == settings.most_connections()
    assert connections < MAX_CONNECTIONS[settings.database.instance_class]


def test_alarm_address_is_required_in_prod_only() -> None:
    required = {name for name, settings in ENVIRONMENTS.items() if settings.requires_alarm_email}
    assert required == {"prod"}


def test_command_line_gives_the_alarm_address() -> None:
    assert DEV.override({"alarm_email": "ops@shop.test"}).alarm_email == "ops@shop.test"
    with pytest.raises(ValueError, match="alarm_email 'ops' is not an e-mail address"):
        DEV.override({"alarm_email": "ops"})


def test_only_dev_needs_the_dual_stack_endpoint_of_sns() -> None:
    """Interface endpoints answer for the ordinary name only, and local functions call the emulator."""
    endpoints = {name: settings.sns_endpoint for name, settings in ENVIRONMENTS.items()}
    assert endpoints == {
        "local": None,
        "dev": "https://sns.ap-northeast-2.api.aws",
        "staging": None,
        "prod": None,
    }
    assert replace(DEV, endpoint_zones=1).sns_endpoint is None
    assert replace(DEV, database=EXISTING).sns_endpoint is None
