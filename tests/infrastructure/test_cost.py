from pathlib import Path
from typing import Any

import pytest

from operations import cost
from settings import ENVIRONMENTS
from tests.support.assembly import Assembly, synth

DEV_IDLE = 23
"""USD a month that dev may cost while nobody uses it, in an account of its own."""


def resources(assembly: Assembly) -> list[dict[str, Any]]:
    return [
        resource
        for template in assembly.templates.values()
        for resource in template["Resources"].values()
    ]


@pytest.mark.parametrize(("login", "secrets"), [("iam", 1), ("secret", 4)])
def test_each_password_costs_a_secret(login: str, secrets: int, tmp_path: Path) -> None:
    """One is the master user's, and one each function's where it logs in with a password."""
    assembly = synth(ENVIRONMENTS["dev"].override({"database_login": login}), tmp_path)
    assert cost.usage(resources(assembly), cost.IDLE)["Secret"] == secrets


def test_every_resource_is_priced(assembly: Assembly) -> None:
    _, prices = cost.read_prices()
    idle, million = (
        cost.usage(resources(assembly), traffic) for traffic in (cost.IDLE, cost.MILLION)
    )
    assert 0 < cost.cost(idle, prices, free=False) < cost.cost(million, prices, free=False)
    if assembly.name == "dev":
        assert cost.cost(idle, prices, free=True) <= DEV_IDLE
