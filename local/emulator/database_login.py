"""Accept or reject database logins with IAM tokens, as RDS does.

MariaDB sends them through `pam_helper.py`.
"""

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

from ministack.core.iam_evaluator import AuthError, EvalContext, evaluate, resolve_principal
from ministack.core.rds_iam import RdsIamTokenError, verify_rds_iam_token
from ministack.core.responses import request_scope
from ministack.services import rds

from local.database.pam_helper import PATH
from local.emulator.faults import App, read_body, send_response

log = logging.getLogger("iam")


def with_logins(app: App) -> App:
    """Return the app with a route for database logins: 204 accepts a login, 403 rejects it."""
    account, region = os.environ["MINISTACK_ACCOUNT_ID"], os.environ["MINISTACK_REGION"]

    async def wrapped(
        scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any
    ) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            return await app(scope, receive, send)
        user = dict(scope["headers"])[b"database-user"].decode()
        token = (await read_body(receive)).decode(errors="replace")
        with request_scope(account, region):
            problems = [
                _problem(instance, user, token, account, region)
                for instance in rds._instances.values()
            ]
        if None not in problems:
            log.warning("login of %s rejected: %s", user, problems)
        await send_response(send, 204 if None in problems else 403)

    return wrapped


def _problem(
    instance: dict[str, Any], user: str, token: str, account: str, region: str
) -> str | None:
    """Return why the instance rejects the token, or None if it accepts it."""
    if not instance["IAMDatabaseAuthenticationEnabled"]:
        return "IAM authentication is off"
    endpoint = instance["Endpoint"]
    verified = verify_rds_iam_token(
        token,
        hostname=endpoint["Address"],
        port=endpoint["Port"],
        db_user=user,
        region=region,
        account_id=account,
    )
    if isinstance(verified, RdsIamTokenError):
        return verified.code
    principal = resolve_principal(verified.access_key_id, account)
    if isinstance(principal, AuthError):
        return principal.code
    resource = f"arn:aws:rds-db:{region}:{account}:dbuser:{instance['DbiResourceId']}/{user}"
    context = EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action="rds-db:connect",
        resource_arn=resource,
        region=region,
        principal_keys=principal.keys,
    )
    if (
        principal.policies is None
        or evaluate(context, principal.policies, *principal.limits).decision == "Allow"
    ):
        return None
    return f"{principal.arn} may not connect to {resource}"
