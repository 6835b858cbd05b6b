"""Every request ends within 5 s, and its response is true, whatever the network or server does."""

import importlib
import socket
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from threading import Event, Thread
from time import monotonic
from typing import Any

import psutil
import pytest

from common import aws, database
from common.database import DatabaseUnavailable
from local.database.mariadb import MariaDb
from tests.support.database_shop import DatabaseShop, Functions, arrive, buy, order_more
from tests.support.processes import suspend
from tests.support.proxy import Proxy, proxy_to
from tests.support.variables import set_variables

CONTRACT = 5
"""Seconds that a request may take."""
DELAYS = (0.3, 0.9, 1.3, 2.0, 3.0)
"""Seconds that a packet is delayed."""


@pytest.fixture
def slots() -> int:
    """One: a time limit does not depend on the number of rows."""
    return 1


def get_product(store: Functions, _: str) -> str | None:
    return store.product("donut")


def get_order(store: Functions, order_id: str) -> str | None:
    return store.order(order_id)


def checkout(store: Functions, name: str) -> bool:
    return buy(store, 1, requester=name).purchased


def keyed_checkout(store: Functions, name: str) -> bool:
    return buy(store, 1, requester=name, idempotency_key=name).purchased


def callback(store: Functions, order_id: str) -> bool:
    return arrive(store, order_id).added


ROUTES: tuple[Callable[[Functions, str], object], ...] = (
    get_product,
    get_order,
    checkout,
    keyed_checkout,
    callback,
)


@dataclass(frozen=True)
class Attempt:
    """One request, how long it took, and its result; None where the response would be 503."""

    name: str
    seconds: float
    result: Any


def attempt(name: str, call: Callable[[], object]) -> Attempt:
    started = monotonic()
    try:
        result = call()
    except DatabaseUnavailable:
        result = None
    return Attempt(name, monotonic() - started, result)


def store_behind(proxy: Proxy, shop: DatabaseShop) -> Functions:
    return Functions(replace(shop.database, database_port=proxy.port))


def assert_in_time(attempts: list[Attempt]) -> None:
    late = {attempt.name: attempt.seconds for attempt in attempts if attempt.seconds >= CONTRACT}
    assert late == {}


def assert_purchases_agree(shop: DatabaseShop, attempts: list[Attempt]) -> None:
    """Check that there is a purchase for each checkout with a result, and for no other."""
    bought = sorted(requester for _, requester in shop.purchases())
    checkouts = [attempt for attempt in attempts if "checkout" in attempt.name]
    assert bought == sorted(attempt.name for attempt in checkouts if attempt.result)


BEARABLE: dict[tuple[str, bool], tuple[float, ...]] = {
    ("new", False): (0.3,),
    ("new", True): (),
    ("kept", False): (0.3, 0.9, 1.3),
    ("kept", True): (0.3, 0.9, 1.3),
}
"""Connection and whether both directions are delayed → delays at which every request succeeds."""


@pytest.mark.parametrize("connection", ["new", "kept"])
@pytest.mark.parametrize("both_ways", [False, True], ids=["to the client", "both ways"])
def test_request_ends_in_time_when_each_packet_is_delayed(
    shop: DatabaseShop, connection: str, both_ways: bool
) -> None:
    cases = list(product(ROUTES, DELAYS))
    orders = {
        case: order_more(shop.store(), 100, requester="late")
        for case in cases
        if case[0] in (get_order, callback)
    }

    def run(case: tuple[Callable[[Functions, str], object], float]) -> Attempt:
        route, delay = case
        name = f"{route.__name__} {delay}"
        with proxy_to(shop.server.port) as proxy:
            store = store_behind(proxy, shop)
            if connection == "kept":
                store.product("donut")
                buy(store, 1000)  # the server's clock is known from now on
                store.restock("no-order", slug="donut", callback_token="none")
            proxy.delay_each_packet(delay, both_ways=both_ways)
            return attempt(name, partial(route, store, orders.get(case, name)))

    with ThreadPoolExecutor(len(cases)) as pool:
        attempts = list(pool.map(run, cases))
    assert_in_time(attempts)
    assert_purchases_agree(shop, attempts)
    succeeded = {attempt.name for attempt in attempts if attempt.result}
    bearable = BEARABLE[connection, both_ways]
    assert {f"{route.__name__} {delay}" for route, delay in product(ROUTES, bearable)} <= succeeded


@pytest.mark.parametrize("connection", ["new", "kept"])
def test_request_ends_in_time_when_the_server_drips(shop: DatabaseShop, connection: str) -> None:
    """The server sends a byte every half second, within the timeout of any single read."""
    order_id = order_more(shop.store(), 100)

    def run(route: Callable[[Functions, str], object]) -> Attempt:
        with proxy_to(shop.server.port) as proxy:
            store = store_behind(proxy, shop)
            if connection == "kept":
                store.product("donut")
                store.restock("no-order", slug="donut", callback_token="none")
            proxy.to_client.drip = 0.5
            return attempt(route.__name__, partial(route, store, order_id))

    with ThreadPoolExecutor(len(ROUTES)) as pool:
        attempts = list(pool.map(run, ROUTES))
    assert_in_time(attempts)
    assert {attempt.name: attempt.result for attempt in attempts} == {
        route.__name__: None for route in ROUTES
    }


@pytest.fixture
def suspendable(server: MariaDb) -> Iterator[psutil.Process]:
    """Return the server's process, and resume it after the test."""
    process = psutil.Process(server.pid)
    yield process
    process.resume()


def test_request_ends_in_time_when_the_server_hangs_repeatedly(
    shop: DatabaseShop, suspendable: psutil.Process
) -> None:
    """The server runs for 4 ms every two seconds, or every second."""
    order_id = order_more(shop.store(), 100)
    for pause in (2.0, 1.0):
        stores = [
            shop.store() if kept else Functions(shop.database)
            for kept in (True, False)
            for _ in ROUTES
        ]
        with ThreadPoolExecutor(len(stores)) as pool:
            suspend(suspendable)
            calls = [
                pool.submit(
                    attempt, f"{route.__name__} {uuid.uuid4()}", partial(route, store, order_id)
                )
                for route, store in zip(ROUTES * 2, stores, strict=True)
            ]
            while not all(call.done() for call in calls):
                run_briefly(suspendable, pause=pause)
            suspendable.resume()
        assert_in_time([call.result() for call in calls])


def run_briefly(process: psutil.Process, *, pause: float) -> None:
    """Let the suspended process run for 4 ms after a pause of that many seconds."""
    Event().wait(pause)
    process.resume()
    Event().wait(0.004)
    suspend(process)


def test_second_connection_is_used_when_the_first_falls_silent(shop: DatabaseShop) -> None:
    """It brings the product, or cancels the checkout."""
    with proxy_to(shop.server.port) as proxy:
        store = store_behind(proxy, shop)
        store.product("donut")
        proxy.swallow()
        read = attempt("product", partial(store.product, "donut"))
        proxy.swallow()
        bought = attempt("checkout", partial(checkout, store, "checkout"))
    assert_in_time([read, bought])
    assert read.result
    assert bought.result is None
    assert shop.purchases() == []


@pytest.mark.parametrize("what", ["name resolution", "secret"])
def test_request_ends_in_time_when_connecting_hangs(
    shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Before it connects, a function reads the secret and resolves the host's name."""
    over = Event()

    def hang(*arguments: object, **options: object) -> None:
        over.wait(30)

    if what == "secret":
        monkeypatch.setattr(database, "secret", hang)
    else:
        monkeypatch.setattr("socket.getaddrinfo", hang)
    try:
        bought = attempt("checkout", partial(checkout, Functions(shop.database), "checkout"))
    finally:
        over.set()
    assert bought.result is None
    assert_in_time([bought])


def serve(respond: Callable[[socket.socket], None], over: Event) -> socket.socket:
    """Listen on a free port, and call `respond` with each connection in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while not over.is_set():
                Thread(target=respond, args=(listener.accept()[0],), daemon=True).start()

    Thread(target=accept, daemon=True).start()
    return listener


def test_checkout_ends_in_time_when_the_topic_drips(
    shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The production order is left to the relay."""
    over = Event()

    def drip(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            for byte in b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 100:
                connection.sendall(bytes([byte]))
                over.wait(0.5)

    listener = serve(drip, over)
    set_variables(monkeypatch, DATABASE_SECRET_ARN="sales")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-northeast-2")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", f"http://127.0.0.1:{listener.getsockname()[1]}")
    aws.client.cache_clear()
    sales = importlib.reload(importlib.import_module("sales.handler"))
    event = {
        "routeKey": "POST /checkout",
        "headers": {},
        "body": '{"MessageAttributeProductCnt": 100}',
    }
    try:
        bought = attempt("checkout", lambda: sales.handler(event, None))
    finally:
        over.set()
        listener.close()
        aws.client.cache_clear()
    assert bought.result["statusCode"] == 200
    assert_in_time([bought])
    assert [status for _, status, _ in shop.orders()] == ["requested"]


GREETINGS = {
    "nothing": b"",
    "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "empty packet": b"\0\0\0\0",
    "short": b"\x05\0\0\0\x0a1.0\0",
    "zeros": b"\x20\0\0\0" + bytes(32),
    "old protocol": b"\x20\0\0\0\x09" + bytes(31),
    "error without a code": b"\x03\0\0\0\xff\0\0",
}


@pytest.mark.parametrize("greeting", GREETINGS.values(), ids=GREETINGS)
def test_server_with_a_malformed_greeting_is_unavailable(
    shop: DatabaseShop, greeting: bytes
) -> None:
    over = Event()

    def greet(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.sendall(greeting)

    listener = serve(greet, over)
    try:
        store = Functions(replace(shop.database, database_port=listener.getsockname()[1]))
        with pytest.raises(DatabaseUnavailable):
            store.product("donut")
    finally:
        over.set()
        listener.close()
