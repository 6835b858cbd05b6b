"""Tokens for RDS's IAM authentication, signed by AWS Signature Version 4 with query parameters.

botocore can sign them, too, but creating its client adds 340 ms to a cold start. A test compares
these tokens with botocore's.
"""

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

from common.environment import Credentials

VALID_SECONDS = 900


def token(
    *, host: str, port: int, user: str, credentials: Credentials, now: datetime | None = None
) -> str:
    """Return a token that `user` logs in with instead of a password, valid for VALID_SECONDS.

    now: the time of signing, in UTC; by default the current time.
    """
    time = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{time[:8]}/{credentials.aws_region}/rds-db/aws4_request"
    query = {
        "Action": "connect",
        "DBUser": user,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{credentials.aws_access_key_id}/{scope}",
        "X-Amz-Date": time,
        "X-Amz-Expires": str(VALID_SECONDS),
        "X-Amz-Security-Token": credentials.aws_session_token,
        "X-Amz-SignedHeaders": "host",
    }
    canonical_query = urlencode(sorted(query.items()), quote_via=quote)
    request = (
        f"GET\n/\n{canonical_query}\nhost:{host}:{port}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    )
    to_sign = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{credentials.aws_secret_access_key}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"{host}:{port}/?{canonical_query}&X-Amz-Signature={key.hex()}"
