"""Start ministack, the AWS emulator, and patch it where it differs from AWS.

This runs in the emulator's own virtual environment. Each `patch_` function replaces parts of
ministack. It first checks that they still exist and that ministack still lacks what the patch adds.
An upgrade that breaks a patch, or makes it unnecessary, therefore stops the emulator at its start,
with an error message.
"""

import argparse
import asyncio
import ctypes
import inspect
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ministack.app
from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.core import lambda_runtime
from ministack.core.responses import new_uuid
from ministack.services import ec2, lambda_svc, rds, secretsmanager, sts
from ministack.services.cloudformation import provisioners

from local.database.rds import create_master, managed_password
from local.emulator import (
    concurrency,
    control,
    database_login,
    faults,
    function_runtime,
    http_api,
)
from local.emulator.expectations import expect, expect_pinned_version, expect_private_names

DEFAULT_DATABASE = "shop"
FUNCTION_SESSION_SECONDS = 365 * 24 * 3600
RECORDED_ONLY = (
    "AWS::Budgets::Budget",
    "AWS::EC2::EgressOnlyInternetGateway",
    "AWS::EC2::FlowLog",
    "AWS::EC2::VPCCidrBlock",
    "AWS::Logs::QueryDefinition",
    "AWS::RDS::EventSubscription",
)
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
"""Numbers from Linux's headers.

A process that drops a capability from its bounding set cannot get it back.
"""
IPV6_BLOCK = "2001:db8:0:ff00::/56"
"""A block from the range that is reserved for documentation. No address in it is reachable."""

Attributes = dict[str, Any]
Handlers = dict[str, dict[str, Any]]

handlers: Handlers = provisioners._RESOURCE_HANDLERS


def patch_missing_types() -> None:
    """Accept resources of types that ministack rejects.

    CloudFormation records them, and they have no effect.
    """

    def create(logical_id: str, props: Attributes, stack_name: str) -> tuple[str, Attributes]:
        physical_id = f"{stack_name}-{logical_id}-{new_uuid()[:8]}"
        return physical_id, {"Id": physical_id}

    for name in RECORDED_ONLY:
        expect(name not in handlers, f"it has no {name}")
        handlers[name] = {"create": create, "delete": lambda physical_id, props: None}


def patch_security_group_rules() -> None:
    """Add rules that are resources of their own to their security group."""

    def permissions(props: Attributes, direction: str) -> list[Any]:
        group: dict[str, list[Any]] = ec2._security_groups.get(props["GroupId"]) or {}
        return group.setdefault(direction, [])

    def add(kind: str, direction: str) -> None:
        expect(kind not in handlers, f"it has no {kind}")

        def create(logical_id: str, props: Attributes, stack_name: str) -> tuple[str, Attributes]:
            permissions(props, direction).extend(provisioners._ec2_sg_permissions([props]))
            rule_id = f"sgr-{new_uuid().replace('-', '')[:17]}"
            return rule_id, {"Id": rule_id}

        def delete(physical_id: str, props: Attributes) -> None:
            for rule in provisioners._ec2_sg_permissions([props]):
                if rule in permissions(props, direction):
                    permissions(props, direction).remove(rule)

        handlers[kind] = {"create": create, "delete": delete}

    add("AWS::EC2::SecurityGroupIngress", "IpPermissions")
    add("AWS::EC2::SecurityGroupEgress", "IpPermissionsEgress")


def patch_vpc_attributes() -> None:
    """Support `Fn::GetAtt` with the attributes `CidrBlock` and `Ipv6CidrBlocks` of a VPC."""
    vpc = handlers["AWS::EC2::VPC"]
    create, update = vpc["create"], vpc["update"]
    expect(vpc.get("update_with_logical_id"), "it passes the logical id to the update of a VPC")

    def with_block(result: tuple[str, Attributes]) -> tuple[str, Attributes]:
        physical_id, attributes = result
        blocks = {"CidrBlock": ec2._vpcs[physical_id]["CidrBlock"], "Ipv6CidrBlocks": [IPV6_BLOCK]}
        expect(
            not attributes.keys() & blocks.keys(),
            f"its VPCs have no attributes {', '.join(blocks)}",
        )
        return physical_id, attributes | blocks

    vpc["create"] = lambda *args: with_block(create(*args))
    vpc["update"] = lambda *args: with_block(update(*args))


def patch_secret_references() -> None:
    """Make `Ref` of a secret return its ARN."""
    secret = handlers["AWS::SecretsManager::Secret"]
    create, update, delete = secret["create"], secret["update"], secret["delete"]
    expect(
        secret.get("update_with_logical_id"), "it passes the logical id to the update of a secret"
    )

    def by_arn(result: tuple[str, Attributes]) -> tuple[str, Attributes]:
        physical_id, attributes = result
        expect(physical_id != attributes["Id"], "a secret's physical id is its name")
        return attributes["Id"], attributes

    def name(arn: str) -> str:
        return secretsmanager._resolve(arn)[0] or arn

    secret["create"] = lambda *args: by_arn(create(*args))
    secret["update"] = lambda arn, *args: by_arn(update(name(arn), *args))
    secret["delete"] = lambda arn, props: delete(name(arn), props)


def patch_databases(*, mysql_cnf: Path, port: int) -> None:
    """Let each database instance refer to the local MariaDB server.

    Creating an instance creates the database, the master user and, if RDS manages the password, the
    user's secret. Deleting it deletes the secret and keeps the data.
    """
    instances = handlers["AWS::RDS::DBInstance"]
    create, attributes, delete = (
        provisioners._rds_db_instance_create,
        provisioners._rds_db_instance_attrs,
        provisioners._rds_db_instance_delete,
    )
    expect(
        instances["create"] is create and instances["delete"] is delete,
        "its DBInstance handlers are the functions that the patch replaces",
    )

    def create_with_database(
        logical_id: str, props: Attributes, stack_name: str
    ) -> tuple[str, Attributes]:
        physical_id, _ = create(logical_id, props, stack_name)
        instance = rds._instances[physical_id]
        instance["Endpoint"]["Address"] = "127.0.0.1"
        if str(props.get("ManageMasterUserPassword")).lower() == "true":
            instance["_MasterUserPassword"] = managed_password()
            instance["_SecretArn"] = store_secret(instance)
        create_master(
            mysql_cnf=mysql_cnf,
            user=instance["MasterUsername"],
            password=instance["_MasterUserPassword"],
            database=props.get("DBName") or DEFAULT_DATABASE,
        )
        return physical_id, attributes_with_secret(instance)

    def store_secret(instance: Attributes) -> str:
        login = {
            "username": instance["MasterUsername"],
            "password": instance["_MasterUserPassword"],
        }
        status, _, body = secretsmanager._create_secret(
            {"Name": f"rds!db-{new_uuid()}", "SecretString": json.dumps(login)}
        )
        if status != 200:
            raise ValueError(f"The master user's secret could not be stored: {body!r}")
        return str(json.loads(body)["ARN"])

    def attributes_with_secret(instance: Attributes) -> Attributes:
        secret = (
            {"MasterUserSecret.SecretArn": instance["_SecretArn"]}
            if "_SecretArn" in instance
            else {}
        )
        return {**attributes(instance), **secret}

    def delete_with_secret(physical_id: str, props: Attributes) -> None:
        arn = (rds._instances.get(physical_id) or {}).get("_SecretArn")
        delete(physical_id, props)
        name, secret = secretsmanager._resolve(arn)
        if secret:
            secretsmanager._purge_secret(name, secret)

    provisioners._rds_db_instance_create = instances["create"] = create_with_database
    provisioners._rds_db_instance_delete = instances["delete"] = delete_with_secret
    provisioners._rds_db_instance_attrs = attributes_with_secret
    provisioners._rds_db_instance_port = lambda props: port


def patch_function_sessions() -> None:
    """Make the credentials of functions expire after a year.

    By default they never expire, and ministack rejects a database login with such credentials.
    """
    issue = lambda_runtime.execution_credentials
    expect("Expiration" not in inspect.getsource(issue), "a function's credentials never expire")

    def with_expiration(config: Attributes) -> dict[str, str]:
        credentials: dict[str, str] = issue(config)
        sts._sessions[credentials["AWS_ACCESS_KEY_ID"]]["Expiration"] = (
            time.time() + FUNCTION_SESSION_SECONDS
        )
        return credentials

    lambda_runtime.execution_credentials = with_expiration


def patch_cors_configurations() -> None:
    """Store what an HTTP API allows to pages of other origins under the names of API Gateway.

    By default, the names of a template are stored, which begin with a capital letter.
    """
    api = handlers["AWS::ApiGatewayV2::Api"]

    def renamed(argument: Any) -> Any:
        if not isinstance(argument, dict) or not argument.get("CorsConfiguration"):
            return argument
        configuration = {
            name[0].lower() + name[1:]: value
            for name, value in argument["CorsConfiguration"].items()
        }
        return argument | {"CorsConfiguration": configuration}

    for action in ("create", "update"):
        original = api[action]
        expect(
            '["corsConfiguration"] = ' in inspect.getsource(original),
            f"its {action} of an API copies the template's configuration",
        )
        api[action] = lambda *args, original=original: original(*map(renamed, args))


def patch_metric_math() -> None:
    """Accept alarms on an expression, and record them as alarms on a metric.

    No alarm ever fires here.
    """
    alarm = handlers["AWS::CloudWatch::Alarm"]

    def without_expression(argument: Any) -> Any:
        if not isinstance(argument, dict) or "Metrics" not in argument:
            return argument
        return {
            "MetricName": "expression",
            "Namespace": "expression",
            "Statistic": "Sum",
            "Period": 300,
        } | {name: value for name, value in argument.items() if name != "Metrics"}

    for action in ("create", "update"):
        expect(callable(alarm.get(action)), f"it can {action} an alarm")
        original = alarm[action]
        alarm[action] = lambda *args, original=original: original(*map(without_expression, args))


def patch_transport() -> None:
    """Treat http requests as encrypted in policies that require `aws:SecureTransport`."""
    pin = ministack.app.pin_request_origin
    expect(
        pin.__code__.co_varnames[:2] == ("source_ip", "secure_transport"),
        "pin_request_origin takes source_ip and secure_transport",
    )
    ministack.app.pin_request_origin = lambda source_ip, secure_transport: pin(source_ip, True)


def patch_function_runtime() -> None:
    """Run Python functions under AWS's own runtime client instead of ministack's worker script."""
    expect(
        "awslambdaric" not in inspect.getsource(lambda_runtime),
        "it does not use AWS's runtime client itself",
    )
    expect(
        lambda_runtime._worker_class_for({"Runtime": "python3.14"}) is lambda_runtime.Worker,
        "it runs Python functions in a Worker",
    )
    for name, members in {
        "_worker_class_for": "Worker ProvidedWorker",
        "ensure_spawned": "_lock _proc poll _spawn _cold",
        "kill_workers": "_proc _signal _discard_tmpdir",
        "_signal": "terminate",
    }.items():
        source = inspect.getsource(getattr(lambda_runtime, name))
        expect(all(member in source for member in members.split()), f"{name} uses {members}")
    run_provided = inspect.getsource(lambda_svc._execute_function_provided_warm)
    expect(
        "error_payload" in run_provided and "invoked_function_arn=" in run_provided,
        "workers of custom runtimes return AWS's errors",
    )
    expect(
        "_execute_function_warm(func, event, request_id)" in inspect.getsource(lambda_svc),
        "it calls _execute_function_warm to run a function",
    )
    function_runtime.install()


def patch_concurrency(*, limit: int) -> None:
    """Let each function run at most `limit` invocations at the same time."""
    acquire, execute = (
        inspect.getsource(getattr(lambda_svc, name))
        for name in ("_acquire_execution_slot", "_execute_function")
    )
    expect("_inflight_key(config)" in acquire, "its slots are those of _inflight_key")
    expect(".wait(" not in acquire, "it throttles at once")
    expect(
        "_acquire_execution_slot(func, config)" in execute
        and "_release_execution_slot(slot)" in execute,
        "each invocation takes a slot and releases it",
    )
    concurrency.install(limit)


def drop_root_override() -> None:
    """Make file permissions apply to functions even when root runs the emulator.

    Without this, functions could write to their read-only code.
    """
    if sys.platform == "linux" and os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        expect(
            libc.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) == 0,
            "root may drop a capability",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("port", "api-port", "mysql-port", "max-workers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--mysql-cnf", type=Path, required=True)
    arguments = parser.parse_args()

    expect_pinned_version()
    expect_private_names()
    patch_missing_types()
    patch_security_group_rules()
    patch_vpc_attributes()
    patch_secret_references()
    patch_databases(mysql_cnf=arguments.mysql_cnf, port=arguments.mysql_port)
    patch_function_sessions()
    patch_cors_configurations()
    patch_metric_math()
    patch_transport()
    patch_function_runtime()
    patch_concurrency(limit=arguments.max_workers)
    drop_root_override()

    emulator = control.with_control(
        database_login.with_logins(faults.with_faults(ministack.app.app))
    )

    async def app(
        scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        to_api = scope["type"] != "lifespan" and scope["server"][1] == arguments.api_port
        await (http_api.app if to_api else emulator)(scope, receive, send)

    config = Config()
    config.bind = [f"127.0.0.1:{arguments.port}", f"127.0.0.1:{arguments.api_port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    try:
        asyncio.run(serve(app, config))
    finally:
        lambda_runtime.reset()


if __name__ == "__main__":
    main()
