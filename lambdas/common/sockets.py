"""TCP and TLS sockets whose every operation ends at a deadline, however slowly the peer sends.

A socket's own timeout begins anew with each read: a peer that sends one byte at a time never
exceeds it.
"""

import functools
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from common import deadline

T = TypeVar("T")


class _WithDeadline:
    """Makes the operations of a socket end at `until`, on the monotonic clock.

    At that moment the socket is shut down, so that the server also sees the connection end.
    """

    until: float = 0.0

    def recv_into(self, *arguments: Any) -> int:
        return self._in_time(super().recv_into, arguments)  # type: ignore[misc]  # socket defines it

    def send(self, *arguments: Any) -> int:
        return self._in_time(super().send, arguments)  # type: ignore[misc]  # socket defines it

    def abandon(self) -> None:
        """Close the connection now.

        The socket's own close() waits for the file object that PyMySQL made of it, which a raised
        exception keeps alive.
        """
        file_descriptor = self.detach()  # type: ignore[attr-defined]  # socket defines it
        if file_descriptor >= 0:
            socket.close(file_descriptor)

    def _in_time(self, operation: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        try:
            self.settimeout(deadline.left(self.until))  # type: ignore[attr-defined]  # socket defines it
            return operation(*arguments)
        except TimeoutError:
            with suppress(OSError):
                self.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]  # socket defines it
            raise


class TlsSocket(_WithDeadline, ssl.SSLSocket):
    def do_handshake(self, *arguments: Any) -> None:
        return self._in_time(super().do_handshake, arguments)


class TcpSocket(_WithDeadline, socket.socket):
    wrapped: TlsSocket | None = None
    """The TLS socket that has taken over the file descriptor."""

    def connect(self, address: Any) -> None:
        return self._in_time(super().connect, (address,))

    def sendall(self, *arguments: Any) -> None:
        return self._in_time(super().sendall, arguments)


class _TlsContext(ssl.SSLContext):
    sslsocket_class = TlsSocket

    def wrap_socket(  # type: ignore[override]  # the other parameters are passed on by name
        self, sock: socket.socket, **options: Any
    ) -> ssl.SSLSocket:
        """Wrap a TcpSocket, whose deadline also applies to the handshake."""
        assert isinstance(sock, TcpSocket)
        wrapped = super().wrap_socket(sock, **{**options, "do_handshake_on_connect": False})
        assert isinstance(wrapped, TlsSocket)
        wrapped.until = sock.until
        sock.wrapped = wrapped
        wrapped.do_handshake()
        return wrapped


@functools.cache
def tls_context(ca_file: str) -> ssl.SSLContext:
    """Return the context that verifies the server's certificate and host name.

    The context is cached, because creating one takes up to 19 ms. Verification is strict, by RFC
    5280. Python's only default context that is strict is ssl.create_default_context's, from 3.13 on.
    """
    context = _TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(ca_file)
    return context


def connect(host: str, port: int, *, until: float) -> TcpSocket:
    """Connect to the first of the host's addresses that accepts. Raises OSError.

    until: the deadline, on the monotonic clock. It includes the look-up of the name, which has no
    timeout of its own.
    """
    addresses = deadline.wait_for(
        lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM), until=until
    )
    problem: OSError | None = None
    for family, kind, protocol, _, address in addresses:
        sock = TcpSocket(family, kind, protocol)
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
