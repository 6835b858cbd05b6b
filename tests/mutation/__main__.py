"""Change one thing at a time in lambdas/ and settings.py, and report the changes that no test notices."""

import argparse
import gc
import importlib
import os
import re
import sys
import tempfile
import tomllib
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import repeat
from pathlib import Path

from tests.mutation import run
from tests.mutation.changes import Change, changes, unchanged_copy

PROJECT = Path(__file__).parent.parent.parent
PATHS = sorted([*PROJECT.glob("lambdas/**/*.py"), PROJECT / "settings.py"])
ACCEPTED = Path(__file__).with_name("accepted.toml")
AT_LEAST = 0.9
"""The share of the changes that has to be noticed."""
UNIT_TESTS = ["tests/unit"]
MORE_TESTS = {
    "settings.py": ["tests/infrastructure/test_snapshots.py"],
    "lambdas/common/database.py": ["tests/integration/test_connection.py"],
    "lambdas/common/sockets.py": ["tests/integration/test_connection.py"],
    "lambdas/common/store.py": [
        "tests/integration/test_checkout.py",
        "tests/integration/test_outbox.py",
        "tests/integration/test_restock.py",
    ],
    "lambdas/consumer/handler.py": ["tests/integration/test_consumer.py"],
    "lambdas/migrate/handler.py": [
        "tests/integration/test_database_users.py",
        "tests/integration/test_migrations.py",
        "tests/integration/test_procedures.py",
    ],
    "lambdas/migrate/users.py": ["tests/integration/test_database_users.py"],
}
"""What the unit tests can't see in these files: templates, what happens on sockets, and a server's answers."""

LEFT_OUT = re.compile(r"hangs|dies|restarted|held_too_long|executed_later")
"""Tests that wait for seconds, and may fail on a busy machine: that would say nothing about a change."""


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def tests_of(path: Path) -> list[str]:
    """Return the files and folders with tests that may notice a change to the file."""
    return [*UNIT_TESTS, *MORE_TESTS.get(name_of(path), [])]


def tests_for(change: Change, learned: run.Learned) -> dict[str, float]:
    """Return the tests that execute the changed statement, and their seconds, the quickest first.

    A statement that is executed at import concerns each test that executes the file, or a file that imports it.
    """
    executed, allowed = learned.executed[change.path], tests_of(change.path)
    tests = {test for line in change.lines for test in executed.get(line, ())}
    if "" in tests:
        imports = re.compile(rf"^(from|import) .*\b{change.path.stem}\b", re.MULTILINE)
        for path in PATHS:
            if path == change.path or imports.search(path.read_text()):
                tests.update(*learned.executed[path].values())
    chosen = {
        test: learned.seconds[test]
        for test in tests - {""}
        if test.startswith(tuple(allowed)) and not LEFT_OUT.search(test)
    }
    return dict(sorted(chosen.items(), key=lambda item: item[1]))


def learn(paths: list[Path], folder: Path) -> run.Learned:
    """Run the files' tests without a change. Exits if one fails: then a failure says nothing about a change."""
    directory = folder / "unchanged"
    directory.mkdir(exist_ok=True)
    tests = dict.fromkeys(test for path in paths for test in tests_of(path))
    learned = run.learn(PATHS, list(tests), directory)
    if learned.exit_code != 0:
        sys.exit(f"{learned.output}\nThe tests fail without any change.")
    return learned


def import_once(modules: list[str]) -> None:
    """Import what the tests import from others, which takes most of a run's time, before the forks instead of after."""
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)
    gc.freeze()  # pytest collects garbage at its end, and would look through all of it


def try_all(
    todo: list[Change], learned: run.Learned, folder: Path, *, jobs: int
) -> dict[Change, bool]:
    """Return which changes were noticed. Exits if a test fails without a change by now: then the result is wrong."""
    unchanged = [unchanged_copy(path) for path in dict.fromkeys(change.path for change in todo)]
    tests = [tests_for(change, learned) for change in (*todo, *unchanged)]
    results = {}
    with ProcessPoolExecutor(jobs, run.FORK) as pool:
        noticed = pool.map(run.is_noticed, (*todo, *unchanged), tests, repeat(folder))
        for change, is_noticed in zip((*todo, *unchanged), noticed, strict=True):
            results[change] = is_noticed
            if len(results) % 100 == 0:
                print(f"{len(results)} of {len(todo)} changes made", flush=True)
    if failing := [name_of(change.path) for change in unchanged if results.pop(change)]:
        sys.exit(f"Tests of {', '.join(failing)} fail without a change by now.")
    return results


def stop_databases(folder: Path) -> None:
    from local.database.mariadb import MariaDb

    for directory in folder.glob("*/mariadb"):
        MariaDb(directory).stop()


def report(results: dict[Change, bool], paths: list[Path]) -> bool:
    """Print the figures and the changes that no test noticed. Return whether nothing is left to do."""
    accepted = {
        (entry["file"], text): entry["reason"]
        for entry in tomllib.loads(ACCEPTED.read_text())["accepted"]
        for text in entry["changes"]
    }
    unnoticed = {
        (name_of(change.path), change.text) for change, noticed in results.items() if not noticed
    }
    print("\n  changes  noticed")
    total = Counter(name_of(change.path) for change in results)
    seen = Counter(name_of(change.path) for change, noticed in results.items() if noticed)
    for name, number in total.items():
        print(f"{number:9} {seen[name] / number:8.1%}  {name}")
    share = seen.total() / total.total()
    print(f"{total.total():9} {share:8.1%}  of all; at least {AT_LEAST:.0%} have to be noticed")

    new = sorted(unnoticed - accepted.keys())
    for name, text in new:
        print(f"\nunnoticed in {name}:\n  {text}")
    for name, text in sorted(accepted.keys() - unnoticed):
        if PROJECT / name in paths:
            print(f"\nno longer unnoticed, delete it from {ACCEPTED.name}: {name}:\n  {text}")
    print(f"\n{len(unnoticed) - len(new)} unnoticed changes are accepted, {len(new)} are new.")
    return share >= AT_LEAST and not new


def main() -> None:
    parser = argparse.ArgumentParser(prog="make mutate", description=__doc__)
    parser.add_argument(
        "file", nargs="*", type=Path, help="lambdas/... or settings.py; all of them by default"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    paths = [path.resolve() for path in arguments.file] or PATHS
    if unknown := set(paths) - set(PATHS):
        parser.error(f"not in lambdas/ and not settings.py: {', '.join(map(str, sorted(unknown)))}")
    os.chdir(PROJECT)
    with tempfile.TemporaryDirectory(prefix="mutation-") as name:
        folder = Path(name)
        try:
            print("running the tests without a change ...", flush=True)
            learned = learn(paths, folder)
            import_once(learned.modules)
            results = try_all(
                [change for path in paths for change in changes(path)],
                learned,
                folder,
                jobs=arguments.jobs,
            )
        finally:
            stop_databases(folder)
    sys.exit(not report(results, paths))


if __name__ == "__main__":
    main()
