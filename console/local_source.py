"""The shop in a local cloud: seen as an account is, and also from the inside."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.config import Config

from console import breaking, view
from console.account import Account, unavailable
from console.local_database import LocalDatabase
from console.responses import max_receives
from console.source import (
    Alarms,
    Books,
    Breakages,
    Factory,
    Made,
    Message,
    OrderRow,
    Orders,
    Part,
    Queues,
    Unavailable,
)
from local.breakage import Breakage, breakages, deployed_factory_url
from local.cloud import Cloud
from local.factory import DIRECTLY
from local.processes import LocalError
from settings import ENVIRONMENTS

SETTINGS = ENVIRONMENTS["local"]
OPERATOR = "console"
AT_ONCE = Config(proxies={}, connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1})
"""Does not wait for an emulator that is away, or that rejects calls on purpose."""
NEWEST = 200
"""How many of the orders that the factory has received are looked at."""
QUEUES = ("stock_queue", "stock_dlq")
"""In this order, a message that moves is never missing from both."""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What belongs to the shop that is deployed now."""

    emulator: str
    """The URL at which it was found."""
    factory: str
    breakages: Mapping[str, Breakage]


class LocalSource(Account):
    """The source of a local cloud, which need not run yet."""

    can_break = True
    late = 5.0
    pause = 0.0

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(SETTINGS, client=self._connect, claimed_by=OPERATOR, api=None)
        self._cloud = cloud
        self._database = LocalDatabase(cloud.mysql_cnf)
        self._max_receives: int | None = None
        self._described: Mapping[str, view.Alarm] = {}
        self._emulator: str | None = None
        self._found: Deployed | None = None

    @property
    def url(self) -> str | None:
        try:
            return self._cloud.endpoint
        except LocalError:
            return None

    def parts(self) -> Mapping[str, Part]:
        return {
            "orders": Part(problem="database", seconds=0.4, read=self.orders),
            "books": Part(problem="database", seconds=1, rest=4, read=self.books),
            "queues": Part(problem="queues", seconds=0.3, read=self.queues),
            "factory": Part(problem="factory", seconds=0.3, read=self.factory),
            "log": Part(problem="logs", seconds=0.4, read=self.log),
            "alarms": Part(problem="alarms", seconds=10, read=self.alarms),
            "breakages": Part(problem="shop", seconds=0.5, read=self.breakages),
        }

    def client(self, service: str) -> Any:
        """Return the client of a service, the same one until the emulator has another port.

        Raises Unavailable if the cloud does not run.
        """
        emulator = self._emulator_url()
        with self._creating:
            if self._emulator != emulator:
                self._clients.clear()
                self._emulator, self._tail = emulator, None
        return super().client(service)

    def orders(self) -> Orders:
        return self._database.orders(max_quantity=self.settings.max_quantity)

    def books(self) -> Books:
        return self._database.books()

    def queues(self) -> Queues:
        """Look at the messages in the queues. Raises Unavailable."""
        names = [self.settings.queue_name(name) for name in QUEUES]
        self._emulator_url()
        try:
            held = self._cloud.control("messages", names)
        except (OSError, ValueError) as error:
            raise Unavailable(f"the emulator can't be reached: {error}") from error
        if missing := set(names) - held.keys():
            raise Unavailable(f"there is no queue {min(missing)}: the shop is not deployed")
        here, dead = ([Message(**message) for message in held[name]] for name in names)
        return Queues(
            queue=counted(here),
            dead_letters=counted(dead),
            max_receives=self._most_receives(),
            messages=here,
            dead=dead,
        )

    def factory(self) -> Factory:
        """Ask the local factory which orders it has received. Raises Unavailable."""
        url = f"{self._deployed().factory}/?newest={NEWEST}"
        try:
            with DIRECTLY.open(url, timeout=5) as response:
                received = json.load(response)
            return Factory(made=[made(each) for each in received if is_of_an_order(each)])
        except (OSError, ValueError, LookupError, TypeError) as error:
            self._found = None  # the shop may have got another factory
            raise Unavailable(f"the factory does not list its orders at {url}: {error}") from error

    def alarms(self) -> Alarms:
        report = super().alarms()
        self._described = {alarm.name: alarm for alarm in report.alarms}
        return report

    def breakages(self) -> Breakages:
        """Return what can be broken, and what is. Raises Unavailable."""
        return Breakages(breakages=breaking.described(self._deployed().breakages, self._described))

    def _order_row(self, order_id: str) -> OrderRow | None:
        return self._database.order(order_id)

    def _emulator_url(self) -> str:
        try:
            return self._cloud.aws_endpoint_url
        except LocalError as error:
            raise Unavailable(str(error)) from error

    def _connect(self, service: str) -> Any:
        return self._cloud.client(service, config=AT_ONCE)

    def _deployed(self) -> Deployed:
        """Return what is deployed, which is looked up once for each emulator. Raises Unavailable."""
        emulator, found = self._emulator_url(), self._found
        if found is None or found.emulator != emulator:
            consumer = self.settings.function_name("consumer")
            with (
                unavailable()
            ):  # fails at once if the emulator is away, as the cloud's own does not
                self.client("lambda").get_function_configuration(FunctionName=consumer)
            with unavailable(), self._creating:
                found = Deployed(
                    emulator=emulator,
                    factory=deployed_factory_url(self._cloud),
                    breakages=breakages(self._cloud),
                )
            self._found = found
        return found

    def _most_receives(self) -> int | None:
        """Return the queue's limit of receives, which SQS may not say while it is broken."""
        if self._max_receives is None:
            try:
                with unavailable():
                    self._max_receives = max_receives(self._attributes("stock_queue"))
            except Unavailable:
                return None
        return self._max_receives


def counted(messages: Sequence[Message]) -> view.Queue:
    """Return how many messages can be received, and how many were. The shop delays none."""
    in_flight = sum(message.in_flight for message in messages)
    return view.Queue(visible=len(messages) - in_flight, in_flight=in_flight, delayed=0)


def is_of_an_order(received: Mapping[str, Any]) -> bool:
    """Return whether the factory was told an order's id."""
    return "idempotency-key" in received["headers"]


def made(received: Mapping[str, Any]) -> Made:
    """Return a request as the factory lists it, without the callback's token and the requester."""
    return Made(
        order_id=received["headers"]["idempotency-key"],
        received_at=milliseconds(received["received_at"]),
        status=received["status"],
        stage=received["stage"],
        stages_began=[milliseconds(at) for at in received["stages_began"]],
        called_back_at=milliseconds(received["called_back_at"])
        if received["called_back_at"]
        else None,
        callback_status=received["callback_status"],
    )


def milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
