"""Measure the shop beside bare statements, rivals and its own goals. bench/notes.md has the method."""

import argparse
import importlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import scale
from bench.measure import Effort
from bench.programs import RIVAL_PYTHON, has_rivals
from bench.report import record
from local.processes import LocalError
from settings import ENVIRONMENTS, PROJECT

SECONDS = {
    "requests": 120,
    "rivals": 90,
    "hot_product": 180,
    "growth": 70,
    "start": 15,
    "consumer": 8,
    "synth": 20,
    "up": 10,
}
"""The time of each part, without that in which it starts its servers."""
ROUNDS = 3
"""At least this many rounds of each comparison."""


def full(part: str, *, rows: int) -> Effort:
    """Return the effort of `make bench` for a part."""
    return Effort(
        seconds=SECONDS[part],
        rounds=ROUNDS,
        calls=50,
        rows=rows,
        connections=(1, 2, 4, 8, 16, 32, 64),
        rush=1.0,
        environments=tuple(ENVIRONMENTS),
    )


SMALLEST = Effort(
    seconds=0,
    rounds=1,
    calls=2,
    rows=100,
    connections=(2, 8),
    rush=0.1,
    environments=("local",),
)
"""The effort of `make test`, which checks that the benchmark runs."""


def measure(part: str, effort: Effort, folder: Path) -> None:
    """Run a part and write its figures to the folder."""
    began = time.monotonic()
    findings = importlib.import_module(f"bench.parts.{part}").run(effort)
    record(folder, part, findings, effort=part)
    print(
        f"{part}: {len(findings.figures)} figures in {time.monotonic() - began:.0f} s", flush=True
    )


def draw(folder: Path) -> None:
    """Draw the plots, with the library that is installed beside the rivals."""
    if has_rivals():
        command = [RIVAL_PYTHON[0], "-m", "bench.plots", str(folder)]
        subprocess.run(command, cwd=PROJECT, check=True)


def at_least_one(text: str) -> int:
    """Read a number of rows."""
    if (rows := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{rows} is below 1")
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="PART", help=f"of {', '.join(SECONDS)}")
    parser.add_argument(
        "--rows", type=at_least_one, default=1_000_000, help="in each table that grows"
    )
    parser.add_argument("--smallest", action="store_true", help="only check that it runs")
    parser.add_argument("--folder", type=Path, default=scale.RESULTS.parent, help="of the results")
    given = parser.parse_args(arguments)
    if unknown := set(given.only) - SECONDS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; the parts are {', '.join(SECONDS)}")
    committed = given.folder.resolve() == scale.RESULTS.parent.resolve()
    if given.smallest and committed:
        parser.error("--smallest needs a --folder of its own: its figures are not to be committed")
    try:
        given.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--folder: {error}")
    for part in given.only or SECONDS:
        effort = SMALLEST if given.smallest else full(part, rows=given.rows)
        measure(part, effort, given.folder)
    draw(given.folder)
    if committed:
        scale.renew()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also stops the servers
    try:
        main()
    except LocalError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; the figures of the parts that had ended are kept.")
