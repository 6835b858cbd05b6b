import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from operations import preflight
from operations.guard import Stop, require_alarm_address
from settings import ENVIRONMENTS
from tests.support.assembly import Assembly, synth

PROD = ENVIRONMENTS["prod"]


def test_the_bootstrap_stack_must_be_as_new_as_the_assembly_asks(assembly: Assembly) -> None:
    manifest = (assembly.directory / "manifest.json").read_text()
    assert (
        max(map(int, re.findall(r'"requiresBootstrapStackVersion": (\d+)', manifest)))
        == preflight.BOOTSTRAP_VERSION
    )
    parameters = set(re.findall(r'"bootstrapStackVersionSsmParameter": ("[^"]+")', manifest))
    assert {json.loads(parameter) for parameter in parameters} == {preflight.BOOTSTRAP_PARAMETER}


def test_rds_is_asked_for_the_database_of_the_template(assembly: Assembly) -> None:
    _, database = assembly.one("AWS::RDS::DBInstance")
    asked = (preflight.ENGINE, preflight.ENGINE_VERSION, preflight.STORAGE_TYPE)
    assert (database["Engine"], database["EngineVersion"], database["StorageType"]) == asked


def test_alarm_address_is_found_in_what_was_synthesized(
    assembly_of: Callable[[str], Assembly], tmp_path: Path
) -> None:
    """A workflow deploys what another has synthesized: the address has to be given there."""
    given = replace(PROD, alarm_email="ops@shop.test")
    with pytest.raises(Stop, match="make synth ENV=prod ALARM_EMAIL="):
        require_alarm_address(given, assembly=assembly_of("prod").directory)
    require_alarm_address(PROD, assembly=synth(given, tmp_path).directory)
