"""Run tests in forked processes: all tests once, to learn what each executes, then some per change."""

import contextlib
import functools
import multiprocessing
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any
from unittest import mock

import coverage
import pytest

from tests.mutation.changes import Change
from tests.support.mariadb import UNSYNCED

FORK = multiprocessing.get_context("fork")
OPTIONS = ("-x", "--tb=short", "--assert=plain", "-pno:cacheprovider")
STARTS_NODE = ("aws_cdk", "cdk_nag", "constructs", "jsii")
"""Not imported before a fork: the process that they start would be shared."""
UNNOTICED = {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
NOTICED = {
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.INTERRUPTED,  # a test module can't be imported
    pytest.ExitCode.USAGE_ERROR,  # a conftest.py can't be imported
    -signal.SIGKILL,  # the tests did not end
}
SLACK_SECONDS = 20
UNCLEAN = "unclean"
"""File that exists while integration tests run, and after they failed."""


@dataclass
class Learned:
    """What a run without a change has shown.

    seconds: by test. executed: by file and line, the tests that executed it; `""` stands for the
    import of the test modules. modules: names of modules from site-packages that were imported.
    """

    exit_code: int | None = None
    output: str = ""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    executed: dict[Path, dict[int, list[str]]] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)


class Recorder:
    """A pytest plugin that records what each test executes and how long it takes."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.learned = Learned()
        self.coverage = coverage.Coverage(
            data_file=None, config_file=False, include=[str(path) for path in paths]
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self._clear_caches()
        self.coverage.switch_context(item.nodeid)
        result = yield
        self.coverage.switch_context("")
        return result

    def _clear_caches(self) -> None:
        """Have each test execute the cached functions that it calls, not only the first test."""
        files = {str(path) for path in self.paths}
        for module in list(sys.modules.values()):
            if getattr(module, "__file__", None) in files:
                for function in vars(module).values():
                    if isinstance(function, functools._lru_cache_wrapper):
                        function.cache_clear()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.learned.seconds[report.nodeid] += report.duration

    def finish(self) -> Learned:
        """Return what was learned."""
        self.coverage.stop()
        data = self.coverage.get_data()
        self.learned.executed = {path: data.contexts_by_lineno(str(path)) for path in self.paths}
        self.learned.modules = [
            name
            for name, module in sys.modules.items()
            if "site-packages" in (getattr(module, "__file__", None) or "")
            and not name.startswith(STARTS_NODE)
        ]
        return self.learned


class Selection:
    """A pytest plugin that runs only these test functions, in this order, with all parameters.

    A change may also change the parameters.
    """

    def __init__(self, tests: list[str]) -> None:
        functions = dict.fromkeys(test.partition("[")[0] for test in tests)
        self.place = {function: place for place, function in enumerate(functions)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        places = {item: self.place.get(item.nodeid.partition("[")[0]) for item in items}
        chosen = [(place, item) for item, place in places.items() if place is not None]
        items[:] = [item for _, item in sorted(chosen, key=lambda pair: pair[0])]


def learn(paths: list[Path], tests: list[str], directory: Path) -> Learned:
    """Run the tests on the code as it is. tests: as on pytest's command line."""
    recorder = Recorder(paths)

    def run() -> Learned:
        recorder.coverage.start()
        _keep_database(directory)
        code = pytest.main([*tests, *OPTIONS, f"--basetemp={directory / 'tmp'}"], [recorder])
        learned = recorder.finish()
        learned.exit_code = code
        return learned

    receiver, sender = FORK.Pipe(duplex=False)
    output = directory / "output"
    process = FORK.Process(target=_in_own_group, args=(output, lambda: sender.send(run())))
    process.start()
    sender.close()
    try:
        learned: Learned = receiver.recv()
    except EOFError:
        learned = Learned()
    process.join()
    learned.output = output.read_text(errors="replace")
    return learned


def failure(change: Change, seconds: dict[str, float], folder: Path) -> str | None:
    """Return pytest's output if one of the tests fails, or does not end, with the change.

    seconds: how long each test takes without the change. The unit tests run first, in a process of
    their own, because the other tests import the CDK or start a database.
    """
    unit = {test: time for test, time in seconds.items() if test.startswith("tests/unit/")}
    others = {test: time for test, time in seconds.items() if test not in unit}
    return _failure(change, unit, folder) or _failure(change, others, folder)


def _failure(change: Change, tests: dict[str, float], folder: Path) -> str | None:
    if not tests:
        return None
    directory = folder / str(os.getpid())
    directory.mkdir(exist_ok=True)
    files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
    output = directory / "output"
    uses_database = any("/integration/" in file for file in files)

    def run() -> None:
        _import_changed(change)
        if uses_database:
            _keep_database(directory)
        code = pytest.main(
            [*files, *OPTIONS, f"--basetemp={directory / 'tmp'}"], [Selection(list(tests))]
        )
        if uses_database and code == pytest.ExitCode.OK:
            (directory / UNCLEAN).unlink()
        sys.stdout.flush()
        os._exit(code)

    process = FORK.Process(target=_in_own_group, args=(output, run))
    process.start()
    process.join(2 * sum(tests.values()) + SLACK_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()
    ended = f"{output.read_text(errors='replace')}\npytest ended with {process.exitcode}."
    if process.exitcode not in UNNOTICED | NOTICED:
        raise RuntimeError(ended)
    return ended if process.exitcode in NOTICED else None


def _in_own_group(output: Path, run: Callable[[], object]) -> None:
    os.setpgid(0, 0)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    run()


def _import_changed(change: Change) -> None:
    """Have Python import the changed source. The file itself stays as it is."""
    get_code = SourceFileLoader.get_code

    def changed(self: SourceFileLoader, name: str) -> CodeType | None:
        if self.path == str(change.path):
            return compile(change.source, self.path, "exec", dont_inherit=True)
        return get_code(self, name)

    mock.patch.object(SourceFileLoader, "get_code", changed).start()


def _keep_database(directory: Path) -> None:
    """Have all runs of integration tests in a process use one server, which is started once.

    It is restarted after tests that failed or were killed, which may have left its global variables
    changed.
    """
    from local.database.mariadb import MariaDb  # imports the settings, which may be changed

    create, stop, kept = MariaDb.__init__, MariaDb.stop, directory / "mariadb"
    kept.mkdir(exist_ok=True)
    if (directory / UNCLEAN).exists():
        MariaDb(kept).stop()
    (directory / UNCLEAN).touch()

    def __init__(self: MariaDb, given: Path, **options: Any) -> None:
        # One with other options is a server that a test needs for itself.
        create(self, kept if options == {"options": UNSYNCED} else given, **options)

    def stop_own(self: MariaDb) -> None:
        if self.directory != kept.resolve():
            stop(self)

    mock.patch.multiple(MariaDb, __init__=__init__, stop=stop_own).start()
