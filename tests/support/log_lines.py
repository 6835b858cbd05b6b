"""The log lines in the functions' code."""

import ast
from collections.abc import Iterator
from itertools import chain

from settings import LAMBDAS


def logged_fields(folder: str) -> dict[str, set[str]]:
    """Return the messages that the code in a folder of lambdas/ logs, each with its fields."""
    fields: dict[str, set[str]] = {}
    trees = [ast.parse(path.read_text()) for path in (LAMBDAS / folder).glob("*.py")]
    for call in chain.from_iterable(map(ast.walk, trees)):
        match call:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log")),
                args=[ast.Constant(value=str(message)), *_],
                keywords=keywords,
            ):
                fields.setdefault(message, set()).update(_extra(keywords))
    return fields


def _extra(keywords: list[ast.keyword]) -> Iterator[str]:
    """Yield the keys of the dictionary that is given as `extra`."""
    for keyword in keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            for key in keyword.value.keys:
                if isinstance(key, ast.Constant):
                    yield str(key.value)
