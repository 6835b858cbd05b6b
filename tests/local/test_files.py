"""local/files.py: files are written whole, and unpacked archives are read-only."""

import os
import stat
from pathlib import Path

import pytest

from local.files import delete_tree, unpack, write_whole
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


def test_failed_write_leaves_only_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new, and then \ud800")
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["file"]
    write_whole(path, "new")
    assert path.read_text() == "new"


def test_file_is_written_with_the_given_mode(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_whole(path, "new", mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
