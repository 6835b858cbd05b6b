"""`make up` on a running shop in which nothing has changed, without make and Python's own start."""

import tempfile
import time
from functools import partial
from pathlib import Path

from bench.figures import Figure, Findings
from bench.measure import Effort, each, interleave
from local.cloud import Cloud


def run(effort: Effort) -> Findings:
    """Start a shop of its own, and start it again while it runs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        cloud = Cloud(Path(directory))
        try:
            cloud.start()
            rounds = interleave({"unchanged": partial(start, cloud)}, effort=effort)
        finally:
            cloud.stop()
    figure = Figure(
        name="`make up`, nothing has changed, from the start of its work",
        value=each(rounds, "unchanged", float),
        unit="s",
        at_most=3,
    )
    return Findings(figures=[figure])


def start(cloud: Cloud) -> float:
    """Return how many seconds it takes to bring the shop up to date."""
    began = time.perf_counter()
    cloud.start()
    return time.perf_counter() - began
