"""Tables and data: each migration file is applied once, and never changes afterwards."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pymysql
import pytest

from migrate import checksums
from migrate import handler as migrate
from operations.checksums import add_new
from tests.support.books import NAME
from tests.support.concurrency import at_once
from tests.support.database_shop import DatabaseShop, buy, order_more
from tests.support.schema import data, schema

LAST = max(path.name for path in migrate.MIGRATIONS.glob("*.sql"))
RENAMED = f"{checksums.number(LAST)}_renamed.sql"
RENUMBERED = f"0800_{LAST.partition('_')[2]}"


@pytest.fixture
def slots() -> int:
    """Return the number of slots that the catalogue declares, so that it changes nothing."""
    return 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the migration apply a copy of its files, and return the path of the copy."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrate.MIGRATIONS, folder)
    monkeypatch.setattr(migrate, "MIGRATIONS", folder)
    return folder


def add(folder: Path, name: str, sql: str) -> None:
    """Write a new migration file and record its checksum."""
    (folder / name).write_text(sql)
    add_new(folder)


def edit(folder: Path, name: str, sql: str) -> None:
    """Change a file and renew its checksum, as somebody might to get past the unit test."""
    sums = folder / checksums.FILE
    lines = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if name not in line))
    add(folder, name, sql)


def rename(folder: Path, old: str, new: str) -> None:
    """Rename a file in SHA256SUMS too, as somebody might to get past the unit test."""
    (folder / old).rename(folder / new)
    sums = folder / checksums.FILE
    sums.write_text(sums.read_text().replace(old, new))


def test_opening_stock_is_ten_donuts(shop: DatabaseShop) -> None:
    assert shop.sql("SELECT slug, sku, name, price, stock, factory_id FROM product") == [
        ("donut", "CP-502101", "부산도너츠", 19900, 10, "FF-500293")
    ]


def test_second_migration_changes_nothing(shop: DatabaseShop) -> None:
    buy(shop.store(), 7)
    before = schema(shop), data(shop)
    shop.migrate()
    assert (schema(shop), data(shop)) == before


def test_migration_logs_what_it_applied(
    empty_shop: DatabaseShop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    empty_shop.migrate()
    empty_shop.migrate()
    first, second = [vars(line) for line in caplog.records if line.name == "migrate.handler"]
    folders = (migrate.MIGRATIONS, migrate.PROCEDURES)
    files = [path.name for folder in folders for path in sorted(folder.glob("*.sql"))]
    assert first["msg"] == "migrated"
    assert first["applied"] == files
    assert first["changed_products"] == ["donut"]
    assert second["msg"] == "migrated"
    assert second["applied"] == []
    assert second["changed_products"] == []


def test_interrupted_migration_can_be_repeated(shop: DatabaseShop) -> None:
    """MariaDB commits a CREATE TABLE before the file is recorded, so it may be applied again."""
    buy(shop.store(), 7)
    buy(shop.store(), 7)
    before = data(shop)
    shop.sql("DELETE FROM schema_migration")
    try:
        shop.migrate()
    except migrate.MigrationFailed as error:
        pytest.fail(
            f"{error}\nWrite the file so that it can be applied twice, as with IF NOT EXISTS."
        )
    after = data(shop)
    for table in before.keys() - {"schema_migration"}:
        assert after[table] == before[table], f"a file that is applied twice changes {table}"


def test_interrupted_migration_of_an_unused_shop_can_be_repeated(shop: DatabaseShop) -> None:
    """The first product that nobody has used yet is deleted only before the books begin."""
    before = data(shop)
    shop.sql("DELETE FROM schema_migration")
    shop.migrate()
    after = data(shop)
    for table in before.keys() - {"schema_migration"}:
        assert after[table] == before[table], f"a file that is applied twice changes {table}"


def test_new_file_is_applied_once(shop: DatabaseShop, folder: Path) -> None:
    add(folder, "0900_bagel.sql", "UPDATE product SET stock = stock + 1")
    shop.migrate()
    shop.migrate()
    assert shop.stock() == 11


def test_checksum_of_each_file_is_recorded(shop: DatabaseShop) -> None:
    files = {path.name: path.read_bytes() for path in migrate.MIGRATIONS.glob("*.sql")}
    recorded = shop.sql("SELECT file, sha256 FROM schema_migration")
    assert dict(recorded) == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }


@pytest.mark.parametrize("addition", ["-- a comment", "\n", ", ALGORITHM = INSTANT"])
def test_file_edited_after_it_was_applied_stops_the_migration(
    shop: DatabaseShop, folder: Path, addition: str
) -> None:
    """Neither the new table nor the procedure nor a user is touched."""
    edit(folder, "0003_purchase.sql", (folder / "0003_purchase.sql").read_text() + addition)
    add(folder, "0900_bagel.sql", "CREATE TABLE bagel (id INT)")
    shop.sql("DROP PROCEDURE restock")
    shop.sql("DROP USER shop_relay_password")
    before = schema(shop), data(shop)
    with pytest.raises(migrate.MigrationFailed) as failure:
        shop.migrate()
    assert str(failure.value) == (
        "0003_purchase.sql was changed after it was applied to this database: restore it,"
        " and put the change into a new file."
    )
    assert (schema(shop), data(shop)) == before
    assert shop.sql("SELECT 1 FROM mysql.user WHERE user = 'shop_relay_password'") == []


def renamed(folder: Path) -> None:
    rename(folder, LAST, RENAMED)


def renumbered(folder: Path) -> None:
    rename(folder, LAST, RENUMBERED)


def replaced(folder: Path) -> None:
    """Rename the file and edit it, so that neither its name nor its checksum is known."""
    renamed(folder)
    edit(folder, RENAMED, "UPDATE product SET stock = 10")


def removed(folder: Path) -> None:
    sums = folder / checksums.FILE
    lines = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if "0003_purchase.sql" not in line))
    (folder / "0003_purchase.sql").unlink()


def inserted(folder: Path) -> None:
    add(folder, "0000_bagel.sql", "CREATE TABLE bagel (id INT)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            renamed,
            f"{RENAMED} was applied to this database as {LAST}: give it that name again.",
        ),
        (
            renumbered,
            f"{RENUMBERED} was applied to this database as {LAST}: give it that name again.",
        ),
        (
            replaced,
            f"{LAST} was applied to this database, but is missing: restore it."
            f" {RENAMED} is new, but {LAST} was applied to this database already:"
            " give it the next number.",
        ),
        (
            removed,
            "0003_purchase.sql was applied to this database, but is missing: restore it.",
        ),
        (
            inserted,
            f"0000_bagel.sql is new, but {LAST} was applied to this database already:"
            " give it the next number.",
        ),
    ],
)
def test_release_with_other_files_changes_nothing(
    shop: DatabaseShop, folder: Path, change: Callable[[Path], None], message: str
) -> None:
    change(folder)
    add(folder, "0901_cake.sql", "CREATE TABLE cake (id INT)")
    shop.sql("DROP PROCEDURE restock")
    before = schema(shop), data(shop)
    with pytest.raises(migrate.MigrationFailed) as failure:
        shop.migrate()
    assert str(failure.value) == message
    assert (schema(shop), data(shop)) == before


def test_new_file_below_those_of_a_newer_release_changes_nothing(
    shop: DatabaseShop, folder: Path
) -> None:
    shop.sql("INSERT INTO schema_migration VALUES ('0901_newer.sql', 'x', UTC_TIMESTAMP(6))")
    add(folder, "0900_bagel.sql", "CREATE TABLE bagel (id INT)")
    with pytest.raises(migrate.MigrationFailed, match=r"^0900_bagel\.sql is new, but 0901_newer"):
        shop.migrate()
    assert shop.sql("SHOW TABLES LIKE 'bagel'") == []


def with_other_bytes(folder: Path) -> None:
    path = folder / "0003_purchase.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def without_checksum(folder: Path) -> None:
    (folder / "0900_bagel.sql").write_text("CREATE TABLE bagel (id INT)")


def without_file(folder: Path) -> None:
    (folder / "0003_purchase.sql").unlink()


@pytest.mark.parametrize(
    ("forget", "message"),
    [
        (with_other_bytes, r"^0003_purchase\.sql was changed after it was released: restore it"),
        (without_checksum, r"^0900_bagel\.sql has no checksum: run `make checksums`"),
        (without_file, r"^0003_purchase\.sql is missing, but was released: restore it"),
    ],
)
def test_release_with_wrong_checksums_changes_nothing(
    empty_shop: DatabaseShop, folder: Path, forget: Callable[[Path], None], message: str
) -> None:
    forget(folder)
    with pytest.raises(migrate.MigrationFailed, match=message):
        empty_shop.migrate()
    assert empty_shop.sql("SHOW TABLES") == []


def test_files_of_a_newer_release_are_left_alone(shop: DatabaseShop) -> None:
    shop.sql("INSERT INTO schema_migration VALUES ('9999_newer.sql', 'x', UTC_TIMESTAMP(6))")
    before = schema(shop), data(shop)
    shop.migrate()
    assert (schema(shop), data(shop)) == before


def test_data_from_before_1_0_is_left_alone(empty_shop: DatabaseShop) -> None:
    """Its bookkeeping has no checksums, and its files had other contents under the same names."""
    empty_shop.sql("CREATE TABLE schema_migration (file VARCHAR(200), applied_at DATETIME(6))")
    empty_shop.sql("INSERT INTO schema_migration VALUES ('0001_factory.sql', UTC_TIMESTAMP(6))")
    before = schema(empty_shop), data(empty_shop)
    with pytest.raises(
        migrate.MigrationFailed,
        match=r"^The data is from before 1\.0 .* `make clean`, then run `make up` again\.$",
    ):
        empty_shop.migrate()
    assert (schema(empty_shop), data(empty_shop)) == before


def test_failing_file_is_named_with_the_databases_message(
    empty_shop: DatabaseShop, folder: Path
) -> None:
    add(folder, "0900_bad.sql", "CREATE TABLE bad (id DOUGHNUT)")
    add(folder, "0901_never.sql", "CREATE TABLE never (id INT)")
    with pytest.raises(
        migrate.MigrationFailed, match=r"^0900_bad\.sql: .*Unknown data type: 'DOUGHNUT'"
    ):
        empty_shop.migrate()
    assert empty_shop.sql("SHOW TABLES LIKE 'never'") == []

    edit(folder, "0900_bad.sql", "CREATE TABLE bad (id INT)")
    empty_shop.migrate()
    assert empty_shop.sql("SHOW TABLES LIKE 'never'") == [("never",)]


def test_missing_schema_is_created(empty_shop: DatabaseShop) -> None:
    with empty_shop.owner() as connection, connection.cursor() as cursor:
        cursor.execute("DROP DATABASE shop")
    at_once(*[empty_shop.migrate] * 2)
    charset = (
        "SELECT default_character_set_name, default_collation_name FROM information_schema.schemata"
    )
    assert empty_shop.sql(f"{charset} WHERE schema_name = %s", (NAME,)) == [
        ("utf8mb4", "utf8mb4_unicode_ci")
    ]
    assert_texts_survive(empty_shop)


def test_existing_schema_keeps_its_defaults(empty_shop: DatabaseShop) -> None:
    """It may hold an owner's own tables."""
    empty_shop.sql("ALTER DATABASE shop CHARACTER SET latin1")
    empty_shop.migrate()
    assert empty_shop.sql("SELECT @@character_set_database") == [("latin1",)]


def test_concurrent_migrations_apply_each_file_once(empty_shop: DatabaseShop) -> None:
    at_once(*[empty_shop.migrate] * 4)
    applied = empty_shop.sql("SELECT file FROM schema_migration ORDER BY file")
    assert applied == [(path.name,) for path in sorted(migrate.MIGRATIONS.glob("*.sql"))]


def test_migration_gives_up_waiting_for_another(
    empty_shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.1)
    with empty_shop.login("master") as other, other.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('migrate', 0)")
        with pytest.raises(migrate.MigrationFailed, match="another migration"):
            empty_shop.migrate()
    assert empty_shop.sql("SHOW TABLES") == []


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE product SET stock = stock - 11", "product_stock"),
        ("UPDATE product SET price = -1", "product_price"),
        ("UPDATE product SET factory_id = 'nobody'", "product_factory"),
        ("UPDATE product SET slots = 0", "product_slots"),
        ("INSERT INTO product_slot VALUES ('x', 1, -1)", "product_slot_stock"),
        ("INSERT INTO product_slot VALUES ('x', 0, 1)", "product_slot_number"),
        ("INSERT INTO product_slot VALUES ('x', 1, 1)", "product_slot_product"),
        ("UPDATE purchase SET quantity = 0", "purchase_quantity"),
        ("UPDATE production_order SET quantity = -5", "production_order_quantity"),
    ],
)
def test_constraint_rejects_a_mistake_by_hand(
    shop: DatabaseShop, statement: str, constraint: str
) -> None:
    store = shop.store()
    buy(store, 1)
    order_more(store, 100)
    with pytest.raises(pymysql.MySQLError, match=constraint):
        shop.sql(statement)


def test_ids_that_differ_in_case_or_spaces_are_different(shop: DatabaseShop) -> None:
    store = shop.store()
    assert store.product("donut")
    assert store.product("DONUT ") is None
    assert store.product("Donut") is None
    order_id = order_more(store, 100, order_id="abc")
    assert store.order(order_id)
    assert store.order("ABC ") is None
    assert buy(store, 1, idempotency_key="abc").outcome == "sold"
    assert buy(store, 1, idempotency_key="ABC ").outcome == "sold"


TEXTS = [
    "홍길동",
    "🍩 도넛 👩‍🍳",
    "'); DROP TABLE product; -- \\'\"",
    "line\nbreak\tand `ticks` %s",
    "ñandú — café",
    "홍" * 200,
]


def assert_texts_survive(shop: DatabaseShop) -> None:
    """Check that each text comes back from the database as it was written."""
    store = shop.store()
    product = store.product("donut")
    assert product is not None
    assert '"name": "부산도너츠"' in product
    shop.set_stock(len(TEXTS))
    for text in TEXTS:
        assert buy(store, 1, requester=text).outcome == "sold", text
    assert [requester for _, requester in shop.purchases()] == TEXTS
    for text in TEXTS:
        assert buy(store, 1, requester=text, factory_id=text).factory_id == text, text
    recorded = shop.sql("SELECT requester, factory_id FROM production_order ORDER BY requested_at")
    assert recorded == [(text, text) for text in TEXTS]


def test_every_text_survives(shop: DatabaseShop) -> None:
    assert_texts_survive(shop)


def test_every_text_survives_under_rds_own_defaults(rds_defaults: None, shop: DatabaseShop) -> None:
    """A schema that was created with the server's defaults is latin1, and the tables are not."""
    ((charset,),) = shop.sql(
        "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = %s",
        (NAME,),
    )
    assert charset == "latin1"
    assert_texts_survive(shop)
