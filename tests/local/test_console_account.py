"""console/account.py: what the console asks of an account, with AWS and the function replaced."""

import io
import json
import urllib.request
import urllib.response
from email.message import Message
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from common import deadline
from console import view
from console.__main__ import client
from console.account import Account
from console.source import Unavailable
from operations import aws as aws_clients
from operations.logs import BACK_SECONDS
from operations.operate import PATIENT
from operations.smoke import ShopApi
from settings import ENVIRONMENTS, FUNCTIONS, REGION
from tests.support.fakes import fake_client
from tests.support.reports import ORDER, at, row

DEV = ENVIRONMENTS["dev"]
WHO = "arn:aws:iam::123456789012:user/somebody"
NOW = at(20) / 1000
TIMES = {
    "requested_at": "2026-11-24T00:00:00.000Z",
    "published_at": "2026-11-24T00:00:00.050Z",
    "next_attempt_at": "2026-11-24T00:15:00.050Z",
}
LISTED = {
    "order_id": ORDER,
    "status": "published",
    "product_id": "e3957c48-2e06-4d5e-8404-4ff32e8b8f9f",
    "quantity": 40,
    "publications": 1,
    "attempts": 0,
}
STUCK = LISTED | TIMES | {"order_id": "stuck", "status": "stuck", "next_attempt_at": None}


def table(title: str, *rows: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "rows": list(rows), "cut": False}


def by_status(status: str, orders: int, oldest: int | None) -> dict[str, Any]:
    return {"status": status, "orders": orders, "quantity": 1, "oldest_seconds": oldest}


DONUT, BAGEL = (f"https://shop.example/product/{slug}" for slug in ("donut", "bagel"))
PRODUCTS: dict[str, dict[str, Any]] = {
    DONUT: {"product_id": "e3957c48-2e06-4d5e-8404-4ff32e8b8f9f", "name": "도너츠", "price": 19900},
    BAGEL: {"product_id": "5b8f9ed2-0e4c-4b4f-8a0a-6f9b4dbd6a0e", "name": "베이글", "price": 9900},
}
BOOK = {"slug": "donut", "stock": 10, "difference": 0}
TABLES: dict[str, list[dict[str, Any]]] = {
    "orders": [
        table("published", LISTED | TIMES),
        table("requested and stuck", STUCK),
        table(
            "by status",
            by_status("requested", 3, 7),
            by_status("published", 1, 20),
            by_status("stuck", 1, 900),
            by_status("arrived", 5, None),
        ),
    ],
    "books": [table("books", BOOK, {"slug": "bagel", "stock": -1, "difference": -1})],
    "order": [
        table("order", LISTED | {"slug": "donut"}),
        table(
            "timeline",
            {"at": TIMES["requested_at"], "what": "requested"},
            {"at": TIMES["published_at"], "what": "published for the last time"},
            {"at": "2026-11-24T00:00:09.000Z", "what": "marked as stuck"},
            {"at": "2026-11-24T00:00:10.000Z", "what": "arrived"},
            {"at": "2026-11-24T00:15:00.050Z", "what": "next: the relay reminds the factory"},
        ),
    ],
}


class Aws:
    """Stands in for an account in which the shop is deployed.

    tables: what the function `operate` returns for each verb, or its whole response. events: what
    it was invoked with. logged: log group → the time in milliseconds and the line of each event.
    products: URL → what the API returns; None: the response does not arrive. requested: the URLs.
    """

    def __init__(self) -> None:
        self.tables: dict[str, Any] = dict(TABLES)
        self.events: list[dict[str, Any]] = []
        self.logged: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self.queries: list[dict[str, Any]] = []
        self.created: list[str] = []
        self.products: dict[str, dict[str, Any] | None] = dict(PRODUCTS)
        self.requested: list[str] = []
        self.api = ShopApi("https://shop.example", open=self.open)
        self.clients = {
            "lambda": fake_client("lambda", Invoke=self.invoke),
            "logs": fake_client(
                "logs",
                FilterLogEvents=self.filter_log_events,
                StartQuery=self.start_query,
                GetQueryResults=self.get_query_results,
            ),
        }

    def client(self, service: str) -> Any:
        self.created.append(service)
        return self.clients.get(service) or boto3.client(service, region_name=REGION)

    def open(self, request: urllib.request.Request, *, timeout: float) -> Any:
        self.requested.append(request.full_url)
        product = self.products[request.full_url]
        if product is None:
            raise OSError("refused")
        response = urllib.response.addinfourl(
            io.BytesIO(json.dumps(product).encode()), Message(), request.full_url, 200
        )
        return response

    def invoke(self, **event: Any) -> dict[str, Any]:
        self.events.append(event)
        returned = self.tables[event["verb"]]
        if isinstance(returned, Exception):
            raise returned
        content = {"tables": returned} if isinstance(returned, list) else returned
        return {
            "Payload": io.BytesIO(json.dumps(content).encode()),
            "ResponseMetadata": {"RetryAttempts": 0},
        }

    def filter_log_events(
        self, *, logGroupName: str, startTime: int, endTime: int
    ) -> dict[str, Any]:
        found = [
            {"logStreamName": "stream", "timestamp": time, "message": json.dumps(line)}
            for time, line in self.logged.get(logGroupName, [])
            if startTime <= time <= endTime
        ]
        return {"events": found}

    def start_query(self, **query: Any) -> dict[str, Any]:
        self.queries.append(query)
        return {"queryId": "a-query"}

    def get_query_results(self, **_: Any) -> dict[str, Any]:
        line = {"level": "INFO", "message": "placed", "order_id": ORDER}
        values = {
            "@timestamp": "2026-11-24 00:00:01.000",
            "@log": f"123456789012:{DEV.log_group('consumer')}",
            "@message": json.dumps(line),
        }
        row = [{"field": name, "value": value} for name, value in values.items()]
        return {"status": "Complete", "results": [row]}


@pytest.fixture
def cloud(aws: None, monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setattr("operations.logs.time.time", lambda: NOW)
    monkeypatch.setattr("operations.logs.time.sleep", lambda seconds: None)
    return Aws()


@pytest.fixture
def account(cloud: Aws) -> Account:
    return Account(DEV, client=cloud.client, claimed_by=WHO, api=cloud.api)


def test_open_orders_are_those_of_the_function(account: Account, cloud: Aws) -> None:
    report = account.orders()
    published_at = at(0.05)
    stuck = row("stuck", order_id="stuck", slug=None, published_at=published_at)
    assert report.rows == [row(slug=None), stuck]
    assert not report.lists_arrived
    assert (report.requested, report.oldest_requested_seconds) == (3, 7)
    assert (report.stuck, report.arrived) == (1, 5)
    assert cloud.events == [{"verb": "orders", "claimed_by": WHO}]


def test_statuses_without_orders_are_counted_as_none(account: Account, cloud: Aws) -> None:
    cloud.tables["orders"] = [table("a"), table("b"), table("c")]
    report = account.orders()
    assert (report.requested, report.oldest_requested_seconds) == (0, None)
    assert (report.stuck, report.arrived, report.rows) == (0, 0, [])


def test_books_are_checked_as_far_as_the_function_tells(account: Account) -> None:
    report = account.books()
    wrong = {"slug": "bagel", "stock": -1, "difference": -1}
    assert report.rows == [BOOK, wrong]
    assert report.offending == {"balance": [wrong], "not_negative": [wrong]}
    assert report.sold is None
    assert report.products
    assert [(each.slug, each.stock) for each in report.products] == [("donut", 10), ("bagel", -1)]


def test_products_are_described_by_the_api_once(account: Account, cloud: Aws) -> None:
    """A checkout of another product than the donut needs its id."""
    cloud.products["https://shop.example/product/bagel"] = None
    for bagel in ({"product_id": None, "name": None, "price": None}, PRODUCTS[BAGEL]):
        products = account.books().products
        assert products
        described = [
            {"product_id": each.product_id, "name": each.name, "price": each.price}
            for each in products
        ]
        assert described == [PRODUCTS[DONUT], bagel]
        cloud.products = dict(PRODUCTS)
    account.books()
    assert cloud.requested == [DONUT, BAGEL, BAGEL]


def test_queues_are_counted_by_sqs(account: Account) -> None:
    sqs = boto3.client("sqs", region_name=REGION)
    dead = sqs.create_queue(QueueName=DEV.queue_name("stock_dlq"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]
    policy = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": 5}
    queue = sqs.create_queue(
        QueueName=DEV.queue_name("stock_queue"), Attributes={"RedrivePolicy": json.dumps(policy)}
    )["QueueUrl"]
    for body in "abc":
        sqs.send_message(QueueUrl=queue, MessageBody=body)
    sqs.receive_message(QueueUrl=queue)
    sqs.send_message(QueueUrl=dead, MessageBody="d")
    report = account.queues()
    assert report.queue == view.Queue(visible=2, in_flight=1, delayed=0)
    assert report.dead_letters == view.Queue(visible=1, in_flight=0, delayed=0)
    assert report.max_receives == 5
    assert report.messages is None


def test_alarms_are_those_of_the_environment(account: Account) -> None:
    cloudwatch = boto3.client("cloudwatch", region_name=REGION)
    for name in (DEV.alarm_name("StuckOrders"), "another-alarm"):
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            AlarmDescription="They are stuck.",
            MetricName="stuck",
            Namespace=DEV.metric_namespace,
            Statistic="Maximum",
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            EvaluationPeriods=1,
            Period=60,
            Threshold=1,
        )
    cloudwatch.set_alarm_state(
        AlarmName=DEV.alarm_name("StuckOrders"), StateValue="ALARM", StateReason="a test"
    )
    assert account.alarms().alarms == [
        view.Alarm(
            name="StuckOrders",
            description="They are stuck.",
            threshold=1,
            comparison="GreaterThanOrEqualToThreshold",
            periods=1,
            period_seconds=60,
            state="ALARM",
        )
    ]


def test_throttled_invocations_are_counted_by_function(account: Account) -> None:
    cloudwatch = boto3.client("cloudwatch", region_name=REGION)
    for _ in range(2):
        cloudwatch.put_metric_data(
            Namespace="AWS/Lambda",
            MetricData=[
                {
                    "MetricName": "Throttles",
                    "Dimensions": [{"Name": "FunctionName", "Value": DEV.function_name("sales")}],
                    "Value": 3,
                }
            ],
        )
    assert account.throttled().counts == {"sales": 6}


def own(verb: str, claimed_by: str) -> dict[str, Any]:
    return {"level": "INFO", "message": "operation", "verb": verb, "claimed_by": claimed_by}


def test_log_has_the_lines_that_are_new(account: Account, cloud: Aws) -> None:
    """What the console itself asks the function for is left out."""
    checkout = {"level": "INFO", "message": "checkout", "order_id": ORDER}
    cloud.logged = {
        DEV.log_group("sales"): [(at(2), checkout)],
        DEV.log_group("operate"): [
            (at(1), own("books", WHO)),
            (at(1), own("order", WHO)),
            (at(3), own("books", "somebody else")),
            (at(4), own("remind", WHO)),
        ],
    }
    lines = account.log().lines
    assert [(line.at, line.source, line.message) for line in lines] == [
        (at(2), "sales", "checkout"),
        (at(3), "operate", "operation"),
        (at(4), "operate", "operation"),
    ]
    assert not account.log().lines
    cloud.logged[DEV.log_group("relay")] = [(at(5), {"message": "relay"})]
    assert [line.message for line in account.log().lines] == ["relay"]


def test_log_that_was_not_read_for_long_begins_anew(
    account: Account, cloud: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading what was logged all night would take minutes."""
    account.log()
    hour = 3600
    for clock, moved in (("time", NOW + hour), ("monotonic", 10**9)):
        monkeypatch.setattr(f"operations.logs.time.{clock}", lambda moved=moved: moved)
    late = at(20) + (hour - BACK_SECONDS) * 1000
    cloud.logged[DEV.log_group("relay")] = [
        (late - 1000, {"message": "too old"}),
        (late + 1000, {"message": "relay"}),
    ]
    assert [line.message for line in account.log().lines] == ["relay"]


def test_order_has_its_row_and_the_lines_of_the_query(account: Account, cloud: Aws) -> None:
    found, lines = account.order(ORDER)
    assert found == row("published", stuck_at=at(9), arrived_at=at(10))
    assert [(line.source, line.message) for line in lines] == [("consumer", "placed")]
    (query,) = cloud.queries
    assert query["startTime"] == at(0) // 1000 - 60
    assert sorted(query["logGroupNames"]) == sorted(map(DEV.log_group, FUNCTIONS))


def test_order_that_does_not_exist_is_not_searched_for(account: Account, cloud: Aws) -> None:
    cloud.tables["order"] = {"error": f"there is no order {ORDER}", "problem": "rejected"}
    assert account.order(ORDER) == (None, ())
    assert not cloud.queries


def denied() -> ClientError:
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Invoke")


FAILURES = {
    "database": (
        {"error": "the database is unavailable: 2003", "problem": "unavailable"},
        "the database is unavailable: 2003",
    ),
    "permission": (denied(), f"{WHO} may not do this: allow lambda:InvokeFunction"),
    "another response": ({}, "unexpected response instead of AWS's: KeyError: 'tables'"),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("verb", ["orders", "books"])
def test_function_that_fails_is_a_sentence(
    account: Account, cloud: Aws, case: str, verb: str
) -> None:
    cloud.tables[verb], sentence = FAILURES[case]
    with pytest.raises(Unavailable, match=sentence):
        account.parts()[verb].read()


@pytest.mark.parametrize("part", ["queues", "log"])
def test_environment_that_is_not_deployed_is_a_sentence(
    account: Account, cloud: Aws, part: str
) -> None:
    cloud.clients.clear()  # moto's own have neither queues nor log groups
    with pytest.raises(Unavailable, match="does not exist"):
        account.parts()[part].read()


def test_each_client_is_created_once(account: Account, cloud: Aws) -> None:
    for _ in range(2):
        account.orders()
        account.books()
        account.log()
    assert sorted(cloud.created) == ["lambda", "logs"]


@pytest.mark.usefixtures("aws")
def test_function_may_read_for_as_long_as_by_the_operators_commands() -> None:
    """Botocore would otherwise repeat a long read of the books, and each would go on."""
    seconds = {name: client(name).meta.config.read_timeout for name in ("lambda", "sqs")}
    assert seconds == {"lambda": PATIENT.read_timeout, "sqs": aws_clients.CONFIG.read_timeout}
    assert seconds["lambda"] > deadline.OPERATOR_READ


def test_account_is_asked_seldom_and_not_for_what_only_a_local_cloud_tells(
    account: Account,
) -> None:
    parts = account.parts()
    assert set(parts) == {"orders", "books", "queues", "log", "alarms", "throttled"}
    assert min(part.seconds for part in parts.values()) >= 2
    assert not account.can_break
