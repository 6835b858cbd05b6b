"""Functions deployed to a local cloud without the CDK."""

import io
import json
import zipfile
from typing import Any

from local.cloud import ACCOUNT, Cloud

ROLE = f"arn:aws:iam::{ACCOUNT}:role/tried"


def archive(**modules: str) -> bytes:
    """Return a ZIP archive of Python modules, as Lambda takes it.

    A name with `__` is a path: `a__b` is a/b.py.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        for name, source in modules.items():
            opened.writestr(f"{name.replace('__', '/')}.py", source)
    return content.getvalue()


def create_function(cloud: Cloud, name: str, code: bytes, **configuration: Any) -> str:
    """Create a function that logs JSON to the group of its name, and return its ARN."""
    iam = cloud.client("iam")
    if not any(role["RoleName"] == "tried" for role in iam.list_roles()["Roles"]):
        iam.create_role(RoleName="tried", AssumeRolePolicyDocument=json.dumps({"Statement": []}))
    defaults = {
        "FunctionName": name,
        "Role": ROLE,
        "Runtime": "python3.14",
        "Code": {"ZipFile": code},
    }
    logging_config = {"LogFormat": "JSON", "LogGroup": name}
    logging_config |= configuration.pop("LoggingConfig", {})
    function = cloud.client("lambda").create_function(
        **defaults | configuration, LoggingConfig=logging_config
    )
    return str(function["FunctionArn"])


def log_messages(cloud: Cloud, group: str) -> list[str]:
    """Return all messages in a log group."""
    pages = cloud.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    return [event["message"] for page in pages for event in page["events"]]


def log_lines(cloud: Cloud, group: str) -> list[dict[str, Any]]:
    """Return the lines that a function has logged, without Lambda's own."""
    lines = [
        json.loads(message) for message in log_messages(cloud, group) if message.startswith("{")
    ]
    return [line for line in lines if "level" in line]


def system_events(cloud: Cloud, group: str) -> list[dict[str, Any]]:
    """Return Lambda's own events in a function's log."""
    lines = [
        json.loads(message) for message in log_messages(cloud, group) if message.startswith("{")
    ]
    return [line for line in lines if "record" in line]
