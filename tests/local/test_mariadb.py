"""The private MariaDB server."""

from pathlib import Path

import pytest

from local.database.mariadb import MariaDb


def test_servers_being_made_at_once_share_no_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    server = MariaDb(tmp_path)
    try:
        server.start()
        assert server.pid
    finally:
        server.stop()
