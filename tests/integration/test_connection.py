"""What `Store` does when the database, or the way to it, fails."""

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
from tests.support.books import NAME
from tests.support.database_shop import Shop, arrive, buy, connection_id, order_more
from tests.support.polling import eventually

PATIENCE = 5
"""Seconds: the contract's."""
USERS = "('shop_sales_password', 'admin')"
"""Whom the connections of `sales` belong to; within a procedure, its definer."""


@contextmanager
def unavailable(*, because: str = "") -> Iterator[None]:
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable) as failure:
        yield
    assert time.monotonic() - started < PATIENCE
    assert because in str(failure.value.__cause__)


def functions_connections(shop: Shop) -> list[int]:
    return [
        id
        for (id,) in shop.sql(
            "SELECT id FROM information_schema.processlist WHERE user IN ('shop_sales_password', 'admin')"
        )
    ]


@pytest.fixture
def killable(server: MariaDb) -> Iterator[psutil.Process]:
    """The server's process, which will run again after the test whatever becomes of it."""
    process = psutil.Process(server.pid)
    yield process
    server.start()


def test_a_server_that_died_and_came_back_is_found_again(
    shop: Shop, killable: psutil.Process
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


def test_a_connection_that_the_server_closed_is_replaced(shop: Shop) -> None:
    store = shop.store()
    for _ in range(2):
        shop.sql("KILL USER shop_sales_password")
        eventually(lambda: assert_no_connection(shop), within=5)
        assert buy(store, 3).outcome == "sold"
    assert shop.ledger() == [(3, "unknown")] * 2


def assert_no_connection(shop: Shop) -> None:
    assert functions_connections(shop) == []


def test_one_connection_is_kept(shop: Shop) -> None:
    store = shop.store()
    kept = functions_connections(shop)
    buy(store, 1)
    order_more(store, 100)
    store.product("donut")
    assert functions_connections(shop) == kept


@pytest.mark.parametrize("warm", [True, False])
def test_a_server_that_hangs_is_given_up_in_time(
    shop: Shop, killable: psutil.Process, warm: bool
) -> None:
    store = shop.store() if warm else Store(shop.database)
    killable.suspend()
    try:
        with unavailable():
            buy(store, 3, idempotency_key="key")
    finally:
        killable.resume()
    assert buy(store, 3, idempotency_key="key").purchased
    assert shop.ledger() == [(3, "unknown")]


def test_what_was_given_up_is_not_sold_later(shop: Shop, killable: psutil.Process) -> None:
    """The hanging server has the whole statement in its socket, and executes it when it wakes up."""
    store = shop.store()
    buy(store, 1)  # the server's clock is known from now on
    abandoned = connection_id(store)
    killable.suspend()
    try:
        with unavailable():
            buy(store, 3)
    finally:
        killable.resume()

    def forgotten() -> None:
        assert abandoned not in functions_connections(shop)

    eventually(forgotten, within=10)
    assert (shop.stock(), shop.ledger()) == (9, [(1, "unknown")])


@pytest.mark.parametrize("seconds", [-3600, -60, -2, -1, 1, 2, 60, 3600])
def test_checkout_is_sent_again_when_a_clock_has_stepped(shop: Shop, seconds: float) -> None:
    store = shop.store()
    buy(store, 1)
    connection = store._database._connection
    assert connection
    connection.clock()._lead += seconds  # type: ignore[operator]
    assert buy(store, 3).purchased
    assert connection.clock()._lead == pytest.approx(store_clock_lead(shop), abs=0.1)
    assert shop.ledger() == [(1, "unknown"), (3, "unknown")]


def store_clock_lead(shop: Shop) -> float:
    ((server_clock,),) = shop.sql("SELECT UNIX_TIMESTAMP(SYSDATE(6))")
    return float(server_clock) - time.monotonic()


def test_a_server_that_refuses_connections_is_unavailable(shop: Shop) -> None:
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        with unavailable(because="refused"):
            Store(
                dataclasses.replace(shop.database, database_port=nobody_listens.getsockname()[1])
            ).product("donut")


def test_a_wrong_password_is_unavailable_until_the_secret_is_right(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(shop.database)
    right = shop.secrets["sales"]
    monkeypatch.setitem(shop.secrets, "sales", {**right, "password": "wrong"})
    with unavailable(because="Access denied"):
        store.product("donut")
    monkeypatch.setitem(shop.secrets, "sales", right)
    assert store.product("donut")


def test_a_lock_held_too_long_sells_nothing(shop: Shop) -> None:
    store = shop.store()
    with shop.owner() as other, other.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM product FOR UPDATE")
        with unavailable(because="Lock wait timeout"):
            buy(store, 3)
    assert (shop.stock(), shop.ledger()) == (10, [])
    assert buy(store, 3).stock == 7


def test_a_server_that_dies_during_a_sale_has_not_sold(
    shop: Shop, killable: psutil.Process
) -> None:
    store = shop.store()
    with shop.owner() as other, other.cursor() as cursor, ThreadPoolExecutor() as pool:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM product FOR UPDATE")
        sale = pool.submit(buy, store, 3)
        eventually(lambda: assert_waiting(shop, 1), within=2)
        killable.kill()
        with unavailable():
            sale.result()
    shop.server.start()
    assert (shop.stock(), shop.ledger()) == (10, [])
    assert buy(store, 3).stock == 7


def assert_waiting(shop: Shop, count: int) -> None:
    """So many wait for a lock. (information_schema.innodb_trx would tell of the past to whoever asks often.)"""
    assert shop.sql("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")[0][1] == str(count)


def test_the_loser_of_a_deadlock_tries_again_and_sells_once(shop: Shop) -> None:
    store = shop.store()
    with shop.owner() as other, other.cursor() as cursor, ThreadPoolExecutor() as pool:
        cursor.execute("START TRANSACTION")
        weight = ", ".join(f"('heavy {n}', '', FALSE, 0, NULL, NOW())" for n in range(100))
        cursor.execute(
            f"INSERT INTO idempotency_key VALUES ('key', '', FALSE, 0, NULL, NOW()), {weight}"
        )
        sale = pool.submit(buy, store, 3, idempotency_key="key")
        eventually(lambda: assert_waiting(shop, 1), within=2)
        cursor.execute(
            "UPDATE product SET price = 1"
        )  # the sale holds this row, and waits for the key
        assert not sale.done()
        cursor.execute("ROLLBACK")
        assert sale.result().outcome == "sold"
    assert (shop.stock(), shop.ledger()) == (7, [(3, "unknown")])


def test_checkout_with_a_key_is_sent_again_when_its_connection_breaks(shop: Shop) -> None:
    store = shop.store()
    with shop.owner() as other, other.cursor() as cursor, ThreadPoolExecutor() as pool:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM product FOR UPDATE")
        sale = pool.submit(buy, store, 3, idempotency_key="key")
        eventually(lambda: assert_waiting(shop, 1), within=2)
        break_connection(store)
        eventually(lambda: assert_waiting(shop, 2), within=2)
        cursor.execute("ROLLBACK")
        assert (sale.result().purchased, sale.result().stock) == (True, 7)
    eventually(lambda: assert_idle(shop), within=2)
    assert shop.ledger() == [(3, "unknown")]


def test_checkout_without_a_key_is_cancelled_when_its_connection_breaks(shop: Shop) -> None:
    store = shop.store()
    with shop.owner() as other, other.cursor() as cursor, ThreadPoolExecutor() as pool:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM product FOR UPDATE")
        sale = pool.submit(buy, store, 3)
        eventually(lambda: assert_waiting(shop, 1), within=2)
        break_connection(store)
        with unavailable():
            sale.result()
        cursor.execute("ROLLBACK")
    eventually(lambda: assert_idle(shop), within=2)
    assert (shop.stock(), shop.ledger()) == (10, [])


def break_connection(store: Store) -> None:
    connection = store._database._connection
    assert connection
    with socket.socket(fileno=os.dup(_socket_of(connection._connection).fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def assert_idle(shop: Shop) -> None:
    """No request is under way. (A procedure runs as the user who made it.)"""
    busy = (
        f"SELECT 1 FROM information_schema.processlist WHERE user IN {USERS} AND command <> 'Sleep'"
    )
    assert shop.sql(busy) == []


def test_no_transaction_stays_open_between_requests(shop: Shop) -> None:
    store = shop.store()
    store.order(order_more(store, 25))
    buy(store, 1)
    store.product("donut")
    assert shop.sql("SELECT trx_state FROM information_schema.innodb_trx") == []
    assert functions_connections(shop)


def test_half_a_transaction_is_never_carried_into_the_next_request(shop: Shop) -> None:
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


def test_another_authoritys_certificate_is_refused(shop: Shop, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    with unavailable(because="certificate verify failed"):
        Store(dataclasses.replace(shop.database, database_ca_file=str(stranger))).product("donut")


def test_another_hosts_certificate_is_refused(shop: Shop) -> None:
    same_address_but_another_name = "127.1"
    with unavailable(because="certificate verify failed"):
        Store(
            dataclasses.replace(shop.database, database_host=same_address_but_another_name)
        ).product("donut")


def test_a_server_without_tls_is_refused(shop: Shop, tmp_path: Path) -> None:
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


def test_a_read_only_server_sells_nothing_until_it_is_writable_again(shop: Shop) -> None:
    """As after a failover, on the connection that was kept."""
    store = shop.store()
    shop.sql("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(DatabaseUnavailable, match="1290"):
            buy(store, 3)
    finally:
        shop.sql("SET GLOBAL read_only = 0")
    assert buy(store, 3).stock == 7
    assert shop.ledger() == [(3, "unknown")]


def test_no_connection_left_is_unavailable_at_once(shop: Shop) -> None:
    ((before,),) = shop.sql("SELECT @@global.max_connections")
    shop.sql("SET GLOBAL max_connections = 10")
    taken = []
    try:
        with pytest.raises(pymysql.OperationalError, match="1040"):
            while True:
                taken.append(shop.login("sales"))
        with pytest.raises(DatabaseUnavailable, match="1040"):
            buy(Store(shop.database), 3)
    finally:
        for connection in taken:
            connection.close()
        shop.sql("SET GLOBAL max_connections = %s", (before,))
    assert buy(Store(shop.database), 3).stock == 7
