"""What a function may let out of its handler: Lambda logs an exception's text, and returns it to the caller."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
Handler = Callable[[Any, Any], T]


class Failed(Exception):
    """A failure by its type and code. The original's text may quote a customer, a token or a password."""


def described(error: Exception) -> str:
    """Return the exception's type, and the code that the database or AWS gave it."""
    # Not by isinstance: the consumer has no use for pymysql, and saves the time that importing botocore takes.
    code, response = None, getattr(error, "response", None)
    if (
        type(error).__module__.startswith("pymysql")
        and error.args
        and isinstance(error.args[0], int)
    ):
        code = str(error.args[0])
    elif isinstance(response, dict):
        code = response.get("Error", {}).get("Code")
    return f"{type(error).__name__} {code}" if code else type(error).__name__


def guarded(*safe: type[Exception]) -> Callable[[Handler[T]], Handler[T]]:
    """Make a Lambda handler raise nothing but exceptions of the safe types, and Failed with the stack of any other."""

    def decorate(handle: Handler[T]) -> Handler[T]:
        @functools.wraps(handle)
        def handler(event: Any, context: Any) -> T:
            try:
                return handle(event, context)
            except safe:
                raise
            except Exception as error:
                raise Failed(described(error)).with_traceback(error.__traceback__) from None

        return handler

    return decorate
