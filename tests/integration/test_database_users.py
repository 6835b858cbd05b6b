"""The database user of each function may do what the function needs, and nothing else."""

from collections.abc import Callable

import pymysql
import pytest

from migrate import users
from settings import DATABASE_USERS, PROJECT
from tests.support.books import NAME
from tests.support.database_shop import DatabaseShop, arrive, buy, order_more
from tests.support.documentation import blocks
from tests.support.grants import GRANTED_TO_NOBODY, GRANTS, columns_of, readable


@pytest.fixture
def slots() -> int:
    """Return one number of slots, because grants do not depend on it."""
    return 1


def all_grants(shop: DatabaseShop, *, suffix: str = "_password") -> dict[str, list[str]]:
    """Return the grants of each function's user, in the form of GRANTS."""
    lines = {user: shop.sql("SHOW GRANTS FOR %s", (user + suffix,)) for user in GRANTS}
    return {user: readable([line for (line,) in rows]) for user, rows in lines.items()}


def test_users_have_exactly_their_grants(shop: DatabaseShop) -> None:
    for user, grants in all_grants(shop).items():
        assert grants == GRANTS[user], (
            f"{user} has other grants than tests/support/grants.py says: write the same grants into"
            " lambdas/migrate/database_users.json and tests/support/grants.py"
        )


def test_functions_write_through_procedures_only() -> None:
    rights = {grant.split()[0] for grants in GRANTS.values() for grant in grants}
    assert rights == {"SELECT", "EXECUTE"}


def test_migration_creates_no_other_users(shop: DatabaseShop) -> None:
    found = shop.sql("SELECT user FROM mysql.user WHERE user LIKE 'shop%%password'", ())
    assert {user for (user,) in found} == {f"{user}_password" for user in GRANTS}


def test_removed_user_is_dropped_with_either_login(
    shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other users stay: the functions', those that a person created, and the same name elsewhere."""
    created = ["shop_former", "shop_former_password", "shop_former_report"]
    for user in created:
        shop.sql(f"CREATE USER {user} IDENTIFIED BY 'a password'")
        shop.sql(f"GRANT EXECUTE ON PROCEDURE shop.restock TO {user}")
    shop.sql("CREATE USER shop_former@localhost IDENTIFIED BY 'a password'")
    accounts = "SELECT user, host FROM mysql.user"
    before = set(shop.sql(accounts))
    try:
        shop.migrate()
        assert set(shop.sql(accounts)) == before
        monkeypatch.setattr(users, "REMOVED", ("shop_former",))
        shop.migrate()
        dropped = {("shop_former", "%"), ("shop_former_password", "%")}
        assert set(shop.sql(accounts)) == before - dropped
        shop.migrate()
    finally:
        for account in (*created, "shop_former@localhost"):
            shop.sql(f"DROP USER IF EXISTS {account}")


def test_new_password_replaces_the_old_one(
    shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shop.secrets, "sales", {**shop.secrets["sales"], "password": "it's \\ new"})
    shop.migrate()
    assert shop.store().product("donut")


def test_no_password_is_logged(empty_shop: DatabaseShop, logged: Callable[[], str]) -> None:
    empty_shop.migrate()
    assert "migrated" in logged()
    for name, login in empty_shop.secrets.items():
        assert login["password"] not in logged(), name


def test_users_with_iam_authentication_get_the_same_grants(
    empty_shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only RDS has the plugin, so the users exist already, as they do after a first migration."""
    monkeypatch.delenv("USER_SECRET_ARNS")
    for user in GRANTS:
        empty_shop.sql(f"CREATE OR REPLACE USER {user} IDENTIFIED BY 'kept'")
    try:
        empty_shop.migrate()
        assert all_grants(empty_shop, suffix="") == GRANTS
        for user in GRANTS:
            ((created,),) = empty_shop.sql(f"SHOW CREATE USER {user}")
            assert created.endswith("REQUIRE SSL"), user
    finally:
        for user in GRANTS:
            empty_shop.sql(f"DROP USER {user}")


def test_new_iam_user_is_created_with_the_plugin_of_rds(empty_shop: DatabaseShop) -> None:
    not_loaded = pytest.raises(pymysql.OperationalError, match="'AWSAuthenticationPlugin' is not")
    with empty_shop.login("master") as connection, connection.cursor() as cursor, not_loaded:
        users.create_user(cursor, "shop_new", password=None)


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
def test_grant_given_by_hand_is_revoked(shop: DatabaseShop, grant: str) -> None:
    shop.sql(f"GRANT {grant}" if " TO " in grant else f"GRANT {grant} TO shop_sales_password")
    assert all_grants(shop) != GRANTS
    shop.migrate()
    assert all_grants(shop) == GRANTS


def test_role_given_by_hand_is_revoked(shop: DatabaseShop) -> None:
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
def test_grant_revoked_by_hand_is_given_again(shop: DatabaseShop, revoked: str) -> None:
    shop.sql(f"REVOKE {revoked} FROM shop_sales_password")
    assert all_grants(shop) != GRANTS
    shop.migrate()
    assert all_grants(shop) == GRANTS


def test_unchanged_grants_are_not_touched(
    shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions of the previous release run during a migration, and must keep their grants."""
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


def test_documented_grants_are_enough_on_an_existing_database(
    empty_shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/deployment.md lists the grants that the owner of an existing database gives to the migration."""
    shop = empty_shop
    (block,) = blocks((PROJECT / "docs/deployment.md").read_text(), "sql")
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
        shop.sql("CREATE USER shop_former")
        monkeypatch.setattr(users, "REMOVED", ("shop_former",))
        shop.migrate()
        assert all_grants(shop) == GRANTS
        assert shop.sql("SELECT 1 FROM mysql.user WHERE user = 'shop_former'") == []
    finally:
        shop.sql("DROP USER IF EXISTS shop_former")
        shop.sql("DROP USER shop_migration")


FORBIDDEN_TO_ALL = [
    "UPDATE product SET stock = 1000",
    "UPDATE product SET price = 1",
    "UPDATE product_slot SET stock = 1000",
    "DELETE FROM product",
    "DELETE FROM product_slot",
    "INSERT INTO stock_entry (product_id, kind, amount, reason, recorded_by, recorded_at)"
    " VALUES ('x', 'reset', 1, 'x', 'x', NOW())",
    "SELECT * FROM stock_entry",
    "DELETE FROM operation",
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
]
"""What no function's user may execute.

Each column that it has no grant for, and calls of other procedures, come in addition.
"""


def calls(shop: DatabaseShop) -> dict[str, str]:
    """Return a call of each procedure: its name → the statement."""
    parameters = shop.sql(
        "SELECT routine_name, COUNT(parameter_name) FROM information_schema.routines"
        " LEFT JOIN information_schema.parameters"
        " ON specific_schema = routine_schema AND parameters.specific_name = routine_name"
        " WHERE routine_schema = %s GROUP BY routine_name",
        (NAME,),
    )
    return {name: f"CALL {name}({', '.join(['NULL'] * count)})" for name, count in parameters}


def callable_by(function: str) -> set[str]:
    """Return the procedures that the function's user may call."""
    execute = "EXECUTE ON PROCEDURE "
    grants = GRANTS[DATABASE_USERS[function]]
    return {grant.removeprefix(execute) for grant in grants if grant.startswith(execute)}


def unreadable_by(shop: DatabaseShop, function: str) -> list[str]:
    """Return a statement per column that the function's user may not read."""
    granted = columns_of(GRANTS[DATABASE_USERS[function]])
    columns = shop.sql(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s",
        (NAME,),
    )
    assert granted < set(columns)
    return [f"SELECT {column} FROM {table}" for table, column in sorted({*columns} - granted)]


def error_of(cursor: pymysql.cursors.Cursor, statement: str) -> str:
    """Execute a statement and return the server's error, or an empty text if there is none."""
    try:
        cursor.execute(statement)
    except pymysql.MySQLError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("function", DATABASE_USERS)
def test_user_may_not_do_what_its_function_does_not_need(shop: DatabaseShop, function: str) -> None:
    shop.sql("CREATE PROCEDURE give_away() UPDATE product SET stock = 1000")
    others = [call for name, call in calls(shop).items() if name not in callable_by(function)]
    assert "CALL give_away()" in others
    forbidden = FORBIDDEN_TO_ALL + unreadable_by(shop, function) + others
    with shop.login(function) as connection, connection.cursor() as cursor:
        for statement in forbidden:
            assert "denied" in error_of(cursor, statement), f"{function} may execute {statement}"


def test_each_procedure_is_called_by_a_function(shop: DatabaseShop) -> None:
    granted = set().union(*map(callable_by, DATABASE_USERS))
    for name in calls(shop).keys() - GRANTED_TO_NOBODY:
        assert name in granted, (
            f"no function may call {name}: add a grant to lambdas/migrate/database_users.json"
            " and to tests/support/grants.py, or the reason to GRANTED_TO_NOBODY there"
        )


def test_procedures_that_nobody_may_call_are_not_granted(shop: DatabaseShop) -> None:
    assert calls(shop).keys() >= GRANTED_TO_NOBODY.keys()
    for function in DATABASE_USERS:
        assert callable_by(function).isdisjoint(GRANTED_TO_NOBODY), function


@pytest.mark.parametrize("function", DATABASE_USERS)
def test_user_cannot_log_in_without_tls(shop: DatabaseShop, function: str) -> None:
    with pytest.raises(pymysql.OperationalError, match=r"Access denied|secure"):
        pymysql.connect(
            host=shop.database.database_host,
            port=shop.database.database_port,
            user=shop.secrets[function]["username"],
            password=shop.secrets[function]["password"],
            ssl_disabled=True,
        )
