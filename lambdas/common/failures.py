"""Keep customers' data out of the exceptions that leave a handler.

Lambda logs the text of such an exception and returns it to the caller. The text may quote a
customer, a callback token or a password.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
Handler = Callable[[Any, Any], T]


class Failed(Exception):
    """A failure, named by the type and the code of the original exception but without its text."""


def described(error: Exception) -> str:
    """Return the exception's type and the code that the database or AWS gave it, if any."""
    # Does not use isinstance, which would import pymysql and botocore into functions that
    # do not need them.
    code = None
    response = getattr(error, "response", None)
    if type(error).__module__.startswith("pymysql"):
        if error.args and isinstance(error.args[0], int):
            code = str(error.args[0])
    elif isinstance(response, dict):
        code = response.get("Error", {}).get("Code")
    return f"{type(error).__name__} {code}" if code else type(error).__name__


def guarded(*safe: type[Exception]) -> Callable[[Handler[T]], Handler[T]]:
    """Decorate a Lambda handler so that it raises only exceptions of the safe types, or Failed.

    Failed has the original exception's stack trace.
    """

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
