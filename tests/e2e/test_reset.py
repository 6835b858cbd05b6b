"""`make reset` brings the local shop back to the opening state of its catalogue."""

import pytest

from local.factory import accept
from local.processes import LocalError
from migrate import catalogue
from operations.smoke import depth
from tests.support.accidents import run
from tests.support.books import TABLES
from tests.support.deployed_shop import SETTINGS, DeployedShop, call_back
from tests.support.misbehaving import reject

KEY = {"Idempotency-Key": "the same before and after"}


def use(shop: DeployedShop) -> str:
    """Leave something in each table and queue, and return the callback URL of an open order."""
    shop.add_product("bagel", product_id="4b1d6a0e-5b57-4c5c-8f0b-6a2f0f0f0f0f", stock=3)
    shop.set_slots(4)
    shop.set_stock(50)
    assert shop.checkout(3, headers=KEY).json()["stock"] == 47
    shop.factory.respond = reject
    callback_url = shop.callback_url(shop.order_more(100))
    sqs = shop.cloud.client("sqs")
    sqs.send_message(QueueUrl=shop.queue_url("stock_dlq"), MessageBody="an old one")
    return callback_url


def test_reset_brings_back_the_opening_state(shop: DeployedShop) -> None:
    old = use(shop)
    run(shop, "make reset")
    declared = catalogue.load().products
    assert shop.stocks() == {product.slug: product.opening_stock for product in declared}
    assert shop.sql("SELECT kind, amount FROM stock_entry") == [
        ("opening", product.opening_stock) for product in declared
    ]
    for table in TABLES:
        if table != "stock_entry":
            assert shop.sql(f"SELECT * FROM {table}") == [], table
    for queue in ("stock_queue", "stock_dlq"):
        assert depth(shop.cloud.client("sqs"), SETTINGS.queue_name(queue)) == 0, queue
    assert call_back(old).status_code == 403
    assert shop.stock() == 10


def test_shop_works_after_a_reset(shop: DeployedShop) -> None:
    use(shop)
    run(shop, "make reset")
    shop.factory.respond = accept
    assert shop.checkout(1, headers=KEY).json()["stock"] == 9
    shop.wait_for(shop.order_more(20))
    assert shop.stock() == 29
    shop.assert_balanced()
    assert "arrived" in run(shop, "make orders")


def test_reset_that_has_to_wait_for_the_database_says_so(shop: DeployedShop) -> None:
    """As in a transaction that somebody has left open in `make mysql`."""
    with shop.owner() as connection, connection.cursor() as cursor:
        connection.begin()
        cursor.execute("SELECT * FROM product")
        with pytest.raises(LocalError, match="make mysql"):
            shop.cloud.reset()
    assert shop.stock() == 10
