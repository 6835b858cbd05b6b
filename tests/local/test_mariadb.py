"""local/database/mariadb.py: the private MariaDB server."""

from pathlib import Path

import pytest

from local.database.mariadb import MariaDb


def test_server_has_a_temporary_directory_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers created at the same time would delete each other's temporary tables there."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    server = MariaDb(tmp_path)
    try:
        server.start()
        assert server.pid
    finally:
        server.stop()
