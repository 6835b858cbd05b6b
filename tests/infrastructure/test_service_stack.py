"""The functions, the HTTP API, and what invokes the functions."""

import ast
import importlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from common import deadline, environment
from migrate.handler import MIGRATION_SECONDS
from operations import operate
from settings import (
    DATABASE_PARAMETERS,
    DATABASE_USERS,
    ENVIRONMENTS,
    LAMBDAS,
    LOG_RETENTION_DAYS,
    PROJECT,
    REGION,
    ManagedDatabase,
    Settings,
    pascal_case,
)
from tests.support.assembly import Assembly, construct, synth
from tests.support.bad_input import DOCUMENT
from tests.support.environments import login
from tests.support.variables import LOGIN, set_variables

FUNCTIONS = sorted(handler.parent.name for handler in LAMBDAS.glob("*/handler.py"))
ROUTES = {
    "GET /product/{slug}": "sales",
    "POST /checkout": "sales",
    "POST /product/{slug}": "restock",
    "GET /order/{order_id}": "sales",
    "$default": "sales",
}
SDK_VARIABLES = {"AWS_ENDPOINT_URL_SNS"}
"""Read by the AWS SDK itself, in the functions that publish."""
UNREAD_VARIABLES = {"database_generation"}
"""Read by no function: a new value makes CloudFormation update the functions after a restore."""
MEMORY_MIB = {"sales": 1024, "relay": 1024, "migrate": 512}
"""Function → memory, where it is not 256 MiB.

The share of a processor grows with the memory. With 256 MiB, the first publication of a cold
function took 2.5 s, longer than a checkout waits for it; with 1,024 MiB it took 0.6 s.
"""
INVOKED_BY_PEOPLE = {"operate"}
"""Functions that operators' commands invoke, with IAM only."""
GATEWAY_TIMEOUT = 30
"""The limit of an HTTP API, in seconds."""


# --- the functions and their code


def test_each_folder_is_a_function(assembly: Assembly) -> None:
    for name in FUNCTIONS:
        assert name in assembly.functions(), (
            f"lambdas/{name} has a handler, but stacks/service_stack.py does not create the function"
        )
    for name in assembly.functions():
        assert name in FUNCTIONS, f"lambdas/{name} has no handler.py"


def test_construct_is_named_after_its_folder(assembly: Assembly) -> None:
    for id, properties in assembly.each("AWS::Lambda::Function"):
        if name := properties.get("FunctionName"):
            assert construct(id) == pascal_case(assembly.settings.function_of(name)), id


@pytest.mark.parametrize("function", FUNCTIONS)
def test_handler_is_in_the_package(function: str, assembly: Assembly) -> None:
    module, _, name = assembly.functions()[function]["Handler"].rpartition(".")
    source = assembly.asset(function) / f"{module.replace('.', '/')}.py"
    defined = [
        node.name
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert name in defined


def files(root: Path, *folders: str) -> set[str]:
    """Return the files below these folders, relative to the root, without Python's caches."""
    found = (path for folder in folders for path in (root / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(root)) for path in found if "__pycache__" not in path.parts}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_package_holds_the_function_and_common_only(function: str, assembly: Assembly) -> None:
    package = assembly.asset(function)
    packed = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert packed == files(LAMBDAS, function, "common")


def test_every_function_imports_from_the_one_layer(assembly: Assembly) -> None:
    layer, _ = assembly.one("AWS::Lambda::LayerVersion")
    for name, function in assembly.functions().items():
        assert [assembly.origin(used) for used in function["Layers"]] == [layer], name


def test_layer_is_pinned_and_hashed() -> None:
    text = (LAMBDAS / "requirements.txt").read_text().replace("\\\n", " ")
    requirements = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    packages = {requirement.partition("==")[0] for requirement in requirements}
    assert packages >= {"pymysql", "requests"}
    for requirement in requirements:
        pinned = re.match(r"[a-z0-9-]+==[\d.]+ .*--hash=sha256:[0-9a-f]{64}", requirement)
        assert pinned, requirement


def test_each_function_has_its_memory(assembly: Assembly) -> None:
    for name, function in assembly.functions().items():
        assert function["MemorySize"] == MEMORY_MIB.get(name, 256), name


def test_timeouts_nest(assembly: Assembly) -> None:
    timeout = {name: function["Timeout"] for name, function in assembly.functions().items()}
    request = deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT + deadline.RESERVE
    assert request <= 5
    assert float(DATABASE_PARAMETERS["innodb_lock_wait_timeout"]) < deadline.FIRST_ATTEMPT
    for name in set(ROUTES.values()):
        assert 5 < timeout[name] < GATEWAY_TIMEOUT, name
    assert timeout["sales"] == timeout["restock"]
    assert timeout["relay"] < 60
    assert deadline.OPERATOR_READ + 10 <= timeout["operate"] < operate.PATIENT.read_timeout
    _, migration = assembly.one("Custom::Trigger")
    assert timeout["migrate"] == MIGRATION_SECONDS + 60
    assert timeout["migrate"] + 60 == int(migration["Timeout"]) / 1000
    assert float(assembly.variables("consumer")["FACTORY_DEADLINE"]) < timeout["consumer"]


# --- the functions' variables


def variables_of(function: str) -> tuple[Field[Any], ...]:
    """Return the variables that a function declares in common/environment.py."""
    name = pascal_case(function)
    declared = getattr(environment, name, None)
    assert declared, f"lambdas/common/environment.py lacks the class {name} for lambdas/{function}"
    return fields(declared)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_variables_are_those_that_the_function_declares(function: str, assembly: Assembly) -> None:
    declared = variables_of(function)
    given = {name for name in assembly.variables(function) if name not in SDK_VARIABLES}
    required = {field.name.upper() for field in declared if field.default is MISSING}
    assert not required - given, (
        f"stacks/service_stack.py gives {function} no value for {sorted(required - given)}"
    )
    unknown = given - {field.name.upper() for field in declared}
    assert not unknown, (
        f"{pascal_case(function)} in lambdas/common/environment.py does not declare "
        f"{sorted(unknown)}"
    )


def test_settings_that_functions_get_exist() -> None:
    """Synthesis would fail in every test, without a word on what to do."""
    names = {field.name for field in fields(Settings)}
    source = (PROJECT / "stacks/service_stack.py").read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("settings.variables"):
            for argument in node.args:
                name = ast.literal_eval(argument)
                assert name in names, (
                    f"settings.py: Settings has no {name}, which stacks/service_stack.py reads"
                )


def attributes(*folders: str) -> Iterator[str]:
    """Yield the name of each attribute that the code in these folders of lambdas/ reads."""
    for folder in folders:
        for source in (LAMBDAS / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text())):
                if isinstance(node, ast.Attribute):
                    yield node.attr


@pytest.mark.parametrize("function", FUNCTIONS)
def test_declared_variables_are_read(function: str) -> None:
    declared = {field.name for field in variables_of(function)} - UNREAD_VARIABLES
    unread = declared - set(attributes(function, "common"))
    assert not unread, f"lambdas/{function} does not read {sorted(unread)}: remove it, or use it"


def test_variable_named_after_a_setting_has_its_value(assembly: Assembly) -> None:
    """A value from another setting, or from none, would reach the function unnoticed."""
    settings = {field.name.upper(): field.name for field in fields(Settings)}
    for function in assembly.functions():
        for name, value in assembly.variables(function).items():
            assert value != "None", f"{function}: {name} is the text of a missing value"
            setting = settings.get(name)
            if setting and getattr(assembly.settings, setting) is not None:
                expected = str(getattr(assembly.settings, setting))
                assert value == expected, f"{function}: {name} is not settings.{setting}"


def test_publishers_use_the_sns_endpoint_of_the_settings(assembly: Assembly) -> None:
    for name in assembly.functions():
        variables = assembly.variables(name)
        publishes = "STOCK_EMPTY_TOPIC_ARN" in variables
        endpoint = assembly.settings.sns_endpoint if publishes else None
        assert variables.get("AWS_ENDPOINT_URL_SNS") == endpoint, name


def test_no_other_service_has_an_endpoint_of_its_own(assembly: Assembly) -> None:
    """AWS_USE_DUALSTACK_ENDPOINT gives Secrets Manager a host name that did not exist."""
    for name in assembly.functions():
        sdk = {variable for variable in assembly.variables(name) if variable.startswith("AWS_")}
        assert sdk <= SDK_VARIABLES, name


# --- the database


def test_functions_with_a_database_have_a_user_each(assembly: Assembly) -> None:
    """The migration logs in as the master user, and creates the others."""
    assert assembly.database_functions() - {"migrate"} == set(DATABASE_USERS), (
        "lambdas/migrate/database_users.json lists one user per function with a database"
    )


LOGIN_VARIABLES = {"DATABASE_USER", "DATABASE_SECRET_ARN", "USER_SECRET_ARNS"}
LOGINS: dict[str, dict[str, dict[str, str]]] = {
    "iam": {
        "sales": {"DATABASE_USER": "shop_sales"},
        "restock": {"DATABASE_USER": "shop_restock"},
        "operate": {"DATABASE_USER": "shop_operate"},
        "relay": {"DATABASE_USER": "shop_relay"},
        "migrate": {"DATABASE_SECRET_ARN": "Database"},
        "consumer": {},
    },
    "secret": {
        "sales": {"DATABASE_SECRET_ARN": "SalesSecret"},
        "restock": {"DATABASE_SECRET_ARN": "RestockSecret"},
        "operate": {"DATABASE_SECRET_ARN": "OperateSecret"},
        "relay": {"DATABASE_SECRET_ARN": "RelaySecret"},
        "migrate": {
            "DATABASE_SECRET_ARN": "Database",
            "USER_SECRET_ARNS": "SalesSecret,RestockSecret,OperateSecret,RelaySecret",
        },
        "consumer": {},
    },
}


def origins(assembly: Assembly, value: Any) -> str:
    """Return a user's name as it is, and the ARNs of secrets as the ids of their constructs."""
    if isinstance(value, str):
        return assembly.origin(value) if value.startswith("arn:") else value
    is_list = "Fn::Join" in value and "," in value["Fn::Join"][1]
    parts = value["Fn::Join"][1] if is_list else [value]
    return "".join(
        part if isinstance(part, str) else construct(assembly.origin(part)) for part in parts
    )


def test_each_function_gets_its_own_login(assembly: Assembly) -> None:
    logins = {
        function: {
            name: origins(assembly, value)
            for name, value in assembly.variables(function).items()
            if name in LOGIN_VARIABLES
        }
        for function in assembly.functions()
    }
    assert logins == LOGINS[login(assembly.settings)], (
        "LOGINS in this test lists the login of every function"
    )


def test_migration_runs_before_every_function_with_a_database(assembly: Assembly) -> None:
    trigger, migration = assembly.one("Custom::Trigger")
    versions = assembly.resources("AWS::Lambda::Version")
    version = versions[assembly.origin(migration["HandlerArn"])]
    assert assembly.function_at(version["Properties"]["FunctionName"]) == "migrate"
    functions = {
        assembly.settings.function_of(resource["Properties"].get("FunctionName", "")): resource
        for resource in assembly.resources("AWS::Lambda::Function").values()
    }
    for name in assembly.database_functions() - {"migrate"}:
        assert trigger in functions[name]["DependsOn"], (
            f"{name} may be deployed before its tables exist: add it with _add_database_function"
        )


def add_to(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def cheaper_donut(migrate: Path) -> None:
    file = migrate / "catalogue.toml"
    text = file.read_text()
    assert text.count("price = 19900") == 1
    file.write_text(text.replace("price = 19900", "price = 19800"))


CHANGES: dict[str, Callable[[Path], None]] = {
    "price": cheaper_donut,
    "migration": lambda migrate: add_to(migrate / "migrations/0001_factory.sql", "-- a remark\n"),
    "procedure": lambda migrate: add_to(migrate / "procedures/restock.sql", "-- a remark\n"),
    "users": lambda migrate: add_to(migrate / "database_users.json", "\n"),
}
"""What is changed → how, in the folder of the migration."""


def migration_version(assembly: Assembly) -> str:
    """Return the logical id of the version that the trigger runs.

    CloudFormation runs the trigger when the version that it refers to is another one.
    """
    _, trigger = assembly.one("Custom::Trigger")
    return assembly.origin(trigger["HandlerArn"])


def test_migration_runs_again_when_what_it_applies_changes(
    assembly_of: Callable[[str], Assembly], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder has all of that: a file elsewhere would not be a part of its code."""
    deployed = migration_version(assembly_of("local"))
    versions = {}
    for name, change in {"nothing": lambda migrate: None, **CHANGES}.items():
        lambdas = tmp_path / name / "lambdas"
        shutil.copytree(LAMBDAS, lambdas)
        change(lambdas / "migrate")
        monkeypatch.setattr("stacks.function.LAMBDAS", lambdas)
        versions[name] = migration_version(synth(ENVIRONMENTS["local"], tmp_path / name / "out"))
    assert versions.pop("nothing") == deployed
    for name, version in versions.items():
        assert version != deployed, f"{name} would be applied to new databases only"
    assert len(set(versions.values())) == len(CHANGES)


def test_migration_runs_again_on_a_restored_database(
    assembly_of: Callable[[str], Assembly], tmp_path: Path
) -> None:
    dev = ENVIRONMENTS["dev"]
    assert isinstance(dev.database, ManagedDatabase)
    versions = [migration_version(assembly_of("dev"))]
    for snapshot in ("last-night", "last-week"):
        settings = replace(dev, database=replace(dev.database, snapshot=snapshot))
        versions.append(migration_version(synth(settings, tmp_path / snapshot)))
    assert len(set(versions)) == len(versions), versions


def test_only_functions_with_a_database_run_inside_a_network(assembly: Assembly) -> None:
    inside = {name for name, function in assembly.functions().items() if "VpcConfig" in function}
    assert inside == assembly.database_functions(), "only these need it"


def test_functions_with_a_database_run_inside_its_network(managed: Assembly) -> None:
    """tests/infrastructure/test_data_stack.py has the network of a database that exists already."""
    client, _ = managed.one("AWS::EC2::SecurityGroup", "Client")
    subnets = set(managed.resources("AWS::EC2::Subnet"))
    for name in managed.database_functions():
        network = managed.functions()[name]["VpcConfig"]
        assert [managed.origin(group) for group in network["SecurityGroupIds"]] == [client], name
        assert {managed.origin(subnet) for subnet in network["SubnetIds"]} <= subnets, name


# --- the HTTP API


def routes(assembly: Assembly) -> dict[str, str]:
    """Return the API's routes, each with the function that it leads to."""
    integrations = dict(assembly.each("AWS::ApiGatewayV2::Integration"))
    return {
        route["RouteKey"]: assembly.function_at(
            integrations[assembly.origin(route["Target"])]["IntegrationUri"]
        )
        for _, route in assembly.each("AWS::ApiGatewayV2::Route")
    }


def test_routes_lead_where_the_contract_says(assembly: Assembly) -> None:
    assert routes(assembly) == ROUTES, (
        "a new route is in stacks/service_stack.py, docs/openapi.yaml, ROUTES of the handler, "
        "and ROUTES of this test"
    )


def assert_handles_its_routes(
    function: str, assembly: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that a handler's ROUTES has the routes that lead to it.

    A handler with one route needs no ROUTES. $default is what ROUTES lacks, and the handler's 404.
    """
    set_variables(monkeypatch, **LOGIN)
    led = {route for route, leads_to in routes(assembly).items() if leads_to == function}
    table = getattr(importlib.import_module(f"{function}.handler"), "ROUTES", None)
    assert table is not None or len(led) == 1, (
        f"lambdas/{function}/handler.py does not look at the route, but {len(led)} lead to it: "
        "give it a table ROUTES, as lambdas/sales/handler.py has"
    )
    assert table is None or set(table) == led - {"$default"}, (
        f"ROUTES in lambdas/{function}/handler.py and the routes in stacks/service_stack.py differ: "
        "add the route's function to ROUTES, or remove its entry"
    )


def test_functions_handle_each_of_their_routes(
    assembly: Assembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in sorted(set(routes(assembly).values())):
        assert_handles_its_routes(function, assembly, monkeypatch)


def test_events_have_payload_format_2(assembly: Assembly) -> None:
    for id, integration in assembly.each("AWS::ApiGatewayV2::Integration"):
        assert integration["PayloadFormatVersion"] == "2.0", id


def test_no_origin_is_allowed_by_default(assembly: Assembly) -> None:
    _, api = assembly.one("AWS::ApiGatewayV2::Api")
    assert "CorsConfiguration" not in api


def test_pages_of_the_allowed_origins_may_use_what_is_documented(tmp_path: Path) -> None:
    origins = ("https://shop.test", "http://localhost:5173")
    settings = replace(ENVIRONMENTS["dev"], allowed_origins=origins)
    _, api = synth(settings, tmp_path).one("AWS::ApiGatewayV2::Api")
    operations = [
        (method, operation)
        for path in DOCUMENT["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]
    sent = {
        parameter["name"].lower()
        for _, operation in operations
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "header"
    }
    returned = {
        header.lower()
        for response in DOCUMENT["components"]["responses"].values()
        for header in response.get("headers", ())
    }
    allowed = api["CorsConfiguration"]
    assert allowed["AllowOrigins"] == list(origins)
    assert set(allowed["AllowMethods"]) == {method.upper() for method, _ in operations}
    assert set(allowed["AllowHeaders"]) == {"content-type"} | sent
    assert set(allowed["ExposeHeaders"]) == returned
    assert 0 < allowed["MaxAge"] <= 24 * 3600
    assert "AllowCredentials" not in allowed


def test_stage_is_throttled_as_the_settings_say(assembly: Assembly) -> None:
    _, stage = assembly.one("AWS::ApiGatewayV2::Stage")
    throttles = {"*": stage["DefaultRouteSettings"], **stage["RouteSettings"]}
    assert throttles == {
        route: {"ThrottlingRateLimit": throttle.rate, "ThrottlingBurstLimit": throttle.burst}
        for route, throttle in {
            "*": assembly.settings.throttle,
            "POST /product/{slug}": assembly.settings.callback_throttle,
        }.items()
    }


def test_access_log_holds_no_callback_token(assembly: Assembly) -> None:
    _, stage = assembly.one("AWS::ApiGatewayV2::Stage")
    logged = set(json.loads(stage["AccessLogSettings"]["Format"]).values())
    assert "$context.status" in logged
    for variable in logged:
        assert not re.search(r"(?i)path|query|protocol|params|header", variable), variable


# --- what invokes the functions


def test_each_function_is_invoked(assembly: Assembly) -> None:
    mappings = assembly.each("AWS::Lambda::EventSourceMapping")
    rules = assembly.each("AWS::Events::Rule")
    versions = assembly.resources("AWS::Lambda::Version")
    triggered = {
        assembly.function_at(
            versions[assembly.origin(trigger["HandlerArn"])]["Properties"]["FunctionName"]
        )
        for _, trigger in assembly.each("Custom::Trigger")
    }
    invoked = {
        *routes(assembly).values(),
        *(assembly.function_at(mapping["FunctionName"]) for _, mapping in mappings),
        *(assembly.function_at(target["Arn"]) for _, rule in rules for target in rule["Targets"]),
        *triggered,
    }
    assert invoked.isdisjoint(INVOKED_BY_PEOPLE)
    for name in assembly.functions().keys() - INVOKED_BY_PEOPLE:
        assert name in invoked, (
            f"nothing invokes {name}: add a route, a rule or an event source in "
            "stacks/service_stack.py"
        )


def test_no_policy_of_a_function_lets_anybody_else_invoke_it(assembly: Assembly) -> None:
    """A resource's policy could let in another account or service, whatever IAM says."""
    for id, permission in assembly.each("AWS::Lambda::Permission"):
        assert assembly.function_at(permission["FunctionName"]) not in INVOKED_BY_PEOPLE, id
    assert not assembly.resources("AWS::Lambda::Url")


def test_consumer_reports_the_messages_that_failed(assembly: Assembly) -> None:
    _, mapping = assembly.one("AWS::Lambda::EventSourceMapping", "Consumer")
    queue, _ = assembly.one("AWS::SQS::Queue", "StockQueue")
    assert assembly.origin(mapping["EventSourceArn"]) == queue
    assert assembly.function_at(mapping["FunctionName"]) == "consumer"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    concurrency = mapping["ScalingConfig"]["MaximumConcurrency"]
    assert concurrency == assembly.settings.consumer_concurrency


def test_relay_runs_each_minute(assembly: Assembly) -> None:
    _, rule = assembly.one("AWS::Events::Rule", "EachMinute")
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert rule["State"] == "ENABLED"
    assert [assembly.function_at(target["Arn"]) for target in rule["Targets"]] == ["relay"]


def test_failed_relay_run_is_not_repeated_later(assembly: Assembly) -> None:
    """By default Lambda retries twice, and keeps events for six hours.

    After an outage, 360 runs would start at once.
    """
    _, config = assembly.one("AWS::Lambda::EventInvokeConfig", "Relay")
    assert assembly.function_at(config["FunctionName"]) == "relay"
    assert config["MaximumRetryAttempts"] == 0
    assert config["MaximumEventAgeInSeconds"] == 60
    assert config["Qualifier"] == "$LATEST"


# --- the logs


def test_functions_log_json_at_info_and_above(assembly: Assembly) -> None:
    """Botocore's debug log holds whole requests, with the requester's name and the callback's token.

    The system's INFO is needed: duration, memory and cold starts are in `platform.report`, which
    WARN leaves out.
    """
    for name, function in assembly.functions().items():
        config = function["LoggingConfig"]
        assert config["SystemLogLevel"] == "INFO", name
        assert config["ApplicationLogLevel"] == "INFO", name
        assert config["LogFormat"] == "JSON", name


def test_each_function_logs_to_the_group_of_its_name(assembly: Assembly) -> None:
    """`make logs` composes this name, instead of looking for the group."""
    groups = dict(assembly.each("AWS::Logs::LogGroup"))
    for name, function in assembly.functions().items():
        group = groups[assembly.origin(function["LoggingConfig"]["LogGroup"])]
        assert group["LogGroupName"] == f"/donut-shop/{assembly.name}/{name}", name


def test_log_groups_have_a_retention(assembly: Assembly) -> None:
    for id, group in assembly.each("AWS::Logs::LogGroup"):
        assert group.get("RetentionInDays"), id
        if "LogGroupName" in group:
            assert group["RetentionInDays"] == assembly.settings.log_retention_days, id


def test_settings_allow_the_retentions_that_cloudwatch_allows() -> None:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, "AWS::Logs::LogGroup").schema
    assert list(LOG_RETENTION_DAYS) == schema["properties"]["RetentionInDays"]["enum"]


def test_access_log_group_has_the_prefix_of_delivered_logs(assembly: Assembly) -> None:
    """One line of the account's resource policy covers /aws/vendedlogs.

    Other names need a line each, and the policy is limited to 5,120 characters.
    """
    _, group = assembly.one("AWS::Logs::LogGroup", "AccessLogs")
    assert group["LogGroupName"] == f"/aws/vendedlogs/donut-shop-{assembly.name}"
