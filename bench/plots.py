"""Draw the plots of results.json with matplotlib, in the rivals' environment."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 10})


def rivals(figures: list[dict[str, Any]], file: Path) -> None:
    """Draw one bar per side, for GET and for checkout, relative to the bare statement."""
    _, axes = pyplot.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
    for axis, what in zip(axes, ("GET / raw SELECT", "checkout / raw UPDATE"), strict=True):
        bars = [figure for figure in figures if figure["name"].startswith(f"{what}: ")]
        names = [figure["name"].removeprefix(f"{what}: ") for figure in bars]
        medians = [figure["value"]["median"] for figure in bars]
        colors = ["#1f6f43" if name.startswith("ours") else "#b0b0b0" for name in names]
        labels = axis.barh(names, medians, color=colors)
        axis.bar_label(labels, fmt="%.2f", padding=3)
        axis.set(xscale="log", title=what)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    pyplot.savefig(file, metadata={"Date": None})


def hot_product(lines: list[dict[str, Any]], file: Path) -> None:
    """Draw the rate over the number of buyers, for one row and for slots."""
    _, axis = pyplot.subplots(figsize=(9, 3.5), layout="constrained")
    for line in lines:
        axis.plot(line["x"], line["y"], marker="o", label=line["label"])
    ticks = lines[0]["x"]
    axis.set(xscale="log", xlabel="buyers of one product", ylabel="checkouts per second", ylim=0)
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    pyplot.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    parts = json.loads((folder / "results.json").read_text())["parts"]
    if figures := parts.get("rivals", {}).get("figures"):
        rivals(figures, folder / "rivals.svg")
    if lines := parts.get("hot_product", {}).get("lines"):
        hot_product(lines, folder / "hot_product.svg")
