"""The log lines in the functions' code."""

import ast
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from settings import LAMBDAS


def logged_fields(folder: str) -> dict[str, set[str]]:
    """Return the messages that a function logs, each with its fields. folder: in lambdas/."""
    fields: dict[str, set[str]] = {}
    own = [ast.parse(path.read_text()) for path in (LAMBDAS / folder).glob("*.py")]
    common = {path for tree in own for path in _imported_from_common(tree)}
    trees = [*own, *(ast.parse(path.read_text()) for path in common)]
    for call in chain.from_iterable(map(ast.walk, trees)):
        match call:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log")),
                args=[ast.Constant(value=str(message)), *_],
                keywords=keywords,
            ):
                fields.setdefault(message, set()).update(_extra(keywords))
    return fields


def _imported_from_common(tree: ast.Module) -> Iterator[Path]:
    """Yield the files of lambdas/common that a module imports."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="common", names=names):
                yield from (LAMBDAS / "common" / f"{each.name}.py" for each in names)
            case ast.ImportFrom(module=str(module)) if module.startswith("common."):
                yield LAMBDAS / f"{module.replace('.', '/')}.py"


def _extra(keywords: list[ast.keyword]) -> Iterator[str]:
    """Yield the keys of the dictionary that is given as `extra`."""
    for keyword in keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            for key in keyword.value.keys:
                if isinstance(key, ast.Constant):
                    yield str(key.value)
