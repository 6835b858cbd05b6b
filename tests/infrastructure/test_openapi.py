"""docs/openapi.yaml against the template and the settings."""

from collections.abc import Iterator
from typing import Any

import pytest

from stacks.settings import ENVIRONMENTS
from tests.hostile import CHECKOUT, DOCUMENT
from tests.infrastructure.conftest import Assembly


def operations() -> Iterator[tuple[str, Any]]:
    for path, methods in DOCUMENT["paths"].items():
        for method in methods.keys() - {"parameters"}:
            yield f"{method.upper()} {path}", methods[method]


def test_the_document_describes_the_routes(assembly: Assembly) -> None:
    routes = {route["Properties"]["RouteKey"] for route in assembly.resources("AWS::ApiGatewayV2::Route").values()}
    assert {route for route, _ in operations()} | {"$default"} == routes


def test_every_operation_may_find_the_database_away() -> None:
    assert all("503" in operation["responses"] for _, operation in operations())


@pytest.mark.parametrize("as_text", [str, int])
def test_the_document_knows_how_many_may_be_ordered(as_text: type, assembly: Assembly) -> None:
    most = ENVIRONMENTS[assembly.name].max_order
    allowed = {count: CHECKOUT.is_valid({"MessageAttributeProductCnt": as_text(count)}) for count in range(most + 500)}
    assert allowed == {count: 1 <= count <= most for count in range(most + 500)}
