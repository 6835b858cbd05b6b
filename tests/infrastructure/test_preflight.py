import json
import re

from operations import preflight
from tests.infrastructure.conftest import Assembly


def test_the_bootstrap_stack_must_be_as_new_as_the_assembly_asks(assembly: Assembly) -> None:
    manifest = (assembly.directory / "manifest.json").read_text()
    assert max(map(int, re.findall(r'"requiresBootstrapStackVersion": (\d+)', manifest))) == preflight.BOOTSTRAP_VERSION
    parameters = set(re.findall(r'"bootstrapStackVersionSsmParameter": ("[^"]+")', manifest))
    assert {json.loads(parameter) for parameter in parameters} == {preflight.BOOTSTRAP_PARAMETER}
