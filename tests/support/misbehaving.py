"""Ways in which a factory misbehaves: responses of the stand-in, and a server that breaks HTTP."""

import json
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

from local.factory import Factory, FactoryResponse, Order

STOPPED = threading.Event()
"""Set when the misbehaving factory stops."""
DRIP_SECONDS = 0.2


def accept_without_callback(order: Order) -> FactoryResponse:
    """Accept an order, and never call back."""
    return FactoryResponse(callbacks=0)


def reject(order: Order) -> FactoryResponse:
    """Reject an order."""
    return FactoryResponse(status=500, callbacks=0)


def drip(connection: socket.socket, *, head: bytes, drop: bytes) -> None:
    """Send the head, and then a drop again and again."""
    connection.sendall(head)
    while not STOPPED.wait(DRIP_SECONDS):
        connection.sendall(drop)


def reset(connection: socket.socket) -> None:
    """Close the connection with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def send(text: str) -> Callable[[socket.socket], None]:
    """Return a function that sends the text."""
    return lambda connection: connection.sendall(text.encode())


MISBEHAVIOURS: dict[str, Callable[[socket.socket], object]] = {
    "closes the connection": lambda connection: None,
    "resets the connection": reset,
    "is silent": lambda connection: STOPPED.wait(),
    "does not speak HTTP": send("\x00\xff\r\n garbage\r\n\r\n"),
    "returns 400": send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "returns 500": send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"),
    "redirects temporarily": send(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    ),
    "redirects permanently": send(
        "HTTP/1.1 308 Permanent Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    ),
    "stops halfway": send('HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"data":'),
    "stops inside its status line": send("HTTP/1.1 201 Crea"),
    "stops inside a header": send("HTTP/1.1 201 Created\r\nContent-Le"),
    "stops before the empty line": send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n"),
    "drips headers": lambda connection: drip(
        connection, head=b"HTTP/1.1 201 Created\r\n", drop=b"X-Drop: x\r\n"
    ),
    "drips its body": lambda connection: drip(
        connection, head=b"HTTP/1.1 201 Created\r\n\r\n", drop=b" "
    ),
}
"""What the factory does on a connection, after it has read the request."""


@contextmanager
def misbehaving(factory: Factory, *, times: int) -> Iterator[dict[str, list[float]]]:
    """Replace the factory by one that misbehaves, and yield when it received the requests.

    An order's MessageAttributeFactoryId names its misbehaviour. After this many times, the factory
    accepts the order and calls back. The result has a list of times on the monotonic clock for each
    misbehaviour. Requests for any other path than the factory's are listed under their path.
    """
    received = defaultdict[str, list[float]](list)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = order["MessageAttributeFactoryId"]
            self.close_connection = True
            if not factory.url.endswith(self.path):
                received[self.path].append(time.monotonic())
                return
            received[name].append(time.monotonic())
            if len(received[name]) > times:
                self.connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
                requests.post(order["CallbackUrl"], json=order, timeout=10)
                return
            with suppress(OSError):
                MISBEHAVIOURS[name](self.connection)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    factory.stop()
    STOPPED.clear()
    with ThreadingHTTPServer(("127.0.0.1", factory.port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield received
        finally:
            STOPPED.set()
            server.shutdown()
            thread.join()
    factory.start()
