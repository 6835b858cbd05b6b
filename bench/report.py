"""Write results.json, and results.md from it."""

import json
import os
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.figures import Figure, Findings, rounded
from bench.measure import Quartiles
from bench.programs import NODE
from bench.server import sync_library
from local.database.programs import version

NOTES = Path(__file__).with_name("notes.md")
TITLES = {
    "requests": "One buyer, beside bare loops of the statements",
    "hot_product": "Many buyers of one product: one row and slots",
    "growth": "A shop with history",
    "start": "Cold start",
    "consumer": "The consumer",
    "synth": "Synthesis and sizes",
    "up": "The local shop",
    "rivals": "Rivals",
}
PLOTS = {"hot_product": "hot_product.svg", "rivals": "rivals.svg"}


def record(folder: Path, part: str, findings: Findings, *, effort: str) -> None:
    """Add a part's findings to results.json, in place of older ones, and write results.md."""
    file = folder / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {"parts": {}}
    results["machine"] = machine()
    results["parts"][part] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "load_average": os.getloadavg()[0],
        "simulated_sync": sync_library() is not None,
        "effort": effort,
        **asdict(findings),
    }
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    (folder / "results.md").write_text(markdown(results, folder))


def machine() -> dict[str, str]:
    """Describe the machine and the programs, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{os.cpu_count()} cores, {processor()}",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "node": output(NODE[0], "--version"),
        "database": f"MariaDB {version()}",
    }


def processor() -> str:
    """Return the processor's model if the system tells it."""
    information = Path("/proc/cpuinfo")
    for line in information.read_text().splitlines() if information.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def output(*command: str) -> str:
    """Return the first line that a program prints."""
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    return printed.stdout.splitlines()[0]


def markdown(results: dict[str, Any], folder: Path) -> str:
    """Return the report."""
    lines = [
        "# Results of `make bench`",
        "",
        "Generated: do not edit. The method is described below.",
    ]
    lines += ["", "| machine | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in results["machine"].items()]
    for name, title in TITLES.items():
        if part := results["parts"].get(name):
            lines += ["", f"## {title}", "", *section(part)]
            if (plot := PLOTS.get(name)) and (folder / plot).exists():
                lines += ["", f"![{title}]({plot})"]
    return "\n".join(lines) + "\n\n" + NOTES.read_text()


def section(part: dict[str, Any]) -> list[str]:
    """Return a part's table. Figures that depend on the disk's own sync time are marked."""
    mark = "" if part["simulated_sync"] else " †"
    lines = [
        f"`ONLY={part['effort']}`, {part['measured_at']}, load average {part['load_average']:.1f}.",
        "",
        "| figure | median | quartiles | goal | |",
        "|---|---|---|---|---|",
    ]
    for figure in figures(part):
        lines.append("| " + " | ".join(cells(figure, mark)) + " |")
    if mark:
        lines += ["", "† There was no C compiler: the disk was synced, whose time varies."]
    return lines


def figures(part: dict[str, Any]) -> list[Figure]:
    """Return the figures of a part of results.json."""
    return [Figure(**given | {"value": Quartiles(**given["value"])}) for given in part["figures"]]


def cells(figure: Figure, mark: str) -> list[str]:
    value, unit = figure.value, f" {figure.unit}" if figure.unit else ""
    goal = ""
    if figure.at_most is not None:
        goal = f"≤ {figure.at_most:g}{unit}"
    if figure.at_least is not None:
        goal = f"≥ {figure.at_least:g}{unit}"
    verdict = {None: "", True: "met", False: "**missed**"}[figure.met]
    counted = value.low == value.high
    between = "" if counted else f"{number(value.low)} to {number(value.high)}"
    return [figure.name, f"{number(value.median)}{unit}{mark}", between, goal, verdict]


def number(value: float) -> str:
    """Return the rounded value as text."""
    shown = rounded(value)
    return f"{shown:,.0f}" if abs(value) >= 100 else f"{shown:.3g}"
