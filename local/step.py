"""Run the steps of an installation or of a start: name each, show its progress, print its usage.

The Makefile runs this before anything is installed, so it imports the standard library only.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

REFRESH_SECONDS = 0.2
BYTES_PER_MB = 1_000_000
WIDTH = 42
"""Columns of a title."""
CLEAR_LINE = "\r\x1b[K"
FAILED = (
    "Installing {name} failed: the reason is above. Check the network, and the settings of pip and"
    " npm for a proxy, and run the same command again: finished parts are kept.\n"
)


@dataclass
class Taken:
    """What a step has taken."""

    seconds: float
    size: int | None = None
    """Bytes on the disk, or None if the step installs nothing."""

    def __str__(self) -> str:
        size = "" if self.size is None else f"{self.size / BYTES_PER_MB:8,.0f} MB"
        return f"{self.seconds:6.1f} s{size}"


@contextmanager
def step(
    title: str, *, fills: Sequence[Path] = (), output: TextIO | None = None
) -> Iterator[Taken]:
    """Name a step before it begins, and print what it took at its end.

    On a terminal, its line is kept up to date meanwhile. Yield what the step took, which is
    complete after the block. fills: the folders into which the step installs something.
    """
    output = output or sys.stdout
    began, size_before = time.monotonic(), disk_usage(fills)
    taken = Taken(0)

    def measure() -> None:
        taken.seconds = time.monotonic() - began
        if fills:
            taken.size = disk_usage(fills) - size_before

    if not output.isatty():
        print(f"{title} ...", file=output, flush=True)
        yield taken
        measure()
        print(f"{title:<{WIDTH}}{taken}", file=output, flush=True)
        return

    ended = threading.Event()

    def show(result: object, *, end: str = "") -> None:
        columns = shutil.get_terminal_size().columns
        line = f"{title:<{WIDTH}}{result}"[: columns - 1]
        print(f"{CLEAR_LINE}{line}", end=end, file=output, flush=True)

    def keep_showing() -> None:
        while not ended.wait(REFRESH_SECONDS):
            measure()
            show(f"{taken} ...")

    show("...")
    live = threading.Thread(target=keep_showing, daemon=True)
    live.start()
    result: object = "failed"
    try:
        yield taken
        result = taken
    finally:
        ended.set()
        live.join()
        measure()
        show(result, end="\n")


def disk_usage(folders: Sequence[Path]) -> int:
    """Return how many bytes the folders take on the disk. A file with several names counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for folder in folders:
        for directory, _, names in os.walk(folder):
            for path in (directory, *(os.path.join(directory, name) for name in names)):
                try:
                    status = os.lstat(path)
                except OSError:  # deleted meanwhile
                    continue
                sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(sizes.values())


def install(name: str, command: Sequence[str], *, stamp: Path, fills: Sequence[Path]) -> int:
    """Install a part with a command, and return the command's exit status.

    What the command prints is shown only if it fails. The stamp records what the part took.
    """
    with tempfile.TemporaryFile() as printed:
        try:
            with step(f"Installing {name}", fills=fills) as taken:
                subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, check=True
                )
        except subprocess.CalledProcessError as error:
            printed.seek(0)
            sys.stderr.write(printed.read().decode(errors="replace"))
            sys.stderr.write(FAILED.format(name=name))
            return error.returncode
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(json.dumps(asdict(taken)) + "\n")
    return 0


def total(stamps: Sequence[Path]) -> str:
    """Return a line that says what all parts took together, by their stamps.

    Stamps of older versions are empty, and do not count.
    """
    parts = [Taken(**json.loads(text)) for stamp in stamps if (text := stamp.read_text())]
    taken = Taken(sum(part.seconds for part in parts), sum(part.size or 0 for part in parts))
    return f"{'Installed':<{WIDTH}}{taken}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.step", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    part = actions.add_parser("install", help="install a part with a command")
    part.add_argument("--stamp", type=Path, required=True, help="where to record what it took")
    part.add_argument("--fills", type=Path, action="append", required=True)
    part.add_argument("name")
    part.add_argument("command", nargs=argparse.REMAINDER)
    parts = actions.add_parser("total", help="print what all parts took together")
    parts.add_argument("stamps", type=Path, nargs="+")
    arguments = parser.parse_args()
    if arguments.action == "total":
        print(total(arguments.stamps))
        return 0
    return install(arguments.name, arguments.command, stamp=arguments.stamp, fills=arguments.fills)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted; the same command goes on from here.")
