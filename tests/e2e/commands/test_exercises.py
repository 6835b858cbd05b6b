"""The commands of docs/exercises.ko.md show what the answers there say.

Exercise 2 deploys another factory, for which `make redrive` is in test_runbook.py. Exercise 6 edits
the project's files, for which tests/integration/test_migrations.py has a copy.
"""

import re

import pytest

from local.factory import accept
from local.polling import eventually
from tests.support.accidents import database_process, make_due, run, run_relay
from tests.support.deployed_shop import PATIENCE, DeployedShop
from tests.support.documentation import commands, sections
from tests.support.misbehaving import accept_without_callback

EXERCISES = {
    heading.partition(".")[0]: commands(text)
    for heading, text in sections("docs/exercises.ko.md").items()
}


def follow(shop: DeployedShop, command: str, *, order_id: str = "") -> str:
    """Run a command of the sheet on this cloud, whose factory is in this process."""
    factory_port = "$(cat .local/ports/factory)"
    command = command.replace(factory_port, str(shop.factory.port)).replace("…", order_id)
    return run(shop, command.replace(".local/", f"{shop.cloud.directory}/"))


def order_id_in(response: str) -> str:
    (order_id,) = re.findall(r'"order_id": "([^"]+)"', response)
    return str(order_id)


def balanced(books: str) -> bool:
    """Return whether the last line of `make books` ends with no difference."""
    return books.splitlines()[-1].split()[-1] == "0"


def test_one_of_twenty_customers_buys_the_last_donut(shop: DeployedShop) -> None:
    count, rush, orders, books = EXERCISES["1"]
    shop.factory.respond = accept_without_callback  # nothing arrives before the last customer

    def everybody_is_served() -> None:
        """On a slow machine some wait for too long. The sheet then says to begin again."""
        shop.clear(stock=10)
        follow(shop, count)
        counted = {" ".join(line.split()) for line in follow(shop, rush).splitlines()}
        if "1 구매 완료!" not in counted:
            pytest.fail(f"{counted}")
        assert counted == {"19 구매 실패!", "1 구매 완료!"}

    eventually(everybody_is_served, within=PATIENCE)
    shop.factory.respond = accept

    def arrived() -> None:
        make_due(shop)
        run_relay(shop)
        assert re.search(r"^arrived +19 +19 ", follow(shop, orders), re.MULTILINE)

    eventually(arrived, within=PATIENCE)
    assert balanced(follow(shop, books))
    assert shop.stock() == 19


def test_order_waits_while_sns_rejects(shop: DeployedShop) -> None:
    count, reject, buy, look, orders, heal, trace = EXERCISES["3"]
    follow(shop, count)
    follow(shop, reject)
    try:
        order_id = order_id_in(follow(shop, buy))
        assert '"status": "requested"' in follow(shop, look, order_id=order_id)
        assert order_id in follow(shop, orders)
    finally:
        follow(shop, heal)
    make_due(shop)
    run_relay(shop)
    shop.wait_for(order_id)
    traced = follow(shop, trace, order_id=order_id)
    assert re.search(r"sales +WARNING +left to the relay", traced)
    assert re.search(r"relay +INFO +published", traced)


def test_key_is_sold_once_after_the_database_was_killed(shop: DeployedShop) -> None:
    count, kill, during, up, first, again, other, books = EXERCISES["4"]
    assert up == "make up"
    follow(shop, count)
    database = database_process(shop)
    follow(shop, kill)
    database.wait(timeout=PATIENCE)
    try:
        response = follow(shop, during)
    finally:
        shop.cloud.database.start()
    assert re.search(r"오류.*\n503 [0-4]\.\d+s\n", response)
    sold = follow(shop, first)
    assert sold == '{"message": "구매 완료! 남은 재고: 7", "purchased": true, "stock": 7}'
    assert follow(shop, again) == sold
    assert "다른 요청" in follow(shop, other)
    assert balanced(follow(shop, books))


def test_forged_and_repeated_callbacks_add_nothing(shop: DeployedShop) -> None:
    count, buy, wrong_token, no_token, steal, repeat, books, trace = EXERCISES["5"]
    follow(shop, count)
    order_id = order_id_in(follow(shop, buy))
    for forged in (wrong_token, no_token):
        response = follow(shop, forged, order_id=order_id)
        assert response == '{"message": "입고 권한이 없습니다"}', forged
    shop.wait_for(order_id)
    assert follow(shop, f"{steal}; {repeat}") == (
        '{"message": "입고 완료! 남은 재고: 60", "stock": 60}'
    )
    assert balanced(follow(shop, books))
    traced = follow(shop, trace, order_id=order_id)
    for line in ("callback rejected", "added=true", "added=false"):
        assert line in traced, line
