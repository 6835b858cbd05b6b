"""Outages of one part at a time: nobody is called, and everything arrives."""

import threading
from itertools import count

import pytest
import requests

from local.emulator.faults import Fault
from local.factory import Answer, Order
from tests.support.accidents import database_killed, kill_database, make_due, run_relay
from tests.support.concurrency import at_once
from tests.support.deployed_shop import ANSWERED_WITHIN, PATIENCE, Shop
from tests.support.misbehaving import MISBEHAVIOURS, misbehaving
from tests.support.polling import eventually

UNAVAILABLE = {"message": "데이터베이스 연결 오류"}
RESTART_SECONDS = 0.3
"""A killed database is away for longer. A checkout with a key that it interrupts is sent again, and may succeed."""


def hold_back(order: Order) -> Answer:
    """A factory that takes orders and delivers nothing."""
    return Answer(deliver=False)


def deliver(callback_url: str) -> requests.Response:
    return requests.post(callback_url, json={}, timeout=10)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(service="sns", action="Publish", status=503),
        Fault(service="sns", action="Publish", status=503, delay=10),
    ],
    ids=["refuses", "hangs"],
)
def test_a_shortage_is_answered_in_time_while_the_topic_does_not_take_it(
    shop: Shop, fault: Fault
) -> None:
    with shop.cloud.faults(fault):
        answer = shop.checkout(40)
        order_id = answer.json().get("order_id")
        assert answer.json() == {
            "message": "구매 실패! 남은 재고: 10",
            "purchased": False,
            "stock": 10,
            "order_id": order_id,
        }
        assert answer.elapsed.total_seconds() < 3
        make_due(shop)
        run_relay(shop)
        assert shop.status(order_id) == "requested"
        assert not shop.calls(order_id)
    make_due(shop)
    run_relay(shop)
    shop.wait_for(order_id)
    assert shop.stock() == 50


def test_a_notification_that_goes_out_unnoticed_counts_once(shop: Shop) -> None:
    with shop.cloud.faults(Fault(service="sns", action="Publish", delay=1.5, count=1)):
        order_id = shop.order_more(40)
        make_due(shop)
        run_relay(shop)

    def delivered_twice() -> None:
        assert [call.callback_status for call in shop.calls(order_id)] == [200, 200]

    eventually(delivered_twice, within=PATIENCE)
    assert shop.stock() == 50


def test_a_database_killed_under_load_leaves_true_answers_and_balanced_books(shop: Shop) -> None:
    shop.set_stock(1000)
    restarted, numbers = threading.Event(), count()
    answers: dict[str, dict[str, object]] = {}
    interrupted: list[str] = []

    def buy(key: str) -> requests.Response:
        return shop.checkout(7, headers={"Idempotency-Key": key})

    def shop_on() -> None:
        last = False
        while not last:
            last = restarted.is_set()
            key = f"under load {next(numbers)}"
            answer = buy(key)
            answers[key] = answer.json()
            if answers[key] == UNAVAILABLE or answer.elapsed.total_seconds() > RESTART_SECONDS:
                interrupted.append(key)
            assert answer.status_code == 200 or (answer.status_code, answer.json()) == (
                503,
                UNAVAILABLE,
            )
            assert answer.status_code == 200 or int(answer.headers["retry-after"]) > 0
            assert answer.elapsed.total_seconds() < ANSWERED_WITHIN

    def restart() -> None:
        try:
            for _ in range(2):
                known = len(answers)

                def selling(known: int = known) -> None:
                    assert len(answers) > known + 10

                eventually(selling, within=PATIENCE)
                kill_database(shop)
                shop.cloud.database.start()
        finally:
            restarted.set()

    at_once(restart, *[shop_on] * 6)
    assert interrupted, "it was killed between requests only"
    true_answers = {key: buy(key).json() for key in answers}
    assert {
        key: answer
        for key, answer in answers.items()
        if answer not in (UNAVAILABLE, true_answers[key])
    } == {}
    bought = [answer for answer in true_answers.values() if answer["purchased"]]
    ordered = {answer["order_id"] for answer in true_answers.values() if not answer["purchased"]}
    assert len(shop.ledger()) == len(bought)
    assert {order_id for order_id, _, _ in shop.orders()} == ordered

    make_due(shop)
    run_relay(shop)
    for order_id in ordered:
        shop.wait_for(order_id)
    assert shop.stock() == 1000 + 7 * len(ordered) - 7 * len(bought)


def test_a_delivery_that_finds_the_database_down_is_asked_for_again(shop: Shop) -> None:
    shop.factory.answer = hold_back
    order_id = shop.order_more(40)
    callback = shop.factory_call(order_id).payload["CallbackUrl"]
    with database_killed(shop):
        answer = deliver(callback)
        assert (answer.status_code, answer.json()) == (503, UNAVAILABLE)
        assert answer.elapsed.total_seconds() < ANSWERED_WITHIN
    assert (shop.status(order_id), shop.stock()) == ("published", 10)

    shop.factory.answer = lambda order: Answer()
    make_due(shop)
    run_relay(shop)
    shop.wait_for(order_id)
    assert len(shop.calls(order_id)) == 2
    assert shop.stock() == 50


def test_a_factory_that_never_delivers_is_asked_four_times_and_a_late_delivery_is_welcome(
    shop: Shop,
) -> None:
    shop.factory.answer = hold_back
    order_id = shop.order_more(40)
    for times in range(1, 5):

        def asked(times: int = times) -> None:
            published = shop.sql(
                "SELECT publications FROM production_order WHERE order_id = %s", (order_id,)
            )
            assert (published, len(shop.calls(order_id))) == ([(times,)], times)

        eventually(asked, within=PATIENCE)
        assert shop.status(order_id) == "published"
        make_due(shop)
        run_relay(shop)

    shop.wait_for(order_id, "stuck")
    assert any('"relay"' in line and '"stuck": 1' in line for line in shop.log_lines())
    assert deliver(shop.calls(order_id)[0].payload["CallbackUrl"]).json()["stock"] == 50
    assert (shop.status(order_id), shop.stock()) == ("arrived", 50)
    assert len(shop.calls(order_id)) == 4


def test_deliveries_at_once_count_once(shop: Shop) -> None:
    shop.factory.answer = hold_back
    callback = shop.factory_call(shop.order_more(40)).payload["CallbackUrl"]
    answers = at_once(*[lambda: deliver(callback)] * 6)
    assert [(answer.status_code, answer.json()["stock"]) for answer in answers] == [(200, 50)] * 6
    assert shop.stock() == 50


def test_a_delivery_after_days_is_welcome(shop: Shop) -> None:
    shop.factory.answer = hold_back
    order_id = shop.order_more(40)
    callback = shop.factory_call(order_id).payload["CallbackUrl"]
    shop.sql(
        "UPDATE production_order SET requested_at = requested_at - INTERVAL 3 DAY,"
        " published_at = published_at - INTERVAL 3 DAY"
    )
    assert deliver(callback).json() == {"message": "입고 완료! 남은 재고: 50", "stock": 50}
    assert shop.status(order_id) == "arrived"


def test_whatever_the_factory_does_an_order_is_tried_again_later_each_time_and_arrives(
    shop: Shop,
) -> None:
    with misbehaving(shop.factory, times=2) as tries:
        for name in MISBEHAVIOURS:
            shop.order_more(40, MessageAttributeFactoryId=name)

        def all_arrived() -> None:
            assert [status for _, status, _ in shop.orders()] == ["arrived"] * len(MISBEHAVIOURS)

        eventually(all_arrived, within=2 * PATIENCE)
    for name, times in tries.items():
        first, second, third = times
        assert (second - first > 1, third - second > 2) == (True, True), name
    assert shop.stock() == 10 + 40 * len(MISBEHAVIOURS)
