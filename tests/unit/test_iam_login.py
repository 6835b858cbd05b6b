from datetime import UTC, datetime
from unittest import mock
from urllib.parse import parse_qsl

import boto3
import botocore.auth
import pytest

from common import environment, iam_login

HOST, PORT = "shop.abc123.ap-northeast-2.rds.amazonaws.com", 13306


def credentials(
    *, key: str = "AKIDEXAMPLE", secret: str = "secret", token: str = "token"
) -> environment.Credentials:
    return environment.Credentials(
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        aws_region="ap-northeast-2",
    )


def botocores_token(login: environment.Credentials, *, now: datetime) -> str:
    session = boto3.Session(
        login.aws_access_key_id,
        login.aws_secret_access_key,
        login.aws_session_token,
        region_name=login.aws_region,
    )
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=now):
        return str(session.client("rds").generate_db_auth_token(HOST, PORT, "shop_sales"))


@pytest.mark.parametrize(
    "login",
    [
        credentials(),
        credentials(secret="wJalr/XUtnFEMI+K7MDENG=bPxRfiCYEXAMPLEKEY"),
        credentials(token="IQoJb3JpZ2lu+a/b==~-_. *&%2F한글"),
    ],
    ids=["plain", "secret", "session token"],
)
@pytest.mark.parametrize(
    "now",
    [datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)],
    ids=["evening", "new year"],
)
def test_is_botocores_own_token(login: environment.Credentials, now: datetime) -> None:
    ours = iam_login.token(host=HOST, port=PORT, user="shop_sales", credentials=login, now=now)
    theirs = botocores_token(login, now=now)
    assert ours.partition("?")[0] == theirs.partition("?")[0] == f"{HOST}:{PORT}/"
    assert dict(parse_qsl(ours.partition("?")[2])) == dict(parse_qsl(theirs.partition("?")[2]))


def test_is_signed_now() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    query = dict(
        parse_qsl(
            iam_login.token(host=HOST, port=PORT, user="shop_sales", credentials=credentials())
        )
    )
    signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert before <= signed <= datetime.now(UTC)
