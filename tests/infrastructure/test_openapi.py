"""docs/openapi.yaml describes the routes of the templates, and the limits of the functions."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

from common import limits
from local.cloud import PREFERRED_PORTS
from migrate import catalogue
from settings import DATABASE_USERS_FILE, ENVIRONMENTS, PROJECT, REGION
from tests.openapi_tools import postman, programs
from tests.support.assembly import Assembly
from tests.support.bad_input import CHECKOUT, DOCUMENT, DOCUMENTED, GENERATED, OPENAPI
from tests.support.books import as_returned
from tests.support.grants import columns_of

needs_tools = pytest.mark.skipif(
    not programs.are_installed(), reason="`make infrastructure` and `make test` install the tools"
)
QUANTITY = "MessageAttributeProductCnt"
CONDITIONS = {"in_catalogue", "slots"}
"""Columns that decide which product is read, and from which rows. They are not returned."""
TEXTS = ["requester", "MessageAttributeRequester", "MessageAttributeFactoryId"]
PADDING = "\t\n\r \u00a0\u2003\u3000"
CONTROL = [
    chr(code)
    for code in (*range(0x20), 0x7F, *range(0x80, 0xA0), 0xFFFE, 0xFFFF)
    if chr(code) not in "\t\n\r"
]


def test_version_is_that_of_the_last_release() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text()
    release = re.search(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    assert release
    assert DOCUMENT["info"]["version"] == release[1], (
        "docs/openapi.yaml: info.version is the last release in CHANGELOG.md"
    )


def operations() -> Iterator[tuple[str, Any]]:
    """Yield the route and the description of each operation."""
    for path, methods in DOCUMENT["paths"].items():
        for method in methods.keys() - {"parameters"}:
            yield f"{method.upper()} {path}", methods[method]


def test_document_describes_every_route(assembly: Assembly) -> None:
    routes = {route["RouteKey"] for _, route in assembly.each("AWS::ApiGatewayV2::Route")}
    described = {route for route, _ in operations()}
    undescribed = routes - described - {"$default"}
    assert not undescribed, f"docs/openapi.yaml does not describe {sorted(undescribed)}"
    assert described <= routes, "stacks/service_stack.py lacks a route of docs/openapi.yaml"


@pytest.mark.parametrize("status", ["429", "500", "503"])
def test_every_operation_documents_the_errors_of_all_requests(status: str) -> None:
    for route, operation in operations():
        assert status in operation["responses"], route


def test_only_the_callback_needs_a_token() -> None:
    """A public operation says so, instead of saying nothing."""
    assert {route: operation["security"] for route, operation in operations()} == {
        route: [{"CallbackToken": []}] if route == "POST /product/{slug}" else []
        for route, _ in operations()
    }
    scheme = DOCUMENT["components"]["securitySchemes"]["CallbackToken"]
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "query", "token")
    assert f"at most {limits.CALLBACK_TOKEN} ASCII" in scheme["description"]


def test_servers_are_the_local_shop_and_the_region_of_the_others() -> None:
    local, account = (server["url"] for server in DOCUMENT["servers"])
    assert local == f"http://127.0.0.1:{PREFERRED_PORTS['endpoint']}"
    assert account == f"https://{{api_id}}.execute-api.{REGION}.amazonaws.com"


def test_purchased_says_which_result_a_checkout_has() -> None:
    content = DOCUMENT["paths"]["/checkout"]["post"]["responses"]["200"]["content"]
    results = [resolved(each) for each in content["application/json"]["schema"]["oneOf"]]
    assert [result["properties"]["purchased"]["const"] for result in results] == [True, False]
    assert ["order_id" in result["required"] for result in results] == [False, True]


@needs_tools
def test_redocly_finds_nothing() -> None:
    done = programs.run("redocly", "lint", f"--config={programs.FOLDER}/redocly.yaml", OPENAPI)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_tools
def test_spectral_finds_nothing() -> None:
    options = (f"--ruleset={programs.FOLDER}/spectral.yaml", "--fail-severity=hint")
    done = programs.run("spectral", "lint", *options, OPENAPI)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_tools
def test_collection_is_made_from_the_document() -> None:
    assert postman.COLLECTION.read_text() == postman.rendered(), (
        "docs/postman_collection.json is not made from docs/openapi.yaml: run `make postman`"
    )


def test_collection_calls_every_operation() -> None:
    collection = json.loads(postman.COLLECTION.read_text())
    called = {
        f"{item['request']['method']} /"
        + re.sub(r":(\w+)", r"{\1}", "/".join(item["request"]["url"]["path"]))
        for item in collection["item"]
    }
    missing = {route for route, _ in operations()} - called
    assert not missing, (
        f"docs/postman_collection.json does not call {sorted(missing)}: run `make postman`"
    )


def test_bad_inputs_are_sent_to_every_operation() -> None:
    missing = DOCUMENTED ^ GENERATED.keys()
    assert not missing, (
        f"GENERATED in tests/support/bad_input.py and docs/openapi.yaml differ in {sorted(missing)}"
    )


def test_product_has_the_columns_that_sales_may_read() -> None:
    """The slug is in the path already."""
    grants = json.loads(DATABASE_USERS_FILE.read_text())["sales"]["grants"]
    columns = {column for table, column in columns_of(grants) if table == "product"}
    documented = DOCUMENT["components"]["schemas"]["Product"]["properties"].keys()
    assert documented | {"slug"} | CONDITIONS == columns, (
        "Product in docs/openapi.yaml and the grant in lambdas/migrate/database_users.json differ"
    )


def test_catalogue_declares_what_a_product_has() -> None:
    documented = DOCUMENT["components"]["schemas"]["Product"]["properties"].keys()
    declared = {field.name for field in fields(catalogue.Product)}
    for name in documented - {"stock"}:
        assert name in declared, (
            f"lambdas/migrate/catalogue.py: Product has no {name}, which docs/openapi.yaml names"
        )


def test_example_of_a_product_is_the_donut_of_the_catalogue() -> None:
    (donut,) = [product for product in catalogue.load().products if product.slug == "donut"]
    example = DOCUMENT["components"]["examples"]["Donut"]["value"]
    assert example == as_returned(donut, stock=donut.opening_stock), (
        "the example Donut in docs/openapi.yaml and lambdas/migrate/catalogue.toml differ"
    )


def test_product_has_the_fields_of_the_store() -> None:
    store = (PROJECT / "lambdas/common/store.py").read_text()
    (statement,) = re.findall(r"JSON_OBJECT\(('product_id', product_id,.*?)\)\"", store, re.S)
    fields = set(re.findall(r"'(\w+)', \1", statement))
    documented = DOCUMENT["components"]["schemas"]["Product"]["properties"].keys()
    assert fields == documented, (
        "the product in lambdas/common/store.py and Product in docs/openapi.yaml differ"
    )


def test_document_says_how_long_an_idempotency_key_is_kept() -> None:
    (description,) = [
        parameter["description"]
        for parameter in DOCUMENT["paths"]["/checkout"]["post"]["parameters"]
        if parameter["name"] == "Idempotency-Key"
    ]
    for name, settings in ENVIRONMENTS.items():
        hours = settings.idempotency_retention // 3600
        assert f"for {hours} hours" in description, name


@pytest.mark.parametrize("as_text", [str, int])
def test_document_has_the_largest_quantity(as_text: type, assembly: Assembly) -> None:
    most = assembly.settings.max_quantity
    quantities = range(most + 500)
    allowed = {each: CHECKOUT.is_valid({QUANTITY: as_text(each)}) for each in quantities}
    assert allowed == {each: 1 <= each <= most for each in quantities}


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema, or the component that it refers to."""
    return (
        DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if "$ref" in schema
        else schema
    )


def parameters() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the schema of every parameter in a path, query or header."""
    for path in DOCUMENT["paths"].values():
        for item in path.values():
            for parameter in item if isinstance(item, list) else item.get("parameters", []):
                yield parameter["name"], resolved(parameter["schema"])


def test_document_names_the_limit_of_every_parameter() -> None:
    expected = {
        "slug": limits.SLUG,
        "order_id": limits.ORDER_ID,
        "order": limits.ORDER_ID,
        "Idempotency-Key": limits.IDEMPOTENCY_KEY,
    }
    for name, schema in parameters():
        assert name in expected, f"add the limit of the parameter {name} to this test"
        assert schema["minLength"] == 1, name
        assert schema["maxLength"] == expected[name], name
    assert {name for name, _ in parameters()} == set(expected)


def test_document_names_the_limit_of_the_body() -> None:
    description = DOCUMENT["paths"]["/checkout"]["post"]["requestBody"]["description"]
    assert f"{limits.BODY_BYTES // 1024} KiB" in description


def test_document_names_the_limits_that_its_patterns_hold() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert f"{limits.TEXT} characters" in schemas["Text"]["description"]
    assert f"{limits.PRODUCT_ID} characters" in schemas["ProductId"]["description"]
    assert (
        f"{limits.QUANTITY_DIGITS} ASCII digits"
        in schemas["Checkout"]["properties"][QUANTITY]["description"]
    )


@pytest.mark.parametrize("length", range(1, 2 * limits.QUANTITY_DIGITS + 1))
def test_string_of_too_many_digits_is_invalid(length: int) -> None:
    assert CHECKOUT.is_valid({QUANTITY: f"{5:0{length}}"}) == (length <= limits.QUANTITY_DIGITS)


@pytest.mark.parametrize("quantity", [5.0, 1e1, 1e3], ids=str)
def test_integer_with_decimals_is_valid(quantity: float) -> None:
    assert CHECKOUT.is_valid({QUANTITY: quantity})


@pytest.mark.parametrize(
    "quantity", [1.5, -0.0, 1e4, 1e400, True, None, [5], "5.0", "+5", ""], ids=str
)
def test_quantity_that_is_not_an_integer_in_range_is_invalid(quantity: object) -> None:
    assert not CHECKOUT.is_valid({QUANTITY: quantity})


@pytest.mark.parametrize("padding", ["", PADDING], ids=["bare", "padded"])
@pytest.mark.parametrize("character", ["a", "홍", "🍩"])
@pytest.mark.parametrize("name", TEXTS)
def test_text_is_valid_up_to_its_limit(name: str, character: str, padding: str) -> None:
    """The limit holds after trimming, as in the function."""
    for length in (0, 1, limits.TEXT - 1, limits.TEXT, limits.TEXT + 1, 2 * limits.TEXT):
        text = padding + character * length + padding
        assert CHECKOUT.is_valid({QUANTITY: 1, name: text}) == (length <= limits.TEXT), length


@pytest.mark.parametrize("padding", ["", PADDING], ids=["bare", "padded"])
def test_product_id_is_valid_up_to_its_limit(padding: str) -> None:
    for length in range(2 * limits.PRODUCT_ID + 1):
        product_id = padding + "a" * length + padding
        valid = CHECKOUT.is_valid({QUANTITY: 1, "MessageAttributeProductId": product_id})
        assert valid == (length <= limits.PRODUCT_ID), length


@pytest.mark.parametrize("name", [*TEXTS, "MessageAttributeProductId"])
def test_text_with_a_control_character_is_invalid(name: str) -> None:
    for character in CONTROL:
        for text in (character, f"a{character}", f"{character}a"):
            assert not CHECKOUT.is_valid({QUANTITY: 1, name: text}), ascii(text)


@pytest.mark.parametrize("text", [None, "", " \t", "a\tb\r\nc", "\u200b\ufeff", "'; --"], ids=ascii)
def test_unusual_text_is_valid(text: str | None) -> None:
    for name in TEXTS:
        assert CHECKOUT.is_valid({QUANTITY: 1, name: text}), name


def test_documented_examples_of_a_checkout_are_valid() -> None:
    media = DOCUMENT["paths"]["/checkout"]["post"]["requestBody"]["content"]["application/json"]
    for name, reference in media["examples"].items():
        example = DOCUMENT["components"]["examples"][reference["$ref"].rpartition("/")[2]]
        assert CHECKOUT.is_valid(example["value"]), name
