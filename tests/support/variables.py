"""Environment variables of the functions, for tests that run the handlers outside Lambda."""

from dataclasses import MISSING, fields, is_dataclass

import pytest

from common import environment
from settings import ENVIRONMENTS, PROJECT, Settings

LOGIN = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_REGION": "ap-northeast-2",
    "AWS_DEFAULT_REGION": "ap-northeast-2",
    "DATABASE_HOST": "database.test",
    "DATABASE_PORT": "13306",
    "DATABASE_NAME": "shop",
    "DATABASE_CA_FILE": str(PROJECT / "lambdas/rds-ca-ap-northeast-2.pem"),
}
"""Credentials and a database that do not exist, for tests without either.

Tests with a database have its address in their environment already: `shop_on` sets it.
"""
STATED = {
    "STOCK_EMPTY_TOPIC_ARN": "arn:aws:sns:ap-northeast-2:000000000000:stock_empty_test",
    "MAX_QUANTITY": "1000",
    "PUBLISH_WITHIN": "30",
    "OVERDUE_AFTER": "900",
    "MAX_REMINDERS": "3",
    "IDEMPOTENCY_RETENTION": "172800",
    "REQUESTER_RETENTION": "7776000",
    "FACTORY_URL": "http://factory.test/api/manufactures",
    "FACTORY_DEADLINE": "13",
    "PUBLIC_URL": "https://shop.test",
    "STOCK_QUEUE_URL": "https://sqs.test/stock_queue",
    "RETRY_DELAY": "90",
    "MAX_RECEIVES": "5",
}
"""What is not a setting, and the settings whose values tests rely on."""
REQUIRED = {
    field.name
    for cls in vars(environment).values()
    if is_dataclass(cls)
    for field in fields(cls)
    if field.default is MISSING
}
"""What the functions read and have no default for."""
OTHERS = {
    name
    for name in REQUIRED & {field.name for field in fields(Settings)}
    if name.upper() not in LOGIN | STATED
}
"""The settings that need no entry above."""
VARIABLES = ENVIRONMENTS["dev"].variables(*sorted(OTHERS)) | STATED
"""What all tests set."""


def set_variables(patch: pytest.MonkeyPatch, **others: str) -> None:
    """Set VARIABLES, and others in addition or in their place."""
    missing = {name.upper() for name in REQUIRED} - {*LOGIN, *VARIABLES}
    assert not missing, (
        f"a function reads {sorted(missing)}: add the setting to settings.py, or if it is not a"
        " setting, add a value to STATED in tests/support/variables.py"
    )
    for name, value in (VARIABLES | others).items():
        patch.setenv(name, value)
