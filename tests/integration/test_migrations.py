from pathlib import Path

import pymysql
import pytest

from local.cloud import PROJECT
from migrate import handler as migrate
from tests.support.books import NAME
from tests.support.concurrency import at_once
from tests.support.database_shop import Shop, arrive, buy, order_more
from tests.support.documentation import blocks
from tests.support.grants import GRANTS, readable


def schema(shop: Shop) -> list[str]:
    """Everything that has been created, as the server would create it again, and when it last was."""
    tables = [f"TABLE {name}" for (name,) in shop.sql("SHOW TABLES")]
    routines = shop.sql(
        "SELECT routine_name, last_altered FROM information_schema.routines WHERE routine_schema = %s",
        (NAME,),
    )
    procedures = [f"PROCEDURE {name}" for name, _ in routines]
    return [str(shop.sql(f"SHOW CREATE {name}")) for name in (*tables, *procedures)] + [
        str(routines)
    ]


def content(shop: Shop) -> dict[str, list[tuple[object, ...]]]:
    return {name: shop.sql(f"SELECT * FROM {name}") for (name,) in shop.sql("SHOW TABLES")}


def test_the_donut_is_seeded(shop: Shop) -> None:
    assert shop.sql("SELECT slug, sku, name, price, stock, factory_id FROM product") == [
        ("donut", "CP-502101", "부산도너츠", 19900, 10, "FF-500293")
    ]


def test_applying_twice_changes_nothing(shop: Shop) -> None:
    buy(shop.store(), 7)
    before = schema(shop), content(shop)
    shop.migrate()
    assert (schema(shop), content(shop)) == before


def test_a_run_that_died_before_its_bookkeeping_is_repeated_without_harm(shop: Shop) -> None:
    buy(shop.store(), 7)
    shop.sql("DELETE FROM schema_migration")
    shop.migrate()
    assert shop.stock() == 3
    assert shop.ledger() == [(7, "unknown")]


def test_files_of_a_newer_release_are_left_alone(shop: Shop) -> None:
    shop.sql("INSERT INTO schema_migration VALUES ('9999_newer.sql', UTC_TIMESTAMP(6))")
    before = schema(shop), content(shop)
    shop.migrate()
    assert (schema(shop), content(shop)) == before


def test_a_failing_file_is_named_with_the_databases_words(empty_shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE good (id INT)")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE bad (id DOUGHNUT)")
    (tmp_path / "0003_never.sql").write_text("CREATE TABLE never (id INT)")
    with empty_shop.login("master") as connection, connection.cursor() as cursor:
        with pytest.raises(
            migrate.MigrationFailed, match=r"0002_bad\.sql: .*Unknown data type: 'DOUGHNUT'"
        ):
            migrate.apply_migrations(cursor, tmp_path)
        assert empty_shop.sql("SHOW TABLES LIKE '%%e%%r'") == []

        (tmp_path / "0002_bad.sql").write_text("CREATE TABLE bad (id INT)")
        assert migrate.apply_migrations(cursor, tmp_path) == ["0002_bad.sql", "0003_never.sql"]


def test_missing_schema_is_created(empty_shop: Shop) -> None:
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


def test_schema_that_exists_keeps_its_defaults(empty_shop: Shop) -> None:
    """It may hold an owner's own tables."""
    empty_shop.sql("ALTER DATABASE shop CHARACTER SET latin1")
    empty_shop.migrate()
    assert empty_shop.sql("SELECT @@character_set_database") == [("latin1",)]


def test_two_deployments_at_once_apply_each_file_once(empty_shop: Shop) -> None:
    at_once(*[empty_shop.migrate] * 4)
    applied = empty_shop.sql("SELECT file FROM schema_migration ORDER BY file")
    assert applied == [(path.name,) for path in sorted(migrate.MIGRATIONS.glob("*.sql"))]


def test_a_deployment_does_not_wait_for_another_forever(
    empty_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.1)
    with empty_shop.login("master") as other, other.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('migrate', 0)")
        with pytest.raises(migrate.MigrationFailed, match="another migration"):
            empty_shop.migrate()
    assert empty_shop.sql("SHOW TABLES") == []


def test_a_new_password_lets_the_functions_in(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(shop.secrets, "sales", {**shop.secrets["sales"], "password": "it's \\ new"})
    shop.migrate()
    assert shop.store().product("donut")


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE product SET stock = stock - 11", "product_stock"),
        ("UPDATE product SET price = -1", "product_price"),
        ("UPDATE product SET factory_id = 'nobody'", "product_factory"),
        ("UPDATE purchase SET quantity = 0", "purchase_quantity"),
        ("UPDATE production_order SET quantity = -5", "production_order_quantity"),
    ],
)
def test_a_hand_typed_mistake_is_refused(shop: Shop, statement: str, constraint: str) -> None:
    store = shop.store()
    buy(store, 1)
    order_more(store, 100)
    with pytest.raises(pymysql.MySQLError, match=constraint):
        shop.sql(statement)


def test_ids_that_look_alike_are_not_the_same(shop: Shop) -> None:
    store = shop.store()
    assert (
        store.product("donut")
        and store.product("DONUT ") is None
        and store.product("Donut") is None
    )
    order_id = order_more(store, 100, order_id="abc")
    assert store.order(order_id) and store.order("ABC ") is None
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


def assert_texts_survive(shop: Shop) -> None:
    store = shop.store()
    product = store.product("donut")
    assert product and '"name": "부산도너츠"' in product
    shop.set_stock(len(TEXTS))
    for text in TEXTS:
        assert buy(store, 1, requester=text).outcome == "sold"
    assert [requester for _, requester in shop.ledger()] == TEXTS
    for text in TEXTS:
        assert buy(store, 1, requester=text, factory_id=text).factory_id == text
    recorded = shop.sql("SELECT requester, factory_id FROM production_order ORDER BY requested_at")
    assert recorded == [(text, text) for text in TEXTS]


def test_every_text_survives(shop: Shop) -> None:
    assert_texts_survive(shop)


def test_every_text_survives_under_rds_own_defaults(rds_defaults: None, shop: Shop) -> None:
    ((charset,),) = shop.sql(
        "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = %s",
        (NAME,),
    )
    assert charset == "latin1"
    assert_texts_survive(shop)
