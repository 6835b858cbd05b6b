"""Fixtures for tests of the deployed shop.

All of them share one cloud, which the first test deploys.
"""

import json
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from local.cloud import Cloud
from local.factory import Factory, accept
from tests.support.deployed_shop import DeployedShop

LOG_LINES = 25


@pytest.fixture(scope="session")
def factory() -> Iterator[Factory]:
    with Factory(stage_seconds=0.02) as factory:
        yield factory


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, factory: Factory) -> Iterator[Cloud]:
    """Start a cloud for the tests alone, with the shop deployed to it by the CDK."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    try:
        cloud.start(factory_url=factory.url)
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture
def shop(cloud: Cloud, factory: Factory) -> DeployedShop:
    """Return the shop with ten donuts, empty books, and a factory that works."""
    factory.respond = accept
    shop = DeployedShop(server=cloud.database, cloud=cloud, factory=factory)
    shop.clear(stock=10)
    return shop


@pytest.fixture
def two_receives(shop: DeployedShop) -> Iterator[None]:
    """Move a message to the dead-letter queue after 2 receives instead of 5.

    The story `factory_outage` waits for all five of them.
    """
    sqs, queue, name = shop.cloud.client("sqs"), shop.queue_url("stock_queue"), "RedrivePolicy"
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[name])["Attributes"]
    impatient = json.dumps(json.loads(attributes[name]) | {"maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={name: impatient})
    yield
    sqs.set_queue_attributes(QueueUrl=queue, Attributes=attributes)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the last lines of every log of the cloud to the report of a failure."""
    report = yield
    cloud: Any = getattr(item, "funcargs", {}).get("cloud")
    if report.failed and cloud:
        for log in sorted((cloud.directory / "logs").glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            report.sections.append((log.name, "\n".join(lines[-LOG_LINES:])))
    return report
