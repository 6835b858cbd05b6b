"""Compare the migration files with SHA256SUMS.

That file holds the checksum of each migration as it was released.
`sha256sum --check SHA256SUMS` reads the same format.
"""

import hashlib
import re
from collections import Counter
from pathlib import Path

FILE = "SHA256SUMS"
LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
"""A checksum and a file name."""


def checksum(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def number(name: str) -> str:
    """Return the number of a migration file, which has four digits and is compared as text."""
    return name.partition("_")[0]


def released(directory: Path) -> list[tuple[str, str]]:
    """Return the file name and the checksum in each line of SHA256SUMS, malformed ones left out."""
    matches = [LINE.fullmatch(line) for line in _lines(directory)]
    return [(match[2], match[1]) for match in matches if match]


def _lines(directory: Path) -> list[str]:
    return (directory / FILE).read_text(encoding="utf-8").splitlines()


def new(directory: Path) -> list[Path]:
    """Return the migration files that have no checksum yet, in order."""
    known = dict(released(directory))
    return [path for path in sorted(directory.glob("*.sql")) if path.name not in known]


def changed(directory: Path) -> list[str]:
    """Return a sentence for each file that differs from its line in SHA256SUMS, with what to do."""
    if not (directory / FILE).is_file():
        return [f"{FILE} is missing: restore it."]
    lines = released(directory)
    problems = [
        f"Line {number} of {FILE} is not a checksum, two spaces and a file name: restore it,"
        " or delete it if it is blank."
        for number, line in enumerate(_lines(directory), start=1)
        if not LINE.fullmatch(line)
    ]
    problems += [
        f"{FILE} has more than one line for {name}: restore it."
        for name, count in Counter(name for name, _ in lines).items()
        if count > 1
    ]
    for name, value in dict(lines).items():
        path = directory / name
        if not path.is_file():
            problems.append(f"{name} is missing, but was released: restore it.")
        elif checksum(path) != value:
            problems.append(
                f"{name} was changed after it was released: restore it,"
                " and put the change into a new file."
            )
    return problems


def problems(directory: Path) -> list[str]:
    """Return a sentence for each file that differs from SHA256SUMS, or has no checksum there."""
    return changed(directory) or [
        f"{path.name} has no checksum: run `make checksums`." for path in new(directory)
    ]
