"""Which modules may import which others, and what else a module may not contain."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from settings import LAMBDAS, PROJECT

READS_REQUESTS = [
    LAMBDAS / "common" / "http_api.py",
    LAMBDAS / "restock" / "handler.py",
    LAMBDAS / "sales" / "handler.py",
]
LAYER = {"boto3", "botocore", "pymysql", "requests", "urllib3"}
"""Packages that functions may import: those of the layer, and boto3, which Lambda provides."""
SOURCES = sorted(LAMBDAS.rglob("*.py"))
STACKS = [PROJECT / "app.py", *sorted((PROJECT / "stacks").rglob("*.py"))]

OPERATIONS = sorted((PROJECT / "operations").rglob("*.py"))
FUNCTIONS = {path.name for path in LAMBDAS.iterdir() if path.is_dir()}
OWN_NAMES = FUNCTIONS | {"app", "settings"} | {path.parent.name for path in PROJECT.glob("*/*.py")}
"""The names of the project's own modules and packages."""


def imported(source: Path) -> Iterator[str]:
    """Yield the top-level names of the modules that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            yield (node.module or "").partition(".")[0]


def named(path: Path) -> str:
    """Return the path relative to the project."""
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_function_imports_its_folder_common_and_the_layer_only(source: Path) -> None:
    folder = source.relative_to(LAMBDAS).parts[0]
    assert set(imported(source)) - sys.stdlib_module_names <= LAYER | {"common", folder}


@pytest.mark.parametrize("source", STACKS, ids=named)
def test_stacks_import_the_cdk_and_the_settings_only(source: Path) -> None:
    """app.py also checks the catalogue, which needs neither a database nor AWS."""
    allowed = {"aws_cdk", "constructs", "jsii", "settings", "stacks"}
    if source.name == "app.py":
        allowed.add("migrate")
        assert re.findall(r"migrate import (.+)", source.read_text()) == ["catalogue"]
    assert set(imported(source)) - sys.stdlib_module_names <= allowed


@pytest.mark.parametrize("source", OPERATIONS, ids=named)
def test_operations_import_two_modules_of_the_functions_only(source: Path) -> None:
    """Neither imports a package that operators do not have, or reads a function's variables."""
    allowed = {"boto3", "botocore", "operations", "settings"}
    text = source.read_text()
    from_functions = re.findall(r"^from ((?:common|migrate)\b.*)", text, re.MULTILINE)
    assert set(from_functions) <= {"common import messages", "migrate import checksums"}
    assert set(imported(source)) - sys.stdlib_module_names <= allowed | {"common", "migrate"}


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("local", {"operations", "settings"}),
        ("console", {"common", "local", "operate", "operations", "settings"}),
        ("bench", FUNCTIONS | {"local", "operations", "settings", "tests"}),
    ],
)
def test_tools_import_each_other_in_one_direction(folder: str, allowed: set[str]) -> None:
    for source in sorted((PROJECT / folder).rglob("*.py")):
        own = set(imported(source)) & OWN_NAMES
        assert own <= allowed | {folder}, f"{named(source)} imports {own - allowed - {folder}}"


def test_catalogue_imports_no_package_but_the_limits() -> None:
    """The CDK's Python reads it, too, where the functions' packages may be missing."""
    catalogue = LAMBDAS / "migrate" / "catalogue.py"
    assert set(imported(catalogue)) - sys.stdlib_module_names == {"common"}
    assert re.findall(r"common import (.+)", catalogue.read_text()) == ["limits"]


def test_settings_import_the_standard_library_only() -> None:
    assert set(imported(PROJECT / "settings.py")) <= sys.stdlib_module_names


@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_only_one_module_reads_the_variables(source: Path) -> None:
    reads = bool(re.search(r"\b(environb?|getenv)\b", source.read_text()))
    assert reads == (source == LAMBDAS / "common" / "environment.py")


def limit_literals(code: str) -> Iterator[str]:
    """Yield the numbers above 9 except 1024, and the lengths in patterns and messages.

    A call's arguments and the defaults of parameters are HTTP statuses, not limits.
    """
    tree = ast.parse(code)
    arguments: set[ast.expr | None] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            arguments |= set(node.args)
        elif isinstance(node, ast.arguments):
            arguments |= {*node.defaults, *node.kw_defaults}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\{\d*,\d+\}|\d{2,} ?(?:KiB|자)", node.value)
        elif isinstance(node, ast.Constant) and type(node.value) is int and node not in arguments:
            yield from [str(node.value)] if node.value > 9 and node.value != 1024 else []


@pytest.mark.parametrize("source", READS_REQUESTS, ids=named)
def test_limits_are_in_their_own_module(source: Path) -> None:
    assert list(limit_literals(source.read_text())) == []


def test_limits_in_code_are_found() -> None:
    code = """
MAX = 16 * 1024
def parse(text, *, status=400):
    if len(text) > 200 or not re.fullmatch("[a-z]{1,64}", text):
        return response(400, "255자 이하")
"""
    assert sorted(limit_literals(code)) == ["16", "200", "255자", "{1,64}"]


@pytest.mark.parametrize("source", SOURCES + STACKS, ids=named)
def test_deployed_code_does_not_mention_the_local_cloud(source: Path) -> None:
    """AWS_ENDPOINT_URL_SNS is allowed because it names an endpoint of AWS."""
    assert not re.search(
        r"(?i)emulat|ministack|localstack|moto\b|endpoint_url(?!_SNS\b)|127\.0\.0\.1|localhost",
        source.read_text(),
    )


@pytest.mark.parametrize("handler", sorted(LAMBDAS.glob("*/handler.py")), ids=named)
def test_each_function_has_unit_tests(handler: Path) -> None:
    tests = PROJECT / f"tests/unit/test_{handler.parent.name}.py"
    assert tests.exists(), f"{named(handler)} has no {named(tests)}"
