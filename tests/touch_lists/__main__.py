"""Forget each step of a change, one at a time, and check that a test says what is missing.

CONTRIBUTING.md lists the steps of each kind of change. For each kind, the program makes the
complete change in a copy of the tree, and runs the tests of its steps, which must pass. It makes
the change again without one of the steps, or with a mistake. The test of that step must fail, with
a message that says what to do. The program prints each message with the time it took, and the total
at the end.

`make forget` goes through all kinds, `KIND=route make forget` through one. The changes are in
kinds.py. `python -m tests.touch_lists --together` also makes all changes together, and runs
NEIGHBOURS, which are more tests than the steps name. It shows that no list lacks a step that these
tests require.
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
from functools import partial
from pathlib import Path

from settings import PROJECT
from tests.touch_lists.edits import Kind, Mistake, Step
from tests.touch_lists.kinds import KINDS

AT_ONCE = 2
"""Copies that are tested at the same time."""
SECONDS = 1800
"""Time limit of one run of pytest."""
NEIGHBOURS = (
    "tests/unit",
    "tests/operations",
    "tests/infrastructure",
    "tests/integration/test_bad_input.py",
    "tests/integration/test_catalogue.py",
    "tests/integration/test_checkout.py",
    "tests/integration/test_database_users.py",
    "tests/integration/test_simulation.py",
)
"""The tests that a complete change must pass. Of tests/integration, those with tables of their own.
"""
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


def problem_of_the_whole(kinds: Sequence[Kind], tests: Sequence[str]) -> str | None:
    """Make whole changes. Return what is wrong if one of the tests fails, or else None."""
    steps = [step for kind in kinds for step in kind.steps]
    edits = [step.edit for step in sorted(steps, key=lambda step: step.is_last)]
    with copy_of_the_tree() as tree:
        for edit in dict.fromkeys(edits):
            edit.make(tree)
        outcome = run_tests(tree, tests)
    return None if outcome.passed else f"the whole change fails:\n{outcome.output}"


def problem_without(kind: Kind, forgotten: Step) -> str | None:
    """Make the change without one step. Return what is wrong if no test says so, or else None."""
    with copy_of_the_tree() as tree:
        for step in kind.steps:
            if step is not forgotten and not step.is_last:
                step.edit.make(tree)
        return problem_unless_noticed(tree, forgotten)


def problem_with(kind: Kind, mistake: Mistake) -> str | None:
    """Make the change and a mistake. Return what is wrong if no test says so, or else None."""
    with copy_of_the_tree() as tree:
        for step in kind.steps:
            if not step.is_last:
                step.edit.make(tree)
        mistake.edit.make(tree)
        return problem_unless_noticed(tree, mistake)


def problem_unless_noticed(tree: Path, cause: Step | Mistake) -> str | None:
    """Run the cause's test. Return what is wrong if it does not say what to do, or else None."""
    outcome = run_tests(tree, [cause.test])
    if outcome.passed:
        return f"{cause.test} passes"
    if cause.says not in " ".join(outcome.output.split()):
        return f"{cause.test} does not say {cause.says!r}:\n{outcome.output}"
    return None


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one attempt at a change. problem: None if the tests did what they should."""

    line: str
    problem: str | None
    seconds: float


def attempts(kind: Kind) -> dict[str, Callable[[], str | None]]:
    """Return what is tried with one kind of change, by the line that is printed."""
    tests = list(dict.fromkeys(step.test for step in kind.steps))
    return {
        f"{kind.name}, complete: its tests pass": partial(problem_of_the_whole, [kind], tests),
        **{
            f"{kind.name} without {step.name}: {step.says}": partial(problem_without, kind, step)
            for step in kind.steps
        },
        **{
            f"{kind.name}, but {each.name}: {each.says}": partial(problem_with, kind, each)
            for each in kind.mistakes
        },
    }


def attempts_together(kinds: Sequence[Kind]) -> dict[str, Callable[[], str | None]]:
    """Return the attempts that run the neighbouring tests, on as few trees as possible."""
    trees = [[kind] for kind in kinds if kind.alone]
    trees += [together] if (together := [kind for kind in kinds if not kind.alone]) else []
    return {
        f"{', '.join(kind.name for kind in tree)}, complete: NEIGHBOURS pass": partial(
            problem_of_the_whole, tree, NEIGHBOURS
        )
        for tree in trees
    }


def results(runs: dict[str, Callable[[], str | None]]) -> Iterator[Result]:
    """Make the attempts, several at once, and yield their results in order."""

    def timed(line: str) -> Result:
        began = time.monotonic()
        problem = runs[line]()
        return Result(line=line, problem=problem, seconds=time.monotonic() - began)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(timed, runs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.touch_lists", description=__doc__)
    parser.add_argument(
        "kinds", nargs="*", metavar="kind", help=f"{', '.join(KINDS)}; default: all of them"
    )
    parser.add_argument("--together", action="store_true", help="also make all changes together")
    arguments = parser.parse_args()
    # Not argparse's choices, which would have to contain the empty list.
    for name in arguments.kinds:
        if name not in KINDS:
            parser.error(f"there is no kind {name!r}: choose from {', '.join(KINDS)}")
    began = time.monotonic()
    kinds = [KINDS[name] for name in arguments.kinds or KINDS]
    runs = attempts_together(kinds) if arguments.together else {}
    for kind in kinds:
        runs |= attempts(kind)
    failures = 0
    for result in results(runs):
        failures += result.problem is not None
        status = "FAILED" if result.problem else "ok"
        print(f"{status:6} {result.seconds:4.0f} s  {result.line}", flush=True)
        if result.problem:
            print(result.problem, flush=True)
    print(f"{len(runs)} attempts in {time.monotonic() - began:.0f} s, {failures} failed")
    if failures:
        sys.exit(f"{failures} forgotten step(s) went unnoticed, or are not described")


if __name__ == "__main__":
    main()
