import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pymysql
import pytest

from common import store


class Database:
    """Stands in for the connection and its cursor.

    applied: what schema_migration holds. failing: text in a statement → its error.
    """

    def __init__(self, *, applied: set[str] | None = None, lock: int | None = 1) -> None:
        self.applied = applied or set()
        self.lock = lock
        self.failing: dict[str, pymysql.MySQLError] = {}
        self.statements: list[str] = []
        self.logins: list[tuple[str, str, str]] = []
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
    assert migrate.apply(database, directory) == ["0001_a.sql", "0002_b.sql", "0010_c.sql"]
    assert created(database) == ["0001_a", "0002_b", "0010_c"]
    assert migrate.apply(database, directory) == []
    assert created(database) == ["0001_a", "0002_b", "0010_c"]


def test_only_what_is_new_is_applied(migrate: ModuleType, directory: Path) -> None:
    database = Database(applied={"0001_a.sql", "0002_b.sql"})
    assert migrate.apply(database, directory) == ["0010_c.sql"]


def test_a_newer_releases_migrations_are_left_alone(migrate: ModuleType, directory: Path) -> None:
    database = Database(applied={"0001_a.sql", "0002_b.sql", "0010_c.sql", "0011_newer.sql"})
    assert migrate.apply(database, directory) == []
    assert created(database) == []
    assert "0011_newer.sql" in database.applied


def test_a_failing_file_is_named_with_the_databases_message(migrate: ModuleType, directory: Path) -> None:
    database = Database()
    database.failing["0002_b"] = pymysql.OperationalError(1050, "Table 'b' already exists")
    with pytest.raises(migrate.MigrationFailed) as failure:
        migrate.apply(database, directory)
    assert str(failure.value) == "0002_b.sql: Table 'b' already exists"
    assert database.applied == {"0001_a.sql"}
    assert created(database) == ["0001_a"]


def test_the_repositorys_files_are_numbered_without_gap(migrate: ModuleType) -> None:
    names = sorted(path.name for path in migrate.MIGRATIONS.iterdir())
    assert [name.partition("_")[0] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
    assert all(name.endswith(".sql") for name in names)


# --- the whole function ---


@pytest.fixture
def secrets(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client("secretsmanager")
    for key, content in {
        "DATABASE_SECRET_ARN": {"username": "admin", "password": "master-password"},
        "APP_SECRET_ARN": {"username": "app", "password": "it's"},
    }.items():
        arn = client.create_secret(Name=key, SecretString=json.dumps(content))["ARN"]
        monkeypatch.setenv(key, arn)


@pytest.fixture
def database(migrate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Holds all migrations already."""
    database = Database(applied={path.name for path in migrate.MIGRATIONS.glob("*.sql")})

    def connect(settings: object, *, user: str, password: str, name: str, read_timeout: float) -> Database:
        database.logins.append((user, password, name))
        assert read_timeout > store.READ_TIMEOUT, "a migration takes longer than a sale"
        return database

    monkeypatch.setattr(migrate, "connect", connect)
    return database


def statement(database: Database, start: str) -> str:
    (found,) = [sql for sql in database.statements if sql.startswith(start)]
    return found


def test_logs_in_as_the_master(migrate: ModuleType, secrets: None, database: Database) -> None:
    migrate.handler({}, None)
    assert database.logins == [("admin", "master-password", "shop")]


def test_the_functions_get_their_password_over_tls(migrate: ModuleType, secrets: None, database: Database) -> None:
    migrate.handler({}, None)
    for verb in ("CREATE USER IF NOT EXISTS", "ALTER USER"):
        assert statement(database, verb) == rf"{verb} 'app'@'%' IDENTIFIED BY 'it\'s' REQUIRE SSL"


def test_without_a_password_they_log_in_with_iam(
    migrate: ModuleType, secrets: None, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("APP_SECRET_ARN")
    migrate.handler({}, None)
    assert statement(database, "CREATE USER") == (
        "CREATE USER IF NOT EXISTS 'app'@'%' IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS' REQUIRE SSL"
    )


def test_the_functions_may_write_through_procedures_only(
    migrate: ModuleType, secrets: None, database: Database
) -> None:
    migrate.handler({}, None)
    grants = [sql for sql in database.statements if sql.startswith("GRANT")]
    assert {tuple(grant.split()[1:3]) for grant in grants} == {("SELECT", "ON"), ("EXECUTE", "ON")}
    assert all(grant.split()[-1] == "'app'@'%'" for grant in grants)


@pytest.mark.parametrize("lock", [0, None])
def test_two_migrations_never_run_at_once(
    lock: int | None, migrate: ModuleType, secrets: None, database: Database
) -> None:
    database.lock = lock
    with pytest.raises(migrate.MigrationFailed, match="lock"):
        migrate.handler({}, None)
    assert not any(sql.startswith(("CREATE", "ALTER", "GRANT", "INSERT")) for sql in database.statements)


def test_the_lock_comes_first(migrate: ModuleType, secrets: None, database: Database) -> None:
    migrate.handler({}, None)
    assert database.statements[0].startswith("SELECT GET_LOCK('migrate'")


def test_a_strange_database_name_reaches_no_sql(
    secrets: None, migrate: ModuleType, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_NAME", "shop; DROP TABLE product")
    with pytest.raises(ValueError, match="database name"):
        migrate.handler({}, None)
    assert database.statements == []


def test_no_password_is_logged(
    migrate: ModuleType, secrets: None, database: Database, logged: Callable[[], str]
) -> None:
    migrate.handler({}, None)
    assert "migrated" in logged()
    assert "master-password" not in logged()
    assert "it's" not in logged()
