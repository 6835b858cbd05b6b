"""What a store does when the database, or the network to it, fails."""

import dataclasses
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pymysql
import pytest
import trustme

from common.database import DatabaseUnavailable, _socket_of
from common.store import Store
from local.database.mariadb import MariaDb
from local.database.rds import create_master
from local.polling import eventually
from tests.support.books import LOCK_STOCK, NAME
from tests.support.database_shop import (
    SALES_USERS,
    DatabaseShop,
    arrive,
    buy,
    connection_id,
    kept_connection,
    order_more,
)
from tests.support.processes import suspend

PATIENCE = 5
"""Seconds that a request may take, by the contract."""
ONE_ROW = pytest.mark.parametrize("slots", [1], ids=["one row"])
"""For time limits and logins: they do not depend on the number of rows, and take seconds to test."""


@contextmanager
def unavailable(*, because: str = "") -> Iterator[None]:
    """Expect DatabaseUnavailable within the contract's time, with that text in its cause."""
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable) as failure:
        yield
    assert time.monotonic() - started < PATIENCE
    assert because in str(failure.value.__cause__)


@pytest.fixture
def killable(server: MariaDb) -> Iterator[psutil.Process]:
    """Return the server's process, and start the server again after the test if it has ended."""
    process = psutil.Process(server.pid)
    yield process
    server.start()


def test_store_reconnects_when_the_server_has_restarted(
    shop: DatabaseShop, killable: psutil.Process
) -> None:
    store = shop.store()
    order_id = order_more(store, 25)
    killable.kill()
    killable.wait(5)
    with unavailable():
        store.product("donut")
    shop.server.start()
    assert buy(store, 3).stock == 7
    assert shop.orders() == [(order_id, "requested", 25)]


def test_store_replaces_a_connection_that_the_server_closed(shop: DatabaseShop) -> None:
    store = shop.store()
    for attempt in ("first", "second"):
        shop.sql("KILL USER shop_sales_password")
        eventually(lambda: assert_no_connection(shop), within=5)
        assert buy(store, 3).outcome == "sold", f"{attempt} attempt"
    assert shop.purchases() == [(3, "unknown")] * 2


def assert_no_connection(shop: DatabaseShop) -> None:
    assert shop.connections() == []


def test_store_keeps_one_connection(shop: DatabaseShop) -> None:
    store = shop.store()
    kept = connection_id(store)
    open_before = set(shop.connections())  # those of earlier tests may end at any moment
    buy(store, 1)
    order_more(store, 100)
    store.product("donut")
    assert connection_id(store) == kept
    assert set(shop.connections()) <= open_before


@ONE_ROW
@pytest.mark.parametrize("warm", [True, False])
def test_request_ends_in_time_when_the_server_hangs(
    shop: DatabaseShop, killable: psutil.Process, warm: bool
) -> None:
    store = shop.store() if warm else Store(shop.database)
    suspend(killable)
    try:
        with unavailable():
            buy(store, 3, idempotency_key="key")
    finally:
        killable.resume()
    assert buy(store, 3, idempotency_key="key").purchased
    assert shop.purchases() == [(3, "unknown")]


@ONE_ROW
def test_checkout_behind_a_503_is_not_executed_later(
    shop: DatabaseShop, killable: psutil.Process
) -> None:
    """The hanging server has received the whole statement, and reads it when it runs again."""
    store = shop.store()
    buy(store, 1)  # the server's clock is known from now on
    abandoned = connection_id(store)
    suspend(killable)
    try:
        with unavailable():
            buy(store, 3)
    finally:
        killable.resume()

    def is_closed() -> None:
        assert abandoned not in shop.connections()

    eventually(is_closed, within=10)
    assert shop.stock() == 9
    assert shop.purchases() == [(1, "unknown")]


@pytest.mark.parametrize("seconds", [-3600, -60, -2, -1, 1, 2, 60, 3600])
def test_checkout_is_sent_again_when_a_clock_has_stepped(
    shop: DatabaseShop, seconds: float
) -> None:
    store = shop.store()
    buy(store, 1)
    # Private: to step a clock costs a server of its own, as test_clocks.py has it.
    clock = kept_connection(store).clock()
    clock._lead += seconds  # type: ignore[operator]  # known since the first checkout
    assert buy(store, 3).purchased
    assert clock._lead == pytest.approx(server_clock_lead(shop), abs=0.1)
    assert shop.purchases() == [(1, "unknown"), (3, "unknown")]


def server_clock_lead(shop: DatabaseShop) -> float:
    """Return the lead of the server's clock over this process's monotonic clock, in seconds."""
    ((server_clock,),) = shop.sql("SELECT UNIX_TIMESTAMP(SYSDATE(6))")
    return float(server_clock) - time.monotonic()


@ONE_ROW
def test_refused_connection_is_unavailable(shop: DatabaseShop) -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        with unavailable(because="refused"):
            port = nobody_listens.getsockname()[1]
            Store(dataclasses.replace(shop.database, database_port=port)).product("donut")


@ONE_ROW
def test_wrong_password_is_unavailable_until_the_secret_is_right(
    shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(shop.database)
    right = shop.secrets["sales"]
    monkeypatch.setitem(shop.secrets, "sales", {**right, "password": "wrong"})
    with unavailable(because="Access denied"):
        store.product("donut")
    monkeypatch.setitem(shop.secrets, "sales", right)
    assert store.product("donut")


def test_checkout_sells_nothing_when_a_lock_is_held_too_long(shop: DatabaseShop) -> None:
    store = shop.store()
    with shop.owner() as other, other.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute(LOCK_STOCK)
        with unavailable(because="Lock wait timeout"):
            buy(store, 3)
    assert shop.stock() == 10
    assert shop.purchases() == []
    assert buy(store, 3).stock == 7


def test_checkout_sells_nothing_when_the_server_is_killed(
    shop: DatabaseShop, killable: psutil.Process
) -> None:
    store = shop.store()
    with shop.owner() as other, other.cursor() as cursor, ThreadPoolExecutor() as pool:
        cursor.execute("START TRANSACTION")
        cursor.execute(LOCK_STOCK)
        checkout = pool.submit(buy, store, 3)
        eventually(lambda: shop.assert_waiting(1), within=2)
        killable.kill()
        with unavailable():
            checkout.result()
    shop.server.start()
    assert shop.stock() == 10
    assert shop.purchases() == []
    assert buy(store, 3).stock == 7


def test_checkout_that_loses_a_deadlock_is_sent_again(shop: DatabaseShop) -> None:
    store = shop.store()
    with shop.owner() as other, other.cursor() as cursor, ThreadPoolExecutor() as pool:
        cursor.execute("START TRANSACTION")
        # InnoDB rolls back the transaction that has changed fewer rows, so this one changes many.
        cursor.executemany(
            "INSERT INTO idempotency_key"
            " (idempotency_key, request_hash, purchased, stock, created_at)"
            " VALUES (%s, '', FALSE, 0, NOW())",
            [("key",), *((f"other {number}",) for number in range(100))],
        )
        checkout = pool.submit(buy, store, 3, idempotency_key="key")
        eventually(lambda: shop.assert_waiting(1), within=2)
        cursor.execute("UPDATE product SET price = 1")  # locked by the checkout
        assert not checkout.done()
        cursor.execute("ROLLBACK")
        assert checkout.result().outcome == "sold"
    assert shop.stock() == 7
    assert shop.purchases() == [(3, "unknown")]


def test_keyed_checkout_is_sent_again_when_its_connection_breaks(shop: DatabaseShop) -> None:
    store = shop.store()
    with shop.owner() as other, other.cursor() as cursor, ThreadPoolExecutor() as pool:
        cursor.execute("START TRANSACTION")
        cursor.execute(LOCK_STOCK)
        checkout = pool.submit(buy, store, 3, idempotency_key="key")
        eventually(lambda: shop.assert_waiting(1), within=2)
        break_connection(store)
        eventually(lambda: shop.assert_waiting(2), within=2)
        cursor.execute("ROLLBACK")
        assert checkout.result().purchased is True
        assert checkout.result().stock == 7
    eventually(lambda: assert_idle(shop), within=2)
    assert shop.purchases() == [(3, "unknown")]


def test_checkout_is_cancelled_when_its_connection_breaks(shop: DatabaseShop) -> None:
    store = shop.store()
    with shop.owner() as other, other.cursor() as cursor, ThreadPoolExecutor() as pool:
        cursor.execute("START TRANSACTION")
        cursor.execute(LOCK_STOCK)
        checkout = pool.submit(buy, store, 3)
        eventually(lambda: shop.assert_waiting(1), within=2)
        break_connection(store)
        with unavailable():
            checkout.result()
        cursor.execute("ROLLBACK")
    eventually(lambda: assert_idle(shop), within=2)
    assert shop.stock() == 10
    assert shop.purchases() == []


def break_connection(store: Store) -> None:
    """Shut the store's connection down while another thread uses it."""
    file_descriptor = _socket_of(kept_connection(store)._connection).fileno()
    with socket.socket(fileno=os.dup(file_descriptor)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


def assert_idle(shop: DatabaseShop) -> None:
    """Check that the server executes no request of `sales`."""
    busy = f"SELECT 1 FROM information_schema.processlist WHERE user IN {SALES_USERS} AND command <> 'Sleep'"
    assert shop.sql(busy) == []


def test_no_transaction_stays_open_between_requests(shop: DatabaseShop) -> None:
    store = shop.store()
    store.order(order_more(store, 25))
    buy(store, 1)
    store.product("donut")
    assert shop.sql("SELECT trx_state FROM information_schema.innodb_trx") == []
    assert shop.connections()


def test_half_a_transaction_never_reaches_the_next_request(shop: DatabaseShop) -> None:
    store = shop.store()
    order_id = order_more(store, 25)
    shop.sql(
        """
        CREATE OR REPLACE PROCEDURE mark_published(p_order_id CHAR(36), p_overdue INT) BEGIN
            START TRANSACTION;
            UPDATE product SET stock = 1000;
            SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'half done';
        END
        """
    )
    with unavailable(because="half done"):
        store.mark_published(order_id, overdue_after=60)
    assert arrive(store, order_id).stock == 35
    assert shop.stock() == 35


@ONE_ROW
def test_certificate_of_another_authority_is_unavailable(
    shop: DatabaseShop, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with unavailable(because="certificate verify failed"):
        Store(dataclasses.replace(shop.database, database_ca_file=str(other))).product("donut")


@ONE_ROW
def test_certificate_of_another_host_is_unavailable(shop: DatabaseShop) -> None:
    same_address_but_another_name = "127.1"
    with unavailable(because="certificate verify failed"):
        config = dataclasses.replace(shop.database, database_host=same_address_but_another_name)
        Store(config).product("donut")


@ONE_ROW
def test_server_without_tls_is_unavailable(shop: DatabaseShop, tmp_path: Path) -> None:
    server = MariaDb(tmp_path, options=("--skip-ssl", "--require-secure-transport=0"))
    server.start()
    try:
        password = shop.secrets["sales"]["password"]
        create_master(
            mysql_cnf=server.mysql_cnf, user="shop_sales_password", password=password, database=NAME
        )
        with unavailable(because="server doesn't support"):
            Store(dataclasses.replace(shop.database, database_port=server.port)).product("donut")
    finally:
        server.stop()


def test_checkout_sells_nothing_while_the_server_is_read_only(shop: DatabaseShop) -> None:
    """The kept connection may be to such a server after a failover."""
    store = shop.store()
    shop.sql("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(DatabaseUnavailable, match="1290"):
            buy(store, 3)
    finally:
        shop.sql("SET GLOBAL read_only = 0")
    assert buy(store, 3).stock == 7
    assert shop.purchases() == [(3, "unknown")]


@ONE_ROW
def test_server_with_too_many_connections_is_unavailable(shop: DatabaseShop) -> None:
    ((before,),) = shop.sql("SELECT @@global.max_connections")
    shop.sql("SET GLOBAL max_connections = 10")
    taken: list[pymysql.Connection] = []
    try:
        with pytest.raises(pymysql.OperationalError, match="1040"):
            take_all(shop, taken)
        with pytest.raises(DatabaseUnavailable, match="1040"):
            buy(Store(shop.database), 3)
    finally:
        for connection in taken:
            connection.close()
        shop.sql("SET GLOBAL max_connections = %s", (before,))
    assert buy(Store(shop.database), 3).stock == 7


def take_all(shop: DatabaseShop, taken: list[pymysql.Connection]) -> None:
    """Log in until the server takes no more connections."""
    while True:
        taken.append(shop.login("sales"))
