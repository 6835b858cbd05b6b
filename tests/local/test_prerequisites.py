"""local/prerequisites.py: what is missing is named before anything is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from local import prerequisites
from local.database import programs
from local.prerequisites import problems
from settings import PROJECT

NO_PACKAGES = [sys.executable, "-I", "-S", "-c"]
RUN = "import sys; sys.path.insert(0, sys.argv[1]); import local.prerequisites, local.step"


def test_nothing_is_missing_on_this_machine() -> None:
    assert list(problems(with_database=True)) == []


def test_missing_module_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "find_spec", lambda name: None)
    (problem,) = problems(with_database=False)
    assert "venv and ensurepip" in problem
    assert f"apt-get install python3.{sys.version_info[1]}-venv" in problem


def test_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=17_000_000))
    (problem,) = problems(with_database=False)
    assert "17 MB are free" in problem
    assert str(PROJECT) in problem


def test_read_only_project_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != PROJECT)
    (problem,) = problems(with_database=False)
    assert "not writable" in problem


@pytest.mark.parametrize("has_apt", [True, False])
def test_missing_database_is_named_where_it_cannot_be_unpacked(
    has_apt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "SEARCH_PATH", "/nowhere")
    monkeypatch.setattr(programs, "has_tools", lambda: has_apt)
    assert list(problems(with_database=False)) == []
    found = list(problems(with_database=True))
    assert len(found) == (0 if has_apt else 1)
    for problem in found:
        assert "MariaDB is missing (mariadbd" in problem, problem
        assert "sudo dnf install mariadb-server" in problem, problem


def test_check_and_steps_need_no_installed_package() -> None:
    subprocess.run([*NO_PACKAGES, RUN, PROJECT], check=True)
