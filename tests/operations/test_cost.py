from collections import Counter
from typing import Any

import pytest

from operations import cost
from operations.cost import HOURS, IDLE, MINUTES, Price, Traffic
from settings import ENVIRONMENTS, ManagedDatabase

PRICES = {"alarm": Price(usd=0.5, unit="", seen="documented", source="", free=10)}
FUNCTIONS = [
    {
        "Type": "AWS::Lambda::Function",
        "Properties": {"FunctionName": f"donut-shop-{name}-dev", "MemorySize": 1024},
    }
    for name in cost.SECONDS
]


def database(**properties: Any) -> dict[str, Any]:
    return {"DBInstanceClass": "db.t4g.micro", "AllocatedStorage": "20", **properties}


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
def test_a_resource_uses_up_what_it_is_billed_for(
    kind: str, properties: dict[str, Any], used: dict[str, float]
) -> None:
    assert +Counter(cost.standing(kind, properties)) == used


@pytest.mark.parametrize("kind", ["AWS::EC2::NatGateway", "AWS::EC2::VPCEndpoint", "AWS::KMS::Key"])
def test_a_resource_without_a_price_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"{kind} has no price"):
        cost.usage([{"Type": kind}], IDLE)


def test_a_function_without_traffic_is_refused() -> None:
    extra = {
        "Type": "AWS::Lambda::Function",
        "Properties": {"FunctionName": "donut-shop-new-dev", "MemorySize": 256},
    }
    with pytest.raises(ValueError, match="no traffic is assumed for new"):
        cost.usage([*FUNCTIONS, extra], IDLE)


def test_an_idle_month_is_the_relay_and_the_wait_at_the_queue() -> None:
    used = cost.usage(FUNCTIONS, IDLE)
    assert used["Lambda requests"] == MINUTES
    assert used["Lambda arm64"] == pytest.approx(MINUTES * cost.SECONDS["relay"])
    assert used["SQS requests"] == cost.LONG_POLLS
    assert used.keys() == {"Lambda requests", "Lambda arm64", "SQS requests", "CloudWatch logs"}


def test_traffic_is_billed_on_top() -> None:
    idle = cost.usage(FUNCTIONS, IDLE)
    busy = cost.usage(FUNCTIONS, Traffic(checkouts=1000, reads=2, out_of_stock=0.1))
    more = {item: pytest.approx(quantity) for item, quantity in (busy - idle).items()}
    assert more == {
        "HTTP API requests": 3000 + 100,
        "Lambda requests": 3000 + 100 + 100,
        "Lambda arm64": 3000 * 0.02 + 100 * 0.02 + 100 * 0.5,
        "SNS requests": 100,
        "SQS requests": 300,
        "CloudWatch logs": cost.LINE * (3 * 3200 + 3100),
    }


@pytest.mark.parametrize(
    ("alarms", "listed", "own"), [(4, 2.0, 0.0), (10, 5.0, 0.0), (12, 6.0, 1.0)]
)
def test_the_allowance_is_taken_off_and_never_paid_out(
    alarms: int, listed: float, own: float
) -> None:
    used = Counter({"alarm": alarms})
    assert cost.cost(used, PRICES, free=False) == listed
    assert cost.cost(used, PRICES, free=True) == own


def test_what_has_no_price_in_the_list_is_refused() -> None:
    with pytest.raises(KeyError):
        cost.cost(Counter({"parking": 1}), PRICES, free=False)


def test_the_list_prices_all_that_can_be_used_up() -> None:
    listed, prices = cost.read_prices()
    assert listed.endswith("ap-northeast-2")
    used = cost.usage(FUNCTIONS, Traffic(checkouts=1000))
    for settings in ENVIRONMENTS.values():
        assert isinstance(settings.database, ManagedDatabase)
        used.update(
            cost.standing(
                "AWS::RDS::DBInstance",
                database(DBInstanceClass=f"db.{settings.database.instance_class}"),
            )
        )
    assert used.keys() <= prices.keys()
    assert {price.seen for price in prices.values()} == {"documented", "unverified"}
    assert all(
        price.usd > 0 and price.source.startswith("https://aws.amazon.com/")
        for price in prices.values()
    )


def test_the_table_marks_what_is_unverified() -> None:
    _, prices = cost.read_prices()
    alarm = {"Type": "AWS::CloudWatch::Alarm"}
    lines = cost.table("dev", [*FUNCTIONS, *[alarm] * 12], prices).splitlines()
    cells = {line[:28].strip(): line[28:].split() for line in lines}
    assert cells["CloudWatch alarm"] == ["12", "1.20", "12", "1.20"]
    assert "SQS requests (?)" in cells
    assert (
        float(cells["in an account of its own"][0])
        < float(cells["list price"][0])
        < float(cells["list price"][1])
    )
