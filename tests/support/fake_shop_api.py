"""A stand-in for the HTTP API of a deployed shop, for the tests of `make smoke`."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from operations.smoke import ShopApi
from tests.support.serving import QuietHandler, serving

Response = tuple[int, object]


class FakeShopApi(ThreadingHTTPServer):
    """Stands in for the HTTP API of a deployed shop.

    statuses: those of the order that the next requests read; the last one stays. changed: route →
    function that returns another response, or None for the usual one.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stock = 10
        self.statuses = ["published", "arrived"]
        self.responses: dict[str, dict[str, object]] = {}
        self.ordered = 0
        self.quantities: list[int] = []
        self.requesters: set[str] = set()
        self.tokens: list[str] = []
        self.changed: dict[str, Callable[[], Response | None]] = {}

    @property
    def api(self) -> ShopApi:
        """Return the client of this API."""
        return ShopApi(f"http://127.0.0.1:{self.server_port}")

    def respond_to(self, method: str, path: str, body: Any, key: str) -> Response:
        route = f"{method} /{urlsplit(path).path.split('/')[1]}"
        if route in self.changed and (changed := self.changed[route]()):
            return changed
        match route:
            case "GET /product":
                return 200, {"stock": self.stock}
            case "POST /checkout":
                if key not in self.responses:
                    self.responses[key] = self.sell(body)
                return 200, self.responses[key]
            case "POST /product":
                self.tokens += parse_qs(urlsplit(path).query)["token"]
                return 403, {"message": "no"}
            case "GET /order":
                status = self.statuses[0]
                if len(self.statuses) > 1:
                    self.statuses.pop(0)
                if status == "arrived":
                    self.stock += self.ordered
                return 200, {"status": status}
        return 404, {}

    def sell(self, body: Any) -> dict[str, object]:
        quantity = body["MessageAttributeProductCnt"]
        self.quantities.append(quantity)
        self.requesters.add(body["requester"])
        if quantity > self.stock:
            self.ordered = quantity
            return {"purchased": False, "stock": self.stock, "order_id": "order-1"}
        self.stock -= quantity
        return {"purchased": True, "stock": self.stock}


class Handler(QuietHandler):
    server: FakeShopApi

    def respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        status, value = self.server.respond_to(
            self.command, self.path, body, self.headers.get("Idempotency-Key", "")
        )
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send(status, content)

    do_GET = do_POST = respond


@contextmanager
def fake_shop_api() -> Iterator[FakeShopApi]:
    """Serve the API until the block ends."""
    server = FakeShopApi()
    with serving(server):
        yield server
