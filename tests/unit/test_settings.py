"""Each environment's values, the rules for them, and the names that are made from them."""

import re
from dataclasses import fields, replace
from typing import Any

import pytest

import settings
from settings import (
    ENVIRONMENTS,
    MAX_CONNECTIONS,
    REQUEST_SECONDS,
    ExistingDatabase,
    ManagedDatabase,
    Settings,
)
from tests.support import environments

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


def reservations(total: int) -> dict[str, int]:
    """Return a reservation for each function with a database: one, and what remains for sales."""
    others = settings.DATABASE_USERS.keys() - {"sales"}
    return {**dict.fromkeys(sorted(others), 1), "sales": total - len(others)}


REJECTED: list[tuple[dict[str, Any], str]] = [
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
    *(
        ({"factory_url": url}, f"factory_url {url!r} is not an http or https URL")
        for url in (
            "http://factory.test:PORT/api",
            "http://factory.test:0/api",
            "http://factory.test:65536/api",
            "http://[::1/api",
            "http://factory.test/the api",
            "http://factory.test/api\n",
        )
    ),
    (
        {"factory_url": "http://factory.test", "allow_http_factory": False},
        "factory_url is plain http: set allow_http_factory to allow it",
    ),
    (
        {"log_retention_days": 10},
        "log_retention_days 10 is not one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, "
        "545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653",
    ),
    (
        {"public_url": "shop.test"},
        "public_url 'shop.test' is not an http or https URL without a trailing slash",
    ),
    (
        {"public_url": "https://shop.test/"},
        "public_url 'https://shop.test/' is not an http or https URL without a trailing slash",
    ),
    *(
        (
            {"allowed_origins": ("https://shop.test", origin)},
            f"allowed_origins: {origin!r} is not an origin as a browser sends it: https,"
            " or http on localhost, without a path or a default port",
        )
        for origin in (
            "*",
            "https://*",
            "https://*.shop.test",
            "https://shop.test/",
            "https://shop.test/path",
            "https://shop.test:443",
            "https://Shop.test",
            "https://me@shop.test",
            "https://",
            "http://shop.test",
            "http://localhost:80",
            "http://localhost.shop.test",
            "shop.test",
            "null",
            "",
        )
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
        {"requester_retention": 24 * 3600 - 1},
        "requester_retention must be at least 24 hours, longer than any transaction",
    ),
    (
        {"reserved_concurrency": {"sales": 1, "consumer": 1, "baker": 1}},
        "reserved_concurrency names baker, consumer, not a function with a database",
    ),
    (
        {"reserved_concurrency": reservations(16)},
        "the functions may open 40 connections, too many for t4g.micro: reserve less, or lower the throttles",
    ),
    (
        {"throttle": replace(DEV.throttle, burst=DEV.throttle.burst + 80)},
        f"the functions may open {DEV.peak_connections() + 80:.0f} connections, too many for t4g.micro: "
        "reserve less, or lower the throttles",
    ),
    (
        {
            "callback_throttle": replace(
                DEV.callback_throttle, burst=DEV.callback_throttle.burst + 80
            )
        },
        f"the functions may open {DEV.peak_connections() + 80:.0f} connections, too many for t4g.micro: "
        "reserve less, or lower the throttles",
    ),
    (
        {"database_ca_file": "/opt/other.pem"},
        "database_ca_file '/opt/other.pem': lambdas/other.pem is missing",
    ),
    ({"alarm_email": "nobody"}, "alarm_email 'nobody' is not an e-mail address"),
    ({"runbook_url": "docs/runbook.md"}, "runbook_url 'docs/runbook.md' is not an https address"),
    (
        {"runbook_url": "https://docs.test/a) b"},
        "runbook_url 'https://docs.test/a) b' is not an https address",
    ),
    (
        {"database": replace(MANAGED, instance_class="m7i.large")},
        "instance_class 'm7i.large' is not one of t4g.micro, t4g.small, t4g.medium, t4g.large",
    ),
    ({"monthly_budget": 0}, "monthly_budget must be at least 1 USD"),
    (
        {"database": replace(MANAGED, storage_gib=100, max_storage_gib=125)},
        "max_storage_gib must be at least 26 % more than storage_gib, as RDS advises",
    ),
    ({"database": replace(MANAGED, backup_days=0)}, "backup_days must be between 1 and 35"),
    ({"database": replace(MANAGED, backup_days=36)}, "backup_days must be between 1 and 35"),
    (
        {"database": replace(EXISTING, subnet_ids=("subnet-1",))},
        "an existing database needs one of subnet_ids for each of availability_zones",
    ),
    ({"max_quantity": 0}, "max_quantity must be between 1 and 1,000,000"),
    ({"max_quantity": 1_000_001}, "max_quantity must be between 1 and 1,000,000"),
    ({"publish_within": 0}, "publish_within must be at least 1 second"),
    ({"overdue_after": 0}, "overdue_after must be at least 1 second"),
    ({"retry_delay": 0}, "retry_delay must be at least 1 second"),
    ({"max_reminders": -1}, "max_reminders must not be negative"),
    (
        {"consumer_concurrency": 1},
        "consumer_concurrency must be between 2 and 1000, as Lambda requires for a queue",
    ),
    (
        {"consumer_concurrency": 1001},
        "consumer_concurrency must be between 2 and 1000, as Lambda requires for a queue",
    ),
]
"""Changes to the settings of dev, and what is said about each."""

NO_RULE = {
    "name": "an environment is found by its name, and the CDK rejects an impossible stack name",
    "dual_stack_sns": "both values make sense",
    "requires_alarm_email": "both values make sense",
    "smoke_test_orders": "both values make sense",
    "retain_data": "both values make sense",
    "termination_protection": "both values make sense",
}
"""The settings that need no rule, and why."""


def test_every_setting_has_a_rule_or_needs_none() -> None:
    names = {field.name for field in fields(Settings)}
    with_a_rule = {name for change, _ in REJECTED for name in change}
    unknown = sorted(names - with_a_rule - NO_RULE.keys())
    assert not unknown, (
        f"{', '.join(unknown)}: add a rule to Settings._problems and a value that it rejects to"
        " REJECTED in tests/unit/test_settings.py, or say in NO_RULE why every value is right"
    )
    assert NO_RULE.keys() <= names - with_a_rule, "remove the entry from NO_RULE"


@pytest.mark.parametrize(("change", "sentence"), REJECTED, ids=str)
def test_wrong_setting_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'environment dev: {sentence}')}$"):
        replace(DEV, **change)


def test_all_wrong_settings_are_named_at_once() -> None:
    sentences = (
        "environment dev: max_quantity must be between 1 and 1,000,000; "
        "alarm_email 'nobody' is not an e-mail address"
    )
    with pytest.raises(ValueError, match=f"^{sentences}$"):
        replace(DEV, max_quantity=0, alarm_email="nobody")


def test_environment_says_whether_plain_http_is_allowed() -> None:
    """The default factory has no https: False would fail everywhere, and True would go unnoticed."""
    with pytest.raises(TypeError, match="allow_http_factory"):
        Settings(name="new", database=MANAGED)  # type: ignore[call-arg]  # the test omits the argument on purpose


def test_function_whose_connections_are_not_counted_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = {**settings.DATABASE_USERS, "new": "shop_new", "newer": "shop_newer"}
    monkeypatch.setattr(settings, "DATABASE_USERS", users)
    with pytest.raises(
        ValueError, match="_peak_concurrency does not say how many executions of new, newer may"
    ):
        replace(DEV)


@pytest.mark.parametrize(
    "change",
    [
        {"log_retention_days": 14},
        {"factory_url": "https://factory.test/api", "allow_http_factory": False},
        {"public_url": "http://127.0.0.1:8080"},
        {"allowed_origins": ("https://shop.test", "https://my-shop.test:8443")},
        {
            "allowed_origins": (
                "http://localhost:5173",
                "http://127.0.0.1",
                "https://localhost:3000",
            )
        },
        {"public_url": None},
        {"publish_within": 1, "overdue_after": 1, "retry_delay": 1},
        {"max_reminders": 0},
        {"consumer_concurrency": 2},
        {"consumer_concurrency": 1000},
        {"max_quantity": 1},
        {"max_quantity": 1_000_000},
        {"endpoint_zones": 2},
        {"idempotency_retention": 24 * 3600},
        {"requester_retention": 24 * 3600},
        {"monthly_budget": 1},
        {"database": replace(MANAGED, storage_gib=100, max_storage_gib=126)},
        {"reserved_concurrency": reservations(14)},
        {"alarm_email": "ops@shop.test"},
        {"runbook_url": "https://docs.test/shop/runbook.md"},
        {"database": MANAGED},
        {"database": EXISTING},
    ],
    ids=str,
)
def test_correct_setting_is_accepted(change: dict[str, Any]) -> None:
    changed = replace(DEV, **change)
    assert {name: getattr(changed, name) for name in change} == change


def test_context_overrides_settings() -> None:
    context = {
        "factory_url": "https://factory.test/api",
        "public_url": "https://shop.test",
        "database_ca_file": "/tmp/ca.pem",
    }
    assert DEV.override(context) == replace(
        DEV,
        factory_url="https://factory.test/api",
        public_url="https://shop.test",
        database_ca_file="/tmp/ca.pem",
    )


def test_context_overrides_the_login_of_a_managed_database() -> None:
    local = ENVIRONMENTS["local"]
    assert isinstance(local.database, ManagedDatabase)
    assert local.override({"database_login": "iam"}) == replace(
        local, database=replace(local.database, login="iam")
    )


def test_context_with_a_wrong_login_is_rejected() -> None:
    with pytest.raises(ValueError, match="the database's login 'none' is not one of iam, secret"):
        ENVIRONMENTS["local"].override({"database_login": "none"})


def test_context_with_a_login_to_existing_database_is_rejected() -> None:
    with pytest.raises(
        ValueError, match="environment dev: database_login is for a managed database"
    ):
        replace(DEV, database=EXISTING).override({"database_login": "iam"})


def test_context_overrides_nothing_else() -> None:
    assert DEV.override({"max_quantity": "7", "database": "mine", "factory_url": ""}) == DEV


def test_setting_in_the_context_is_checked() -> None:
    with pytest.raises(ValueError, match="factory_url"):
        DEV.override({"factory_url": "factory.test"})


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment_is_found_by_its_own_name(name: str) -> None:
    assert ENVIRONMENTS[name].name == name


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_customer_data_outlives_its_stack(name: str) -> None:
    environment = ENVIRONMENTS[name]
    assert environment.retain_data
    assert environment.idempotency_retention >= 24 * 3600


def test_dev_fits_an_account_on_the_free_plan() -> None:
    """RDS rejects more than one day of backups there, and a new account can't reserve concurrency."""
    assert isinstance(DEV.database, ManagedDatabase)
    assert DEV.database.backup_days == 1
    assert DEV.database.instance_class == "t4g.micro"
    assert not DEV.reserved_concurrency


def test_stacks_are_protected_from_deletion_in_prod_only() -> None:
    protected = {name for name in environments.FIRST if ENVIRONMENTS[name].termination_protection}
    assert protected == {"prod"}


def test_smoke_test_places_no_orders_in_prod_only() -> None:
    without = {name for name in environments.FIRST if not ENVIRONMENTS[name].smoke_test_orders}
    assert without == {"prod"}


@pytest.mark.parametrize(
    ("database", "name"),
    [
        pytest.param(MANAGED, "donut-shop-dev", id="new"),
        pytest.param(
            replace(MANAGED, snapshot="last-night"), "donut-shop-dev-cbedad02", id="restored"
        ),
        pytest.param(replace(MANAGED, named=False), None, id="named by CloudFormation"),
        pytest.param(EXISTING, None, id="existing"),
    ],
)
def test_database_instance_is_named_for_its_snapshot(
    database: ManagedDatabase | ExistingDatabase, name: str | None
) -> None:
    assert replace(DEV, database=database).database_instance == name


def test_snapshot_is_that_of_a_managed_database() -> None:
    restored = replace(DEV, database=replace(MANAGED, snapshot="last-night"))
    assert restored.snapshot == "last-night"
    assert not DEV.snapshot
    assert not replace(DEV, database=EXISTING).snapshot


@pytest.mark.parametrize(
    ("instance_class", "gib"),
    [("t4g.micro", 1), ("t4g.small", 2), ("t4g.medium", 4), ("t4g.large", 8)],
)
def test_connections_are_within_the_default_of_rds(instance_class: str, gib: int) -> None:
    """The default for MariaDB is DBInstanceClassMemory / 25165760."""
    assert 0.9 < MAX_CONNECTIONS[instance_class] / (gib * 2**30 / 25165760) <= 1


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_customer_data_has_backups_of_a_week(name: str) -> None:
    database = ENVIRONMENTS[name].database
    assert isinstance(database, ManagedDatabase)
    assert database.backup_days >= 7


@pytest.mark.parametrize("name", environments.MANAGED)
def test_zones_are_those_with_every_instance_family(name: str) -> None:
    """ap-northeast-2b lacks several families, such as t2, m4 and t3a."""
    assert ENVIRONMENTS[name].availability_zones == ("ap-northeast-2a", "ap-northeast-2c")


@pytest.mark.parametrize("name", environments.MANAGED)
def test_peak_of_connections_fits_the_database(name: str) -> None:
    """A reservation counts twice, because of deployments.

    Without a reservation, the throttle limits how many requests come while the first still runs.
    """
    environment = ENVIRONMENTS[name]
    assert isinstance(environment.database, ManagedDatabase)
    reserved = environment.reserved_concurrency
    concurrency = environment._peak_concurrency()
    for function, throttle in (
        ("sales", environment.throttle),
        ("restock", environment.callback_throttle),
    ):
        admitted = throttle.burst + throttle.rate * REQUEST_SECONDS
        expected = 2 * reserved[function] if function in reserved else admitted
        assert concurrency[function] == expected, function
    assert concurrency["relay"] == 2 * reserved.get("relay", 1), "one run per minute"
    assert concurrency["operate"] == 2, "two people at once"
    connections = 8 + sum(concurrency.values())  # 8: the migration and further operators
    assert connections == environment.peak_connections()
    assert connections < MAX_CONNECTIONS[environment.database.instance_class]


def test_alarm_address_is_required_in_prod_only() -> None:
    required = {name for name in environments.FIRST if ENVIRONMENTS[name].requires_alarm_email}
    assert required == {"prod"}


def test_context_gives_the_alarm_address() -> None:
    assert DEV.override({"alarm_email": "ops@shop.test"}).alarm_email == "ops@shop.test"
    with pytest.raises(ValueError, match="alarm_email 'ops' is not an e-mail address"):
        DEV.override({"alarm_email": "ops"})


def test_functions_with_ipv6_only_need_the_dual_stack_endpoint_of_sns() -> None:
    """Interface endpoints replace the ordinary name only, and local functions call the emulator."""
    endpoints = {
        name: each.sns_endpoint for name, each in ENVIRONMENTS.items() if each.sns_endpoint
    }
    assert "dev" in endpoints
    assert endpoints == {
        name: "https://sns.ap-northeast-2.api.aws"
        for name in environments.WITH_IPV6
        if name != "local"
    }
    assert replace(DEV, endpoint_zones=1).sns_endpoint is None
    assert replace(DEV, database=EXISTING).sns_endpoint is None


# --- names


def test_names_for_all_environments_of_an_account_stay() -> None:
    """A role or stack with another name would be a second one."""
    assert settings.DIFF_ROLE_NAME == "donut-shop-diff"
    assert settings.GITHUB_STACK_NAME == "donut-shop-github"


def test_settings_become_variables_under_their_own_names() -> None:
    assert DEV.variables("overdue_after", "factory_url") == {
        "OVERDUE_AFTER": str(DEV.overdue_after),
        "FACTORY_URL": DEV.factory_url,
    }


def test_missing_setting_does_not_become_a_variable() -> None:
    """A function would read the text `None`, and take it for a value."""
    with pytest.raises(ValueError, match="environment dev: public_url is None") as rejected:
        replace(DEV, public_url=None).variables("overdue_after", "public_url")
    assert str(rejected.value).endswith(
        ", which no variable can hold: give it another value in settings.py,"
        " or leave it out in stacks/service_stack.py"
    )


@pytest.mark.parametrize("function", ["sales", "stock_check", "stock_check_dev"])
def test_function_is_found_by_its_physical_name(function: str) -> None:
    assert DEV.function_of(DEV.function_name(function)) == function


@pytest.mark.parametrize(
    ("folder", "name"), [("sales", "Sales"), ("stock_check", "StockCheck"), ("a_b_c", "ABC")]
)
def test_folder_becomes_a_name_in_pascal_case(folder: str, name: str) -> None:
    assert settings.pascal_case(folder) == name


def test_functions_are_the_folders_with_a_handler() -> None:
    folders = {path.name for path in settings.LAMBDAS.iterdir() if (path / "handler.py").exists()}
    assert list(settings.FUNCTIONS) == sorted(folders)
