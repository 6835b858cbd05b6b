"""The current migration upgrades the database of each release, and loses nothing.

baseline/ holds a dump of each release's database, written by baseline/dump.py.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from local.database.rds import run_sql
from settings import PROJECT
from tests.support.books import NAME
from tests.support.database_shop import DatabaseShop, arrive, buy
from tests.support.schema import data, schema

DUMPS = sorted((Path(__file__).parent / "baseline").glob("*.sql"))
TOKEN = "a-callback-token"
"""The callback token of every order in the dumps."""


@pytest.fixture(params=DUMPS, ids=lambda path: path.stem)
def released(empty_shop: DatabaseShop, request: pytest.FixtureRequest) -> DatabaseShop:
    """Return the shop as a release left it."""
    dump = request.param.read_text(encoding="utf-8")
    run_sql(empty_shop.server.mysql_cnf, f"DROP DATABASE {NAME};\n{dump}")
    return empty_shop


def missing(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that were deleted or changed. Columns that the upgrade adds are ignored."""
    return [row for row in before if not any(row.items() <= other.items() for other in after)]


def test_each_release_has_a_dump() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text()
    releases = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    assert "1.0.0" in releases
    dumps = {path.stem for path in DUMPS}
    for release in releases:
        assert release in dumps, (
            f"{release} has no dump: run `.venv/bin/pytest tests/integration/baseline/dump.py`"
        )


def test_upgrade_keeps_all_data(released: DatabaseShop) -> None:
    before = data(released)
    released.migrate()
    after = data(released)
    for table, rows in before.items():
        assert rows, f"the dump has no rows in {table}"
        assert missing(rows, after.get(table, [])) == [], f"the upgrade changes rows of {table}"


def test_upgrade_ends_in_the_schema_of_a_new_installation(released: DatabaseShop) -> None:
    released.migrate()
    upgraded = schema(released)
    released.sql(f"DROP DATABASE {NAME}")
    released.migrate()
    new = schema(released)
    assert upgraded.keys() == new.keys()
    for name, created in new.items():
        assert upgraded[name] == created, f"{name} differs after an upgrade"


def test_orders_and_keys_of_the_release_still_work(released: DatabaseShop) -> None:
    released.migrate()
    store = released.store()
    before = released.stock()
    for order_id in ("requested", "published", "reminded", "stuck", "claimed"):
        assert arrive(store, order_id, callback_token=TOKEN).added, order_id
    assert not arrive(store, "arrived", callback_token=TOKEN).added
    assert released.stock() == before + 20 + 22 + 22 + 22 + 100
    assert buy(store, 1, idempotency_key="key of a purchase").outcome == "replayed"
    assert buy(store, 21, idempotency_key="key of an order").order_id == "key-order"
