"""A shop in an AWS account, as its operators see it: by the function `operate`, and by AWS.

A local cloud can be looked at in the same way.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from console import books, view
from console.responses import (
    QUEUE_ATTRIBUTES,
    as_alarm,
    counted_queue,
    max_receives,
    order_row,
)
from console.source import (
    Alarms,
    Books,
    Log,
    OrderRow,
    Orders,
    Part,
    Queues,
    Throttled,
    Unavailable,
    now,
)
from operations import aws, status, trace
from operations.logs import BACK_SECONDS, LATE_SECONDS, PAUSE_SECONDS, LogLine, Tail, log_groups
from operations.operate import Failed, OperateFunction, Rejected, Table
from operations.smoke import ShopApi
from settings import Settings

OWN_VERBS = ("orders", "order", "books")
"""What the console asks the function `operate`, whose log lines it leaves out."""
DESCRIPTION = ("product_id", "name", "price")
"""What the function `operate` does not tell of a product."""


class Account:
    """The source of an environment on an account.

    client: returns the client of an AWS service, as operations.aws.client does. claimed_by: the
    caller's ARN, which the function `operate` logs. api: the shop's, which describes its products;
    None: the database does.
    """

    can_break = False
    late: float = LATE_SECONDS
    pause: float = PAUSE_SECONDS

    def __init__(
        self,
        settings: Settings,
        *,
        client: Callable[[str], Any],
        claimed_by: str,
        api: ShopApi | None,
    ) -> None:
        self.settings = settings
        self._new_client = client
        self._clients: dict[str, Any] = {}
        self._creating = threading.Lock()
        self._operating = threading.Lock()
        self._claimed_by = claimed_by
        self._api = api
        self._descriptions: dict[str, Mapping[str, Any]] = {}
        self._tail: Tail | None = None
        self._tail_read_at = 0.0

    @property
    def url(self) -> str | None:
        return self._api.url if self._api else None

    def parts(self) -> Mapping[str, Part]:
        return {
            "orders": Part(problem="database", seconds=5, read=self.orders),
            "books": Part(problem="database", seconds=5, rest=10, read=self.books),
            "queues": Part(problem="queues", seconds=5, read=self.queues),
            "log": Part(problem="logs", seconds=2, read=self.log),
            "alarms": Part(problem="alarms", seconds=60, read=self.alarms),
            "throttled": Part(problem="alarms", seconds=60, read=self.throttled),
        }

    def client(self, service: str) -> Any:
        """Return the client of a service, the same one each time.

        Creating clients is not safe in several threads at once.
        """
        with self._creating:
            if service not in self._clients:
                self._clients[service] = self._new_client(service)
            return self._clients[service]

    def orders(self) -> Orders:
        """Ask the function for the open orders. Raises Unavailable."""
        published, others, by_status = self._operate("orders")
        counted = {row["status"]: row for row in by_status["rows"]}

        def count(name: str) -> int:
            return int(counted[name]["orders"]) if name in counted else 0

        listed = [*published["rows"], *others["rows"]]
        return Orders(
            rows=[order_row(row) for row in listed],
            lists_arrived=False,
            lists_every_open=not (published["cut"] or others["cut"]),
            requested=count("requested"),
            oldest_requested_seconds=counted.get("requested", {}).get("oldest_seconds"),
            stuck=count("stuck"),
            arrived=count("arrived"),
        )

    def books(self) -> Books:
        """Ask the function for the books. Raises Unavailable."""
        (table,) = self._operate("books")
        rows = table["rows"]
        return Books(
            at=now(),
            rows=rows,
            offending={"balance": books.balance(rows), "not_negative": books.not_negative(rows)},
            products=[
                view.Product(
                    slug=row["slug"],
                    stock=row["stock"],
                    max_quantity=self.settings.max_quantity,
                    **self._description(row["slug"]),
                )
                for row in rows
            ],
        )

    def _description(self, slug: str) -> Mapping[str, Any]:
        """Return what customers see of a product, which is requested until it has been returned."""
        if self._api and slug not in self._descriptions:
            with suppress(OSError, ValueError):
                status_code, product = self._api.call("GET", f"/product/{quote(slug)}")
                if status_code == 200:
                    self._descriptions[slug] = {name: product.get(name) for name in DESCRIPTION}
        return self._descriptions.get(slug, dict.fromkeys(DESCRIPTION))

    def queues(self) -> Queues:
        """Ask SQS how many messages there are. Raises Unavailable."""
        with unavailable():
            attributes, dead = (self._attributes(name) for name in ("stock_queue", "stock_dlq"))
            return Queues(
                queue=counted_queue(attributes),
                dead_letters=counted_queue(dead),
                max_receives=max_receives(attributes),
            )

    def log(self) -> Log:
        """Read the new log lines. Raises Unavailable."""
        with unavailable():
            began = time.monotonic()
            if self._tail is None or began - self._tail_read_at > BACK_SECONDS:
                self._tail = self._new_tail()
            lines = [line for line in self._tail.read() if not self._is_own(line)]
            self._tail_read_at = began
            return Log(lines=lines)

    def alarms(self) -> Alarms:
        """Ask CloudWatch for the alarms. Raises Unavailable."""
        prefix = self.settings.alarm_name("")
        with unavailable():
            client = self.client("cloudwatch")
            found = aws.listed(client, "describe_alarms", "MetricAlarms", AlarmNamePrefix=prefix)
            alarms = [as_alarm(each, prefix=prefix) for each in found]
        return Alarms(alarms=sorted(alarms, key=lambda alarm: alarm.name))

    def throttled(self) -> Throttled:
        """Ask CloudWatch how many invocations were throttled lately. Raises Unavailable."""
        with unavailable():
            rows = list(status.throttles(self.client, self.settings))
        return Throttled(counts={str(row["function"]): int(str(row["throttled"])) for row in rows})

    def order(self, order_id: str) -> tuple[OrderRow | None, Sequence[LogLine]]:
        """Return an order's row and its lines, as `make trace` finds them. Raises Unavailable."""
        row = self._order_row(order_id)
        if row is None:  # a query of the logs would read all of them, which is billed
            return None, ()
        end = time.time()
        start = max(
            end - self.settings.log_retention_days * 24 * 3600,
            row.requested_at / 1000 - trace.CLOCK_SECONDS,
        )
        groups = log_groups(self.settings)
        with unavailable():
            events = trace.query(self.client("logs"), [*groups], order_id, start=start, end=end)
            lines = [line for line in trace.logged(events, groups) if not self._is_own(line)]
        return row, sorted(lines, key=lambda line: line.at)

    def _order_row(self, order_id: str) -> OrderRow | None:
        try:
            order, timeline = self._operate("order", order_id=order_id)
        except NotFound:
            return None
        times = {step["what"].partition(" ")[0]: step["at"] for step in timeline["rows"]}
        (row,) = order["rows"]
        return order_row({**row, **{name: times.get(what) for name, what in TIMES.items()}})

    def _operate(self, verb: str, **fields: object) -> Sequence[Table]:
        """Return the tables of a verb. Only one is asked for at a time: each takes a connection.

        Raises Unavailable.
        """
        with self._operating, unavailable():
            function = OperateFunction(
                self.client("lambda"), self.settings, claimed_by=self._claimed_by
            )
            return function.invoke(verb, **fields)

    def _attributes(self, queue: str) -> Mapping[str, str]:
        sqs = self.client("sqs")
        url = sqs.get_queue_url(QueueName=self.settings.queue_name(queue))["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=QUEUE_ATTRIBUTES)
        return dict(found["Attributes"])

    def _new_tail(self) -> Tail:
        groups = log_groups(self.settings)
        return Tail(self.client("logs"), groups, late=self.late, pause=self.pause)

    def _is_own(self, line: LogLine) -> bool:
        """Return whether the line is about the console's own reading."""
        return (
            line.source == "operate"
            and line.fields.get("claimed_by") == self._claimed_by
            and line.fields.get("verb") in OWN_VERBS
        )


class NotFound(Unavailable):
    """There is no such order."""


TIMES = {
    "requested_at": "requested",
    "published_at": "published",
    "stuck_at": "marked",
    "arrived_at": "arrived",
}
"""The columns of an order's times, and the first word of their lines in the timeline."""


@contextmanager
def unavailable() -> Iterator[None]:
    """Raise Unavailable, with one sentence, instead of what the interfaces raise."""
    try:
        yield
    except Rejected as error:
        raise NotFound(str(error)) from error
    except Failed as error:
        raise Unavailable(str(error)) from error
    except (BotoCoreError, ClientError, LookupError, TypeError, ValueError) as error:
        raise Unavailable(aws.sentence(error)) from error
