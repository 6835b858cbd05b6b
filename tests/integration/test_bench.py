"""Every part of `make bench` works, in its smallest form, and its counts hold.

A part fails by itself if what the shop sold is not what the stock lost and what the purchases gained.
No test looks at a time.
"""

import json
from pathlib import Path

import pytest

from bench import measure
from bench.__main__ import SECONDS, SMALLEST
from bench.__main__ import measure as run
from bench.figures import Figure, exactly
from bench.measure import Block, assert_exact
from bench.programs import has_rivals
from bench.report import number

PARTS = [part for part in SECONDS if part != "up"]
"""`up` starts a whole shop, as tests/e2e does."""


@pytest.mark.parametrize("part", PARTS)
def test_part_writes_its_figures_to_the_report(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if part == "rivals" and not has_rivals():
        pytest.skip("`make integration` and `make test` install the rivals")
    monkeypatch.setenv("CDK_VALIDATION", "false")  # slow, and a test of its own
    run(part, SMALLEST, tmp_path)
    figures = json.loads((tmp_path / "results.json").read_text())["parts"][part]["figures"]
    report = (tmp_path / "results.md").read_text()
    assert figures
    for figure in figures:
        assert f"| {figure['name']} |" in report, figure["name"]


@pytest.mark.parametrize(
    ("sold", "taken", "recorded"),
    [(2, 1, 2), (2, 2, 1), (1, 2, 2)],
    ids=["sold twice", "not recorded", "not told"],
)
def test_wrong_counts_fail_the_part(sold: int, taken: int, recorded: int) -> None:
    block = Block(p50=1, processor=1, calls=2, seconds=1, sold=sold, taken=taken, recorded=recorded)
    with pytest.raises(AssertionError, match="ours"):
        assert_exact([{"ours": block}], "ours")


@pytest.mark.parametrize("median", [1.354, 1.355, 99.96, 1234.5])
def test_goal_is_compared_with_the_printed_figure(median: float) -> None:
    printed = float(number(median).replace(",", ""))
    met = [
        Figure(name="figure", value=exactly(median), at_most=printed).met,
        Figure(name="figure", value=exactly(median), at_least=printed).met,
        Figure(name="figure", value=exactly(median), at_most=printed - 0.01).met,
        Figure(name="figure", value=exactly(median), at_least=printed + 0.01).met,
    ]
    assert met == [True, True, False, False]


def test_ratio_is_taken_within_each_round() -> None:
    """The second round is ten times slower for both sides, as on a machine with other work."""
    rounds = [{"ours": 2.0, "raw": 1.0}, {"ours": 20.0, "raw": 10.0}]
    assert measure.ratio(rounds, "ours", "raw", float).median == 2
