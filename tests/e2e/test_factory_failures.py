"""Failures of the factory: an order arrives once, whatever the factory does with it.

The tests of failures are divided by what fails: the factory here, the database in
test_database_failures.py, and the topic with its queue in test_topic_failures.py. A test in which
two of them fail belongs to the one that fails first.
"""

from local.factory import FactoryResponse, accept
from local.polling import eventually
from tests.support.accidents import make_due, run_relay
from tests.support.concurrency import at_once
from tests.support.deployed_shop import PATIENCE, DeployedShop, call_back
from tests.support.misbehaving import MISBEHAVIOURS, accept_without_callback, misbehaving, reject


def test_order_waits_for_a_factory_that_is_down(shop: DeployedShop) -> None:
    shop.factory.stop()
    try:
        order_id = shop.order_more(40)
        shop.wait_until_not_placed(order_id)
    finally:
        shop.factory.start()
    shop.wait_for(order_id)
    assert shop.stock() == 50


def test_order_that_the_factory_rejects_is_placed_again(shop: DeployedShop) -> None:
    shop.factory.respond = reject
    order_id = shop.order_more(40)
    shop.placed_order(order_id)
    shop.factory.respond = accept
    shop.wait_for(order_id)
    first, second = shop.placed_orders(order_id)
    assert first.payload == second.payload
    assert shop.stock() == 50


def test_order_with_a_late_response_adds_stock_once(shop: DeployedShop) -> None:
    late = iter([FactoryResponse(delay=4)])
    shop.factory.respond = lambda order: next(late, FactoryResponse())
    order_id = shop.order_more(40)
    shop.wait_for_two_callbacks(order_id)
    assert shop.stock() == 50


def test_order_is_retried_with_a_growing_delay_until_it_arrives(shop: DeployedShop) -> None:
    """Without a 2xx response, an order stays in the queue. Redirects are not followed."""
    with misbehaving(shop.factory, times=2) as received:
        for name in MISBEHAVIOURS:
            shop.order_more(40, MessageAttributeFactoryId=name)

        def all_arrived() -> None:
            assert [status for _, status, _ in shop.orders()] == ["arrived"] * len(MISBEHAVIOURS)

        eventually(all_arrived, within=2 * PATIENCE)
    assert received.keys() == MISBEHAVIOURS.keys()
    for name, times in received.items():
        first, second, third = times[:3]
        assert second - first > 1, name
        assert third - second > 2, name
    assert shop.stock() == 10 + 40 * len(MISBEHAVIOURS)


def test_order_without_a_callback_is_stuck_after_4_publications(shop: DeployedShop) -> None:
    """A late callback is accepted even then."""
    shop.factory.respond = accept_without_callback
    order_id = shop.order_more(40)
    for times in range(1, 5):

        def placed(times: int = times) -> None:
            publications = shop.sql(
                "SELECT publications FROM production_order WHERE order_id = %s", (order_id,)
            )
            assert publications == [(times,)], f"instead of {times}"
            assert len(shop.placed_orders(order_id)) == times, "placed orders"

        eventually(placed, within=PATIENCE)
        assert shop.status(order_id) == "published", f"after {times} times"
        make_due(shop)
        run_relay(shop)

    shop.wait_for(order_id, "stuck")
    assert any('"relay"' in line and '"stuck": 1' in line for line in shop.log_lines())
    assert call_back(shop.callback_url(order_id), json={}).json()["stock"] == 50
    assert shop.status(order_id) == "arrived"
    assert shop.stock() == 50
    assert len(shop.placed_orders(order_id)) == 4


def test_concurrent_callbacks_add_stock_once(shop: DeployedShop) -> None:
    shop.factory.respond = accept_without_callback
    callback_url = shop.callback_url(shop.order_more(40))
    responses = at_once(*[lambda: call_back(callback_url, json={})] * 6)
    results = [(response.status_code, response.json()["stock"]) for response in responses]
    assert results == [(200, 50)] * 6
    assert shop.stock() == 50


def test_callback_after_days_is_accepted(shop: DeployedShop) -> None:
    shop.factory.respond = accept_without_callback
    order_id = shop.order_more(40)
    callback_url = shop.callback_url(order_id)
    shop.sql(
        "UPDATE production_order SET requested_at = requested_at - INTERVAL 3 DAY,"
        " published_at = published_at - INTERVAL 3 DAY"
    )
    response = call_back(callback_url, json={})
    assert response.json() == {"message": "입고 완료! 남은 재고: 50", "stock": 50}
    assert shop.status(order_id) == "arrived"
