"""local/database/mariadb.py: the private MariaDB server."""

from pathlib import Path

import pytest

from local.database.mariadb import MariaDb


def test_server_does_not_use_the_temporary_directory_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two servers that are created at the same time would delete each other's temporary tables in it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    server = MariaDb(tmp_path)
    try:
        server.start()
        assert server.pid
    finally:
        server.stop()
