"""The emulator runs functions as Lambda's documentation says, under AWS's own runtime client."""

import json
import logging
import os
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from awslambdaric.lambda_runtime_log_utils import JsonFormatter

from local.cloud import Cloud
from local.polling import eventually
from settings import REGION
from tests.support.functions import (
    ROLE,
    archive,
    create_function,
    log_lines,
    log_messages,
    system_events,
)

RUNS_WHAT_IT_IS_SENT = """
import json, logging, os, sys, time

log = logging.getLogger("shop")

def handler(event, context):
    names = globals() | {"context": context}
    exec(event["run"], names)
    return names.get("result")
"""
CONFIGURATION = {"Handler": "tried.handler", "Timeout": 5, "MemorySize": 128}
PID = "result = os.getpid()"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    payload: Any
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Function:
    cloud: Cloud
    name: str

    def invoke(self, run: str) -> Outcome:
        response = self.cloud.client("lambda").invoke(
            FunctionName=self.name, Payload=json.dumps({"run": run})
        )
        return Outcome(
            payload=json.loads(response["Payload"].read()), error=response.get("FunctionError")
        )

    def run(self, run: str) -> Any:
        """Return what the code assigns to `result`."""
        outcome = self.invoke(run)
        assert outcome.error is None, outcome
        return outcome.payload

    def log_lines(self) -> list[dict[str, Any]]:
        return log_lines(self.cloud, self.name)

    def reports(self) -> list[dict[str, Any]]:
        events = system_events(self.cloud, self.name)
        return [event["record"] for event in events if event["type"] == "platform.report"]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path_factory.mktemp("cloud"), max_workers=8)
    cloud.start_emulator()
    try:
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture
def create(cloud: Cloud) -> Callable[..., Function]:
    def create(source: str = RUNS_WHAT_IT_IS_SENT, **configuration: Any) -> Function:
        name = f"tried-{uuid.uuid4().hex[:8]}"
        create_function(cloud, name, archive(tried=source), **CONFIGURATION | configuration)
        return Function(cloud=cloud, name=name)

    return create


@pytest.fixture
def function(create: Callable[..., Function]) -> Function:
    return create()


def wait_until_frozen(pid: int) -> None:
    def frozen() -> None:
        assert psutil.Process(pid).status() == psutil.STATUS_STOPPED

    eventually(frozen, within=5)


def wait_until_ended(pid: int) -> None:
    def ended() -> None:
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    eventually(ended, within=5)


def test_log_line_is_that_of_the_formatter_of_aws(function: Function) -> None:
    extra = {"order_id": "7", "nothing": None, "name_in_korean": "도너츠", "when": 1.5}
    function.run(f"log.info('seen', extra={extra!r}); log.debug('unseen')")
    (message,) = [
        line for line in log_messages(function.cloud, function.name) if "platform." not in line
    ]
    record = logging.makeLogRecord(
        {"name": "shop", "msg": "seen", "levelno": logging.INFO, "taskName": None} | extra
    )
    line = json.loads(message)
    expected = json.loads(JsonFormatter().format(record)) | {
        "timestamp": line["timestamp"],
        "requestId": line["requestId"],
    }
    assert message == json.dumps({name: expected[name] for name in line}, ensure_ascii=False)
    assert line.keys() == expected.keys()
    assert "nothing" not in line


def test_log_level_of_the_function_applies(create: Callable[..., Function]) -> None:
    function = create(LoggingConfig={"ApplicationLogLevel": "DEBUG", "SystemLogLevel": "WARN"})
    function.run("log.debug('seen')")
    assert [(line["level"], line["message"]) for line in function.log_lines()] == [
        ("DEBUG", "seen")
    ]


def test_printed_lines_are_log_events(function: Function) -> None:
    """A last line without a newline is an event, too."""
    function.run("print('one\\ntwo'); sys.stderr.write('three')")
    assert [
        message for message in log_messages(function.cloud, function.name) if message[0] != "{"
    ] == [
        "one",
        "two",
        "three",
    ]


def test_log_in_text_format_is_that_of_lambda(create: Callable[..., Function]) -> None:
    function = create(LoggingConfig={"LogFormat": "Text"})
    function.run("log.warning('seen')")
    start, seen, end, report = log_messages(function.cloud, function.name)
    request_id = start.split()[2]
    assert start == f"START RequestId: {request_id} Version: $LATEST"
    assert re.fullmatch(rf"\[WARNING\]\t[-0-9T:.]+Z\t{request_id}\tseen", seen)
    assert end == f"END RequestId: {request_id}"
    assert re.fullmatch(
        rf"REPORT RequestId: {request_id}\tDuration: .+\tInit Duration: [0-9.]+ ms", report
    )


def test_report_has_the_init_duration_only_after_a_cold_start(function: Function) -> None:
    for _ in range(2):
        function.run("time.sleep(0.1)")
    cold, warm = (report["metrics"] for report in function.reports())
    assert cold["initDurationMs"] > 0
    assert "initDurationMs" not in warm
    assert 100 <= warm["durationMs"] < 1000
    assert 10 < warm["maxMemoryUsedMB"] < warm["memorySizeMB"] == 128


def test_environment_writes_to_one_log_stream(function: Function) -> None:
    names = {function.run("result = os.environ['AWS_LAMBDA_LOG_STREAM_NAME']") for _ in range(2)}
    streams = function.cloud.client("logs").describe_log_streams(logGroupName=function.name)[
        "logStreams"
    ]
    assert {stream["logStreamName"] for stream in streams} == names
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", names.pop())


def test_system_log_level_warn_hides_successful_invocations(
    create: Callable[..., Function],
) -> None:
    function = create(LoggingConfig={"SystemLogLevel": "WARN"})
    function.run("pass")
    function.invoke("1 / 0")
    assert [
        (report["status"], "durationMs" in report["metrics"]) for report in function.reports()
    ] == [("error", True)]
    assert not [
        e for e in system_events(function.cloud, function.name) if e["type"] != "platform.report"
    ]


def test_remaining_time_counts_down_from_the_timeout(function: Function) -> None:
    left = "context.get_remaining_time_in_millis()"
    before, after = function.run(f"before = {left}; time.sleep(0.5); result = before, {left}")
    assert 4500 < before <= 5000
    assert 500 <= before - after < 1500


def test_remaining_time_excludes_the_import_at_a_cold_start(
    create: Callable[..., Function],
) -> None:
    function = create("import time\ntime.sleep(1)\n" + RUNS_WHAT_IT_IS_SENT)
    assert function.run("result = context.get_remaining_time_in_millis()") > 4500


def test_context_is_that_of_lambda(function: Function) -> None:
    fields = (
        "function_name",
        "function_version",
        "memory_limit_in_mb",
        "log_group_name",
        "invoked_function_arn",
    )
    seen = function.run(
        f"result = [getattr(context, name) for name in {fields}] + [type(context).__module__]"
    )
    arn = function.cloud.client("lambda").get_function_configuration(FunctionName=function.name)[
        "FunctionArn"
    ]
    assert seen == [
        function.name,
        "$LATEST",
        "128",
        function.name,
        arn,
        "awslambdaric.lambda_context",
    ]


def test_exception_is_logged_and_returned_and_keeps_the_process(
    function: Function,
) -> None:
    pid = function.run(PID)
    outcome = function.invoke("raise ValueError('도너츠')")
    assert outcome.error == "Unhandled"
    payload = outcome.payload
    assert payload["errorType"] == "ValueError"
    assert payload["errorMessage"] == "도너츠"
    assert payload.keys() == {"errorType", "errorMessage", "requestId", "stackTrace"}
    (line,) = function.log_lines()
    assert line == payload | {"level": "ERROR", "timestamp": line["timestamp"]}
    assert function.run(PID) == pid


def test_timeout_ends_the_invocation_and_its_process(
    create: Callable[..., Function],
) -> None:
    function = create(Timeout=1)
    pid = function.run(PID)
    began = time.monotonic()
    outcome = function.invoke("log.info('begun'); time.sleep(30)")
    assert 1 <= time.monotonic() - began < 3
    assert outcome.error == "Unhandled"
    assert outcome.payload["errorType"] == "Sandbox.Timedout"
    assert re.fullmatch(
        r"RequestId: \S+ Error: Task timed out after 1\.\d\d seconds",
        outcome.payload["errorMessage"],
    )
    assert not psutil.pid_exists(pid)
    assert [line["message"] for line in function.log_lines()] == ["begun"]
    assert [report["status"] for report in function.reports()] == ["success", "timeout"]
    assert function.run(PID) != pid


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ("os.kill(os.getpid(), 9)", "with error: signal: killed"),
        ("os._exit(3)", "with error: exit status 3"),
        ("os._exit(0)", "without providing a reason"),
    ],
)
def test_process_that_ends_in_an_invocation_is_replaced(
    function: Function, ends: str, reason: str
) -> None:
    outcome = function.invoke(f"log.info('begun'); {ends}")
    assert outcome.error == "Unhandled"
    assert outcome.payload["errorType"] == "Runtime.ExitError"
    assert outcome.payload["errorMessage"].endswith(f" Error: Runtime exited {reason}")
    assert [line["message"] for line in function.log_lines()] == ["begun"]
    assert function.run("result = 1") == 1


def test_frozen_process_that_is_killed_is_replaced(function: Function) -> None:
    pid = function.run(PID)
    wait_until_frozen(pid)
    os.kill(pid, signal.SIGKILL)
    wait_until_ended(pid)
    assert function.run(PID) != pid


def test_process_that_exceeds_its_memory_is_ended(function: Function) -> None:
    outcome = function.invoke("hog = b'x' * 200_000_000; time.sleep(3)")
    assert outcome.payload["errorType"] == "Runtime.ExitError"
    assert function.reports()[-1]["errorType"] == "Runtime.OutOfMemory"
    assert function.run("result = 1") == 1


def test_process_is_frozen_between_invocations(function: Function) -> None:
    count = """
import threading
if not hasattr(sys, "ticks"):
    sys.ticks = 0
    def tick():
        while True:
            time.sleep(0.01)
            sys.ticks += 1
    threading.Thread(target=tick, daemon=True).start()
    time.sleep(0.1)
result = os.getpid(), sys.ticks
"""
    pid, before = function.run(count)
    wait_until_frozen(pid)
    assert "State:\tT" in Path(f"/proc/{pid}/status").read_text()
    time.sleep(0.5)
    same, after = function.run(count)
    assert same == pid
    assert 0 < before <= after < before + 30, "a thread ran between the invocations"
    wait_until_frozen(pid)


def test_code_is_read_only_and_is_not_compiled(function: Function) -> None:
    write = "open(os.environ['LAMBDA_TASK_ROOT'] + '/%s', 'w')"
    for name in ("new", "tried.py"):
        assert function.invoke(write % name).payload["errorType"] == "PermissionError", name
    listing = "result = [os.getcwd(), os.environ['LAMBDA_TASK_ROOT'], sorted(os.listdir())]"
    directory, task_root, files = function.run(listing)
    assert directory == task_root
    assert files == ["tried.py"]


def test_concurrent_invocations_share_no_process_and_no_files(function: Function) -> None:
    keep = """
import tempfile
path = tempfile.gettempdir() + '/kept'
kept = os.path.exists(path)
open(path, 'w').close()
time.sleep(1)
result = os.getpid(), path, kept
"""
    with ThreadPoolExecutor(8) as threads:
        first = list(threads.map(function.run, [keep] * 8))
    assert len({pid for pid, _, _ in first}) == len({path for _, path, _ in first}) == 8
    assert not any(kept for _, _, kept in first)
    pid, path, kept = function.run(keep)
    assert kept
    assert [pid, path] in [before[:2] for before in first]


def test_end_of_an_environment_deletes_its_temporary_files(function: Function) -> None:
    path = function.run("result = os.environ['TMPDIR']")
    assert Path(path).is_dir()
    function.invoke("os._exit(1)")
    assert not Path(path).exists()


def test_variables_are_those_of_lambda_and_of_the_function(create: Callable[..., Function]) -> None:
    own = {"OWN": "1", "AWS_LAMBDA_FUNCTION_NAME": "reserved"}
    function = create(Environment={"Variables": own})
    seen: dict[str, str] = function.run("result = dict(os.environ)")
    expected = {
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": function.cloud.aws_endpoint_url,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.14",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_GROUP_NAME": function.name,
        "AWS_LAMBDA_LOG_LEVEL": "INFO",
        "AWS_REGION": REGION,
        "LANG": "en_US.UTF-8",
        "OWN": "1",
        "TZ": ":UTC",
        "_HANDLER": "tried.handler",
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert seen.keys() - expected.keys() <= {
        "AWS_ACCESS_KEY_ID",
        "AWS_CONFIG_FILE",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SHARED_CREDENTIALS_FILE",
        "HOME",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
        "LC_CTYPE",  # Python's own, where the machine does not know LANG
        "PATH",
        "PYTHONPATH",
        "TMPDIR",
        "_X_AMZN_TRACE_ID",
    }


def test_function_imports_only_the_packages_of_lambda(function: Function) -> None:
    find = "import importlib.util\nresult = [n for n in {} if importlib.util.find_spec(n)]"
    brought = ["awslambdaric", "boto3", "botocore", "simplejson", "snapshot_restore_py", "urllib3"]
    ours = ["ministack", "hypercorn", "yaml", "local", "pip", "requests", "debugpy"]
    assert function.run(find.format(brought + ours)) == brought


def test_layers_are_unpacked_over_each_other(cloud: Cloud, create: Callable[..., Function]) -> None:
    versions = [
        cloud.client("lambda").publish_layer_version(
            LayerName=name, Content={"ZipFile": archive(**modules)}
        )
        for name, modules in {
            "lower": {"python__a": "VALUE = 'lower'", "python__b": "VALUE = 'lower'"},
            "upper": {"python__b": "VALUE = 'upper'"},
        }.items()
    ]
    function = create(Layers=[version["LayerVersionArn"] for version in versions])
    assert function.run("import a, b\nresult = a.VALUE, b.VALUE") == ["lower", "upper"]


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "message"),
    [
        ("raise KeyError('a')", "tried.handler", "KeyError", "'a'"),
        (
            "import nowhere",
            "tried.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'tried': ",
        ),
        ("def", "tried.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'tried': "),
        (
            "",
            "tried.handler",
            "Runtime.HandlerNotFound",
            "Handler 'handler' missing on module 'tried'",
        ),
        (
            "import os\nos._exit(2)",
            "tried.handler",
            "Runtime.ExitError",
            "Runtime exited with error: exit status 2",
        ),
    ],
)
def test_function_that_cannot_start_returns_the_error_of_aws(
    create: Callable[..., Function], source: str, handler: str, error_type: str, message: str
) -> None:
    function = create(source, Handler=handler)
    outcome = function.invoke("")
    assert outcome.error == "Unhandled"
    assert outcome.payload["errorType"] == error_type
    assert message in outcome.payload["errorMessage"]
    events = [event["record"] for event in system_events(function.cloud, function.name)]
    assert [(event["phase"], event["errorType"]) for event in events] == [
        ("init", error_type),
        ("invoke", error_type),
    ]


def test_function_whose_start_takes_too_long_times_out(create: Callable[..., Function]) -> None:
    """The start is tried for 10 s, and once more within the function's timeout of 1 s."""
    function = create(
        "import pathlib, time\nif pathlib.Path('/nowhere'): time.sleep(60)", Timeout=1
    )
    began = time.monotonic()
    assert function.invoke("").payload["errorType"] == "Sandbox.Timedout"
    assert 11 <= time.monotonic() - began < 16


def test_new_code_replaces_the_processes(function: Function) -> None:
    pid = function.run(PID)
    client = function.cloud.client("lambda")
    client.update_function_code(
        FunctionName=function.name, ZipFile=archive(tried="def handler(*_): return 'new'")
    )
    assert function.run("") == "new"
    wait_until_ended(pid)


def test_functions_act_as_their_role(function: Function) -> None:
    who = "import boto3\nresult = boto3.client('sts').get_caller_identity()['Arn']"
    assert f":assumed-role/{ROLE.rpartition('/')[2]}/" in function.run(who)
    loggers = {line["logger"] for line in function.log_lines()}
    assert loggers == {"botocore.credentials"}, "on AWS, botocore does not log an endpoint"


def test_stop_ends_frozen_processes(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    cloud.start_emulator()
    try:
        create_function(cloud, "tried", archive(tried=RUNS_WHAT_IT_IS_SENT), **CONFIGURATION)
        pid = Function(cloud=cloud, name="tried").run(PID)
        wait_until_frozen(pid)
    finally:
        began = time.monotonic()
        cloud.stop()
    assert time.monotonic() - began < 5
    assert not psutil.pid_exists(pid)
    assert not (tmp_path / "emulator").exists()


def test_stop_ends_frozen_processes_of_a_killed_emulator(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    cloud.start_emulator()
    try:
        create_function(cloud, "tried", archive(tried=RUNS_WHAT_IT_IS_SENT), **CONFIGURATION)
        pid = Function(cloud=cloud, name="tried").run(PID)
        wait_until_frozen(pid)
        assert cloud.emulator.process
        cloud.emulator.process.kill()
    finally:
        cloud.stop()
    wait_until_ended(pid)
    assert not (tmp_path / "emulator").exists()
