"""SQS batch → factory. Each message is posted once a receive, all at the same time; what failed comes back later."""

import functools
import http.client
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from common import environment, failures, messages

CONNECT_TIMEOUT = 3
RESERVE = 1.5
"""Seconds of the function's time kept for postponing and answering."""
MAX_ANSWER_BYTES = 1024 * 1024
READ_BYTES = 64 * 1024
log = logging.getLogger(__name__)
config = environment.read(environment.Consumer)


class FactoryError(Exception):
    """The factory did not take the order; the text holds nothing of the order's."""


class WholeLines:
    """A file of which only whole lines can be read. Raises FactoryError at its end, or if it ends within a line."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def readline(self, limit: int) -> bytes:
        line: bytes = self.file.readline(limit)
        if (
            not line.endswith(b"\n") and len(line) < limit
        ):  # at the limit, http.client raises an error of its own
            raise FactoryError("its response ends inside the headers")
        return line

    def close(self) -> None:
        """Close the file itself, as http.client does after a status line that it can't read."""
        self.file.close()


class WholeResponse(http.client.HTTPResponse):
    """A response whose headers have ended with an empty line. http.client takes the end of the connection for it."""

    def begin(self) -> None:
        """Read the status line and the headers. Raises FactoryError if the connection ends before they do."""
        file = self.fp
        self.fp = WholeLines(file)  # type: ignore[assignment]
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
    """Makes a session's connections return WholeResponses."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": WholeHttpPool, "https": WholeHttpsPool}


def session() -> requests.Session:
    """Return a session for the factory: without proxies, and with whole responses only."""
    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, WholeResponses())
    return session


def payload(order: messages.ProductionOrder) -> dict[str, str]:
    callback = urlencode({"order": order.order_id, "token": order.callback_token})
    return {
        "MessageGroupId": "stock-arrival-group",
        "MessageAttributeProductId": order.product_id,
        "MessageAttributeProductCnt": str(order.quantity),
        "MessageAttributeFactoryId": order.factory_id,
        "MessageAttributeRequester": order.requester,
        "CallbackUrl": f"{config.public_url}/product/{order.slug}?{callback}",
    }


def post(order: messages.ProductionOrder, *, deadline: float) -> None:
    """deadline: on the monotonic clock, for the whole answer. Raises FactoryError, or as requests and urllib3 do."""
    with session() as connection:
        answer = connection.post(
            config.factory_url,
            json=payload(order),
            headers={"Idempotency-Key": order.order_id},
            timeout=(min(CONNECT_TIMEOUT, config.factory_deadline), config.factory_deadline),
            allow_redirects=False,
            stream=True,
        )
        received = 0
        # Not iter_content: it waits until a piece is full, and a dripping answer would hold the thread.
        while chunk := answer.raw.read1(READ_BYTES, decode_content=False):
            received += len(chunk)
            if received > MAX_ANSWER_BYTES or time.monotonic() > deadline:
                raise FactoryError("its answer does not end")
        if not 200 <= answer.status_code < 300:
            raise FactoryError(f"it answered {answer.status_code}")


@functools.cache
def _sqs() -> Any:
    """Imported and made on first use: a delivery that succeeds never pays for it."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "sqs", config=Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 1})
    )


def postpone(record: dict[str, Any]) -> None:
    """Receive it later, and later each time. Where that fails, the queue's own visibility timeout applies."""
    receives = int(record["attributes"]["ApproximateReceiveCount"])
    # SQS buries a message when it would be received once more: nothing is gained by waiting for that.
    delay = 0 if receives >= config.max_receives else config.retry_delay * 2 ** (receives - 1)
    try:
        _sqs().change_message_visibility(
            QueueUrl=config.stock_queue_url,
            ReceiptHandle=record["receiptHandle"],
            VisibilityTimeout=delay,
        )
    except Exception as error:
        log.warning(
            "not postponed",
            extra={"message_id": record["messageId"], "reason": type(error).__name__},
        )


def parse(record: dict[str, Any]) -> messages.ProductionOrder | None:
    """None: it is no order. It comes back with the failures, and ends in the dead-letter queue."""
    try:
        return messages.parse(record["body"])
    except ValueError as error:
        log.error("not placed", extra={"message_id": record["messageId"], "reason": str(error)})
        return None


def is_placed(order: messages.ProductionOrder, outcome: Future[None]) -> bool:
    in_time = outcome.done() and not outcome.cancelled()
    error = outcome.exception() if in_time else FactoryError("no complete answer in time")
    if error is None:
        log.info("placed", extra={"order_id": order.order_id})
        return True
    reason = str(error) if isinstance(error, FactoryError) else type(error).__name__
    log.error("not placed", extra={"order_id": order.order_id, "reason": reason})
    return False


@failures.guarded()
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Post the batch to the factory, and return SQS's partial batch response. Raises Failed."""
    seconds = min(config.factory_deadline, context.get_remaining_time_in_millis() / 1000 - RESERVE)
    deadline = time.monotonic() + seconds
    # Not a `with` block: a thread that still waits for the factory must not hold up the answer.
    executor = ThreadPoolExecutor(max_workers=len(event["Records"]))
    posts = {}
    for record in event["Records"]:
        if order := parse(record):
            posts[record["messageId"]] = order, executor.submit(post, order, deadline=deadline)
    wait([outcome for _, outcome in posts.values()], timeout=seconds)
    executor.shutdown(wait=False, cancel_futures=True)

    done = {
        message_id for message_id, (order, outcome) in posts.items() if is_placed(order, outcome)
    }
    failures = [record for record in event["Records"] if record["messageId"] not in done]
    for record in failures:
        postpone(record)
    return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failures]}
