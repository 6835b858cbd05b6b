"""Connecting, logging in, and what becomes of a statement when its connection breaks."""

import socket
from collections.abc import Callable
from typing import Any
from unittest.mock import create_autospec

import pymysql
import pytest
from botocore.exceptions import ClientError

from common import database, deadline, environment, sockets
from common.database import Database, DatabaseUnavailable, OutcomeUnknown, RolledBack
from tests.support.fakes import FakeClock, FakeSecrets, FakeServer, failing

LOST = pymysql.OperationalError(2013, "Lost connection to database.test")
DEADLOCK = pymysql.OperationalError(1213, "Deadlock found")
DENIED = pymysql.OperationalError(1045, "Access denied for user 'shop_sales'")


@pytest.fixture
def secrets() -> FakeSecrets:
    return FakeSecrets({"a-secret": {"username": "u", "password": "p"}})


@pytest.fixture
def server(secrets: FakeSecrets, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    server = FakeServer()
    monkeypatch.setattr(database, "connect", server.connect)
    monkeypatch.setattr(database, "Connection", lambda connection: connection)
    monkeypatch.setattr(database, "secret", secrets.secret)
    return server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Return a clock that moves only while the code sleeps."""
    clock = FakeClock(now=100.0)
    monkeypatch.setattr(database, "time", clock)
    monkeypatch.setattr(deadline, "time", clock)
    return clock


@pytest.fixture
def functions_database(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("DATABASE_SECRET_ARN", "a-secret")
    return Database(environment.read(environment.Restock))


def returns(*outcomes: Any) -> Callable[[Any], Any]:
    """Return a statement with these outcomes, one per call. An exception is raised."""
    left = list(outcomes)

    def send(connection: Any) -> Any:
        outcome = left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return send


# --- connecting ---


def fake_socket(*, wrapped: sockets.TlsSocket | None = None) -> Any:
    """Return a stand-in for a socket that is connected to the server."""
    return create_autospec(sockets.TcpSocket, instance=True, wrapped=wrapped)


def connect(sock: sockets.TcpSocket, monkeypatch: pytest.MonkeyPatch) -> pymysql.Connection:
    """Connect over the socket, to the host and port of the variables."""
    open_socket = create_autospec(sockets.connect, return_value=sock)
    monkeypatch.setattr(sockets, "connect", open_socket)
    config = environment.read(environment.Restock)
    try:
        return database.connect(config, user="u", password="p", name="shop", until=7.0)
    finally:
        open_socket.assert_called_once_with("database.test", 13306, until=7.0)


def test_connection_has_the_session_that_the_procedures_expect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pymysql.Connection, "connect", lambda self, sock: None)
    connection = vars(connect(fake_socket(), monkeypatch))
    assert connection["host"] == "database.test"
    assert connection["port"] == 13306
    assert connection["charset"] == "utf8mb4"
    assert connection["autocommit_mode"] is True
    assert connection["init_command"].endswith("ISOLATION LEVEL READ COMMITTED")


@pytest.mark.parametrize("wrapped", [False, True], ids=["before TLS", "over TLS"])
@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (IndexError("홍길동"), (2027, "IndexError")),
        (pymysql.OperationalError(1045, "Access denied"), (1045, "Access denied")),
    ],
    ids=["malformed greeting", "denied login"],
)
def test_socket_of_a_failed_login_is_abandoned(
    error: Exception,
    arguments: tuple[object, ...],
    wrapped: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sock = fake_socket(
        wrapped=create_autospec(sockets.TlsSocket, instance=True) if wrapped else None
    )
    monkeypatch.setattr(pymysql.Connection, "connect", failing(error))
    with pytest.raises(pymysql.OperationalError) as failure:
        connect(sock, monkeypatch)
    assert failure.value.args == arguments
    (sock.wrapped or sock).abandon.assert_called_once_with()


def test_failed_connection_has_the_clients_error_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "connect", failing(OSError("no route")))
    with pytest.raises(pymysql.OperationalError) as failure:
        database.connect(
            environment.read(environment.Restock), user="u", password="p", name=None, until=7.0
        )
    assert failure.value.args == (2003, "cannot connect: no route")


def test_connection_that_loses_a_status_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is true: the procedure has committed."""
    pymysqls = create_autospec(pymysql.Connection, instance=True)
    cursor = pymysqls.cursor.return_value = create_autospec(pymysql.cursors.Cursor, instance=True)
    cursor.description = (("stock",),)
    cursor.fetchall.return_value = ((7,),)
    cursor.close.side_effect = LOST
    sock, peer = socket.socketpair()
    with sock, peer:
        monkeypatch.setattr(database, "_socket_of", lambda connection: sock)
        connection = database.Connection(pymysqls)
        assert not connection.broken
        assert connection.query("CALL purchase()") == [{"stock": 7}]
        assert connection.broken


# --- the connection ---


def test_connection_is_kept(functions_database: Database, server: FakeServer) -> None:
    assert functions_database.run(returns(1)) == 1
    assert functions_database.run(returns(2)) == 2
    assert len(server.connections) == 1


def test_stale_connection_is_replaced(functions_database: Database, server: FakeServer) -> None:
    functions_database.run(returns(1))
    server.connections[0].stale = True
    assert functions_database.run(returns(2)) == 2
    assert [connection.dropped for connection in server.connections] == [True, False]


def test_broken_connection_is_dropped_after_its_result(
    functions_database: Database, server: FakeServer
) -> None:
    def send(connection: Any) -> int:
        connection.broken = True
        return 1

    assert functions_database.run(send) == 1
    assert server.connections[0].dropped


@pytest.mark.parametrize(
    "error",
    [pymysql.DataError(1406, "Data too long"), ValueError("defect"), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
def test_connection_is_dropped_after_any_error(
    error: BaseException, functions_database: Database, server: FakeServer
) -> None:
    """It may hold half a transaction."""
    with pytest.raises(type(error)):
        functions_database.run(returns(error))
    assert server.connections[0].dropped


# --- logging in ---


def test_secret_is_read_once(
    functions_database: Database, server: FakeServer, secrets: FakeSecrets
) -> None:
    functions_database.run(returns(1))
    server.connections[0].stale = True
    functions_database.run(returns(2))
    assert secrets.read == [("a-secret", deadline.SECRET)]
    assert server.logins == [("u", "p", "shop")] * 2


def test_secret_is_read_again_after_a_denied_login(
    functions_database: Database, server: FakeServer, secrets: FakeSecrets
) -> None:
    server.errors = [DENIED]
    with pytest.raises(DatabaseUnavailable, match=r"^OperationalError 1045$"):
        functions_database.run(returns(1))
    secrets.logins = {"a-secret": {"username": "u", "password": "new"}}
    assert functions_database.run(returns(1)) == 1
    assert server.logins == [("u", "p", "shop"), ("u", "new", "shop")]


def test_unreadable_secret_is_an_unavailable_database(
    functions_database: Database, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": "a-secret"}}, "Get")
    monkeypatch.setattr(database, "secret", failing(error))
    with pytest.raises(DatabaseUnavailable, match=r"^secret: ClientError AccessDenied$"):
        functions_database.run(returns(1))


def test_user_without_a_secret_logs_in_with_a_token(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_USER", "shop_restock")
    assert Database(environment.read(environment.Restock)).run(returns(1)) == 1
    ((user, token, _),) = server.logins
    assert user == "shop_restock"
    assert token.startswith("database.test:13306/?")
    assert "DBUser=shop_restock" in token


def test_failed_connect_is_an_unavailable_database(
    functions_database: Database, server: FakeServer
) -> None:
    server.errors = [pymysql.OperationalError(2003, "cannot connect: database.test")]
    with pytest.raises(DatabaseUnavailable, match=r"^OperationalError 2003$") as failure:
        functions_database.run(returns(1))
    assert type(failure.value) is DatabaseUnavailable, "the statement was not sent"


# --- errors ---

MEANINGS: dict[str, tuple[pymysql.MySQLError, type[Exception]]] = {
    "connection lost": (LOST, OutcomeUnknown),
    "first client code": (pymysql.OperationalError(2000, ""), OutcomeUnknown),
    "last client code": (pymysql.OperationalError(2999, ""), OutcomeUnknown),
    "after the client codes": (pymysql.ProgrammingError(3000, ""), pymysql.ProgrammingError),
    "closed already": (pymysql.InterfaceError(0, ""), OutcomeUnknown),
    "no code": (pymysql.InterfaceError("text"), OutcomeUnknown),
    "nothing at all": (pymysql.OperationalError(), OutcomeUnknown),
    "shutdown": (pymysql.OperationalError(1053, ""), OutcomeUnknown),
    "killed statement": (pymysql.OperationalError(1317, ""), OutcomeUnknown),
    "killed connection": (pymysql.OperationalError(1927, ""), OutcomeUnknown),
    "too slow": (pymysql.OperationalError(1969, ""), OutcomeUnknown),
    "deadlock": (DEADLOCK, RolledBack),
    "lock wait timeout": (pymysql.OperationalError(1205, ""), DatabaseUnavailable),
    "read-only": (pymysql.OperationalError(1290, ""), DatabaseUnavailable),
    "internal": (pymysql.InternalError(1180, ""), DatabaseUnavailable),
    "no schema selected": (pymysql.OperationalError(1046, ""), DatabaseUnavailable),
    "no schema": (pymysql.OperationalError(1049, ""), DatabaseUnavailable),
    "no table": (pymysql.ProgrammingError(1146, ""), DatabaseUnavailable),
    "syntax": (pymysql.ProgrammingError(1064, ""), pymysql.ProgrammingError),
    "data too long": (pymysql.DataError(1406, ""), pymysql.DataError),
    "duplicate": (pymysql.IntegrityError(1062, ""), pymysql.IntegrityError),
}


@pytest.mark.parametrize(("error", "meaning"), MEANINGS.values(), ids=MEANINGS)
def test_error_says_what_became_of_the_statement(
    error: pymysql.MySQLError, meaning: type[Exception], functions_database: Database
) -> None:
    with pytest.raises(meaning) as failure:
        functions_database.run(returns(error, error))
    assert type(failure.value) is meaning


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (pymysql.OperationalError("홍길동"), "OperationalError"),
        (pymysql.OperationalError(), "OperationalError"),
        (LOST, "OperationalError 2013"),
    ],
    ids=["without a code", "without arguments", "with a code"],
)
def test_error_is_described_by_type_and_code(
    error: Exception, text: str, functions_database: Database
) -> None:
    with pytest.raises(DatabaseUnavailable) as failure:
        functions_database.run(returns(error))
    assert str(failure.value) == text


def test_second_deadlock_is_described(functions_database: Database) -> None:
    with pytest.raises(RolledBack, match=r"^OperationalError 1213$"):
        functions_database.run(returns(DEADLOCK, DEADLOCK))


def test_unavailable_database_is_described_without_the_text(functions_database: Database) -> None:
    with pytest.raises(DatabaseUnavailable) as failure:
        functions_database.run(returns(LOST))
    assert str(failure.value) == "OperationalError 2013"


# --- sending again ---


def test_rolled_back_statement_is_sent_again_once(
    functions_database: Database, server: FakeServer
) -> None:
    assert functions_database.run(returns(DEADLOCK, 1)) == 1
    assert len(server.connections) == 2
    with pytest.raises(RolledBack):
        functions_database.run(returns(DEADLOCK, DEADLOCK, 1))


def test_statement_is_not_sent_again_when_its_outcome_is_unknown(
    functions_database: Database,
) -> None:
    with pytest.raises(OutcomeUnknown):
        functions_database.run(returns(LOST, 1))


def test_lost_result_is_asked_for_on_a_new_connection(
    functions_database: Database, server: FakeServer
) -> None:
    assert functions_database.run(returns(LOST), in_doubt=returns(2)) == 2
    assert [connection.dropped for connection in server.connections] == [True, False]


def test_statement_that_was_not_executed_is_not_in_doubt(functions_database: Database) -> None:
    timeout = pymysql.OperationalError(1205, "Lock wait timeout")
    with pytest.raises(DatabaseUnavailable) as failure:
        functions_database.run(returns(timeout), in_doubt=returns(2))
    assert type(failure.value) is DatabaseUnavailable


def test_lost_result_is_asked_for_until_the_time_is_over(
    functions_database: Database, server: FakeServer, clock: FakeClock
) -> None:
    down = pymysql.OperationalError(2003, "cannot connect")

    def break_off(connection: Any) -> Any:
        server.errors = [down] * 1000
        raise LOST

    with pytest.raises(OutcomeUnknown, match=r"^OperationalError 2003$"):
        functions_database.run(break_off, in_doubt=returns())
    tries = len(server.logins) - 1
    end = 100 + deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT
    assert tries > 10
    assert end - 2 * deadline.RETRY_PAUSE < clock.now < end


def test_statement_without_doubt_has_the_time_of_both_attempts(
    functions_database: Database, server: FakeServer, clock: FakeClock
) -> None:
    with deadline.request():
        clock.now += 1
        functions_database.run(returns(1))
    end = 100 + deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT
    assert server.connections[0].until == end


def test_statement_may_take_longer_than_a_request(
    functions_database: Database, server: FakeServer, clock: FakeClock
) -> None:
    with deadline.request():
        clock.now += 1
        functions_database.run(returns(1), within=25)
    assert server.connections[0].until == 100 + 25


def test_statement_in_doubt_leaves_time_for_a_second_attempt(
    functions_database: Database, server: FakeServer, clock: FakeClock
) -> None:
    with deadline.request():
        clock.now += 1
        functions_database.run(returns(LOST), in_doubt=returns(2))
    first, second = (connection.until for connection in server.connections)
    assert first == 100 + deadline.FIRST_ATTEMPT
    assert second == first + deadline.SECOND_ATTEMPT
