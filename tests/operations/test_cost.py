"""What `make cost` counts, and that it counts every resource and every function."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operations import cost
from operations.cost import HOURS, IDLE, MILLION, MINUTES, WORK, Price, Traffic
from settings import DATABASE_USERS, ENVIRONMENTS, PROJECT, ManagedDatabase
from stacks.monitoring_stack import BUDGET_PERCENT
from tests.support.assembly import Assembly, synth
from tests.support.environments import ON_AN_ACCOUNT

DEV = ENVIRONMENTS["dev"]
DEV_IDLE = 23
"""USD per month that dev may cost while nobody uses it, in an account of its own."""
PRICES = {"alarm": Price(usd=0.5, unit="", seen="documented", source="", free=10)}


def function(name: str) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {"FunctionName": DEV.function_name(name), "MemorySize": 1024},
    }


FUNCTIONS = [function(name) for name in WORK]


def database(**properties: Any) -> dict[str, Any]:
    return {"DBInstanceClass": "db.t4g.micro", "AllocatedStorage": "20", **properties}


def resources(assembly: Assembly) -> list[dict[str, Any]]:
    return [
        resource
        for template in assembly.templates.values()
        for resource in template["Resources"].values()
    ]


@pytest.mark.parametrize(
    ("kind", "properties", "used"),
    [
        ("AWS::RDS::DBInstance", database(), {"RDS db.t4g.micro": HOURS, "RDS gp3 storage": 20}),
        (
            "AWS::RDS::DBInstance",
            database(MultiAZ=True, ManageMasterUserPassword=True),
            {"RDS db.t4g.micro": 2 * HOURS, "RDS gp3 storage": 40, "Secret": 1},
        ),
        (
            "AWS::EC2::VPCEndpoint",
            {"VpcEndpointType": "Interface", "SubnetIds": ["a", "b"]},
            {"Interface endpoint": 2 * HOURS},
        ),
        ("AWS::SecretsManager::Secret", {}, {"Secret": 1}),
        ("AWS::CloudWatch::Alarm", {}, {"CloudWatch alarm": 1}),
        (
            "AWS::CloudWatch::Alarm",
            {"Metrics": [{"Expression": "a / b"}, {"MetricStat": {}}, {"MetricStat": {}}]},
            {"CloudWatch alarm": 2},
        ),
        ("AWS::CloudWatch::Dashboard", {}, {"CloudWatch dashboard": 1}),
        ("AWS::Logs::MetricFilter", {}, {"CloudWatch metric": 1}),
        ("AWS::EC2::EgressOnlyInternetGateway", {}, {}),
    ],
)
def test_fixed_usage_is_what_aws_bills(
    kind: str, properties: dict[str, Any], used: dict[str, float]
) -> None:
    assert +Counter(cost.fixed_usage(kind, properties)) == used


@pytest.mark.parametrize("kind", ["AWS::EC2::NatGateway", "AWS::EC2::VPCEndpoint", "AWS::KMS::Key"])
def test_resource_without_a_price_is_rejected(kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind} has no price"):
        cost.usage([{"Type": kind}], IDLE, DEV)


@pytest.mark.parametrize("name", ["unknown", "two_words", "two-words"])
def test_function_without_work_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=rf"assumed for {name}: add it to WORK in operations/cost"):
        cost.usage([*FUNCTIONS, function(name)], IDLE, DEV)


def test_work_without_a_function_is_rejected() -> None:
    """A function that was deleted would otherwise fail with a bare KeyError."""
    with pytest.raises(ValueError, match="there is no function sales: remove it from WORK"):
        cost.usage([function(name) for name in WORK if name != "sales"], IDLE, DEV)


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the functions that the expected totals are made of, and let `cost` know no others."""
    names = ("sales", "restock", "relay", "consumer", "migrate")
    monkeypatch.setattr(cost, "WORK", {name: WORK[name] for name in names})
    return [function(name) for name in names]


def test_idle_month_uses_the_relay_and_polls_the_queue(functions: list[dict[str, Any]]) -> None:
    used = cost.usage(functions, IDLE, DEV)
    assert used["Lambda requests"] == MINUTES
    assert used["Lambda arm64"] == pytest.approx(MINUTES * WORK["relay"].seconds)
    assert used["SQS requests"] == cost.LONG_POLLS
    assert used.keys() == {"Lambda requests", "Lambda arm64", "SQS requests", "CloudWatch logs"}


def test_traffic_adds_to_the_idle_month(functions: list[dict[str, Any]]) -> None:
    idle = cost.usage(functions, IDLE, DEV)
    busy = cost.usage(functions, Traffic(checkouts=1000, reads=2, out_of_stock=0.1), DEV)
    more = {item: pytest.approx(quantity) for item, quantity in (busy - idle).items()}
    assert more == {
        "HTTP API requests": 3000 + 100,
        "Lambda requests": 3000 + 100 + 100,
        "Lambda arm64": 3000 * 0.02 + 100 * 0.02 + 100 * 0.5,
        "SNS requests": 100,
        "SQS requests": 300,
        "CloudWatch logs": cost.LOG_LINE * (3 * 3200 + 3100),
    }


@pytest.mark.parametrize(
    ("alarms", "listed", "own"), [(4, 2.0, 0.0), (10, 5.0, 0.0), (12, 6.0, 1.0)]
)
def test_allowance_is_subtracted_down_to_zero(alarms: int, listed: float, own: float) -> None:
    used = Counter({"alarm": alarms})
    assert cost.cost(used, PRICES, free=False) == listed
    assert cost.cost(used, PRICES, free=True) == own


def test_item_without_a_price_is_rejected() -> None:
    with pytest.raises(KeyError):
        cost.cost(Counter({"parking": 1}), PRICES, free=False)


def test_every_used_item_has_a_price() -> None:
    listed, prices = cost.read_prices()
    assert listed.endswith("ap-northeast-2")
    used = cost.usage(FUNCTIONS, Traffic(checkouts=1000), DEV)
    for settings in ENVIRONMENTS.values():
        if isinstance(settings.database, ManagedDatabase):
            used.update(
                cost.fixed_usage(
                    "AWS::RDS::DBInstance",
                    database(DBInstanceClass=f"db.{settings.database.instance_class}"),
                )
            )
    assert used.keys() <= prices.keys()
    assert {price.seen for price in prices.values()} == {"documented", "unverified"}
    for name, price in prices.items():
        assert price.usd > 0, name
        assert price.source.startswith("https://aws.amazon.com/"), name


def test_table_marks_unverified_prices() -> None:
    _, prices = cost.read_prices()
    alarm = {"Type": "AWS::CloudWatch::Alarm"}
    lines = cost.table([*FUNCTIONS, *[alarm] * 12], prices, DEV).splitlines()
    cells = {line[:28].strip(): line[28:].split() for line in lines}
    assert cells["CloudWatch alarm"] == ["12", "1.20", "12", "1.20"]
    assert "SQS requests (?)" in cells
    assert (
        float(cells["in an account of its own"][0])
        < float(cells["list price"][0])
        < float(cells["list price"][1])
    )


@pytest.mark.parametrize(("login", "secrets"), [("iam", 1), ("secret", 1 + len(DATABASE_USERS))])
def test_each_password_costs_a_secret(login: str, secrets: int, tmp_path: Path) -> None:
    """One is the master user's. With password login, each function has one, too."""
    assembly = synth(DEV.override({"database_login": login}), tmp_path)
    assert cost.usage(resources(assembly), IDLE, DEV)["Secret"] == secrets


def test_every_resource_has_a_price(assembly: Assembly) -> None:
    _, prices = cost.read_prices()
    idle, million = (
        cost.usage(resources(assembly), traffic, assembly.settings) for traffic in (IDLE, MILLION)
    )
    assert 0 < cost.cost(idle, prices, free=False) < cost.cost(million, prices, free=False)


def test_idle_dev_costs_no_more_than_planned(assembly_of: Callable[[str], Assembly]) -> None:
    _, prices = cost.read_prices()
    idle = cost.usage(resources(assembly_of("dev")), IDLE, DEV)
    assert cost.cost(idle, prices, free=True) <= DEV_IDLE


@pytest.mark.parametrize("name", ON_AN_ACCOUNT)
def test_readme_names_the_cost_of_an_idle_month(
    name: str, assembly_of: Callable[[str], Assembly]
) -> None:
    _, prices = cost.read_prices()
    idle = cost.usage(resources(assembly_of(name)), IDLE, ENVIRONMENTS[name])
    usd = round(cost.cost(idle, prices, free=True))
    assert re.search(rf"\b{name} {usd}\b", (PROJECT / "README.md").read_text()), (
        f"README.md names the cost of an idle month: {name} {usd}"
    )


def test_assembly_without_the_environment_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no templates of dev"):
        cost.resources_of(tmp_path, DEV)


def test_resources_are_read_from_the_environments_own_templates(assembly: Assembly) -> None:
    read = cost.resources_of(assembly.directory, assembly.settings)
    assert len(read) == len(resources(assembly))


@pytest.mark.parametrize("name", ON_AN_ACCOUNT)
def test_idle_environment_stays_below_the_alarm_of_its_budget(
    name: str, assembly_of: Callable[[str], Assembly]
) -> None:
    """At list prices, because the allowance may be used by something else."""
    settings = ENVIRONMENTS[name]
    _, prices = cost.read_prices()
    idle = cost.usage(resources(assembly_of(name)), IDLE, settings)
    assert cost.cost(idle, prices, free=False) < settings.monthly_budget * BUDGET_PERCENT / 100
