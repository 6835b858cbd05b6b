"""Read-only directories."""

import stat
from pathlib import Path

from local.files import delete_tree, unpack
from tests.support.functions import archive


def test_archives_are_unpacked_once_and_read_only(tmp_path: Path) -> None:
    archives = [archive(a="lower", package__b="lower"), archive(a="upper")]
    directory = unpack(archives, under=tmp_path)
    assert (directory / "a.py").read_text() == "upper"
    assert (directory / "package/b.py").read_text() == "lower"
    for path in (directory, *directory.rglob("*")):
        assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH), path
    assert unpack(archives, under=tmp_path) == directory
    assert unpack(archives[:1], under=tmp_path) != directory


def test_read_only_directories_are_deleted(tmp_path: Path) -> None:
    directory = unpack([archive(package__b="")], under=tmp_path / "task")
    (tmp_path / "task" / "link").symlink_to("/usr", target_is_directory=True)
    delete_tree(tmp_path / "task")
    delete_tree(tmp_path / "task")
    assert not directory.exists()
    assert Path("/usr/bin").is_dir()
