"""Failures of the database: responses are true and in time, and the books balance afterwards.

test_factory_failures.py says which failure belongs to which file.
"""

import threading
import time
from itertools import count

import pytest
import requests

from local.factory import accept
from local.polling import eventually
from operations import operate
from operations.operate import OperateFunction
from tests.support.accidents import (
    database_killed,
    database_process,
    kill_database,
    make_due,
    run_relay,
)
from tests.support.concurrency import at_once
from tests.support.deployed_shop import (
    CONTENT_TYPE,
    PATIENCE,
    RESPONDS_WITHIN,
    SETTINGS,
    UNAVAILABLE,
    DeployedShop,
    call_back,
)
from tests.support.misbehaving import accept_without_callback
from tests.support.processes import suspend

RESTART_SECONDS = 0.3
"""A restart takes longer.

A checkout with a key that it interrupts is sent again, and may succeed.
"""


def assert_unavailable(response: requests.Response) -> None:
    """Expect the response with which the shop says in time that its database does not work."""
    assert response.status_code == 503, response.url
    assert response.json() == UNAVAILABLE, response.url
    assert response.headers["content-type"] == CONTENT_TYPE, response.url
    assert int(response.headers["retry-after"]) > 0, response.url
    assert response.elapsed.total_seconds() < RESPONDS_WITHIN, response.url


def test_requests_return_503_in_time_without_the_database(shop: DeployedShop) -> None:
    with database_killed(shop):
        assert_unavailable(shop.checkout(3))
        assert_unavailable(shop.request("GET", "/product/donut"))
        assert_unavailable(shop.request("GET", "/order/x"))
    assert shop.purchases() == []
    assert shop.checkout(3).json()["stock"] == 7


def test_request_returns_503_in_time_when_the_database_hangs(shop: DeployedShop) -> None:
    shop.request("GET", "/product/donut")
    database = database_process(shop)
    suspend(database)
    try:
        response = shop.request("GET", "/product/donut")
    finally:
        database.resume()
    assert_unavailable(response)
    assert shop.request("GET", "/product/donut").status_code == 200


@pytest.mark.parametrize("verb", ["orders", "books"])
def test_operator_is_told_soon_when_the_database_hangs(shop: DeployedShop, verb: str) -> None:
    """Reading may take 25 seconds, but not finding out that nobody responds."""
    function = OperateFunction(shop.cloud.client("lambda"), SETTINGS, claimed_by="a test")
    function.invoke(verb)
    database = database_process(shop)
    suspend(database)
    began = time.monotonic()
    try:
        with pytest.raises(operate.Failed, match="the database is unavailable"):
            function.invoke(verb)
    finally:
        database.resume()
    assert time.monotonic() - began < RESPONDS_WITHIN
    assert function.invoke(verb)


def test_order_is_placed_again_when_its_callback_fails(shop: DeployedShop) -> None:
    shop.factory.respond = accept_without_callback
    order_id = shop.order_more(40)
    callback_url = shop.callback_url(order_id)
    with database_killed(shop):
        assert_unavailable(call_back(callback_url, json={}))
    assert shop.status(order_id) == "published"
    assert shop.stock() == 10

    shop.factory.respond = accept
    make_due(shop)
    run_relay(shop)
    shop.wait_for(order_id)
    assert len(shop.placed_orders(order_id)) == 2
    assert shop.stock() == 50


def test_responses_are_true_when_the_database_is_killed(shop: DeployedShop) -> None:
    shop.set_stock(1000)
    restarted, numbers = threading.Event(), count()
    responses: dict[str, dict[str, object]] = {}
    interrupted: list[str] = []

    def buy(key: str) -> requests.Response:
        return shop.checkout(7, headers={"Idempotency-Key": key})

    def buy_until_restarted() -> None:
        last = False
        while not last:
            last = restarted.is_set()
            key = f"under load {next(numbers)}"
            response = buy(key)
            seconds = response.elapsed.total_seconds()
            responses[key] = response.json()
            if responses[key] == UNAVAILABLE or seconds > RESTART_SECONDS:
                interrupted.append(key)
            if response.status_code != 200:
                assert_unavailable(response)
            assert seconds < RESPONDS_WITHIN, key

    def restart_twice() -> None:
        try:
            for _ in range(2):
                known = len(responses)

                def more_responses(known: int = known) -> None:
                    assert len(responses) > known + 10, f"{known} before the restart"

                eventually(more_responses, within=PATIENCE)
                kill_database(shop)
                shop.cloud.database.start()
        finally:
            restarted.set()

    at_once(restart_twice, *[buy_until_restarted] * 6)
    assert interrupted, "the database was killed between two requests only"
    outcomes = {key: buy(key).json() for key in responses}
    untrue = {
        key: response
        for key, response in responses.items()
        if response not in (UNAVAILABLE, outcomes[key])
    }
    assert untrue == {}
    bought = [outcome for outcome in outcomes.values() if outcome["purchased"]]
    ordered = {outcome["order_id"] for outcome in outcomes.values() if not outcome["purchased"]}
    assert len(shop.purchases()) == len(bought)
    assert {order_id for order_id, _, _ in shop.orders()} == ordered

    make_due(shop)
    run_relay(shop)
    for order_id in ordered:
        shop.wait_for(order_id)
    assert shop.stock() == 1000 + 7 * len(ordered) - 7 * len(bought)
