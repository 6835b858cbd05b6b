"""local/step.py: each step is named before it begins, and what it took is printed after it."""

import io
import os
import pty
import re
import select
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.polling import eventually
from local.step import BYTES_PER_MB, CLEAR_LINE, Taken, disk_usage, install, step, total

WRITE = "import sys; open(sys.argv[1], 'wb').write(bytes(3_000_000)); print('noise')"
FAIL = "import sys; print('the reason'); sys.exit(7)"


def test_step_is_named_before_it_begins() -> None:
    output = io.StringIO()
    with step("Starting", output=output):
        assert output.getvalue() == "Starting ...\n"
    assert re.fullmatch(r"Starting \.\.\.\nStarting +\d+\.\d s\n", output.getvalue())


def test_failed_step_prints_no_time_or_size() -> None:
    output = io.StringIO()
    with pytest.raises(ZeroDivisionError), step("Starting", output=output):
        raise ZeroDivisionError
    assert output.getvalue() == "Starting ...\n"


class Terminal:
    """A terminal, and what was written to it."""

    def __init__(self) -> None:
        self._end, theirs = pty.openpty()
        self.output = os.fdopen(theirs, "w")
        self.said = ""

    def read(self) -> str:
        while select.select([self._end], [], [], 0)[0]:
            self.said += os.read(self._end, 4096).decode()
        return self.said

    def last_line(self) -> str:
        return self.read().rpartition(CLEAR_LINE)[2]

    def close(self) -> None:
        self.output.close()
        os.close(self._end)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def goes_on(terminal: Terminal) -> None:
    """Fail unless the line of a step was written several times."""
    assert terminal.read().count(f"{CLEAR_LINE}Starting") >= 3


def test_line_of_a_step_changes_on_a_terminal(terminal: Terminal) -> None:
    with step("Starting", output=terminal.output):
        eventually(lambda: goes_on(terminal), within=10)
        assert "\n" not in terminal.said
    assert re.fullmatch(r"Starting +\d+\.\d s\r\n", terminal.last_line())


def test_failed_step_ends_its_line_on_a_terminal(terminal: Terminal) -> None:
    with pytest.raises(ZeroDivisionError), step("Starting", output=terminal.output):
        raise ZeroDivisionError
    assert re.fullmatch(r"Starting +failed\r\n", terminal.last_line())


def test_part_records_what_it_took(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What its command prints is left out."""
    stamp, folder = tmp_path / "new/stamp", tmp_path / "folder"
    folder.mkdir()
    command = [sys.executable, "-c", WRITE, str(folder / "file")]
    assert install("a part", command, stamp=stamp, fills=[folder]) == 0
    printed = capfd.readouterr()
    named, took = printed.out.splitlines()
    assert named == "Installing a part ..."
    assert took.endswith(" 3 MB")
    assert printed.err == ""
    assert total([stamp, stamp]).endswith(" 6 MB")


def test_part_that_fails_says_why(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    stamp = tmp_path / "stamp"
    assert install("a part", [sys.executable, "-c", FAIL], stamp=stamp, fills=[]) == 7
    reason, advice = capfd.readouterr().err.splitlines()
    assert reason == "the reason"
    assert advice.startswith("Installing a part failed: ")
    assert "network" in advice
    assert not stamp.exists()


def test_empty_stamp_of_an_older_version_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "stamp").touch()
    assert total([tmp_path / "stamp"]).endswith(" 0 MB")


def test_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(bytes(3 * BYTES_PER_MB))
    once = disk_usage([tmp_path])
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    assert disk_usage([tmp_path]) == once
    assert str(Taken(1.25, once)).split() == ["1.2", "s", "3", "MB"]
