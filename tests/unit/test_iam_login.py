"""Tokens for IAM authentication are those that botocore signs."""

from datetime import UTC, datetime
from unittest import mock
from urllib.parse import parse_qsl

import botocore.auth
import pytest

from common import environment, iam_login
from tests.support.pipe import session

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


def botocore_token(login: environment.Credentials, *, now: datetime) -> str:
    client = session().client(
        "rds",
        aws_access_key_id=login.aws_access_key_id,
        aws_secret_access_key=login.aws_secret_access_key,
        aws_session_token=login.aws_session_token,
        region_name=login.aws_region,
    )
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=now):
        return str(client.generate_db_auth_token(HOST, PORT, "shop_sales"))


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
def test_token_equals_botocores(login: environment.Credentials, now: datetime) -> None:
    """The order of the query's parameters may differ."""
    ours = iam_login.token(host=HOST, port=PORT, user="shop_sales", credentials=login, now=now)
    our_address, _, our_query = ours.partition("?")
    their_address, _, their_query = botocore_token(login, now=now).partition("?")
    assert our_address == their_address
    assert our_address == f"{HOST}:{PORT}/"
    assert dict(parse_qsl(our_query)) == dict(parse_qsl(their_query))


@pytest.mark.usefixtures("time_zone")
def test_token_is_signed_at_the_current_time() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    token = iam_login.token(host=HOST, port=PORT, user="shop_sales", credentials=credentials())
    query = dict(parse_qsl(token))
    signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    assert before <= signed <= datetime.now(UTC)
