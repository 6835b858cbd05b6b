"""The current migration upgrades the database of each release, and loses nothing.

baseline/ holds a dump of each release's database, written by baseline/dump.py.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymysql.cursors import DictCursor

from local.database.rds import run_sql
from migrate import catalogue
from migrate import handler as migrate
from settings import PROJECT
from tests.support.books import NAME
from tests.support.database_shop import DatabaseShop, arrive, buy
from tests.support.schema import data, schema

DUMPS = sorted(
    (Path(__file__).parent / "baseline").glob("*.sql"),
    key=lambda path: [int(part) for part in path.stem.split(".")],
)
"""The dump of each release's database, the last release at the end."""
TOKEN = "a-callback-token"
"""The callback token of every order in the dumps."""
PROCEDURES = "SELECT name FROM mysql.proc WHERE db = %s AND type = 'PROCEDURE'"


@pytest.fixture
def declare_donut(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that changes the donut's entry in the catalogue."""

    def declare_donut(**changes: Any) -> None:
        declared = catalogue.load()
        (donut,) = declared.products
        changed = replace(declared, products=(replace(donut, **changes),))
        monkeypatch.setattr(catalogue, "load", lambda: changed)

    return declare_donut


@pytest.fixture(params=DUMPS, ids=lambda path: path.stem)
def released(
    empty_shop: DatabaseShop,
    declare_donut: Callable[..., None],
    request: pytest.FixtureRequest,
) -> DatabaseShop:
    """Return the shop as a release left it. The catalogue declares as many slots."""
    dump = request.param.read_text(encoding="utf-8")
    run_sql(empty_shop.server.mysql_cnf, f"DROP DATABASE {NAME};\n{dump}")
    if empty_shop.sql("SHOW COLUMNS FROM product LIKE 'slots'"):
        ((slots,),) = empty_shop.sql("SELECT slots FROM product WHERE slug = 'donut'")
        declare_donut(slots=slots)
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


DROPPED: set[tuple[str, str]] = set()
"""The table and the name of each column that a release had and a later one does not have."""


def test_upgrade_keeps_all_data(released: DatabaseShop) -> None:
    before = data(released)
    released.migrate()
    after = data(released)
    for table, rows in before.items():
        assert rows, f"the dump has no rows in {table}"
        kept = [
            {name: value for name, value in row.items() if (table, name) not in DROPPED}
            for row in rows
        ]
        assert after.get(table), f"the upgrade deletes all rows of {table}"
        dropped = kept[0].keys() - after[table][0].keys()
        assert not dropped, (
            f"the upgrade drops {dropped} of {table}: if no function of the last release reads"
            " them, and their data may be lost, list them in DROPPED in this test"
        )
        assert missing(kept, after[table]) == [], f"the upgrade changes rows of {table}"


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


CALLS = {
    "checkout, sold": "CALL checkout('donut', NULL, 1, NULL, '', UUID(), '', 30, NULL, '', 0, 9e9)",
    "checkout, out_of_stock": (
        "CALL checkout('donut', NULL, 1e6, NULL, '', UUID(), '', 30, NULL, '', 0, 9e9)"
    ),
    "checkout, replayed": (
        "CALL checkout('donut', NULL, 1, NULL, '', UUID(), '', 30, 'key of a purchase', '', 0, 9e9)"
    ),
    # The order id fails instead of the key, which no other request inserts at the same moment.
    "checkout, with a key that another request inserts": (
        "CALL checkout('donut', NULL, 1e6, NULL, '', 'arrived', '', 30, 'key', '', 0, 9e9)"
    ),
    "checkout, no_such_product": (
        "CALL checkout('bagel', NULL, 1, NULL, '', UUID(), '', 30, NULL, '', 0, 9e9)"
    ),
    "checkout, cancelled": (
        "CALL checkout('donut', NULL, 1, NULL, '', 'cancelled', '', 30, NULL, '', 0, 9e9)"
    ),
    "checkout, late": "CALL checkout('donut', NULL, 1, NULL, '', UUID(), '', 30, NULL, '', 0, 0)",
    "cancel_checkout, cancelled": "CALL cancel_checkout(UUID())",
    "cancel_checkout, replayed": "CALL cancel_checkout('bought')",
    "claim_orders": "CALL claim_orders(UUID(), 0, FALSE, 1, 60)",
    "mark_orphans": "CALL mark_orphans(0, FALSE, 1)",
    "mark_published": "CALL mark_published('published', 60)",
    "mark_stuck": "CALL mark_stuck(9, 1)",
    "purge_checkout_outcomes": "CALL purge_checkout_outcomes(1e9, 1)",
    "purge_idempotency_keys": "CALL purge_idempotency_keys(1e9, 1)",
    "restock": f"CALL restock('arrived', 'donut', '{TOKEN}')",
}
"""Calls of the last release's procedures, by the procedure and the outcome."""
COMPLETE = {"1.0.0": {"checkout", "cancel_checkout", "claim_orders"}}
"""The procedures in whose results a release fails on a column that it does not know. Releases after
1.0 ignore such columns."""


def columns(shop: DatabaseShop) -> dict[str, set[str]]:
    """Call the procedures, and return the columns of each result."""
    found = {}
    for name, call in CALLS.items():
        with shop.owner() as connection, connection.cursor(DictCursor) as cursor:
            cursor.execute(call)
            found[name] = {column[0] for column in cursor.description or ()}
            _, _, outcome = name.partition(", ")
            for row in cursor.fetchall():
                assert row.get("outcome", "") == outcome, f"{name}: {row}"
    return found


@pytest.mark.parametrize("released", DUMPS[-1:], indirect=True, ids=lambda path: path.stem)
def test_procedures_keep_the_columns_of_the_last_release(released: DatabaseShop) -> None:
    """Functions of the last release call them during a deployment, after the migration."""
    called = {name.partition(", ")[0] for name in CALLS}
    for (procedure,) in released.sql(PROCEDURES, (NAME,)):
        assert procedure in called, f"add a call of {procedure} to CALLS in this test"
    before = columns(released)
    released.migrate()
    for name, today in columns(released).items():
        procedure, _, _ = name.partition(", ")
        missing = before[name] - today
        assert not missing, (
            f"{name}: the result lacks {missing}, which functions of the last release read during"
            " a deployment: add a procedure with a new name, or remove the columns in the release"
            " after the last one that reads them"
        )
        added = today - before[name]
        assert not added or procedure not in COMPLETE.get(DUMPS[-1].stem, ()), (
            f"{name}: the result has {added}, on which functions of the last release fail during a"
            " deployment: add a procedure with a new name, or wait for the next release"
        )


def test_books_balance_after_an_upgrade(released: DatabaseShop) -> None:
    """Release 1.0 had no entries: the opening entry is what its purchases and arrivals leave."""
    released.migrate()
    released.assert_balanced()
    ((amount,),) = released.sql("SELECT SUM(amount) FROM stock_entry")
    assert amount == 10, "the dump's shop opened with ten donuts"
    arrive(released.store(), "stuck", callback_token=TOKEN)
    buy(released.store(), 30)
    released.assert_balanced()


def test_upgrade_keeps_the_stock_of_a_shop_in_use(
    released: DatabaseShop, declare_donut: Callable[..., None]
) -> None:
    before = released.sql("SELECT product_id, stock FROM product")
    declare_donut(opening_stock=25)
    released.migrate()
    assert released.sql("SELECT product_id, stock FROM product") == before


def test_purchases_of_an_earlier_release_get_no_price(released: DatabaseShop) -> None:
    """Nobody knows at which price release 1.0 sold. Later releases have recorded it."""
    before = {row["requester"]: row.get("unit_price") for row in data(released)["purchase"]}
    released.migrate()
    buy(released.store(), 1, requester="after the upgrade")
    after = released.sql("SELECT requester, unit_price FROM purchase")
    assert dict(after) == before | {"after the upgrade": 19900}


# --- a shop of release 1.0 that nobody has used yet


FIRST_FILES = 8
"""Release 1.0 had this many migration files."""


@pytest.fixture
def unused(empty_shop: DatabaseShop, tmp_path: Path) -> DatabaseShop:
    """Return a new database of release 1.0, which has inserted ten donuts."""
    for file in sorted(migrate.MIGRATIONS.glob("*.sql"))[:FIRST_FILES]:
        shutil.copy(file, tmp_path)
    with empty_shop.login("master") as connection, connection.cursor() as cursor:
        migrate.apply_migrations(cursor, tmp_path)
    assert empty_shop.sql("SELECT stock FROM product") == [(10,)]
    return empty_shop


def test_unused_shop_gets_the_declared_opening_stock(
    unused: DatabaseShop, declare_donut: Callable[..., None]
) -> None:
    declare_donut(opening_stock=25)
    unused.migrate()
    assert unused.stocks() == {"donut": 25}
    assert unused.sql("SELECT kind, amount FROM stock_entry") == [("opening", 25)]
    unused.assert_balanced()


USES = {
    "stock changed": "UPDATE product SET stock = 9",
    "purchase": "INSERT INTO purchase (product_id, quantity, requester, purchased_at)"
    " SELECT product_id, 1, 'x', NOW() FROM product",
    "production order": "INSERT INTO production_order (order_id, callback_token, product_id,"
    " factory_id, quantity, requester, requested_at)"
    " SELECT 'x', 'x', product_id, 'x', 1, 'x', NOW() FROM product",
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_used_shop_keeps_its_stock(
    unused: DatabaseShop, declare_donut: Callable[..., None], use: str
) -> None:
    unused.sql(use)
    ((before,),) = unused.sql("SELECT stock FROM product")
    declare_donut(opening_stock=25)
    unused.migrate()
    assert unused.stocks() == {"donut": before}
    unused.assert_balanced()
