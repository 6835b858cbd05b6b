"""A MariaDB of the tests' own, and a shop on it, migrated anew for each test."""

import os
from collections.abc import Iterator

import pytest

from common import database, environment
from local.database.mariadb import MariaDb
from local.database.rds import create_master
from migrate import handler as migrate
from tests.support.books import NAME, sql
from tests.support.database_shop import SECRETS, DatabaseShop, secret


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """Start a MariaDB whose master user is like that of RDS."""
    server = MariaDb(tmp_path_factory.mktemp("mariadb"))
    server.start()
    create_master(
        mysql_cnf=server.mysql_cnf,
        user="admin",
        password=SECRETS["master"]["password"],
        database=NAME,
    )
    yield server
    server.stop()


@pytest.fixture
def empty_shop(server: MariaDb, monkeypatch: pytest.MonkeyPatch) -> DatabaseShop:
    """Drop and create the database, and drop its users. Nothing has been applied to it."""
    login = environment.Database(
        database_host="127.0.0.1",
        database_port=server.port,
        database_name=NAME,
        database_ca_file=str(server.ca_file),
        database_secret_arn="sales",
    )
    for key in [key for key in os.environ if key.startswith(("DATABASE_", "USER_SECRET_"))]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("DATABASE_HOST", login.database_host)
    monkeypatch.setenv("DATABASE_PORT", str(login.database_port))
    monkeypatch.setenv("DATABASE_NAME", login.database_name)
    monkeypatch.setenv("DATABASE_CA_FILE", login.database_ca_file)
    monkeypatch.setenv("DATABASE_SECRET_ARN", "master")
    monkeypatch.setenv("USER_SECRET_ARNS", ",".join(migrate.DATABASE_USERS))
    monkeypatch.setattr(database, "secret", secret)
    monkeypatch.setattr(migrate, "secret", secret)
    shop = DatabaseShop(server=server, database=login, secrets=SECRETS)
    with shop.owner() as connection, connection.cursor() as cursor:
        cursor.execute("DROP DATABASE shop")
        cursor.execute("CREATE DATABASE shop")
        for function in migrate.DATABASE_USERS:
            cursor.execute("DROP USER IF EXISTS %s", (SECRETS[function]["username"],))
    return shop


@pytest.fixture(params=[1, 16], ids=["one row", "16 slots"])
def slots(request: pytest.FixtureRequest) -> int:
    """Return the number of rows that the products' stock is spread over."""
    return int(request.param)


@pytest.fixture
def shop(empty_shop: DatabaseShop, slots: int) -> DatabaseShop:
    """Create a new shop: ten donuts, nothing sold, nothing ordered."""
    empty_shop.migrate()
    if slots != 1:
        empty_shop.set_slots(slots)
    return empty_shop


@pytest.fixture
def rds_defaults(server: MariaDb) -> Iterator[None]:
    """Give the server RDS's defaults in place of our parameter group's values.

    They hold for what is created or connects from then on. So a test requests this fixture before
    `shop`.
    """
    ours = sql(
        server,
        "SELECT @@global.character_set_server, @@global.collation_server, @@global.tx_isolation",
    )[0]
    settings = "SET GLOBAL character_set_server = %s, collation_server = %s, tx_isolation = %s"
    sql(server, settings, ("latin1", "latin1_swedish_ci", "REPEATABLE-READ"))
    yield
    sql(server, settings, ours)


@pytest.fixture
def undurable(server: MariaDb) -> Iterator[None]:
    """Let the server not wait for the disk, for tests in which it does not crash."""
    settings = "SET GLOBAL innodb_flush_log_at_trx_commit = %s, sync_binlog = %s"
    sql(server, settings, (0, 0))
    yield
    sql(server, settings, (1, 1))
