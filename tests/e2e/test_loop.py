"""The shop's loop when nothing fails: checkout, production order, callback and new stock."""

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from local.polling import eventually
from migrate import catalogue
from tests.support.books import as_returned
from tests.support.deployed_shop import CONTENT_TYPE, PATIENCE, DeployedShop, call_back
from tests.support.misbehaving import accept_without_callback
from tests.support.notifications import attributes


def callback_token(shop: DeployedShop, order_id: str) -> str:
    (token,) = parse_qs(urlsplit(shop.callback_url(order_id)).query)["token"]
    return token


def test_product_is_returned_with_its_stock(shop: DeployedShop) -> None:
    response = shop.request("GET", "/product/donut")
    (donut,) = [each for each in catalogue.load().products if each.slug == "donut"]
    assert response.status_code == 200
    assert response.headers["content-type"] == CONTENT_TYPE
    assert response.json() == as_returned(donut, stock=10)


@pytest.mark.parametrize("quantity", [3, "3"])
def test_checkout_takes_from_the_stock(shop: DeployedShop, quantity: object) -> None:
    response = shop.checkout(quantity, requester="홍길동")
    assert response.status_code == 200
    assert response.json() == {"message": "구매 완료! 남은 재고: 7", "purchased": True, "stock": 7}
    assert shop.request("GET", "/product/donut").json()["stock"] == 7
    assert shop.purchases() == [(3, "홍길동")]


def test_out_of_stock_checkout_places_an_order_at_the_factory(shop: DeployedShop) -> None:
    shop.factory.respond = accept_without_callback
    shop.checkout(10)
    response = shop.checkout("7", requester="홍길동", MessageAttributeFactoryId="FF-1")
    order_id = response.json()["order_id"]
    assert response.json() == {
        "message": "구매 실패! 남은 재고: 0",
        "purchased": False,
        "stock": 0,
        "order_id": order_id,
    }

    payload = shop.placed_order(order_id).payload
    callback = urlsplit(payload.pop("CallbackUrl"))
    query = parse_qs(callback.query, strict_parsing=True)
    assert payload == {
        "MessageGroupId": "stock-arrival-group",
        "MessageAttributeProductId": shop.request("GET", "/product/donut").json()["product_id"],
        "MessageAttributeProductCnt": "7",
        "MessageAttributeFactoryId": "FF-1",
        "MessageAttributeRequester": "홍길동",
    }
    url = f"{callback.scheme}://{callback.netloc}{callback.path}"
    assert url == f"{shop.cloud.endpoint}/product/donut"
    assert query.keys() == {"order", "token"}
    assert query["order"] == [order_id]
    assert len(query["token"][0]) >= 22, "fewer than 128 bits"


def test_factory_and_requester_have_defaults(shop: DeployedShop) -> None:
    order_id = shop.order_more(requester=None, MessageAttributeFactoryId="")
    payload = shop.placed_order(order_id).payload
    assert payload["MessageAttributeFactoryId"] == "FF-500293"
    assert payload["MessageAttributeRequester"] == "unknown"


def test_notification_is_that_of_the_contract(shop: DeployedShop) -> None:
    sqs, sns = shop.cloud.client("sqs"), shop.cloud.client("sns")
    anybody = {
        "Statement": {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "sqs:SendMessage",
            "Resource": "*",
        }
    }
    queue = sqs.create_queue(
        QueueName="second_subscriber", Attributes={"Policy": json.dumps(anybody)}
    )["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    subscription = sns.subscribe(TopicArn=shop.topic_arn(), Protocol="sqs", Endpoint=arn)[
        "SubscriptionArn"
    ]
    order_id = shop.order_more(40, requester="홍길동")
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    sns.unsubscribe(SubscriptionArn=subscription)
    sqs.delete_queue(QueueUrl=queue)

    notification = json.loads(message["Body"])
    text, _, _time = notification["Message"].rpartition(" ")
    assert notification["Subject"] == "도너츠 재고 부족"
    assert text == "도너츠 재고가 없습니다. 제품을 생산해주세요! \n메시지 작성 시각:"
    assert notification["MessageAttributes"] == {
        name: {"Type": "String", "Value": value}
        for name, value in attributes(shop, order_id).items()
    }


def test_order_is_returned_with_its_status_and_times(shop: DeployedShop) -> None:
    shop.factory.respond = accept_without_callback
    order_id = shop.order_more(40, requester="홍길동")
    shop.wait_for(order_id, "published")
    placed = shop.placed_order(order_id)
    call_back(placed.payload["CallbackUrl"], json=placed.payload)

    order = shop.request("GET", f"/order/{order_id}").json()
    times = [order.pop(name) for name in ("requested_at", "published_at", "arrived_at")]
    assert order == {
        "order_id": order_id,
        "status": "arrived",
        "sku": "CP-502101",
        "quantity": 40,
    }
    assert times == sorted(times)


def test_callback_adds_the_quantity_of_the_order_once(shop: DeployedShop) -> None:
    shop.factory.respond = accept_without_callback
    callback_url = shop.callback_url(shop.order_more(40))
    other_quantity = {"MessageAttributeProductCnt": "1000000", "quantity": 1000000}

    first = call_back(callback_url, json=other_quantity)
    assert first.status_code == 200
    assert first.headers["content-type"] == CONTENT_TYPE
    assert first.json() == {"message": "입고 완료! 남은 재고: 50", "stock": 50}

    shop.checkout(30)
    repeat = call_back(callback_url, data=b"\xff not JSON")
    assert repeat.status_code == 200
    assert repeat.json() == {"message": "입고 완료! 남은 재고: 20", "stock": 20}
    assert shop.stock() == 20


def test_callback_without_the_token_of_the_order_is_rejected(shop: DeployedShop) -> None:
    shop.factory.respond = accept_without_callback
    shop.add_product("bagel", product_id="bagel-id", stock=5)
    order_id, other_id = shop.order_more(40), shop.order_more(50)
    token = callback_token(shop, order_id)

    for path in (
        "/product/donut",
        f"/product/donut?order={order_id}",
        f"/product/donut?token={token}",
        f"/product/donut?order={order_id}&token=",
        f"/product/donut?order={order_id}&token={order_id}",
        f"/product/donut?order={order_id}&token={token[:-1]}",
        f"/product/donut?order={order_id}&token={token}x",
        f"/product/donut?order={order_id}&token={token.swapcase()}",
        f"/product/donut?order={order_id}&token={token}&token={token}",
        f"/product/donut?order={order_id}&token=%ED%99%8D",
        f"/product/donut?order={other_id}&token={token}",
        f"/product/donut?order=no-such-order&token={token}",
        f"/product/donut?order=%25&token={token}",
        f"/product/bagel?order={order_id}&token={token}",
        f"/product/nothing?order={order_id}&token={token}",
        f"/product/DONUT?order={order_id}&token={token}",
    ):
        response = shop.request("POST", path, json={"MessageAttributeProductCnt": "40"})
        assert response.status_code == 403, path
        assert response.json() == {"message": "입고 권한이 없습니다"}, path
        assert response.headers["content-type"] == CONTENT_TYPE, path
    assert shop.stocks() == {"bagel": 5, "donut": 10}
    assert [status for _, status, _ in shop.orders()] == ["published", "published"]


def test_repeat_with_an_idempotency_key_buys_once(shop: DeployedShop) -> None:
    key = {"Idempotency-Key": "a key, 1"}
    first = shop.checkout(3, headers=key)
    shop.checkout(2)
    repeat = shop.checkout("3", headers=key)
    assert repeat.status_code == 200
    assert repeat.json() == first.json()
    assert shop.checkout(4, headers=key).status_code == 422
    assert shop.purchases() == [(3, "unknown"), (2, "unknown")]


def test_repeat_with_an_idempotency_key_orders_once(shop: DeployedShop) -> None:
    key = {"Idempotency-Key": "a key, 2"}
    first = shop.checkout(40, headers=key)
    shop.wait_for(first.json()["order_id"])
    repeat = shop.checkout(40, headers=key)
    assert repeat.status_code == 200
    assert repeat.json() == first.json()
    assert shop.orders() == [(first.json()["order_id"], "arrived", 40)]


TEXTS = [
    "홍길동 🍩 👩‍🍳",
    "'); DROP TABLE product; -- \\'\"",
    "<b>&amp;%s{0}\n두 줄\t탭",
    "홍" * 200,
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_reaches_the_factory_unchanged(shop: DeployedShop, text: str) -> None:
    order_id = shop.order_more(requester=text, MessageAttributeFactoryId=text)
    payload = shop.placed_order(order_id).payload
    assert payload["MessageAttributeRequester"] == text
    assert payload["MessageAttributeFactoryId"] == text


def test_logs_hold_the_order_id_and_neither_token_nor_requester(shop: DeployedShop) -> None:
    order_id = shop.order_more(40, requester="비밀의 구매자")
    shop.wait_for(order_id)
    token = callback_token(shop, order_id)

    def lines_of_every_function() -> list[str]:
        lines = shop.log_lines()
        of_order = [line for line in lines if order_id in line]
        for message in ("checkout", "placed", "restock"):
            assert any(f'"message": "{message}"' in line for line in of_order), message
        return lines

    text = "\n".join(eventually(lines_of_every_function, within=PATIENCE))
    assert token not in text
    assert "비밀" not in text
    assert "\\ube44\\ubc00" not in text
