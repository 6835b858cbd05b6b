"""A function's connection to the database: logging in, deadlines, and retries when it breaks."""

import json
import select
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pymysql
from pymysql.constants import CR, ER

from common import aws, deadline, environment, failures, iam_login, sockets
from common.server_clock import ServerClock

T = TypeVar("T")

SCHEMA_MISSING = {ER.NO_DB_ERROR, ER.BAD_DB_ERROR, ER.NO_SUCH_TABLE}
"""The server is up, but the shop's schema is being restored."""
ROLLED_BACK = {ER.LOCK_DEADLOCK}
STATEMENT_KILLED = {ER.SERVER_SHUTDOWN, ER.QUERY_INTERRUPTED, 1927, 1969}
"""The server stopped the statement. A procedure may have committed before that.

1927: the connection was killed. 1969: the statement took too long.
"""
CONNECTION_LOST = {0, *range(2000, 3000)}
"""The client's own codes. 0 is PyMySQL's code for a connection that is closed already."""


class DatabaseUnavailable(Exception):
    """The database could not execute a statement. The text holds neither host names nor values."""


class OutcomeUnknown(DatabaseUnavailable):
    """The statement was sent, but its result did not arrive."""


class RolledBack(DatabaseUnavailable):
    """The server rolled the statement back. It may be sent again."""


class Connection:
    """A connection in use.

    until: the deadline of the current operations, on the monotonic clock.
    broken: whether the connection must not be used again.
    """

    def __init__(self, connection: pymysql.Connection) -> None:
        self._connection = connection
        self._socket = _socket_of(connection)
        self._poll = select.poll()  # select.select fails from the 1,024th file descriptor on
        self._poll.register(self._socket, select.POLLIN)
        self._clock = ServerClock()
        self.until = 0.0
        self.broken = False

    def is_stale(self) -> bool:
        """Return whether the server has closed the idle connection, which makes it readable.

        A ping would take a round trip.
        """
        return bool(self._poll.poll(0))

    def extend(self, until: float) -> None:
        """Move the deadline of the connection's operations."""
        self.until = self._socket.until = until

    def query(self, sql: str, values: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """Send a statement and return its first result, each row as a dict by column name.

        A procedure's status follows its result, possibly in a packet of its own. Every procedure
        commits before it selects, so its result is true even if the status does not arrive. In that
        case, the connection is marked as broken.
        """
        cursor = self._connection.cursor()  # a DictCursor takes 5 µs longer
        cursor.execute(sql, values)
        found = cursor.fetchall()
        names = [column[0] for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in found]
        try:
            cursor.close()
        except pymysql.MySQLError:
            self.broken = True
        return rows

    def clock(self) -> ServerClock:
        """Return the estimate of the server's clock. The first call queries it."""
        if not self._clock.known:
            sent = time.monotonic()
            (row,) = self.query("SELECT UNIX_TIMESTAMP(SYSDATE(6)) AS server_clock")
            self._clock.observe(float(row["server_clock"]), sent=sent, received=time.monotonic())
        return self._clock

    def drop(self) -> None:
        """Close the connection without sending anything to the server."""
        _mark_closed(self._connection)
        self._socket.abandon()


Send = Callable[[Connection], T]
"""Sends a statement and returns its result. A second call sends the statement again."""


class Database:
    """Runs statements on the one connection of an execution environment.

    The connection is opened when it is needed and kept across invocations.
    """

    def __init__(self, config: environment.Database) -> None:
        self._config = config
        self._connection: Connection | None = None
        self._secret: dict[str, Any] | None = None

    def run(
        self, send: Send[T], *, in_doubt: Send[T] | None = None, within: float | None = None
    ) -> T:
        """Send a statement and return its result, within the time of the request.

        in_doubt: called if the statement was sent but its result did not arrive, on new
        connections, until one of them brings a result or the time is over. If it is None, nothing
        is called, and the statement may take the time of both attempts. within: seconds that the
        statement may take instead.

        Raises OutcomeUnknown if the statement may have been executed, and DatabaseUnavailable if
        it was not.
        """
        end = deadline.began() + (within or deadline.FIRST_ATTEMPT)
        if in_doubt is None and within is None:
            end += deadline.SECOND_ATTEMPT
        try:
            try:
                return self._attempt(send, until=end)
            except RolledBack:
                return self._attempt(send, until=end)
        except OutcomeUnknown:
            if in_doubt is None:
                raise
        # If the monotonic clock has jumped, this attempt still has its time.
        end = max(end, time.monotonic()) + deadline.SECOND_ATTEMPT
        while True:
            try:
                return self._attempt(in_doubt, until=end)
            except DatabaseUnavailable as error:
                if time.monotonic() + deadline.RETRY_PAUSE >= end:
                    raise OutcomeUnknown(str(error)) from error
            time.sleep(deadline.RETRY_PAUSE)

    def _attempt(self, send: Send[T], *, until: float) -> T:
        connection = self._connected(until)
        try:
            result = send(connection)
        except pymysql.MySQLError as error:
            self._drop()
            _raise_unavailable(error)
            raise
        except BaseException:
            self._drop()
            raise
        if connection.broken:
            self._drop()
        return result

    def _connected(self, until: float) -> Connection:
        """Return the kept connection, or a new one. Raises DatabaseUnavailable."""
        if self._connection and self._connection.is_stale():
            self._drop()
        if not self._connection:
            try:
                self._connection = Connection(self._connect(until))
            except pymysql.MySQLError as error:
                raise DatabaseUnavailable(_described(error)) from error
        self._connection.extend(until)
        return self._connection

    def _connect(self, until: float) -> pymysql.Connection:
        user, password = self._login(until)
        config = self._config
        try:
            return connect(
                config, user=user, password=password, name=config.database_name, until=until
            )
        except pymysql.OperationalError as error:
            if error.args[0] == ER.ACCESS_DENIED_ERROR:
                self._secret = None  # the password may have changed: read it again
            raise

    def _login(self, until: float) -> tuple[str, str]:
        """Return the user and the password, or the token that IAM authentication takes for it."""
        config = self._config
        if config.database_secret_arn is not None:
            self._secret = self._secret or self._read_secret(config.database_secret_arn, until)
            return self._secret["username"], self._secret["password"]
        assert config.database_user, "neither a secret nor a user for IAM authentication is set"
        token = iam_login.token(
            host=config.database_host,
            port=config.database_port,
            user=config.database_user,
            credentials=environment.read(environment.Credentials),
        )
        return config.database_user, token

    def _read_secret(self, arn: str, until: float) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return deadline.wait_for(lambda: secret(arn), until=until)
        except (BotoCoreError, ClientError, TimeoutError) as error:
            raise DatabaseUnavailable(f"secret: {failures.described(error)}") from error

    def _drop(self) -> None:
        """Close the connection. After any failure it may hold half a transaction."""
        connection, self._connection = self._connection, None
        if connection:
            connection.drop()


def secret(arn: str, timeouts: deadline.ClientTimeouts = deadline.SECRET) -> dict[str, Any]:
    """Return the JSON object in a Secrets Manager secret.

    Raises botocore's BotoCoreError or ClientError.
    """
    response = aws.client("secretsmanager", timeouts).get_secret_value(SecretId=arn)
    return json.loads(response["SecretString"])


def connect(
    config: environment.Database, *, user: str, password: str, name: str | None, until: float
) -> pymysql.Connection:
    """Connect in autocommit mode over verified TLS. Raises pymysql's MySQLError.

    name: the schema, or None. until: the deadline of every operation on the connection, on the
    monotonic clock; Connection.extend moves it.
    """
    connection = pymysql.connect(
        host=config.database_host,
        port=config.database_port,
        user=user,
        password=password,
        database=name,
        charset="utf8mb4",
        autocommit=True,
        ssl=sockets.tls_context(config.database_ca_file),
        read_timeout=None,
        write_timeout=None,
        init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        defer_connect=True,
    )
    try:
        sock = sockets.connect(config.database_host, config.database_port, until=until)
    except OSError as error:
        raise pymysql.OperationalError(CR.CR_CONN_HOST_ERROR, f"cannot connect: {error}") from error
    try:
        connection.connect(sock)
    except pymysql.MySQLError:
        (sock.wrapped or sock).abandon()
        raise
    except Exception as error:  # PyMySQL could not parse the server's greeting
        (sock.wrapped or sock).abandon()
        raise pymysql.OperationalError(CR.CR_MALFORMED_PACKET, type(error).__name__) from error
    return connection


# The next two functions use names that PyMySQL does not publish, which is why its version is pinned
# in lambdas/requirements.in.


def _socket_of(connection: pymysql.Connection) -> sockets.TlsSocket:
    return connection._sock  # type: ignore[attr-defined]  # the stubs leave out private names


def _mark_closed(connection: pymysql.Connection) -> None:
    """Close PyMySQL's side of the connection. Its public close() sends a packet to the server."""
    connection._force_close()  # type: ignore[attr-defined]  # the stubs leave out private names


def _raise_unavailable(error: pymysql.MySQLError) -> None:
    """Raise DatabaseUnavailable, or the subclass that says what became of the statement.

    Return if the error is a defect instead, such as a value that does not fit its column.
    """
    code = error.args[0] if error.args else None
    if not isinstance(code, int) or code in CONNECTION_LOST or code in STATEMENT_KILLED:
        raise OutcomeUnknown(_described(error)) from error
    if code in ROLLED_BACK:
        raise RolledBack(_described(error)) from error
    operational = isinstance(error, pymysql.OperationalError | pymysql.InternalError)
    if operational or code in SCHEMA_MISSING:
        raise DatabaseUnavailable(_described(error)) from error


def _described(error: pymysql.MySQLError) -> str:
    """Return the error's type and code, without its text."""
    code = error.args[0] if error.args else ""
    return f"{type(error).__name__} {code if isinstance(code, int) else ''}".strip()
