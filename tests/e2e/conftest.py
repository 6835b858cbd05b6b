"""Fixtures for tests of the deployed shop.

All of them share one cloud, which the first test deploys. Those that change the project's files,
or type commands in its root, share a copy of the project, with a cloud of its own.
"""

import json
import socket
from collections.abc import Generator, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from local.cloud import PREFERRED_PORTS, Cloud
from local.factory import Factory, accept
from tests.support.clone import Clone
from tests.support.deployed_shop import DeployedShop
from tests.touch_lists.__main__ import copy_of_the_tree

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


@pytest.fixture(scope="session")
def clone() -> Iterator[Clone]:
    """Return a copy of the project in which `make up` has run, although port 8080 was taken."""
    port = PREFERRED_PORTS["endpoint"]
    with copy_of_the_tree() as directory, ExitStack() as taken:
        with suppress(OSError):  # somebody else has it
            taken.enter_context(socket.create_server(("127.0.0.1", port)))
        clone = Clone(directory=directory)
        try:
            assert f"Port {port} was taken: the API uses " in clone.printed("make up")
            taken.close()
            yield clone
        finally:
            clone.printed("make down")


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
