"""Watch the sources of the running shop, and deploy what is saved."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from watchfiles import watch

from local.cloud import Busy, Cloud, Step, changed_files, synthesis_inputs
from local.processes import LocalError
from settings import LAMBDAS, PROJECT

QUIET_MILLISECONDS = 50
"""For how long nothing is written before the sources are read: some editors write a file twice."""
LOOK_MILLISECONDS = 1000
"""How often the sources are read without a reported change.

A new directory is not watched, and some file systems report nothing.
"""


class Watcher:
    """Deploys changed sources, each change once."""

    def __init__(self, cloud: Cloud, *, factory_url: str | None, step: Step) -> None:
        self._cloud = cloud
        self._factory_url = factory_url
        self._step = step
        self._seen = cloud.deployed_inputs() or synthesis_inputs([])

    def run(self) -> None:
        """Deploy what is saved, until the shop is closed. Raises KeyboardInterrupt."""
        for _ in watch(
            *watched_directories(),
            recursive=False,
            step=QUIET_MILLISECONDS,
            rust_timeout=LOOK_MILLISECONDS,
            yield_on_timeout=True,
        ):
            if not self._cloud.emulator.process:
                return
            self.look()

    def look(self) -> None:
        """Deploy what has changed since the last call."""
        inputs = synthesis_inputs([])
        changed = changed_files(self._seen, inputs)
        if not changed:
            return
        try:
            self._deploy(changed)
        except Busy:
            return  # The next call tries again.
        except LocalError as error:
            print(error, flush=True)
        self._seen = inputs

    def _deploy(self, changed: Sequence[Path]) -> None:
        """Deploy the changed files, unless one of them has a syntax error. Raises LocalError."""
        errors = [error for path in changed if (error := syntax_error(path))]
        if errors:
            print(*errors, "The previous code stays deployed.", sep="\n", flush=True)
            return
        saved = max(
            (path.stat().st_ctime for path in changed if path.exists()), default=time.time()
        )

        def print_live(errors: Mapping[str, str | None]) -> None:
            for name, error in errors.items():
                if error:
                    print(f"{name} is deployed, and cannot start: {error}", flush=True)
            if live := [name for name, error in errors.items() if not error]:
                print(f"{', '.join(live)}: live after {time.time() - saved:.1f} s", flush=True)

        if not self._cloud.update_functions(factory_url=self._factory_url, on_live=print_live):
            names = ", ".join(str(path.relative_to(PROJECT)) for path in changed)
            print(f"{names}: the shop is updated, as by `make up`", flush=True)
            self._cloud.start(factory_url=self._factory_url, step=self._step)


def watched_directories() -> list[Path]:
    """Return the directories of the sources, without those of caches, packages and data."""
    folders = (path for path in LAMBDAS.rglob("*") if path.is_dir())
    return [
        PROJECT,
        PROJECT / "stacks",
        LAMBDAS,
        *(path for path in folders if path.name != "__pycache__"),
    ]


def syntax_error(path: Path) -> str | None:
    """Return where a Python file has a syntax error, and which. None if it has none."""
    if path.suffix != ".py" or not path.exists():
        return None
    try:
        compile(path.read_bytes(), path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte
        line = getattr(error, "lineno", None) or 1
        return f"{path.relative_to(PROJECT)}:{line}: {getattr(error, 'msg', error)}"
    return None
