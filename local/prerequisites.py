"""Check that the machine has what an installation needs, before anything is installed.

This module imports the standard library only. The Makefile has checked that Python is new enough.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from local.database import programs
from local.step import BYTES_PER_MB
from settings import PROJECT

NEEDED_MB = 1_200
"""What `make up` takes on the disk: the packages, the database and its log."""
MODULES = ("venv", "ensurepip")


def problems(*, with_database: bool) -> Iterator[str]:
    """Yield a sentence for each thing that is missing, and how to get it."""
    if missing := [name for name in MODULES if find_spec(name) is None]:
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        yield (
            f"Python's {' and '.join(missing)} is missing."
            f" On Debian and Ubuntu: sudo apt-get install {version}-venv"
        )
    if not os.access(PROJECT, os.W_OK):
        yield f"Everything is installed inside the project, and {PROJECT} is not writable."
    free = shutil.disk_usage(PROJECT).free // BYTES_PER_MB
    if free < NEEDED_MB:
        yield f"{NEEDED_MB} MB of disk space are needed in {PROJECT}, and {free} MB are free."
    if with_database and (problem := programs.problem()):
        yield problem


if __name__ == "__main__":
    if found := list(problems(with_database="--with-database" in sys.argv)):
        sys.exit("\n".join(["Nothing was installed:", *found]))
