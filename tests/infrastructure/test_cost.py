"""Every resource in the templates has a price, and dev stays cheap."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from operations import cost
from settings import ENVIRONMENTS
from tests.support.assembly import Assembly, synth

DEV_IDLE = 23
"""USD per month that dev may cost while nobody uses it, in an account of its own."""


def resources(assembly: Assembly) -> list[dict[str, Any]]:
    """Return the resources of all stacks."""
    return [
        resource
        for template in assembly.templates.values()
        for resource in template["Resources"].values()
    ]


@pytest.mark.parametrize(("login", "secrets"), [("iam", 1), ("secret", 4)])
def test_each_password_costs_a_secret(login: str, secrets: int, tmp_path: Path) -> None:
    """The master user has one, and each function that logs in with a password has one."""
    assembly = synth(ENVIRONMENTS["dev"].override({"database_login": login}), tmp_path)
    assert cost.usage(resources(assembly), cost.IDLE)["Secret"] == secrets


def test_every_resource_has_a_price(assembly: Assembly) -> None:
    _, prices = cost.read_prices()
    idle, million = (
        cost.usage(resources(assembly), traffic) for traffic in (cost.IDLE, cost.MILLION)
    )
    assert 0 < cost.cost(idle, prices, free=False) < cost.cost(million, prices, free=False)


def test_dev_is_cheap_while_idle(assembly_of: Callable[[str], Assembly]) -> None:
    _, prices = cost.read_prices()
    idle = cost.usage(resources(assembly_of("dev")), cost.IDLE)
    assert cost.cost(idle, prices, free=True) <= DEV_IDLE
