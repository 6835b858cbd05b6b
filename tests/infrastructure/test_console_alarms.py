"""console/breaking.py: what can be broken, and which alarms the templates and the runbook have."""

import pytest

from console.breaking import LASTING, ONCE, described
from local.breakage import SERVICES, Breakage
from local.database.outage import OUTAGES
from local.factory import BREAKAGES
from local.processes import LocalError
from tests.support.assembly import Assembly
from tests.support.documentation import sections

NAMED = {kind.alarm for kind in [*LASTING.values(), *ONCE.values()] if kind.alarm}


def test_each_breakage_of_the_local_cloud_is_described() -> None:
    """local/breakage.py makes the same names, and needs a cloud for it."""
    names = [
        *SERVICES,
        *(f"factory_{name}" for name in BREAKAGES),
        *(f"database_{name}" for name in OUTAGES),
    ]
    assert sorted(LASTING) == sorted(names)


@pytest.mark.parametrize("alarm", sorted(NAMED))
def test_alarm_of_a_breakage_is_in_the_template(assembly: Assembly, alarm: str) -> None:
    names = {properties["AlarmName"] for _, properties in assembly.each("AWS::CloudWatch::Alarm")}
    assert assembly.settings.alarm_name(alarm) in names


@pytest.mark.parametrize("alarm", sorted(NAMED))
def test_alarm_of_a_breakage_has_a_section_in_the_runbook(alarm: str) -> None:
    headings = {name for heading in sections("docs/runbook.md") for name in heading.split(", ")}
    assert alarm in headings


class Broken:
    """A breakage that lasts for this long, or that can't be asked."""

    def __init__(self, remaining: float | Exception) -> None:
        self._remaining = remaining

    def start(self, seconds: float = 0) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""

    def remaining(self) -> float:
        if isinstance(self._remaining, Exception):
            raise self._remaining
        return self._remaining


def test_breakage_that_cannot_be_asked_is_left_out() -> None:
    """Another factory than the local one can't be broken, and everything else can."""
    known: dict[str, Breakage] = {name: Broken(0) for name in LASTING}
    known["sns"] = Broken(12.34)
    known["factory_off"] = Broken(LocalError("it is not the local one"))
    found = {each.name: each for each in described(known, {})}
    assert found.keys() == {*LASTING, *ONCE} - {"factory_off"}
    assert found["sns"].remaining == 12.3
    assert (found["sns"].part, found["sns"].lasts, found["sns"].alarm) == ("topic", True, None)
    assert not found["poison_message"].lasts
