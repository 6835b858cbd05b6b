"""`make smoke` against a fake shop that fails in one way at a time.

tests/e2e/test_smoke.py runs it against a deployed shop.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from operations import smoke as operation
from operations.smoke import CLOSED, Failed, smoke
from settings import ENVIRONMENTS, PROJECT
from tests.support.environments import ON_AN_ACCOUNT
from tests.support.fake_shop_api import FakeShopApi, Response, fake_shop_api

LOCAL = ENVIRONMENTS["local"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeShopApi]:
    for name, seconds in (("PAUSE", 0.01), ("AWAKE_WITHIN", 0.3), ("TIMEOUT", 0.3)):
        monkeypatch.setattr(operation, name, seconds)
    monkeypatch.setattr(operation, "_describe_queues", lambda settings: "")
    with fake_shop_api() as server:
        yield server


def once(*responses_in_order: Response) -> Callable[[], Response | None]:
    responses = list(reversed(responses_in_order))
    return lambda: responses.pop() if responses else None


def test_order_is_followed_until_it_arrives(server: FakeShopApi) -> None:
    result = smoke(server.api, LOCAL, order=False, within=5)
    assert "order-1 arrived" in result
    assert server.quantities[0] == 11
    assert server.requesters == {"smoke"}
    assert len(server.tokens) == 1


def test_stock_is_unchanged_afterwards(server: FakeShopApi) -> None:
    """Otherwise a few deployments would double it until it is above max_quantity."""
    smoke(server.api, LOCAL, order=False, within=5)
    assert server.stock == 10


@pytest.mark.parametrize("above", [0, 5, 999])
def test_stock_that_is_too_large_is_bought_first(server: FakeShopApi, above: int) -> None:
    """The orders of earlier runs that failed arrive later, and nobody buys what they add."""
    server.stock = LOCAL.max_quantity + above
    assert "arrived" in smoke(server.api, LOCAL, order=False, within=5)
    assert server.quantities[:2] == [LOCAL.max_quantity, above + 1]
    assert server.stock == above


def test_failed_runs_do_not_keep_the_next_one_from_ordering(server: FakeShopApi) -> None:
    for _ in range(12):
        server.statuses = ["published", "stuck"]
        with pytest.raises(Failed, match="stuck"):
            smoke(server.api, LOCAL, order=False, within=5)
        server.stock += server.ordered
    server.statuses = ["arrived"]
    assert "arrived" in smoke(server.api, LOCAL, order=False, within=5)


def test_prod_orders_nothing_above_max_quantity(server: FakeShopApi) -> None:
    """The stock of prod belongs to its customers."""
    prod = ENVIRONMENTS["prod"]
    server.stock = prod.max_quantity
    with pytest.raises(Failed, match=r"nothing was ordered: it takes 1001 .* max_quantity is 1000"):
        smoke(server.api, prod, order=True, within=5)
    assert server.quantities == []
    server.stock -= 1
    smoke(server.api, prod, order=True, within=5)


def test_order_is_tried_again_when_the_stock_has_grown(server: FakeShopApi) -> None:
    server.changed["GET /product"] = once((200, {"stock": 3}), (200, {"stock": 3}))
    assert "arrived" in smoke(server.api, LOCAL, order=False, within=5)
    assert server.quantities[:2] == [4, 7], (
        "bought four of ten, then ordered one more than the six that are left"
    )


@pytest.mark.parametrize("route", ["GET /product", "POST /checkout", "POST /product", "GET /order"])
@pytest.mark.parametrize(
    "response", [(503, {"message": "later"}), (502, b"<html>"), (500, b"[]")], ids=str
)
def test_failing_request_is_repeated(server: FakeShopApi, route: str, response: Response) -> None:
    server.changed[route] = once(response)
    assert "arrived" in smoke(server.api, LOCAL, order=False, within=5)


@pytest.mark.parametrize(
    ("route", "response", "words"),
    [
        ("GET /product", (500, {}), "API → sales → database: GET /product/donut returns 500"),
        ("GET /product", (200, b"<html>"), "API → sales → database: Expecting value"),
        ("GET /product", (200, {}), "no stock"),
        ("GET /product", (200, []), "not an object"),
        ("GET /product", (200, {"stock": -1}), "no stock"),
        ("POST /checkout", (503, {}), "checkout: POST /checkout returns 503"),
        (
            "POST /checkout",
            (200, {"purchased": False}),
            "checkout: the response names no production order",
        ),
        ("POST /product", (200, {}), "callback: a forged one returns 200"),
        ("POST /product", (500, {}), "callback: POST /product/donut returns 500"),
        ("GET /order", (400, {}), "GET /order returns 400"),
        (
            "GET /order",
            (200, {"status": "requested"}),
            r"outbox → SNS: order order-1 is still `requested`",
        ),
        (
            "GET /order",
            (200, {"status": "published"}),
            "queue → consumer → factory → callback: order order-1 .*dead-",
        ),
        ("GET /order", (200, {"status": "stuck"}), "factory → callback: order order-1 is `stuck`"),
    ],
)
def test_failure_names_its_hop(
    server: FakeShopApi, route: str, response: Response, words: str
) -> None:
    server.changed[route] = lambda: response
    with pytest.raises(Failed, match=words) as failure:
        smoke(server.api, LOCAL, order=False, within=0.2)
    assert "\n" not in str(failure.value)


def test_repetition_with_another_response_fails(server: FakeShopApi) -> None:
    orders = [{"purchased": False, "order_id": f"order-{number}"} for number in (2, 1)]
    server.changed["POST /checkout"] = lambda: (200, orders.pop())
    with pytest.raises(Failed, match="a repeated Idempotency-Key returns"):
        smoke(server.api, LOCAL, order=False, within=5)


@pytest.mark.parametrize(
    "environment", [name for name in ON_AN_ACCOUNT if ENVIRONMENTS[name].smoke_test_orders]
)
def test_environment_orders_if_the_setting_says_so(server: FakeShopApi, environment: str) -> None:
    assert "arrived" in smoke(server.api, ENVIRONMENTS[environment], order=False, within=5)


@pytest.fixture
def prod(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list of what the command checks in AWS, where everything passes."""
    checked: list[str] = []
    monkeypatch.setattr("operations.smoke.aws.client", lambda service: service)
    monkeypatch.setattr(
        operation, "require_relay", lambda client, **others: checked.append(f"relay by {client}")
    )
    monkeypatch.setattr(
        operation,
        "require_no_dead_letters",
        lambda client, **others: checked.append(f"dlq by {client}"),
    )
    return checked


def test_prod_orders_nothing(server: FakeShopApi, prod: list[str]) -> None:
    assert "nothing was ordered" in smoke(server.api, ENVIRONMENTS["prod"], order=False, within=5)
    assert server.quantities == []
    assert len(server.tokens) == 1, "a forged callback"
    assert prod == ["dlq by sqs", "relay by cloudwatch"]


def test_prod_orders_if_the_option_is_given(server: FakeShopApi, prod: list[str]) -> None:
    assert "order-1 arrived" in smoke(server.api, ENVIRONMENTS["prod"], order=True, within=5)
    assert server.quantities == [11]
    assert server.stock == 21, "the quantity that arrived stays in the stock"


def test_max_quantity_is_the_environments_own(server: FakeShopApi) -> None:
    with pytest.raises(Failed, match="max_quantity is 10"):
        smoke(server.api, replace(ENVIRONMENTS["prod"], max_quantity=10), order=True, within=5)


def run(environment: str, *arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "operations.smoke", environment, *arguments]
    return subprocess.run(
        command,
        cwd=directory,
        env={
            "PYTHONPATH": str(PROJECT),
            "HOME": str(directory),
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_url_comes_from_the_deployments_outputs(server: FakeShopApi, tmp_path: Path) -> None:
    outputs = tmp_path / "cdk.outputs.json"
    outputs.write_text(json.dumps({"donut-shop-service-dev": {"ApiUrl": f"{server.api.url}/"}}))
    done = run("dev", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith(f"{server.api.url} works: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prod"], "cdk.outputs.json has no outputs of donut-shop-service-prod"),
        (
            ["dev", "--outputs=missing.json"],
            "missing.json has no outputs of donut-shop-service-dev",
        ),
        (["dev", "--outputs=broken.json"], "Expecting value"),
        (["local", "--endpoint=missing"], CLOSED),
    ],
    ids=str,
)
def test_missing_url_is_reported_in_one_sentence(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    (tmp_path / "cdk.outputs.json").write_text(
        json.dumps({"donut-shop-service-dev": {"ApiUrl": "http://x"}})
    )
    (tmp_path / "broken.json").write_text("")
    done = run(*arguments, directory=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert words in line


def test_missing_credentials_are_reported_in_one_sentence(
    server: FakeShopApi, tmp_path: Path
) -> None:
    outputs = tmp_path / "cdk.outputs.json"
    outputs.write_text(json.dumps({"donut-shop-service-prod": {"ApiUrl": server.api.url}}))
    done = run("prod", directory=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "no AWS credentials" in line
