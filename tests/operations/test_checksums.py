"""`make checksums` adds lines to SHA256SUMS and never changes one."""

import shutil
import subprocess
from pathlib import Path

import pytest

from migrate import checksums
from operations.checksums import MIGRATIONS, add_new


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the path of a copy of the migration files."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


def test_new_files_get_a_line_each(folder: Path) -> None:
    before = (folder / "SHA256SUMS").read_bytes()
    for name in ("0901_croissant.sql", "0900_bagel.sql"):
        (folder / name).write_text(f"CREATE TABLE {name[5:-4]} (id INT)")
    assert add_new(folder) == ["0900_bagel.sql", "0901_croissant.sql"]
    after = (folder / "SHA256SUMS").read_bytes()
    assert after.startswith(before)
    added = after.removeprefix(before).decode().splitlines()
    assert [line.split()[1] for line in added] == ["0900_bagel.sql", "0901_croissant.sql"]


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="sha256sum is not installed")
def test_sha256sum_confirms_every_line(folder: Path) -> None:
    (folder / "0900_bagel.sql").write_text("CREATE TABLE bagel (id INT) -- 베이글")
    add_new(folder)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    confirmed = {line.removesuffix(": OK") for line in done.stdout.splitlines()}
    assert confirmed == {path.name for path in folder.glob("*.sql")}


def test_line_without_a_newline_is_completed(folder: Path) -> None:
    """An editor may leave it out when somebody deletes a line."""
    sums = folder / "SHA256SUMS"
    released = sums.read_text()
    sums.write_text(released.removesuffix("\n"))
    (folder / "0900_bagel.sql").write_text("CREATE TABLE bagel (id INT)")
    assert add_new(folder) == ["0900_bagel.sql"]
    assert sums.read_text().startswith(released)
    assert checksums.problems(folder) == []


def test_number_that_exists_is_rejected_and_nothing_is_written(folder: Path) -> None:
    (folder / "0003_apple.sql").write_text("CREATE TABLE apple (id INT)")
    before = (folder / "SHA256SUMS").read_bytes()
    with pytest.raises(ValueError, match="number") as rejection:
        add_new(folder)
    assert str(rejection.value) == (
        "0003_apple.sql has the number of 0003_purchase.sql: give it the next free number."
    )
    assert (folder / "SHA256SUMS").read_bytes() == before


def test_number_of_two_new_files_is_rejected(folder: Path) -> None:
    for name in ("0900_bagel.sql", "0900_apple.sql"):
        (folder / name).write_text("CREATE TABLE another (id INT)")
    with pytest.raises(ValueError, match=r"^0900_bagel\.sql has the number of 0900_apple\.sql"):
        add_new(folder)


def test_second_run_adds_nothing(folder: Path) -> None:
    before = (folder / "SHA256SUMS").read_bytes()
    assert add_new(folder) == []
    assert (folder / "SHA256SUMS").read_bytes() == before


def test_changed_file_is_named_and_nothing_is_written(folder: Path) -> None:
    (folder / "0900_bagel.sql").write_text("CREATE TABLE bagel (id INT)")
    with (folder / "0003_purchase.sql").open("a") as file:
        file.write("-- a comment\n")
    before = (folder / "SHA256SUMS").read_bytes()
    with pytest.raises(ValueError, match=r"^0003_purchase\.sql was changed after it was released"):
        add_new(folder)
    assert (folder / "SHA256SUMS").read_bytes() == before
