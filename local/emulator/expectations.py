"""Check what the emulator's code expects of ministack.

After an upgrade that does not meet an expectation, the emulator stops at its start.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from inspect import signature
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.in")
DICTIONARY = None
"""The entry of a private name that is a dictionary; a function has its parameters as its entry."""
PRIVATE_NAMES: dict[str, dict[str, str | None]] = {
    "ministack.core.lambda_runtime": {
        "_account_region_from_function_config": "config",
        "_worker_class_for": "config",
    },
    "ministack.services.apigateway": {
        "_apis": DICTIONARY,
        "_extract_lambda_ref_from_integration_uri": "uri",
        "_extract_path_params": "route_path request_path",
        "_integrations": DICTIONARY,
        "_match_route": "api_id method path",
        "_v2_request_body_is_text": "content_type",
    },
    "ministack.services.cloudformation.provisioners": {
        "_RESOURCE_HANDLERS": DICTIONARY,
        "_ec2_sg_permissions": "rules",
        "_rds_db_instance_attrs": "instance",
        "_rds_db_instance_create": "logical_id props stack_name",
        "_rds_db_instance_delete": "physical_id props",
        "_rds_db_instance_port": "props",
    },
    "ministack.services.cloudwatch_logs": {
        "_create_log_group": "data",
        "_create_log_stream": "data",
        "_put_log_events": "data",
    },
    "ministack.services.ec2": {
        "_security_groups": DICTIONARY,
        "_vpcs": DICTIONARY,
    },
    "ministack.services.lambda_svc": {
        "_acquire_execution_slot": "func config",
        "_emit_lambda_logs": "func request_id log_text error duration_ms log_source",
        "_execute_function_provided_warm": "func event request_id",
        "_execute_function_warm": "func event request_id",
        "_execute_function_with_config_scope": "func event",
        "_execution_record_for_config": "func config",
        "_get_func_record_for_ref": "function_ref",
        "_inflight_key": "config",
        "_invoke": "name event headers path_qualifier query_params",
        "_release_execution_slot": "key",
        "_resolve_layer_zip": "attachment",
        "_run_with_function_config_scope": "func_or_config callback args kwargs",
    },
    "ministack.services.rds": {
        "_instances": DICTIONARY,
    },
    "ministack.services.secretsmanager": {
        "_create_secret": "data",
        "_purge_secret": "key secret",
        "_resolve": "secret_id use_arn_scope",
    },
    "ministack.services.sqs": {
        "_queues": DICTIONARY,
    },
    "ministack.services.sts": {
        "_sessions": DICTIONARY,
    },
}
"""Every private name of ministack that this package uses, with the parameters of each function."""


def expect(condition: object, expectation: str) -> None:
    """End the process with an error message unless the condition holds.

    expectation: a sentence about ministack, for the message.
    """
    if not condition:
        sys.exit(
            f"ministack {version('ministack')} does not meet an expectation of local/emulator:"
            f" {expectation}"
        )


def expect_pinned_version() -> None:
    """Expect the version that requirements.in pins: the patches were written for it."""
    pinned = f"ministack=={version('ministack')}"
    expect(
        pinned in REQUIREMENTS.read_text().splitlines(), "its version is that of requirements.in"
    )


def expect_private_names() -> None:
    """Expect every private name, and the parameters of each function."""
    for module_name, names in PRIVATE_NAMES.items():
        module = import_module(module_name)
        for name, parameters in names.items():
            found = getattr(module, name, None)
            if parameters is DICTIONARY:
                expect(hasattr(found, "get"), f"{module_name}.{name} is a dictionary")
            else:
                expect(
                    callable(found) and " ".join(signature(found).parameters) == parameters,
                    f"{module_name}.{name} is a function of: {parameters}",
                )
