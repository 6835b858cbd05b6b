"""Change lambdas/ and settings.py in one place at a time, and list the changes no test notices."""

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
"""The share of the changes that tests have to notice."""
UNIT_TESTS = ["tests/unit"]
MORE_TESTS = {
    "settings.py": [
        "tests/infrastructure/test_snapshots.py::test_templates_equal_their_snapshot",
    ],
    "lambdas/common/database.py": ["tests/integration/test_connection.py"],
    "lambdas/common/sockets.py": ["tests/integration/test_connection.py"],
    "lambdas/common/store.py": [
        "tests/integration/test_checkout.py",
        "tests/integration/test_operate.py",
        "tests/integration/test_outbox.py",
        "tests/integration/test_requesters.py",
        "tests/integration/test_restock.py",
        "tests/integration/test_round_trips.py",
    ],
    "lambdas/consumer/handler.py": ["tests/integration/test_consumer.py"],
    "lambdas/migrate/catalogue.py": ["tests/integration/test_limits.py"],
    "lambdas/migrate/handler.py": [
        "tests/integration/test_database_users.py",
        "tests/integration/test_migrations.py",
        "tests/integration/test_procedures.py",
    ],
    "lambdas/migrate/products.py": [
        "tests/integration/test_catalogue.py",
        "tests/integration/test_upgrade.py",
    ],
    "lambdas/operate/handler.py": ["tests/integration/test_operate.py"],
    "lambdas/operate/reads.py": ["tests/integration/test_operate.py"],
    "lambdas/migrate/users.py": ["tests/integration/test_database_users.py"],
}
"""Tests of what the unit tests can't check: templates, sockets and a database server's results."""

LEFT_OUT = re.compile(r"hangs|dies|restarted|held_too_long|executed_later")
"""Tests that wait for seconds. On a busy machine they may fail without any change."""


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def tests_of(path: Path) -> list[str]:
    """Return the tests that are run on changes to the file: folders, files and functions."""
    return [*UNIT_TESTS, *MORE_TESTS.get(name_of(path), [])]


def tests_for(change: Change, learned: run.Learned) -> dict[str, float]:
    """Return the tests that can notice the change, and the seconds that each takes.

    These are the tests that execute the changed statement. If it is executed when the file is
    imported, they are also all tests that execute this file or one that imports it, and all tests
    of a module that imports it. Tests in the file's own module come first, then the quickest.
    """
    executed, allowed = learned.executed[change.path], tests_of(change.path)
    tests = {test for line in change.lines for test in executed.get(line, ())}
    handler = change.path.stem == "handler"  # named like all others: its folder has the name
    name = change.path.parent.name if handler else change.path.stem
    if "" in tests:
        imports = re.compile(rf"^(from|import) .*\b{name}\b", re.MULTILINE)
        for path in PATHS:
            if path == change.path or imports.search(path.read_text()):
                tests.update(*learned.executed[path].values())
        modules = {test.partition("::")[0] for test in learned.seconds}
        importing = tuple(file for file in modules if imports.search((PROJECT / file).read_text()))
        tests.update(test for test in learned.seconds if test.startswith(importing))
    chosen = {
        test: learned.seconds[test]
        for test in tests - {""}
        if test.startswith(tuple(allowed)) and not LEFT_OUT.search(test)
    }
    own = f"/test_{name}.py::"
    return dict(sorted(chosen.items(), key=lambda item: (own not in item[0], item[1])))


def learn(paths: list[Path], folder: Path) -> run.Learned:
    """Run the files' tests without a change. Exit if one fails, since it would fail with any change."""
    directory = folder / "unchanged"
    directory.mkdir(exist_ok=True)
    tests = dict.fromkeys(test for path in paths for test in tests_of(path))
    learned = run.learn(PATHS, list(tests), directory)
    if learned.exit_code != 0:
        sys.exit(f"{learned.output}\nThe tests fail without any change.")
    return learned


def import_once(modules: list[str]) -> None:
    """Import the modules, which are other people's, so that the forked processes need not do it.

    Importing them would take most of the time of each process.
    """
    for module in modules:
        with suppress(Exception):
            importlib.import_module(module)
    gc.freeze()  # pytest collects garbage at its end, and would look through all of it


def try_all(
    todo: list[Change], learned: run.Learned, folder: Path, *, jobs: int
) -> dict[Change, bool]:
    """Return for each change whether a test noticed it.

    Before and after the changes of each file, its tests run without any. One that fails then may
    depend on other tests, which run in another order here, or on something outside: the results of
    this file are left out, and its name is printed.
    """
    noticed: dict[Change, bool] = {}
    with ProcessPoolExecutor(jobs, run.FORK) as pool:
        for path in dict.fromkeys(change.path for change in todo):
            unchanged = unchanged_copy(path)
            every = [unchanged, *(change for change in todo if change.path == path), unchanged]
            tests = [tests_for(change, learned) for change in every]
            failures = list(pool.map(run.failure, every, tests, repeat(folder)))
            if failure := failures[0] or failures[-1]:
                print(f"{failure}\nTests of {name_of(path)} fail without any change.", flush=True)
                continue
            results = {
                change: failure is not None
                for change, failure in zip(every[1:-1], failures[1:-1], strict=True)
            }
            noticed |= results
            print(
                f"{sum(results.values())} of {len(results)} noticed in {name_of(path)}", flush=True
            )
    return noticed


def stop_databases(folder: Path) -> None:
    """Stop all servers in the folder, also those of tests that were killed."""
    from local.database.mariadb import MariaDb

    for data in folder.rglob("mysql/data"):
        MariaDb(data.parent.parent).stop()


def report(results: dict[Change, bool], paths: list[Path]) -> bool:
    """Print the figures, and how accepted.toml differs from the changes that no test noticed.

    Return whether enough changes were noticed and accepted.toml is up to date.
    """
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
    stale = sorted(
        (name, text)
        for name, text in accepted.keys() - unnoticed
        if PROJECT / name in paths or PROJECT / name not in PATHS
    )
    for name, text in stale:
        print(f"\nnoticed or no longer made, delete it from {ACCEPTED.name}: {name}:\n  {text}")
    print(
        f"\nunnoticed changes: {len(unnoticed) - len(new)} are accepted, {len(new)} are not;"
        f" {len(stale)} entries of {ACCEPTED.name} are stale"
    )
    return share >= AT_LEAST and not new and not stale


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
    tried = {change.path for change in results}
    measured = [path for path in paths if path in tried]
    sys.exit(not (measured and report(results, measured) and measured == paths))


if __name__ == "__main__":
    main()
