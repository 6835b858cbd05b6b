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

    lines: the numbers of the changed statement's lines. before, after: the text of the lines that
    differ, without indentation. source: the whole file with the change.
    """

    path: Path
    lines: range
    before: str
    after: str
    source: str

    @property
    def text(self) -> str:
        """Return the change as it is written in accepted.toml, without line numbers."""
        return f"{self.before} -> {self.after}"


def exception_text(node: cst.Attribute) -> Iterable[cst.BaseExpression]:
    """Replace the name of an exception's type, which is logged, by its text, which may quote data."""
    if m.matches(node, TYPE_NAME):
        call = cst.ensure_type(node.value, cst.Call)
        yield call.with_changes(func=cst.Name("str"))


OPERATORS = (*mutation_operators, (cst.Attribute, exception_text))


def _changed_nodes(
    node: cst.CSTNode, statement: cst.CSTNode | None
) -> Iterator[tuple[cst.CSTNode, cst.CSTNode, cst.CSTNode]]:
    """Yield (node, statement around it, replacement) for the node and all nodes below it."""
    if isinstance(node, NEVER_CHANGED) or m.matches(node, NEVER_CHANGED_CALLS | TYPE_ALIAS):
        return
    if isinstance(node, cst.SimpleStatementLine):
        statement = node
    for kind, operator in OPERATORS:
        if isinstance(node, kind):
            for changed in operator(node):
                yield node, statement or node, changed
    # The message of an assertion is left as it is: only the stack trace of a defect has it.
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
    """Return a change of all lines to the same text, which no test may notice."""
    source = path.read_text()
    lines = range(1, source.count("\n") + 1)
    return Change(path=path, lines=lines, before="", after="", source=source)


def _difference(before: str, after: str) -> tuple[str, str]:
    """Return the lines that differ, without indentation, each side joined to one line."""
    old, new = ([line.strip() for line in text.splitlines()] for text in (before, after))
    differing = list(difflib.unified_diff(old, new, n=0))[2:]
    removed = [line[1:] for line in differing if line.startswith("-")]
    added = [line[1:] for line in differing if line.startswith("+")]
    return " ".join(removed), " ".join(added)
