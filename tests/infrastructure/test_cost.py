from operations import cost
from tests.infrastructure.conftest import Assembly

DEV_IDLE = 23
"""USD a month that dev may cost while nobody uses it, in an account of its own."""


def test_every_resource_is_priced(assembly: Assembly) -> None:
    _, prices = cost.read_prices()
    resources = [resource for template in assembly.templates.values() for resource in template["Resources"].values()]
    idle, million = (cost.usage(resources, traffic) for traffic in (cost.IDLE, cost.MILLION))
    assert 0 < cost.cost(idle, prices, free=False) < cost.cost(million, prices, free=False)
    if assembly.name == "dev":
        assert cost.cost(idle, prices, free=True) <= DEV_IDLE
