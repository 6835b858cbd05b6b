"""The functions' environment variables, read in this file only.

Each function has a class. A field's variable is the field's name in upper case. The classes have
docstrings, and neither `frozen`, `repr` nor `eq`, because a dataclass compiles a method for each of
them in every cold start.
"""

import os
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from inspect import formatannotation
from typing import TypeVar

T = TypeVar("T")


def _true_or_false(text: str) -> bool:
    """Return the bool whose str() this is, or raise ValueError. bool() is True for "False", too."""
    if text not in ("True", "False"):
        raise ValueError
    return text == "True"


PARSERS: dict[object, Callable[[str], object]] = {
    str: str,
    str | None: str,
    int: int,
    float: float,
    bool: _true_or_false,
}
"""The types that a field may have."""


@dataclass(kw_only=True, repr=False, eq=False)
class Database:
    """What every function with a database reads."""

    database_host: str
    database_port: int
    database_name: str
    database_ca_file: str
    """PEM file with the root certificates that the server's certificate is verified against."""
    database_secret_arn: str | None = None
    """Secret with `username` and `password`. None: log in as database_user with IAM authentication.
    """
    database_user: str | None = None
    """User that logs in with IAM authentication."""
    database_generation: str | None = None
    """Snapshot that the database was restored from. No function uses it: a new value makes
    CloudFormation update the functions, which then connect to the restored instance."""


@dataclass(kw_only=True, repr=False, eq=False)
class Sales(Database):
    """What the sales function reads."""

    stock_empty_topic_arn: str
    max_quantity: int
    """The largest quantity of a checkout."""
    publish_within: int
    """Seconds until the relay publishes an order that this function could not publish."""
    overdue_after: int
    """Seconds from an order's publication until the relay sends the factory a reminder, unless the
    order has arrived."""


@dataclass(kw_only=True, repr=False, eq=False)
class Restock(Database):
    """What the restock function reads."""


@dataclass(kw_only=True, repr=False, eq=False)
class Operate(Database):
    """What the operate function reads."""


@dataclass(kw_only=True, repr=False, eq=False)
class Relay(Database):
    """What the relay reads."""

    stock_empty_topic_arn: str
    overdue_after: int
    """Seconds from an order's publication until its next reminder, unless the order has arrived."""
    max_reminders: int
    """How many reminders an overdue order gets before it is stuck."""
    idempotency_retention: int
    """Seconds for which an Idempotency-Key is kept at least."""
    requester_retention: int
    """Seconds after which the requester of a purchase or of an arrived order is blanked."""


@dataclass(kw_only=True, repr=False, eq=False)
class Migrate(Database):
    """What the migrate function reads."""

    user_secret_arns: str | None = None
    """ARNs of the secrets with the functions' passwords, separated by commas. None: the functions
    log in with IAM authentication."""


@dataclass(kw_only=True, repr=False, eq=False)
class Consumer:
    """What the consumer reads."""

    factory_url: str
    factory_deadline: float
    """Seconds for one whole call of the factory."""
    public_url: str
    """Base of the callback URLs, without a trailing slash."""
    stock_queue_url: str
    retry_delay: int
    """Seconds until a message is received again after its first failure; doubles with each one."""
    max_receives: int
    """How often a message is received before the queue moves it to the dead-letter queue."""


@dataclass(kw_only=True, repr=False, eq=False)
class Credentials:
    """The variables that Lambda itself sets."""

    aws_access_key_id: str
    aws_secret_access_key: str
    aws_session_token: str
    aws_region: str


def read(cls: type[T]) -> T:
    """Return the environment variables as an instance of cls.

    Raises KeyError, which names every missing variable, and ValueError, which names a variable
    that its field's type cannot hold. Raises TypeError if a field's type is not one of PARSERS.
    """
    values: dict[str, object] = {}
    missing = []
    for field in fields(cls):  # type: ignore[arg-type]  # dataclasses have no public type
        key = field.name.upper()
        if field.type not in PARSERS:
            known = ", ".join(map(formatannotation, PARSERS))
            raise TypeError(
                f"the type of {cls.__name__}.{field.name} is not one of {known}: "
                "add it to PARSERS in lambdas/common/environment.py"
            )
        if key in os.environ:
            values[field.name] = _parse(key, field.type)
        elif field.default is MISSING:
            missing.append(key)
    if missing:
        raise KeyError(f"missing environment variables: {', '.join(missing)}")
    return cls(**values)


def _parse(key: str, type: object) -> object:
    try:
        return PARSERS[type](os.environ[key])
    except ValueError:
        expected = "True or False" if type is bool else "a number"
        raise ValueError(f"{key} is not {expected}: {os.environ[key]!r}") from None
