"""The shop in a local cloud, as its customers, its factory and its operators see it."""

import json
import secrets
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from http.client import HTTPException
from typing import Any, NamedTuple

import pymysql

from local import breakage
from local.cloud import Cloud
from local.factory import DIRECTLY
from local.polling import eventually
from local.processes import LocalError
from operations.operate import OperateFunction
from operations.redrive import DeadLetters, redrive
from operations.smoke import ShopApi, depth
from settings import ENVIRONMENTS, Settings

SETTINGS = ENVIRONMENTS["local"]
PRODUCT = "donut"
OPERATOR = "console"
"""Who corrects the stock, in the books."""
PATIENCE = 150.0
"""Seconds that an order may take on its way. After a failure, the relay waits for a minute."""
QUERY_SECONDS = 30
"""Seconds that a statement may take."""


class Checkout(NamedTuple):
    """The response to a checkout."""

    status: int
    body: dict[str, Any]
    seconds: float

    @property
    def purchased(self) -> bool:
        return self.status == 200 and self.body["purchased"]


def check_out(
    api: ShopApi,
    quantity: int,
    *,
    requester: str,
    key: str | None = None,
    product_id: str | None = None,
) -> Checkout:
    """Check out. key: the Idempotency-Key. product_id: None stands for the donut.

    Raises OSError and ValueError if there is no response with a JSON object.
    """
    body: dict[str, object] = {"MessageAttributeProductCnt": quantity, "requester": requester}
    if product_id:
        body["MessageAttributeProductId"] = product_id
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    began = time.monotonic()
    status, response = api.call("POST", "/checkout", body, headers)
    return Checkout(status, response, time.monotonic() - began)


def redrive_all(sqs: Any, settings: Settings) -> tuple[int, int]:
    """Move the dead-letter queue's orders back to the queue.

    Return their number, and how many other messages have stayed.
    """
    source, target = (
        sqs.get_queue_url(QueueName=settings.queue_name(name))["QueueUrl"]
        for name in ("stock_dlq", "stock_queue")
    )
    with DeadLetters(sqs, source) as dead_letters:
        moved, others = redrive(dead_letters, target_url=target)
    return moved, len(others)


class Shop:
    """A shop that runs in a local cloud.

    Its methods raise AssertionError if what they wait for does not happen, and the errors of the
    interfaces that they use.
    """

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.breakages = breakage.breakages(cloud)
        self._orders_at_factory = f"{breakage.deployed_factory_url(cloud)}/"
        self._api = ShopApi(cloud.endpoint, open=DIRECTLY.open)
        self._operate = OperateFunction(cloud.client("lambda"), SETTINGS, claimed_by=OPERATOR)
        self._sqs = cloud.client("sqs")

    # --- a customer ---

    def stock(self) -> int:
        """Return the stock that customers see."""
        return self._api.stock()

    def buy(self, quantity: int, *, requester: str, key: str | None = None) -> Checkout:
        """Check out. key: the Idempotency-Key."""
        return check_out(self._api, quantity, requester=requester, key=key)

    def buy_until_decided(self, quantity: int, *, requester: str, key: str) -> Checkout:
        """Check out, and repeat it with the same key until the shop decides. Return its decision."""

        def decided() -> Checkout:
            checkout = self.buy(quantity, requester=requester, key=key)
            assert checkout.status == 200, f"the checkout with the key {key} returned {checkout}"
            return checkout

        return eventually(decided, within=PATIENCE)

    def order_more(self, quantity: int, *, requester: str) -> str:
        """Check out more than the stock, and return the id of the production order."""
        checkout = self.buy(quantity, requester=requester)
        assert checkout.status == 200, checkout
        assert not checkout.purchased, f"{quantity} were in stock"
        return str(checkout.body["order_id"])

    def look(self, visitors: int) -> None:
        """Let this many customers look at the product at the same time."""
        with ThreadPoolExecutor(visitors) as pool:
            list(pool.map(lambda _: self._api.call("GET", f"/product/{PRODUCT}"), range(visitors)))

    def rush(self, buyers: int, *, requester: str) -> list[Checkout]:
        """Let this many customers buy one piece each at the same time. Each has a key."""
        with ThreadPoolExecutor(buyers) as pool:
            return list(
                pool.map(
                    lambda key: self.buy_until_decided(1, requester=requester, key=key),
                    [str(uuid.uuid4()) for _ in range(buyers)],
                )
            )

    def status(self, order_id: str) -> str:
        """Return a production order's status."""
        code, order = self._api.call("GET", f"/order/{order_id}")
        assert code == 200, f"GET /order returns {code}"
        return str(order["status"])

    def wait_until_arrived(self, *order_ids: str) -> None:
        """Wait until the production orders have arrived.

        Those that are left to the relay do not wait for its next minute: it is run now.
        """
        waiting = list(order_ids)

        def all_arrived() -> None:
            while waiting:
                status = self.status(waiting[0])
                if status == "requested":
                    self.run_relay()
                assert status == "arrived", f"order {waiting[0]} is {status}"
                waiting.pop(0)

        eventually(all_arrived, within=PATIENCE)

    # --- the factory ---

    def placed(self, order_id: str) -> list[dict[str, Any]]:
        """Wait until the factory has received the order.

        Return it as the factory lists it, once for each time it was received.
        """

        def listed() -> list[dict[str, Any]]:
            with DIRECTLY.open(self._orders_at_factory, timeout=10) as response:
                orders = json.load(response)
            found = [each for each in orders if each["headers"].get("idempotency-key") == order_id]
            assert found, f"the factory has not received order {order_id}"
            return found

        return eventually(listed, within=PATIENCE)

    def call_back(self, path: str) -> int:
        """Call back, as the factory does or as somebody who forges it. Return the status."""
        status, _ = self._api.call("POST", path, {})
        return status

    def forge_callback(self) -> tuple[int, dict[str, Any]]:
        """Call back with a wrong token for the newest order, and return what the shop responds.

        If there is no order, or no database, the order is an unknown one.
        """
        order_id = str(uuid.uuid4())
        with (
            suppress(pymysql.MySQLError),
            self.database() as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "SELECT order_id FROM production_order ORDER BY requested_at DESC LIMIT 1"
            )
            if row := cursor.fetchone():
                order_id = str(row[0])
        token = secrets.token_urlsafe(24)
        return self._api.call("POST", f"/product/{PRODUCT}?order={order_id}&token={token}", {})

    # --- an operator ---

    def books(self) -> list[dict[str, Any]]:
        """Return the line of each product, from `make books`."""
        (table,) = self._operate.invoke("books")
        return list(table["rows"])

    def count_stock(self, count: int, *, reason: str = "a story") -> None:
        """Set the stock by a stocktake, which the books record."""
        self._operate.change("stocktake", slug=PRODUCT, count=count, reason=reason)

    def dead_letters(self) -> int:
        """Return how many messages the dead-letter queue holds."""
        return depth(self._sqs, SETTINGS.queue_name("stock_dlq"))

    def redrive(self) -> int:
        """Move the dead-letter queue's orders back to the queue. Return their number."""
        moved, _ = redrive_all(self._sqs, SETTINGS)
        return moved

    def send_poison(self) -> str:
        """Send a message that is not an order to the queue, and return the message's id."""
        name = SETTINGS.queue_name("stock_queue")
        queue = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
        sent = self._sqs.send_message(QueueUrl=queue, MessageBody="This is not an order.")
        return str(sent["MessageId"])

    def run_relay(self) -> None:
        """Run the relay now."""
        self.cloud.client("lambda").invoke(FunctionName=SETTINGS.function_name("relay"))

    def purchases(self, requester: str) -> list[int]:
        """Return the quantity of each purchase of this requester."""
        with self.database() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT quantity FROM purchase WHERE requester = %s", (requester,))
            return [int(quantity) for (quantity,) in cursor.fetchall()]

    def database(self) -> pymysql.Connection:
        """Connect to the database as its owner, in autocommit mode."""
        return pymysql.connect(
            read_default_file=str(self.cloud.mysql_cnf),
            database="shop",
            charset="utf8mb4",
            autocommit=True,
            ssl_disabled=True,
            read_timeout=QUERY_SECONDS,
        )

    # --- what goes wrong ---

    def has_local_factory(self) -> bool:
        """Return whether the shop's factory is the local one. No other one can be broken."""
        try:
            self.breakages["factory_off"].remaining()
        except (LocalError, HTTPException):
            return False
        return True

    def broken(self, name: str) -> AbstractContextManager[None]:
        """Break something during the block."""
        return breakage.broken(self.breakages[name])

    def heal(self) -> None:
        """End everything that is broken."""
        for each in self.breakages.values():
            each.end()
