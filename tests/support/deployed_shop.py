"""The deployed shop as its clients and its factory see it, and its books."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from local.cloud import Cloud
from local.factory import Factory, Order
from tests.support.books import Books
from tests.support.polling import eventually

ANSWERED_WITHIN = 5 + 0.5
"""Seconds: the contract's 5, and half a second for the gateway and the machine."""
PATIENCE = 20
"""Seconds: for a message on its way through the queue, retries included."""


@dataclass(frozen=True, kw_only=True)
class Shop(Books):
    cloud: Cloud
    factory: Factory

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(method, self.cloud.endpoint + path, timeout=10, **options)

    def checkout(
        self, count: object, *, headers: Mapping[str, str | bytes] | None = None, **fields: object
    ) -> requests.Response:
        return self.request(
            "POST",
            "/checkout",
            json={"MessageAttributeProductCnt": count, **fields},
            headers=headers,
        )

    def order_more(self, count: object = 100, **fields: Any) -> str:
        """The id of the production order that a checkout beyond the stock leaves."""
        answer = self.checkout(count, **fields).json()
        assert answer["purchased"] is False
        return str(answer["order_id"])

    def calls(self, order_id: str) -> list[Order]:
        """What the factory was asked under this order's id."""
        return [
            call
            for call in list(self.factory.received)
            if call.headers.get("idempotency-key") == order_id
        ]

    def factory_call(self, order_id: str) -> Order:
        """The first of them, as soon as there is one."""

        def called() -> Order:
            assert self.calls(order_id), f"the factory has not heard of {order_id}"
            return self.calls(order_id)[0]

        return eventually(called, within=PATIENCE)

    def status(self, order_id: str) -> str:
        return str(self.request("GET", f"/order/{order_id}").json()["status"])

    def wait_for(self, order_id: str, status: str = "arrived") -> None:
        def reached() -> None:
            assert self.status(order_id) == status

        eventually(reached, within=PATIENCE)

    def queue_url(self, name: str) -> str:
        return str(self.cloud.client("sqs").get_queue_url(QueueName=f"{name}_local")["QueueUrl"])

    def topic_arn(self) -> str:
        topics = self.cloud.client("sns").list_topics()["Topics"]
        return next(
            topic["TopicArn"]
            for topic in topics
            if topic["TopicArn"].endswith(":stock_empty_local")
        )

    def log_lines(self) -> list[str]:
        """Everything that every function has logged."""
        logs = self.cloud.client("logs")
        groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
        pages = [
            page
            for name in groups
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=name)
        ]
        return [event["message"] for page in pages for event in page["events"]]
