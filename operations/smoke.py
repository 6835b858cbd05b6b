"""Check a deployed shop from end to end: checkout, outbox, SNS, queue, consumer, factory, callback.

Where orders are not real, order more than the stock and follow the order until it arrives. In prod,
order nothing unless `--order` is given; check the relay's metric and the dead-letter queue instead.
An error message names the hop that failed, as far as it can be seen from outside.
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

CLOSED = "The shop is closed: `make up` opens it."
"""What each command says that needs the local shop, unless that is open."""
REQUESTER = "smoke"
AWAKE_WITHIN = 60
"""Seconds until the first response, which may have to wait for a cold start."""
ARRIVES_WITHIN = {"local": 60.0}
ARRIVES_WITHIN_ON_AWS = 300.0
"""Seconds until the order arrives.

The factory takes one minute. If the relay has to publish the order, that takes up to two more.
"""
METRIC_WITHIN = 300.0
"""Seconds until CloudWatch has the metric of a run of the relay.

Only runs after the next full minute count, which begins within one minute. The first such run is at
most another minute later, and CloudWatch may be minutes late.
"""
PAUSE = 1.0
"""Seconds between two attempts."""
TIMEOUT = 10
"""Seconds per request."""
TRIES = 3
"""Attempts to order more than the stock, which may grow between reading it and the checkout."""

QUEUE_DEPTH = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
"""The numbers of a queue's messages: visible, in flight and delayed."""


class Failed(Exception):
    """The shop does not work. The text names the hop, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A production order, and the checkout that created it."""

    order_id: str
    quantity: int
    key: str
    response: dict[str, Any]


@dataclass(frozen=True)
class ShopApi:
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


def wait_until_awake(api: ShopApi, *, within: float) -> int:
    """Wait until the shop responds, and return the stock. Raises Failed with the last problem."""
    return _retry(api.stock, hop="API → sales → database", within=within)


def buy_surplus(api: ShopApi, *, stock: int, max_quantity: int) -> None:
    """Buy max_quantity, repeatedly if needed, if no order could exceed the stock. Raises Failed.

    The order of an earlier run that failed may arrive after that run, and then nobody buys what it
    adds. After several such runs the stock is above max_quantity.
    """
    for _ in range(min(TRIES, stock // max_quantity)):
        _check_out(api, quantity=max_quantity, key=str(uuid.uuid4()))


def order_more(api: ShopApi, *, max_quantity: int) -> Order:
    """Check out one more than the stock, and return the resulting production order.

    Raises Failed, also if that quantity is above max_quantity.
    """
    for _ in range(TRIES):
        quantity = wait_until_awake(api, within=TIMEOUT) + 1
        if quantity > max_quantity:
            raise Failed(
                f"nothing was ordered: it takes {quantity} to exceed the stock,"
                f" and max_quantity is {max_quantity}"
            )
        key = str(uuid.uuid4())
        response = _check_out(api, quantity=quantity, key=key)
        order_id = response.get("order_id")
        if response.get("purchased") is False and isinstance(order_id, str):
            return Order(order_id=order_id, quantity=quantity, key=key, response=response)
        if response.get("purchased") is not True:
            raise Failed(f"checkout: the response names no production order: {response}")
    raise Failed(
        f"checkout: the stock grew during each of {TRIES} attempts, so nothing could be ordered"
    )


def _check_out(api: ShopApi, *, quantity: int, key: str) -> dict[str, Any]:
    """Check out, and return the response. Raises Failed.

    A failed request is repeated, which the key makes safe.
    """
    body = {"MessageAttributeProductCnt": quantity, "requester": REQUESTER}

    def check_out_once() -> dict[str, Any]:
        status, response = api.call("POST", "/checkout", body, {"Idempotency-Key": key})
        if status != 200:
            raise Failed(f"POST /checkout returns {status} {response}")
        return response

    return _retry(check_out_once, hop="checkout", within=2 * TIMEOUT)


def require_same_response(api: ShopApi, order: Order) -> None:
    """Repeat the checkout with its Idempotency-Key. Raises Failed if the response differs."""
    repeated = _check_out(api, quantity=order.quantity, key=order.key)
    if repeated != order.response:
        raise Failed(
            f"checkout: a repeated Idempotency-Key returns {repeated} instead of {order.response}"
        )


def require_rejection(api: ShopApi, *, order_id: str) -> None:
    """Call back with a wrong token. Raises Failed if the callback is not rejected."""

    def forge_callback() -> int:
        token = secrets.token_urlsafe(24)
        status, response = api.call("POST", f"/product/donut?order={order_id}&token={token}", {})
        if status >= 500:
            raise Failed(f"POST /product/donut returns {status} {response}")
        return status

    status = _retry(forge_callback, hop="callback", within=2 * TIMEOUT)
    if status != 403:
        raise Failed(f"callback: a forged one returns {status} instead of 403")


def wait_until_arrived(api: ShopApi, order_id: str, *, settings: Settings, within: float) -> None:
    """Wait until the order has arrived. Raises Failed, which names the hop that failed."""
    deadline = time.monotonic() + within
    while (status := _read_status(api, order_id)) != "arrived":
        if status == "stuck" or time.monotonic() > deadline:
            raise Failed(_explain(status, order_id, settings=settings, within=within))
        time.sleep(PAUSE)


def _read_status(api: ShopApi, order_id: str) -> str:
    """Return the order's status, or `unknown` with the reason why it can't be read."""
    try:
        code, order = api.call("GET", f"/order/{order_id}")
    except (OSError, ValueError) as error:
        return f"unknown: {error}"
    return str(order.get("status")) if code == 200 else f"unknown: GET /order returns {code}"


def _explain(status: str, order_id: str, *, settings: Settings, within: float) -> str:
    """Return a sentence that names the hop of an order with this status, and where to look."""
    logs = "`make logs`" if settings.name == "local" else f"`ENV={settings.name} make logs`"
    overdue = f"order {order_id} is still `{status}` after {within:.0f} s"
    match status:
        case "requested":
            hop = "outbox → SNS"
            problem = f"{overdue}, so neither sales nor the relay could publish it"
            advice = f"look for `left to the relay` and `not published` in {logs}"
        case "published":
            hop = "queue → consumer → factory → callback"
            problem = f"{overdue}{_describe_queues(settings)}"
            advice = f"look for `not placed` in {logs}, and at the dead-letter queue"
        case "stuck":
            return f"factory → callback: order {order_id} is `stuck`: the factory never called back"
        case _:
            return f"order: the status of {order_id} is {status}"
    return f"{hop}: {problem}: {advice}"


def _describe_queues(settings: Settings) -> str:
    """Return how many messages both queues hold, as text; empty if AWS does not say."""
    with suppress(Exception):  # the failure to report is that the order has not arrived
        sqs = aws.client("sqs")
        queue = depth(sqs, settings.queue_name("stock_queue"))
        dead = depth(sqs, settings.queue_name("stock_dlq"))
        return f" ({queue} message(s) in the queue, {dead} in the dead-letter queue)"
    return ""


def depth(sqs: Any, name: str) -> int:
    """Return the number of messages in a queue, in flight or not. Raises botocore's errors."""
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    response = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(QUEUE_DEPTH))
    return sum(int(response["Attributes"].get(attribute, 0)) for attribute in QUEUE_DEPTH)


def buy_what_arrived(api: ShopApi, order: Order) -> None:
    """Buy the order's quantity, so that the stock is what it was before the order.

    Otherwise each deployment would double the stock, until it is above max_quantity.
    """
    if api.stock() >= order.quantity:
        _check_out(api, quantity=order.quantity, key=str(uuid.uuid4()))


def require_relay(cloudwatch: Any, *, settings: Settings, since: datetime, within: float) -> None:
    """Wait until CloudWatch has a run of the relay that left nothing unpublished. Raises Failed.

    since: the earliest start of a run that counts. CloudWatch only says in which minute a run was.
    A run in the minute of `since` may have been before it, so that minute does not count.
    """
    minute = since.replace(second=0, microsecond=0)
    first = minute if minute == since else minute + timedelta(minutes=1)
    deadline = time.monotonic() + within
    while problem := _find_problem_of_relay(cloudwatch, settings, first):
        if time.monotonic() > deadline:
            raise Failed(problem)
        time.sleep(PAUSE)


def _find_problem_of_relay(cloudwatch: Any, settings: Settings, first: datetime) -> str | None:
    """Return what is wrong with the relay's last run since the minute `first`, or None."""
    response = cloudwatch.get_metric_statistics(
        Namespace=settings.metric_namespace,
        MetricName="oldest_unpublished_seconds",
        StartTime=first,
        EndTime=max(datetime.now(UTC), first) + timedelta(minutes=1),
        Period=60,
        Statistics=["Maximum"],
    )
    last = max(response["Datapoints"], key=lambda run: run["Timestamp"], default=None)
    if last is None:
        return f"outbox → relay: CloudWatch has no run of the relay since {first:%H:%M} UTC"
    if last["Maximum"] > 0:
        return f"outbox → SNS: an order has waited {last['Maximum']:.0f} s to be published"
    return None


def require_no_dead_letters(sqs: Any, *, settings: Settings) -> None:
    """Raise Failed if the dead-letter queue is not empty."""
    if dead := depth(sqs, settings.queue_name("stock_dlq")):
        raise Failed(
            f"queue → consumer → factory: {dead} message(s) in the dead-letter queue:"
            " see docs/runbook.md, StockDlqNotEmpty"
        )


def _retry(attempt: Callable[[], T], *, hop: str, within: float) -> T:
    """Call the attempt until it succeeds, and return its result.

    Raises Failed, with the hop and the last problem, if it still fails after `within` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            return attempt()
        except (Failed, OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise Failed(f"{hop}: {error}") from error
        time.sleep(PAUSE)


def check_with_an_order(api: ShopApi, settings: Settings, *, stock: int, within: float) -> str:
    """Follow one production order until it arrives. Return what was found, or raise Failed."""
    if settings.smoke_test_orders:
        buy_surplus(api, stock=stock, max_quantity=settings.max_quantity)
    order = order_more(api, max_quantity=settings.max_quantity)
    require_same_response(api, order)
    require_rejection(api, order_id=order.order_id)
    wait_until_arrived(api, order.order_id, settings=settings, within=within)
    if settings.smoke_test_orders:
        buy_what_arrived(api, order)
    return (
        f"order {order.order_id} arrived, the repeated checkout returned the same response,"
        " and a forged callback was rejected"
    )


def check_without_an_order(api: ShopApi, settings: Settings, *, began: datetime) -> str:
    """Check what can be checked without an order. Return what was found, or raise Failed."""
    require_rejection(api, order_id=str(uuid.uuid4()))
    require_no_dead_letters(aws.client("sqs"), settings=settings)
    cloudwatch = aws.client("cloudwatch")
    require_relay(cloudwatch, settings=settings, since=began, within=METRIC_WITHIN)
    return (
        "the product can be read, a forged callback was rejected, the dead-letter queue is empty,"
        " and the relay has run and left no order unpublished; nothing was ordered"
    )


def smoke(api: ShopApi, settings: Settings, *, order: bool, within: float) -> str:
    """Check the shop, and return what was found. Raises Failed, and botocore's errors.

    order: order also where orders are real. within: seconds in which the order must arrive.
    """
    began = datetime.now(UTC)
    stock = wait_until_awake(api, within=AWAKE_WITHIN)
    if settings.smoke_test_orders or order:
        return check_with_an_order(api, settings, stock=stock, within=within)
    return check_without_an_order(api, settings, began=began)


def url_of(environment: str, *, outputs: Path, endpoint: Path | None) -> str:
    """Return the URL of the shop's API, as `make up` or the last deployment wrote it.

    outputs: the file of `cdk deploy`. endpoint: the file of `make up`, which is read instead.
    Raises Failed, OSError and ValueError.
    """
    if endpoint:
        url = endpoint.read_text().strip() if endpoint.exists() else ""
        if not url:
            raise Failed(CLOSED)
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
                ShopApi(url), ENVIRONMENTS[environment], order=arguments.order, within=within
            )
        except (Failed, OSError, ValueError) as error:
            sys.exit(f"{environment} does not work: {error}")
    print(f"{url} works: {result}")


if __name__ == "__main__":
    main()
