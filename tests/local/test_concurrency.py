"""The number of environments that a function has at the same time, and what waits for one."""

import http.client
import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from local.cloud import CREDENTIALS, Cloud
from local.emulator.turns import Turns
from local.polling import eventually
from settings import REGION
from tests.support.functions import archive, create_function

WORKERS = 2
HANDLER = """
import json, os, pathlib, time
here = pathlib.Path(os.environ["HERE"])
def handler(event, context):
    if "Records" in event:
        for record in event["Records"]:
            received = record["attributes"]["ApproximateReceiveCount"]
            (here / f"received-{record['body']}").write_text(received)
    elif "detail" in event or "asynchronous" in event:
        (here / f"run-{context.aws_request_id}").touch()
    else:
        (here / f"started-{context.aws_request_id}").touch()
        while not (here / "open").exists():
            time.sleep(0.01)
        return {"statusCode": 200, "body": str(os.getpid())}
"""
"""Handles a request only after the file `open` exists, and an event at once."""

Response = tuple[int, str]


class Slow:
    """The function with HANDLER, behind an HTTP API."""

    def __init__(self, cloud: Cloud, directory: Path) -> None:
        self.cloud = cloud
        self.name = f"slow-{uuid.uuid4().hex[:8]}"
        self._directory = directory
        self.arn = create_function(
            cloud,
            self.name,
            archive(slow=HANDLER),
            Handler="slow.handler",
            Timeout=60,
            Environment={"Variables": {"HERE": str(directory)}},
        )
        self._pool = ThreadPoolExecutor(5 * WORKERS)

    def request(self) -> Future[Response]:
        """Send a request to the HTTP API, in a thread."""
        return self._pool.submit(self._request)

    def _request(self) -> Response:
        netloc = urlsplit(self.cloud.endpoint).netloc
        with closing(http.client.HTTPConnection(netloc, timeout=60)) as connection:
            connection.request("GET", f"/{self.name}")
            response = connection.getresponse()
            return response.status, response.read().decode()

    def invoke(self, **options: str) -> None:
        """Invoke the function directly, once."""
        boto3.client(
            "lambda",
            endpoint_url=self.cloud.aws_endpoint_url,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(proxies={}, retries={"total_max_attempts": 1}),
        ).invoke(FunctionName=self.name, Payload=b'{"asynchronous": true}', **options)

    def busy(self) -> list[Future[Response]]:
        """Occupy every environment, until `open`. Return the requests that do it."""
        requests = [self.request() for _ in range(WORKERS)]
        self.wait_for("started-*", count=WORKERS)
        return requests

    def open(self) -> None:
        (self._directory / "open").touch()

    def close(self) -> None:
        self.open()
        self._pool.shutdown()

    def files(self, pattern: str) -> dict[str, str]:
        """Return the content of the files that the function has written."""
        return {path.name: path.read_text() for path in self._directory.glob(pattern)}

    def wait_for(self, pattern: str, *, count: int) -> dict[str, str]:
        def written() -> dict[str, str]:
            found = self.files(pattern)
            assert len(found) == count
            return found

        return eventually(written, within=30)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path_factory.mktemp("cloud"), max_workers=WORKERS)
    cloud.start_emulator()
    cloud.client("apigatewayv2").create_api(Name="rush", ProtocolType="HTTP")
    try:
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture
def slow(cloud: Cloud, tmp_path: Path) -> Iterator[Slow]:
    slow = Slow(cloud, tmp_path)
    gateway = cloud.client("apigatewayv2")
    (api,) = gateway.get_apis()["Items"]
    integration = gateway.create_integration(
        ApiId=api["ApiId"],
        IntegrationType="AWS_PROXY",
        IntegrationUri=slow.arn,
        PayloadFormatVersion="2.0",
    )
    target = f"integrations/{integration['IntegrationId']}"
    gateway.create_route(ApiId=api["ApiId"], RouteKey=f"GET /{slow.name}", Target=target)
    yield slow
    slow.close()


def test_requests_share_the_environments_of_the_machine(slow: Slow) -> None:
    requests = slow.busy() + [slow.request() for _ in range(3 * WORKERS)]
    slow.open()
    responses = [request.result() for request in requests]
    assert [status for status, _ in responses] == [200] * len(requests)
    assert len({process for _, process in responses}) == WORKERS


def test_request_is_throttled_after_two_seconds(slow: Slow) -> None:
    busy = slow.busy()
    began = time.monotonic()
    status, body = slow.request().result()
    assert time.monotonic() - began >= 2
    assert status == 503
    assert json.loads(body) == {"message": "Service Unavailable"}
    assert not any(request.done() for request in busy)
    slow.open()
    assert slow.request().result()[0] == 200
    assert len(slow.files("started-*")) == WORKERS + 1, "the throttled request did not run"


def test_direct_invocation_is_throttled_as_by_lambda(slow: Slow) -> None:
    slow.busy()
    client = slow.cloud.client("lambda")
    with pytest.raises(client.exceptions.ClientError) as throttled:
        slow.invoke()
    assert throttled.value.response["Error"]["Code"] == "TooManyRequestsException"
    assert throttled.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_message_waits_and_is_received_once(slow: Slow) -> None:
    sqs = slow.cloud.client("sqs")
    queue = sqs.create_queue(QueueName=slow.name, Attributes={"VisibilityTimeout": "60"})[
        "QueueUrl"
    ]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    statement = {"Effect": "Allow", "Action": "sqs:*", "Resource": arn["QueueArn"]}
    slow.cloud.client("iam").put_role_policy(
        RoleName="tried",
        PolicyName=slow.name,
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    slow.busy()
    slow.cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=arn["QueueArn"], FunctionName=slow.name, BatchSize=1
    )
    sent = {f"received-{number}": "1" for number in range(3 * WORKERS)}
    for name in sent:
        sqs.send_message(QueueUrl=queue, MessageBody=name.removeprefix("received-"))
    wait_beyond_the_patience_of_a_request(slow)
    assert slow.files("received-*") == {}
    slow.open()
    assert slow.wait_for("received-*", count=len(sent)) == sent

    def is_empty() -> None:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        assert set(counts.values()) == {"0"}

    eventually(is_empty, within=10)


def put_event(slow: Slow) -> None:
    """Send an event by a rule. ministack runs the target of a schedule in the same way."""
    events = slow.cloud.client("events")
    pattern = json.dumps({"source": [slow.name]})
    events.put_rule(Name=slow.name, EventPattern=pattern)
    events.put_targets(Rule=slow.name, Targets=[{"Id": "slow", "Arn": slow.arn}])
    events.put_events(Entries=[{"Source": slow.name, "DetailType": "baked", "Detail": "{}"}])


def invoke_asynchronously(slow: Slow) -> None:
    slow.invoke(InvocationType="Event")


@pytest.mark.parametrize("send", [put_event, invoke_asynchronously])
def test_event_waits_until_it_runs(slow: Slow, send: Callable[[Slow], None]) -> None:
    slow.busy()
    send(slow)
    wait_beyond_the_patience_of_a_request(slow)
    assert slow.files("run-*") == {}
    slow.open()
    slow.wait_for("run-*", count=1)


def wait_beyond_the_patience_of_a_request(slow: Slow) -> None:
    assert slow.request().result()[0] == 503


def test_turns_are_taken_in_the_order_in_which_they_were_asked_for() -> None:
    turns, taken = Turns(1), list[int]()
    assert turns.take(within=0)

    def take(number: int) -> None:
        assert turns.take(within=None)
        taken.append(number)
        turns.give_back()

    threads = [Thread(target=take, args=[number]) for number in range(5)]
    for count, thread in enumerate(threads, start=1):
        thread.start()
        eventually(partial(_assert_waiting, turns, count), within=10)
    turns.give_back()
    for thread in threads:
        thread.join()
    assert taken == [0, 1, 2, 3, 4]


def _assert_waiting(turns: Turns, count: int) -> None:
    assert turns.waiting == count


def test_turn_that_nobody_waits_for_any_more_is_not_lost() -> None:
    turns = Turns(1)
    assert turns.take(within=0)
    assert not turns.take(within=0)
    turns.give_back()
    assert turns.take(within=0)
