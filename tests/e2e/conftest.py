from collections.abc import Generator, Iterator
from typing import Any

import pytest

from local.cloud import Cloud
from local.factory import Answer, Factory
from tests.support.deployed_shop import Shop


@pytest.fixture(scope="session")
def factory() -> Iterator[Factory]:
    with Factory(stage_seconds=0.02) as factory:
        yield factory


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, factory: Factory) -> Iterator[Cloud]:
    """A cloud of the tests' own, with the shop deployed to it by the CDK."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    try:
        cloud.start(factory_url=factory.url)
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture
def shop(cloud: Cloud, factory: Factory) -> Shop:
    """Ten donuts, nothing sold, nothing ordered, and a factory that works."""
    factory.answer = lambda order: Answer()
    shop = Shop(server=cloud.database, cloud=cloud, factory=factory)
    for table in ("purchase", "production_order", "idempotency_key"):
        shop.sql(f"DELETE FROM {table}")
    shop.sql("DELETE FROM product WHERE slug <> 'donut'")
    shop.set_stock(10)
    return shop


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with the last words of everything that was running."""
    report = yield
    cloud: Any = getattr(item, "funcargs", {}).get("cloud")
    if report.failed and cloud:
        for log in sorted((cloud.directory / "logs").glob("*.log")):
            report.sections.append(
                (log.name, "\n".join(log.read_text(errors="replace").splitlines()[-25:]))
            )
    return report
