"""The whole state machine in one process: the functions' own handlers on a real MariaDB, with a clock that jumps and
neighbours (SNS, SQS, the factory, the network to the database) that fail as a seed's random numbers say.

`SEEDS=5000 pytest tests/integration/test_simulation.py` tries more; `SEED=17 …` replays one.
"""

import importlib
import json
import os
import random
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pymysql
import pytest

from common import aws, deadline, messages
from common.database import Connection, Database, DatabaseUnavailable
from common.store import Store
from tests.support.books import owner
from tests.support.database_shop import Shop
from tests.support.variables import MAX_REMINDERS, OVERDUE_AFTER, SIMULATION

SEEDS = (
    [int(os.environ["SEED"])] if "SEED" in os.environ else range(int(os.environ.get("SEEDS", "60")))
)
STEPS = 40
EPOCH = 1_800_000_000
MODULES = ("sales", "restock", "relay", "consumer")


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 55_000


class FaultyDatabase(Database):
    """Loses its connection before or after the server has done the work, is refused, or meets a deadlock."""

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

        connection.query = query  # type: ignore[method-assign]
        return connection


@dataclass
class Message:
    body: str
    visible_at: float
    receives: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Client:
    """One keyed request, and the first answer to it that was not 503."""

    body: dict[str, Any]
    headers: dict[str, str]
    answer: tuple[int, str] | None = None


class World:
    def __init__(
        self,
        seed: int,
        shop: Shop,
        functions: dict[str, ModuleType],
        cursor: pymysql.cursors.Cursor,
    ) -> None:
        self.random = random.Random(seed)
        self.cursor = cursor
        self.functions = functions
        self.now = EPOCH
        self.faults = {"database": 0.0, "sns": 0.0, "factory": 0.0, "callback": 0.0}
        self.queue: list[Message] = []
        self.dlq: list[Message] = []
        self.callbacks: list[tuple[float, str]] = []
        self.clients: list[Client] = []
        self.orders_seen: set[str] = set()
        self.initial = self.random.randint(0, 40)
        for table in ("purchase", "production_order", "idempotency_key", "checkout_outcome"):
            cursor.execute(f"DELETE FROM {table}")
        cursor.execute("UPDATE product SET stock = %s", (self.initial,))

    def fails(self, what: str) -> bool:
        return self.random.random() < self.faults[what]

    # --- what the database holds

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        self.cursor.execute(sql)
        return list(self.cursor.fetchall())

    def totals(self) -> tuple[int, int, int]:
        """Stock, sold, arrived."""
        ((stock, sold, arrived),) = self.ask(
            "SELECT stock, (SELECT COALESCE(SUM(quantity), 0) FROM purchase),"
            " (SELECT COALESCE(SUM(quantity), 0) FROM production_order WHERE status = 'arrived') FROM product"
        )
        return stock, int(sold), int(arrived)

    def check_balance(self) -> None:
        stock, sold, arrived = self.totals()
        assert self.initial + arrived - sold == stock >= 0

    # --- the neighbours

    def publish(self, order: messages.ProductionOrder, *, topic_arn: str) -> None:
        if self.fails("sns"):
            raise OSError("refused")
        attributes = {
            messages.ATTRIBUTES[name]: {"Value": str(value)}
            for name, value in asdict(order).items()
        }
        for _ in range(self.random.choice([1, 1, 1, 2])):
            self.queue.append(Message(json.dumps({"MessageAttributes": attributes}), self.now))
        if self.fails("sns"):
            raise OSError("timed out, but it is out")

    def change_message_visibility(
        self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int
    ) -> None:
        if self.fails("sns"):
            raise OSError("refused")
        next(m for m in self.queue if m.id == ReceiptHandle).visible_at = (
            self.now + VisibilityTimeout
        )

    def manufacture(self, order: messages.ProductionOrder, *, until: float) -> None:
        if self.fails("factory"):
            raise OSError("refused")
        url = self.functions["consumer"].payload(order)["CallbackUrl"]
        delay = self.random.choice([0, 50, 50, 50, 2000, 86_400])
        self.callbacks += [(self.now + delay, url)] * self.random.choice([1, 1, 1, 2])
        if self.fails("factory"):
            raise OSError("answered 500, but builds")

    # --- what happens

    def request(self, client: Client) -> None:
        stock, sold, _ = self.totals()
        event = {
            "routeKey": "POST /checkout",
            "headers": client.headers,
            "body": json.dumps(client.body),
        }
        answer = self.functions["sales"].handler(event, None)
        body, quantity = json.loads(answer["body"]), client.body["MessageAttributeProductCnt"]
        grown = self.totals()[1] - sold
        if answer["statusCode"] == 503:
            assert (
                self.faults["database"]
                and answer["headers"]["retry-after"]
                and grown in (0, quantity)
            )
            return
        assert answer["statusCode"] == 200
        if client.answer:
            assert (200, answer["body"]) == client.answer and grown == 0
            return
        client.answer = 200, answer["body"]
        if body["purchased"]:
            # With a key, a repeat may tell of a sale that was made before the connection broke.
            assert (grown == quantity and body["stock"] == stock - quantity) or (
                client.headers and grown == 0
            )
        else:
            assert grown == 0 and body["stock"] < quantity
            self.orders_seen.add(body["order_id"])

    def buy(self) -> None:
        quantity = self.random.choice([1, 1, 2, 3, 5, 20, 40])
        key = {"idempotency-key": f"key-{len(self.clients)}"} if self.random.random() < 0.7 else {}
        client = Client({"MessageAttributeProductCnt": quantity}, key)
        if key:
            self.clients.append(client)
        self.request(client)

    def repeat(self) -> None:
        if self.clients:
            self.request(self.random.choice(self.clients))

    def relay(self) -> None:
        try:
            self.functions["relay"].handler({}, Context())
        except DatabaseUnavailable:
            assert self.faults["database"]

    def consume(self) -> None:
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
                "attributes": {"ApproximateReceiveCount": str(message.receives)},
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
        due = [callback for callback in self.callbacks if callback[0] <= self.now]
        self.callbacks = [callback for callback in self.callbacks if callback not in due]
        for _, url in due:
            if not self.fails("callback"):
                answer = self.restock(url)
                assert answer["statusCode"] == 200 or (
                    self.faults["database"] and answer["statusCode"] == 503
                )

    def restock(self, url: str) -> dict[str, Any]:
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        slug = parts.path.removeprefix("/product/")
        event = {"pathParameters": {"slug": slug}, "queryStringParameters": query}
        return self.functions["restock"].handler(event, None)

    def forge(self) -> None:
        for order_id in sorted(self.orders_seen)[:3]:
            before = self.totals()
            answer = self.restock(f"/product/donut?order={order_id}&token={order_id}")
            assert answer["statusCode"] == 403 or (
                self.faults["database"] and answer["statusCode"] == 503
            )
            assert self.totals() == before

    def redrive(self) -> None:
        self.queue += [Message(message.body, self.now) for message in self.dlq]
        self.dlq = []

    def wait(self) -> None:
        self.now += self.random.choice([1, 10, 60, 60, 300, 1000])

    def change_weather(self) -> None:
        self.faults = {what: self.random.choice([0, 0.1, 0.2, 0.5, 1]) for what in self.faults}

    def live(self) -> None:
        actions = [
            self.buy,
            self.repeat,
            self.relay,
            self.consume,
            self.call_back,
            self.forge,
            self.redrive,
            self.wait,
        ]
        self.change_weather()
        for _ in range(STEPS):
            action = self.random.choices(
                [*actions, self.change_weather], [6, 3, 2, 3, 3, 1, 1, 4, 2]
            )[0]
            action()
            if action not in (self.wait, self.change_weather, self.redrive):
                self.check_balance()

    def heal(self) -> None:
        """Everything works again, and nobody intervenes but to redrive: in the end nothing is on its way."""
        self.faults = dict.fromkeys(self.faults, 0.0)
        for client in self.clients:
            self.request(client)
        for _ in range(200):
            for action in (
                self.relay,
                self.consume,
                self.redrive,
                self.call_back,
                self.check_balance,
            ):
                action()
            if not self.queue and not self.waiting():
                if not self.callbacks:
                    return
                self.now = max(self.now, min(self.callbacks)[0])
            self.now += OVERDUE_AFTER
        raise AssertionError(f"still on their way: {self.waiting()}")

    def waiting(self) -> list[tuple[Any, ...]]:
        return self.ask(
            "SELECT order_id, status FROM production_order WHERE status IN ('requested', 'published')"
        )

    def check_end(self) -> None:
        ended = {
            order_id: (status, publications)
            for order_id, status, publications in self.ask(
                "SELECT order_id, status, publications FROM production_order"
            )
        }
        assert self.orders_seen <= ended.keys()
        assert all(
            status == "arrived" or (status == "stuck" and publications > MAX_REMINDERS)
            for status, publications in ended.values()
        )
        for client in self.clients:
            assert client.answer, "a repeat with the key always learns the truth"
            self.request(client)


@pytest.fixture
def functions(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.setenv("DATABASE_SECRET_ARN", "sales")
    monkeypatch.setattr(
        deadline, "RETRY_PAUSE", deadline.SECOND_ATTEMPT * 10
    )  # one second attempt, without a pause
    for name, value in SIMULATION.items():
        monkeypatch.setenv(name, value)
    functions = {
        name: importlib.reload(importlib.import_module(f"{name}.handler")) for name in MODULES
    }
    for name in ("sales", "restock", "relay"):
        store = Store(shop.database)
        store._database = FaultyDatabase(replace(shop.database, database_secret_arn=name))
        monkeypatch.setattr(functions[name], "store", store)
    return functions


@pytest.mark.usefixtures("undurable")
def test_nothing_is_lost_and_nothing_sold_twice(
    shop: Shop, functions: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    with owner(shop.server) as connection, connection.cursor() as cursor:
        for seed in SEEDS:
            world = World(seed, shop, functions, cursor)
            monkeypatch.setattr(FaultyDatabase, "world", world, raising=False)
            monkeypatch.setattr(messages, "publish", world.publish)
            monkeypatch.setattr(functions["consumer"], "post", world.manufacture)
            monkeypatch.setattr(aws, "client", lambda *_, world=world: world)
            try:
                world.live()
                world.heal()
                world.check_end()
            except AssertionError as error:
                raise AssertionError(f"replay with SEED={seed}") from error
