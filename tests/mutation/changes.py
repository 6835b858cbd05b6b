"""The changes that are made to the code: mutmut's, and one of this project's own."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
import libcst.matchers as m
from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

NEVER_CHANGED = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom)
"""Types are mypy's to check. A decorator says how a class or function is made, not what it does."""
TYPE_ALIAS = m.Assign(
    value=m.Subscript(value=m.Name("Callable") | m.Name("dict") | m.Name("tuple"))
    | m.Call(func=m.Name("TypeVar"))
)
NEVER_CHANGED_CALLS = m.Call(func=m.Name("len") | m.Name("isinstance"))
"""Every change of their arguments raises TypeError."""
TYPE_NAME = m.Attribute(value=m.Call(func=m.Name("type"), args=[m.Arg()]), attr=m.Name("__name__"))


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


def _changed_nodes(
    node: cst.CSTNode, statement: cst.CSTNode | None
) -> Iterator[tuple[cst.CSTNode, cst.CSTNode, cst.CSTNode]]:
    """Yield each node, the statement around it, and what takes the node's place; the same for all nodes below."""
    if isinstance(node, NEVER_CHANGED) or m.matches(node, NEVER_CHANGED_CALLS | TYPE_ALIAS):
        return
    if isinstance(node, cst.SimpleStatementLine):
        statement = node
    for kind, operator in OPERATORS:
        if isinstance(node, kind):
            for changed in operator(node):
                yield node, statement or node, changed
    # The message of an assertion is for whoever reads a defect's stack trace.
    children = [node.test] if isinstance(node, cst.Assert) else node.children
    for child in children:
        yield from _changed_nodes(child, statement)


def changes(path: Path) -> Iterator[Change]:
    """Yield every change to the file that leaves it valid Python."""
    source = path.read_bytes()
    module = MetadataWrapper(cst.parse_module(source), unsafe_skip_copy=True)
    places, lines = module.resolve(ByteSpanPositionProvider), module.resolve(PositionProvider)
    for node, statement, changed_node in _changed_nodes(module.module, None):
        place, around = places[node], lines[statement]
        code = module.module.code_for_node(changed_node).encode()
        changed = (source[: place.start] + code + source[place.start + place.length :]).decode()
        try:
            compile(changed, str(path), "exec")
        except SyntaxError:
            continue
        before, after = _difference(source.decode(), changed)
        yield Change(
            path=path,
            lines=range(around.start.line, around.end.line + 1),
            before=before,
            after=after,
            source=changed,
        )


def unchanged_copy(path: Path) -> Change:
    """Return the change that changes nothing: a test that notices it is wrong."""
    source = path.read_text()
    lines = range(1, source.count("\n") + 1)
    return Change(path=path, lines=lines, before="", after="", source=source)


def _difference(before: str, after: str) -> tuple[str, str]:
    """Return the lines that differ, without indentation, and each side on one line."""
    old, new = ([line.strip() for line in text.splitlines()] for text in (before, after))
    differing = list(difflib.unified_diff(old, new, n=0))[2:]
    removed = [line[1:] for line in differing if line.startswith("-")]
    added = [line[1:] for line in differing if line.startswith("+")]
    return " ".join(removed), " ".join(added)
