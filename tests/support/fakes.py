"""Stand-ins for the functions' collaborators, and for AWS.

tests/unit/test_fakes.py compares the signature of every public method with the original's.
"""

import inspect
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar, cast
from unittest.mock import create_autospec

import boto3
import pymysql
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter

from common import deadline, environment, messages
from common.database import Connection, OutcomeUnknown, Send
from common.server_clock import ServerClock
from common.store import Backlog, CheckoutResult, Claim, RestockResult, StockCorrection, Store
from settings import REGION
from tests.support.orders import ORDER

T = TypeVar("T")


@dataclass
class FakeSalesStore:
    """Stands in for the store of the sales function. Every checkout has the same outcome.

    outcome: the outcome, or an exception that every method but mark_published raises. stock: what
    is left after the checkout. purchased: whether the first request of a replayed key was a
    purchase. first_hash: the hash of that first request; None if it was the same request.
    publishing: an exception that mark_published raises.
    """

    outcome: str | Exception = "sold"
    stock: int = 7
    purchased: bool = True
    first_hash: bytes | None = None
    publishing: Exception | None = None
    checkouts: list[dict[str, Any]] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    published: list[tuple[str, int]] = field(default_factory=list)

    def checkout(
        self,
        *,
        slug: str,
        product_id: str | None,
        quantity: int,
        factory_id: str | None,
        requester: str,
        order_id: str,
        callback_token: str,
        publish_within: int,
        idempotency_key: str | None,
        request_hash: bytes | None,
    ) -> CheckoutResult:
        arguments = locals()
        del arguments["self"]
        self.checkouts.append(arguments)
        outcome = self._outcome()
        result = CheckoutResult(
            outcome=outcome,
            stock=self.stock,
            request_hash=self.first_hash or request_hash,
            product_id=ORDER.product_id,
            slug=ORDER.slug,
            factory_id=factory_id or ORDER.factory_id,
        )
        if outcome == "sold" or (outcome == "replayed" and self.purchased):
            return result._replace(purchased=True)
        return result._replace(order_id="first-order" if outcome == "replayed" else order_id)

    def product(self, slug: str) -> str | None:
        self.looked_up.append(slug)
        self._outcome()
        return '{"sku": "CP-502101", "name": "부산도너츠"}' if slug == "donut" else None

    def order(self, order_id: str) -> str | None:
        self.looked_up.append(order_id)
        self._outcome()
        return '{"status": "published"}' if order_id == "known" else None

    def mark_published(self, order_id: str, *, overdue_after: int) -> None:
        if self.publishing:
            raise self.publishing
        self.published.append((order_id, overdue_after))

    def _outcome(self) -> str:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@dataclass
class FakeRestockStore:
    """Stands in for the store of the restock function. It holds one order.

    error: raised by every call.
    """

    stock: int = 3
    error: Exception | None = None
    arrived: bool = False
    looked_up: list[str] = field(default_factory=list)

    def restock(self, order_id: str, *, slug: str, callback_token: str) -> RestockResult | None:
        if self.error:
            raise self.error
        self.looked_up.append(order_id)
        if (order_id, slug, callback_token) != (ORDER.order_id, ORDER.slug, ORDER.callback_token):
            return None
        added, self.arrived = not self.arrived, True
        self.stock += ORDER.quantity * added
        return RestockResult(added=added, stock=self.stock, lead_time_seconds=60)


@dataclass
class FakeOperateStore:
    """Stands in for the store of the operate function.

    results: what the next `read` returns. stock: of the only product, the donut. error: raised by
    every call. calls: the arguments of each call that changes something, with its id.
    """

    results: list[list[dict[str, Any]]] = field(default_factory=list)
    stock: int = 10
    error: Exception | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)

    def correct_stock(
        self,
        operation_id: str,
        *,
        slug: str,
        count: int | None,
        amount: int | None,
        reason: str,
        recorded_by: str,
    ) -> StockCorrection | None:
        arguments = locals()
        del arguments["self"]
        self._record(arguments)
        if slug != "donut":
            return None
        before = self.stock
        stock = count if count is not None else before + (amount or 0)
        if stock < 0:
            return StockCorrection(changed=False, stock_before=before, stock=before)
        self.stock = stock
        return StockCorrection(changed=True, stock_before=before, stock=stock)

    def remind_stuck(self, operation_id: str, *, order_ids: Sequence[str]) -> int:
        self._record({"operation_id": operation_id, "order_ids": order_ids})
        return len(order_ids)

    def read(
        self, sql: Sequence[str], values: tuple[object, ...] = ()
    ) -> list[list[dict[str, Any]]]:
        if self.error:
            raise self.error
        self.queries += sql
        return self.results or [[] for _ in sql]

    def _record(self, arguments: dict[str, Any]) -> None:
        if self.error:
            raise self.error
        self.calls.append(arguments)


@dataclass
class FakeClock:
    """Stands in for the module `time`. It moves when it sleeps, and when the test moves it."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeRelayStore:
    """Stands in for the store of the relay.

    due: the numbers of the due orders, oldest first, by how often they were published. deleted: the
    orders whose product was deleted. overdue, old_keys, old_outcomes, old_purchases, old_orders: how
    many rows there are to mark as stuck, to delete or to blank. leases: when each claim ends, on the
    clock. portions: how many rows each call changed, by their kind.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    due: dict[int, list[int]] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    overdue: int = 0
    old_keys: int = 0
    old_outcomes: int = 0
    old_purchases: int = 0
    old_orders: int = 0
    leases: dict[str, float] = field(default_factory=dict)
    published: list[str] = field(default_factory=list)
    arguments: dict[str, int] = field(default_factory=dict)
    portions: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def claim_orders(
        self, claim: str, *, publications: int, newest: bool, limit: int, lease: int
    ) -> Claim:
        assert claim not in self.leases, "the claim is not a new one"
        self.leases[claim] = self.clock.now + lease
        claimed = self._first(publications, newest, limit)
        self._remove(publications, set(claimed))
        return Claim(
            orders=[numbered_order(number) for number in claimed if number not in self.deleted],
            stuck=[numbered_order(number).order_id for number in claimed if number in self.deleted],
        )

    def mark_orphans(self, *, publications: int, newest: bool, limit: int) -> int:
        orphans = self.deleted.intersection(self._first(publications, newest, limit))
        self._remove(publications, orphans)
        self.portions["orphans"].append(len(orphans))
        return len(orphans)

    def _first(self, publications: int, newest: bool, limit: int) -> list[int]:
        numbers = self.due.get(publications, [])
        return (numbers[::-1] if newest else numbers)[:limit]

    def _remove(self, publications: int, numbers: set[int]) -> None:
        due = self.due.get(publications, [])
        self.due[publications] = [number for number in due if number not in numbers]

    def mark_stuck(self, *, max_publications: int, limit: int) -> int:
        self.arguments["max_publications"] = max_publications
        return self._portion("overdue", limit)

    def mark_published(self, order_id: str, *, overdue_after: int) -> None:
        self.arguments["overdue_after"] = overdue_after
        self.published.append(order_id)

    def purge_idempotency_keys(self, *, retention: int, limit: int) -> int:
        self.arguments["keys' retention"] = retention
        return self._portion("old_keys", limit)

    def purge_checkout_outcomes(self, *, retention: int, limit: int) -> int:
        self.arguments["outcomes' retention"] = retention
        return self._portion("old_outcomes", limit)

    def blank_purchases(self, *, retention: int, limit: int) -> int:
        self.arguments["purchases' retention"] = retention
        return self._portion("old_purchases", limit)

    def blank_orders(self, *, retention: int, limit: int) -> int:
        self.arguments["orders' retention"] = retention
        return self._portion("old_orders", limit)

    def _portion(self, kind: str, limit: int) -> int:
        portion = min(limit, getattr(self, kind))
        setattr(self, kind, getattr(self, kind) - portion)
        self.portions[kind].append(portion)
        return portion

    def backlog(self) -> Backlog:
        return Backlog(oldest_unpublished_seconds=7, unpublished=3, stuck=2)

    def stocks(self) -> dict[str, int]:
        return {"bagel": 0, "donut": 10}


@dataclass
class FakeSecrets:
    """Stands in for Secrets Manager. It takes as long as the timeouts allow, on its own clock.

    logins: ARN → the username and the password in that secret. read: each read secret's ARN and
    timeouts.
    """

    logins: Mapping[str, Mapping[str, str]]
    clock: FakeClock = field(default_factory=FakeClock)
    read: list[tuple[str, deadline.ClientTimeouts]] = field(default_factory=list)

    def secret(
        self, arn: str, timeouts: deadline.ClientTimeouts = deadline.SECRET
    ) -> dict[str, Any]:
        self.read.append((arn, timeouts))
        self.clock.sleep(timeouts.attempts * (timeouts.connect + timeouts.read))
        return dict(self.logins[arn])


def failing_store(error: Exception) -> Any:
    """Return a stand-in for any function's store, of which every method raises the error."""
    store = create_autospec(Store, instance=True, spec_set=True)
    for name, value in vars(Store).items():
        if inspect.isfunction(value) and not name.startswith("_"):
            getattr(store, name).side_effect = failing(error)
    return store


def failing(error: Exception) -> Callable[..., Any]:
    """Return a function that raises the error."""

    def fail(*args: object, **kwargs: object) -> Any:
        raise error

    return fail


def numbered_order(number: int) -> messages.ProductionOrder:
    return ORDER._replace(order_id=f"order-{number}")


@dataclass
class FakeTopic:
    """Stands in for the module `messages`. rejected: ids of the orders that can't be published."""

    rejected: Collection[str] = ()
    tried: list[str] = field(default_factory=list)
    published: set[str] = field(default_factory=set)
    arns: set[str] = field(default_factory=set)

    def publish(self, order: messages.ProductionOrder, *, topic_arn: str) -> None:
        self.tried.append(order.order_id)
        self.arns.add(topic_arn)
        if order.order_id in self.rejected:
            raise ConnectionError(f"{order.requester} {order.callback_token}")
        self.published.add(order.order_id)


@dataclass
class FakeConnection:
    """Stands in for a database connection. results: those of the next statements, in order."""

    until: float = 0.0
    broken: bool = False
    stale: bool = False
    dropped: bool = False
    results: list[list[dict[str, Any]]] = field(default_factory=list)
    statements: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)
    server_clock: ServerClock = field(default_factory=ServerClock)

    def query(self, sql: str, values: tuple[object, ...] = ()) -> list[dict[str, Any]]:
        self.statements.append((sql, values))
        return [dict(row) for row in self.results.pop(0)]

    def clock(self) -> ServerClock:
        return self.server_clock

    def is_stale(self) -> bool:
        return self.stale

    def extend(self, until: float) -> None:
        self.until = until

    def drop(self) -> None:
        self.dropped = True


@dataclass
class FakeServer:
    """Stands in for the database server. errors: raised by the next connects, in order."""

    errors: list[Exception] = field(default_factory=list)
    logins: list[tuple[str, str, str | None]] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    connections: list[FakeConnection] = field(default_factory=list)

    def connect(
        self,
        config: environment.Database,
        *,
        user: str,
        password: str,
        name: str | None,
        until: float,
    ) -> pymysql.Connection:
        self.logins.append((user, password, name))
        self.deadlines.append(until)
        if self.errors:
            raise self.errors.pop(0)
        self.connections.append(FakeConnection())
        return cast(pymysql.Connection, self.connections[-1])


@dataclass
class FakeDatabase:
    """Stands in for the database of a store.

    lost: the result of the first statement is lost. within: what each `run` was given.
    """

    connection: FakeConnection = field(default_factory=FakeConnection)
    lost: bool = False
    within: list[float | None] = field(default_factory=list)

    def run(
        self, send: Send[T], *, in_doubt: Send[T] | None = None, within: float | None = None
    ) -> T:
        self.within.append(within)
        connection = cast(Connection, self.connection)
        if not self.lost:
            return send(connection)
        send(connection)
        if in_doubt is None:
            raise OutcomeUnknown("OperationalError 2013")
        return in_doubt(connection)


Respond = Callable[[requests.PreparedRequest], urllib3.HTTPResponse]


class FakeFactory(HTTPAdapter):
    """Stands in for the network below `requests`: `respond` returns the factory's responses."""

    def __init__(self, respond: Respond) -> None:
        super().__init__()
        self.respond = respond
        self.requests: list[requests.PreparedRequest] = []
        self.timeouts: list[Any] = []
        self.proxies: list[Any] = []

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        self.requests.append(request)
        self.timeouts.append(timeout)
        self.proxies.append(proxies)
        return self.build_response(request, self.respond(request))

    def order_ids(self) -> list[str]:
        return sorted(str(request.headers["Idempotency-Key"]) for request in self.requests)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Send the requests of every session here."""
        monkeypatch.setattr(
            HTTPAdapter, "send", lambda _, request, **options: self.send(request, **options)
        )


def fake_client(service: str, **operations: Callable[..., dict[str, Any]]) -> Any:
    """Return a boto3 client that calls these functions instead of AWS.

    The client itself checks the parameters first, as it always does. operations: operation, such
    as FilterLogEvents → a function that takes its parameters and returns its response.
    """

    def respond(
        model: Any, params: dict[str, Any], **_: object
    ) -> tuple[SimpleNamespace, dict[str, Any]]:
        parameters = json.loads(params["body"])
        return SimpleNamespace(status_code=200), operations[model.name](**parameters)

    client = boto3.client(service, region_name=REGION)
    client.meta.events.register("before-call", respond)
    return client
