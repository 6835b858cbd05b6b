"""local/dev.py: what it deploys after a file was saved, and what it says."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

import local.dev
from local.cloud import Busy, Inputs, OnLive, Step, synthesis_inputs
from local.dev import Watcher
from local.files import write_whole
from local.polling import eventually
from local.processes import LocalError

HANDLER, STACK = "lambdas/sales/handler.py", "stacks/service_stack.py"


class FakeCloud:
    """Stands for a cloud. Only changes of HANDLER are changes of functions."""

    def __init__(self, project: Path) -> None:
        self.emulator = SimpleNamespace(process=object())
        self.deployed = synthesis_inputs([])
        self.calls: list[str] = []
        self.fails: list[LocalError] = []
        self.error: str | None = None
        self._others = project / STACK

    def deployed_inputs(self) -> Inputs:
        return self.deployed

    def update_functions(self, *, factory_url: str | None, on_live: OnLive) -> bool:
        self._call(f"functions {factory_url}")
        if self._others.read_text() != "old = 1":
            return False
        on_live({"sales": self.error})
        return True

    def start(self, *, factory_url: str | None, step: Step) -> None:
        self._call(f"start {factory_url}")
        with step("Deploying"):
            pass

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.fails:
            raise self.fails.pop()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of two files."""
    for name in (HANDLER, STACK):
        write_whole(tmp_path / name, "old = 1")
    monkeypatch.setattr(local.dev, "PROJECT", tmp_path)
    monkeypatch.setattr(local.dev, "LAMBDAS", tmp_path / "lambdas")
    monkeypatch.setattr("local.cloud.PROJECT", tmp_path)
    return tmp_path


@pytest.fixture
def cloud(project: Path) -> FakeCloud:
    return FakeCloud(project)


@pytest.fixture
def watcher(cloud: Any) -> Watcher:
    return Watcher(cloud, factory_url="http://factory.test", step=print_step)


@contextmanager
def print_step(title: str) -> Iterator[None]:
    print(title)
    yield


def test_changed_function_is_updated_alone(
    watcher: Watcher, cloud: FakeCloud, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / HANDLER).write_text("new = 1")
    watcher.look()
    watcher.look()
    assert cloud.calls == ["functions http://factory.test"]
    assert re.fullmatch(r"sales: live after \d+\.\d s\n", capsys.readouterr().out)


def test_change_that_is_taken_back_is_deployed_too(
    watcher: Watcher, cloud: FakeCloud, project: Path
) -> None:
    (project / HANDLER).write_text("new = 1")
    watcher.look()
    (project / HANDLER).write_text("old = 1")
    watcher.look()
    assert len(cloud.calls) == 2


def test_change_before_the_first_look_is_deployed(cloud: Any, project: Path) -> None:
    """The source may change while `make up` still deploys the one before."""
    (project / HANDLER).write_text("new = 1")
    Watcher(cloud, factory_url=None, step=print_step).look()
    assert cloud.calls == ["functions None"]


def test_anything_else_is_deployed_as_by_make_up(
    watcher: Watcher, cloud: FakeCloud, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / STACK).write_text("new = 1")
    watcher.look()
    assert cloud.calls == ["functions http://factory.test", "start http://factory.test"]
    assert capsys.readouterr().out == (
        f"{STACK}: the shop is updated, as by `make up`\nDeploying\n"
    )


@pytest.mark.parametrize("file", [HANDLER, STACK])
def test_syntax_error_is_shown_and_nothing_is_deployed(
    file: str,
    watcher: Watcher,
    cloud: FakeCloud,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (project / file).write_text("first = 1\ndef broken(:\n")
    watcher.look()
    watcher.look()
    assert cloud.calls == []
    shown, kept = capsys.readouterr().out.splitlines()
    assert shown == f"{file}:2: invalid syntax"
    assert kept == "The previous code stays deployed."
    (project / file).write_text("first = 2")
    watcher.look()
    assert cloud.calls


def test_null_byte_is_shown(
    watcher: Watcher, cloud: FakeCloud, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / HANDLER).write_bytes(b"a = 1\0")
    watcher.look()
    assert cloud.calls == []
    assert "null byte" in capsys.readouterr().out


def test_code_that_cannot_start_is_shown(
    watcher: Watcher, cloud: FakeCloud, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.error = "Runtime.ImportModuleError: no module"
    (project / HANDLER).write_text("import nothing")
    watcher.look()
    assert (
        capsys.readouterr().out
        == "sales is deployed, and cannot start: Runtime.ImportModuleError: no module\n"
    )


def test_failed_deployment_is_shown_once(
    watcher: Watcher, cloud: FakeCloud, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.fails = [LocalError("rolled back")]
    (project / HANDLER).write_text("new = 1")
    watcher.look()
    watcher.look()
    assert cloud.calls == ["functions http://factory.test"]
    assert capsys.readouterr().out == "rolled back\n"


def test_change_waits_for_another_command(
    watcher: Watcher, cloud: FakeCloud, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.fails = [Busy("another command")]
    (project / HANDLER).write_text("new = 1")
    watcher.look()
    assert capsys.readouterr().out == ""
    watcher.look()
    assert "live" in capsys.readouterr().out


@pytest.fixture
def running(watcher: Watcher, cloud: FakeCloud) -> Iterator[Thread]:
    thread = Thread(target=watcher.run)
    thread.start()
    yield thread
    cloud.emulator.process = None
    thread.join()


@pytest.mark.parametrize("directory", ["", "new"])
def test_saved_file_is_noticed(
    directory: str, running: Thread, cloud: FakeCloud, project: Path
) -> None:
    """Also in a directory that is new, and therefore not watched."""
    write_whole(project / "lambdas/sales" / directory / "handler.py", "new = 1")

    def deployed() -> None:
        assert cloud.calls

    eventually(deployed, within=10)


def test_watching_ends_with_the_shop(running: Thread, cloud: FakeCloud) -> None:
    cloud.emulator.process = None
    running.join(timeout=10)
    assert not running.is_alive()
