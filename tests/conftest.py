"""Fixtures and options that more than one folder uses.

A test belongs to the folder that names what it needs. `unit` needs nothing but Python: it opens no
socket, and its modules mirror lambdas/ and settings.py. `operations` tests the operators' commands
with AWS replaced. `infrastructure` reads the CloudFormation templates and the files around them:
the Makefile, the workflows, the documentation. `integration` runs the functions' own code against
a real MariaDB, and the consumer's HTTP client against a real server; the benchmark's test is there
too, because the benchmark starts a MariaDB. `local` tests the local cloud: the emulator, its
processes and the stand-in for the factory, and the console without a shop. `e2e` deploys the shop
to the local cloud, and uses it as clients, the factory and operators do; `e2e/commands` types what
the documents say, and `e2e/console` uses the console's page. A test that fits two folders belongs
to the first of them in this order.

What several modules need is in tests/support. Nothing is imported from a conftest.py or from a
test module.
"""

import faulthandler
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest import mock

import boto3
import pytest
from moto import mock_aws
from xdist.scheduler import LoadScopeScheduling

from common.aws import client
from local import chromium
from local.polling import eventually
from settings import ENVIRONMENTS
from tests.support.environments import MANAGED
from tests.support.pipe import Pipe, session

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.support.assembly import Assembly

LONGEST_FIRST = ("e2e", "integration", "infrastructure", "local", "operations", "unit")
"""The folders of tests, by how long they take."""
EXIT_WITHIN = 30
"""Seconds that the process may take to end after the last test."""
THREADS_END_WITHIN = 20
"""Seconds after a test: longer than a request may take, to the shop or to the factory."""

NO_BROWSER = "no browser"


def pytest_addoption(parser: pytest.Parser) -> None:
    options = parser.getgroup("donut shop", "random tests, which `make chaos` runs at length")
    options.addoption("--seed", type=int, help="replay the one random run that has this seed")
    options.addoption("--seeds", type=int, default=60, help="runs of the simulation")
    options.addoption("--cuts", type=int, default=36, help="connections cut at random points")
    options.addoption("--inputs", type=int, help="bad inputs, other ones each time; else 1,000")
    options.addoption("--chaos-seeds", type=int, default=1, help="runs of the end-to-end chaos")
    options.addoption("--chaos-seconds", type=float, default=12, help="how long each run lasts")
    parser.addoption(
        "--accept-replacements",
        action="store_true",
        help="accept that stateful resources are replaced: tests/infrastructure/test_replacements.py",
    )


def _seeds(config: pytest.Config, option: str) -> Sequence[int]:
    """Return the seeds of as many runs as the option says, or the one of `--seed`."""
    seed: int | None = config.getoption("seed")
    return range(config.getoption(option)) if seed is None else [seed]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that has a parameter `chaos_seed` once per seed."""
    if "chaos_seed" in metafunc.fixturenames:
        metafunc.parametrize("chaos_seed", _seeds(metafunc.config, "chaos_seeds"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders that take longest."""
    items.sort(key=lambda item: LONGEST_FIRST.index(folder_of(item.nodeid)))


class FolderScheduling(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Runs the tests of a folder in one process.

    What they share, such as a deployed shop, is then made once.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::")[0].rpartition("/")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FolderScheduling:
    """Return the scheduler for `--numprocesses=2 --dist=loadscope`."""
    return FolderScheduling(config, log)


def folder_of(nodeid: str) -> str:
    """Return the folder in tests/ of the test with this id."""
    return nodeid.split("/")[1]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Make the process end with an error if a thread keeps it from ending.

    The traceback of every thread is printed. A process of pytest-xdist waits for the others, which
    may take minutes, and is then ended.
    """
    if hasattr(config, "workerinput"):
        return
    assert sys.__stderr__
    faulthandler.dump_traceback_later(EXIT_WITHIN, file=sys.__stderr__, exit=True)


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    """Fail a test that leaves a thread which would keep the process from ending."""
    before = threading.enumerate()
    yield

    def ended() -> None:
        left = [
            thread.name
            for thread in threading.enumerate()
            if not thread.daemon and thread not in before
        ]
        assert not left, f"{left} still run {THREADS_END_WITHIN} seconds after the test"

    eventually(ended, within=THREADS_END_WITHIN)


@pytest.fixture(scope="session")
def assembly_of(tmp_path_factory: pytest.TempPathFactory) -> "Callable[[str], Assembly]":
    """Return a function from an environment's name to its assembly, synthesized once."""
    from tests.support.assembly import synth  # starts the CDK, which takes seconds

    return cache(lambda name: synth(ENVIRONMENTS[name], tmp_path_factory.mktemp(f"cdk.out-{name}")))


@pytest.fixture(params=ENVIRONMENTS)
def assembly(
    request: pytest.FixtureRequest, assembly_of: "Callable[[str], Assembly]"
) -> "Assembly":
    """Return the assembly of each environment in turn."""
    return assembly_of(request.param)


@pytest.fixture(params=MANAGED)
def managed(request: pytest.FixtureRequest, assembly_of: "Callable[[str], Assembly]") -> "Assembly":
    """Return the assembly of each environment whose database and network the data stack creates."""
    return assembly_of(request.param)


@pytest.fixture
def seeds(pytestconfig: pytest.Config) -> Callable[[str], Sequence[int]]:
    """Return a function from the name of an option to the seeds of this many runs."""
    return lambda option: _seeds(pytestconfig, option)


@pytest.fixture
def chaos_seconds(pytestconfig: pytest.Config) -> float:
    return float(pytestconfig.getoption("chaos_seconds"))


@pytest.fixture
def input_count(pytestconfig: pytest.Config) -> int:
    """Return how many bad inputs to try, beside those around the limits."""
    count: int | None = pytestconfig.getoption("inputs")
    return 1000 if count is None else count


@pytest.fixture
def input_seed(pytestconfig: pytest.Config) -> int:
    """Return the seed of the bad inputs, which are always the same unless an option is given."""
    seed: int | None = pytestconfig.getoption("seed")
    if seed is not None:
        return seed
    return 0 if pytestconfig.getoption("inputs") is None else random.randrange(2**32)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Browser]":
    """Return a headless Chromium, for the tests of one module.

    Without one, skip the test, except where the installation should have unpacked one.
    """
    if problem := chromium.problem():
        assert not chromium.can_be_unpacked(), problem
        pytest.skip(f"{NO_BROWSER}: {problem}")
    from tests.support.browser import running_browser  # takes a third of a second

    with running_browser(tmp_path_factory.mktemp("home")) as browser:
        yield browser


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Replace AWS by moto's, in memory. All tests share one boto3 session.

    No test needs EC2's images, so moto does not create its thousand of them.
    """
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    client.cache_clear()
    with mock_aws(), mock.patch.object(boto3, "DEFAULT_SESSION", session()):
        yield
    client.cache_clear()


@pytest.fixture
def pipe(aws: None) -> Pipe:
    return Pipe()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Return a function to all that was logged so far: messages, tracebacks and extra fields.

    The level is that of the deployed functions.
    """
    caplog.set_level("INFO")
    return lambda: "\n".join([caplog.text, *(repr(vars(record)) for record in caplog.records)])
