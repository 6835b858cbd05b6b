"""Dependencies point inward, and what runs in the cloud knows no other cloud."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from settings import PROJECT

LAMBDAS = PROJECT / "lambdas"
READS_REQUESTS = [
    LAMBDAS / "common" / "http_api.py",
    LAMBDAS / "restock" / "handler.py",
    LAMBDAS / "sales" / "handler.py",
]
SHIPPED = {"boto3", "botocore", "pymysql", "requests", "urllib3"}
SOURCES = sorted(LAMBDAS.rglob("*.py"))
STACKS = [PROJECT / "app.py", *sorted((PROJECT / "stacks").rglob("*.py"))]


def imported(source: Path) -> Iterator[str]:
    """The top-level names of what a file imports, inside functions too."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            yield (node.module or "").partition(".")[0]


def named(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_a_function_imports_itself_what_is_common_and_what_ships(source: Path) -> None:
    folder = source.relative_to(LAMBDAS).parts[0]
    assert set(imported(source)) - sys.stdlib_module_names <= SHIPPED | {"common", folder}


@pytest.mark.parametrize("source", STACKS, ids=named)
def test_stacks_import_neither_functions_nor_local_tools(source: Path) -> None:
    assert set(imported(source)) - sys.stdlib_module_names <= {
        "aws_cdk",
        "constructs",
        "jsii",
        "settings",
        "stacks",
    }


def test_settings_can_be_read_without_the_cdk() -> None:
    assert set(imported(PROJECT / "settings.py")) <= sys.stdlib_module_names


@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_one_file_reads_the_environment(source: Path) -> None:
    reads = bool(re.search(r"\b(environb?|getenv)\b", source.read_text()))
    assert reads == (source == LAMBDAS / "common" / "environment.py")


def limit_literals(code: str) -> Iterator[str]:
    """Yield every number of two digits or more but 1024, and every length in a pattern or a message.

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
def test_limits_stand_in_a_module_of_their_own(source: Path) -> None:
    assert list(limit_literals(source.read_text())) == []


def test_limit_literal_is_found() -> None:
    code = """
MAX = 16 * 1024
def parse(text, *, status=400):
    if len(text) > 200 or not re.fullmatch("[a-z]{1,64}", text):
        return response(400, "255자 이하")
"""
    assert sorted(limit_literals(code)) == ["16", "200", "255자", "{1,64}"]


@pytest.mark.parametrize("source", SOURCES + STACKS, ids=named)
def test_nothing_knows_the_local_cloud(source: Path) -> None:
    """AWS_ENDPOINT_URL_SNS names an endpoint of AWS's own."""
    assert not re.search(
        r"(?i)emulat|ministack|localstack|moto\b|endpoint_url(?!_SNS\b)|127\.0\.0\.1|localhost",
        source.read_text(),
    )
