"""Sockets that end at a deadline, and the address that they connect to."""

import socket
import ssl
import time
from typing import Any
from unittest.mock import create_autospec

import pytest

from common import environment, sockets


def test_operation_ends_and_shuts_the_socket_at_the_deadline() -> None:
    left, peer = socket.socketpair()
    with sockets.TcpSocket(fileno=left.detach()) as sock, peer:
        sock.until = time.monotonic() + 0.05
        with pytest.raises(TimeoutError):
            sock.recv_into(bytearray(1))
        assert peer.recv(1) == b"", "the peer was not told"


def test_operation_after_the_deadline_is_not_begun() -> None:
    """Shutting down a socket that is not connected fails, which changes nothing."""
    with sockets.TcpSocket() as sock:
        sock.until = time.monotonic()
        with pytest.raises(TimeoutError, match="past the deadline"):
            sock.recv_into(bytearray(1))


def test_tls_takes_over_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake must not begin before."""
    options: dict[str, Any] = {}
    deadlines: list[float] = []
    wrapped = sockets.TlsSocket.__new__(sockets.TlsSocket)

    def wrap_socket(self: ssl.SSLContext, sock: socket.socket, **given: Any) -> ssl.SSLSocket:
        options.update(given)
        return wrapped

    def do_handshake(self: sockets.TlsSocket) -> None:
        deadlines.append(self.until)

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrap_socket)
    monkeypatch.setattr(sockets.TlsSocket, "do_handshake", do_handshake)
    with sockets.TcpSocket() as sock:
        sock.until = 7.0
        context = sockets.tls_context(environment.read(environment.Restock).database_ca_file)
        assert context.wrap_socket(sock, server_hostname="database.test") is wrapped
        assert sock.wrapped is wrapped
    assert options == {"server_hostname": "database.test", "do_handshake_on_connect": False}
    assert deadlines == [7.0]


def test_verification_is_strict_besides_what_is_the_default() -> None:
    context = sockets.tls_context(environment.read(environment.Restock).database_ca_file)
    default = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert context.verify_flags == default.verify_flags | ssl.VERIFY_X509_STRICT


ADDRESSES = [
    (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, 13306))
    for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3")
]


UNTIL = time.monotonic() + 3600


class FakeNetwork:
    """Stands in for name resolution and TCP. accepting: the addresses with a server."""

    def __init__(self, *accepting: str) -> None:
        self.accepting = accepting
        self.connected: list[str] = []

    def getaddrinfo(self, host: str, port: int, *, type: int) -> list[Any]:
        assert host == "database.test"
        assert port == 13306
        assert type == socket.SOCK_STREAM
        return ADDRESSES

    def connect(self, sock: sockets.TcpSocket, address: tuple[str, int]) -> None:
        assert sock.until == UNTIL, "the connection has no deadline"
        if address[0] not in self.accepting:
            raise ConnectionRefusedError(address[0])
        self.connected.append(address[0])

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for owner, name, stand_in in (
            (socket, "getaddrinfo", self.getaddrinfo),
            (sockets.TcpSocket, "connect", self.connect),
        ):
            checked = create_autospec(getattr(owner, name), side_effect=stand_in)
            monkeypatch.setattr(owner, name, checked)


def test_first_address_that_accepts_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    network = FakeNetwork("192.0.2.2", "192.0.2.3")
    network.install(monkeypatch)
    with sockets.connect("database.test", 13306, until=UNTIL) as sock:
        assert network.connected == ["192.0.2.2"]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_error_of_the_last_address_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNetwork().install(monkeypatch)
    with pytest.raises(ConnectionRefusedError, match=r"^192\.0\.2\.3$"):
        sockets.connect("database.test", 13306, until=UNTIL)


def test_host_without_an_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, type: [])
    with pytest.raises(OSError, match=r"^the host has no address$"):
        sockets.connect("database.test", 13306, until=UNTIL)
