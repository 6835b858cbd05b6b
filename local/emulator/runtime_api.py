"""Serve Lambda's Runtime API to the runtime of one execution environment, on a port of its own."""

import json
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from threading import Thread
from typing import Any, Protocol

BASE = "/2018-06-01/runtime"


@dataclass(frozen=True, kw_only=True)
class Invocation:
    request_id: str
    event: bytes
    """JSON."""
    deadline: float
    """Seconds since the epoch."""
    function_arn: str
    trace_id: str


class Environment(Protocol):
    """What the Runtime API calls on its execution environment, from threads of its own."""

    def next_invocation(self) -> Invocation | None:
        """Wait for an invocation and return it, or None if the environment has ended."""

    def finish_invocation(
        self, request_id: str, *, response: Any = None, error: Any = None
    ) -> bool:
        """Accept the outcome of an invocation.

        Return False if no such invocation is in progress.
        """

    def fail_init(self, error: Any) -> None:
        """Accept an error that happened before the first invocation."""


class RuntimeApi:
    """A server that accepts connections until `close`."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._accept, daemon=True, name=f"runtime-api-{self.address}").start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # close() alone does not end accept()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, address = self._listener.accept()
                Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _serve(self, connection: socket.socket, address: object) -> None:
        with connection, suppress(OSError):
            _Handler(connection, address, self)  # type: ignore[arg-type]  # stands for a BaseServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Buffer the whole response, so that it is one packet. A second packet would wait until the
    # first is acknowledged.
    wbufsize = -1
    server: RuntimeApi  # type: ignore[assignment]  # the base class declares a BaseServer

    def do_GET(self) -> None:
        if self.path == f"{BASE}/restore/next":
            return self._respond(200)
        if self.path != f"{BASE}/invocation/next":
            return self._respond(404)
        invocation = self.server.environment.next_invocation()
        if invocation is None:
            self.close_connection = True
            return
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(invocation.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
            "Lambda-Runtime-Trace-Id": invocation.trace_id,
        }
        self._respond(200, invocation.event, **headers)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        environment = self.server.environment
        if self.path in (f"{BASE}/init/error", f"{BASE}/restore/error"):
            environment.fail_init(_parsed(body))
            return self._respond(202)
        match = re.fullmatch(rf"{BASE}/invocation/([^/]+)/(response|error)", self.path)
        if not match:
            return self._respond(404)
        if not environment.finish_invocation(match[1], **{match[2]: _parsed(body)}):
            return self._respond(
                400, b'{"errorMessage": "Invalid request ID", "errorType": "InvalidRequestID"}'
            )
        self._respond(202)

    def _respond(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing. The emulator's log is about functions."""


def _parsed(body: bytes) -> Any:
    """Return the body's JSON, or its text if it is not JSON. A handler may return any bytes."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
