"""Compute the tables of docs/scale.md from results.json, the price list and AWS's quotas.

`make bench` renews them with the results. A test compares the page with them.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.parts.consumer import BATCH
from bench.report import number
from migrate.catalogue import MAX_SLOTS
from operations.cost import read_prices
from settings import PROJECT

PAGE = PROJECT / "docs/scale.md"
RESULTS = Path(__file__).with_name("results.json")
RATES = (100, 1_000, 10_000, 100_000)
"""Checkouts per second of one product."""
SYNC = 0.001
"""Seconds of one sync of the log to network storage, which the benchmark simulates."""
REQUEST = 0.02
"""Seconds that a checkout keeps its function and its connection busy on AWS. Assumed."""
OUT_OF_STOCK = 0.01
"""Share of the checkouts that are out of stock. Assumed; at sell-out it is 1."""
API_QUOTA = 10_000
"""Requests per second to all APIs of an account in Seoul. It can be raised."""
CONCURRENCY_QUOTA = 1_000
"""Concurrent executions of all functions of an account. It can be raised."""
REQUESTS_PER_EXECUTION = 10
"""Requests per second that Lambda admits for each concurrent execution of the quota."""
BATCH_QUOTA = 1_000
"""Batches that one queue's event source works on at the same time. It can't be raised."""
ITEM_QUOTA = 1_000
"""Write units per second that one item of DynamoDB takes. It can't be raised."""
TRANSACTION_UNITS = 2
"""Write units that a transaction uses for each item that it writes."""
SLOTS = "rows or slots of the product"
LARGE_VCPUS = 2
"""vCPUs of a db.t4g.large, whose price per vCPU stands for all sizes."""

Table = Iterator[tuple[str, ...]]


def measured(part: str, name: str) -> float:
    """Return the median of a figure in results.json."""
    figures = json.loads(RESULTS.read_text())["parts"][part]["figures"]
    (found,) = [figure["value"]["median"] for figure in figures if figure["name"] == name]
    return float(found)


def cores() -> int:
    """Return how many cores the measured machine has. Buyers and server shared them."""
    processor = json.loads(RESULTS.read_text())["machine"]["processor"]
    return int(processor.partition(" ")[0])


def price(name: str) -> float:
    """Return a price in USD per unit."""
    _, prices = read_prices()
    return prices[name].usd


def one_row() -> float:
    """Return how many checkouts per second one row can take."""
    return measured("hot_product", "one row, 32 buyers, sync 1000 µs")


def sixteen_slots() -> float:
    """Return how many checkouts per second 16 slots can take."""
    return one_row() * measured(
        "hot_product", "16 slots / one row, rate of 32 buyers, sync 1000 µs"
    )


def consumer_seconds() -> float:
    """Return how many seconds the consumer takes for a batch."""
    return measured("consumer", "consumer, a batch of 10, the factory takes 1 s")


def vcpus(rate: int) -> int:
    """Return how many vCPUs the database needs. rate: checkouts per second."""
    return math.ceil(rate / (sixteen_slots() / cores()))


def database_usd(rate: int) -> float:
    """Return the database's cost in USD per hour. rate: checkouts per second."""
    return vcpus(rate) * price("RDS db.t4g.large") / LARGE_VCPUS


def messages_usd(rate: int) -> float:
    """Return the cost of SNS and SQS in USD per hour. rate: checkouts per second.

    A message is published, and then sent, received and deleted.
    """
    message = price("SNS requests") + 3 * price("SQS requests")
    return rate * OUT_OF_STOCK * 3600 * message


def requests_usd(rate: int) -> float:
    """Return the cost of the HTTP API and of a function of 1 GB in USD per hour.

    rate: checkouts per second.
    """
    execution = price("Lambda requests") + REQUEST * price("Lambda arm64")
    return rate * 3600 * (price("HTTP API requests") + execution)


def parameters() -> Table:
    """Yield the rows of the table of what is measured, assumed or fixed, the head first."""
    yield "parameter", "value", "from"
    yield "one row", f"{number(one_row())} checkouts/s", "measured, 32 buyers, sync of 1 ms"
    yield (
        "16 slots",
        f"{number(sixteen_slots())} checkouts/s",
        f"measured, on {cores()} cores that buyers and server share",
    )
    yield "slots of a product", f"{MAX_SLOTS}", "limit of the catalogue"
    yield "one sync of the log", f"{SYNC * 1000:g} ms", "network storage; simulated"
    yield (
        "one batch of the consumer",
        f"{number(consumer_seconds())} s",
        f"measured, {BATCH} orders",
    )
    yield "one checkout on AWS", f"{REQUEST * 1000:g} ms", "assumed"
    yield "out-of-stock checkouts", f"{OUT_OF_STOCK:.0%}", "assumed"
    yield "HTTP API", f"{API_QUOTA:,} requests/s", "quota of an account, can be raised"
    yield "Lambda", f"{CONCURRENCY_QUOTA:,} executions", "quota of an account, can be raised"
    yield "an execution of the quota", f"{REQUESTS_PER_EXECUTION} requests/s", "fixed"
    yield "the queue's event source", f"{BATCH_QUOTA:,} batches at a time", "fixed"
    yield "an item of DynamoDB", f"{ITEM_QUOTA:,} write units/s", "fixed"


def ladder() -> Table:
    """Yield the rows of the table of what each rate needs, the head first."""
    needs: dict[str, Callable[[int], float]] = {
        SLOTS: lambda rate: math.ceil(rate / one_row()),
        "commits in each sync of the log": lambda rate: rate * SYNC,
        "vCPUs of the database": vcpus,
        "connections, and executions of the function": lambda rate: rate * REQUEST,
        "share of the HTTP API's quota, %": lambda rate: rate / API_QUOTA * 100,
        "share of Lambda's quota, %": lambda rate: (
            max(rate * REQUEST, rate / REQUESTS_PER_EXECUTION) / CONCURRENCY_QUOTA * 100
        ),
        "messages per second through SNS and SQS": lambda rate: rate * OUT_OF_STOCK,
        "orders per second for the factory at sell-out": lambda rate: rate,
        "executions of the consumer at sell-out": lambda rate: rate * consumer_seconds() / BATCH,
        "items of DynamoDB instead of slots": lambda rate: math.ceil(
            rate * TRANSACTION_UNITS / ITEM_QUOTA
        ),
        "USD per hour, API and function": requests_usd,
        "USD per hour, database in one zone": database_usd,
        "USD per hour, database in two zones": lambda rate: 2 * database_usd(rate),
        "USD per hour, SNS and SQS": messages_usd,
    }
    yield "checkouts per second", *(f"{rate:,}" for rate in RATES)
    for name, need in needs.items():
        limit = MAX_SLOTS if name == SLOTS else math.inf
        values = [need(rate) for rate in RATES]
        yield name, *(number(value) + " †" * (value > limit) for value in values)


TABLES = {"parameters": parameters, "ladder": ladder}


def filled(page: str) -> str:
    """Return the page with its tables renewed. Each stands between two comments."""
    for name, table in TABLES.items():
        head, *rows = ["| " + " | ".join(cells) + " |" for cells in table()]
        text = "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rows])
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert begin, f"{PAGE.name} has no table {name}"
        assert end, f"the table {name} of {PAGE.name} has no end"
        page = f"{before}{begin}{text}\n{end}{after}"
    return page


def renew() -> None:
    """Write the tables into the page."""
    PAGE.write_text(filled(PAGE.read_text()))
