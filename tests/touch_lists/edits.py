"""The parts of a kind of change: its steps, its mistakes, and the edits that make them."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Edit:
    """A change to a copy of the tree. named: the files that it changes, or the command to type."""

    named: tuple[str, ...]
    make: Callable[[Path], None]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a change. Without it, `test` fails, and its output contains `says`.

    line: the number of its line in CONTRIBUTING.md. is_last: the step depends on all the others,
    so it is left out whenever one of them is.
    """

    line: int
    name: str
    edit: Edit
    test: str
    says: str
    is_last: bool = False


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """An edit after the whole change, with which `test` fails and its output contains `says`."""

    line: int
    name: str
    edit: Edit
    test: str
    says: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of change. heading: of its list in CONTRIBUTING.md.

    alone: it changes lines that another kind changes, so that both can't be in one tree.
    """

    name: str
    heading: str
    steps: tuple[Step, ...]
    mistakes: tuple[Mistake, ...] = ()
    alone: bool = False


def create(path: str, text: str) -> Edit:
    """Return an edit that writes a new file."""

    def edit(tree: Path) -> None:
        file = tree / path
        assert not file.exists(), f"{path} exists already"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return Edit((path,), edit)


def insert(path: str, text: str, *, before: str) -> Edit:
    """Return an edit that inserts text into a file, before the only place with those words."""
    return replace(path, before, text + before)


def replace(path: str, old: str, new: str) -> Edit:
    """Return an edit that replaces the only place with those words."""

    def edit(tree: Path) -> None:
        content = (tree / path).read_text()
        assert content.count(old) == 1, f"{path} contains {old!r} {content.count(old)} times"
        (tree / path).write_text(content.replace(old, new))

    return Edit((path,), edit)


def append(path: str, text: str) -> Edit:
    """Return an edit that adds text to the end of a file."""

    def edit(tree: Path) -> None:
        (tree / path).write_text((tree / path).read_text() + text)

    return Edit((path,), edit)


def all_of(*edits: Edit) -> Edit:
    """Return an edit that makes several."""

    def edit(tree: Path) -> None:
        for each in edits:
            each.make(tree)

    return Edit(tuple(name for each in edits for name in each.named), edit)


def command(*words: str, named: str) -> Edit:
    """Return an edit that a command of the project makes. named: as CONTRIBUTING.md says it."""

    def edit(tree: Path) -> None:
        variables = {**os.environ, "PYTHONPATH": "lambdas", "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run(words, cwd=tree, env=variables, capture_output=True, check=True, timeout=300)

    return Edit((named,), edit)
