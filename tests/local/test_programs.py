"""local/database/programs.py and local/debian.py: MariaDB runs from the distribution's packages.

They are downloaded and unpacked for real, where the system is Debian or derived from it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from local import debian
from local.database import pam_plugin, programs
from local.database.mariadb import DEFAULTS_OF_RDS, MariaDb
from local.database.rds import run_sql
from local.debian import NotUnpacked, unpacked

APTS = [Path("/var/lib/apt"), Path("/var/cache/apt"), Path("/var/lib/dpkg"), Path("/var/log/apt")]
ON_DEBIAN = pytest.mark.skipif(not debian.has_tools(), reason="the system is not Debian")


@pytest.fixture
def nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a new project, with a space in its path, on a machine without MariaDB's programs."""
    project = tmp_path / "a project"
    folder = project / ".venv/mariadb"
    monkeypatch.setattr(debian, "PROJECT", project)
    monkeypatch.setattr(programs, "UNPACKED", folder)
    monkeypatch.setattr(programs, "SEARCH_PATH", str(folder / "bin"))
    for module in (programs, pam_plugin):
        monkeypatch.setattr(module, "PAM_PLUGIN", folder / "auth_pam.so")
    programs.version.cache_clear()
    return project


@pytest.fixture(autouse=True)
def _version_is_forgotten() -> Iterator[None]:
    yield
    programs.version.cache_clear()


def changes() -> dict[Path, int]:
    """Return when each of apt's and dpkg's own files was last changed."""
    return {path: path.lstat().st_mtime_ns for root in APTS for path in root.rglob("*")}


@ON_DEBIAN
@pytest.mark.parametrize("has_lists", [True, False])
def test_server_runs_from_unpacked_packages(
    has_lists: bool, nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without the machine's package lists, which images for containers often lack.

    Nothing outside the project changes.
    """
    if not has_lists:
        monkeypatch.setattr(debian, "MACHINES_LISTS", nothing_installed / "none")
    before = changes()
    assert programs.missing() == list(programs.PROGRAMS)
    programs.install()
    assert programs.missing() == []
    assert changes() == before
    assert [path.name for path in (nothing_installed / ".venv").iterdir()] == ["mariadb"]

    server = MariaDb(nothing_installed / ".local")
    try:
        server.start()
        executable = psutil.Process(server.pid).exe()
        assert Path(executable).is_relative_to(programs.UNPACKED)
        assert server.takes_iam_tokens
    finally:
        server.stop()


@ON_DEBIAN
def test_package_that_does_not_exist_is_named() -> None:
    with pytest.raises(NotUnpacked, match="no-such-package"), unpacked(["no-such-package"]):
        pass


def test_installed_server_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the plugin, and without a network to download it, functions use a password."""

    def fail(*packages: object, **further: object) -> NoReturn:
        raise NotUnpacked("no network")

    monkeypatch.setattr(programs, "unpacked", fail)
    monkeypatch.setattr(programs, "PAM_PLUGIN", Path("/nowhere"))
    programs.install()


def test_reason_is_said_if_the_server_cannot_be_unpacked(
    nothing_installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "PACKAGES", ["no-such-package"])
    with pytest.raises(NotUnpacked) as raised:
        programs.install()
    assert "MariaDB is missing (mariadbd" in str(raised.value)
    if debian.has_tools():
        assert "no-such-package" in str(raised.value)


def test_server_has_the_defaults_of_the_version_that_rds_runs(tmp_path: Path) -> None:
    """On MariaDB 10.11, this shows that the table is right; on a newer one, that it is applied."""
    server = MariaDb(tmp_path)
    try:
        server.start()
        rows = run_sql(
            server.mysql_cnf,
            "SELECT LOWER(variable_name), variable_value FROM information_schema.global_variables",
        )
    finally:
        server.stop()
    variables = dict(row.split("\t") for row in rows.splitlines())
    for name, value in DEFAULTS_OF_RDS.items():
        if name == "optimizer_switch":
            flags = dict(flag.split("=") for flag in variables[name].split(","))
            for flag, setting in (part.split("=") for part in value.split(",")):
                assert flags.get(flag, setting) == setting, flag
        else:
            assert variables.get(name, value) == value, name
