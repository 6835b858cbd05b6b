"""The stand-in factory keeps to what the real one does."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import requests

from local.factory import Answer, Factory


class Customer(BaseHTTPRequestHandler):
    bodies: list[bytes]
    called: threading.Event

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(503)
        self.end_headers()
        self.called.set()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_it_answers_201_and_delivers_the_whole_payload_once() -> None:
    Customer.bodies, Customer.called = [], threading.Event()
    with HTTPServer(("127.0.0.1", 0), Customer) as customer, Factory(stage_seconds=0.01) as factory:
        threading.Thread(target=customer.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{customer.server_port}/product/donut?order=1&token=2"
        payload = {"MessageAttributeRequester": "나", "CallbackUrl": url, "extra": [1]}
        response = requests.post(
            factory.url, json=payload, headers={"Idempotency-Key": "1"}, timeout=5
        )
        assert response.status_code == 201
        data = response.json()["data"]
        assert (data["reqestor"], data["data"]) == ("나", payload)
        assert Customer.called.wait(5)
        listed = requests.get(f"http://127.0.0.1:{factory.port}/", timeout=5).json()
        customer.shutdown()
    assert [json.loads(body) for body in Customer.bodies] == [payload]
    assert (listed[0]["payload"], listed[0]["headers"]["idempotency-key"]) == (payload, "1")


def test_it_can_be_told_to_answer_otherwise() -> None:
    with Factory(
        answer=lambda order: Answer(status=500, body={"error": "closed"}, deliver=False)
    ) as factory:
        response = requests.post(factory.url, json={}, timeout=5)
        assert (response.status_code, response.json()) == (500, {"error": "closed"})
        assert [order.stage for order in factory.received] == [0]
