"""local/factory.py: the stand-in behaves as the real factory does, or as a test says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests

from local.factory import BREAKAGE_PATH, SLOW_SECONDS, STAGES, Factory, FactoryResponse, Order
from local.polling import eventually
from settings import ENVIRONMENTS


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

        def called_back() -> list[dict[str, Any]]:
            listed = requests.get(f"http://127.0.0.1:{factory.port}/", timeout=5).json()
            assert listed[0]["called_back_at"], "it has not called back"
            return list(listed)

        listed = eventually(called_back, within=5)
        shop.shutdown()
    assert [json.loads(body) for body in RejectingShop.bodies] == [payload]
    assert listed[0]["payload"] == payload
    assert listed[0]["headers"]["idempotency-key"] == "1"
    assert listed[0]["status"] == 201
    began = listed[0]["stages_began"]
    assert len(began) == listed[0]["stage"] == STAGES
    assert began == sorted(began)
    assert listed[0]["received_at"] <= began[0]
    assert began[-1] <= listed[0]["called_back_at"]


def test_newest_orders_are_listed() -> None:
    with Factory(stage_seconds=0.01) as factory:
        for number in range(3):
            requests.post(factory.url, json={"number": number}, timeout=5)

        def numbers(query: str) -> list[int]:
            listed = requests.get(f"http://127.0.0.1:{factory.port}/{query}", timeout=5).json()
            return [each["payload"]["number"] for each in listed]

        assert numbers("") == [0, 1, 2]
        assert numbers("?newest=2") == [1, 2]
        assert numbers("?newest=9") == [0, 1, 2]


def test_response_has_a_status_once_it_is_sent() -> None:
    with Factory(respond=lambda order: FactoryResponse(delay=0.5, callbacks=0)) as factory:
        sender = threading.Thread(target=requests.post, args=(factory.url,), kwargs={"json": {}})
        sender.start()

        def received() -> Order:
            assert factory.received, "the factory has received nothing"
            return factory.received[0]

        order = eventually(received, within=5)
        assert order.status is None
        sender.join()
        assert order.status == 201


def test_factory_responds_as_the_test_says() -> None:
    closed = FactoryResponse(status=500, body={"error": "closed"}, callbacks=0)
    with Factory(respond=lambda order: closed) as factory:
        response = requests.post(factory.url, json={}, timeout=5)
        assert response.status_code == 500
        assert response.json() == {"error": "closed"}
        assert [order.stage for order in factory.received] == [0]


def break_for(factory: Factory, name: str, seconds: object) -> requests.Response:
    """Ask the factory over HTTP to break for so many seconds."""
    url = f"http://127.0.0.1:{factory.port}{BREAKAGE_PATH}{name}"
    return requests.post(url, json=seconds, timeout=5)


def order(factory: Factory) -> int | None:
    """Order something. Return the status of the response, or None if there is none."""
    try:
        return requests.post(factory.url, json={"CallbackUrl": "no URL"}, timeout=5).status_code
    except requests.ConnectionError:
        return None


@pytest.mark.parametrize(
    ("name", "status", "callbacks"),
    [("off", None, []), ("fails", 500, [0]), ("silent", 201, [0]), ("twice", 201, [2])],
)
def test_broken_factory_heals_by_itself(
    name: str, status: int | None, callbacks: list[int]
) -> None:
    with Factory(stage_seconds=0.01) as factory:
        assert 0 < break_for(factory, name, 0.5).json() <= 0.5
        assert order(factory) == status

        def healed() -> None:
            assert factory.remaining(name) == 0

        eventually(healed, within=5)
        assert order(factory) == 201

        def called_back() -> None:
            assert [each.callbacks for each in factory.received] == [*callbacks, 1]

        eventually(called_back, within=5)


def test_slow_factory_makes_what_nobody_waits_for() -> None:
    assert ENVIRONMENTS["local"].factory_deadline < SLOW_SECONDS
    with Factory(stage_seconds=0.01) as factory:
        break_for(factory, "slow", 5)
        with pytest.raises(requests.Timeout):
            requests.post(factory.url, json={"CallbackUrl": "no URL"}, timeout=0.5)

        def called_back() -> None:
            assert [each.callbacks for each in factory.received] == [1]

        eventually(called_back, within=5)


def test_factory_heals_when_it_is_told_to() -> None:
    with Factory() as factory:
        break_for(factory, "off", 60)
        assert break_for(factory, "fails", 0).json() == 0
        assert order(factory) is None, "another breakage was ended"
        assert break_for(factory, "off", 0).json() == 0
        assert order(factory) == 201


@pytest.mark.parametrize(
    ("name", "seconds", "status"),
    [("off", 121, 400), ("off", -1, 400), ("off", "long", 400), ("nothing", 1, 404)],
)
def test_factory_rejects_other_breakages(name: str, seconds: object, status: int) -> None:
    with Factory() as factory:
        assert break_for(factory, name, seconds).status_code == status
        assert order(factory) == 201
