import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from operations.smoke import problem, smoke

ROOT = Path(__file__).parents[2]


class Shop(HTTPServer):
    """Answers so to everything; each answer once, the last one for ever."""

    answers: list[tuple[int, bytes]]
    paths: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        status, body = self.server.answers[0]
        if len(self.server.answers) > 1:
            self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop(("127.0.0.1", 0), Handler) as server:
        server.paths, server.answers = [], [(200, b'{"sku": "s", "stock": 0}')]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_shop_with_a_stock_answers(shop: Shop) -> None:
    assert problem(shop.url) is None
    assert shop.paths == ["/product/donut"]


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (500, b"{}", "500"),
        (200, b"<html>", "Expecting value"),
        (200, b"{}", "no stock"),
        (200, b"[]", "no stock"),
        (200, b'{"stock": -1}', "no stock"),
    ],
)
def test_anything_else_is_named(status: int, body: bytes, word: str, shop: Shop) -> None:
    shop.answers = [(status, body)]
    assert word in str(problem(shop.url))


def test_a_shop_that_wakes_up_is_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operations.smoke.PAUSE", 0.01)
    shop.answers = [(503, b""), (200, b"{}"), (200, b'{"stock": 3}')]
    assert smoke(shop.url, within=10) is None
    assert smoke("http://127.0.0.1:1", within=0)


def run(outputs: Path, environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "operations.smoke", str(outputs), environment]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)


def test_the_url_is_what_the_deployment_wrote_down(shop: Shop, tmp_path: Path) -> None:
    outputs = tmp_path / "cdk.outputs.json"
    outputs.write_text(json.dumps({"donut-shop-service-dev": {"ApiUrl": shop.url}}))
    assert run(outputs, "dev").returncode == 0
    assert shop.paths == ["/product/donut"]
    assert "donut-shop-service-prod was not the last" in run(outputs, "prod").stderr
    assert "was not the last" in run(tmp_path / "missing.json", "dev").stderr
