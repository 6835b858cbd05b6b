"""Check a deployed shop from end to end: checkout, outbox, SNS, queue, consumer, factory, callback.

Where orders are not real, order more than the stock and follow the order until it arrives. In prod,
order nothing unless `--order` is given; check the relay's metric and the dead-letter queue instead.
An error message names the hop that failed, as far as it is visible from outside.
"""

import argparse
import http.client
import json
import secrets
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from operations import aws
from settings import ENVIRONMENTS, Settings

T = TypeVar("T")

REQUESTER = "smoke"
AWAKE_WITHIN = 60
"""Seconds until the first response, which may have to wait for a cold start."""
ARRIVES_WITHIN = {"local": 60.0}
ARRIVES_WITHIN_ON_AWS = 300.0
"""Seconds. The factory takes one minute, and an order that sales did not publish up to two more."""
METRIC_WITHIN = 300.0
"""Seconds until CloudWatch has the metric of a run of the relay.

The next full minute begins within one minute, the run is a minute later at most, and CloudWatch may
be minutes late.
"""
PAUSE = 1.0
"""Seconds between two attempts."""
TIMEOUT = 10
"""Seconds per request."""
TRIES = 3
"""Attempts to order more than the stock, which may grow in between."""

QUEUE_DEPTH = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class Failed(Exception):
    """The shop does not work. The text names the hop, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A production order, with the checkout that it comes from."""

    order_id: str
    quantity: int
    key: str
    response: dict[str, Any]


@dataclass(frozen=True)
class Shop:
    """The HTTP API of a deployed shop."""

    url: str
    open: Callable[..., Any] = urllib.request.urlopen

    def call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send a request, and return the response's status and JSON.

        Raises OSError, and ValueError if the response is not a JSON object.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        try:
            with self.open(request, timeout=TIMEOUT) as response:
                status, content = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        except http.client.HTTPException as error:
            raise OSError(f"no complete response: {error!r}") from error
        value = json.loads(content)
        if not isinstance(value, dict):
            raise ValueError(f"{value!r} is not an object")
        return status, value

    def stock(self) -> int:
        """Return the product's stock. Raises Failed, OSError and ValueError."""
        status, product = self.call("GET", "/product/donut")
        stock = product.get("stock")
        if status != 200:
            raise Failed(f"GET /product/donut returns {status}")
        if not isinstance(stock, int) or stock < 0:
            raise Failed(f"GET /product/donut returns no stock: {product}")
        return stock


def wait_until_awake(shop: Shop, *, within: float) -> int:
    """Wait until the shop responds, and return the stock. Raises Failed with the last problem."""
    return _tried(shop.stock, hop="API → sales → database", within=within)


def buy_surplus(shop: Shop, *, stock: int, max_quantity: int) -> None:
    """Buy max_quantity, repeatedly if needed, if no order could exceed the stock. Raises Failed.

    The order of a test that failed may arrive after it, and then nobody buys what it adds. After
    some failures in a row the stock is above max_quantity.
    """
    for _ in range(min(TRIES, stock // max_quantity)):
        _checkout(shop, quantity=max_quantity, key=str(uuid.uuid4()))


def place_order(shop: Shop, *, max_quantity: int) -> Order:
    """Ask for one more than the stock. Raises Failed, also if that is above max_quantity."""
    for _ in range(TRIES):
        quantity = wait_until_awake(shop, within=TIMEOUT) + 1
        if quantity > max_quantity:
            raise Failed(
                f"nothing was ordered: it takes {quantity} to exceed the stock, and max_quantity is {max_quantity}"
            )
        key = str(uuid.uuid4())
        response = _checkout(shop, quantity=quantity, key=key)
        order_id = response.get("order_id")
        if response.get("purchased") is False and isinstance(order_id, str):
            return Order(order_id=order_id, quantity=quantity, key=key, response=response)
        if response.get("purchased") is not True:
            raise Failed(f"checkout: the response names no production order: {response}")
    raise Failed(
        f"checkout: the stock grew during each of {TRIES} attempts, so nothing could be ordered"
    )


def _checkout(shop: Shop, *, quantity: int, key: str) -> dict[str, Any]:
    """Check out, and return the response. Raises Failed.

    A failed request is repeated, which the key makes safe.
    """
    body = {"MessageAttributeProductCnt": quantity, "requester": REQUESTER}

    def checkout() -> dict[str, Any]:
        status, response = shop.call("POST", "/checkout", body, {"Idempotency-Key": key})
        if status != 200:
            raise Failed(f"POST /checkout returns {status} {response}")
        return response

    return _tried(checkout, hop="checkout", within=2 * TIMEOUT)


def require_same_response(shop: Shop, order: Order) -> None:
    """Repeat the checkout with its Idempotency-Key. Raises Failed if the response differs."""
    repeated = _checkout(shop, quantity=order.quantity, key=order.key)
    if repeated != order.response:
        raise Failed(
            f"checkout: a repeated Idempotency-Key returns {repeated} instead of {order.response}"
        )


def require_rejection(shop: Shop, *, order_id: str) -> None:
    """Call back with a wrong token. Raises Failed if that is not rejected."""

    def forge() -> int:
        token = secrets.token_urlsafe(24)
        status, response = shop.call("POST", f"/product/donut?order={order_id}&token={token}", {})
        if status >= 500:
            raise Failed(f"POST /product/donut returns {status} {response}")
        return status

    if (status := _tried(forge, hop="callback", within=2 * TIMEOUT)) != 403:
        raise Failed(f"callback: a forged one returns {status} instead of 403")


def follow(shop: Shop, order_id: str, *, settings: Settings, within: float) -> None:
    """Wait until the order has arrived. Raises Failed, which names the hop that the order reached."""
    deadline = time.monotonic() + within
    while (status := _status(shop, order_id)) != "arrived":
        if status == "stuck" or time.monotonic() > deadline:
            raise Failed(_where(status, order_id, settings=settings, within=within))
        time.sleep(PAUSE)


def _status(shop: Shop, order_id: str) -> str:
    """Return the order's status, or `unknown` and why."""
    try:
        code, order = shop.call("GET", f"/order/{order_id}")
    except (OSError, ValueError) as error:
        return f"unknown: {error}"
    return str(order.get("status")) if code == 200 else f"unknown: GET /order returns {code}"


def _where(status: str, order_id: str, *, settings: Settings, within: float) -> str:
    """Return the hop at which an order with this status is, and where to look."""
    make = "make" if settings.name == "local" else f"ENV={settings.name} make"
    match status:
        case "requested":
            return (
                f"outbox → SNS: order {order_id} is still `requested` after {within:.0f} s, so neither sales nor the "
                f"relay could publish it: look for `left to the relay` and `not published` in `{make} logs`"
            )
        case "published":
            return (
                f"queue → consumer → factory → callback: order {order_id} is still `published` after {within:.0f} s"
                f"{_depths(settings)}: look for `not placed` in `{make} logs`, and at the dead-letter queue"
            )
        case "stuck":
            return f"factory → callback: order {order_id} is `stuck`, because the factory never called back"
    return f"order: the status of {order_id} is {status}"


def _depths(settings: Settings) -> str:
    """Return how many messages are in both queues, as text; empty if AWS does not say."""
    with suppress(Exception):  # that the order has not arrived is what must be reported
        sqs = aws.client("sqs")
        queue, dead = (
            depth(sqs, settings.queue_name(name)) for name in ("stock_queue", "stock_dlq")
        )
        return f" ({queue} message(s) in the queue, {dead} in the dead-letter queue)"
    return ""


def depth(sqs: Any, name: str) -> int:
    """Return the number of messages in a queue, in flight or not. Raises botocore's errors."""
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(QUEUE_DEPTH))[
        "Attributes"
    ]
    return sum(int(attributes.get(attribute, 0)) for attribute in QUEUE_DEPTH)


def buy_what_arrived(shop: Shop, order: Order) -> None:
    """Buy the order's quantity, so that the stock is what it was.

    Otherwise each deployment would double the stock, until it is above max_quantity.
    """
    if shop.stock() >= order.quantity:
        _checkout(shop, quantity=order.quantity, key=str(uuid.uuid4()))


def require_relay(cloudwatch: Any, *, settings: Settings, since: datetime, within: float) -> None:
    """Wait until CloudWatch has a run of the relay that left nothing unpublished. Raises Failed.

    since: when the run may have begun at the earliest. CloudWatch only says in which minute it was,
    so the minute that has begun already does not count: its run may be that of the old function.
    """
    minute = since.replace(second=0, microsecond=0)
    first = minute if minute == since else minute + timedelta(minutes=1)
    deadline = time.monotonic() + within
    while problem := _relay_problem(cloudwatch, settings, first):
        if time.monotonic() > deadline:
            raise Failed(problem)
        time.sleep(PAUSE)


def _relay_problem(cloudwatch: Any, settings: Settings, first: datetime) -> str | None:
    """Return what is wrong with the relay's last run since the minute `first`, or None."""
    runs = cloudwatch.get_metric_statistics(
        Namespace=settings.metric_namespace,
        MetricName="oldest_unpublished_seconds",
        StartTime=first,
        EndTime=max(datetime.now(UTC), first) + timedelta(minutes=1),
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    last = max(runs, key=lambda run: run["Timestamp"], default=None)
    if last is None:
        return f"outbox → relay: CloudWatch has no run of the relay since {first:%H:%M} UTC"
    if last["Maximum"] > 0:
        return f"outbox → SNS: an order has waited {last['Maximum']:.0f} s to be published"
    return None


def require_no_dead_letters(sqs: Any, *, settings: Settings) -> None:
    """Raise Failed if the dead-letter queue is not empty."""
    if dead := depth(sqs, settings.queue_name("stock_dlq")):
        raise Failed(
            f"queue → consumer → factory: {dead} message(s) in the dead-letter queue: see docs/runbook.md, "
            "StockDlqNotEmpty"
        )


def _tried(attempt: Callable[[], T], *, hop: str, within: float) -> T:
    """Repeat the attempt until it does not fail, and return its result.

    Raises Failed with the last problem.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            return attempt()
        except (Failed, OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise Failed(f"{hop}: {error}") from error
        time.sleep(PAUSE)


def smoke(shop: Shop, settings: Settings, *, order: bool, within: float) -> str:
    """Check the shop, and return what was found. Raises Failed, and botocore's errors."""
    began = datetime.now(UTC)
    stock = wait_until_awake(shop, within=AWAKE_WITHIN)
    if not (settings.smoke_test_orders or order):
        require_rejection(shop, order_id=str(uuid.uuid4()))
        require_no_dead_letters(aws.client("sqs"), settings=settings)
        require_relay(
            aws.client("cloudwatch"), settings=settings, since=began, within=METRIC_WITHIN
        )
        return (
            "the product can be read, a forged callback was rejected, the relay has run since then and left no order"
            " unpublished, and the dead-letter queue is empty; nothing was ordered"
        )
    if settings.smoke_test_orders:
        buy_surplus(shop, stock=stock, max_quantity=settings.max_quantity)
    placed = place_order(shop, max_quantity=settings.max_quantity)
    require_same_response(shop, placed)
    require_rejection(shop, order_id=placed.order_id)
    follow(shop, placed.order_id, settings=settings, within=within)
    if settings.smoke_test_orders:
        buy_what_arrived(shop, placed)
    return f"order {placed.order_id} arrived, its repetition got the same response, a forged callback was rejected"


def url_of(environment: str, *, outputs: Path, endpoint: Path | None) -> str:
    """Return the URL that `make up` or the last deployment wrote.

    Raises Failed, OSError and ValueError.
    """
    if endpoint:
        url = endpoint.read_text().strip() if endpoint.exists() else ""
        if not url:
            raise Failed("the local cloud is not running; `make up` starts it")
        return url
    stack = ENVIRONMENTS[environment].stack_name("service")
    written = json.loads(outputs.read_text()) if outputs.exists() else {}
    if stack not in written:
        raise Failed(f"{outputs} has no outputs of {stack}: run ENV={environment} make deploy")
    return str(written[stack]["ApiUrl"]).rstrip("/")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m operations.smoke", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("environment", choices=ENVIRONMENTS)
    parser.add_argument(
        "--outputs", type=Path, default=Path("cdk.outputs.json"), help="written by cdk deploy"
    )
    parser.add_argument(
        "--endpoint", type=Path, help="file with the API's URL, instead of the outputs"
    )
    parser.add_argument("--order", action="store_true", help="order also in prod")
    parser.add_argument("--within", type=float, help="seconds within which the order must arrive")
    arguments = parser.parse_args()
    environment = arguments.environment
    within = arguments.within or ARRIVES_WITHIN.get(environment, ARRIVES_WITHIN_ON_AWS)
    with aws.errors_as_sentences():
        try:
            url = url_of(environment, outputs=arguments.outputs, endpoint=arguments.endpoint)
            result = smoke(
                Shop(url), ENVIRONMENTS[environment], order=arguments.order, within=within
            )
        except (Failed, OSError, ValueError) as error:
            sys.exit(f"{environment} does not work: {error}")
    print(f"{url} works: {result}")


if __name__ == "__main__":
    main()
