import ast
import json
import re
from dataclasses import MISSING, fields
from typing import Any

import pytest

from common import deadline, environment
from settings import DATABASE_PARAMETERS, ENVIRONMENTS
from stacks.function import LAMBDAS
from tests.support.assembly import Assembly, construct

FUNCTIONS = sorted(handler.parent.name for handler in LAMBDAS.glob("*/handler.py"))
ROUTES = {
    "GET /product/{slug}": "Sales",
    "POST /checkout": "Sales",
    "POST /product/{slug}": "Restock",
    "GET /order/{order_id}": "Sales",
    "$default": "Sales",
}
SDK_VARIABLES = {"AWS_ENDPOINT_URL_SNS"}
"""Read by the AWS SDK itself, in the functions that publish."""
MEMORY_MIB = {"sales": 1024, "relay": 1024, "migrate": 512, "restock": 256, "consumer": 256}
"""Lambda's share of a processor grows with the memory: at 256 MiB, the first publication of a cold function took
2.5 s, longer than a checkout waits for it; at 1,024 MiB, 0.6 s."""
GATEWAY_TIMEOUT = 30
"""HTTP API's own limit, in seconds."""


def test_a_folder_is_a_function(assembly: Assembly) -> None:
    assert sorted(assembly.functions()) == FUNCTIONS


def test_routes_lead_where_the_contract_says(assembly: Assembly) -> None:
    integrations = assembly.resources("AWS::ApiGatewayV2::Integration")
    routes = {}
    for route in assembly.resources("AWS::ApiGatewayV2::Route").values():
        integration = integrations[assembly.origin(route["Properties"]["Target"])]["Properties"]
        assert integration["PayloadFormatVersion"] == "2.0"
        routes[route["Properties"]["RouteKey"]] = construct(
            assembly.origin(integration["IntegrationUri"])
        )
    assert routes == ROUTES


def test_the_stage_is_throttled(assembly: Assembly) -> None:
    _, stage = assembly.one("AWS::ApiGatewayV2::Stage")
    settings = ENVIRONMENTS[assembly.name]
    throttles = {"*": stage["DefaultRouteSettings"], **stage["RouteSettings"]}
    assert throttles == {
        route: {"ThrottlingRateLimit": throttle.rate, "ThrottlingBurstLimit": throttle.burst}
        for route, throttle in {
            "*": settings.throttle,
            "POST /product/{slug}": settings.callback_throttle,
        }.items()
    }


def test_the_access_log_holds_no_callback_token(assembly: Assembly) -> None:
    _, stage = assembly.one("AWS::ApiGatewayV2::Stage")
    variables = set(json.loads(stage["AccessLogSettings"]["Format"]).values())
    assert "$context.status" in variables
    assert not {
        variable
        for variable in variables
        if re.search(r"(?i)path|query|protocol|params|header", variable)
    }


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_environment_is_what_the_code_reads(function: str, assembly: Assembly) -> None:
    known = fields(getattr(environment, function.capitalize()))
    required = {field.name.upper() for field in known if field.default is MISSING}
    given = set(assembly.environment(function))
    given -= SDK_VARIABLES if function in ("sales", "relay") else set()
    assert required <= given <= {field.name.upper() for field in known}


def test_functions_that_publish_use_the_settings_sns_endpoint(assembly: Assembly) -> None:
    endpoint = ENVIRONMENTS[assembly.name].sns_endpoint
    given = {
        name: assembly.environment(name).get("AWS_ENDPOINT_URL_SNS")
        for name in assembly.functions()
    }
    assert given == {name: endpoint if name in ("sales", "relay") else None for name in FUNCTIONS}


def test_no_other_service_has_an_endpoint_of_its_own(assembly: Assembly) -> None:
    """With AWS_USE_DUALSTACK_ENDPOINT, Secrets Manager would be looked up under a name that did not exist."""
    for name in assembly.functions():
        sdk = {variable for variable in assembly.environment(name) if variable.startswith("AWS_")}
        assert sdk <= SDK_VARIABLES


def test_each_function_has_its_memory(assembly: Assembly) -> None:
    functions = assembly.functions().items()
    assert {
        name: function["Properties"]["MemorySize"] for name, function in functions
    } == MEMORY_MIB


LOGIN_VARIABLES = {"DATABASE_USER", "DATABASE_SECRET_ARN", "USER_SECRET_ARNS"}
LOGINS: dict[str, dict[str, dict[str, str]]] = {
    "iam": {
        "sales": {"DATABASE_USER": "shop_sales"},
        "restock": {"DATABASE_USER": "shop_restock"},
        "relay": {"DATABASE_USER": "shop_relay"},
        "migrate": {"DATABASE_SECRET_ARN": "Database"},
        "consumer": {},
    },
    "secret": {
        "sales": {"DATABASE_SECRET_ARN": "SalesSecret"},
        "restock": {"DATABASE_SECRET_ARN": "RestockSecret"},
        "relay": {"DATABASE_SECRET_ARN": "RelaySecret"},
        "migrate": {
            "DATABASE_SECRET_ARN": "Database",
            "USER_SECRET_ARNS": "SalesSecret,RestockSecret,RelaySecret",
        },
        "consumer": {},
    },
}


def test_each_function_is_told_its_own_login(assembly: Assembly) -> None:
    def origins(value: Any) -> str:
        """Write a user's name as it is, and the ARNs of secrets as their constructs."""
        if isinstance(value, str):
            return value
        parts = (
            value["Fn::Join"][1] if "Fn::Join" in value and "," in value["Fn::Join"][1] else [value]
        )
        return "".join(
            part if isinstance(part, str) else construct(assembly.origin(part)) for part in parts
        )

    logins = {
        function: {
            name: origins(value)
            for name, value in assembly.environment(function).items()
            if name in LOGIN_VARIABLES
        }
        for function in assembly.functions()
    }
    assert logins == LOGINS["secret" if assembly.name == "local" else "iam"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_handler_is_in_the_package(function: str, assembly: Assembly) -> None:
    module, _, name = assembly.functions()[function]["Properties"]["Handler"].rpartition(".")
    source = assembly.asset(function) / f"{module.replace('.', '/')}.py"
    assert name in [
        node.name
        for node in ast.parse(source.read_text()).body
        if isinstance(node, ast.FunctionDef)
    ]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_package_holds_the_function_and_what_is_common(
    function: str, assembly: Assembly
) -> None:
    def contents(*folders: str, root: Any) -> set[str]:
        files = {
            path for folder in folders for path in (root / folder).rglob("*") if path.is_file()
        }
        return {str(path.relative_to(root)) for path in files if "__pycache__" not in path.parts}

    package = assembly.asset(function)
    packed = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    assert packed == contents(function, "common", root=LAMBDAS)


def test_the_certificate_is_in_the_package(assembly: Assembly) -> None:
    if assembly.name != "local":
        ca_file = assembly.environment("sales")["DATABASE_CA_FILE"]
        assert (
            (assembly.asset("sales") / ca_file)
            .read_text()
            .startswith("-----BEGIN CERTIFICATE-----")
        )


def test_every_function_imports_from_the_one_layer(assembly: Assembly) -> None:
    layer, _ = assembly.one("AWS::Lambda::LayerVersion")
    for function in assembly.functions().values():
        assert [assembly.origin(used) for used in function["Properties"]["Layers"]] == [layer]


def test_what_ships_is_pinned_and_hashed() -> None:
    text = (LAMBDAS / "requirements.txt").read_text().replace("\\\n", " ")
    requirements = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    assert {"pymysql", "requests"} <= {
        requirement.partition("==")[0] for requirement in requirements
    }
    for requirement in requirements:
        assert re.match(r"[a-z0-9-]+==[\d.]+ .*--hash=sha256:[0-9a-f]{64}", requirement)


def test_the_consumer_reports_what_failed(assembly: Assembly) -> None:
    _, mapping = assembly.one("AWS::Lambda::EventSourceMapping")
    queue, _ = assembly.one("AWS::SQS::Queue", "StockQueue")
    assert assembly.origin(mapping["EventSourceArn"]) == queue
    assert construct(assembly.origin(mapping["FunctionName"])) == "Consumer"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert (
        mapping["ScalingConfig"]["MaximumConcurrency"]
        == ENVIRONMENTS[assembly.name].consumer_concurrency
    )


def test_the_relay_runs_each_minute(assembly: Assembly) -> None:
    _, rule = assembly.one("AWS::Events::Rule")
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    assert rule["State"] == "ENABLED"
    assert [construct(assembly.origin(target["Arn"])) for target in rule["Targets"]] == ["Relay"]


def test_failed_relay_run_is_not_repeated_later(assembly: Assembly) -> None:
    """Lambda's default is two retries, and events that wait for up to six hours: after an outage, 360 runs at once."""
    _, config = assembly.one("AWS::Lambda::EventInvokeConfig")
    assert construct(assembly.origin(config["FunctionName"])) == "Relay"
    assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (0, 60)
    assert config["Qualifier"] == "$LATEST"


def test_the_schema_is_there_before_the_functions_that_need_it(assembly: Assembly) -> None:
    ((trigger, migration),) = assembly.resources("Custom::Trigger").items()
    version = assembly.resources("AWS::Lambda::Version")[
        assembly.origin(migration["Properties"]["HandlerArn"])
    ]
    assert construct(assembly.origin(version["Properties"]["FunctionName"])) == "Migrate"
    for function in ("sales", "restock", "relay"):
        assert trigger in assembly.functions()[function]["DependsOn"]


def test_timeouts_nest(assembly: Assembly) -> None:
    timeout = {
        name: function["Properties"]["Timeout"] for name, function in assembly.functions().items()
    }
    _, migration = assembly.one("Custom::Trigger")
    assert float(assembly.environment("consumer")["FACTORY_DEADLINE"]) < timeout["consumer"]
    assert timeout["sales"] < GATEWAY_TIMEOUT
    assert timeout["restock"] < GATEWAY_TIMEOUT
    request = deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT + deadline.RESERVE
    assert request <= 5 < timeout["sales"] == timeout["restock"]
    assert float(DATABASE_PARAMETERS["innodb_lock_wait_timeout"]) < deadline.FIRST_ATTEMPT
    assert timeout["relay"] < 60
    assert timeout["migrate"] < int(migration["Timeout"]) / 1000


def test_database_functions_are_inside_and_the_consumer_outside_the_network(
    assembly: Assembly,
) -> None:
    client, _ = assembly.one("AWS::EC2::SecurityGroup", "Client")
    for name, function in assembly.functions().items():
        network = function["Properties"].get("VpcConfig")
        if name == "consumer":
            assert network is None
        else:
            assert [assembly.origin(group) for group in network["SecurityGroupIds"]] == [client]
            assert {assembly.origin(subnet) for subnet in network["SubnetIds"]} <= set(
                assembly.resources("AWS::EC2::Subnet")
            )


def test_nothing_below_info_is_logged(assembly: Assembly) -> None:
    """botocore's debug log holds requests whole, with the requester's name and the callback's token.

    The system's INFO is needed: duration, memory and cold starts are in `platform.report`, which WARN leaves out.
    """
    for function in assembly.functions().values():
        assert function["Properties"]["LoggingConfig"]["SystemLogLevel"] == "INFO"
        assert function["Properties"]["LoggingConfig"]["ApplicationLogLevel"] == "INFO"
        assert function["Properties"]["LoggingConfig"]["LogFormat"] == "JSON"


def test_logs_end_some_day(assembly: Assembly) -> None:
    groups = assembly.resources("AWS::Logs::LogGroup")
    assert all("RetentionInDays" in group["Properties"] for group in groups.values())
    for function in assembly.functions().values():
        group = assembly.origin(function["Properties"]["LoggingConfig"]["LogGroup"])
        assert (
            groups[group]["Properties"]["RetentionInDays"]
            == ENVIRONMENTS[assembly.name].log_retention_days
        )


def test_access_log_group_is_named_for_delivered_logs(assembly: Assembly) -> None:
    """One resource policy of at most 5,120 characters covers all of /aws/vendedlogs; other names need a line each."""
    _, group = assembly.one("AWS::Logs::LogGroup", "AccessLogs")
    assert group["LogGroupName"] == f"/aws/vendedlogs/donut-shop-{assembly.name}"
