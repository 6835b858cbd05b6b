"""The only reader of os.environ. Each function's keys are the fields of its class, in upper case."""

import os
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
CODE = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True)
class Database:
    database_host: str
    database_port: int
    database_name: str
    database_ca_file: str
    """PEM file of the roots that the server's certificate is verified against; relative to the function's code."""
    database_secret_arn: str | None = None
    """Secret with `username` and `password`; None: IAM authentication as database_user."""
    database_user: str | None = None
    """User with IAM authentication."""
    database_generation: str | None = None
    """The snapshot that the database was restored from. No function uses it: a new value makes CloudFormation update
    the functions, which then find the restored instance."""

    @property
    def ca_path(self) -> Path:
        return CODE / self.database_ca_file


@dataclass(frozen=True, kw_only=True)
class Sales(Database):
    stock_empty_topic_arn: str
    max_quantity: int
    publish_within: int
    """Seconds until the relay publishes an order that this function could not."""
    overdue_after: int
    """Seconds from publication until an order that has not arrived is asked for again."""


@dataclass(frozen=True, kw_only=True)
class Restock(Database):
    pass


@dataclass(frozen=True, kw_only=True)
class Relay(Database):
    stock_empty_topic_arn: str
    overdue_after: int
    """As in Sales."""
    max_reminders: int
    """How often an overdue order is asked for again before it is stuck."""
    idempotency_retention: int
    """Seconds that an Idempotency-Key is remembered at least."""


@dataclass(frozen=True, kw_only=True)
class Migrate(Database):
    user_secret_arns: str | None = None
    """Secrets with the functions' passwords, separated by commas; None: they log in with IAM authentication."""


@dataclass(frozen=True, kw_only=True)
class Consumer:
    factory_url: str
    factory_deadline: float
    """Seconds for one whole call."""
    public_url: str
    """Base of the callback URLs, without a trailing slash."""
    stock_queue_url: str
    retry_delay: int
    """Seconds until a message is received again after its first failure; doubles each time."""
    max_receives: int
    """After so many the queue moves a message to the dead-letter queue."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What Lambda itself puts into the environment."""

    aws_access_key_id: str
    aws_secret_access_key: str
    aws_session_token: str
    aws_region: str


def read(cls: type[T]) -> T:
    """The environment as an instance of cls. Raises KeyError (names all missing), ValueError (malformed)."""
    values: dict[str, object] = {}
    missing = []
    for field in fields(cls):  # type: ignore[arg-type]
        key = field.name.upper()
        if key in os.environ:
            values[field.name] = (
                _number(key, field.type) if field.type in (int, float) else os.environ[key]
            )
        elif field.default is MISSING:
            missing.append(key)
    if missing:
        raise KeyError(f"missing in the environment: {', '.join(missing)}")
    return cls(**values)


def _number(key: str, kind: Callable[[str], object]) -> object:
    try:
        return kind(os.environ[key])
    except ValueError:
        raise ValueError(f"{key} is no number: {os.environ[key]!r}") from None
