"""All that differs between environments. Imports nothing from the CDK, so that local tools can read it too."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

REGION = "ap-northeast-2"

DATABASE_PARAMETERS: Mapping[str, str] = {
    "character_set_server": "utf8mb4",
    "collation_server": "utf8mb4_unicode_ci",
    "tx_isolation": "READ-COMMITTED",
    "innodb_lock_wait_timeout": "3",
    "wait_timeout": "3600",
    "require_secure_transport": "1",
}
"""The database's parameter group. RDS's own defaults are latin1 and REPEATABLE READ. Times in seconds."""


@dataclass(frozen=True, kw_only=True)
class ManagedDatabase:
    """A MariaDB instance that the data stack creates."""

    instance_class: str
    storage_gib: int = 20
    multi_az: bool = False
    backup_days: int = 7
    deletion_protection: bool = False
    login: Literal["iam", "secret"] = "iam"
    """How the functions log in: with an IAM token, or with a password of their own kept in Secrets Manager."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One environment. Times in seconds unless the name says otherwise."""

    environment: str
    database: ManagedDatabase
    availability_zones: tuple[str, ...] = (f"{REGION}a", f"{REGION}b")
    endpoint_zones: int = 1
    """How many availability zones have their own interface endpoints."""
    database_ca_file: str = f"common/rds-ca-{REGION}.pem"
    """Roots that the database's certificate is verified against, relative to the function's code or absolute."""

    factory_url: str = "http://project3-factory.coz-devops.click/api/manufactures"
    allow_http_factory: bool = False
    factory_deadline: float = 13
    """For one whole call to the factory, connecting and reading included."""
    public_url: str | None = None
    """The base of the callback URLs; None: the API's own endpoint."""

    max_order: int = 1000
    publish_within: int = 30
    """Until the relay publishes an order that `sales` could not."""
    overdue: int = 15 * 60
    """From publication until an order that has not arrived is asked for again."""
    max_repeats: int = 3
    """How often an overdue order is asked for again before it is stuck."""
    idempotency_retention: int = 48 * 3600
    """How long an Idempotency-Key is remembered at least; the contract promises 24 hours."""
    retry_delay: int = 90
    """Before a message the factory did not take is tried again; doubles with each receive: 22 minutes in all."""
    consumer_timeout: int = 20
    consumer_concurrency: int = 5

    throttle_rate: int = 200
    throttle_burst: int = 400
    log_retention_days: int = 30
    retain_data: bool = True

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ValueError(f"environment {self.environment}: {problem}")

    def _problems(self) -> list[str]:
        factory = urlsplit(self.factory_url)
        problems = []
        if factory.scheme not in ("http", "https") or not factory.hostname:
            problems.append(f"factory_url {self.factory_url!r} is not an http or https URL")
        if factory.scheme == "http" and not self.allow_http_factory:
            problems.append("factory_url is plain http: set allow_http_factory to allow it")
        if self.public_url is not None and (
            urlsplit(self.public_url).scheme not in ("http", "https") or self.public_url.endswith("/")
        ):
            problems.append(f"public_url {self.public_url!r} is not an http or https URL without a trailing slash")
        if self.factory_deadline >= self.consumer_timeout:
            problems.append("factory_deadline must be shorter than consumer_timeout")
        if not 1 <= self.endpoint_zones <= len(self.availability_zones):
            problems.append("endpoint_zones must be between 1 and the number of availability_zones")
        if len(self.availability_zones) < 2:
            problems.append("an RDS subnet group needs two availability_zones")
        if not 1 <= self.max_order <= 1_000_000:
            problems.append("max_order must be between 1 and 1,000,000")
        return problems

    def override(self, context: Mapping[str, str]) -> "Settings":
        """The same environment with the settings that may be given on the command line, as `-c name=value`."""
        overrides: dict[str, Any] = {name: context[name] for name in OVERRIDABLE if context.get(name)}
        return replace(self, **overrides)


OVERRIDABLE = ("factory_url", "public_url", "database_ca_file")

ENVIRONMENTS: Mapping[str, Settings] = {
    settings.environment: settings
    for settings in (
        Settings(
            environment="local",
            database=ManagedDatabase(instance_class="t4g.micro", login="secret"),
            allow_http_factory=True,
            factory_deadline=3,
            consumer_timeout=5,
            publish_within=2,
            overdue=30,
            retry_delay=1,
            log_retention_days=1,
            retain_data=False,
        ),
        Settings(
            environment="dev",
            database=ManagedDatabase(instance_class="t4g.micro"),
            allow_http_factory=True,
            log_retention_days=7,
            retain_data=False,
        ),
        Settings(
            environment="staging",
            database=ManagedDatabase(instance_class="t4g.small"),
            allow_http_factory=True,
        ),
        Settings(
            environment="prod",
            database=ManagedDatabase(
                instance_class="t4g.small", multi_az=True, backup_days=35, deletion_protection=True
            ),
            allow_http_factory=True,
            endpoint_zones=2,
            log_retention_days=90,
        ),
    )
}
