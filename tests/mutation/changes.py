"""The changes that are made to the code: mutmut's, and one of this project's own."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
import libcst.matchers as m
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

NEVER_CHANGED = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom)
"""Types are mypy's to check. A decorator says how a class or function is made, not what it does."""
NEVER_CHANGED_CALLS = m.Call(func=m.Name("len") | m.Name("isinstance"))
"""Every change of their arguments raises TypeError."""
TYPE_NAME = m.Attribute(
    value=m.Call(func=m.Name("type"), args=[m.Arg()]), attr=m.Name("__name__")
)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change to one file.

    lines: those of the statement that it is made in. before, after: the lines that differ, without indentation.
    """

    path: Path
    lines: range
    before: str
    after: str
    source: str

    @property
    def text(self) -> str:
        """Return the change as it is written in accepted.toml: it does not depend on line numbers."""
        return f"{self.before} -> {self.after}"


def exception_text(node: cst.Attribute) -> Iterable[cst.BaseExpression]:
    """Put an exception's text, which may quote a client, where its type's name is: in the log."""
    if m.matches(node, TYPE_NAME):
        call = cst.ensure_type(node.value, cst.Call)
        yield call.with_changes(func=cst.Name("str"))


OPERATORS = (*mutation_operators, (cst.Attribute, exception_text))


class _Visitor(cst.CSTVisitor):
    """Collects each changed node with its place in the file, and the lines of the statement around it."""

    METADATA_DEPENDENCIES = (ByteSpanPositionProvider, PositionProvider)

    def __init__(self) -> None:
        self.found: list[tuple[slice, range, cst.CSTNode]] = []
        self._statements: list[cst.SimpleStatementLine] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, NEVER_CHANGED) or m.matches(node, NEVER_CHANGED_CALLS):
            return False
        if isinstance(node, cst.SimpleStatementLine):
            self._statements.append(node)
        for kind, operator in OPERATORS:
            if isinstance(node, kind):
                self._collect(node, operator)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if self._statements and self._statements[-1] is original_node:
            self._statements.pop()

    def _collect(
        self, node: cst.CSTNode, operator: Callable[[cst.CSTNode], Iterable[cst.CSTNode]]
    ) -> None:
        span = self.get_metadata(ByteSpanPositionProvider, node)
        statement = self._statements[-1] if self._statements else node
        lines = self.get_metadata(PositionProvider, statement)
        for changed in operator(node):
            self.found.append(
                (
                    slice(span.start, span.start + span.length),
                    range(lines.start.line, lines.end.line + 1),
                    changed,
                )
            )


def changes(path: Path) -> Iterator[Change]:
    """Yield every change to the file that leaves it valid Python."""
    source = path.read_bytes()
    module = cst.parse_module(source)
    visitor = _Visitor()
    MetadataWrapper(module, unsafe_skip_copy=True).visit(visitor)
    for place, lines, node in visitor.found:
        code = module.code_for_node(node).encode()
        changed = (source[: place.start] + code + source[place.stop :]).decode()
        try:
            compile(changed, str(path), "exec")
        except SyntaxError:
            continue
        before, after = _difference(source.decode(), changed)
        yield Change(path=path, lines=lines, before=before, after=after, source=changed)


def unchanged_copy(path: Path) -> Change:
    """Return the change that changes nothing: a test that notices it is wrong."""
    source = path.read_text()
    lines = range(1, source.count("\n") + 1)
    return Change(path=path, lines=lines, before="", after="", source=source)


def _difference(before: str, after: str) -> tuple[str, str]:
    """Return the lines that differ, each side on one line."""
    removed, added = [], []
    for line in difflib.ndiff(before.splitlines(), after.splitlines()):
        if line.startswith("- "):
            removed.append(line[2:].strip())
        elif line.startswith("+ "):
            added.append(line[2:].strip())
    return " ".join(removed), " ".join(added)
