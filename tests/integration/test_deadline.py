"""Every request ends within 5 s, whatever the server or the network does, and its answer is true."""

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

from common import aws, database, deadline
from common.database import DatabaseUnavailable
from local.database.mariadb import MariaDb
from tests.support.database_shop import Functions, Shop, arrive, buy, order_more
from tests.support.proxy import Proxy, proxy_to
from tests.support.variables import SIMULATION

CONTRACT = 5
DELAYS = (0.3, 0.9, 1.3, 2.0, 3.0)


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


@dataclass
class Tried:
    """One request: what it was, how long it took, and its answer; None: 503."""

    name: str
    seconds: float
    answer: Any


def attempt(name: str, call: Callable[[], object]) -> Tried:
    started = monotonic()
    try:
        answer = call()
    except DatabaseUnavailable:
        answer = None
    return Tried(name, monotonic() - started, answer)


def behind(proxy: Proxy, shop: Shop) -> Functions:
    return Functions(replace(shop.database, database_port=proxy.port))


def assert_in_time(tried: list[Tried]) -> None:
    assert {one.name: one.seconds for one in tried if one.seconds >= CONTRACT} == {}


def assert_true(shop: Shop, tried: list[Tried]) -> None:
    """Each checkout that was answered has a row in the ledger, and no other has."""
    bought = sorted(requester for _, requester in shop.ledger())
    assert bought == sorted(one.name for one in tried if "checkout" in one.name and one.answer)


def test_parts_of_the_budget_add_up_to_less_than_the_contracts_5_seconds() -> None:
    assert deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT + deadline.RESERVE < CONTRACT
    assert deadline.RESERVE > 0
    assert deadline.PUBLISH.connect + deadline.PUBLISH.read <= deadline.PUBLISH_WITHIN
    assert (
        deadline.PUBLISH_START + deadline.PUBLISH_WITHIN
        < deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT
    )


@pytest.mark.parametrize("connection", ["new", "kept"])
@pytest.mark.parametrize("both_ways", [False, True], ids=["to the client", "both ways"])
def test_request_is_answered_in_time_when_each_packet_is_delayed(
    shop: Shop, connection: str, both_ways: bool
) -> None:
    cases = list(product(ROUTES, DELAYS))
    orders = {
        case: order_more(shop.store(), 100, requester="late")
        for case in cases
        if case[0] in (get_order, callback)
    }

    def run(case: tuple[Callable[[Functions, str], object], float]) -> Tried:
        route, delay = case
        name = f"{route.__name__} {delay}"
        with proxy_to(shop.server.port) as proxy:
            store = behind(proxy, shop)
            if connection == "kept":
                store.product("donut")
                buy(store, 1000)  # the server's clock is known from now on
                store.restock("no-order", slug="donut", callback_token="none")
            proxy.delay_each_packet(delay, both_ways=both_ways)
            return attempt(name, partial(route, store, orders.get(case, name)))

    with ThreadPoolExecutor(len(cases)) as pool:
        tried = list(pool.map(run, cases))
    assert_in_time(tried)
    assert_true(shop, tried)
    answered = {one.name for one in tried if one.answer}
    expected = (
        ()
        if (connection, both_ways) == ("new", True)
        else (0.3,)
        if connection == "new"
        else (0.3, 0.9, 1.3)
    )
    assert {f"{route.__name__} {delay}" for route, delay in product(ROUTES, expected)} <= answered


@pytest.mark.parametrize("connection", ["new", "kept"])
def test_request_is_answered_in_time_when_the_server_drips(shop: Shop, connection: str) -> None:
    """One byte every half a second satisfies any time-out of a single read."""
    order_id = order_more(shop.store(), 100)

    def run(route: Callable[[Functions, str], object]) -> Tried:
        with proxy_to(shop.server.port) as proxy:
            store = behind(proxy, shop)
            if connection == "kept":
                store.product("donut")
                store.restock("no-order", slug="donut", callback_token="none")
            proxy.to_client.drip = 0.5
            return attempt(route.__name__, partial(route, store, order_id))

    with ThreadPoolExecutor(len(ROUTES)) as pool:
        tried = list(pool.map(run, ROUTES))
    assert_in_time(tried)
    assert [one.answer for one in tried] == [None] * len(ROUTES)


@pytest.fixture
def suspendable(server: MariaDb) -> Iterator[psutil.Process]:
    """The server's process, which runs again after the test."""
    process = psutil.Process(server.pid)
    yield process
    process.resume()


def test_request_is_answered_in_time_when_the_server_stutters(
    shop: Shop, suspendable: psutil.Process
) -> None:
    """It runs for 4 ms every two seconds, or every second."""
    order_id = order_more(shop.store(), 100)
    for pause in (2.0, 1.0):
        stores = [
            shop.store() if kept else Functions(shop.database)
            for kept in (True, False)
            for _ in ROUTES
        ]
        with ThreadPoolExecutor(len(stores)) as pool:
            suspendable.suspend()
            calls = [
                pool.submit(
                    attempt, f"{route.__name__} {uuid.uuid4()}", partial(route, store, order_id)
                )
                for route, store in zip(ROUTES * 2, stores, strict=True)
            ]
            while not all(call.done() for call in calls):
                stutter(suspendable, pause=pause)
            suspendable.resume()
        assert_in_time([call.result() for call in calls])


def stutter(process: psutil.Process, *, pause: float) -> None:
    """Let the process run for 4 ms after a pause."""
    Event().wait(pause)
    process.resume()
    Event().wait(0.004)
    process.suspend()


def test_second_connection_finds_out_when_the_first_goes_silent(shop: Shop) -> None:
    with proxy_to(shop.server.port) as proxy:
        store = behind(proxy, shop)
        store.product("donut")
        proxy.swallow()
        tried = attempt("product", partial(store.product, "donut"))
        proxy.swallow()
        bought = attempt("checkout", partial(checkout, store, "checkout"))
    assert tried.answer and tried.seconds < CONTRACT
    assert bought.answer is None and bought.seconds < CONTRACT
    assert shop.ledger() == []


@pytest.mark.parametrize("what", ["name resolution", "secret"])
def test_request_is_answered_in_time_when_what_comes_before_the_connection_hangs(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    over = Event()

    def hang(*arguments: object, **options: object) -> None:
        over.wait(30)

    if what == "secret":
        monkeypatch.setattr(database, "secret", hang)
    else:
        monkeypatch.setattr("socket.getaddrinfo", hang)
    try:
        tried = attempt("checkout", partial(checkout, Functions(shop.database), "checkout"))
    finally:
        over.set()
    assert tried.answer is None
    assert_in_time([tried])


def serve(answer: Callable[[socket.socket], None], over: Event) -> socket.socket:
    """Listen on a free port, and treat each connection so, in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while not over.is_set():
                Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    Thread(target=accept, daemon=True).start()
    return listener


def test_checkout_is_answered_in_time_when_the_topic_drips(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its order is left to the relay."""
    over = Event()

    def drip(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            for byte in b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 100:
                connection.sendall(bytes([byte]))
                over.wait(0.5)

    listener = serve(drip, over)
    for name, value in SIMULATION.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-northeast-2")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", f"http://127.0.0.1:{listener.getsockname()[1]}")
    monkeypatch.setenv("DATABASE_SECRET_ARN", "sales")
    aws.client.cache_clear()
    sales = importlib.reload(importlib.import_module("sales.handler"))
    event = {
        "routeKey": "POST /checkout",
        "headers": {},
        "body": '{"MessageAttributeProductCnt": 100}',
    }
    try:
        tried = attempt("checkout", lambda: sales.handler(event, None))
    finally:
        over.set()
        listener.close()
        aws.client.cache_clear()
    assert tried.answer["statusCode"] == 200
    assert_in_time([tried])
    assert [status for _, status, _ in shop.orders()] == ["requested"]


GREETINGS = {
    "nothing": b"",
    "no MySQL": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "empty packet": b"\0\0\0\0",
    "short": b"\x05\0\0\0\x0a1.0\0",
    "zeros": b"\x20\0\0\0" + bytes(32),
    "old protocol": b"\x20\0\0\0\x09" + bytes(31),
    "error without a code": b"\x03\0\0\0\xff\0\0",
}


@pytest.mark.parametrize("greeting", GREETINGS.values(), ids=GREETINGS)
def test_server_that_greets_wrongly_is_unavailable(shop: Shop, greeting: bytes) -> None:
    over = Event()

    def greet(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.sendall(greeting)

    listener = serve(greet, over)
    try:
        with pytest.raises(DatabaseUnavailable):
            Functions(replace(shop.database, database_port=listener.getsockname()[1])).product(
                "donut"
            )
    finally:
        over.set()
        listener.close()
