"""docs/openapi.yaml works in Postman, and so does the collection that is made from it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.openapi_tools import programs
from tests.openapi_tools.postman import COLLECTION
from tests.support.deployed_shop import DeployedShop

pytestmark = pytest.mark.skipif(
    not programs.are_installed(), reason="`make e2e` and `make test` install newman"
)
IMPORTED = {
    "Read a product and its stock": 200,
    "Buy, or order more from the factory": 200,
    "Read a production order": 400,
    "Handle the factory's callback": 403,
}
"""The requests of an import and their statuses. The example's order and token do not exist."""


def executions(collection: Path, shop: DeployedShop, *, directory: Path) -> list[dict[str, Any]]:
    """Run a collection against the shop, and return its requests and their responses.

    Fails if one of the collection's own tests does.
    """
    report = directory / "report.json"
    done = programs.run(
        "newman",
        "run",
        collection,
        f"--env-var=baseUrl={shop.cloud.endpoint}",
        "--reporters=cli,json",
        f"--reporter-json-export={report}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return list(json.loads(report.read_text())["run"]["executions"])


def test_collection_reads_the_order_of_its_own_checkout(shop: DeployedShop, tmp_path: Path) -> None:
    *_, order, _ = executions(COLLECTION, shop, directory=tmp_path)
    assert shop.purchases() == [(1, "홍길동"), (1, "Ada Lovelace")]
    ((order_id, _, quantity),) = shop.orders()
    assert quantity == 100
    assert json.loads(bytes(order["response"]["stream"]["data"]))["order_id"] == order_id


def test_collection_runs_again_on_a_full_stock(shop: DeployedShop, tmp_path: Path) -> None:
    """The checkout that must be out of stock is repeated until it is."""
    shop.clear(stock=250)
    executions(COLLECTION, shop, directory=tmp_path)
    assert [quantity for quantity, _ in shop.purchases()] == [1, 1, 100, 100]


@pytest.mark.parametrize("resolution", ["Example", "Schema"])
def test_imported_requests_work_as_they_are(
    shop: DeployedShop, tmp_path: Path, resolution: str
) -> None:
    collection = tmp_path / "imported.json"
    collection.write_text(json.dumps(programs.converted(resolution)))
    statuses = {
        each["item"]["name"]: each["response"]["code"]
        for each in executions(collection, shop, directory=tmp_path)
    }
    assert statuses == IMPORTED
