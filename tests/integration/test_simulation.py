"""A random simulation of the shop: nothing is lost and nothing is sold twice, whatever fails.

The functions' own handlers run in this process on a real MariaDB. The clock jumps, and what
surrounds the functions (SNS, SQS, the factory, the network to the database) is simulated and fails
at random.

`pytest tests/integration/test_simulation.py --seeds=5000` tries more; `--seed=17` replays one.
"""

import importlib
import json
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any
from unittest.mock import create_autospec
from urllib.parse import parse_qs, urlsplit

import pymysql
import pytest

from common import aws, deadline, messages
from common.database import Connection, Database, DatabaseUnavailable
from common.store import Store
from tests.support.books import owner, read_books
from tests.support.database_shop import DatabaseShop
from tests.support.fakes import fake_client
from tests.support.variables import set_variables

STEPS = 40
EPOCH = 1_800_000_000
OVERDUE_AFTER, MAX_REMINDERS = 900, 3
MODULES = ("sales", "restock", "relay", "consumer")


class Context:
    """The part of Lambda's context that the functions read."""

    def get_remaining_time_in_millis(self) -> int:
        return 55_000


class FaultyDatabase(Database):
    """A database that fails at random.

    It can't be connected to, meets a deadlock, or loses the connection before or after a statement.
    """

    world: "World"

    def _connected(self, until: float) -> Connection:
        if self.world.fails("database"):
            raise DatabaseUnavailable("refused")
        connection = super()._connected(until)
        execute: Callable[..., list[dict[str, Any]]] = type(connection).query.__get__(connection)
        execute(f"SET timestamp = {self.world.now}")

        def query(sql: str, values: tuple[object, ...] = ()) -> list[dict[str, Any]]:
            if self.world.fails("database"):
                raise pymysql.OperationalError(
                    self.world.random.choice([1213, 2013, 2006]), "before"
                )
            rows = execute(sql, values)
            if self.world.fails("database"):
                raise pymysql.OperationalError(2013, "after")
            return rows

        connection.query = query  # type: ignore[method-assign]  # of this connection only
        return connection


@dataclass
class Message:
    """One message in the queue. visible_at: on the simulation's clock."""

    body: str
    visible_at: float
    receives: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Checkout:
    """One checkout, and the body of the first response to it that was not 503."""

    body: dict[str, Any]
    headers: dict[str, str]
    response: str | None = None


class World:
    """All that surrounds the functions, and what a run has done so far."""

    def __init__(
        self,
        seed: int,
        shop: DatabaseShop,
        functions: dict[str, ModuleType],
        cursor: pymysql.cursors.Cursor,
    ) -> None:
        self.random = random.Random(seed)
        self.cursor = cursor
        self.functions = functions
        self.now: float = EPOCH
        self.faults = {"database": 0.0, "sns": 0.0, "factory": 0.0, "callback": 0.0}
        self.queue: list[Message] = []
        self.dlq: list[Message] = []
        self.callbacks: list[tuple[float, str]] = []
        self.checkouts: list[Checkout] = []
        self.orders_seen: set[str] = set()
        shop.clear(stock=self.random.randint(0, 40), slots=shop.slots())

    def fails(self, what: str) -> bool:
        return self.random.random() < self.faults[what]

    # --- the database

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        self.cursor.execute(sql)
        return list(self.cursor.fetchall())

    def totals(self) -> tuple[int, int, int]:
        """Return how many donuts are in stock, were sold, and have arrived."""
        line = self.books()
        return line["stock"], line["purchases"], line["arrivals"]

    def books(self) -> dict[str, Any]:
        """Return what `make books` prints about the donut."""
        (line,) = read_books(self.cursor)
        return line

    def check_balance(self) -> None:
        """Check that the stock is what was there, plus what arrived, minus what was sold."""
        line = self.books()
        assert line["difference"] == 0, line
        assert line["stock"] >= 0, line

    # --- the topic, the queue and the factory

    def publish(self, order: messages.ProductionOrder, *, topic_arn: str) -> None:
        if self.fails("sns"):
            raise OSError("refused")
        attributes = {
            messages.ATTRIBUTES[name]: {"Value": str(value)}
            for name, value in order._asdict().items()
        }
        for _ in range(self.random.choice([1, 1, 1, 2])):
            self.queue.append(Message(json.dumps({"MessageAttributes": attributes}), self.now))
        if self.fails("sns"):
            raise OSError("timed out after it was published")

    def change_message_visibility(
        self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int
    ) -> dict[str, Any]:
        if self.fails("sns"):
            raise OSError("refused")
        next(m for m in self.queue if m.id == ReceiptHandle).visible_at = (
            self.now + VisibilityTimeout
        )
        return {}

    def manufacture(self, order: messages.ProductionOrder, *, until: float) -> None:
        if self.fails("factory"):
            raise OSError("refused")
        url = self.functions["consumer"].payload(order)["CallbackUrl"]
        delay = self.random.choice([0, 50, 50, 50, 2000, 86_400])
        self.callbacks += [(self.now + delay, url)] * self.random.choice([1, 1, 1, 2])
        if self.fails("factory"):
            raise OSError("returned 500 for an order that it produces")

    # --- the actions

    def request(self, checkout: Checkout) -> None:
        """Send a checkout, and compare the response with the database and with earlier ones."""
        stock, sold, _ = self.totals()
        event = {
            "routeKey": "POST /checkout",
            "headers": checkout.headers,
            "body": json.dumps(checkout.body),
        }
        response = self.functions["sales"].handler(event, None)
        body, quantity = json.loads(response["body"]), checkout.body["MessageAttributeProductCnt"]
        sold_now = self.totals()[1] - sold
        if response["statusCode"] == 503:
            assert self.faults["database"], "503 without a fault"
            assert response["headers"]["retry-after"]
            assert sold_now in (0, quantity)
            return
        assert response["statusCode"] == 200
        if checkout.response:
            assert response["body"] == checkout.response, "a repeat differs from the first response"
            assert sold_now == 0, "a repeat sold again"
            return
        checkout.response = response["body"]
        if not body["purchased"]:
            assert sold_now == 0
            assert body["stock"] < quantity
            self.orders_seen.add(body["order_id"])
        elif sold_now:
            assert sold_now == quantity
            assert body["stock"] == stock - quantity
        else:
            assert checkout.headers, "only a repeat with a key may return an earlier purchase"

    def buy(self) -> None:
        """Let a new client check out."""
        quantity = self.random.choice([1, 1, 2, 3, 5, 20, 40])
        key = (
            {"idempotency-key": f"key-{len(self.checkouts)}"} if self.random.random() < 0.7 else {}
        )
        checkout = Checkout({"MessageAttributeProductCnt": quantity}, key)
        if key:
            self.checkouts.append(checkout)
        self.request(checkout)

    def repeat(self) -> None:
        """Let a client with a key repeat its checkout."""
        if self.checkouts:
            self.request(self.random.choice(self.checkouts))

    def relay(self) -> None:
        """Run the relay."""
        try:
            self.functions["relay"].handler({}, Context())
        except DatabaseUnavailable:
            assert self.faults["database"]

    def consume(self) -> None:
        """Let the consumer receive a batch.

        What was received five times moves to the dead-letter queue.
        """
        visible = [message for message in self.queue if message.visible_at <= self.now]
        for message in [message for message in visible if message.receives >= 5]:
            self.queue.remove(message)
            self.dlq.append(message)
        batch = [message for message in visible if message.receives < 5][:10]
        if not batch:
            return
        for message in batch:
            message.receives += 1
            message.visible_at = self.now + 120
        records = [
            {
                "messageId": message.id,
                "receiptHandle": message.id,
                "body": message.body,
                "attributes": {
                    "ApproximateReceiveCount": str(message.receives),
                    "SentTimestamp": "0",
                },
            }
            for message in batch
        ]
        failures = self.functions["consumer"].handler({"Records": records}, Context())[
            "batchItemFailures"
        ]
        failed = {failure["itemIdentifier"] for failure in failures}
        self.queue = [
            message for message in self.queue if message not in batch or message.id in failed
        ]

    def call_back(self) -> None:
        """Let the factory make the callbacks that are due. One that fails is not repeated."""
        due = [callback for callback in self.callbacks if callback[0] <= self.now]
        self.callbacks = [callback for callback in self.callbacks if callback not in due]
        for _, url in due:
            if not self.fails("callback"):
                self.check_status(self.restock(url), 200)

    def check_status(self, response: dict[str, Any], expected: int) -> None:
        """Check the status of a response, which may also be 503 while the database fails."""
        assert response["statusCode"] in (
            (expected, 503) if self.faults["database"] else (expected,)
        )

    def restock(self, url: str) -> dict[str, Any]:
        """Send a callback, and return the response."""
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        slug = parts.path.removeprefix("/product/")
        event = {"pathParameters": {"slug": slug}, "queryStringParameters": query}
        return self.functions["restock"].handler(event, None)

    def forge(self) -> None:
        """Send callbacks whose token is the order id, and check that nothing changes."""
        for order_id in sorted(self.orders_seen)[:3]:
            before = self.totals()
            response = self.restock(f"/product/donut?order={order_id}&token={order_id}")
            self.check_status(response, 403)
            assert self.totals() == before, f"a forged callback for {order_id} changed something"

    def redrive(self) -> None:
        """Move the messages of the dead-letter queue back to the queue."""
        self.queue += [Message(message.body, self.now) for message in self.dlq]
        self.dlq = []

    def wait(self) -> None:
        """Let the clock jump forward."""
        self.now += self.random.choice([1, 10, 60, 60, 300, 1000])

    def change_faults(self) -> None:
        """Choose anew how likely each kind of fault is."""
        self.faults = {what: self.random.choice([0, 0.1, 0.2, 0.5, 1]) for what in self.faults}

    def run(self) -> None:
        """Take random actions while things fail."""
        weights = {
            self.buy: 6,
            self.repeat: 3,
            self.relay: 2,
            self.consume: 3,
            self.call_back: 3,
            self.forge: 1,
            self.redrive: 1,
            self.wait: 4,
            self.change_faults: 2,
        }
        self.change_faults()
        for _ in range(STEPS):
            (action,) = self.random.choices(list(weights), list(weights.values()))
            action()
            self.check_balance()

    def recover(self) -> None:
        """Let everything work, and redrive, until every order has arrived or is stuck."""
        self.faults = dict.fromkeys(self.faults, 0.0)
        for checkout in self.checkouts:
            self.request(checkout)
        for _ in range(200):
            for action in (
                self.relay,
                self.consume,
                self.redrive,
                self.call_back,
                self.check_balance,
            ):
                action()
            if not self.queue and not self.open_orders():
                if not self.callbacks:
                    return
                self.now = max(self.now, min(self.callbacks)[0])
            self.now += OVERDUE_AFTER
        raise AssertionError(f"still on their way: {self.open_orders()}")

    def open_orders(self) -> list[tuple[Any, ...]]:
        return self.query(
            "SELECT order_id, status FROM production_order"
            " WHERE status IN ('requested', 'published')"
        )

    def check_end(self) -> None:
        """Check that every order has arrived or is stuck, and that every key has its response."""
        orders = self.query("SELECT order_id, status, publications FROM production_order")
        assert self.orders_seen <= {order_id for order_id, _, _ in orders}
        for order_id, status, publications in orders:
            assert status in ("arrived", "stuck"), order_id
            if status == "stuck":
                assert publications > MAX_REMINDERS, f"{order_id} became stuck too early"
        for checkout in self.checkouts:
            assert checkout.response, "a checkout with a key has had nothing but 503"
            self.request(checkout)


@pytest.fixture
def functions(shop: DatabaseShop, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Return the handler modules by function, with stores whose database fails at random."""
    # Longer than the time that is left, so that no third attempt follows after a pause.
    monkeypatch.setattr(deadline, "RETRY_PAUSE", deadline.SECOND_ATTEMPT * 10)
    set_variables(
        monkeypatch,
        DATABASE_SECRET_ARN="sales",
        OVERDUE_AFTER=str(OVERDUE_AFTER),
        MAX_REMINDERS=str(MAX_REMINDERS),
        IDEMPOTENCY_RETENTION=str(10 * 24 * 3600),
    )
    functions = {
        name: importlib.reload(importlib.import_module(f"{name}.handler")) for name in MODULES
    }
    for name in ("sales", "restock", "relay"):
        store = Store(shop.database)
        store._database = FaultyDatabase(replace(shop.database, database_secret_arn=name))
        monkeypatch.setattr(functions[name], "store", store)
    return functions


def test_nothing_is_lost_and_nothing_is_sold_twice(
    shop: DatabaseShop,
    functions: dict[str, ModuleType],
    seeds: Callable[[str], Sequence[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, publish, post = aws.client, messages.publish, functions["consumer"].post
    with owner(shop.server) as connection, connection.cursor() as cursor:
        for seed in seeds("seeds"):
            world = World(seed, shop, functions, cursor)
            monkeypatch.setattr(FaultyDatabase, "world", world, raising=False)
            sqs = fake_client("sqs", ChangeMessageVisibility=world.change_message_visibility)
            monkeypatch.setattr(aws, "client", create_autospec(client, return_value=sqs))
            monkeypatch.setattr(
                messages, "publish", create_autospec(publish, side_effect=world.publish)
            )
            monkeypatch.setattr(
                functions["consumer"], "post", create_autospec(post, side_effect=world.manufacture)
            )
            try:
                world.run()
                world.recover()
                world.check_end()
            except AssertionError as error:
                raise AssertionError(f"replay with --seed={seed}") from error
