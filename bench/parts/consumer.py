"""A batch of ten production orders, with a factory that takes a second for each."""

import importlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from unittest import mock

from bench.figures import Figure, Findings
from bench.measure import Effort, quartiles
from common import messages
from tests.support.orders import ORDER
from tests.support.serving import QuietHandler, serving
from tests.support.variables import LOGIN, VARIABLES

BATCH = 10
FACTORY_SECONDS = 1.0
AT_MOST = 10
"""Batches, because each takes more than a second."""


class Factory(QuietHandler):
    """Accepts each order after FACTORY_SECONDS."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(FACTORY_SECONDS)
        self.send(201, b"")


class Server(ThreadingHTTPServer):
    request_queue_size = 4 * BATCH


@contextmanager
def factory() -> Iterator[str]:
    """Run the factory and yield its URL."""
    server = Server(("127.0.0.1", 0), Factory)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/api/manufactures"


def run(effort: Effort) -> Findings:
    """Measure whole batches, each of which places all of its orders."""
    batches = max(2, min(AT_MOST, int(effort.seconds / FACTORY_SECONDS)))
    with factory() as url:
        variables = LOGIN | VARIABLES | {"FACTORY_URL": url, "FACTORY_DEADLINE": "13"}
        with mock.patch.dict(os.environ, variables):
            consumer = importlib.reload(importlib.import_module("consumer.handler"))
        seconds = quartiles([place(consumer.handler) for _ in range(batches)])
    figure = Figure(
        name=f"consumer, a batch of {BATCH}, the factory takes {FACTORY_SECONDS:g} s",
        value=seconds,
        unit="s",
        at_most=1.2,
    )
    return Findings(figures=[figure])


def place(handler: Any) -> float:
    """Place one batch and return how many seconds it took."""
    event = {"Records": [record() for _ in range(BATCH)]}
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 20_000)
    began = time.perf_counter()
    result = handler(event, context)
    seconds = time.perf_counter() - began
    assert result == {"batchItemFailures": []}, result
    return seconds


def record() -> dict[str, Any]:
    """Return an order as SQS passes it to the function."""
    attributes = {
        messages.ATTRIBUTES[name]: {"Type": "String", "Value": str(value)}
        for name, value in ORDER._asdict().items()
    }
    return {
        "messageId": str(uuid.uuid4()),
        "receiptHandle": "receipt",
        "body": json.dumps({"MessageAttributes": attributes}),
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "0"},
    }
