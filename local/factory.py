"""Run a stand-in for the factory, which takes a production order, works on it and calls back.

Like the real factory, it sends the whole payload back, unchanged and unsigned, and it calls back
only once. `POST /_breakage/NAME` breaks it for a limited time.
"""

import argparse
import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from local.expiry import ends_at, remaining

PATH = "/api/manufactures"
BREAKAGE_PATH = "/_breakage/"
STAGES = 5
CALLBACK_TIMEOUT = 30.0
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs on this machine directly, without the proxy that the process's variables name."""


@dataclass(kw_only=True)
class Order:
    """A request that the factory received, and what became of it.

    Times are in seconds since the epoch.
    """

    id: str
    payload: Any
    headers: dict[str, str]
    received_at: float
    status: int | None = None
    """Of the response, from when it is sent."""
    stage: int = 0
    stages_began: list[float] = field(default_factory=list)
    called_back_at: float | None = None
    """When the attempt to call back ended, whether it succeeded or not."""
    callback_status: int | None = None
    """None until there is a response."""
    callback_response: str | None = None
    """The body of the callback's response, or the error if there is no response."""
    callbacks: int = 0
    """How often the factory has called back. The three values above are those of the last time."""


@dataclass(frozen=True, kw_only=True)
class FactoryResponse:
    """The response to a production order."""

    status: int | None = HTTPStatus.CREATED
    """None: the connection is closed without a response, and the factory knows of no order."""
    delay: float = 0
    """Seconds before the response is sent."""
    body: Any = None
    """None stands for the body that the real factory sends."""
    callbacks: int = 1
    """How often the factory calls back. If it does not, it does not work on the order either."""


SLOW_SECONDS = 4.0
"""Longer than the consumer of the environment `local` waits."""
BREAKAGES = {
    "off": FactoryResponse(status=None, callbacks=0),
    "slow": FactoryResponse(delay=SLOW_SECONDS),
    "fails": FactoryResponse(status=HTTPStatus.INTERNAL_SERVER_ERROR, callbacks=0),
    "silent": FactoryResponse(callbacks=0),
    "twice": FactoryResponse(callbacks=2),
}
"""How the factory responds to an order while it is broken, by the name of the breakage."""


def accept(order: Order) -> FactoryResponse:
    """Respond as the real factory does."""
    return FactoryResponse()


@dataclass(kw_only=True)
class Factory:
    """A factory that listens between `start` and `stop`, or during a `with` block.

    Assign a function to `respond` to change its responses.
    """

    port: int = 0
    stage_seconds: float = 1.0
    respond: Callable[[Order], FactoryResponse] = accept
    received: list[Order] = field(default_factory=list)
    _breakage: tuple[FactoryResponse | None, float] = (None, 0)
    """One of BREAKAGES, and until when it lasts on the monotonic clock."""

    def start(self) -> "Factory":
        self._stopped = threading.Event()
        self._server = _Server(("127.0.0.1", self.port), _Handler)
        self._server.factory = self
        self.port = self._server.server_port
        threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True, name="factory"
        ).start()
        return self

    def stop(self) -> None:
        """Stop listening, and abandon the orders that have not gone through all stages."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> "Factory":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def break_down(self, name: str, *, seconds: float) -> None:
        """Respond as one of BREAKAGES says, instead of another one. Raises KeyError or ValueError."""
        self._breakage = BREAKAGES[name], ends_at(seconds)

    def heal(self, name: str) -> None:
        """Respond as usual again, if this is what is broken."""
        if self.remaining(name):
            self._breakage = None, 0

    def remaining(self, name: str) -> float:
        """Return for how many seconds one of BREAKAGES still lasts. Raises KeyError."""
        response, until = self._breakage
        return remaining(until) if response is BREAKAGES[name] else 0

    def take(self, payload: Any, headers: dict[str, str]) -> tuple[Order, FactoryResponse]:
        """Receive a request. Return it as an order, and the response that is due."""
        order = Order(
            id=str(uuid.uuid4()), payload=payload, headers=headers, received_at=time.time()
        )
        breakage, until = self._breakage
        response = breakage if breakage and remaining(until) else self.respond(order)
        if response.status is not None:
            self.received.append(order)
        if response.callbacks:
            threading.Thread(
                target=self._make, args=(order, response.callbacks), daemon=True
            ).start()
        return order, response

    def _make(self, order: Order, callbacks: int) -> None:
        """Take an order through its stages, and call back."""
        for order.stage in range(1, STAGES + 1):
            order.stages_began.append(time.time())
            if self._stopped.wait(self.stage_seconds):
                return
        url = order.payload.get("CallbackUrl") if isinstance(order.payload, dict) else None
        for _ in range(callbacks if url else 0):
            self._call_back(order, str(url))

    def _call_back(self, order: Order, url: str) -> None:
        """Send the order's payload to the URL, and note the response."""
        body = json.dumps(order.payload).encode()
        headers = {"Content-Type": "application/json"}
        try:
            request = urllib.request.Request(url, body, headers, method="POST")
            with DIRECTLY.open(request, timeout=CALLBACK_TIMEOUT) as response:
                order.callback_status = response.status
                order.callback_response = response.read().decode()
        except urllib.error.HTTPError as error:
            order.callback_status = error.code
            order.callback_response = error.read().decode(errors="replace")
        except (OSError, ValueError) as error:
            order.callback_response = str(error)
        order.called_back_at = time.time()
        order.callbacks += 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    factory: Factory


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        """List the orders that the factory has received, or say how long it is still broken.

        `?newest=N` lists the newest N orders only.
        """
        if self.path.startswith(BREAKAGE_PATH):
            return self._break(None)
        newest = parse_qs(urlsplit(self.path).query).get("newest", ["0"])[0]
        received = self.server.factory.received[-int(newest) if newest.isdecimal() else 0 :]
        self._send(HTTPStatus.OK, [asdict(order) for order in received])

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith(BREAKAGE_PATH):
            return self._break(text)
        if self.path != PATH:
            return self._send(HTTPStatus.NOT_FOUND, {"message": "Not Found"})
        try:
            payload = json.loads(text)
        except ValueError:
            return self._send(HTTPStatus.BAD_REQUEST, {"message": "not JSON"})
        headers = {name.lower(): value for name, value in self.headers.items()}
        order, response = self.server.factory.take(payload, headers)
        time.sleep(response.delay)
        order.status = response.status
        if response.status is None:
            self.close_connection = True
            return
        requester = payload.get("MessageAttributeRequester") if isinstance(payload, dict) else None
        # The real factory spells it "reqestor".
        usual = {"data": {"id": order.id, "reqestor": requester, "data": payload}}
        self._send(response.status, usual if response.body is None else response.body)

    def _break(self, text: bytes | None) -> None:
        """Break the factory for as many seconds as the text says, or heal it if these are 0.

        Respond with the remaining seconds.
        """
        factory, name = self.server.factory, self.path.removeprefix(BREAKAGE_PATH)
        if name not in BREAKAGES:
            return self._send(HTTPStatus.NOT_FOUND, {"message": "Not Found"})
        try:
            seconds = json.loads(text) if text else None
            if seconds:
                factory.break_down(name, seconds=seconds)
            elif seconds == 0:
                factory.heal(name)
        except (TypeError, ValueError) as error:
            return self._send(HTTPStatus.BAD_REQUEST, {"message": str(error)})
        self._send(HTTPStatus.OK, factory.remaining(name))

    def _send(self, status: int, body: Any) -> None:
        content = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        with suppress(ConnectionError):  # the client may have closed the connection
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a payload holds the callback's token. GET / lists the requests."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--stage-seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    with Factory(port=arguments.port, stage_seconds=arguments.stage_seconds) as factory:
        print(f"The factory takes orders at {factory.url}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
