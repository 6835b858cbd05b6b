"""Everything that differs between environments, and every physical name.

The CDK is not imported here, so that local tools and operators' commands can use this module too.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

PROJECT = Path(__file__).resolve().parent
LAMBDAS = PROJECT / "lambdas"
NOT_SOURCES = ("__pycache__", ".*", "*~", "#*#", "4913")
"""Patterns for names in LAMBDAS of what Python and editors leave there, which nothing deploys."""
FUNCTIONS = tuple(sorted(path.parent.name for path in LAMBDAS.glob("*/handler.py")))
"""The folders of all functions."""
LAYER = Path("/opt")
"""Where Lambda unpacks the functions' layer."""
REGION = "ap-northeast-2"
PREFIX = "donut-shop"
"""Prefix of every physical name, except topics and queues, whose names docs/contract.md defines."""
DIFF_ROLE_NAME = f"{PREFIX}-diff"
"""The role of GitHub's jobs for pull requests. An account has one for all environments."""
GITHUB_STACK_NAME = f"{PREFIX}-github"
"""The stack of what GitHub's jobs for all environments of an account share."""

APP_TAG, ENVIRONMENT_TAG = "app", "environment"
"""The tags of all resources. Once activated in Billing, they tell costs apart on the bill."""

DATABASE_PARAMETERS: Mapping[str, str] = {
    "character_set_server": "utf8mb4",
    "collation_server": "utf8mb4_unicode_ci",
    "tx_isolation": "READ-COMMITTED",
    "innodb_lock_wait_timeout": "2",
    "wait_timeout": "3600",
    "require_secure_transport": "1",
    "slow_query_log": "1",
    "long_query_time": "1",
    "log_output": "FILE",
    "log_slow_disabled_statements": "call,sp",
}
"""The database's parameter group; times are in seconds.

RDS's own defaults are latin1 and REPEATABLE READ. The slow-query log leaves out calls of procedures
and what these execute: it would quote their parameters, among them names and callback tokens.
"""
DATABASE_LOGS = ("error", "slowquery")
"""The logs that RDS sends to CloudWatch, as RDS calls them."""

DATABASE_USERS_FILE = PROJECT / "lambdas/migrate/database_users.json"
DATABASE_USERS: Mapping[str, str] = {
    function: entry["user"]
    for function, entry in json.loads(DATABASE_USERS_FILE.read_text()).items()
}
"""Function → its own database user. The migration creates these users from the same file."""

Login = Literal["iam", "secret"]

MAX_CONNECTIONS: Mapping[str, int] = {
    "t4g.micro": 40,
    "t4g.small": 85,
    "t4g.medium": 170,
    "t4g.large": 340,
}
"""What RDS's default formula gives for the memory of each instance class, rounded down."""
SPARE_CONNECTIONS = 8
"""Connections that are left to the migration and to further operators."""
REQUEST_SECONDS = 0.25
"""Seconds for which a request holds its connection.

This holds while the database is healthy; when it is not, requests return 503 in any case.
"""

ORDER_QUERY, ORDER_QUERY_ID = "one order", "ORDER_ID"
"""The query of `make trace`, and what stands for the order's id in it."""
LOG_QUERIES: Mapping[str, str] = {
    ORDER_QUERY: f"""fields @timestamp, @log, @message
| filter @message like /{ORDER_QUERY_ID}/
| sort @timestamp asc
| limit 10000""",
    "failures": """fields @timestamp, @log, @message
| filter level in ["WARNING", "ERROR", "CRITICAL"] or log_level = "ERROR"
    or record.status in ["error", "failure", "timeout"]
| sort @timestamp desc
| limit 1000""",
    "durations": """filter type = "platform.report"
| stats count(*) as invocations, count(record.metrics.initDurationMs) as cold_starts,
    avg(record.metrics.durationMs) as mean_ms, pct(record.metrics.durationMs, 99) as p99_ms,
    max(record.metrics.initDurationMs) as longest_init_ms by @log""",
}
"""Queries of all functions' logs that are saved for CloudWatch Logs Insights, by name."""

ORIGIN = (
    r"https://[a-z0-9-]+(\.[a-z0-9-]+)*(?!:443$)(:\d+)?"
    r"|http://(localhost|127\.0\.0\.1)(?!:80$)(:\d+)?"
)
"""Of the origins that a browser sends, those that may call the API. None has a wildcard."""

LOG_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""The periods that CloudWatch Logs accepts."""

OVERRIDABLE = ("factory_url", "public_url", "alarm_email", "database_ca_file", "database_login")
"""The settings that `-c name=value` on the command line overrides.

`database_login` sets the login of a managed database. `make up` passes it, because whether the
local database accepts IAM tokens depends on the machine.
"""


def is_http_url(text: str) -> bool:
    """Return whether the text is an http or https URL, with a host and, if it has one, a port."""
    try:
        url = urlsplit(text)
        return (
            url.scheme in ("http", "https")
            and bool(url.hostname)
            and url.port != 0
            and not re.search(r"\s", text)
        )
    except ValueError:  # the port is not a number up to 65535, or a bracket is missing
        return False


def pascal_case(function: str) -> str:
    """Return the name of a function's folder in Pascal case: `stock_check` becomes `StockCheck`.

    This is the function's construct id, the name of its class in common/environment.py, and the
    beginning of its alarms' ids, such as `StockCheckErrors`.
    """
    return "".join(word.capitalize() for word in function.split("_"))


@dataclass(frozen=True, kw_only=True)
class ManagedDatabase:
    """A MariaDB instance that the data stack creates, in a VPC of its own."""

    instance_class: str
    storage_gib: int = 20
    max_storage_gib: int = 100
    """RDS adds storage, up to this much, when less than a tenth of it is free."""
    multi_az: bool = False
    backup_days: int = 7
    deletion_protection: bool = False
    snapshot: str | None = None
    """Restore the database from this snapshot.

    Once set it must stay set: without it the instance is replaced by an empty one.
    """
    login: Login = "iam"
    """How functions log in: with IAM tokens, or with a password each, kept in Secrets Manager."""
    named: bool = True
    """Whether the instance has a name of ours, so that its log groups exist before it does.

    False for an instance that release 1.0 created: the name would replace it by an empty one. Its
    logs stay in RDS.
    """


@dataclass(frozen=True, kw_only=True)
class ExistingDatabase:
    """A MariaDB 10.11 server that exists already.

    docs/deployment.md lists the rights that its owner has to grant. The functions run in the
    server's VPC. The migration creates the schema `shop` with its tables and procedures, and on the
    server one user per function, named as in DATABASE_USERS with `_password` appended
    (`shop_sales_password`). The passwords are kept in Secrets Manager, one new secret per function.
    """

    host: str
    port: int
    secret_arn: str
    """Secret with `username` and `password` of the user that the migration logs in as.

    This user must be allowed to create tables, procedures and users, to grant rights on the schema,
    and to read `mysql.proc`. The procedures run with its rights, so it must be kept.
    """
    vpc_id: str
    subnet_ids: tuple[str, ...]
    """One for each of the environment's `availability_zones`."""
    security_group_id: str
    """A group whose members may reach the database."""


@dataclass(frozen=True, kw_only=True)
class Throttle:
    """A limit on requests: `rate` per second, with bursts of `burst` at once."""

    rate: int
    burst: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One environment. Times are in seconds unless the name says otherwise."""

    name: str
    database: ManagedDatabase | ExistingDatabase
    availability_zones: tuple[str, ...] = (f"{REGION}a", f"{REGION}c")
    """ap-northeast-2b is left out because it lacks several instance families."""
    endpoint_zones: int = 1
    """Number of availability zones with interface endpoints for SNS and Secrets Manager.

    The endpoints' policies allow one topic and this shop's secrets only. With 0 endpoints, the
    functions reach both services by IPv6, through an egress-only internet gateway, which is free.
    """
    dual_stack_sns: bool = True
    """Publish to SNS's dual-stack host name where the functions have IPv6 only: `sns_endpoint`.

    False in the local cloud, whose functions get one address for all services from the machine.
    """
    database_ca_file: str = str(LAYER / f"rds-ca-{REGION}.pem")
    """PEM file of the roots that the database's certificate is verified against.

    The layer puts each PEM file of lambdas/ into /opt.
    """

    factory_url: str = "http://project3-factory.coz-devops.click/api/manufactures"
    allow_http_factory: bool
    """Whether `factory_url` may be plain http, as the default one is."""
    factory_deadline: float = 13
    """Limit on one whole call to the factory, connecting and reading included."""
    public_url: str | None = None
    """The base of the callback URLs; None: the API's own endpoint."""

    max_quantity: int = 1000
    """The largest quantity of a checkout."""
    publish_within: int = 30
    """Time after which the relay publishes an order that `sales` could not publish."""
    overdue_after: int = 15 * 60
    """Time from publication after which an order that has not arrived gets a reminder."""
    max_reminders: int = 3
    """Number of reminders that an overdue order gets before it is marked stuck."""
    idempotency_retention: int = 48 * 3600
    """Least time for which an Idempotency-Key is remembered; the contract promises 24 hours."""
    requester_retention: int = 90 * 24 * 3600
    """Time from a purchase, or from an order's arrival, until the requester's name is blanked."""
    retry_delay: int = 90
    """Delay before the consumer tries to place an order again after its first failure.

    It doubles with each receive. With the default, five receives take 22 minutes.
    """
    consumer_timeout: int = 20
    consumer_concurrency: int = 5
    reserved_concurrency: Mapping[str, int] = field(default_factory=dict)
    """Function → reserved concurrency.

    Empty where the account's quota is small: a new account's quota of 10 leaves nothing to reserve.
    """

    allowed_origins: tuple[str, ...] = ()
    """The origins, such as `https://shop.example`, whose pages may call the API from a browser.

    Other clients are not concerned: they send no Origin.
    """
    throttle: Throttle = Throttle(rate=200, burst=400)
    callback_throttle: Throttle = Throttle(rate=50, burst=100)
    """A limit of the factory's own, so that a rush of customers can't block its callbacks."""
    alarm_email: str | None = None
    """The address that alarms are sent to; its owner has to confirm the subscription."""
    runbook_url: str | None = None
    """Where docs/runbook.md can be read in a browser, for the dashboard's link."""
    monthly_budget: int
    """USD that the environment's resources may cost per month before an alarm is sent."""
    requires_alarm_email: bool = False
    """Whether `make deploy` requires an `alarm_email`; synthesis works without one."""
    smoke_test_orders: bool = True
    """Whether `make smoke` places an order. Where orders are real it does so with ORDER=1 only."""
    log_retention_days: int = 30
    retain_data: bool = True
    """Whether a final snapshot is kept of a database that is removed."""
    termination_protection: bool = False

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ValueError(f"environment {self.name}: {'; '.join(problems)}")

    def variables(self, *names: str) -> dict[str, str]:
        """Return these settings as variables of a function, under their own names in upper case.

        Raises ValueError if one of them is None, which would reach the function as a text.
        """
        values = {name: getattr(self, name) for name in names}
        for name, value in values.items():
            if value is None:
                raise ValueError(
                    f"environment {self.name}: {name} is None, which no variable can hold: give it"
                    " another value in settings.py, or leave it out in stacks/service_stack.py"
                )
        return {name.upper(): str(value) for name, value in values.items()}

    def stack_name(self, part: str) -> str:
        """Return the name of a stack. part: data, messaging, service, monitoring or github."""
        return f"{PREFIX}-{part}-{self.name}"

    def function_name(self, function: str) -> str:
        """Return the physical name of a Lambda function. function: the name of its folder."""
        return f"{PREFIX}-{function}-{self.name}"

    def function_of(self, function_name: str) -> str:
        """Return the folder of the function with this physical name; inverse of `function_name`."""
        return function_name.removeprefix(f"{PREFIX}-").removesuffix(f"-{self.name}")

    def log_group(self, function: str) -> str:
        """Return the name of a function's log group. function: the name of its folder."""
        return f"/{PREFIX}/{self.name}/{function}"

    def topic_name(self, topic: str) -> str:
        """Return the physical name of an SNS topic. topic: stock_empty or donut_shop_ops."""
        return f"{topic}_{self.name}"

    def queue_name(self, queue: str) -> str:
        """Return the physical name of an SQS queue. queue: stock_queue or stock_dlq."""
        return f"{queue}_{self.name}"

    def alarm_name(self, alarm: str) -> str:
        """Return the name of an alarm. alarm: its construct id, also its heading in the runbook."""
        return f"{PREFIX}-{self.name}-{alarm}"

    @property
    def database_instance(self) -> str | None:
        """Return the name of the database's instance, or None if CloudFormation chooses it.

        It depends on the snapshot: a restored instance is created while the old one still exists.
        """
        if not (isinstance(self.database, ManagedDatabase) and self.database.named):
            return None
        if self.snapshot is None:
            return self.shop_name
        return f"{self.shop_name}-{hashlib.sha256(self.snapshot.encode()).hexdigest()[:8]}"

    def database_log_group(self, log: str) -> str:
        """Return the name of the log group that RDS writes to. log: one of DATABASE_LOGS."""
        return f"/aws/rds/instance/{self.database_instance}/{log}"

    def query_name(self, query: str) -> str:
        """Return the name of a saved query. The console shows an environment's in one folder."""
        return f"{self.shop_name}/{query}"

    @property
    def shop_name(self) -> str:
        """Return the name of the API and of the dashboard; an environment has one of each."""
        return f"{PREFIX}-{self.name}"

    @property
    def deploy_role_name(self) -> str:
        """Return the name of the role of GitHub's jobs that deploy the environment."""
        return f"{PREFIX}-deploy-{self.name}"

    @property
    def access_log_group(self) -> str:
        """Return the name of the log group of the API's access logs.

        One line of the account's resource policy, which is limited to 5,120 characters, covers all
        log groups with the prefix `/aws/vendedlogs`.
        """
        return f"/aws/vendedlogs/{self.shop_name}"

    @property
    def metric_namespace(self) -> str:
        """Return the namespace of the metrics that are made from log lines."""
        return f"DonutShop/{self.name}"

    @property
    def sns_endpoint(self) -> str | None:
        """Return the URL that the functions publish to, or None if the SDK chooses it.

        Only IPv4 addresses have been seen under the ordinary name, `sns.REGION.amazonaws.com`, so
        functions without an IPv4 route need the dual-stack name. An interface endpoint replaces
        the ordinary name only.
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
        """Return the snapshot that the database is restored from, or None if it is not."""
        return self.database.snapshot if isinstance(self.database, ManagedDatabase) else None

    def peak_connections(self) -> float:
        """Return how many connections to the database may be open at once."""
        return SPARE_CONNECTIONS + sum(self._peak_concurrency().values())

    def _peak_concurrency(self) -> dict[str, float]:
        """Return how many executions of each function with a database may run at once.

        Without a reservation, that is the number of requests that the throttle admits while the
        first of them is still running. A deployment leaves the old functions' connections open for
        a while, so a reservation counts twice.
        """
        throttles = {"sales": self.throttle, "restock": self.callback_throttle}
        unreserved = {
            function: throttle.burst + throttle.rate * REQUEST_SECONDS
            for function, throttle in throttles.items()
        }
        unreserved["relay"] = 2  # one run per minute, and one that a deployment has not ended
        unreserved["operate"] = 2  # two people at once
        reserved = {function: 2 * count for function, count in self.reserved_concurrency.items()}
        return unreserved | reserved

    def override(self, context: Mapping[str, str]) -> "Settings":
        """Return a copy with the OVERRIDABLE settings of the context. Raises ValueError."""
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

    def _problems(self) -> Iterator[str]:
        """Yield a sentence for each setting that is wrong."""
        if not is_http_url(self.factory_url):
            yield f"factory_url {self.factory_url!r} is not an http or https URL"
        elif urlsplit(self.factory_url).scheme == "http" and not self.allow_http_factory:
            yield "factory_url is plain http: set allow_http_factory to allow it"
        certificates = Path(self.database_ca_file)
        if certificates.parent == LAYER and not (LAMBDAS / certificates.name).exists():
            yield (
                f"database_ca_file {self.database_ca_file!r}:"
                f" lambdas/{certificates.name} is missing"
            )
        if self.public_url is not None and not re.fullmatch(r"https?://\S*[^/\s]", self.public_url):
            yield (
                f"public_url {self.public_url!r} is not an http or https URL "
                "without a trailing slash"
            )
        for origin in self.allowed_origins:
            if not re.fullmatch(ORIGIN, origin):
                yield (
                    f"allowed_origins: {origin!r} is not an origin as a browser sends it: https,"
                    " or http on localhost, without a path or a default port"
                )
        if self.factory_deadline >= self.consumer_timeout:
            yield "factory_deadline must be shorter than consumer_timeout"
        if len(self.availability_zones) < 2:
            yield "an RDS subnet group needs two availability_zones"
        if not 0 <= self.endpoint_zones <= len(self.availability_zones):
            yield "endpoint_zones must be between 0 and the number of availability_zones"
        if not 1 <= self.max_quantity <= 1_000_000:
            yield "max_quantity must be between 1 and 1,000,000"
        for name in ("publish_within", "overdue_after", "retry_delay"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1 second"
        if self.max_reminders < 0:
            yield "max_reminders must not be negative"
        if not 2 <= self.consumer_concurrency <= 1000:
            yield "consumer_concurrency must be between 2 and 1000, as Lambda requires for a queue"
        if self.idempotency_retention < 24 * 3600:
            yield "idempotency_retention must be at least 24 hours, as the contract promises"
        if self.requester_retention < 24 * 3600:
            yield "requester_retention must be at least 24 hours, longer than any transaction"
        if unknown := self.reserved_concurrency.keys() - DATABASE_USERS.keys():
            names = ", ".join(sorted(unknown))
            yield f"reserved_concurrency names {names}, not a function with a database"
        if self.alarm_email is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+", self.alarm_email):
            yield f"alarm_email {self.alarm_email!r} is not an e-mail address"
        if self.runbook_url is not None and not re.fullmatch(r"https://[^\s()]+", self.runbook_url):
            yield f"runbook_url {self.runbook_url!r} is not an https address"
        if self.monthly_budget < 1:
            yield "monthly_budget must be at least 1 USD"
        if self.log_retention_days not in LOG_RETENTION_DAYS:
            periods = ", ".join(map(str, LOG_RETENTION_DAYS))
            yield f"log_retention_days {self.log_retention_days} is not one of {periods}"
        if isinstance(self.database, ManagedDatabase):
            yield from self._managed_database_problems(self.database)
        elif len(self.database.subnet_ids) != len(self.availability_zones):
            yield "an existing database needs one of subnet_ids for each of availability_zones"

    def _managed_database_problems(self, database: ManagedDatabase) -> Iterator[str]:
        available = MAX_CONNECTIONS.get(database.instance_class)
        needed = self.peak_connections()
        if available is None:
            classes = ", ".join(MAX_CONNECTIONS)
            yield f"instance_class {database.instance_class!r} is not one of {classes}"
        elif needed >= available:
            yield (
                f"the functions may open {needed:.0f} connections, too many for "
                f"{database.instance_class}: reserve less, or lower the throttles"
            )
        if uncounted := DATABASE_USERS.keys() - self._peak_concurrency().keys():
            names = ", ".join(sorted(uncounted))
            yield f"_peak_concurrency does not say how many executions of {names} may run at once"
        if database.login not in get_args(Login):
            logins = ", ".join(get_args(Login))
            yield f"the database's login {database.login!r} is not one of {logins}"
        if database.max_storage_gib < database.storage_gib * 1.26:
            yield "max_storage_gib must be at least 26 % more than storage_gib, as RDS advises"
        if not 1 <= database.backup_days <= 35:
            yield "backup_days must be between 1 and 35"


SMALL_THROTTLE = Throttle(rate=20, burst=15)
SMALL_CALLBACK_THROTTLE = Throttle(rate=5, burst=5)
"""What the 40 connections of a t4g.micro allow without reserved concurrency."""

ENVIRONMENTS: Mapping[str, Settings] = {
    settings.name: settings
    for settings in (
        Settings(
            name="local",
            database=ManagedDatabase(instance_class="t4g.micro", backup_days=1, login="secret"),
            monthly_budget=40,
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
            monthly_budget=40,
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
            monthly_budget=100,
            allow_http_factory=True,
            reserved_concurrency={"sales": 20, "restock": 8, "relay": 2},
        ),
        Settings(
            name="prod",
            database=ManagedDatabase(
                instance_class="t4g.small", multi_az=True, backup_days=35, deletion_protection=True
            ),
            monthly_budget=180,
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
