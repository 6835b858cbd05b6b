"""Pages of the allowed origins may call the API, and read every response of it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from tests.support.assembly import synth
from tests.support.deployed_shop import SETTINGS, THROTTLED, DeployedShop

ORIGIN = "https://shop.test"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,idempotency-key",
}
REQUESTS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "product": ("GET", "/product/donut", {}, 200),
    "checkout": ("POST", "/checkout", {"json": {"MessageAttributeProductCnt": 1}}, 200),
    "unknown product": ("GET", "/product/bagel", {}, 400),
    "invalid checkout": ("POST", "/checkout", {"data": "five donuts"}, 400),
    "unknown order": ("GET", "/order/none", {}, 400),
    "callback without a token": ("POST", "/product/donut", {}, 403),
    "unknown route": ("GET", "/orders", {}, 404),
    "unknown method": ("DELETE", "/checkout", {}, 404),
    "body that the gateway rejects": ("POST", "/checkout", {"data": b"x" * (10 * 2**20 + 1)}, 413),
}
"""Name → method, path, body and status."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the API of a template in which ORIGIN is allowed."""
    settings = replace(SETTINGS, allowed_origins=(ORIGIN,))
    _, api = synth(settings, tmp_path_factory.mktemp("cdk.out")).one("AWS::ApiGatewayV2::Api")
    return api


@pytest.fixture
def open_shop(shop: DeployedShop, template: dict[str, Any]) -> Iterator[DeployedShop]:
    """Return the shop, deployed with an allowed origin, and without one again after the test."""
    cloudformation = shop.cloud.client("cloudformation")
    stack = SETTINGS.stack_name("service")
    deployed = cloudformation.get_template(StackName=stack)["TemplateBody"]
    changed = json.loads(json.dumps(deployed))
    (api,) = [
        resource
        for resource in changed["Resources"].values()
        if resource["Type"] == "AWS::ApiGatewayV2::Api"
    ]
    api["Properties"] = template

    def deploy(body: object) -> None:
        cloudformation.update_stack(
            StackName=stack, TemplateBody=json.dumps(body), Capabilities=["CAPABILITY_IAM"]
        )
        cloudformation.get_waiter("stack_update_complete").wait(
            StackName=stack, WaiterConfig={"Delay": 1}
        )

    deploy(changed)
    try:
        yield shop
    finally:
        deploy(deployed)


def cors_headers(response: requests.Response) -> dict[str, str]:
    return {
        name.lower(): value
        for name, value in response.headers.items()
        if name.lower().startswith("access-control-")
    }


def test_preflight_of_an_allowed_page_is_answered(open_shop: DeployedShop) -> None:
    """By the gateway, for every path."""
    for path in ("/checkout", "/product/donut", "/orders"):
        response = open_shop.request("OPTIONS", path, headers=PREFLIGHT)
        assert response.status_code == 204, path
        assert response.content == b"", path
        assert cors_headers(response) == {
            "access-control-allow-origin": ORIGIN,
            "access-control-allow-methods": "GET,POST",
            "access-control-allow-headers": "content-type,idempotency-key",
            "access-control-max-age": "3600",
        }, path


def test_every_response_can_be_read_by_an_allowed_page(open_shop: DeployedShop) -> None:
    for name, (method, path, body, status) in REQUESTS.items():
        response = open_shop.request(method, path, headers={"Origin": ORIGIN}, **body)
        assert response.status_code == status, name
        assert cors_headers(response) == {
            "access-control-allow-origin": ORIGIN,
            "access-control-expose-headers": "retry-after",
        }, name


def test_throttled_response_can_be_read_by_an_allowed_page(open_shop: DeployedShop) -> None:
    functions = open_shop.cloud.client("lambda")
    sales = SETTINGS.function_name("sales")
    functions.put_function_concurrency(FunctionName=sales, ReservedConcurrentExecutions=0)
    try:
        response = open_shop.request("GET", "/product/donut", headers={"Origin": ORIGIN})
    finally:
        functions.delete_function_concurrency(FunctionName=sales)
    assert response.status_code == 503
    assert response.json() == THROTTLED
    assert cors_headers(response)["access-control-allow-origin"] == ORIGIN


@pytest.mark.parametrize("origin", ["https://other.test", f"{ORIGIN}.other.test", "null", ""])
def test_other_pages_can_read_no_response(open_shop: DeployedShop, origin: str) -> None:
    response = open_shop.request("OPTIONS", "/checkout", headers=PREFLIGHT | {"Origin": origin})
    assert response.status_code == 204
    assert cors_headers(response) == {}
    response = open_shop.request("GET", "/product/donut", headers={"Origin": origin})
    assert response.status_code == 200
    assert cors_headers(response) == {}


def test_no_page_can_read_a_response_by_default(shop: DeployedShop) -> None:
    response = shop.request("OPTIONS", "/checkout", headers=PREFLIGHT)
    assert response.status_code == 404
    assert cors_headers(response) == {}
    response = shop.request("GET", "/product/donut", headers={"Origin": ORIGIN})
    assert response.status_code == 200
    assert cors_headers(response) == {}
