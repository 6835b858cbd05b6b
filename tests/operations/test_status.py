"""`make status` shows what runs, and names what is switched off. `make resume` switches it on."""

import io
import json
import sys
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from operations import aws as clients
from operations import status
from settings import ENVIRONMENTS, FUNCTIONS, REGION, Settings

DEV, PROD = ENVIRONMENTS["dev"], ENVIRONMENTS["prod"]
TABLES = [
    "stacks",
    "database, as RDS sees it",
    "switches",
    "throttled in the last 15 minutes",
    "queues",
    "alarms",
]
MAPPING, RULE = "event source mapping of consumer", "rule EachMinute of relay"

pytestmark = pytest.mark.usefixtures("aws")


class Account:
    """An account of moto in which the environment is deployed, as far as the command looks."""

    def __init__(self, settings: Settings = DEV) -> None:
        self.settings = settings
        self.stacks = [settings.stack_name(part) for part in status.PARTS]
        self.functions = boto3.client("lambda")
        self.rules = boto3.client("events")
        sqs = boto3.client("sqs")
        urls = [
            sqs.create_queue(QueueName=settings.queue_name(name))["QueueUrl"]
            for name in ("stock_queue", "stock_dlq")
        ]
        sqs.send_message(QueueUrl=urls[1], MessageBody="a")
        role = boto3.client("iam").create_role(
            RoleName="a-role",
            AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}),
        )["Role"]["Arn"]
        archive = io.BytesIO()
        zipfile.ZipFile(archive, "w").close()
        arns = {
            folder: self.functions.create_function(
                FunctionName=settings.function_name(folder),
                Runtime="python3.13",
                Role=role,
                Handler="a.b",
                Code={"ZipFile": archive.getvalue()},
            )["FunctionArn"]
            for folder in FUNCTIONS
        }
        self.mapping = self.functions.create_event_source_mapping(
            FunctionName=settings.function_name("consumer"),
            EventSourceArn=f"arn:aws:sqs:{REGION}:123456789012:{settings.queue_name('stock_queue')}",
        )["UUID"]
        self.rules.put_rule(Name="a-rule", ScheduleExpression="rate(1 minute)")
        self.rules.put_targets(Rule="a-rule", Targets=[{"Id": "relay", "Arn": arns["relay"]}])
        boto3.client("rds").create_db_instance(
            DBInstanceIdentifier=settings.database_instance,
            DBInstanceClass="db.t4g.micro",
            Engine="mariadb",
            EngineVersion="10.11.19",
            AllocatedStorage=20,
        )
        cloudwatch = boto3.client("cloudwatch")
        for alarm, state in (("RelaySilent", "ALARM"), ("Latency", "OK"), ("StuckOrders", "ALARM")):
            name = settings.alarm_name(alarm)
            cloudwatch.put_metric_alarm(
                AlarmName=name,
                MetricName="a",
                Namespace="a",
                Statistic="Sum",
                Period=60,
                EvaluationPeriods=1,
                Threshold=1,
                ComparisonOperator="GreaterThanThreshold",
            )
            cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="a test")

    def client(self, service: str) -> Any:
        """Return a client. The stacks are stubbed, because moto lacks what they need."""
        made = boto3.client(service)
        if service == "cloudformation":
            outputs = [{"OutputKey": "ApiUrl", "OutputValue": "https://api.test"}]
            described = [
                {
                    "StackName": name,
                    "StackStatus": "UPDATE_COMPLETE",
                    "CreationTime": datetime.now(UTC),
                    "Outputs": outputs,
                }
                for name in self.stacks
            ]
            stubber = Stubber(made)
            stubber.add_response("describe_stacks", {"Stacks": described})
            stubber.activate()
        return made

    def throttle(self, folder: str, times: int) -> None:
        boto3.client("cloudwatch").put_metric_data(
            Namespace="AWS/Lambda",
            MetricData=[
                {
                    "MetricName": "Throttles",
                    "Dimensions": [
                        {"Name": "FunctionName", "Value": self.settings.function_name(folder)}
                    ],
                    "Value": times,
                }
            ],
        )

    def reserve(self, folder: str, executions: int) -> None:
        self.functions.put_function_concurrency(
            FunctionName=self.settings.function_name(folder),
            ReservedConcurrentExecutions=executions,
        )

    def reserved(self, folder: str) -> int | None:
        name = self.settings.function_name(folder)
        found = self.functions.get_function_concurrency(FunctionName=name)
        return found.get("ReservedConcurrentExecutions")


@pytest.fixture
def account(aws: None) -> Account:
    return Account()


Run = Callable[..., list[str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command, and returns the lines that it prints."""

    def run(account: Account, *arguments: str) -> list[str]:
        monkeypatch.setattr(clients, "client", account.client)
        monkeypatch.setattr(sys, "argv", ["status", account.settings.name, *arguments])
        status.main()
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    return run


def test_status_shows_everything_that_runs(account: Account, run: Run) -> None:
    account.throttle("sales", 7)
    lines = run(account)
    assert lines[0] == "API: https://api.test"
    assert [line.rstrip(":") for line in lines if line.rstrip(":") in TABLES] == TABLES
    for line in (
        "donut-shop-service-dev UPDATE_COMPLETE",
        "donut-shop-dev available",
        f"{MAPPING} Enabled",
        f"{RULE} ENABLED",
        "reserved concurrency of sales none",
        "sales 7",
        "stock_queue 0 0 0",
        "stock_dlq 1 0 0",
        "ALARM 2 RelaySilent, StuckOrders",
        "OK 1 -",
    ):
        assert line in lines, line
    assert lines[-1] == "Nothing is off."


def test_status_names_what_is_off_and_resume_switches_it_on(account: Account, run: Run) -> None:
    account.functions.update_event_source_mapping(UUID=account.mapping, Enabled=False)
    account.rules.disable_rule(Name="a-rule")
    account.reserve("sales", 0)
    assert run(account)[-4:] == [
        f"OFF: {MAPPING} is Disabled",
        f"OFF: {RULE} is DISABLED",
        "OFF: reserved concurrency of sales is 0",
        "`ENV=dev make resume` switches on what is off.",
    ]
    assert run(account, "--resume") == [
        f"{MAPPING} was Disabled, and is switched on",
        f"{RULE} was DISABLED, and is switched on",
        "reserved concurrency of sales was 0, and is switched on",
    ]
    assert account.reserved("sales") is None
    assert run(account)[-1] == "Nothing is off."
    assert run(account, "--resume") == ["Nothing was off."]


def test_resume_reserves_what_the_settings_say(run: Run) -> None:
    """A reservation that somebody has raised stays."""
    account = Account(PROD)
    account.reserve("sales", 0)
    account.reserve("restock", 50)
    run(account, "--resume")
    assert account.reserved("sales") == PROD.reserved_concurrency["sales"]
    assert account.reserved("restock") == 50


def test_url_of_the_local_api_is_that_of_its_file(
    account: Account, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "endpoint"
    file.write_text("http://api.test:8080\n")
    assert run(account, f"--endpoint={file}")[0] == "API: http://api.test:8080"


def test_what_was_deleted_is_named(account: Account, run: Run) -> None:
    account.stacks.remove("donut-shop-monitoring-dev")
    boto3.client("rds").delete_db_instance(
        DBInstanceIdentifier="donut-shop-dev", SkipFinalSnapshot=True
    )
    lines = run(account)
    assert "donut-shop-monitoring-dev missing" in lines
    assert "donut-shop-dev missing" in lines


@pytest.mark.parametrize("arguments", [[], ["--resume"]])
def test_environment_that_is_not_deployed_is_named(
    arguments: list[str], account: Account, run: Run
) -> None:
    account.stacks.clear()
    with pytest.raises(SystemExit, match=r"^dev has no stack donut-shop-service-dev$"):
        run(account, *arguments)
