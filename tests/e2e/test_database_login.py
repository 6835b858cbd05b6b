"""Functions log in to the database with IAM tokens. Any other token or password is rejected."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pymysql
import pytest

from common import environment, iam_login
from common.database import connect
from local.cloud import Cloud
from local.database.rds import create_iam_user
from settings import DATABASE_USERS, REGION
from tests.support.books import NAME
from tests.support.deployed_shop import SETTINGS, DeployedShop
from tests.support.grants import GRANTS, readable

HOST = "127.0.0.1"
STRANGER = "stranger"
"""A user that no role may log in as."""


@pytest.fixture(autouse=True)
def takes_iam_tokens(cloud: Cloud) -> None:
    if not cloud.database.takes_iam_tokens:
        pytest.skip(
            "MariaDB's PAM plugin is not available here, so the functions log in with a password"
        )


@pytest.fixture
def stranger(cloud: Cloud, shop: DeployedShop) -> Iterator[None]:
    """Create the user STRANGER on the server for the test."""
    create_iam_user(
        mysql_cnf=cloud.database.mysql_cnf, user=STRANGER, emulator=cloud.database.emulator_port
    )
    yield
    shop.sql(f"DROP USER {STRANGER}")


def token(
    cloud: Cloud,
    *,
    function: str = "sales",
    user: str = DATABASE_USERS["sales"],
    host: str = HOST,
    port: int | None = None,
    age: int = 0,
    region: str = REGION,
) -> str:
    """Return a token that the function's role signed `age` seconds ago."""
    role = cloud.client("lambda").get_function_configuration(
        FunctionName=SETTINGS.function_name(function)
    )["Role"]
    session = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    credentials = environment.Credentials(
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
        aws_region=region,
    )
    return iam_login.token(
        host=host,
        port=port or cloud.database.port,
        user=user,
        credentials=credentials,
        now=datetime.now(UTC) - timedelta(seconds=age),
    )


def log_in(cloud: Cloud, password: str, *, user: str = DATABASE_USERS["sales"]) -> None:
    """Log in as the functions do. Raises OperationalError."""
    database = environment.Database(
        database_host=HOST,
        database_port=cloud.database.port,
        database_name=NAME,
        database_ca_file=str(cloud.database.ca_file),
    )
    connect(database, user=user, password=password, name=None, until=time.monotonic() + 30).close()


def assert_rejected(
    cloud: Cloud, password: str, *, because: str, user: str = DATABASE_USERS["sales"]
) -> None:
    """Expect the login to fail, and the emulator's log to give the reason."""
    log = cloud.emulator.log
    known = len(log.read_text())
    with pytest.raises(pymysql.OperationalError, match="Access denied"):
        log_in(cloud, password, user=user)
    assert because in log.read_text()[known:]


def test_users_of_the_functions_have_no_password(cloud: Cloud, shop: DeployedShop) -> None:
    assert shop.request("GET", "/product/donut").status_code == 200
    logins = shop.sql(
        "SELECT user, plugin, ssl_type FROM mysql.user"
        " WHERE user NOT IN ('root', 'admin', 'mariadb.sys')"
    )
    assert sorted(logins) == sorted((user, "pam", "ANY") for user in DATABASE_USERS.values())


def test_users_have_exactly_their_grants(shop: DeployedShop) -> None:
    """tests/integration compares the same table with users that log in with passwords."""
    grants = {
        user: [line for (line,) in shop.sql("SHOW GRANTS FOR %s", (user,))]
        for user in DATABASE_USERS.values()
    }
    assert {user: readable(lines) for user, lines in grants.items()} == GRANTS


@pytest.mark.parametrize("function", DATABASE_USERS)
@pytest.mark.parametrize("age", [0, iam_login.VALID_SECONDS - 30])
def test_token_of_a_function_is_accepted_for_15_minutes(
    cloud: Cloud, function: str, age: int
) -> None:
    user = DATABASE_USERS[function]
    log_in(cloud, token(cloud, function=function, user=user, age=age), user=user)


@pytest.mark.parametrize(
    ("function", "other"),
    [
        (function, other)
        for function in DATABASE_USERS
        for other in DATABASE_USERS
        if function != other
    ],
)
def test_role_cannot_log_in_as_the_user_of_another_function(
    cloud: Cloud, function: str, other: str
) -> None:
    user = DATABASE_USERS[other]
    assert_rejected(
        cloud, token(cloud, function=function, user=user), user=user, because="may not connect"
    )


def test_expired_token_is_rejected(cloud: Cloud) -> None:
    assert_rejected(cloud, token(cloud, age=iam_login.VALID_SECONDS), because="ExpiredToken")


def test_token_with_a_wrong_signature_is_rejected(cloud: Cloud) -> None:
    right = token(cloud)
    forged = right[:-1] + ("0" if right[-1] != "0" else "1")
    assert_rejected(cloud, forged, because="SignatureDoesNotMatch")


@pytest.mark.parametrize(
    "target",
    [{"host": "localhost"}, {"port": 3306}, {"user": "admin"}, {"region": "us-east-1"}],
    ids=str,
)
def test_token_for_another_target_is_rejected(cloud: Cloud, target: dict[str, Any]) -> None:
    assert_rejected(cloud, token(cloud, **target), because="InvalidToken")


@pytest.mark.parametrize("function", ["consumer", "migrate"])
@pytest.mark.parametrize("user", DATABASE_USERS.values())
def test_role_without_the_permission_is_rejected(cloud: Cloud, function: str, user: str) -> None:
    assert_rejected(
        cloud, token(cloud, function=function, user=user), user=user, because="may not connect"
    )


@pytest.mark.usefixtures("stranger")
def test_role_cannot_log_in_as_a_user_of_no_function(cloud: Cloud) -> None:
    assert_rejected(cloud, token(cloud, user=STRANGER), user=STRANGER, because="may not connect")


@pytest.mark.parametrize("password", ["password", "\xff", "a\r\nb"])
def test_password_is_rejected(cloud: Cloud, password: str) -> None:
    assert_rejected(cloud, password, because="InvalidToken")
