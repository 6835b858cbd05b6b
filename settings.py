"""All that differs between environments. Imports nothing from the CDK, so that local tools can read it too."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

REGION = "ap-northeast-2"
PREFIX = "donut-shop"
"""Physical names begin with it, but for topics and queues, whose names the contract gives."""
DIFF_ROLE_NAME = f"{PREFIX}-diff"
"""The role of GitHub's jobs for pull requests; an account has one."""

DATABASE_PARAMETERS: Mapping[str, str] = {
    "character_set_server": "utf8mb4",
    "collation_server": "utf8mb4_unicode_ci",
    "tx_isolation": "READ-COMMITTED",
    "innodb_lock_wait_timeout": "2",
    "wait_timeout": "3600",
    "require_secure_transport": "1",
}
"""The database's parameter group. RDS's own defaults are latin1 and REPEATABLE READ. Times in seconds."""

PROJECT = Path(__file__).resolve().parent
DATABASE_USERS_FILE = PROJECT / "lambdas/migrate/database_users.json"
DATABASE_USERS: Mapping[str, str] = {
    function: entry["user"]
    for function, entry in json.loads(DATABASE_USERS_FILE.read_text()).items()
}
"""Function → its own user of the database. The migration reads the same file, and creates these users."""

Login = Literal["iam", "secret"]

MAX_CONNECTIONS: Mapping[str, int] = {
    "t4g.micro": 40,
    "t4g.small": 85,
    "t4g.medium": 170,
    "t4g.large": 340,
}
"""What RDS's default formula gives on each class's memory, rounded down."""
SPARE_CONNECTIONS = 10
"""For people and the migration."""
REQUEST_SECONDS = 0.25
"""How long a request holds its connection while the database is well. When it is not, the answer is 503 anyway."""


@dataclass(frozen=True, kw_only=True)
class ManagedDatabase:
    """A MariaDB instance that the data stack creates, in a VPC of its own."""

    instance_class: str
    storage_gib: int = 20
    multi_az: bool = False
    backup_days: int = 7
    deletion_protection: bool = False
    snapshot: str | None = None
    """Restore from this snapshot. Once set it must stay set: without it the instance is replaced by an empty one."""
    login: Login = "iam"
    """How the functions log in: with IAM tokens, or with passwords in Secrets Manager, one per function."""


@dataclass(frozen=True, kw_only=True)
class ExistingDatabase:
    """A MariaDB 10.11 server that exists already. README.md lists the rights that its owner has to grant.

    The functions run in the server's VPC. The migration creates the schema `shop` with its tables and procedures, and
    on the server one user per function, named after DATABASE_USERS with `_password` appended
    (`shop_sales_password`); the passwords are kept in Secrets Manager, in one new secret per function.
    """

    host: str
    port: int
    secret_arn: str
    """Secret with `username` and `password` of the user that the migration logs in as.

    It must be allowed to create tables, procedures and users, to grant rights on the schema, and to read `mysql.proc`.
    The procedures run with the rights of this user, so it must be kept.
    """
    vpc_id: str
    subnet_ids: tuple[str, ...]
    """One for each of the environment's availability_zones."""
    security_group_id: str
    """A group that may reach the database."""


@dataclass(frozen=True, kw_only=True)
class Throttle:
    """Requests a second, and how many may come at once."""

    rate: int
    burst: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One environment. Times in seconds unless the name says otherwise."""

    name: str
    database: ManagedDatabase | ExistingDatabase
    availability_zones: tuple[str, ...] = (f"{REGION}a", f"{REGION}c")
    """Not ap-northeast-2b, which lacks several instance families."""
    endpoint_zones: int = 1
    """How many availability zones have interface endpoints, each to one topic and this shop's secrets. 0: none; the
    functions reach SNS and Secrets Manager by IPv6 through an egress-only internet gateway, which costs nothing."""
    dual_stack_sns: bool = True
    """Where the functions have IPv6 only, publish to SNS's dual-stack host name; see `sns_endpoint`. False: the
    functions get the addresses of all services from the machine that they run on."""
    database_ca_file: str = f"common/rds-ca-{REGION}.pem"
    """Roots that the database's certificate is verified against, relative to the function's code or absolute."""

    factory_url: str = "http://project3-factory.coz-devops.click/api/manufactures"
    allow_http_factory: bool = False
    factory_deadline: float = 13
    """For one whole call to the factory, connecting and reading included."""
    public_url: str | None = None
    """The base of the callback URLs; None: the API's own endpoint."""

    max_quantity: int = 1000
    publish_within: int = 30
    """Until the relay publishes an order that `sales` could not."""
    overdue_after: int = 15 * 60
    """From publication until an order that has not arrived is asked for again."""
    max_reminders: int = 3
    """How often an overdue order is asked for again before it is stuck."""
    idempotency_retention: int = 48 * 3600
    """How long an Idempotency-Key is remembered at least; the contract promises 24 hours."""
    retry_delay: int = 90
    """Before a message the factory did not take is tried again; doubles with each receive: 22 minutes in all."""
    consumer_timeout: int = 20
    consumer_concurrency: int = 5
    reserved_concurrency: Mapping[str, int] = field(default_factory=dict)
    """Function → reservation. Empty where the account's quota is small: a new one's 10 refuses any reservation."""

    throttle: Throttle = Throttle(rate=200, burst=400)
    callback_throttle: Throttle = Throttle(rate=50, burst=100)
    """The factory's own, so that a rush of customers can't starve it."""
    alarm_email: str | None = None
    """Who gets the alarms, and has to confirm the subscription; None: nobody."""
    requires_alarm_email: bool = False
    """True: `make deploy` refuses to deploy the environment without an alarm_email. Synthesis works without."""
    smoke_test_orders: bool = True
    """False: an order is real, donuts are baked; `make smoke` orders nothing unless it is told to."""
    log_retention_days: int = 30
    retain_data: bool = True
    """A final snapshot of a database that is removed; else it goes with its stack."""
    termination_protection: bool = False

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ValueError(f"environment {self.name}: {problem}")

    def stack_name(self, part: str) -> str:
        """Return the name of a stack. part: data, messaging, service or monitoring."""
        return f"{PREFIX}-{part}-{self.name}"

    def function_name(self, function: str) -> str:
        """Return the physical name of a Lambda function. function: the name of its folder."""
        return f"{PREFIX}-{function}-{self.name}"

    def function_of(self, function_name: str) -> str:
        """Return the folder of the function with this physical name; the inverse of `function_name`."""
        return function_name.removeprefix(f"{PREFIX}-").removesuffix(f"-{self.name}")

    def message_name(self, resource: str) -> str:
        """Return the name of a topic or a queue. resource: stock_empty, stock_queue, stock_dlq or ops."""
        return f"{resource}_{self.name}"

    def alarm_name(self, alarm: str) -> str:
        """Return the name of an alarm. alarm: its construct id, which is also its heading in the runbook."""
        return f"{PREFIX}-{self.name}-{alarm}"

    @property
    def shop_name(self) -> str:
        """Return the name of what an environment has one of: the API and the dashboard."""
        return f"{PREFIX}-{self.name}"

    @property
    def deploy_role_name(self) -> str:
        """Return the name of the role of GitHub's jobs that deploy the environment."""
        return f"{PREFIX}-deploy-{self.name}"

    def log_group(self, function: str) -> str:
        """Return the name of a function's log group. function: the name of its folder."""
        return f"/{PREFIX}/{self.name}/{function}"

    @property
    def access_log_group(self) -> str:
        """Return the log group of the API's access logs.

        One line of the account's resource policy, limited to 5,120 characters, covers this prefix.
        """
        return f"/aws/vendedlogs/{self.shop_name}"

    @property
    def metric_namespace(self) -> str:
        """Return the namespace of the metrics that are made from log lines."""
        return f"DonutShop/{self.name}"

    @property
    def sns_endpoint(self) -> str | None:
        """Return the URL that the functions publish to; None: the SDK's own choice.

        The ordinary name, `sns.REGION.amazonaws.com`, has been seen with IPv4 addresses only. Where the functions have
        no IPv4 route they need the dual-stack name. An interface endpoint answers for the ordinary name only.
        """
        if (
            self.dual_stack_sns
            and self.endpoint_zones == 0
            and isinstance(self.database, ManagedDatabase)
        ):
            return f"https://sns.{REGION}.api.aws"
        return None

    @property
    def snapshot(self) -> str | None:
        """Return the name of the snapshot that the database is restored from; None: it never was."""
        return self.database.snapshot if isinstance(self.database, ManagedDatabase) else None

    def most_connections(self) -> float:
        """Return how many connections to the database there may be at once.

        A deployment leaves the connections of the old functions open for a while, so a reservation counts twice. A
        function without one runs as often as its throttle admits requests while the first of them still runs.
        """
        throttles = {"sales": self.throttle, "restock": self.callback_throttle}
        unreserved = {
            name: throttle.burst + throttle.rate * REQUEST_SECONDS
            for name, throttle in throttles.items()
        }
        unreserved["relay"] = 2  # one run each minute, and one that a deployment has not ended
        return SPARE_CONNECTIONS + sum(
            2 * self.reserved_concurrency[name] if name in self.reserved_concurrency else count
            for name, count in unreserved.items()
        )

    def _problems(self) -> list[str]:
        factory = urlsplit(self.factory_url)
        problems = []
        if factory.scheme not in ("http", "https") or not factory.hostname:
            problems.append(f"factory_url {self.factory_url!r} is not an http or https URL")
        if factory.scheme == "http" and not self.allow_http_factory:
            problems.append("factory_url is plain http: set allow_http_factory to allow it")
        if self.public_url is not None and (
            urlsplit(self.public_url).scheme not in ("http", "https")
            or self.public_url.endswith("/")
        ):
            problems.append(
                f"public_url {self.public_url!r} is not an http or https URL without a trailing slash"
            )
        if self.factory_deadline >= self.consumer_timeout:
            problems.append("factory_deadline must be shorter than consumer_timeout")
        if not 0 <= self.endpoint_zones <= len(self.availability_zones):
            problems.append("endpoint_zones must be between 0 and the number of availability_zones")
        if len(self.availability_zones) < 2:
            problems.append("an RDS subnet group needs two availability_zones")
        if self.idempotency_retention < 24 * 3600:
            problems.append(
                "idempotency_retention must be at least 24 hours, as the contract promises"
            )
        if unknown := self.reserved_concurrency.keys() - DATABASE_USERS.keys():
            problems.append(
                f"reserved_concurrency names {', '.join(sorted(unknown))}, not a function with a database"
            )
        if self.alarm_email is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+", self.alarm_email):
            problems.append(f"alarm_email {self.alarm_email!r} is not an e-mail address")
        problems += self._database_problems()
        if not 1 <= self.max_quantity <= 1_000_000:
            problems.append("max_quantity must be between 1 and 1,000,000")
        return problems

    def _database_problems(self) -> list[str]:
        database = self.database
        if isinstance(database, ExistingDatabase):
            if len(database.subnet_ids) != len(self.availability_zones):
                return [
                    "an existing database needs one of subnet_ids for each of availability_zones"
                ]
            return []
        if database.instance_class not in MAX_CONNECTIONS:
            return [
                f"instance_class {database.instance_class!r} is not one of {', '.join(MAX_CONNECTIONS)}"
            ]
        connections = self.most_connections()
        if connections >= MAX_CONNECTIONS[database.instance_class]:
            return [
                f"the functions may open {connections:.0f} connections, too many for {database.instance_class}: "
                "reserve less, or lower the throttles"
            ]
        if database.login not in get_args(Login):
            return [
                f"the database's login {database.login!r} is not one of {', '.join(get_args(Login))}"
            ]
        if not 1 <= database.backup_days <= 35:
            return ["backup_days must be between 1 and 35"]
        return []

    def override(self, context: Mapping[str, str]) -> "Settings":
        """The same environment with the settings that may be given on the command line, as `-c name=value`."""
        overrides: dict[str, Any] = {
            name: context[name] for name in OVERRIDABLE if context.get(name)
        }
        if login := overrides.pop("database_login", None):
            if not isinstance(self.database, ManagedDatabase):
                raise ValueError(
                    f"environment {self.name}: database_login is for a managed database"
                )
            overrides["database"] = replace(self.database, login=login)
        return replace(self, **overrides)


OVERRIDABLE = ("factory_url", "public_url", "alarm_email", "database_ca_file", "database_login")
"""database_login: the managed database's; which one the local database knows is for the machine to say."""

SMALL_THROTTLE, SMALL_CALLBACK_THROTTLE = Throttle(rate=20, burst=15), Throttle(rate=5, burst=5)
"""What the 40 connections of a t4g.micro bear without a reservation, if every request takes REQUEST_SECONDS."""

ENVIRONMENTS: Mapping[str, Settings] = {
    settings.name: settings
    for settings in (
        Settings(
            name="local",
            database=ManagedDatabase(instance_class="t4g.micro", backup_days=1, login="secret"),
            endpoint_zones=0,
            dual_stack_sns=False,
            allow_http_factory=True,
            factory_deadline=3,
            consumer_timeout=5,
            publish_within=2,
            overdue_after=30,
            retry_delay=1,
            throttle=SMALL_THROTTLE,
            callback_throttle=SMALL_CALLBACK_THROTTLE,
            log_retention_days=1,
            retain_data=False,
        ),
        Settings(
            name="dev",
            database=ManagedDatabase(instance_class="t4g.micro", backup_days=1),
            endpoint_zones=0,
            allow_http_factory=True,
            throttle=SMALL_THROTTLE,
            callback_throttle=SMALL_CALLBACK_THROTTLE,
            log_retention_days=7,
            retain_data=False,
        ),
        Settings(
            name="staging",
            database=ManagedDatabase(instance_class="t4g.small"),
            allow_http_factory=True,
            reserved_concurrency={"sales": 20, "restock": 8, "relay": 2},
        ),
        Settings(
            name="prod",
            database=ManagedDatabase(
                instance_class="t4g.small", multi_az=True, backup_days=35, deletion_protection=True
            ),
            allow_http_factory=True,
            endpoint_zones=2,
            reserved_concurrency={"sales": 20, "restock": 8, "relay": 2},
            smoke_test_orders=False,
            log_retention_days=90,
            requires_alarm_email=True,
            termination_protection=True,
        ),
    )
}
