"""Each environment, synthesized once per session."""

from collections.abc import Callable
from functools import cache

import pytest

from settings import ENVIRONMENTS
from tests.support.assembly import Assembly, synth


@pytest.fixture(scope="session")
def assembly_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Assembly]:
    """Return a function from the name of an environment to its assembly."""
    return cache(lambda name: synth(ENVIRONMENTS[name], tmp_path_factory.mktemp(f"cdk.out-{name}")))


@pytest.fixture(params=ENVIRONMENTS)
def assembly(request: pytest.FixtureRequest, assembly_of: Callable[[str], Assembly]) -> Assembly:
    """Return the assembly of each environment in turn."""
    return assembly_of(request.param)
