"""A clock that can be stepped for one process, with Debian's libfaketime."""

from pathlib import Path

import pytest

from local.debian import NotUnpacked, unpacked
from local.files import write_whole
from settings import PROJECT

LIBRARY = PROJECT / ".venv/faketime/libfaketimeMT.so.1"


class SteppedClock:
    """The clock of every process that runs with `variables`. monotonic: step that clock, too."""

    def __init__(self, directory: Path, *, monotonic: bool = False) -> None:
        self._file = directory / "clock"
        self._monotonic = monotonic
        self.step_to(0)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": str(int(not self._monotonic)),
        }

    def step_to(self, seconds: float) -> None:
        """Set the clock this many seconds ahead of the machine's."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+}\n")
        new.rename(self._file)


def require_library() -> None:
    """Unpack the library on first use. Skip the test if it cannot be downloaded."""
    if not LIBRARY.exists():
        try:
            with unpacked(["libfaketime"]) as root:
                (library,) = root.rglob(LIBRARY.name)
                write_whole(LIBRARY, library.read_bytes())
        except NotUnpacked as error:
            pytest.skip(f"libfaketime comes from Debian's packages: {error}")
