"""Dependencies point inward, and what runs in the cloud knows no other cloud."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infrastructure.conftest import ROOT

LAMBDAS = ROOT / "lambdas"
SHIPPED = {"boto3", "botocore", "pymysql", "requests", "urllib3"}
SOURCES = sorted(LAMBDAS.rglob("*.py"))
STACKS = [ROOT / "app.py", *sorted((ROOT / "stacks").rglob("*.py"))]


def imported(source: Path) -> Iterator[str]:
    """The top-level names of what a file imports, inside functions too."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{source}: relative import"
            yield (node.module or "").partition(".")[0]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_a_function_imports_itself_what_is_common_and_what_ships(source: Path) -> None:
    folder = source.relative_to(LAMBDAS).parts[0]
    assert set(imported(source)) - sys.stdlib_module_names <= SHIPPED | {"common", folder}


@pytest.mark.parametrize("source", STACKS, ids=named)
def test_stacks_import_neither_functions_nor_local_tools(source: Path) -> None:
    assert set(imported(source)) - sys.stdlib_module_names <= {"aws_cdk", "constructs", "jsii", "stacks"}


def test_settings_can_be_read_without_the_cdk() -> None:
    assert set(imported(ROOT / "stacks" / "settings.py")) <= sys.stdlib_module_names


@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_one_file_reads_the_environment(source: Path) -> None:
    reads = bool(re.search(r"\b(environb?|getenv)\b", source.read_text()))
    assert reads == (source == LAMBDAS / "common" / "environment.py")


@pytest.mark.parametrize("source", SOURCES + STACKS, ids=named)
def test_nothing_knows_the_local_cloud(source: Path) -> None:
    assert not re.search(
        r"(?i)emulat|ministack|localstack|moto\b|endpoint_url|127\.0\.0\.1|localhost", source.read_text()
    )
