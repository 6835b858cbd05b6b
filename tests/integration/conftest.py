"""A MariaDB of the tests' own, and a shop on it, migrated anew for each test."""

from collections.abc import Iterator

import pytest

from local.database.mariadb import MariaDb
from tests.support.books import sql
from tests.support.database_shop import DatabaseShop, create_database, shop_on
from tests.support.mariadb import UNSYNCED


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """Start a MariaDB whose master user is like that of RDS."""
    server = MariaDb(tmp_path_factory.mktemp("mariadb"), options=UNSYNCED)
    server.start()
    create_database(server)
    yield server
    server.stop()


@pytest.fixture
def empty_shop(server: MariaDb, monkeypatch: pytest.MonkeyPatch) -> DatabaseShop:
    """Return a shop on an empty database. Nothing has been applied to it."""
    shop = shop_on(server, monkeypatch)
    shop.recreate()
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
