"""`make preflight` and `make deploy` ask for what the templates need."""

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


def test_preflight_requires_the_bootstrap_version_of_the_assembly(assembly: Assembly) -> None:
    manifest = (assembly.directory / "manifest.json").read_text()
    versions = map(int, re.findall(r'"requiresBootstrapStackVersion": (\d+)', manifest))
    assert max(versions) == preflight.BOOTSTRAP_VERSION
    parameters = set(re.findall(r'"bootstrapStackVersionSsmParameter": ("[^"]+")', manifest))
    assert {json.loads(parameter) for parameter in parameters} == {preflight.BOOTSTRAP_PARAMETER}


def test_preflight_asks_rds_for_the_database_of_the_template(assembly: Assembly) -> None:
    _, database = assembly.one("AWS::RDS::DBInstance")
    assert database["Engine"] == preflight.ENGINE
    assert database["EngineVersion"] == preflight.ENGINE_VERSION
    assert database["StorageType"] == preflight.STORAGE_TYPE


def test_alarm_address_is_found_in_the_assembly(
    assembly_of: Callable[[str], Assembly], tmp_path: Path
) -> None:
    """A workflow deploys what another job has synthesized, so that job must be given the address."""
    given = replace(PROD, alarm_email="ops@shop.test")
    with pytest.raises(Stop, match="make synth ENV=prod ALARM_EMAIL="):
        require_alarm_address(given, assembly=assembly_of("prod").directory)
    require_alarm_address(PROD, assembly=synth(given, tmp_path).directory)
