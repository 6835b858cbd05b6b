"""Serve the console's page, its events and its actions to browsers on this machine.

Other web pages that such a browser shows can't use the console: they can't send the header
`X-Console`, and the browser names them in `Origin` or says in `Sec-Fetch-Site` that they are others.
A host name of theirs that leads here is not among the console's. A connection is for one request,
and each request has a time limit within which it must arrive.
"""

import io
import json
import re
import socket
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote

from console.actions import Actions, Rejected
from console.live import Live
from console.routes import (
    EVENTS,
    FILES,
    JSON,
    POLICIES,
    POLICY,
    TEXT,
    find_action,
    runbook_section,
)
from console.texts import TEXTS

MAX_BODY = 10_000
READ_SECONDS = 10.0
"""Within which a whole request must arrive."""
WRITE_SECONDS = 10.0
"""Within which the client must take a response, or one event."""
EVENTS_APART = 0.25
"""Seconds between two events at least."""
SILENCE_SECONDS = 10.0
"""After which a heartbeat tells a page that the console still runs. console.js waits for two."""
LOOK_SECONDS = 1.0
"""After which a stream of events looks whether its client is still there."""
MESSAGE_LENGTH = 500
ORDER_ID = re.compile("[0-9A-Za-z-]{1,64}")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Connection": "close",
}


class Problem(Exception):
    """The request gets a response with this status. The text says why."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Response(NamedTuple):
    status: HTTPStatus
    content: bytes
    content_type: str


class ConsoleServer(ThreadingHTTPServer):
    """Serves the console at 127.0.0.1. port: 0 stands for any free one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, live: Live, actions: Actions, *, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.live = live
        self.actions = actions
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}
        self._event = -1, b""
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def event(self, seen: int) -> tuple[int, bytes]:
        """Wait until the view has another version than `seen`, for LOOK_SECONDS at most.

        Return the version, and the view as an event.
        """
        version, shown = self.live.wait(seen, LOOK_SECONDS)
        with self._lock:
            if self._event[0] != version:  # for all clients, it is made once
                self._event = version, b"event: view\ndata: " + _json(shown) + b"\n\n"
            return self._event

    def handle_error(self, request: object, client_address: object) -> None:
        """Print the error, unless it is that the client has gone away."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server: ConsoleServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "console", ""

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_LimitedReader(self.connection, READ_SECONDS))

    def do_GET(self) -> None:
        self._respond(self._get)

    def do_POST(self) -> None:
        # It is read even if it will be rejected: a client that still sends gets no response.
        body = self._read_body()
        self._respond(lambda: self._post(body))

    def _respond(self, handle: Callable[[], Response | None]) -> None:
        """Send what `handle` returns, or the error that it raises. None: a stream of events."""
        try:
            self._require_own_page()
            response = handle()
        except Problem as problem:
            response = _message(problem.status, str(problem))
        except Rejected as rejected:
            body = {"message": str(rejected), "key": rejected.key, "values": rejected.values}
            response = Response(rejected.status, _json(body), JSON)
        except Exception as error:  # whatever the shop's parts raise
            traceback.print_exc()
            text = str(error) or type(error).__name__
            message = textwrap.shorten(text, MESSAGE_LENGTH, placeholder=" …")
            response = _message(HTTPStatus.SERVICE_UNAVAILABLE, message)
        if response:
            self._send(response)
        else:
            self._stream()

    def _require_own_page(self) -> None:
        """Raise Problem unless the request comes from the console's page, or from no page."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            raise Problem(HTTPStatus.FORBIDDEN, "Host is not the console's")
        for origin in self.headers.get_all("Origin", []):
            if origin != f"http://{hosts[0]}":
                raise Problem(HTTPStatus.FORBIDDEN, "Origin is another page's")
        follows_link = (
            self.command == "GET" and self.headers.get("Sec-Fetch-Dest", "") == "document"
        )
        site = self.headers.get("Sec-Fetch-Site", "none")
        if site not in ("same-origin", "none") and not follows_link:
            raise Problem(HTTPStatus.FORBIDDEN, "the request is another page's")
        if self.command == "POST" and self.headers.get("X-Console") != "1":
            raise Problem(HTTPStatus.FORBIDDEN, "the header X-Console: 1 is missing")

    def _get(self) -> Response | None:
        path = self.path.partition("?")[0]
        if path in FILES:
            file, content_type = FILES[path]
            if not file.is_file():
                raise Problem(HTTPStatus.NOT_FOUND, f"{file.name} is not installed: run `make up`")
            return Response(HTTPStatus.OK, file.read_bytes(), content_type)
        if path == "/events":
            return None
        if path == "/texts.json":
            return Response(HTTPStatus.OK, _json(TEXTS), JSON)
        if path == "/favicon.ico":
            return Response(HTTPStatus.NO_CONTENT, b"", TEXT)
        head, _, name = path.rpartition("/")
        if head == "/runbook" and (section := runbook_section(unquote(name))):
            return Response(HTTPStatus.OK, section.encode(), TEXT)
        if head == "/order" and ORDER_ID.fullmatch(name):
            if order := self.server.live.order(name):
                return Response(HTTPStatus.OK, _json(order), JSON)
            raise Problem(HTTPStatus.NOT_FOUND, f"there is no order {name}")
        raise Problem(HTTPStatus.NOT_FOUND, "Not Found")

    def _post(self, content: bytes | None) -> Response:
        """Do what the request says. content: the body; None if it has a wrong length."""
        found = find_action(self.path)
        if found is None:
            raise Problem(HTTPStatus.NOT_FOUND, "Not Found")
        if content is None:
            raise Problem(
                HTTPStatus.BAD_REQUEST,
                f"the body has more than {MAX_BODY} bytes, or not as many as its length says",
            )
        action, name = found
        body = _object(content)
        if wrong := action.wrong_fields(body):
            names = ", ".join(map(repr, wrong))
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"missing, wrong or unknown: {names}")
        result = getattr(self.server.actions, action.method)(*name, **body)
        return Response(action.status, _json({} if result is None else result), JSON)

    def _read_body(self) -> bytes | None:
        """Return the body; None if its length is wrong, or too much. Raises TimeoutError."""
        length = self.headers.get("Content-Length", "0")
        if not re.fullmatch("[0-9]{1,12}", length) or "Transfer-Encoding" in self.headers:
            return None
        left = int(length)
        if left <= MAX_BODY:
            body = self.rfile.read(left)
            return body if len(body) == left else None
        while left > 0 and (read := self.rfile.read(min(left, 65536))):
            left -= len(read)
        return None

    def _stream(self) -> None:
        """Send the view as often as it changes, until the client has gone away."""
        self._begin(HTTPStatus.OK, EVENTS)
        self.end_headers()
        self.wfile.write(b"retry: 1000\n\n")  # milliseconds, after which a browser tries again
        seen, sent_at = -1, 0.0
        with self.server.live.watch():
            while not self._is_gone():
                version, event = self.server.event(seen)
                if version != seen:
                    self.wfile.write(event)
                    seen, sent_at = version, time.monotonic()
                    time.sleep(EVENTS_APART)
                elif time.monotonic() - sent_at > SILENCE_SECONDS:
                    self.wfile.write(b"event: heartbeat\ndata: {}\n\n")
                    sent_at = time.monotonic()

    def _is_gone(self) -> bool:
        """Return whether the client has closed its side of the connection. Raises OSError."""
        self.connection.settimeout(0)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        finally:
            self.connection.settimeout(WRITE_SECONDS)

    def _begin(self, status: HTTPStatus, content_type: str) -> None:
        """Send the status and the headers that every response has."""
        self.connection.settimeout(WRITE_SECONDS)
        path = getattr(self, "path", "").partition("?")[0]  # it is missing if nothing was parsed
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Security-Policy", POLICIES.get(path, POLICY))
        for name, value in HEADERS.items():
            self.send_header(name, value)

    def _send(self, response: Response) -> None:
        self._begin(response.status, response.content_type)
        self.send_header("Content-Length", str(len(response.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Respond to what is not a request that this class handles, with the usual headers."""
        status = HTTPStatus(code)
        self._send(_message(status, message or status.phrase))

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class _LimitedReader(io.RawIOBase):
    """Reads from a socket until a time, however slowly the bytes come."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come. Raises TimeoutError."""
        self._connection.settimeout(max(0.001, self._until - time.monotonic()))
        return self._connection.recv_into(buffer)


def _json(value: Any) -> bytes:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="backslashreplace")  # half a surrogate pair is escaped as in JSON


def _message(status: HTTPStatus, message: str) -> Response:
    return Response(status, _json({"message": message}), JSON)


def _object(content: bytes) -> dict[str, Any]:
    """Return the JSON object in a body, which is empty if the body is. Raises Problem."""
    with suppress(ValueError, RecursionError):
        value = json.loads(content or b"{}", parse_constant=_reject_constant)
        if isinstance(value, dict):
            return value
    raise Problem(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")


def _reject_constant(name: str) -> None:
    """Reject NaN and the infinities, which JSON does not have."""
    raise ValueError(name)
