"""The files for Visual Studio Code name commands, files and ports that exist."""

import json
import os
import re
import subprocess
from typing import Any

from local.cloud import PREFERRED_PORTS
from local.emulator import DEBUGGED_LINK
from settings import LAMBDAS, PROJECT
from tests.support.documentation import makefile_targets, sections

CONTAINER: dict[str, Any] = json.loads((PROJECT / ".devcontainer/devcontainer.json").read_text())
LAUNCH: dict[str, Any] = json.loads((PROJECT / ".vscode/launch.json").read_text())
TEST, ATTACH = LAUNCH["configurations"]
WRITTEN = (".local/",)
"""What is written while the shop runs."""


def test_container_runs_commands_that_exist() -> None:
    commands = {key: value for key, value in CONTAINER.items() if key.endswith("Command")}
    assert commands
    for key, command in commands.items():
        make, target = command.split()
        assert make == "make", key
        assert target in makefile_targets(), f"{key}: the Makefile has no target {target}"


def test_container_needs_neither_root_nor_docker() -> None:
    """Features are installed as root, and options, mounts and services could need rights."""
    needed = {"name", "image", "containerUser", "remoteUser", "forwardPorts", "postCreateCommand"}
    assert CONTAINER.keys() == needed | {"customizations"}
    for key in ("containerUser", "remoteUser"):
        assert CONTAINER[key] not in ("root", "0"), key
    assert re.fullmatch(r"[\w./]+/python:3\.\d+-bookworm", CONTAINER["image"])


def test_container_forwards_the_ports_of_the_shop_and_its_console() -> None:
    pages = [PREFERRED_PORTS["endpoint"], PREFERRED_PORTS["console"]]
    assert CONTAINER["forwardPorts"] == pages


def test_paths_of_the_editor_exist() -> None:
    text = json.dumps([LAUNCH, CONTAINER])
    paths = re.findall(r'\$\{workspaceFolder\}/([^"]+)', text)
    assert ".venv/bin/python" in paths
    for path in paths:
        assert path.startswith(WRITTEN) or (PROJECT / path).exists(), path


def test_configuration_for_tests_runs_the_one_that_is_named() -> None:
    given = {
        "${file}": "tests/unit/test_sales.py",
        "${input:test}": "test_unknown_product_is_rejected",
    }
    arguments = [given.get(argument, argument) for argument in TEST["args"]]
    done = subprocess.run(
        [PROJECT / ".venv/bin/python", "-m", TEST["module"], *arguments, "--verbose"],
        cwd=PROJECT,
        env=os.environ | TEST["env"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"\[\s*\d+%\]", done.stdout)) == 1, done.stdout
    assert "timeout: " not in done.stdout, "a test that stands at a breakpoint must not time out"


def test_all_tests_of_a_file_are_debugged_by_default() -> None:
    (prompt,) = LAUNCH["inputs"]
    assert f"${{input:{prompt['id']}}}" in TEST["args"]
    assert prompt["default"] == "", "-k '' chooses all"


def test_debugger_attaches_where_the_function_waits() -> None:
    assert ATTACH["connect"] == {"host": "127.0.0.1", "port": PREFERRED_PORTS["debugger"]}
    (mapping,) = ATTACH["pathMappings"]
    assert mapping["localRoot"] == f"${{workspaceFolder}}/{LAMBDAS.relative_to(PROJECT)}"
    assert mapping["remoteRoot"] == f"${{workspaceFolder}}/.local/{DEBUGGED_LINK}"


def test_contributing_names_the_configuration_that_attaches() -> None:
    assert f"*{ATTACH['name']}*" in sections("CONTRIBUTING.md")["Debug a function"]
