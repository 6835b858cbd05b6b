"""A bad network: a TCP proxy between a client and a server on this machine."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, get_args

Side = Literal["client", "server"]
CHUNK = 64 * 1024


@dataclass
class Direction:
    """What happens to each chunk of bytes on its way.

    delay: seconds. drip: each byte alone, this many seconds apart. limit: after this many bytes,
    `on_limit` is called once.
    """

    delay: Callable[[], float] = lambda: 0.0
    drip: float = 0.0
    limit: int | None = None
    on_limit: Callable[[], None] = lambda: None


@dataclass
class Link:
    """One connection through the proxy. swallow: drop all further bytes without an error."""

    client: socket.socket
    server: socket.socket
    swallow: bool = False


@dataclass
class Proxy:
    """Forwards connections to a port.

    What is set on a direction holds for the chunks that arrive from then on.
    """

    target: int
    to_server: Direction = field(default_factory=Direction)
    to_client: Direction = field(default_factory=Direction)
    links: list[Link] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def delay_each_packet(self, seconds: float, *, both_ways: bool) -> None:
        self.to_client.delay = lambda: seconds
        if both_ways:
            self.to_server.delay = lambda: seconds

    def cut(self, side: Side) -> None:
        """Reset every open connection on one side. The other side does not learn of it."""
        for link in list(self.links):
            reset(link.client if side == "client" else link.server)

    def swallow(self) -> None:
        """Drop all further bytes on the open connections, as a NAT does that has forgotten them."""
        for link in list(self.links):
            link.swallow = True

    def close(self) -> None:
        self._closing.set()
        self._listener.close()
        for side in get_args(Side):
            self.cut(side)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = Link(client, server)
            self.links.append(link)
            for ends in ((client, server, self.to_server), (server, client, self.to_client)):
                threading.Thread(target=self._forward, args=(link, *ends), daemon=True).start()

    def _forward(
        self, link: Link, source: socket.socket, target: socket.socket, direction: Direction
    ) -> None:
        while True:
            try:
                chunk = source.recv(CHUNK)
            except OSError:
                return
            if link.swallow:
                if chunk:
                    continue
                return
            if not chunk:
                with suppress(OSError):
                    target.shutdown(socket.SHUT_WR)
                return
            self._closing.wait(direction.delay())
            pieces = [chunk[n : n + 1] for n in range(len(chunk))] if direction.drip else [chunk]
            for piece in pieces:
                self._closing.wait(direction.drip)
                with suppress(OSError):  # the connection has been cut
                    target.sendall(within_limit(direction, piece))


def within_limit(direction: Direction, piece: bytes) -> bytes:
    """Return the part of the piece that is within the direction's limit."""
    if direction.limit is None:
        return piece
    allowed, direction.limit = piece[: direction.limit], direction.limit - len(piece)
    if direction.limit <= 0:
        direction.limit = None
        direction.on_limit()
    return allowed


def reset(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
    sock.close()


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
