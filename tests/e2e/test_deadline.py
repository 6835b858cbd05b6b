"""The deployed shop responds in time while its database is suspended again and again."""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests

from tests.support.accidents import database_process
from tests.support.concurrency import at_once
from tests.support.deployed_shop import RESPONDS_WITHIN, DeployedShop, call_back
from tests.support.misbehaving import accept_without_callback
from tests.support.processes import suspend

AWAKE_SECONDS = 0.004
"""How long the database runs between two pauses."""


@contextmanager
def stuttering(shop: DeployedShop, *, pause: float) -> Iterator[None]:
    """Suspend the database for `pause` seconds again and again during the block."""
    process, over = database_process(shop), threading.Event()

    def stutter() -> None:
        while not over.is_set():
            suspend(process)
            over.wait(pause)
            process.resume()
            over.wait(AWAKE_SECONDS)

    thread = threading.Thread(target=stutter)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        process.resume()


@pytest.mark.parametrize("connections", ["kept", "new"])
@pytest.mark.parametrize("pause", [1, 2, 3])
def test_every_route_responds_in_time_when_the_database_stutters(
    shop: DeployedShop, capsys: pytest.CaptureFixture[str], connections: str, pause: float
) -> None:
    shop.factory.respond = accept_without_callback
    callback_url = shop.callback_url(shop.order_more(40))
    requester, key = f"{uuid.uuid4()}", f"{uuid.uuid4()}"
    routes: dict[str, Callable[[], requests.Response]] = {
        "GET /product": lambda: shop.request("GET", "/product/donut"),
        "GET /order": lambda: shop.request("GET", "/order/x"),
        "POST /checkout": lambda: shop.checkout(1, requester=requester),
        "POST /checkout with a key": lambda: shop.checkout(
            1, requester=key, headers={"Idempotency-Key": key}
        ),
        "callback": lambda: call_back(callback_url),
    }
    # Cold starts do not count towards the 5 s. After these requests, each one below finds a warm
    # environment.
    cold = at_once(*[routes["GET /product"]] * len(routes))
    call_back(f"{callback_url}x")
    if connections == "new":
        for user in ("shop_sales", "shop_restock"):
            shop.sql(f"KILL USER {user}")
    with stuttering(shop, pause=pause), ThreadPoolExecutor(len(routes)) as pool:
        responses = dict(zip(routes, pool.map(lambda call: call(), routes.values()), strict=True))
    seconds = {route: response.elapsed.total_seconds() for route, response in responses.items()}
    assert {route: took for route, took in seconds.items() if took > RESPONDS_WITHIN} == {}
    assert {response.status_code for response in responses.values()} <= {200, 400, 503}
    with capsys.disabled():
        warming_up = max(response.elapsed.total_seconds() for response in cold)
        print(
            f"\n{connections} connections, pauses of {pause} s: {max(seconds.values()):.2f} s;",
            end=" ",
        )
        print(f"apart from that, cold starts: {warming_up:.2f} s")
