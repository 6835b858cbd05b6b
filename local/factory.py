"""A stand-in for the factory: takes a production order, works through its stages, then delivers to the CallbackUrl.

As the real one: the whole payload goes back unchanged, once, unsigned; nothing is repeated.
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

PATH = "/api/manufactures"
STAGES = 5
CALLBACK_TIMEOUT = 30.0
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens URLs on this machine: the proxy that the environment names could not reach them."""


@dataclass(kw_only=True)
class Order:
    """One request as it arrived, and what became of it. Times are seconds since the epoch."""

    id: str
    payload: Any
    headers: dict[str, str]
    received_at: float
    stage: int = 0
    delivered_at: float | None = None
    callback_status: int | None = None
    callback_answer: str | None = None
    """The callback's body, or what kept it from being answered."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = HTTPStatus.CREATED
    delay: float = 0
    """Seconds before it is sent."""
    body: Any = None
    """None: the real factory's."""
    deliver: bool = True
    """Whether the order is made and delivered."""


@dataclass(kw_only=True)
class Factory:
    """Listens from `start` to `stop`, or as a context manager. Set `answer` to have it answer otherwise."""

    port: int = 0
    stage_seconds: float = 1.0
    answer: Callable[[Order], Answer] = lambda order: Answer()
    received: list[Order] = field(default_factory=list)

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

    def take(self, payload: Any, headers: dict[str, str]) -> tuple[Order, Answer]:
        order = Order(
            id=str(uuid.uuid4()), payload=payload, headers=headers, received_at=time.time()
        )
        answer = self.answer(order)
        self.received.append(order)
        if answer.deliver:
            threading.Thread(target=self._make, args=(order,), daemon=True).start()
        return order, answer

    def _make(self, order: Order) -> None:
        for order.stage in range(1, STAGES + 1):
            if self._stopped.wait(self.stage_seconds):
                return
        url = order.payload.get("CallbackUrl") if isinstance(order.payload, dict) else None
        if url:
            self._deliver(order, str(url))

    def _deliver(self, order: Order, url: str) -> None:
        try:
            body = json.dumps(order.payload).encode()
            request = urllib.request.Request(
                url, body, {"Content-Type": "application/json"}, method="POST"
            )
            with DIRECTLY.open(request, timeout=CALLBACK_TIMEOUT) as response:
                order.callback_status, order.callback_answer = (
                    response.status,
                    response.read().decode(),
                )
        except urllib.error.HTTPError as refusal:
            order.callback_status, order.callback_answer = (
                refusal.code,
                refusal.read().decode(errors="replace"),
            )
        except (OSError, ValueError) as error:
            order.callback_answer = str(error)
        order.delivered_at = time.time()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    factory: Factory


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        self._answer(HTTPStatus.OK, [asdict(order) for order in list(self.server.factory.received)])

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != PATH:
            return self._answer(HTTPStatus.NOT_FOUND, {"message": "Not Found"})
        try:
            payload = json.loads(text)
        except ValueError:
            return self._answer(HTTPStatus.BAD_REQUEST, {"message": "not JSON"})
        order, answer = self.server.factory.take(
            payload, {name.lower(): value for name, value in self.headers.items()}
        )
        time.sleep(answer.delay)
        requester = payload.get("MessageAttributeRequester") if isinstance(payload, dict) else None
        # "reqestor" is the real one's spelling.
        usual = {"data": {"id": order.id, "reqestor": requester, "data": payload}}
        self._answer(answer.status, usual if answer.body is None else answer.body)

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        with suppress(ConnectionError):  # whoever asked may have hung up
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass  # requests are what GET / shows; a callback's token belongs in no log


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
