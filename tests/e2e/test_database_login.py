"""The functions' login with IAM tokens: who signed one, when, for whom, and may they? And what may they do then?"""

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
from settings import REGION
from tests.support.books import NAME
from tests.support.deployed_shop import Shop
from tests.support.grants import GRANTS, readable

HOST = "127.0.0.1"
USERS = {"sales": "shop_sales", "restock": "shop_restock", "relay": "shop_relay"}
STRANGER = "stranger"
"""A user that no role may log in as."""


@pytest.fixture(autouse=True)
def takes_iam_tokens(cloud: Cloud) -> None:
    if not cloud.database.takes_iam_tokens:
        pytest.skip(
            "MariaDB's PAM plugin is not to be had here: the functions log in with a password"
        )


@pytest.fixture
def stranger(cloud: Cloud, shop: Shop) -> Iterator[None]:
    create_iam_user(
        mysql_cnf=cloud.database.mysql_cnf, user=STRANGER, emulator=cloud.database.emulator_port
    )
    yield
    shop.sql(f"DROP USER {STRANGER}")


def token(
    cloud: Cloud,
    *,
    function: str = "sales",
    user: str = USERS["sales"],
    host: str = HOST,
    port: int | None = None,
    age: int = 0,
    region: str = REGION,
) -> str:
    """Return the token that the function's role would sign, `age` seconds after it did."""
    role = cloud.client("lambda").get_function_configuration(
        FunctionName=f"donut-shop-{function}-local"
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


def log_in(cloud: Cloud, password: str, *, user: str = USERS["sales"]) -> None:
    database = environment.Database(
        database_host=HOST,
        database_port=cloud.database.port,
        database_name=NAME,
        database_ca_file=str(cloud.database.ca_file),
    )
    connect(database, user=user, password=password, name=None, until=time.monotonic() + 30).close()


def assert_refused(
    cloud: Cloud, password: str, *, because: str, user: str = USERS["sales"]
) -> None:
    log = cloud.emulator.log
    known = len(log.read_text())
    with pytest.raises(pymysql.OperationalError, match="Access denied"):
        log_in(cloud, password, user=user)
    assert because in log.read_text()[known:]


def test_the_functions_have_no_password(cloud: Cloud, shop: Shop) -> None:
    assert shop.request("GET", "/product/donut").status_code == 200
    logins = shop.sql(
        "SELECT user, plugin, ssl_type FROM mysql.user WHERE user NOT IN ('root', 'admin', 'mariadb.sys')"
    )
    assert sorted(logins) == sorted((user, "pam", "ANY") for user in USERS.values())


def test_users_have_exactly_their_grants(shop: Shop) -> None:
    """The table is the one that tests/integration compares with the users that log in with passwords."""
    grants = {
        user: [line for (line,) in shop.sql("SHOW GRANTS FOR %s", (user,))]
        for user in USERS.values()
    }
    assert {user: readable(lines) for user, lines in grants.items()} == GRANTS


@pytest.mark.parametrize("function", USERS)
@pytest.mark.parametrize("age", [0, iam_login.VALID_SECONDS - 30])
def test_a_functions_token_is_taken_for_15_minutes(cloud: Cloud, function: str, age: int) -> None:
    user = USERS[function]
    log_in(cloud, token(cloud, function=function, user=user, age=age), user=user)


@pytest.mark.parametrize(
    ("function", "other"),
    [(function, other) for function in USERS for other in USERS if function != other],
)
def test_role_is_refused_another_functions_user(cloud: Cloud, function: str, other: str) -> None:
    user = USERS[other]
    assert_refused(
        cloud, token(cloud, function=function, user=user), user=user, because="may not connect"
    )


def test_an_old_token_is_refused(cloud: Cloud) -> None:
    assert_refused(cloud, token(cloud, age=iam_login.VALID_SECONDS), because="ExpiredToken")


def test_a_forged_token_is_refused(cloud: Cloud) -> None:
    right = token(cloud)
    forged = right[:-1] + ("0" if right[-1] != "0" else "1")
    assert_refused(cloud, forged, because="SignatureDoesNotMatch")


@pytest.mark.parametrize(
    "elsewhere",
    [{"host": "localhost"}, {"port": 3306}, {"user": "admin"}, {"region": "us-east-1"}],
    ids=str,
)
def test_a_token_for_elsewhere_is_refused(cloud: Cloud, elsewhere: dict[str, Any]) -> None:
    assert_refused(cloud, token(cloud, **elsewhere), because="InvalidToken")


@pytest.mark.parametrize("function", ["consumer", "migrate"])
@pytest.mark.parametrize("user", USERS.values())
def test_a_role_without_the_permission_is_refused(cloud: Cloud, function: str, user: str) -> None:
    assert_refused(
        cloud, token(cloud, function=function, user=user), user=user, because="may not connect"
    )


@pytest.mark.usefixtures("stranger")
def test_a_role_is_refused_another_user(cloud: Cloud) -> None:
    assert_refused(cloud, token(cloud, user=STRANGER), user=STRANGER, because="may not connect")


@pytest.mark.parametrize("password", ["password", "\xff", "a\r\nb"])
def test_a_password_is_refused(cloud: Cloud, password: str) -> None:
    assert_refused(cloud, password, because="InvalidToken")
