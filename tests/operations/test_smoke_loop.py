"""`make smoke` against shops that fail in one way each; tests/e2e/test_smoke.py has the deployed one."""

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
from operations.smoke import Failed, Shop, smoke
from settings import ENVIRONMENTS, PROJECT

LOCAL = ENVIRONMENTS["local"]
Answer = tuple[int, object]


class StandIn(ThreadingHTTPServer):
    """A shop that works: an order arrives when its status is asked for the second time. Any answer can be replaced."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.stock = 10
        self.statuses = ["published", "arrived"]
        self.answers: dict[str, dict[str, object]] = {}
        self.ordered = 0
        self.quantities: list[int] = []
        self.requesters: set[str] = set()
        self.tokens: list[str] = []
        self.changed: dict[str, Callable[[], Answer | None]] = {}

    @property
    def shop(self) -> Shop:
        return Shop(f"http://127.0.0.1:{self.server_port}")

    def answer(self, method: str, path: str, body: Any, key: str) -> Answer:
        route = f"{method} /{urlsplit(path).path.split('/')[1]}"
        if route in self.changed and (changed := self.changed[route]()):
            return changed
        match route:
            case "GET /product":
                return 200, {"stock": self.stock}
            case "POST /checkout":
                if key not in self.answers:
                    self.answers[key] = self.sell(body)
                return 200, self.answers[key]
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
    server: StandIn

    def respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        status, answer = self.server.answer(
            self.command, self.path, body, self.headers.get("Idempotency-Key", "")
        )
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = respond

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    for name, seconds in (("PAUSE", 0.01), ("AWAKE_WITHIN", 0.3), ("TIMEOUT", 0.3)):
        monkeypatch.setattr(operation, name, seconds)
    monkeypatch.setattr(operation, "_depths", lambda environment: "")
    with StandIn() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def once(*answers_in_order: Answer) -> Callable[[], Answer | None]:
    answers = list(reversed(answers_in_order))
    return lambda: answers.pop() if answers else None


def test_one_more_than_there_is_goes_round_the_loop(server: StandIn) -> None:
    proved = smoke(server.shop, LOCAL, order=False, within=5)
    assert "order-1 arrived" in proved
    assert server.quantities[0] == 11
    assert server.requesters == {"smoke"}
    assert len(server.tokens) == 1


def test_stock_is_left_as_it_was(server: StandIn) -> None:
    """Else a few deployments would double it until it is above max_quantity."""
    smoke(server.shop, LOCAL, order=False, within=5)
    assert server.stock == 10


def test_nothing_is_ordered_above_max_quantity(server: StandIn) -> None:
    server.stock = LOCAL.max_quantity
    with pytest.raises(Failed, match=r"nothing was ordered: it takes 1001 .* max_quantity is 1000"):
        smoke(server.shop, LOCAL, order=False, within=5)
    assert server.quantities == []
    server.stock -= 1
    smoke(server.shop, LOCAL, order=False, within=5)


def test_stock_that_grows_in_between_is_tried_again(server: StandIn) -> None:
    server.changed["GET /product"] = once((200, {"stock": 3}), (200, {"stock": 3}))
    assert "arrived" in smoke(server.shop, LOCAL, order=False, within=5)
    assert server.quantities[:2] == [4, 7], (
        "bought four of ten, then ordered one more than the six that are left"
    )


@pytest.mark.parametrize("route", ["GET /product", "POST /checkout", "POST /product", "GET /order"])
@pytest.mark.parametrize(
    "answer", [(503, {"message": "later"}), (502, b"<html>"), (500, b"[]")], ids=str
)
def test_shop_that_wakes_up_is_waited_for(server: StandIn, route: str, answer: Answer) -> None:
    server.changed[route] = once(answer)
    assert "arrived" in smoke(server.shop, LOCAL, order=False, within=5)


@pytest.mark.parametrize(
    ("route", "answer", "words"),
    [
        ("GET /product", (500, {}), "API → sales → database: GET /product/donut answers 500"),
        ("GET /product", (200, b"<html>"), "API → sales → database: Expecting value"),
        ("GET /product", (200, {}), "no stock"),
        ("GET /product", (200, []), "not an object"),
        ("GET /product", (200, {"stock": -1}), "no stock"),
        ("POST /checkout", (503, {}), "checkout: POST /checkout answers 503"),
        ("POST /checkout", (200, {"purchased": False}), "checkout: it names no production order"),
        ("POST /product", (200, {}), "callback: a forged one is answered 200"),
        ("POST /product", (500, {}), "callback: POST /product/donut answers 500"),
        ("GET /order", (400, {}), "GET /order answers 400"),
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
def test_failure_names_its_hop(server: StandIn, route: str, answer: Answer, words: str) -> None:
    server.changed[route] = lambda: answer
    with pytest.raises(Failed, match=words) as failure:
        smoke(server.shop, LOCAL, order=False, within=0.2)
    assert "\n" not in str(failure.value)


def test_repeat_with_another_answer_fails(server: StandIn) -> None:
    orders = [{"purchased": False, "order_id": f"order-{number}"} for number in (2, 1)]
    server.changed["POST /checkout"] = lambda: (200, orders.pop())
    with pytest.raises(Failed, match="a repeat of the Idempotency-Key is answered"):
        smoke(server.shop, LOCAL, order=False, within=5)


@pytest.mark.parametrize(
    "environment", [name for name in ENVIRONMENTS if name not in ("local", "prod")]
)
def test_other_environments_are_treated_as_local(server: StandIn, environment: str) -> None:
    assert "arrived" in smoke(server.shop, ENVIRONMENTS[environment], order=False, within=5)


@pytest.fixture
def prod(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What prod's smoke asked of AWS, where nothing is wrong."""
    asked: list[str] = []
    monkeypatch.setattr("operations.smoke.aws.client", lambda service: service)
    monkeypatch.setattr(
        operation, "require_relay", lambda client, **others: asked.append(f"relay by {client}")
    )
    monkeypatch.setattr(
        operation,
        "require_no_dead_letters",
        lambda client, **others: asked.append(f"dlq by {client}"),
    )
    return asked


def test_prod_is_looked_at_only(server: StandIn, prod: list[str]) -> None:
    assert "nothing was ordered" in smoke(server.shop, ENVIRONMENTS["prod"], order=False, within=5)
    assert server.quantities == []
    assert len(server.tokens) == 1, "a forged callback"
    assert prod == ["dlq by sqs", "relay by cloudwatch"]


def test_prod_orders_when_it_is_told_to(server: StandIn, prod: list[str]) -> None:
    assert "order-1 arrived" in smoke(server.shop, ENVIRONMENTS["prod"], order=True, within=5)
    assert server.quantities == [11]
    assert server.stock == 21, "what was baked is there to be sold"


def test_max_order_is_the_environments_own(server: StandIn) -> None:
    with pytest.raises(Failed, match="max_quantity is 10"):
        smoke(server.shop, replace(LOCAL, max_quantity=10), order=False, within=5)


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


def test_url_is_what_the_deployment_wrote_down(server: StandIn, tmp_path: Path) -> None:
    outputs = tmp_path / "cdk.outputs.json"
    outputs.write_text(json.dumps({"donut-shop-service-dev": {"ApiUrl": f"{server.shop.url}/"}}))
    done = run("dev", directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{server.shop.url} works: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prod"], "donut-shop-service-prod was not the last"),
        (["dev", "--outputs=missing.json"], "donut-shop-service-dev was not the last"),
        (["dev", "--outputs=broken.json"], "Expecting value"),
        (["local", "--endpoint=missing"], "`make up` starts it"),
    ],
    ids=str,
)
def test_without_a_url_it_says_one_sentence(
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


def test_prod_without_credentials_says_one_sentence(server: StandIn, tmp_path: Path) -> None:
    outputs = tmp_path / "cdk.outputs.json"
    outputs.write_text(json.dumps({"donut-shop-service-prod": {"ApiUrl": server.shop.url}}))
    done = run("prod", directory=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "no AWS credentials" in line
