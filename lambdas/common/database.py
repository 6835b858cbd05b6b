"""The function's connection to the database: login, deadlines, and what to do when it breaks."""

import functools
import json
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import pymysql
from pymysql.constants import CR, ER

from common import deadline, environment, iam_login

T = TypeVar("T")

SCHEMA_MISSING = {ER.NO_DB_ERROR, ER.BAD_DB_ERROR, ER.NO_SUCH_TABLE}
"""The server is up, but the shop's schema is being restored."""
ROLLED_BACK = {ER.LOCK_DEADLOCK}
STATEMENT_KILLED = {ER.SERVER_SHUTDOWN, ER.QUERY_INTERRUPTED, 1927, 1969}
"""1927: the connection was killed; 1969: the statement took too long. A procedure's COMMIT may have come before that.
Beside these, the codes 0 and 2000 to 2999 are the client's own: it has lost the connection."""


class DatabaseUnavailable(Exception):
    """The database could not answer. The text contains neither host names nor values."""


class OutcomeUnknown(DatabaseUnavailable):
    """The statement was sent, and its result did not arrive."""


class RolledBack(DatabaseUnavailable):
    """The server rolled the statement back, which may be sent again."""


class _Timed:
    """Ends every operation of a socket at `until`, on the monotonic clock, however slowly the peer sends.

    At that moment the connection is shut down, so that the server notices, too.
    """

    until: float = 0.0

    def recv_into(self, *arguments: Any) -> int:
        return self._in_time(super().recv_into, arguments)  # type: ignore[misc]

    def send(self, *arguments: Any) -> int:
        return self._in_time(super().send, arguments)  # type: ignore[misc]

    def abandon(self) -> None:
        """Close the connection now. An exception on its way keeps PyMySQL's file object, and so the socket, open."""
        file_descriptor = self.detach()  # type: ignore[attr-defined]
        if file_descriptor >= 0:
            socket.close(file_descriptor)

    def _in_time(self, operation: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        try:
            self.settimeout(deadline.left(self.until))  # type: ignore[attr-defined]
            return operation(*arguments)
        except TimeoutError:
            with suppress(OSError):
                self.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
            raise


class _TlsSocket(_Timed, ssl.SSLSocket):
    def do_handshake(self, *arguments: Any) -> None:
        return self._in_time(super().do_handshake, arguments)


class _TcpSocket(_Timed, socket.socket):
    wrapped: _TlsSocket | None = None

    def connect(self, address: Any) -> None:
        return self._in_time(super().connect, (address,))

    def sendall(self, *arguments: Any) -> None:
        return self._in_time(super().sendall, arguments)


class _TlsContext(ssl.SSLContext):
    sslsocket_class = _TlsSocket

    def wrap_socket(self, sock: socket.socket, **options: Any) -> ssl.SSLSocket:  # type: ignore[override]
        """Wrap a _TcpSocket; the deadline holds for the handshake, too."""
        wrapped = super().wrap_socket(sock, **{**options, "do_handshake_on_connect": False})
        assert isinstance(wrapped, _TlsSocket) and isinstance(sock, _TcpSocket)
        wrapped.until = sock.until
        sock.wrapped = wrapped
        wrapped.do_handshake()
        return wrapped


@functools.cache
def _tls(ca_path: str) -> ssl.SSLContext:
    """Return the context that verifies the server's certificate and name. Building one takes up to 19 ms.

    Only ssl.create_default_context, from Python 3.13 on, verifies strictly (RFC 5280) by itself.
    """
    context = _TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(ca_path)
    return context


def secret(arn: str, times: deadline.SecretTimes = deadline.SECRET) -> dict[str, Any]:
    """Return the JSON of a Secrets Manager secret. Raises botocore's BotoCoreError or ClientError."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=times.connect,
        read_timeout=times.read,
        retries={"total_max_attempts": times.attempts},
    )
    client = boto3.client("secretsmanager", config=config)
    return json.loads(client.get_secret_value(SecretId=arn)["SecretString"])


def connect(
    config: environment.Database, *, user: str, password: str, name: str | None, until: float
) -> pymysql.Connection:
    """Connect in autocommit mode over verified TLS.

    name: the schema, or None. until: on the monotonic clock; no operation on the connection lasts longer, until
    `extend` moves it. Raises pymysql's MySQLError.
    """
    connection = pymysql.connect(
        host=config.database_host,
        port=config.database_port,
        user=user,
        password=password,
        database=name,
        charset="utf8mb4",
        autocommit=True,
        ssl=_tls(str(config.ca_path)),
        read_timeout=None,
        write_timeout=None,
        init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        defer_connect=True,
    )
    try:
        sock = _open_socket(config.database_host, config.database_port, until)
    except OSError as error:
        raise pymysql.OperationalError(CR.CR_CONN_HOST_ERROR, f"cannot connect: {error}") from error
    try:
        connection.connect(sock)
    except pymysql.MySQLError:
        (sock.wrapped or sock).abandon()
        raise
    except Exception as error:  # PyMySQL could not make sense of the greeting
        (sock.wrapped or sock).abandon()
        raise pymysql.OperationalError(CR.CR_MALFORMED_PACKET, type(error).__name__) from error
    return connection


def _open_socket(host: str, port: int, until: float) -> _TcpSocket:
    """Connect to the first of the host's addresses that answers."""
    addresses = deadline.wait_for(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), until=until
    )
    problem: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        sock = _TcpSocket(family, kind, protocol)
        sock.until = until
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            problem = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise problem or OSError("the host has no address")


def _socket_of(connection: pymysql.Connection) -> _TlsSocket:
    """Return the connection's socket. PyMySQL has no public name for it; its version is pinned."""
    return connection._sock  # type: ignore[attr-defined]


class ServerClock:
    """The lead of the server's clock over the function's monotonic clock, as far as the server's answers tell.

    The server reads its clock between the moment a statement is sent and the moment its answer is received, so each
    answer gives a lowest and a highest possible lead. A lead between them is kept: a late answer says little. One that
    is outside them is wrong, because a clock has stepped; it moves to the nearer of the two.
    """

    def __init__(self) -> None:
        self._lead: float | None = None

    @property
    def known(self) -> bool:
        return self._lead is not None

    def observe(self, server_clock: float, *, sent: float, received: float) -> None:
        """Learn from one answer. server_clock: Unix time; sent, received: monotonic."""
        lowest, highest = server_clock - received, server_clock - sent
        if self._lead is None:
            self._lead = (lowest + highest) / 2
        self._lead = min(max(self._lead, lowest), highest)

    def at(self, moment: float) -> float:
        """Return the server's Unix time at a moment of the monotonic clock."""
        assert self._lead is not None, "the clock was never observed"
        return moment + self._lead


class Connection:
    """A connection in use.

    until: on the monotonic clock, the end of the time for what is sent now. broken: it can't be used again.
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
        """Tell whether the server has closed the idle connection: then it is readable. A ping would take far longer."""
        return bool(self._poll.poll(0))

    def extend(self, until: float) -> None:
        """Let operations on the connection last until then."""
        self.until = self._socket.until = until

    def query(self, sql: str, values: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        """Send a statement and return its first result, each row by column name.

        After that a procedure sends its status, which may come in a packet of its own. Every procedure commits before
        it selects, so what it selected is true even if the status does not arrive. Then the connection is broken.
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
        """Return the server's clock, which is asked for once per connection."""
        if not self._clock.known:
            sent = time.monotonic()
            (row,) = self.query("SELECT UNIX_TIMESTAMP(SYSDATE(6)) AS server_clock")
            self._clock.observe(float(row["server_clock"]), sent=sent, received=time.monotonic())
        return self._clock

    def drop(self) -> None:
        """Close the connection without a word to the server."""
        self._connection._force_close()  # type: ignore[attr-defined]
        self._socket.abandon()


Send = Callable[[Connection], T]
"""Sends a statement and reads its result. Called again, it sends it again."""


class Database:
    """The one connection of an execution environment: made when it is needed, kept across invocations."""

    def __init__(self, config: environment.Database) -> None:
        self._config = config
        self._connection: Connection | None = None
        self._secret: dict[str, Any] | None = None

    def run(self, send: Send[T], *, in_doubt: Send[T] | None = None) -> T:
        """Send a statement and return its result, within the time of the request.

        in_doubt: called on new connections if the statement was sent but its result did not arrive, until one of
        them brings a result or the time is over. None: nothing is called, and the statement may take all the time.

        Raises OutcomeUnknown if the statement may have been executed, DatabaseUnavailable if it was not.
        """
        end = deadline.began() + deadline.FIRST_ATTEMPT
        if in_doubt is None:
            end += deadline.SECOND_ATTEMPT
        try:
            try:
                return self._attempt(send, until=end)
            except RolledBack:
                return self._attempt(send, until=end)
        except OutcomeUnknown:
            if in_doubt is None:
                raise
        # Should the monotonic clock have jumped, this attempt still has its time.
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
                raise DatabaseUnavailable(_named(error)) from error
        self._connection.extend(until)
        return self._connection

    def _connect(self, until: float) -> pymysql.Connection:
        config = self._config
        if config.database_secret_arn is None:
            assert config.database_user, (
                "a function logs in with a secret, or as a user with IAM authentication"
            )
            credentials = environment.read(environment.Credentials)
            user = config.database_user
            password = iam_login.token(
                host=config.database_host,
                port=config.database_port,
                user=user,
                credentials=credentials,
            )
        else:
            self._secret = self._secret or self._read_secret(config.database_secret_arn, until)
            user, password = self._secret["username"], self._secret["password"]
        try:
            return connect(
                config, user=user, password=password, name=config.database_name, until=until
            )
        except pymysql.OperationalError as error:
            if error.args[0] == ER.ACCESS_DENIED_ERROR:
                self._secret = None
            raise

    def _read_secret(self, arn: str, until: float) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return deadline.wait_for(lambda: secret(arn), until=until)
        except (BotoCoreError, ClientError, TimeoutError) as error:
            raise DatabaseUnavailable(f"secret: {type(error).__name__}") from error

    def _drop(self) -> None:
        """Never use a connection again that failed in any way: it may hold half a transaction."""
        connection, self._connection = self._connection, None
        if connection:
            connection.drop()


def _raise_unavailable(error: pymysql.MySQLError) -> None:
    """Raise what an error of a statement means. Return if it is a defect, as when a value does not fit its column."""
    code = error.args[0] if error.args else None
    if not isinstance(code, int) or code == 0 or 2000 <= code < 3000 or code in STATEMENT_KILLED:
        raise OutcomeUnknown(_named(error)) from error
    if code in ROLLED_BACK:
        raise RolledBack(_named(error)) from error
    if (
        isinstance(error, pymysql.OperationalError | pymysql.InternalError)
        or code in SCHEMA_MISSING
    ):
        raise DatabaseUnavailable(_named(error)) from error


def _named(error: pymysql.MySQLError) -> str:
    code = error.args[0] if error.args else ""
    return f"{type(error).__name__} {code if isinstance(code, int) else ''}".strip()
