"""A checkout behind a 503 sold nothing, even when a clock steps.

The contract names two exceptions.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from common import deadline
from common.database import DatabaseUnavailable
from common.store import CheckoutResult, Store
from local.database.mariadb import MariaDb
from local.database.rds import create_master
from local.polling import eventually
from settings import PROJECT
from tests.support.books import LOCK_STOCK, NAME
from tests.support.database_shop import SECRETS, DatabaseShop, buy
from tests.support.faketime import SteppedClock, require_library
from tests.support.mariadb import UNSYNCED
from tests.support.processes import suspend
from tests.support.proxy import proxy_to

STEPS = [-3600, -2, -1, 1, 2, 3600]
RESPONSE_DUE = deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT


@pytest.fixture
def slots() -> int:
    """One: the clocks do not depend on the number of rows."""
    return 1


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> SteppedClock:
    """Return the clock of the module's server. Skips where libfaketime is not installed."""
    require_library()
    return SteppedClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, clock: SteppedClock) -> Iterator[MariaDb]:
    directory = tmp_path_factory.mktemp("mariadb")
    server = MariaDb(directory, options=UNSYNCED, variables=clock.variables)
    server.start()
    create_master(
        mysql_cnf=server.mysql_cnf,
        user="admin",
        password=SECRETS["master"]["password"],
        database=NAME,
    )
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def _right_clock(clock: SteppedClock) -> Iterator[None]:
    yield
    clock.step_to(0)


def outcome(store: Store, requester: str, *, key: str | None = None) -> CheckoutResult | None:
    """Check out, and return the result; None where the response would be 503."""
    try:
        return buy(store, 1, requester=requester, idempotency_key=key)
    except DatabaseUnavailable:
        return None


def bought(shop: DatabaseShop) -> list[str]:
    return [requester for _, requester in shop.purchases()]


@contextmanager
def suspended(server: MariaDb) -> Iterator[None]:
    process = psutil.Process(server.pid)
    suspend(process)
    try:
        yield
    finally:
        process.resume()


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


@pytest.mark.parametrize("seconds", STEPS)
def test_checkout_sells_when_the_servers_clock_has_stepped(
    shop: DatabaseShop, clock: SteppedClock, seconds: float
) -> None:
    store = shop.store()
    assert outcome(store, "before")
    clock.step_to(seconds)
    assert outcome(store, "after")
    clock.step_to(0)
    assert outcome(store, "again")
    assert bought(shop) == ["before", "after", "again"]


@pytest.mark.parametrize("seconds", STEPS)
@pytest.mark.parametrize("monotonic", [False, True], ids=["wall clock", "both clocks"])
def test_checkout_sells_when_the_functions_clock_has_stepped(
    shop: DatabaseShop, tmp_path: Path, seconds: float, monotonic: bool
) -> None:
    """The function is a process of its own, whose clock the test controls."""
    clock = SteppedClock(tmp_path, monotonic=monotonic)
    database = shop.database
    address = [database.database_host, str(database.database_port)]
    schema = [database.database_name, database.database_ca_file]
    secret = shop.secrets["sales"].values()
    command = [sys.executable, "-m", "tests.support.buyer", *address, *schema, *secret]
    variables = clock.variables | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'lambdas'}"}
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as buyer:
        assert buyer.stdin
        assert buyer.stdout
        for requester, step in (("before", 0), ("after", seconds), ("again", 0)):
            clock.step_to(step)
            print(requester, file=buyer.stdin, flush=True)
            assert buyer.stdout.readline() == "sold\n", requester
        buyer.stdin.close()
    assert bought(shop) == ["before", "after", "again"]


def test_result_is_true_when_the_clock_steps_during_a_wait(
    shop: DatabaseShop, clock: SteppedClock
) -> None:
    """Each checkout waits for the product's row when the server's clock steps.

    The purchases are read ten seconds later, when no statement can still be under way.
    """
    results = {}
    for seconds in STEPS:
        store = shop.store()
        with shop.owner() as other, other.cursor() as cursor, ThreadPoolExecutor() as pool:
            cursor.execute("START TRANSACTION")
            cursor.execute(LOCK_STOCK)
            checkout = pool.submit(outcome, store, f"{seconds}")
            eventually(lambda: shop.assert_waiting(1), within=2)
            clock.step_to(seconds)
            wait(0.5)
            cursor.execute("ROLLBACK")
            results[f"{seconds}"] = checkout.result()
            clock.step_to(0)
    wait(10)
    assert bought(shop) == [requester for requester, result in results.items() if result]


@pytest.mark.parametrize("seconds", [-3600, -2, 2])
def test_result_is_true_when_the_clock_steps_in_a_hang(
    shop: DatabaseShop, clock: SteppedClock, seconds: float
) -> None:
    """The result comes from a second connection, when the server runs again."""
    store = shop.store()
    buy(store, 1, requester="before")
    with ThreadPoolExecutor() as pool:
        with suspended(shop.server):
            checkout = pool.submit(outcome, store, "in doubt")
            wait(1)
            clock.step_to(seconds)
            wait(deadline.FIRST_ATTEMPT - 1 + 0.2)
        result = checkout.result()
    wait(1)
    assert bought(shop) == (["before", "in doubt"] if result else ["before"])


def assert_sold_behind_503(
    shop: DatabaseShop, checkout: Future[CheckoutResult | None], *, key: str | None
) -> None:
    """Check that the checkout was sold behind a 503.

    A client with a key learns of it by repeating the request.
    """
    assert checkout.done()
    assert checkout.result() is None

    def assert_sold() -> None:
        assert bought(shop) == ["before", "in doubt"]

    eventually(assert_sold, within=5)
    if key:
        repeated = outcome(shop.store(), "in doubt", key=key)
        assert repeated
        assert repeated.outcome == "replayed"
        assert repeated.purchased is True
        assert_sold()


@pytest.mark.parametrize("key", [None, "key"])
def test_503_may_have_sold_when_the_server_had_begun_to_commit(
    shop: DatabaseShop, key: str | None
) -> None:
    """The first exception: the commit ends after the 5 s, so no second connection can ask for it.

    The proxy passes nothing on, not even the end of the connection. A server that notices the end
    rolls back a commit that waits.
    """
    with proxy_to(shop.server.port) as proxy, shop.owner() as other, other.cursor() as cursor:
        store = Store(replace(shop.database, database_port=proxy.port))
        assert outcome(store, "before")
        cursor.execute("BACKUP STAGE START")
        cursor.execute("BACKUP STAGE BLOCK_COMMIT")
        with ThreadPoolExecutor() as pool:
            checkout = pool.submit(outcome, store, "in doubt", key=key)
            eventually(lambda: assert_committing(shop), within=2)
            proxy.swallow()
            wait(RESPONSE_DUE + 0.3)
            cursor.execute("BACKUP STAGE END")
            assert_sold_behind_503(shop, checkout, key=key)


def assert_committing(shop: DatabaseShop) -> None:
    assert shop.sql(
        "SELECT 1 FROM information_schema.processlist WHERE state = 'Waiting for backup lock'"
    )


@pytest.mark.parametrize("key", [None, "key"])
def test_503_may_have_sold_when_the_clock_steps_back_in_a_hang(
    shop: DatabaseShop, clock: SteppedClock, key: str | None
) -> None:
    """The second exception: by the server's clock, the statement has just been sent."""
    store = shop.store()
    assert outcome(store, "before")
    with ThreadPoolExecutor() as pool:
        with suspended(shop.server):
            checkout = pool.submit(outcome, store, "in doubt", key=key)
            wait(RESPONSE_DUE + 0.3)
            clock.step_to(-RESPONSE_DUE)
        assert_sold_behind_503(shop, checkout, key=key)
