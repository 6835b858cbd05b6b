from collections.abc import Callable
from functools import cache

import pytest

from settings import ENVIRONMENTS
from tests.support.assembly import Assembly, synth


@pytest.fixture(scope="session")
def assembly_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Assembly]:
    return cache(lambda name: synth(ENVIRONMENTS[name], tmp_path_factory.mktemp(f"cdk.out-{name}")))


@pytest.fixture(params=ENVIRONMENTS)
def assembly(request: pytest.FixtureRequest, assembly_of: Callable[[str], Assembly]) -> Assembly:
    """Each environment in turn, synthesized once a session."""
    return assembly_of(request.param)
