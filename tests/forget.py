"""Forget each step of a change, one at a time, and check that a test says what is missing.

CONTRIBUTING.md lists the steps of each kind of change. For each kind, this program makes a real
change in a copy of the tree, and runs the tests of its steps, which must pass. Then it makes the
change again without one of the steps. The test of that step must fail, with a message that says
what to do. The program prints each message with the time it took, and the total at the end.

`make forget` goes through all kinds, `KIND=route make forget` through one. tests/forgotten.py has
the changes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from settings import PROJECT
from tests.forgotten import KINDS, Kind, Step

AT_ONCE = 2
"""Copies that are tested at the same time."""
SECONDS = 300
"""Time limit of one run of pytest."""
INSTALLED = (".venv", "node_modules")
"""Linked into each copy, and not copied."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a run of pytest."""

    passed: bool
    output: str


def ignored(folder: str, names: list[str]) -> set[str]:
    """Return what is not a part of the tree: Git's ignored names, and Git's own folder."""
    caches = {name for name in names if name.endswith("_cache") or name == "__pycache__"}
    return caches | {*INSTALLED, ".git", ".local", "cdk.out", "mutants"} & set(names)


@contextmanager
def copy_of_the_tree() -> Iterator[Path]:
    """Yield a copy of the project, which is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="forget-") as directory:
        tree = Path(directory) / "shop"
        shutil.copytree(PROJECT, tree, ignore=ignored)
        for name in INSTALLED:
            (tree / name).symlink_to(PROJECT / name)
        yield tree


def run_tests(tree: Path, tests: Sequence[str]) -> Outcome:
    """Run tests in a copy of the tree."""
    run = subprocess.run(
        [tree / ".venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=tree,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    return Outcome(passed=run.returncode == 0, output=run.stdout + run.stderr)


def problem_of_the_whole_change(kind: Kind) -> str | None:
    """Make the whole change. Return what is wrong if one of the tests fails, or else None."""
    with copy_of_the_tree() as tree:
        for step in kind.steps:
            step.edit(tree)
        outcome = run_tests(tree, list(dict.fromkeys(step.test for step in kind.steps)))
    return None if outcome.passed else f"the whole change fails:\n{outcome.output}"


def problem_without(kind: Kind, forgotten: Step) -> str | None:
    """Make the change without one step. Return what is wrong if no test says so, or else None."""
    with copy_of_the_tree() as tree:
        for step in kind.steps:
            if step is not forgotten and not step.is_last:
                step.edit(tree)
        if forgotten.mistake:
            forgotten.mistake(tree)
        outcome = run_tests(tree, [forgotten.test])
    if outcome.passed:
        return f"{forgotten.test} passes"
    if forgotten.says not in " ".join(outcome.output.split()):
        return f"{forgotten.test} does not say {forgotten.says!r}:\n{outcome.output}"
    return None


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one attempt at a change. problem: None if the tests did what they should."""

    line: str
    problem: str | None
    seconds: float


def check(kind: Kind) -> Iterator[Result]:
    """Yield the results of the whole change and of the change without each step."""
    runs: dict[str, Callable[[], str | None]] = {
        f"{kind.name}, complete: its tests pass": lambda: problem_of_the_whole_change(kind)
    }
    for step in kind.steps:
        runs[f"{kind.name} without {step.name}: {step.says}"] = (
            lambda step=step: problem_without(kind, step)  # type: ignore[misc]  # bound early
        )

    def timed(line: str) -> Result:
        began = time.monotonic()
        problem = runs[line]()
        return Result(line=line, problem=problem, seconds=time.monotonic() - began)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(timed, runs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.forget", description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="default: all")
    began = time.monotonic()
    results = []
    for name in parser.parse_args().kinds or KINDS:
        for result in check(KINDS[name]):
            results.append(result)
            status = "FAILED" if result.problem else "ok"
            print(f"{status:6} {result.seconds:4.0f} s  {result.line}", flush=True)
            if result.problem:
                print(result.problem, flush=True)
    failures = sum(result.problem is not None for result in results)
    print(f"{len(results)} attempts in {time.monotonic() - began:.0f} s, {failures} failed")
    if failures:
        sys.exit(f"{failures} forgotten step(s) went unnoticed, or are not described")


if __name__ == "__main__":
    main()
