"""A factory that first answers each order as the order's MessageAttributeFactoryId says, and not well."""

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

from local.factory import Factory

GONE = threading.Event()
DRIP_SECONDS = 0.2


def drip(connection: socket.socket, *, head: bytes, drop: bytes) -> None:
    connection.sendall(head)
    while not GONE.wait(DRIP_SECONDS):
        connection.sendall(drop)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def answer(text: str) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(text.encode())


MISBEHAVIOURS: dict[str, Callable[[socket.socket], object]] = {
    "hangs up": lambda connection: None,
    "resets": reset,
    "is silent": lambda connection: GONE.wait(),
    "talks garbage": answer("\x00\xff\r\n garbage\r\n\r\n"),
    "answers 400": answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "answers 500": answer("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"),
    "redirects": answer(
        "HTTP/1.1 308 Permanent Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    ),
    "stops half-way": answer('HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"data":'),
    "stops inside its status line": answer("HTTP/1.1 201 Crea"),
    "stops inside a header": answer("HTTP/1.1 201 Created\r\nContent-Le"),
    "stops before the empty line": answer("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n"),
    "drips headers": lambda connection: drip(
        connection, head=b"HTTP/1.1 201 Created\r\n", drop=b"X-Drop: x\r\n"
    ),
    "drips its answer": lambda connection: drip(
        connection, head=b"HTTP/1.1 201 Created\r\n\r\n", drop=b" "
    ),
}


@contextmanager
def misbehaving(factory: Factory, *, times: int) -> Iterator[dict[str, list[float]]]:
    """In the factory's place; after so many times an order is delivered. Answers when each was tried."""
    tries = defaultdict[str, list[float]](list)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = order["MessageAttributeFactoryId"]
            tries[name].append(time.monotonic())
            self.close_connection = True
            if len(tries[name]) > times:
                self.connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
                requests.post(order["CallbackUrl"], json=order, timeout=10)
                return
            with suppress(OSError):
                MISBEHAVIOURS[name](self.connection)

    factory.stop()
    GONE.clear()
    with ThreadingHTTPServer(("127.0.0.1", factory.port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield tries
        finally:
            GONE.set()
            server.shutdown()
            thread.join()
    factory.start()
