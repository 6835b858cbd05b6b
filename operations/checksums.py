"""Add the checksums of new migration files to SHA256SUMS. Fail if a file with a checksum changed.

A file that has been neither released nor applied to the database of an account may still be
edited: delete its line from SHA256SUMS first. `make clean` deletes a local database that has it.
"""

import sys
from pathlib import Path

from migrate import checksums
from settings import PROJECT

MIGRATIONS = PROJECT / "lambdas/migrate/migrations"


def add_new(directory: Path) -> list[str]:
    """Append a line to SHA256SUMS for each file that has none, and return the names of these files.

    Raises ValueError, before anything is written, if a file differs from its checksum, or if a new
    file has the number of another one.
    """
    if problems := checksums.changed(directory) or repeated_numbers(directory):
        raise ValueError("\n".join(problems))
    new = checksums.new(directory)
    sums = directory / checksums.FILE
    text = sums.read_bytes()
    with sums.open("a", encoding="utf-8", newline="\n") as file:
        if new and text and not text.endswith(b"\n"):
            file.write("\n")
        file.writelines(f"{checksums.checksum(path)}  {path.name}\n" for path in new)
    return [path.name for path in new]


def repeated_numbers(directory: Path) -> list[str]:
    """Return a sentence for each new file whose number another file has already."""
    first = {checksums.number(name): name for name, _ in checksums.released(directory)}
    problems = []
    for path in checksums.new(directory):
        holder = first.setdefault(checksums.number(path.name), path.name)
        if holder != path.name:
            problems.append(
                f"{path.name} has the number of {holder}: give it the next free number."
            )
    return problems


def main() -> None:
    try:
        added = add_new(MIGRATIONS)
    except ValueError as error:
        sys.exit(str(error))
    print("\n".join(f"{name} has a checksum now." for name in added) or "There are no new files.")


if __name__ == "__main__":
    main()
