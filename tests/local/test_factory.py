"""local/factory.py: the stand-in behaves as the real factory does, or as a test says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import requests

from local.factory import Factory, FactoryResponse


class RejectingShop(BaseHTTPRequestHandler):
    """A shop that receives callbacks and rejects them."""

    bodies: list[bytes]
    called: threading.Event

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(503)
        self.end_headers()
        self.called.set()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def test_factory_returns_201_and_calls_back_once() -> None:
    RejectingShop.bodies, RejectingShop.called = [], threading.Event()
    with (
        HTTPServer(("127.0.0.1", 0), RejectingShop) as shop,
        Factory(stage_seconds=0.01) as factory,
    ):
        threading.Thread(target=shop.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{shop.server_port}/product/donut?order=1&token=2"
        payload = {"MessageAttributeRequester": "나", "CallbackUrl": url, "extra": [1]}
        response = requests.post(
            factory.url, json=payload, headers={"Idempotency-Key": "1"}, timeout=5
        )
        assert response.status_code == 201
        data = response.json()["data"]
        assert data["reqestor"] == "나"
        assert data["data"] == payload
        assert RejectingShop.called.wait(5)
        listed = requests.get(f"http://127.0.0.1:{factory.port}/", timeout=5).json()
        shop.shutdown()
    assert [json.loads(body) for body in RejectingShop.bodies] == [payload]
    assert listed[0]["payload"] == payload
    assert listed[0]["headers"]["idempotency-key"] == "1"


def test_factory_responds_as_the_test_says() -> None:
    closed = FactoryResponse(status=500, body={"error": "closed"}, calls_back=False)
    with Factory(respond=lambda order: closed) as factory:
        response = requests.post(factory.url, json={}, timeout=5)
        assert response.status_code == 500
        assert response.json() == {"error": "closed"}
        assert [order.stage for order in factory.received] == [0]
