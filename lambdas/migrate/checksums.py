"""Compare the migration files with SHA256SUMS.

That file holds the checksum of each migration as it was released.
`sha256sum --check SHA256SUMS` reads the same format.
"""

import hashlib
from pathlib import Path

FILE = "SHA256SUMS"


def checksum(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def released(directory: Path) -> dict[str, str]:
    """Return the lines of SHA256SUMS: file name → checksum."""
    lines = (directory / FILE).read_text(encoding="utf-8").splitlines()
    return {name: value for value, _, name in (line.partition("  ") for line in lines)}


def new(directory: Path) -> list[Path]:
    """Return the migration files that have no checksum yet, in order."""
    known = released(directory)
    return [path for path in sorted(directory.glob("*.sql")) if path.name not in known]


def changed(directory: Path) -> list[str]:
    """Return a sentence for each released file that is missing or changed, with what to do."""
    problems = []
    for name, value in released(directory).items():
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
    unknown = [f"{path.name} has no checksum: run `make checksums`." for path in new(directory)]
    return changed(directory) + unknown
