"""Prove that a deployed shop works, all the way round: checkout, outbox, SNS, queue, consumer, factory, callback.

Where an order costs nobody anything, one is placed for more than there is in stock, and followed until it arrives. In
prod nothing is ordered, unless `--order` says so: there, the relay's metric and the dead-letter queue tell. What fails
is named by its hop, as far as that can be told from outside.
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

from botocore.exceptions import BotoCoreError, ClientError

from operations import aws
from settings import ENVIRONMENTS, Settings

T = TypeVar("T")

REQUESTER = "smoke"
AWAKE_WITHIN = 60
ARRIVES_WITHIN = {"local": 60.0}
ARRIVES_WITHIN_ON_AWS = 300.0
"""The factory takes a minute. An order that sales could not publish waits up to two for the relay."""
METRIC_WITHIN = 180.0
"""Seconds until CloudWatch shows what the relay logged."""
RELAY_WITHIN = timedelta(minutes=2)
PAUSE = 1.0
TIMEOUT = 10
TRIES = 3

QUEUE_DEPTH = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class Failed(Exception):
    """Names the hop that does not work, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Order:
    order_id: str
    quantity: int
    key: str
    answer: dict[str, Any]


@dataclass(frozen=True)
class Shop:
    """A deployed shop, as its clients and its factory see it."""

    url: str
    open: Callable[..., Any] = urllib.request.urlopen

    def call(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Return the response's status and its JSON. Raises OSError, and ValueError if it is not a JSON object."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        try:
            with self.open(request, timeout=TIMEOUT) as response:
                status, content = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        except http.client.HTTPException as error:
            raise OSError(f"no complete response: {error!r}") from error
        answer = json.loads(content)
        if not isinstance(answer, dict):
            raise ValueError(f"{answer!r} is not an object")
        return status, answer

    def stock(self) -> int:
        """Return the product's stock. Raises Failed, OSError and ValueError."""
        status, product = self.call("GET", "/product/donut")
        stock = product.get("stock")
        if status != 200:
            raise Failed(f"GET /product/donut answers {status}")
        if not isinstance(stock, int) or stock < 0:
            raise Failed(f"GET /product/donut answers no stock: {product}")
        return stock


def wait_until_awake(shop: Shop, *, within: float) -> int:
    """Return the stock as soon as the shop answers. Raises Failed with its last problem."""
    return _tried(shop.stock, hop="API → sales → database", within=within)


def place_order(shop: Shop, *, max_quantity: int) -> Order:
    """Ask for one more than there is. Nothing is ordered if that is above max_quantity. Raises Failed."""
    for _ in range(TRIES):
        quantity = wait_until_awake(shop, within=TIMEOUT) + 1
        if quantity > max_quantity:
            raise Failed(
                f"nothing was ordered: it takes {quantity} to exceed the stock, and max_quantity is {max_quantity}"
            )
        key = str(uuid.uuid4())
        answer = _checkout(shop, quantity=quantity, key=key)
        if answer.get("purchased") is False and isinstance(answer.get("order_id"), str):
            return Order(order_id=answer["order_id"], quantity=quantity, key=key, answer=answer)
        if answer.get("purchased") is not True:
            raise Failed(f"checkout: it names no production order: {answer}")
    raise Failed(
        f"checkout: {TRIES} times there was more in stock than a moment before, so nothing could be ordered"
    )


def _checkout(shop: Shop, *, quantity: int, key: str) -> dict[str, Any]:
    """Return what a checkout answers. Safe to try again: the key makes the same request of it. Raises Failed."""
    body = {"MessageAttributeProductCnt": quantity, "requester": REQUESTER}

    def checkout() -> dict[str, Any]:
        status, answer = shop.call("POST", "/checkout", body, {"Idempotency-Key": key})
        if status != 200:
            raise Failed(f"POST /checkout answers {status} {answer}")
        return answer

    return _tried(checkout, hop="checkout", within=2 * TIMEOUT)


def require_same_answer(shop: Shop, order: Order) -> None:
    """Repeat the request with its Idempotency-Key. Raises Failed."""
    repeated = _checkout(shop, quantity=order.quantity, key=order.key)
    if repeated != order.answer:
        raise Failed(
            f"checkout: a repeat of the Idempotency-Key is answered {repeated} instead of {order.answer}"
        )


def require_rejection(shop: Shop, *, order_id: str) -> None:
    """Call back for the order with a token that is not its own. Raises Failed."""

    def forge() -> int:
        status, answer = shop.call(
            "POST", f"/product/donut?order={order_id}&token={secrets.token_urlsafe(24)}", {}
        )
        if status >= 500:
            raise Failed(f"POST /product/donut answers {status} {answer}")
        return status

    if (status := _tried(forge, hop="callback", within=2 * TIMEOUT)) != 403:
        raise Failed(f"callback: a forged one is answered {status} instead of 403")


def follow(shop: Shop, order: Order, *, environment: str, within: float) -> None:
    """Wait until the order has arrived. Raises Failed with the hop at which it stands."""
    deadline, status = time.monotonic() + within, "unknown"
    while status != "arrived":
        try:
            code, answer = shop.call("GET", f"/order/{order.order_id}")
            status = (
                str(answer.get("status")) if code == 200 else f"unknown: GET /order answers {code}"
            )
        except (OSError, ValueError) as error:
            status = f"unknown: {error}"
        if status == "stuck" or (status != "arrived" and time.monotonic() > deadline):
            raise Failed(_where(status, order.order_id, environment=environment, within=within))
        time.sleep(0 if status == "arrived" else PAUSE)


def _where(status: str, order_id: str, *, environment: str, within: float) -> str:
    make = "make" if environment == "local" else f"ENV={environment} make"
    match status:
        case "requested":
            return (
                f"outbox → SNS: order {order_id} is still `requested` after {within:.0f} s, so neither sales nor the "
                f"relay could publish it: look for `left to the relay` and `not published` in `{make} logs`"
            )
        case "published":
            return (
                f"queue → consumer → factory → callback: order {order_id} is still `published` after {within:.0f} s"
                f"{_depths(environment)}: look for `not placed` in `{make} logs`, and at the dead-letter queue"
            )
        case "stuck":
            return f"factory → callback: order {order_id} is `stuck`, because the factory never called back"
    return f"order: the status of {order_id} is {status}"


def _depths(environment: str) -> str:
    """Say how many messages wait in the queue and in the dead-letter queue, if that may be known."""
    with suppress(BotoCoreError, ClientError):
        sqs = aws.client("sqs")
        queue, dead = (depth(sqs, f"{name}_{environment}") for name in ("stock_queue", "stock_dlq"))
        return f" ({queue} message(s) in the queue, {dead} in the dead-letter queue)"
    return ""


def depth(sqs: Any, name: str) -> int:
    """Return how many messages a queue holds, in flight or not. Raises botocore's errors."""
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(QUEUE_DEPTH))[
        "Attributes"
    ]
    return sum(int(attributes.get(attribute, 0)) for attribute in QUEUE_DEPTH)


def buy_what_arrived(shop: Shop, order: Order) -> None:
    """Leave the stock as it was: else each deployment would double it, until it is above max_quantity."""
    if shop.stock() >= order.quantity:
        _checkout(shop, quantity=order.quantity, key=str(uuid.uuid4()))


def require_relay(cloudwatch: Any, *, settings: Settings, within: float) -> None:
    """Wait until CloudWatch knows of a run of the relay, minutes ago, that left nothing unpublished. Raises Failed."""
    deadline = time.monotonic() + within
    while problem := _relay_problem(cloudwatch, settings):
        if time.monotonic() > deadline:
            raise Failed(problem)
        time.sleep(PAUSE)


def _relay_problem(cloudwatch: Any, settings: Settings) -> str | None:
    now = datetime.now(UTC)
    runs = cloudwatch.get_metric_statistics(
        Namespace=settings.metric_namespace,
        MetricName="oldest_unpublished_seconds",
        StartTime=now - timedelta(minutes=15),
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    last = max(runs, key=lambda run: run["Timestamp"], default=None)
    if last is None:
        return "outbox → relay: CloudWatch knows of no run of the relay in a quarter of an hour"
    if (ended := last["Timestamp"] + timedelta(minutes=1)) < now - RELAY_WITHIN:
        return f"outbox → relay: the relay's last run that CloudWatch knows of was before {ended:%H:%M} UTC"
    if last["Maximum"] > 0:
        return f"outbox → SNS: an order has waited {last['Maximum']:.0f} s to be published"
    return None


def require_no_dead_letters(sqs: Any, *, settings: Settings) -> None:
    if dead := depth(sqs, settings.message_name("stock_dlq")):
        raise Failed(
            f"queue → consumer → factory: {dead} message(s) in the dead-letter queue: see docs/runbook.md, "
            "StockDlqNotEmpty"
        )


def _tried(attempt: Callable[[], T], *, hop: str, within: float) -> T:
    """Return what the attempt returns, as soon as it does not fail. Raises Failed with its last problem."""
    deadline = time.monotonic() + within
    while True:
        try:
            return attempt()
        except (Failed, OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise Failed(f"{hop}: {error}") from error
        time.sleep(PAUSE)


def smoke(shop: Shop, settings: Settings, *, order: bool, within: float) -> str:
    """Return what was proved. Raises Failed, and botocore's errors."""
    environment = settings.name
    wait_until_awake(shop, within=AWAKE_WITHIN)
    if not (settings.smoke_test_orders or order):
        require_rejection(shop, order_id=str(uuid.uuid4()))
        require_no_dead_letters(aws.client("sqs"), settings=settings)
        require_relay(aws.client("cloudwatch"), settings=settings, within=METRIC_WITHIN)
        return "the product is read, a forged callback rejected, nothing is unpublished or dead; nothing was ordered"
    placed = place_order(shop, max_quantity=settings.max_quantity)
    require_same_answer(shop, placed)
    require_rejection(shop, order_id=placed.order_id)
    follow(shop, placed, environment=environment, within=within)
    if settings.smoke_test_orders:
        buy_what_arrived(shop, placed)
    return f"order {placed.order_id} arrived, a repeat got the same answer, a forged callback was rejected"


def url_of(environment: str, *, outputs: Path, endpoint: Path | None) -> str:
    """Return the URL that `make up`, or the last deployment from here, wrote down. Raises Failed, ValueError."""
    if endpoint:
        url = endpoint.read_text().strip() if endpoint.exists() else ""
        if not url:
            raise Failed("the local cloud is not running; `make up` starts it")
        return url
    stack = ENVIRONMENTS[environment].stack_name("service")
    written = json.loads(outputs.read_text()) if outputs.exists() else {}
    if stack not in written:
        raise Failed(
            f"{stack} was not the last that was deployed from here: ENV={environment} make deploy"
        )
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
        "--endpoint", type=Path, help="a file with the API's URL, instead of the outputs"
    )
    parser.add_argument("--order", action="store_true", help="order in prod, too")
    parser.add_argument("--within", type=float, help="seconds until the order has to have arrived")
    arguments = parser.parse_args()
    environment = arguments.environment
    within = arguments.within or ARRIVES_WITHIN.get(environment, ARRIVES_WITHIN_ON_AWS)
    with aws.errors_as_sentences():
        try:
            url = url_of(environment, outputs=arguments.outputs, endpoint=arguments.endpoint)
            proved = smoke(
                Shop(url), ENVIRONMENTS[environment], order=arguments.order, within=within
            )
        except (Failed, OSError, ValueError) as error:
            sys.exit(f"{environment} does not work: {error}")
    print(f"{url} works: {proved}")


if __name__ == "__main__":
    main()
