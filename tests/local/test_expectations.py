"""local/emulator/expectations.py names every private part of ministack that the emulator uses."""

import ast
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from local.cloud import EMULATOR_PYTHON
from local.emulator.expectations import PRIVATE_NAMES
from settings import PROJECT

EMULATOR = PROJECT / "local" / "emulator"
DIFFERENCES = {
    "missing function": (
        "del apigateway._match_route",
        "ministack.services.apigateway._match_route is a function of: api_id method path",
    ),
    "other parameters": (
        "apigateway._match_route = lambda api_id, request: None",
        "ministack.services.apigateway._match_route is a function of: api_id method path",
    ),
    "missing store": (
        "del apigateway._apis",
        "ministack.services.apigateway._apis is a dictionary",
    ),
    "other version": (
        "expectations.version = lambda name: '0.0.0'",
        "ministack 0.0.0 does not meet an expectation of local/emulator: its version is",
    ),
}
"""What an upgrade may bring, and the error message."""


def private_names(source: Path) -> set[tuple[str, str]]:
    """Return each private name that a file takes from a module of ministack, with the module."""
    tree = ast.parse(source.read_text())
    modules = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ministack")
        for alias in node.names
    }
    return {
        (modules[node.value.id], node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
        and node.attr.startswith("_")
    }


def test_every_private_name_is_an_expectation() -> None:
    used = defaultdict[str, set[str]](set)
    for source in EMULATOR.glob("*.py"):
        for module, name in private_names(source):
            used[module].add(name)
    expected = {module: set(names) for module, names in PRIVATE_NAMES.items()}
    assert used == expected, "add a name that is used, and delete one that is not, in PRIVATE_NAMES"


@pytest.mark.parametrize(("change", "expectation"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_ministack_that_differs_ends_the_start(change: str, expectation: str) -> None:
    code = f"""
from ministack.services import apigateway
from local.emulator import expectations
{change}
expectations.expect_pinned_version()
expectations.expect_private_names()
"""
    command = [str(EMULATOR_PYTHON), "-c", code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert expectation in done.stderr
