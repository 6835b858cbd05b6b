"""What the parts measure: figures, each beside its goal."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.measure import Quartiles


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the report.

    unit: of the value; empty for a ratio. at_most, at_least: the goal, if there is one.
    """

    name: str
    value: Quartiles
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool | None:
        """Return whether the median, as it is printed, meets the goal, or None without a goal."""
        if self.at_most is not None:
            return rounded(self.value.median) <= self.at_most
        if self.at_least is not None:
            return rounded(self.value.median) >= self.at_least
        return None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a plot: y over x."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What one part found. lines: for the part's plot, if it has one."""

    figures: list[Figure]
    lines: list[Line] = field(default_factory=list)


def rounded(value: float) -> float:
    """Return the value with three significant digits, or as a whole number from 100."""
    return float(round(value)) if abs(value) >= 100 else float(f"{value:.3g}")


def exactly(value: float) -> Quartiles:
    """Return a value that was counted, not timed."""
    return Quartiles(low=value, median=value, high=value)
