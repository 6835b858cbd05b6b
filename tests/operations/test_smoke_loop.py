"""`make smoke` against a fake shop that fails in one way at a time.

tests/e2e/test_smoke.py runs it against a deployed shop.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from operations import smoke as operation
from operations.smoke import Failed, ShopApi, smoke
from settings import ENVIRONMENTS, PROJECT

LOCAL = ENVIRONMENTS["local"]
Response = tuple[int, object]


class FakeShop(ThreadingHTTPServer):
    """A shop whose orders arrive when their status is read for the second time.

    changed: route → function that returns another response, or None.
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
    def shop(self) -> ShopApi:
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


class Handler(BaseHTTPRequestHandler):
    server: FakeShop

    def respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        status, value = self.server.respond_to(
            self.command, self.path, body, self.headers.get("Idempotency-Key", "")
        )
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = respond

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeShop]:
    for name, seconds in (("PAUSE", 0.01), ("AWAKE_WITHIN", 0.3), ("TIMEOUT", 0.3)):
        monkeypatch.setattr(operation, name, seconds)
    monkeypatch.setattr(operation, "_describe_queues", lambda settings: "")
    with FakeShop() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def once(*responses_in_order: Response) -> Callable[[], Response | None]:
    responses = list(reversed(responses_in_order))
    return lambda: responses.pop() if responses else None


def test_order_is_followed_until_it_arrives(server: FakeShop) -> None:
    result = smoke(server.shop, LOCAL, order=False, within=5)
    assert "order-1 arrived" in result
    assert server.quantities[0] == 11
    assert server.requesters == {"smoke"}
    assert len(server.tokens) == 1


def test_stock_is_unchanged_afterwards(server: FakeShop) -> None:
    """Otherwise a few deployments would double it until it is above max_quantity."""
    smoke(server.shop, LOCAL, order=False, within=5)
    assert server.stock == 10


@pytest.mark.parametrize("above", [0, 5, 999])
def test_stock_that_is_too_large_is_bought_first(server: FakeShop, above: int) -> None:
    """The orders of failed tests arrive later, and nobody buys what they add."""
    server.stock = LOCAL.max_quantity + above
    assert "arrived" in smoke(server.shop, LOCAL, order=False, within=5)
    assert server.quantities[:2] == [LOCAL.max_quantity, above + 1]
    assert server.stock == above


def test_failing_tests_do_not_keep_the_next_one_from_ordering(server: FakeShop) -> None:
    for _ in range(12):
        server.statuses = ["published", "stuck"]
        with pytest.raises(Failed, match="stuck"):
            smoke(server.shop, LOCAL, order=False, within=5)
        server.stock += server.ordered
    server.statuses = ["arrived"]
    assert "arrived" in smoke(server.shop, LOCAL, order=False, within=5)


def test_prod_orders_nothing_above_max_quantity(server: FakeShop) -> None:
    """The stock of prod belongs to its customers."""
    prod = ENVIRONMENTS["prod"]
    server.stock = prod.max_quantity
    with pytest.raises(Failed, match=r"nothing was ordered: it takes 1001 .* max_quantity is 1000"):
        smoke(server.shop, prod, order=True, within=5)
    assert server.quantities == []
    server.stock -= 1
    smoke(server.shop, prod, order=True, within=5)


def test_order_is_tried_again_when_the_stock_has_grown(server: FakeShop) -> None:
    server.changed["GET /product"] = once((200, {"stock": 3}), (200, {"stock": 3}))
    assert "arrived" in smoke(server.shop, LOCAL, order=False, within=5)
    assert server.quantities[:2] == [4, 7], (
        "bought four of ten, then ordered one more than the six that are left"
    )


@pytest.mark.parametrize("route", ["GET /product", "POST /checkout", "POST /product", "GET /order"])
@pytest.mark.parametrize(
    "response", [(503, {"message": "later"}), (502, b"<html>"), (500, b"[]")], ids=str
)
def test_failing_request_is_repeated(server: FakeShop, route: str, response: Response) -> None:
    server.changed[route] = once(response)
    assert "arrived" in smoke(server.shop, LOCAL, order=False, within=5)


@pytest.mark.parametrize(
    ("route", "response", "words"),
    [
        ("GET /product", (500, {}), "API → sales → database: GET /product/donut returns 500"),
        ("GET /product", (200, b"<html>"), "API → sales → database: Expecting value"),
        ("GET /product", (200, {}), "no stock"),
        ("GET /product", (200, []), "not an object"),
        ("GET /product", (200, {"stock": -1}), "no stock"),
        ("POST /checkout", (503, {}), "checkout: POST /checkout returns 503"),
        (
            "POST /checkout",
            (200, {"purchased": False}),
            "checkout: the response names no production order",
        ),
        ("POST /product", (200, {}), "callback: a forged one returns 200"),
        ("POST /product", (500, {}), "callback: POST /product/donut returns 500"),
        ("GET /order", (400, {}), "GET /order returns 400"),
        (
            "GET /order",
            (200, {"status": "requested"}),
            r"outbox → SNS: order order-1 is still `requested`",
        ),
        (
            "GET /order",
            (200, {"status": "published"}),
            "queue → consumer → factory → callback: order order-1 .*dead-",
        ),
        ("GET /order", (200, {"status": "stuck"}), "factory → callback: order order-1 is `stuck`"),
    ],
)
def test_failure_names_its_hop(
    server: FakeShop, route: str, response: Response, words: str
) -> None:
    server.changed[route] = lambda: response
    with pytest.raises(Failed, match=words) as failure:
        smoke(server.shop, LOCAL, order=False, within=0.2)
    assert "\n" not in str(failure.value)


def test_repetition_with_another_response_fails(server: FakeShop) -> None:
    orders = [{"purchased": False, "order_id": f"order-{number}"} for number in (2, 1)]
    server.changed["POST /checkout"] = lambda: (200, orders.pop())
    with pytest.raises(Failed, match="a repeated Idempotency-Key returns"):
        smoke(server.shop, LOCAL, order=False, within=5)


@pytest.mark.parametrize(
    "environment", [name for name in ENVIRONMENTS if name not in ("local", "prod")]
)
def test_every_environment_but_prod_orders(server: FakeShop, environment: str) -> None:
    assert "arrived" in smoke(server.shop, ENVIRONMENTS[environment], order=False, within=5)


@pytest.fixture
def prod(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of what the command checks in AWS, where everything passes."""
    checked: list[str] = []
    monkeypatch.setattr("operations.smoke.aws.client", lambda service: service)
    monkeypatch.setattr(
        operation, "require_relay", lambda client, **others: checked.append(f"relay by {client}")
    )
    monkeypatch.setattr(
        operation,
        "require_no_dead_letters",
        lambda client, **others: checked.append(f"dlq by {client}"),
    )
    return checked


def test_prod_orders_nothing(server: FakeShop, prod: list[str]) -> None:
    assert "nothing was ordered" in smoke(server.shop, ENVIRONMENTS["prod"], order=False, within=5)
    assert server.quantities == []
    assert len(server.tokens) == 1, "a forged callback"
    assert prod == ["dlq by sqs", "relay by cloudwatch"]


def test_prod_orders_if_the_option_is_given(server: FakeShop, prod: list[str]) -> None:
    assert "order-1 arrived" in smoke(server.shop, ENVIRONMENTS["prod"], order=True, within=5)
    assert server.quantities == [11]
    assert server.stock == 21, "the quantity that arrived stays in the stock"


def test_max_quantity_is_the_environments_own(server: FakeShop) -> None:
    with pytest.raises(Failed, match="max_quantity is 10"):
        smoke(server.shop, replace(ENVIRONMENTS["prod"], max_quantity=10), order=True, within=5)


def run(environment: str, *arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "operations.smoke", environment, *arguments]
    return subprocess.run(
        command,
        cwd=directory,
        env={
            "PYTHONPATH": str(PROJECT),
            "HOME": str(directory),
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_url_comes_from_the_deployments_outputs(server: FakeShop, tmp_path: Path) -> None:
    outputs = tmp_path / "cdk.outputs.json"
    outputs.write_text(json.dumps({"donut-shop-service-dev": {"ApiUrl": f"{server.shop.url}/"}}))
    done = run("dev", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith(f"{server.shop.url} works: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prod"], "cdk.outputs.json has no outputs of donut-shop-service-prod"),
        (
            ["dev", "--outputs=missing.json"],
            "missing.json has no outputs of donut-shop-service-dev",
        ),
        (["dev", "--outputs=broken.json"], "Expecting value"),
        (["local", "--endpoint=missing"], "`make up` starts it"),
    ],
    ids=str,
)
def test_missing_url_is_reported_in_one_sentence(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    (tmp_path / "cdk.outputs.json").write_text(
        json.dumps({"donut-shop-service-dev": {"ApiUrl": "http://x"}})
    )
    (tmp_path / "broken.json").write_text("")
    done = run(*arguments, directory=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert words in line


def test_missing_credentials_are_reported_in_one_sentence(server: FakeShop, tmp_path: Path) -> None:
    outputs = tmp_path / "cdk.outputs.json"
    outputs.write_text(json.dumps({"donut-shop-service-prod": {"ApiUrl": server.shop.url}}))
    done = run("prod", directory=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "no AWS credentials" in line
