"""Place production orders: post each message of an SQS batch to the factory.

The messages of a batch are posted at the same time, each of them once. The ones that fail return to
the queue and are received again later.
"""

import http.client
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from common import aws, deadline, environment, failures, messages

CONNECT_SECONDS = 3
"""Seconds to connect to the factory."""
RESERVE_SECONDS = 1.5
"""Seconds of the function's time kept for postponing the failed messages."""
MAX_RESPONSE_BYTES = 1024 * 1024
READ_BYTES = 64 * 1024
log = logging.getLogger(__name__)
config = environment.read(environment.Consumer)


class FactoryError(Exception):
    """The factory did not accept the order. The text contains no order data and is safe to log."""


class WholeLines:
    """Wraps the file of a connection so that only whole lines can be read from it.

    Reading raises FactoryError at the end of the file, and if the file ends within a line.
    """

    def __init__(self, file: Any) -> None:
        self.file = file

    def readline(self, limit: int) -> bytes:
        """Return the next line. A line longer than the limit is cut, which http.client rejects."""
        line: bytes = self.file.readline(limit)
        if len(line) < limit and not line.endswith(b"\n"):
            raise FactoryError("the response ends inside the headers")
        return line

    def close(self) -> None:
        """Close the file, as http.client does after a status line that it can't parse."""
        self.file.close()


class WholeResponse(http.client.HTTPResponse):
    """A response whose headers end with an empty line.

    http.client would also accept headers that end with the connection, so that a response cut off
    after its status line would count as a success.
    """

    def begin(self) -> None:
        """Read the status line and the headers.

        Raises FactoryError if the connection ends before they do.
        """
        file = self.fp
        self.fp = WholeLines(file)  # type: ignore[assignment]  # http.client reads lines only
        try:
            super().begin()
        finally:
            if self.fp:
                self.fp = file


class WholeHttpConnection(HTTPConnection):
    response_class = WholeResponse


class WholeHttpsConnection(HTTPSConnection):
    response_class = WholeResponse


class WholeHttpPool(HTTPConnectionPool):
    ConnectionCls = WholeHttpConnection


class WholeHttpsPool(HTTPSConnectionPool):
    ConnectionCls = WholeHttpsConnection


class WholeResponses(HTTPAdapter):
    """Adapter whose connections return a WholeResponse."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": WholeHttpPool, "https": WholeHttpsPool}


def session() -> requests.Session:
    """Return a session that uses no proxies and accepts only whole responses."""
    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, WholeResponses())
    return session


def payload(order: messages.ProductionOrder) -> dict[str, str]:
    """Return the JSON object that the factory takes."""
    callback = urlencode({"order": order.order_id, "token": order.callback_token})
    return {
        "MessageGroupId": "stock-arrival-group",
        "MessageAttributeProductId": order.product_id,
        "MessageAttributeProductCnt": str(order.quantity),
        "MessageAttributeFactoryId": order.factory_id,
        "MessageAttributeRequester": order.requester,
        "CallbackUrl": f"{config.public_url}/product/{order.slug}?{callback}",
    }


def post(order: messages.ProductionOrder, *, until: float) -> None:
    """Post the order to the factory, which must return a 2xx response.

    until: the deadline for the whole response, on the monotonic clock. Raises FactoryError, and the
    exceptions of requests and urllib3.
    """
    with session() as factory:
        response = factory.post(
            config.factory_url,
            json=payload(order),
            headers={"Idempotency-Key": order.order_id},
            timeout=(min(CONNECT_SECONDS, config.factory_deadline), config.factory_deadline),
            allow_redirects=False,
            stream=True,
        )
        received = 0
        # Not iter_content, which waits until a chunk is full: a factory that sends one byte at a
        # time would keep the thread past the deadline.
        while chunk := response.raw.read1(READ_BYTES, decode_content=False):
            received += len(chunk)
            if received > MAX_RESPONSE_BYTES or time.monotonic() > until:
                raise FactoryError("the response does not end")
        if not 200 <= response.status_code < 300:
            raise FactoryError(f"the factory returned status {response.status_code}")


def postpone(record: dict[str, Any], order: messages.ProductionOrder | None) -> None:
    """Make SQS return the message later, after a delay that doubles with each failure.

    If that fails, the queue's own visibility timeout applies. order: None if it is malformed.
    """
    receives = int(record["attributes"]["ApproximateReceiveCount"])
    # After the last receive there is no delay: SQS moves the message to the dead-letter queue when
    # it would be received once more.
    delay = 0 if receives >= config.max_receives else config.retry_delay * 2 ** (receives - 1)
    try:
        aws.client("sqs", deadline.POSTPONE).change_message_visibility(
            QueueUrl=config.stock_queue_url,
            ReceiptHandle=record["receiptHandle"],
            VisibilityTimeout=delay,
        )
    except Exception as error:
        log.warning(
            "not postponed",
            extra={
                "message_id": record["messageId"],
                "order_id": order and order.order_id,
                "reason": failures.described(error),
            },
        )


def parse(record: dict[str, Any]) -> messages.ProductionOrder | None:
    """Return the order in the message, or None if it is malformed.

    A malformed message fails like any other, so that it ends in the dead-letter queue.
    """
    try:
        return messages.parse(record["body"])
    except ValueError as error:
        log.error("not placed", extra={"message_id": record["messageId"], "reason": str(error)})
        return None


def queue_fields(record: dict[str, Any]) -> dict[str, object]:
    """Return what SQS knows of the message, as fields of a log line."""
    attributes = record["attributes"]
    queued = datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC)
    return {
        "queued_at": queued.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "receives": int(attributes["ApproximateReceiveCount"]),
    }


def is_placed(
    record: dict[str, Any], order: messages.ProductionOrder, outcome: Future[None]
) -> bool:
    """Return whether the order's post has succeeded in time, and log it."""
    in_time = outcome.done() and not outcome.cancelled()
    error = outcome.exception() if in_time else FactoryError("no complete response in time")
    if error is None:
        log.info("placed", extra={"order_id": order.order_id, **queue_fields(record)})
        return True
    reason = str(error) if isinstance(error, FactoryError) else type(error).__name__
    log.error(
        "not placed", extra={"order_id": order.order_id, **queue_fields(record), "reason": reason}
    )
    return False


@failures.guarded()
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Post the batch to the factory and return SQS's partial batch response. Raises Failed."""
    records = event["Records"]
    remaining = context.get_remaining_time_in_millis() / 1000
    seconds = min(config.factory_deadline, remaining - RESERVE_SECONDS)
    until = time.monotonic() + seconds
    # Not a `with` block, which would wait for threads that still read from the factory.
    executor = ThreadPoolExecutor(max_workers=len(records))
    orders = [parse(record) for record in records]
    posts = [order and executor.submit(post, order, until=until) for order in orders]
    wait([outcome for outcome in posts if outcome], timeout=seconds)
    executor.shutdown(wait=False, cancel_futures=True)

    failed = [
        (record, order)
        for record, order, outcome in zip(records, orders, posts, strict=True)
        if not (order and outcome and is_placed(record, order, outcome))
    ]
    for record, order in failed:
        postpone(record, order)
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record, _ in failed]}
