"""The deployed shop answers in time while its database stutters. The gateway and the machine get 0.5 s more."""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest
import requests

from local.factory import Answer
from tests.support.concurrency import at_once
from tests.support.deployed_shop import ANSWERED_WITHIN, Shop

AWAKE = 0.004


@contextmanager
def stuttering(shop: Shop, *, pause: float) -> Iterator[None]:
    """Let the database run for 4 ms after each pause."""
    process, over = psutil.Process(shop.cloud.database.pid), threading.Event()

    def stutter() -> None:
        while not over.is_set():
            process.suspend()
            over.wait(pause)
            process.resume()
            over.wait(AWAKE)

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
def test_every_route_answers_in_time_when_the_database_stutters(
    shop: Shop, capsys: pytest.CaptureFixture[str], connections: str, pause: float
) -> None:
    shop.factory.answer = lambda order: Answer(deliver=False)
    callback = shop.factory_call(shop.order_more(40)).payload["CallbackUrl"]
    requester, key = f"{uuid.uuid4()}", f"{uuid.uuid4()}"
    routes: dict[str, Callable[[], requests.Response]] = {
        "GET /product": lambda: shop.request("GET", "/product/donut"),
        "GET /order": lambda: shop.request("GET", "/order/x"),
        "POST /checkout": lambda: shop.checkout(1, requester=requester),
        "POST /checkout with a key": lambda: shop.checkout(
            1, requester=key, headers={"Idempotency-Key": key}
        ),
        "callback": lambda: requests.post(callback, timeout=10),
    }
    # A cold start is not part of the 5 s: each request below finds an execution environment that is warm.
    cold = at_once(*[routes["GET /product"]] * len(routes))
    requests.post(f"{callback}x", timeout=10)
    if connections == "new":
        for user in ("shop_sales", "shop_restock"):
            shop.sql(f"KILL USER {user}")
    with stuttering(shop, pause=pause), ThreadPoolExecutor(len(routes)) as pool:
        answers = dict(zip(routes, pool.map(lambda call: call(), routes.values()), strict=True))
    seconds = {route: answer.elapsed.total_seconds() for route, answer in answers.items()}
    assert {route: took for route, took in seconds.items() if took > ANSWERED_WITHIN} == {}
    assert {answer.status_code for answer in answers.values()} <= {200, 400, 503}
    with capsys.disabled():
        warming_up = max(answer.elapsed.total_seconds() for answer in cold)
        print(
            f"\n{connections} connections, pauses of {pause} s: {max(seconds.values()):.2f} s;",
            end=" ",
        )
        print(f"apart from that, cold starts: {warming_up:.2f} s")
