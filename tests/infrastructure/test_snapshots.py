"""The templates of each environment, in one file each, so that a diff shows what a change does."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

import stacks.function
from settings import ENVIRONMENTS, LAMBDAS
from tests.support.assembly import Assembly, synth


def shape(assembly: Assembly) -> dict[str, Any]:
    """Return the templates without hashes of the functions' code and the CDK's bootstrap check."""
    text = json.dumps(assembly.templates)
    text = re.sub(r"\b[0-9a-f]{64}\b", "<hash>", text)
    text = re.sub(r"(CurrentVersion[0-9A-F]{8})[0-9a-f]{32}", r"\1<hash>", text)
    templates: dict[str, Any] = json.loads(text)
    for template in templates.values():
        del template["Parameters"]["BootstrapVersion"]
        del template["Rules"]["CheckBootstrapVersion"]
    return templates


def test_templates_equal_their_snapshot(assembly: Assembly, snapshot: SnapshotAssertion) -> None:
    expected = snapshot(extension_class=JSONSnapshotExtension)
    assert shape(assembly) == expected, "if the change is intended: make snapshots"


def test_new_code_changes_no_snapshot(
    assembly_of: Callable[[str], Assembly], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = assembly_of("dev")
    changed = Path(shutil.copytree(LAMBDAS, tmp_path / "lambdas"))
    for handler in changed.glob("*/handler.py"):
        handler.write_text(f"{handler.read_text()}\nCHANGED = True\n")
    (changed / "requirements.txt").write_text("pymysql==0.0.0")
    monkeypatch.setattr(stacks.function, "LAMBDAS", changed)
    after = synth(ENVIRONMENTS["dev"], tmp_path / "cdk.out")
    assert before.templates != after.templates
    assert shape(before) == shape(after)
