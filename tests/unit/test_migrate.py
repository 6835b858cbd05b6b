import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pymysql
import pytest

from common import database as database_module
from common import deadline


class Database:
    """Stands in for the connection and its cursor.

    applied: what schema_migration holds. procedures: rows of mysql.proc. grants: user → lines of SHOW GRANTS.
    failing: text in a statement → its error.
    """

    def __init__(self, *, applied: set[str] | None = None, lock: int | None = 1) -> None:
        self.applied = applied or set()
        self.lock = lock
        self.procedures: list[tuple[str, bytes, bytes, str]] = []
        self.grants: dict[str, list[str]] = {}
        self.failing: dict[str, pymysql.MySQLError] = {}
        self.statements: list[str] = []
        self.logins: list[tuple[str, str, str | None]] = []
        self._rows: list[tuple[Any, ...]] = []

    @property
    def connection(self) -> "Database":
        return self

    def escape(self, value: str) -> str:
        return f"'{pymysql.converters.escape_string(value)}'"

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> None:
        for text, error in self.failing.items():
            if text in sql:
                raise error
        self.statements.append(sql)
        if sql.startswith("SELECT file"):
            self._rows = [(file,) for file in self.applied]
        elif sql.startswith("SELECT GET_LOCK"):
            self._rows = [(self.lock,)]
        elif sql.startswith("SELECT name, param_list"):
            self._rows = list(self.procedures)
        elif sql.startswith("SHOW GRANTS"):
            self._rows = [
                (line,) for line in self.grants.get(sql.removeprefix("SHOW GRANTS FOR "), [])
            ]
        elif sql.startswith("INSERT INTO schema_migration"):
            self.applied.add(values[0])

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def fetchone(self) -> tuple[Any, ...]:
        return self._rows[0]

    def cursor(self) -> "Database":
        return self

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *error: object) -> None: ...


@pytest.fixture
def migrate(load: Callable[..., ModuleType]) -> ModuleType:
    return load("migrate")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("0010_c", "0002_b", "0001_a"):
        (tmp_path / f"{name}.sql").write_text(f"CREATE {name} -- 도넛", encoding="utf-8")
    (tmp_path / "README.md").write_text("not SQL")
    return tmp_path


def created(database: Database) -> list[str]:
    return [sql.split()[1] for sql in database.statements if sql.startswith("CREATE 0")]


def test_files_are_applied_in_order_and_once(migrate: ModuleType, directory: Path) -> None:
    database = Database()
    assert migrate.apply_migrations(database, directory) == [
        "0001_a.sql",
        "0002_b.sql",
        "0010_c.sql",
    ]
    assert created(database) == ["0001_a", "0002_b", "0010_c"]
    assert migrate.apply_migrations(database, directory) == []
    assert created(database) == ["0001_a", "0002_b", "0010_c"]


def test_only_what_is_new_is_applied(migrate: ModuleType, directory: Path) -> None:
    database = Database(applied={"0001_a.sql", "0002_b.sql"})
    assert migrate.apply_migrations(database, directory) == ["0010_c.sql"]


def test_a_newer_releases_migrations_are_left_alone(migrate: ModuleType, directory: Path) -> None:
    database = Database(applied={"0001_a.sql", "0002_b.sql", "0010_c.sql", "0011_newer.sql"})
    assert migrate.apply_migrations(database, directory) == []
    assert created(database) == []
    assert "0011_newer.sql" in database.applied


def test_a_failing_file_is_named_with_the_databases_message(
    migrate: ModuleType, directory: Path
) -> None:
    database = Database()
    database.failing["0002_b"] = pymysql.OperationalError(1050, "Table 'b' already exists")
    with pytest.raises(migrate.MigrationFailed) as failure:
        migrate.apply_migrations(database, directory)
    assert str(failure.value) == "0002_b.sql: Table 'b' already exists"
    assert database.applied == {"0001_a.sql"}
    assert created(database) == ["0001_a"]


def test_the_repositorys_files_are_numbered_without_gap(migrate: ModuleType) -> None:
    names = sorted(path.name for path in migrate.MIGRATIONS.iterdir())
    assert [name.partition("_")[0] for name in names] == [
        f"{number:04}" for number in range(1, len(names) + 1)
    ]
    assert all(name.endswith(".sql") for name in names)


# --- procedures ---

TEXT = """-- What it does.
CREATE OR REPLACE PROCEDURE bake(
    IN p_quantity INT    -- how many
)
    SQL SECURITY DEFINER
BEGIN
    SELECT '도넛';
END
"""
STORED = (
    "bake",
    b"\n    IN p_quantity INT    -- how many\n",
    "BEGIN\n    SELECT '도넛';\nEND".encode(),
    "DEFINER",
)


@pytest.fixture
def procedures(tmp_path: Path) -> Path:
    (tmp_path / "bake.sql").write_text(TEXT, encoding="utf-8")
    return tmp_path


def test_unchanged_procedure_is_not_created_again(migrate: ModuleType, procedures: Path) -> None:
    database = Database()
    database.procedures = [("another", b"", b"SELECT 1", "DEFINER"), STORED]
    assert migrate.apply_procedures(database, procedures) == []
    assert TEXT not in database.statements


@pytest.mark.parametrize(
    "stored",
    [
        None,
        ("bake", b"", STORED[2], "DEFINER"),
        ("bake", STORED[1], b"SELECT 1", "DEFINER"),
        ("bake", STORED[1], b"", "DEFINER"),
        ("bake", STORED[1], STORED[2], "INVOKER"),
        ("bake", STORED[1], STORED[2], ""),
    ],
    ids=["missing", "parameters", "body", "no body", "invoker's rights", "another definer"],
)
def test_procedure_that_differs_is_created_again(
    migrate: ModuleType, procedures: Path, stored: tuple[str, bytes, bytes, str] | None
) -> None:
    database = Database()
    database.procedures = [stored] if stored else []
    assert migrate.apply_procedures(database, procedures) == ["bake.sql"]
    assert TEXT in database.statements


def test_failing_procedure_is_named(migrate: ModuleType, procedures: Path) -> None:
    database = Database()
    database.failing["bake("] = pymysql.ProgrammingError(
        1064, "You have an error in your SQL syntax"
    )
    with pytest.raises(migrate.MigrationFailed) as failure:
        migrate.apply_procedures(database, procedures)
    assert str(failure.value) == "bake.sql: You have an error in your SQL syntax"


def test_each_file_in_the_repository_creates_the_procedure_of_its_name(migrate: ModuleType) -> None:
    for path in migrate.PROCEDURES.iterdir():
        assert path.suffix == ".sql", path
        assert f"CREATE OR REPLACE PROCEDURE {path.stem}(" in path.read_text(), path


# --- grants ---

USAGE = "GRANT USAGE ON *.* TO `baker`@`%` REQUIRE SSL"
READ = "GRANT SELECT (`name`, `id`) ON `shop`.`product` TO `baker`@`%`"
CALL = "GRANT EXECUTE ON PROCEDURE `shop`.`bake` TO `baker`@`%`"
WANTED = ["SELECT (id, name) ON product", "EXECUTE ON PROCEDURE bake"]
REVOKE = "REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'baker'@'%'"
GRANT_READ = "GRANT SELECT (id, name) ON shop.product TO 'baker'@'%'"
GRANT_CALL = "GRANT EXECUTE ON PROCEDURE shop.bake TO 'baker'@'%'"


@pytest.mark.parametrize(
    ("held", "changes"),
    [
        ([USAGE, READ, CALL], []),
        ([USAGE], [GRANT_CALL, GRANT_READ]),
        ([USAGE, READ], [GRANT_CALL]),
        ([USAGE, READ, CALL, "GRANT `keeper` TO `baker`@`%`"], [REVOKE, GRANT_CALL, GRANT_READ]),
        ([USAGE, READ, f"{CALL} WITH GRANT OPTION"], [REVOKE, GRANT_CALL, GRANT_READ]),
        ([f"{USAGE} WITH GRANT OPTION", READ, CALL], [REVOKE, GRANT_CALL, GRANT_READ]),
        (
            [USAGE, READ.replace("`name`", "`name`, `secret`"), CALL],
            [REVOKE, GRANT_CALL, GRANT_READ],
        ),
        ([USAGE.replace("USAGE", "SELECT"), READ, CALL], [REVOKE, GRANT_CALL, GRANT_READ]),
    ],
    ids=[
        "right",
        "none",
        "one missing",
        "role",
        "grant option",
        "global grant option",
        "column",
        "global",
    ],
)
def test_grants_are_set_exactly(migrate: ModuleType, held: list[str], changes: list[str]) -> None:
    database = Database()
    database.grants["'baker'@'%'"] = held
    migrate.set_grants(database, "baker", WANTED, name="shop")
    assert database.statements[1:] == changes


# --- the whole function ---

PASSWORDS = {
    "shop_sales_password": "it's",
    "shop_restock_password": "restock's",
    "shop_relay_password": "relay's",
}


@pytest.fixture
def secrets(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client("secretsmanager")

    def create(user: str, password: str) -> str:
        content = json.dumps({"username": user, "password": password})
        return str(client.create_secret(Name=user, SecretString=content)["ARN"])

    monkeypatch.setenv("DATABASE_SECRET_ARN", create("admin", "master-password"))
    monkeypatch.setenv("USER_SECRET_ARNS", ",".join(create(*login) for login in PASSWORDS.items()))


@pytest.fixture
def database(migrate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Holds all migrations already."""
    database = Database(applied={path.name for path in migrate.MIGRATIONS.glob("*.sql")})

    def connect(
        config: object, *, user: str, password: str, name: str | None, until: float
    ) -> Database:
        database.logins.append((user, password, name))
        left = until - time.monotonic()
        assert left > deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT, (
            "a migration takes longer than a checkout"
        )
        return database

    monkeypatch.setattr(migrate, "connect", connect)
    return database


def statements(database: Database, *starts: str) -> list[str]:
    return [sql for sql in database.statements if sql.startswith(starts)]


def test_logs_in_as_the_master(migrate: ModuleType, secrets: None, database: Database) -> None:
    migrate.handler({}, None)
    assert database.logins == [("admin", "master-password", None)]


def test_schema_is_created_when_it_is_missing(
    migrate: ModuleType, secrets: None, database: Database
) -> None:
    """An existing database may be without it; the lock comes first, so that two migrations do not race for it."""
    migrate.handler({}, None)
    _, create, use, *rest = database.statements
    assert create.startswith("CREATE DATABASE IF NOT EXISTS `shop`")
    assert use == "USE `shop`"
    assert rest


def test_secrets_are_read_with_patience(
    migrate: ModuleType, secrets: None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment fails with its migration, which reads them in a cold function over a new network interface."""
    read: list[deadline.ClientTimeouts | None] = []

    def secret(arn: str, times: deadline.ClientTimeouts | None = None) -> dict[str, str]:
        read.append(times)
        return database_module.secret(arn)

    monkeypatch.setattr(migrate, "secret", secret)
    migrate.handler({}, None)
    patient = deadline.ClientTimeouts(connect=10, read=10, attempts=5)
    assert read == [patient] * (1 + len(PASSWORDS))


def test_time_to_read_the_secrets_counts(
    migrate: ModuleType, secrets: None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long they take, the migration ends before the function does, and says why."""
    clock = time.monotonic()
    ends: list[float] = []

    def secret(arn: str, times: deadline.ClientTimeouts) -> dict[str, str]:
        nonlocal clock
        clock += times.attempts * (times.connect + times.read)
        return database_module.secret(arn)

    def connect(config: object, *, until: float, **login: str) -> Database:
        ends.append(until)
        return database

    began = clock
    monkeypatch.setattr(migrate.time, "monotonic", lambda: clock)
    monkeypatch.setattr(migrate, "secret", secret)
    monkeypatch.setattr(migrate, "connect", connect)
    migrate.handler({}, None)
    assert ends == [began + migrate.MIGRATION_SECONDS]


def test_each_function_gets_its_own_password(
    migrate: ModuleType, secrets: None, database: Database
) -> None:
    migrate.handler({}, None)
    for verb in ("CREATE USER IF NOT EXISTS", "ALTER USER"):
        assert statements(database, verb) == [
            rf"{verb} 'shop_sales_password'@'%' IDENTIFIED BY 'it\'s' REQUIRE SSL",
            rf"{verb} 'shop_restock_password'@'%' IDENTIFIED BY 'restock\'s' REQUIRE SSL",
            rf"{verb} 'shop_relay_password'@'%' IDENTIFIED BY 'relay\'s' REQUIRE SSL",
        ]


def test_functions_without_secrets_log_in_with_iam(
    migrate: ModuleType, secrets: None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("USER_SECRET_ARNS")
    migrate.handler({}, None)
    users = ["'shop_sales'@'%'", "'shop_restock'@'%'", "'shop_relay'@'%'"]
    assert statements(database, "CREATE USER") == [
        f"CREATE USER IF NOT EXISTS {user} IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS' REQUIRE SSL"
        for user in users
    ]
    assert statements(database, "ALTER USER") == [
        f"ALTER USER {user} REQUIRE SSL" for user in users
    ]


def test_user_without_a_secret_is_named(
    migrate: ModuleType, secrets: None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER_SECRET_ARNS", os.environ["USER_SECRET_ARNS"].partition(",")[0])
    with pytest.raises(migrate.MigrationFailed, match="shop_restock_password"):
        migrate.handler({}, None)


def test_the_functions_may_write_through_procedures_only(
    migrate: ModuleType, secrets: None, database: Database
) -> None:
    migrate.handler({}, None)
    grants = statements(database, "GRANT")
    assert {grant.split()[1] for grant in grants} == {"SELECT", "EXECUTE"}
    assert {grant.split()[-1] for grant in grants} == {f"'{user}'@'%'" for user in PASSWORDS}


@pytest.mark.parametrize("lock", [0, None])
def test_two_migrations_never_run_at_once(
    lock: int | None, migrate: ModuleType, secrets: None, database: Database
) -> None:
    database.lock = lock
    with pytest.raises(migrate.MigrationFailed, match="lock"):
        migrate.handler({}, None)
    assert not any(
        sql.startswith(("CREATE", "ALTER", "GRANT", "INSERT")) for sql in database.statements
    )


def test_the_lock_comes_first(migrate: ModuleType, secrets: None, database: Database) -> None:
    migrate.handler({}, None)
    assert database.statements[0].startswith("SELECT GET_LOCK('migrate'")


def test_a_strange_database_name_reaches_no_sql(
    secrets: None, migrate: ModuleType, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_NAME", "shop; DROP TABLE product")
    with pytest.raises(migrate.MigrationFailed, match="database name"):
        migrate.handler({}, None)
    assert database.statements == []


def test_no_password_is_logged(
    migrate: ModuleType, secrets: None, database: Database, logged: Callable[[], str]
) -> None:
    migrate.handler({}, None)
    assert "migrated" in logged()
    assert "master-password" not in logged()
    assert not [password for password in PASSWORDS.values() if password in logged()]
