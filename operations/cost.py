"""Print what environments cost per month, from their templates and the dated prices in prices.toml.

Not counted: data transfer (the first 100 GB out are free), backups larger than the database, the
bucket of the assets, tax.
"""

import argparse
import json
import math
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settings import ENVIRONMENTS, Settings

PRICES = Path(__file__).with_name("prices.toml")
HOURS = 730
MINUTES = HOURS * 60
FREE = frozenset(
    {
        "AWS::ApiGatewayV2::Api",  # billed per request
        "AWS::ApiGatewayV2::Integration",
        "AWS::ApiGatewayV2::Route",
        "AWS::ApiGatewayV2::Stage",
        "AWS::Budgets::Budget",  # only budgets with actions are billed
        "AWS::EC2::EgressOnlyInternetGateway",
        "AWS::EC2::FlowLog",  # billed by log volume, and hardly any traffic is rejected
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
        "AWS::Lambda::Function",  # billed per request and by time
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Permission",
        "AWS::Lambda::Version",
        "AWS::Logs::LogGroup",  # billed by volume
        "AWS::Logs::QueryDefinition",  # a query is billed by what it reads
        "AWS::RDS::DBParameterGroup",
        "AWS::RDS::DBSubnetGroup",
        "AWS::RDS::EventSubscription",
        "AWS::SNS::Subscription",
        "AWS::SNS::Topic",  # billed per request
        "AWS::SNS::TopicPolicy",
        "AWS::SQS::Queue",  # billed per request
        "AWS::SQS::QueuePolicy",
        "Custom::Trigger",
    }
)
"""Resource types without a fixed monthly cost. A type that is neither here nor in `fixed_usage` is
rejected."""

LOG_LINE = 400 / 1e9
"""GB of one log line; assumed."""
LOG_LINES = 3
"""Lines per invocation: the function's own, `platform.start` and `platform.report`."""
STOCK_LINES = MINUTES
"""Lines per month in which the relay logs the stock: one per minute and product. The one product is
assumed."""
LONG_POLLS = 5 * 3 * MINUTES
"""Receives per month: Lambda polls a queue with five connections, for 20 seconds each."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """One entry of prices.toml; its comments explain the fields."""

    usd: float
    unit: str
    seen: str
    source: str
    free: float = 0


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The traffic of one month."""

    checkouts: int = 0
    reads: float = 1
    """Reads of the product per checkout."""
    out_of_stock: float = 0.02
    """Share of the checkouts that end in a production order; assumed."""

    @property
    def orders(self) -> int:
        """Return the number of production orders."""
        return math.ceil(self.checkouts * self.out_of_stock)

    @property
    def purchases_and_reads(self) -> int:
        """Return the number of requests of customers."""
        return math.ceil(self.checkouts * (1 + self.reads))


IDLE, MILLION = Traffic(), Traffic(checkouts=1_000_000)


@dataclass(frozen=True, kw_only=True)
class Work:
    """How often a function runs, and for how long."""

    seconds: float
    """Mean duration of an invocation; assumed."""
    invocations: Callable[[Traffic], int]
    """Returns the number of invocations per month."""


WORK = {
    "sales": Work(seconds=0.02, invocations=lambda traffic: traffic.purchases_and_reads),
    "restock": Work(seconds=0.02, invocations=lambda traffic: traffic.orders),
    "relay": Work(seconds=0.05, invocations=lambda traffic: MINUTES),
    "consumer": Work(seconds=0.5, invocations=lambda traffic: traffic.orders),
    "operate": Work(seconds=0, invocations=lambda traffic: 0),  # runs when a person invokes it
    "migrate": Work(seconds=0, invocations=lambda traffic: 0),  # runs at deployments only
}
"""Function → its work. Every function of the templates is here."""

Usage = Counter[str]
"""How much is used of each item of prices.toml."""


def read_prices() -> tuple[str, dict[str, Price]]:
    """Return the date and the region of the price list, and the prices by item."""
    content = tomllib.loads(PRICES.read_text())
    prices = {name: Price(**price) for name, price in content["prices"].items()}
    return f"{content['date']}, {content['region']}", prices


def fixed_usage(kind: str, properties: Mapping[str, Any]) -> Mapping[str, float]:
    """Return what a resource uses per month without any traffic.

    Raises ValueError for an unknown type.
    """
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
            # An alarm on a formula is billed per metric of the formula.
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


def usage_from_traffic(traffic: Traffic, *, memory_mib: Mapping[str, int]) -> Usage:
    """Return what a month's traffic uses. memory_mib: by function.

    Raises ValueError for a function without WORK.
    """
    if unknown := memory_mib.keys() - WORK.keys():
        raise ValueError(
            f"no traffic is assumed for {', '.join(sorted(unknown))}:"
            " add it to WORK in operations/cost.py"
        )
    if removed := WORK.keys() - memory_mib.keys():
        raise ValueError(
            f"there is no function {', '.join(sorted(removed))}:"
            " remove it from WORK in operations/cost.py"
        )
    requests = traffic.purchases_and_reads + traffic.orders
    invocations = {name: work.invocations(traffic) for name, work in WORK.items()}
    return Counter(
        {
            "Lambda requests": sum(invocations.values()),
            "Lambda arm64": sum(
                count * WORK[name].seconds * memory_mib[name] / 1024
                for name, count in invocations.items()
            ),
            "HTTP API requests": requests,
            "SNS requests": traffic.orders,
            "SQS requests": LONG_POLLS + 3 * traffic.orders,
            "CloudWatch logs": LOG_LINE
            * (LOG_LINES * sum(invocations.values()) + STOCK_LINES + requests),
        }
    )


def usage(resources: Iterable[Mapping[str, Any]], traffic: Traffic, settings: Settings) -> Usage:
    """Return all that an environment uses per month.

    resources: those of the environment's templates. Raises ValueError.
    """
    total: Usage = Counter()
    memory_mib = {}
    for resource in resources:
        properties = resource.get("Properties", {})
        total.update(fixed_usage(resource["Type"], properties))
        if resource["Type"] == "AWS::Lambda::Function" and "FunctionName" in properties:
            function = settings.function_of(properties["FunctionName"])
            memory_mib[function] = properties["MemorySize"]
    total.update(usage_from_traffic(traffic, memory_mib=memory_mib))
    return +total


def cost(used: Usage, prices: Mapping[str, Price], *, free: bool) -> float:
    """Return the cost in USD. Raises KeyError for an item without a price.

    free: subtract the free allowance, as in an account that nothing else uses.
    """
    return sum(
        max(0, quantity - (prices[name].free if free else 0)) * prices[name].usd
        for name, quantity in used.items()
    )


def table(
    resources: Iterable[Mapping[str, Any]], prices: Mapping[str, Price], settings: Settings
) -> str:
    """Return the costs of a month as text: without customers, and with a million checkouts."""
    resources = list(resources)
    idle, million = (usage(resources, traffic, settings) for traffic in (IDLE, MILLION))
    rows = [f"{settings.name:28}{'idle month':>26}{'a million checkouts':>26}"]
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


def resources_of(assembly: Path, settings: Settings) -> list[dict[str, Any]]:
    """Return the resources of an environment.

    Raises FileNotFoundError if the assembly does not contain the environment.
    """
    templates = list(assembly.glob(f"{settings.stack_name('*')}.template.json"))
    if not templates:
        raise FileNotFoundError(f"{assembly} has no templates of {settings.name}")
    return [
        resource
        for path in templates
        for resource in json.loads(path.read_text())["Resources"].values()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operations.cost", description=__doc__)
    parser.add_argument("assembly", type=Path, help="the directory that `cdk synth` wrote")
    parser.add_argument("environments", nargs="+", choices=ENVIRONMENTS)
    arguments = parser.parse_args()
    listed, prices = read_prices()
    print(f"USD per month, by the prices of {listed}; (?): the price is unverified.")
    print(
        f"Assumed: {MILLION.reads:g} read of the product per checkout, and"
        f" {MILLION.out_of_stock:.0%} of the checkouts are out of stock."
    )
    print(
        "In an account of its own: less the free allowance of each account"
        " (10 alarms, 10 metrics, ...)."
    )
    for environment in arguments.environments:
        settings = ENVIRONMENTS[environment]
        print(f"\n{table(resources_of(arguments.assembly, settings), prices, settings)}")


if __name__ == "__main__":
    main()
