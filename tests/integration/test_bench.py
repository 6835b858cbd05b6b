"""Every part of `make bench` works, in its smallest form, and its counts hold.

A part fails by itself if what the shop sold is not what the stock lost and what the purchases gained.
No test looks at a time.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from bench import __main__ as command
from bench import measure
from bench.__main__ import SECONDS, SMALLEST
from bench.__main__ import measure as run
from bench.figures import Figure, exactly
from bench.measure import Block, assert_exact, assert_taken
from bench.parts import rivals
from bench.programs import has_rivals
from bench.report import number
from local.polling import eventually
from local.processes import LocalError
from settings import PROJECT

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


def test_rival_that_sold_more_than_the_stock_lost_fails_the_part() -> None:
    block = Block(p50=1, processor=1, calls=2, seconds=1, sold=2, taken=1, recorded=0)
    with pytest.raises(AssertionError, match="node: sold 2, taken 1"):
        assert_taken([{"node": block}], "node")


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows=0"], "0 is below 1"),
        (["--rows=-5"], "-5 is below 1"),
        (["--smallest"], "--smallest needs a --folder of its own"),
        (["--smallest", f"--folder={PROJECT}/tests/../bench"], "--smallest needs a --folder"),
        (["--folder=/dev/null"], "--folder: "),
        (["unknown"], "unknown: unknown"),
    ],
)
def test_command_line_rejects(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "measure", not_expected)
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert message in capsys.readouterr().err


def not_expected(*arguments: object) -> None:
    pytest.fail(f"measured: {arguments}")


def test_folder_is_created_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new/folder"
    existed = []
    monkeypatch.setattr(command, "measure", lambda *_: existed.append(folder.is_dir()))
    monkeypatch.setattr(command, "draw", lambda folder: None)
    command.main(["start", "--smallest", f"--folder={folder}"])
    assert existed == [True]


def test_rivals_part_says_how_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "has_rivals", lambda: False)
    with pytest.raises(LocalError, match="ONLY=rivals make bench"):
        rivals.run(SMALLEST)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_bench_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "start", f"--folder={tmp_path}/results"],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": f".{os.pathsep}lambdas", "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        servers = eventually(lambda: servers_in_use(process.pid), within=60)
        assert servers
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert not [server for server in servers if server.is_running()]
    assert not list(tmp_path.glob("bench-*"))
    assert process.returncode == 1
    assert errors.strip().startswith("Interrupted;"), errors
    assert "Traceback" not in errors


def servers_in_use(bench: int) -> list[psutil.Process]:
    """Return the bench's database servers once it measures a process that uses them."""
    children = psutil.Process(bench).children()
    with suppress(psutil.NoSuchProcess):  # such a process lives for a moment only
        measured = [child for child in children if "bench/sides/start.py" in child.cmdline()]
        assert measured, "nothing is measured"
        return [child for child in children if child.name() in ("mariadbd", "mysqld")]
    raise AssertionError("a process ended while it was looked at")
