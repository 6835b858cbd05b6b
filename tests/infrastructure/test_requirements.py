"""requirements.txt has what `make up` and operators' commands import, in the tests' versions."""

import re
import sys
from importlib.metadata import packages_distributions

from settings import PROJECT

EMULATOR = PROJECT / "local/emulator"
RUN = [
    PROJECT / "app.py",
    *PROJECT.glob("console/*.py"),
    *PROJECT.glob("stacks/**/*.py"),
    *PROJECT.glob("operations/*.py"),
    *(path for path in PROJECT.glob("local/**/*.py") if path.parent != EMULATOR),
]
"""Files that run in `.venv` without the tests' packages. The emulator has its own environment."""


def pinned(file: str) -> dict[str, str]:
    """Return the versions of the packages in a file."""
    lines = (PROJECT / file).read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lines, re.MULTILINE))


def test_every_imported_package_is_installed_by_up() -> None:
    distributions, installed = packages_distributions(), pinned("requirements.txt")
    for file in RUN:
        for module in re.findall(r"^ *(?:from|import) (\w+)", file.read_text(), re.MULTILINE):
            if module in distributions and module not in sys.stdlib_module_names:
                needed = {name.lower() for name in distributions[module]}
                assert needed & set(installed), f"{file.name} imports {module}: requirements.in"


def test_tests_use_the_versions_of_up() -> None:
    assert pinned("requirements.txt").items() <= pinned("requirements-dev.txt").items()
