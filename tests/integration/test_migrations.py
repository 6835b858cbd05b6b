from pathlib import Path

import pymysql
import pytest

from migrate import handler as migrate
from settings import PROJECT
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


# --- procedures ---


def altered(shop: Shop, procedure: str) -> object:
    """When the procedure was last created or changed."""
    ((moment,),) = shop.sql(
        "SELECT last_altered FROM information_schema.routines WHERE routine_schema = %s AND routine_name = %s",
        (NAME, procedure),
    )
    return moment


def definition(shop: Shop, procedure: str) -> object:
    """Return all that decides what the procedure does, and with whose rights."""
    (row,) = shop.sql(
        "SELECT param_list, body, security_type, definer FROM mysql.proc WHERE db = %s AND name = %s",
        (NAME, procedure),
    )
    return row


@pytest.mark.parametrize(
    "change",
    [
        "CREATE OR REPLACE DEFINER = 'admin' PROCEDURE mark_published(IN p_order_id CHAR(36), IN p_overdue INT)"
        " UPDATE production_order SET status = 'published'",
        "CREATE OR REPLACE DEFINER = 'admin' PROCEDURE mark_published() SELECT 1",
        "ALTER PROCEDURE mark_published SQL SECURITY INVOKER",
        "DROP PROCEDURE mark_published",
    ],
)
def test_procedure_changed_by_hand_is_put_right(shop: Shop, change: str) -> None:
    before = definition(shop, "mark_published")
    shop.sql(change)
    shop.migrate()
    assert definition(shop, "mark_published") == before


def test_procedure_of_another_definer_is_put_right(shop: Shop) -> None:
    """It has the right text, and would run with the rights of whoever created it."""
    before = definition(shop, "restock")
    shop.sql((migrate.PROCEDURES / "restock.sql").read_text())
    assert definition(shop, "restock") != before
    shop.migrate()
    assert definition(shop, "restock") == before


def test_unchanged_procedures_are_not_touched(shop: Shop) -> None:
    shop.sql(
        "UPDATE mysql.proc SET created = '2001-01-01', modified = '2001-01-01' WHERE db = %s",
        (NAME,),
    )
    shop.sql("ALTER PROCEDURE mark_published SQL SECURITY INVOKER")
    untouched = altered(shop, "checkout")
    shop.migrate()
    assert altered(shop, "checkout") == untouched
    assert altered(shop, "mark_published") != untouched


# --- users ---


def grants(shop: Shop, user: str) -> list[str]:
    return readable([line for (line,) in shop.sql("SHOW GRANTS FOR %s", (user,))])


def all_grants(shop: Shop) -> dict[str, list[str]]:
    return {user: grants(shop, f"{user}_password") for user in GRANTS}


def test_users_have_exactly_their_grants(shop: Shop) -> None:
    assert all_grants(shop) == GRANTS


def test_migration_creates_no_other_users(shop: Shop) -> None:
    users = {
        user
        for (user,) in shop.sql("SELECT user FROM mysql.user WHERE user LIKE 'shop%%password'", ())
    }
    assert users == {f"{user}_password" for user in GRANTS}


@pytest.mark.parametrize(
    "grant",
    [
        "SELECT ON shop.product",
        "SELECT ON shop.product TO shop_sales_password WITH GRANT OPTION",
        "SELECT (callback_token) ON shop.production_order",
        "INSERT (stock), UPDATE (stock) ON shop.product",
        "EXECUTE ON PROCEDURE shop.restock",
        "EXECUTE ON PROCEDURE shop.checkout TO shop_sales_password WITH GRANT OPTION",
        "ALTER ROUTINE ON PROCEDURE shop.checkout",
        "ALL ON shop.*",
        "SELECT ON mysql.*",
        "ALL ON *.*",
        "USAGE ON *.* TO shop_sales_password WITH GRANT OPTION",
        "USAGE ON *.* TO shop_sales_password REQUIRE NONE",
    ],
)
def test_grant_given_by_hand_is_taken_away(shop: Shop, grant: str) -> None:
    shop.sql(f"GRANT {grant}" if " TO " in grant else f"GRANT {grant} TO shop_sales_password")
    assert all_grants(shop) != GRANTS
    shop.migrate()
    assert all_grants(shop) == GRANTS


def test_role_given_by_hand_is_taken_away(shop: Shop) -> None:
    shop.sql("CREATE OR REPLACE ROLE keeper")
    try:
        shop.sql("GRANT keeper TO shop_sales_password")
        assert all_grants(shop) != GRANTS
        shop.migrate()
        assert all_grants(shop) == GRANTS
    finally:
        shop.sql("DROP ROLE keeper")


@pytest.mark.parametrize(
    "revoked",
    [
        "EXECUTE ON PROCEDURE shop.checkout",
        "SELECT (slug) ON shop.product",
        "ALL PRIVILEGES, GRANT OPTION",
    ],
)
def test_grant_revoked_by_hand_comes_back(shop: Shop, revoked: str) -> None:
    shop.sql(f"REVOKE {revoked} FROM shop_sales_password")
    assert all_grants(shop) != GRANTS
    shop.migrate()
    assert all_grants(shop) == GRANTS


def test_users_keep_their_rights_during_a_migration(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions of the release before are still at work: what they may do is not revoked in between."""
    statements: list[str] = []
    execute = pymysql.cursors.Cursor.execute

    def recorded(
        self: pymysql.cursors.Cursor, sql: str, values: tuple[object, ...] | None = None
    ) -> int:
        statements.append(sql)
        return execute(self, sql, values)

    monkeypatch.setattr(pymysql.cursors.Cursor, "execute", recorded)
    shop.migrate()
    assert [sql for sql in statements if sql.startswith("CREATE USER")]
    assert not [sql for sql in statements if sql.startswith(("GRANT", "REVOKE", "DROP"))]


def test_documented_rights_are_enough_on_an_existing_database(
    empty_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """README.md lists what the owner of an existing database grants to the migration's user."""
    shop = empty_shop
    (block,) = blocks((PROJECT / "README.md").read_text(), "sql")
    with shop.owner() as connection, connection.cursor() as cursor:
        cursor.execute("DROP DATABASE shop")
        for statement in block.split(";"):
            if statement.strip():
                cursor.execute(statement)
    monkeypatch.setitem(
        shop.secrets, "master", {"username": "shop_migration", "password": "a password"}
    )
    try:
        shop.migrate()
        assert all_grants(shop) == GRANTS
        store = shop.store()
        assert buy(store, 3).stock == 7
        assert arrive(store, order_more(store, 100)).stock == 107
        shop.sql("GRANT ALL ON shop.* TO shop_sales_password")
        shop.migrate()
        assert all_grants(shop) == GRANTS
    finally:
        shop.sql("DROP USER shop_migration")


FORBIDDEN_TO_ALL = [
    "UPDATE product SET stock = 1000",
    "DELETE FROM product",
    "INSERT INTO purchase (product_id, quantity, requester, purchased_at) VALUES ('x', 1, 'x', NOW())",
    "UPDATE production_order SET status = 'arrived'",
    "DELETE FROM production_order",
    "DELETE FROM idempotency_key",
    "DELETE FROM checkout_outcome",
    "DELETE FROM schema_migration",
    "SELECT requester FROM purchase",
    "SELECT requester FROM production_order",
    "SELECT callback_token FROM production_order",
    "SELECT claim FROM production_order",
    "SELECT 1 FROM production_order WHERE callback_token LIKE 'a%'",
    "SELECT * FROM idempotency_key",
    "SELECT * FROM checkout_outcome",
    "SELECT * FROM factory",
    "SELECT * FROM schema_migration",
    "DROP TABLE purchase",
    "CREATE TABLE mine (id INT)",
    "CREATE PROCEDURE mine() SELECT 1",
    "ALTER PROCEDURE restock SQL SECURITY INVOKER",
    "DROP PROCEDURE restock",
    "CREATE USER mine",
    "SELECT * FROM mysql.global_priv",
    "SELECT * FROM mysql.proc",
    "SET GLOBAL tx_isolation = 'READ-UNCOMMITTED'",
    "CALL give_away()",
]
CALLS = {
    "cancel_checkout": 1,
    "checkout": 12,
    "claim_orders": 5,
    "mark_orphans": 3,
    "mark_stuck": 2,
    "mark_published": 2,
    "purge_checkout_outcomes": 2,
    "purge_idempotency_keys": 2,
    "restock": 3,
}
"""Procedure → the number of its parameters."""

FORBIDDEN = {
    "sales": [
        "restock",
        "claim_orders",
        "mark_orphans",
        "mark_stuck",
        "purge_checkout_outcomes",
        "purge_idempotency_keys",
    ],
    "restock": [
        "SELECT slug FROM product",
        "SELECT stock FROM product",
        "SELECT order_id FROM production_order",
        "SELECT status FROM production_order",
        *[
            "checkout",
            "cancel_checkout",
            "mark_published",
            "claim_orders",
            "mark_orphans",
            "mark_stuck",
        ],
        *["purge_checkout_outcomes", "purge_idempotency_keys"],
    ],
    "relay": [
        "SELECT slug FROM product",
        "SELECT order_id FROM production_order",
        "SELECT product_id FROM production_order",
        *["checkout", "cancel_checkout", "restock"],
    ],
}
"""Function → statements that its user is denied, beside FORBIDDEN_TO_ALL; a procedure's name stands for its call."""


@pytest.mark.parametrize("function", FORBIDDEN)
def test_user_is_denied_what_its_function_does_not_need(shop: Shop, function: str) -> None:
    shop.sql("CREATE PROCEDURE give_away() UPDATE product SET stock = 1000")
    with shop.login(function) as connection, connection.cursor() as cursor:
        for statement in FORBIDDEN_TO_ALL + FORBIDDEN[function]:
            if statement in CALLS:
                statement = f"CALL {statement}({', '.join(['NULL'] * CALLS[statement])})"
            try:
                cursor.execute(statement)
            except pymysql.MySQLError as error:
                assert "denied" in str(error), statement
            else:
                pytest.fail(f"allowed: {statement}")


def test_every_procedure_is_allowed_or_denied_to_each_user(shop: Shop) -> None:
    """The calls in the table above have the right number of parameters, and none is forgotten."""
    parameters = shop.sql(
        "SELECT specific_name, COUNT(*) FROM information_schema.parameters WHERE specific_schema = %s"
        " GROUP BY specific_name",
        (NAME,),
    )
    assert dict(parameters) == CALLS
    for function, denied in FORBIDDEN.items():
        allowed = {
            grant.rpartition(" ")[2]
            for grant in GRANTS[f"shop_{function}"]
            if grant.startswith("EXECUTE")
        }
        assert allowed | set(denied) & CALLS.keys() == CALLS.keys(), function
        assert not allowed & set(denied), function


@pytest.mark.parametrize("function", FORBIDDEN)
def test_user_is_refused_without_tls(shop: Shop, function: str) -> None:
    with pytest.raises(pymysql.OperationalError, match=r"Access denied|secure"):
        pymysql.connect(
            host=shop.database.database_host,
            port=shop.database.database_port,
            user=shop.secrets[function]["username"],
            password=shop.secrets[function]["password"],
            ssl_disabled=True,
        )
