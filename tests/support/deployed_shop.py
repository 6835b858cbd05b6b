"""A deployed shop, as its clients and its factory see it, and its tables."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from local.cloud import Cloud
from local.factory import Factory, Order
from local.polling import eventually
from settings import ENVIRONMENTS
from tests.support.books import Books

SETTINGS = ENVIRONMENTS["local"]
RESPONDS_WITHIN = 5 + 0.5
"""Seconds: 5 by the contract, and half a second for the gateway and the machine."""
PATIENCE = 20
"""Seconds that a message may take through the queue, retries included."""
CONTENT_TYPE = "application/json; charset=utf-8"
UNAVAILABLE = {"message": "데이터베이스 연결 오류"}
"""The body of a function's response with status 503."""
THROTTLED = {"message": "Service Unavailable"}
"""The body of the gateway's own response with status 503: no function was free to take the request."""
LOG_EVENTS_LIMIT = 10_000
"""The emulator returns the oldest events up to this number, and no token for the next page."""


def call_back(callback_url: str, **options: Any) -> requests.Response:
    """Call back as the factory does when an order is ready."""
    return requests.post(callback_url, timeout=10, **options)


@dataclass(frozen=True, kw_only=True)
class DeployedShop(Books):
    """A shop that is deployed to a local cloud, and whose factory is in the tests' own process."""

    cloud: Cloud
    factory: Factory
    began: float = field(default_factory=time.time)
    """Seconds since the epoch."""

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request to the API."""
        return requests.request(method, self.cloud.endpoint + path, timeout=10, **options)

    def checkout(
        self,
        quantity: object,
        *,
        headers: Mapping[str, str | bytes] | None = None,
        **fields: object,
    ) -> requests.Response:
        """Request a purchase. fields: further fields of the body."""
        body = {"MessageAttributeProductCnt": quantity, **fields}
        return self.request("POST", "/checkout", json=body, headers=headers)

    def order_more(self, quantity: object = 100, **fields: Any) -> str:
        """Request more than the stock, and return the id of the resulting production order."""
        checkout = self.checkout(quantity, **fields).json()
        assert checkout["purchased"] is False
        return str(checkout["order_id"])

    def placed_orders(self, order_id: str) -> list[Order]:
        """Return what the factory has received under this order's id, in its order."""
        received = list(self.factory.received)
        return [order for order in received if order.headers.get("idempotency-key") == order_id]

    def placed_order(self, order_id: str) -> Order:
        """Wait until the factory has received the order, and return it as it was first received."""

        def first() -> Order:
            assert self.placed_orders(order_id), f"the factory has not received {order_id}"
            return self.placed_orders(order_id)[0]

        return eventually(first, within=PATIENCE)

    def callback_url(self, order_id: str) -> str:
        """Wait until the factory has received the order, and return its CallbackUrl."""
        return str(self.placed_order(order_id).payload["CallbackUrl"])

    def wait_for_two_callbacks(self, order_id: str) -> None:
        """Wait until the order was placed twice, and both callbacks were accepted."""

        def two_callbacks() -> None:
            assert [order.callback_status for order in self.placed_orders(order_id)] == [200, 200]

        eventually(two_callbacks, within=PATIENCE)

    def status(self, order_id: str) -> str:
        """Return the order's status, from the API."""
        return str(self.request("GET", f"/order/{order_id}").json()["status"])

    def wait_for(self, order_id: str, status: str = "arrived") -> None:
        """Wait until the order has this status."""

        def reached() -> None:
            assert self.status(order_id) == status

        eventually(reached, within=PATIENCE)

    def queue_url(self, name: str) -> str:
        """Return a queue's URL. name: stock_queue or stock_dlq."""
        queue = self.cloud.client("sqs").get_queue_url(QueueName=SETTINGS.queue_name(name))
        return str(queue["QueueUrl"])

    def topic_arn(self) -> str:
        """Return the ARN of the topic stock_empty."""
        topics = self.cloud.client("sns").list_topics()["Topics"]
        ending = f":{SETTINGS.topic_name('stock_empty')}"
        return next(topic["TopicArn"] for topic in topics if topic["TopicArn"].endswith(ending))

    def invoke(self, function: str) -> None:
        """Invoke a function with an empty event, and expect it to succeed. function: its folder."""
        response = self.cloud.client("lambda").invoke(
            FunctionName=SETTINGS.function_name(function), Payload=b"{}"
        )
        assert "FunctionError" not in response, response["Payload"].read()

    def log_lines(self) -> list[str]:
        """Return everything that all functions have logged since the test began."""
        logs = self.cloud.client("logs")
        lines = []
        for group in logs.describe_log_groups()["logGroups"]:
            events = logs.filter_log_events(
                logGroupName=group["logGroupName"], startTime=int(self.began * 1000)
            )["events"]
            assert len(events) < LOG_EVENTS_LIMIT, f"later lines of {group['logGroupName']}"
            lines += [event["message"] for event in events]
        return lines

    def wait_until_not_placed(self, order_id: str) -> None:
        """Wait until the consumer has logged that it could not place the order."""

        def not_placed() -> None:
            lines = [line for line in self.log_lines() if '"not placed"' in line]
            assert any(order_id in line for line in lines), f"no attempt to place {order_id} failed"

        eventually(not_placed, within=PATIENCE)
