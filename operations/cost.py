"""What an environment costs a month, from its synthesized templates and the dated prices in prices.toml.

Not counted: data transfer (the first 100 GB out are free), backups larger than the database, the assets' bucket, tax.
"""

import argparse
import json
import math
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PRICES = Path(__file__).with_name("prices.toml")
HOURS = 730
MINUTES = HOURS * 60
FREE = frozenset(
    {
        "AWS::ApiGatewayV2::Api",  # by request
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::EC2::EgressOnlyInternetGateway",
        "AWS::EC2::FlowLog",  # by log volume, and rejected traffic is next to none
        "AWS::EC2::Route",
        "AWS::EC2::RouteTable",
        "AWS::EC2::SecurityGroup",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::EC2::Subnet",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::VPC",
        "AWS::EC2::VPCCidrBlock",
        "AWS::Events::Rule",
        "AWS::IAM::Policy",
        "AWS::IAM::Role",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Function",  # by request and time
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Permission",
        "AWS::Lambda::Version",
        "AWS::Logs::LogGroup",  # by volume
        "AWS::RDS::DBParameterGroup",
        "AWS::RDS::DBSubnetGroup",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",  # by request
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::Queue",  # by request
        "AWS::SQS::QueuePolicy",
        "Custom::Trigger",
    }
)
"""Types that cost nothing for being there. One that is neither here nor in `standing` is refused."""

SECONDS = {"sales": 0.02, "restock": 0.02, "relay": 0.05, "consumer": 0.5, "migrate": 0}
"""Each function's mean duration; assumed. Migrations run at deployments only."""
LINE = 400 / 1e9
"""GB of one log line; assumed."""
LINES = 3
"""Of one invocation: the function's own, `platform.start` and `platform.report`."""
LONG_POLLS = 5 * 3 * MINUTES
"""Lambda waits at a queue with five connections, 20 seconds each."""


@dataclass(frozen=True, kw_only=True)
class Price:
    usd: float
    unit: str
    seen: str
    source: str
    free: float = 0
    """What an account has each month for nothing."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """One month's."""

    checkouts: int = 0
    reads: float = 1
    """Of the product, for each checkout."""
    out_of_stock: float = 0.02
    """Share of the checkouts that end in a production order."""


IDLE, MILLION = Traffic(), Traffic(checkouts=1_000_000)

Usage = Counter[str]
"""How much of what, by the names in prices.toml."""


def read_prices() -> tuple[str, dict[str, Price]]:
    """Date and region of the list, and the prices by name."""
    content = tomllib.loads(PRICES.read_text())
    prices = {name: Price(**price) for name, price in content["prices"].items()}
    return f"{content['date']}, {content['region']}", prices


def standing(kind: str, properties: Mapping[str, Any]) -> Mapping[str, float]:
    """What a resource uses up in a month by being there. Raises ValueError for a type that nobody has priced."""
    match kind:
        case "AWS::RDS::DBInstance":
            copies = 2 if properties.get("MultiAZ") else 1
            return {
                f"RDS {properties['DBInstanceClass']}": copies * HOURS,
                "RDS gp3 storage": copies * float(properties["AllocatedStorage"]),
                "Secret": 1 if properties.get("ManageMasterUserPassword") else 0,
            }
        case "AWS::EC2::VPCEndpoint" if properties.get("VpcEndpointType") == "Interface":
            return {"Interface endpoint": HOURS * len(properties["SubnetIds"])}
        case "AWS::SecretsManager::Secret":
            return {"Secret": 1}
        case "AWS::CloudWatch::Alarm":
            # An alarm on a formula is billed for each metric in it.
            return {
                "CloudWatch alarm": sum(
                    "MetricStat" in metric for metric in properties.get("Metrics", ())
                )
                or 1
            }
        case "AWS::CloudWatch::Dashboard":
            return {"CloudWatch dashboard": 1}
        case "AWS::Logs::MetricFilter":
            return {"CloudWatch metric": 1}
        case _ if kind in FREE:
            return {}
    raise ValueError(f"{kind} has no price: give it one in operations/cost.py, or list it as free")


def moving(traffic: Traffic, *, memory_mib: Mapping[str, int]) -> Usage:
    """What a month's traffic uses up. memory_mib: by function. Raises ValueError for an unknown one."""
    if unknown := memory_mib.keys() - SECONDS.keys():
        raise ValueError(
            f"no traffic is assumed for {', '.join(sorted(unknown))}: do so in operations/cost.py"
        )
    orders = math.ceil(traffic.checkouts * traffic.out_of_stock)
    requests = math.ceil(traffic.checkouts * (1 + traffic.reads)) + orders
    invocations = {
        "sales": requests - orders,
        "restock": orders,
        "consumer": orders,
        "relay": MINUTES,
    }
    return Counter(
        {
            "Lambda requests": sum(invocations.values()),
            "Lambda arm64": sum(
                count * SECONDS[name] * memory_mib[name] / 1024
                for name, count in invocations.items()
            ),
            "HTTP API requests": requests,
            "SNS requests": orders,
            "SQS requests": LONG_POLLS + 3 * orders,
            "CloudWatch logs": LINE * (LINES * sum(invocations.values()) + requests),
        }
    )


def usage(resources: Iterable[Mapping[str, Any]], traffic: Traffic) -> Usage:
    """All that an environment uses up in a month. resources: as in its templates."""
    total: Usage = Counter()
    memory_mib = {}
    for resource in resources:
        properties = resource.get("Properties", {})
        total.update(standing(resource["Type"], properties))
        if resource["Type"] == "AWS::Lambda::Function" and "FunctionName" in properties:
            memory_mib[properties["FunctionName"].split("-")[2]] = properties["MemorySize"]
    total.update(moving(traffic, memory_mib=memory_mib))
    return +total


def cost(used: Usage, prices: Mapping[str, Price], *, free: bool) -> float:
    """USD. free: in an account whose monthly allowance nothing else uses. Raises KeyError for what has no price."""
    return sum(
        max(0, quantity - (prices[name].free if free else 0)) * prices[name].usd
        for name, quantity in used.items()
    )


def table(name: str, resources: Iterable[Mapping[str, Any]], prices: Mapping[str, Price]) -> str:
    """An environment's costs as text: what a month without customers uses up, and one with a million checkouts."""
    resources = list(resources)
    idle, million = usage(resources, IDLE), usage(resources, MILLION)
    rows = [f"{name:28}{'idle month':>26}{'a million checkouts':>26}"]
    for item in sorted(million, key=lambda item: -idle[item] * prices[item].usd):
        price = prices[item]
        label = item + (" (?)" if price.seen == "unverified" else "")
        cells = [
            f"{round(used[item], 2):>14,.10g} {price.unit:4} {used[item] * price.usd:>6.2f}"
            for used in (idle, million)
        ]
        rows.append(f"{label:28}{''.join(cells)}")
    for label, free in (("list price", False), ("in an account of its own", True)):
        cells = [f"{cost(used, prices, free=free):>26.2f}" for used in (idle, million)]
        rows.append(f"{label:28}{''.join(cells)}")
    return "\n".join(rows)


def resources_of(assembly: Path, environment: str) -> list[dict[str, Any]]:
    """Raises FileNotFoundError if the environment is not in the assembly."""
    templates = list(assembly.glob(f"donut-shop-*-{environment}.template.json"))
    if not templates:
        raise FileNotFoundError(f"{assembly} has no templates of {environment}")
    return [
        resource
        for path in templates
        for resource in json.loads(path.read_text())["Resources"].values()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operations.cost", description=__doc__)
    parser.add_argument("assembly", type=Path, help="what `cdk synth` wrote")
    parser.add_argument("environments", nargs="+")
    arguments = parser.parse_args()
    listed, prices = read_prices()
    print(f"USD a month, by the prices of {listed}; (?): the price is unverified.")
    print(
        f"{MILLION.reads:g} read of the product for each checkout; {MILLION.out_of_stock:.0%} are out of stock."
    )
    print(
        "In an account of its own: less what each has for nothing (10 alarms, 10 metrics, 3 dashboards, ...)."
    )
    for environment in arguments.environments:
        print(f"\n{table(environment, resources_of(arguments.assembly, environment), prices)}")


if __name__ == "__main__":
    main()
