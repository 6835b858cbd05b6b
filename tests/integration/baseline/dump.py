"""Dump the database of this release, with rows in every table, for the upgrade tests to come.

The first line names the functions' database users. A unit test requires that a later release drops
those that are no longer used.

`.venv/bin/pytest tests/integration/baseline/dump.py` writes <release>.sql next to this file. Run it
once per release. pytest collects this file only if it is named on the command line, and an existing
dump is not overwritten.
"""

import re
import subprocess
from pathlib import Path

import pytest

from local.database.programs import program
from settings import DATABASE_USERS, PROJECT
from tests.support.books import NAME
from tests.support.database_shop import DatabaseShop, arrive, buy, order_more
from tests.support.schema import data

FOLDER = Path(__file__).parent
TOKEN = "a-callback-token"
OPTIONS = (
    *("--routines", "--triggers", "--hex-blob", "--skip-dump-date"),
    *("--skip-extended-insert", "--order-by-primary", "--databases", NAME),
)


@pytest.fixture
def slots() -> int:
    """Return a number of slots with which the table `product_slot` has rows."""
    return 4


def release() -> str:
    """Return the newest version in CHANGELOG.md."""
    match = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (PROJECT / "CHANGELOG.md").read_text(), re.M)
    assert match, "CHANGELOG.md names no version"
    return match[1]


def trade(shop: DatabaseShop) -> None:
    """Leave rows of each kind: purchases, keys and outcomes, and orders in each status."""
    store = shop.store()
    buy(store, 2, requester="홍길동", order_id="bought")
    buy(store, 1, requester="김철수 🍩", idempotency_key="key of a purchase")
    order_more(store, 20, order_id="requested", callback_token=TOKEN, factory_id="다른 공장")
    order_more(
        store, 21, order_id="key-order", callback_token=TOKEN, idempotency_key="key of an order"
    )
    for order_id in ("published", "reminded", "arrived", "stuck"):
        order_more(store, 22, order_id=order_id, callback_token=TOKEN)
        store.mark_published(order_id, overdue_after=3600)
    arrive(store, "arrived", callback_token=TOKEN)
    for _ in range(2):
        store.mark_published("reminded", overdue_after=3600)
    store.mark_published("stuck", overdue_after=0)
    assert store.mark_stuck(max_publications=2, limit=10) == 1
    order_more(store, 100, order_id="claimed", callback_token=TOKEN, publish_within=0)
    claim = store.claim_orders("a-claim", publications=0, newest=True, limit=10, lease=60)
    assert [order.order_id for order in claim.orders] == ["claimed"]
    store.correct_stock(
        "counted", slug="donut", count=9, amount=None, reason="a count", recorded_by="홍길동"
    )
    store.blank_purchases(retention=24 * 3600, limit=10)
    with shop.login("sales") as connection, connection.cursor() as cursor:
        cursor.execute("CALL cancel_checkout('cancelled')")


def test_release_is_dumped_with_rows_in_every_table(shop: DatabaseShop) -> None:
    trade(shop)
    assert {status for _, status, _ in shop.orders()} == {
        "requested",
        "published",
        "arrived",
        "stuck",
    }
    for table, rows in data(shop).items():
        assert rows, f"{table} is empty"
    dump = subprocess.run(
        [program("mariadb-dump"), f"--defaults-file={shop.server.mysql_cnf}", *OPTIONS],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # Clients older than May 2024 stop at the first line, which switches others to the sandbox mode.
    dump = dump.removeprefix("/*M!999999\\- enable the sandbox mode */ \n")
    names = f"-- Database users: {', '.join(sorted(DATABASE_USERS.values()))}\n"
    with (FOLDER / f"{release()}.sql").open("x", encoding="utf-8") as file:
        file.write(names + dump)
