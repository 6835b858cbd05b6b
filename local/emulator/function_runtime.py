"""Run functions as Lambda does, under AWS's own runtime client, `awslambdaric`.

An execution environment is a process with Lambda's variables, read-only code and a directory for
temporary files. It is frozen while it has no invocation. It differs from Lambda in three ways: its
code is not in `/var/task` and its files are not in `/tmp`, its share of the processor is not
limited, and its Python is the emulator's own.
"""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from local.emulator.function_logs import (
    LogReader,
    LogStream,
    Report,
    SystemLog,
    group_name,
    is_json,
)
from local.emulator.runtime_api import Invocation, RuntimeApi
from local.files import unpack

INIT_SECONDS = 10
"""Lambda's limit for an initialization.

If it fails, it is repeated once, in the time of the first invocation.
"""
DEBUGGED_SECONDS = 3600
"""The timeout of a function that is debugged, because somebody reads while it stands still."""
DEBUGGED = """
import debugpy, runpy
debugpy.listen(("127.0.0.1", {port}), in_process_debug_adapter=True)
runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
"""
POLL_SECONDS = 0.05
BROUGHT_BY_LAMBDA = ("awslambdaric", "boto3")
"""The packages of the emulator's environment that functions can import, with their dependencies."""

log = logging.getLogger("function_runtime")

Config = dict[str, Any]
Result = dict[str, Any]


class InitFailed(Exception):
    """The process did not ask for an invocation. payload: the error that the caller gets."""

    def __init__(self, payload: Any, *, milliseconds: float) -> None:
        super().__init__(payload)
        self.payload = payload
        self.error_type = (
            str(payload.get("errorType")) if isinstance(payload, dict) else "Runtime.Unknown"
        )
        self.milliseconds = milliseconds


class Killable(subprocess.Popen[bytes]):
    """A process that leads a group.

    Signals go to the whole group, and `terminate` kills it, as Lambda does.
    """

    def send_signal(self, sig: int) -> None:
        # macOS raises PermissionError for a process that has ended.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, sig)

    def terminate(self) -> None:
        self.kill()


class ExecutionEnvironment:
    """A process with its code, its temporary files and its log.

    It implements runtime_api.Environment.
    """

    def __init__(self, config: Config, code: bytes, *, debug_port: int | None = None) -> None:
        """Start the process. debug_port: where it accepts a debugger, if it is debugged."""
        self.debug_port = debug_port
        self._changed = threading.Condition()
        self._ready = self._frozen = self._closed = False
        self._init_error: Any = None
        self._waiting: Invocation | None = None
        self._current: str | None = None
        self._outcome: dict[str, Any] | None = None
        root = Path(tempfile.gettempdir())
        task = unpack([code], under=root / "task")
        program = ["-m", "awslambdaric"]
        if debug_port:
            task = linked(task, at=root / "debugged")
            # -P leaves out the working directory, whose path is not that of the link.
            program = ["-P", "-X", "frozen_modules=off", "-c", DEBUGGED.format(port=debug_port)]
        layers = unpack(layer_archives(config), under=root / "opt")
        self.temporary = Path(tempfile.mkdtemp(prefix=f"{config['FunctionName']}-"))
        self.stream = LogStream(config)
        self._api = RuntimeApi(self)
        output, output_end = os.pipe()
        telemetry, telemetry_end = os.pipe()
        variables = self._variables(config, task=task, layers=layers) | {
            "_LAMBDA_TELEMETRY_LOG_FD": str(telemetry_end)
        }
        self._began = time.monotonic()
        self.process = Killable(
            # -S hides the virtual environment's packages; PYTHONPATH names the ones that Lambda
            # brings. -B because the code is read-only.
            [sys.executable, "-S", "-B", *program, config["Handler"]],
            cwd=task,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output_end,
            stderr=output_end,
            pass_fds=[telemetry_end],
            process_group=0,
        )
        os.close(output_end)
        os.close(telemetry_end)
        self._reader = LogReader(output=output, telemetry=telemetry, stream=self.stream)

    def _variables(self, config: Config, *, task: Path, layers: Path) -> dict[str, str]:
        """Return the variables of the function's process."""
        _, region = lambda_runtime._account_region_from_function_config(config)
        runtime = config["Runtime"]
        packages = [
            layers / "python/lib" / runtime / "site-packages",
            layers / "python",
            runtime_directory(),
        ]
        if self.debug_port:
            packages = [task, *packages, debugger_directory()]
        logging_config = config.get("LoggingConfig") or {}
        defaults = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{os.environ['GATEWAY_PORT']}",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "HOME": str(self.temporary),
            "LANG": "en_US.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(map(str, packages)),
            "TMPDIR": str(self.temporary),
            "TZ": ":UTC",
        }
        reserved = {
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config["MemorySize"]),
            "AWS_LAMBDA_FUNCTION_NAME": config["FunctionName"],
            "AWS_LAMBDA_FUNCTION_VERSION": config["Version"],
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"
            if restores_snapshot(config)
            else "on-demand",
            "AWS_LAMBDA_LOG_FORMAT": "JSON" if is_json(config) else "Text",
            "AWS_LAMBDA_LOG_GROUP_NAME": group_name(config),
            "AWS_LAMBDA_LOG_STREAM_NAME": self.stream.name,
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "AWS_REGION": region,
            "LAMBDA_RUNTIME_DIR": str(runtime_directory()),
            "LAMBDA_TASK_ROOT": str(task),
            "_HANDLER": config["Handler"],
        }
        if is_json(config):
            reserved["AWS_LAMBDA_LOG_LEVEL"] = logging_config.get("ApplicationLogLevel") or "INFO"
        own: dict[str, str] = (config.get("Environment") or {}).get("Variables") or {}
        return defaults | own | reserved | lambda_runtime.execution_credentials(config)

    # Called by the Runtime API

    def next_invocation(self) -> Invocation | None:
        with self._changed:
            self._ready = True
            self._changed.notify_all()
            if not self._waiting and not self._closed and not self.debug_port:
                self.process.send_signal(signal.SIGSTOP)
                self._frozen = True
            self._changed.wait_for(lambda: self._waiting or self._closed)
            invocation, self._waiting = self._waiting, None
            return invocation

    def finish_invocation(
        self, request_id: str, *, response: Any = None, error: Any = None
    ) -> bool:
        self._reader.drain()
        with self._changed:
            if self._current != request_id:
                return False
            self._current = None
            self._outcome = {"response": response} if error is None else {"error": error}
            self._changed.notify_all()
            return True

    def fail_init(self, error: Any) -> None:
        with self._changed:
            self._init_error = error
            self._changed.notify_all()

    # Called by the worker

    def initialize(self, *, within: float, error: Any) -> float:
        """Wait until the process asks for an invocation. Return how many milliseconds that took.

        error: the payload if it takes more than `within` seconds. Raises InitFailed.
        """
        with self._changed:
            while not self._ready and not self._init_error and self.process.poll() is None:
                if time.monotonic() >= self._began + within:
                    self._init_error = error
                self._changed.wait(POLL_SECONDS)
            milliseconds = round((time.monotonic() - self._began) * 1000, 2)
            if self._ready and not self._init_error:
                return milliseconds
        error = self._init_error or exit_error(self.process)
        self.close()
        raise InitFailed(error, milliseconds=milliseconds)

    def invoke(self, invocation: Invocation, *, report: Report) -> dict[str, Any]:
        """Pass the invocation to the process. Return its `response` or its `error`.

        The result also has `ended` if the environment has ended.
        """
        with self._changed:
            self._current, self._outcome, self._waiting = invocation.request_id, None, invocation
            if self._frozen:
                self.process.send_signal(signal.SIGCONT)
                self._frozen = False
            self._changed.notify_all()
            failure = None
            while not self._outcome and not failure:
                self._changed.wait(min(POLL_SECONDS, max(0, invocation.deadline - time.time())))
                failure = None if self._outcome else self._failure(invocation, report)
            outcome = self._outcome
        report.max_memory_mb = max(report.max_memory_mb, self.peak_memory_mb())
        if outcome:
            report.status = "error" if "error" in outcome else "success"
            return outcome
        self.close()
        return {"error": failure, "ended": True}

    def _failure(self, invocation: Invocation, report: Report) -> dict[str, str] | None:
        """End the invocation if it broke a limit or its process ended.

        Return the error, or None.
        """
        report.max_memory_mb = max(report.max_memory_mb, self.peak_memory_mb())
        if report.max_memory_mb > report.memory_mb:
            self.process.kill()
            self.process.wait()
            report.status, report.error_type = "error", "Runtime.OutOfMemory"
            return exit_error(self.process, invocation.request_id)
        if self.process.poll() is not None:
            report.status, report.error_type = "error", "Runtime.ExitError"
            return exit_error(self.process, invocation.request_id)
        if time.time() >= invocation.deadline:
            report.status = "timeout"
            return timeout_error(invocation.request_id, time.monotonic() - report.began)
        return None

    def peak_memory_mb(self) -> int:
        """Return the process's peak memory use.

        It is 0 without /proc or after the process's end.
        """
        with suppress(OSError):
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) // 1024
        return 0

    def close(self) -> None:
        """Kill the process, read the rest of its log and delete its temporary files.

        Further calls do nothing.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self.process.kill()
        self.process.wait()
        self._api.close()
        self._reader.join()
        shutil.rmtree(self.temporary, ignore_errors=True)


class Debugger:
    """Which function is debugged, and where. One environment of it at a time is."""

    def __init__(self) -> None:
        self.function: str | None = None
        self.port = 0
        self._environment: ExecutionEnvironment | None = None
        self._lock = threading.Lock()

    def environment(self, config: Config, code: bytes) -> ExecutionEnvironment:
        """Return a new environment of the function, which accepts the debugger if none does yet."""
        if config["FunctionName"] != self.function:
            return ExecutionEnvironment(config, code)
        with self._lock:
            debugged = self._environment
            if debugged and debugged.process.poll() is None:
                return ExecutionEnvironment(config, code)
            self._environment = ExecutionEnvironment(config, code, debug_port=self.port)
            return self._environment


debugger = Debugger()


class PythonWorker(lambda_runtime.Worker):  # type: ignore[misc]  # ministack is untyped
    """A member of ministack's pool. Runs a function in one environment after the other."""

    _environment: ExecutionEnvironment | None = None
    _proc: Killable | None
    _init_ms = 0.0

    def _spawn(
        self, *, within: float = INIT_SECONDS, phase: str = "init", request_id: str = ""
    ) -> None:
        """Start an execution environment. Raises InitFailed."""
        self._discard_tmpdir()
        environment = debugger.environment(self.config, self.code_zip)
        try:
            self._init_ms = environment.initialize(
                within=within, error=timeout_error(request_id, within)
            )
        except InitFailed as failed:
            system = SystemLog(self.config, environment.stream)
            system.init_failed(
                error_type=failed.error_type, duration_ms=failed.milliseconds, phase=phase
            )
            raise
        self._environment, self._proc = environment, environment.process
        log.info("%s: cold start in %.0f ms", self.func_name, self._init_ms)

    def invoke(
        self,
        event: Any,
        request_id: str,
        *,
        trace_id: str | None = None,
        invoked_function_arn: str | None = None,
    ) -> Result:
        """Run the function. Return the status and the result or the error, in ministack's form."""
        with self._lock:
            cold = self._proc is None or self._proc.poll() is not None
            try:
                began = self._ensure_environment(request_id, cold=cold)
            except InitFailed as failed:
                self._proc = None
                return _result({"error": failed.payload}, cold=cold, lines=[])
            environment = self._environment
            assert environment
            report = Report(
                request_id=request_id,
                memory_mb=self.config["MemorySize"],
                version=self.config["Version"],
                init_ms=self._init_ms if cold else None,
            )
            system = SystemLog(self.config, environment.stream)
            environment.stream.invocation.clear()
            system.start(report)
            invocation = Invocation(
                request_id=request_id,
                event=json.dumps(event).encode(),
                deadline=began
                + (DEBUGGED_SECONDS if environment.debug_port else self.config["Timeout"]),
                function_arn=invoked_function_arn or self.config["FunctionArn"],
                trace_id=trace_id or untraced(),
            )
            outcome = environment.invoke(invocation, report=report)
            if outcome.get("ended"):
                self._proc = self._environment = None
                if not is_json(self.config):
                    environment.stream.write(f"{request_id} {outcome['error']['errorMessage']}")
            system.report(report)
            return _result(outcome, cold=cold, lines=list(environment.stream.invocation))

    def _ensure_environment(self, request_id: str, *, cold: bool) -> float:
        """Start an environment if there is none.

        Return when the time of the invocation began. Raises InitFailed.
        """
        if cold:
            try:
                self._spawn()
            except InitFailed:
                began = time.time()
                self._spawn(within=self.config["Timeout"], phase="invoke", request_id=request_id)
                return began
        return time.time()

    def _discard_tmpdir(self) -> None:
        """Close the environment. ministack calls this after it has killed the process."""
        environment, self._environment = self._environment, None
        if environment:
            environment.close()


def _result(outcome: dict[str, Any], *, cold: bool, lines: list[str]) -> Result:
    """Return an invocation's outcome in ministack's form."""
    result: Result = {"cold_start": cold, "log": "\n".join(lines)}
    if "error" not in outcome:
        return result | {"status": "ok", "result": outcome["response"]}
    payload = outcome["error"]
    message = payload.get("errorMessage") if isinstance(payload, dict) else payload
    return result | {"status": "error", "error": str(message), "error_payload": payload}


def exit_error(process: subprocess.Popen[bytes], request_id: str = "") -> dict[str, str]:
    """Return the error that Lambda returns after the end of a process."""
    code = process.returncode
    if code < 0:
        reason = f"with error: signal: {signal.strsignal(-code) or -code}".lower()
    elif code:
        reason = f"with error: exit status {code}"
    else:
        reason = "without providing a reason"
    return {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {request_id} Error: Runtime exited {reason}",
    }


def timeout_error(request_id: str, seconds: float) -> dict[str, str]:
    message = f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds"
    return {"errorType": "Sandbox.Timedout", "errorMessage": message}


def untraced() -> str:
    """Return a trace header as Lambda makes it when X-Ray is off."""
    root = f"1-{int(time.time()):08x}-{os.urandom(12).hex()}"
    return f"Root={root};Parent={os.urandom(8).hex()};Sampled=0"


def restores_snapshot(config: Config) -> bool:
    return (config.get("SnapStart") or {}).get("OptimizationStatus") == "On"


def layer_archives(config: Config) -> list[bytes]:
    """Return the archives of the layers, in the order in which Lambda unpacks them.

    Raises ValueError.
    """
    archives = []
    for layer in config.get("Layers") or []:
        archive = lambda_svc._resolve_layer_zip(layer)
        if archive is None:
            raise ValueError(f"layer {layer} does not exist")
        archives.append(archive)
    return archives


def runtime_directory() -> Path:
    """Return the directory of the packages that Lambda's Python runtime brings."""
    return Path(tempfile.gettempdir()) / "runtime"


def debugger_directory() -> Path:
    """Return the directory of the debugger, which only a function that is debugged can import."""
    return Path(tempfile.gettempdir()) / "debugger"


def linked(directory: Path, *, at: Path) -> Path:
    """Return a link to the directory, whose path is always the same."""
    at.unlink(missing_ok=True)
    at.symlink_to(directory, target_is_directory=True)
    return at


def link_packages(directory: Path, *packages: str) -> None:
    """Create a directory of links to packages of the emulator's environment.

    Their dependencies are linked, too.
    """
    directory.mkdir()
    names, done = list(packages), set[str]()
    while names:
        name = names.pop()
        if name in done:
            continue
        done.add(name)
        package = distribution(name)
        for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            (directory / top).symlink_to(str(package.locate_file(top)))
        required = (
            re.match(r"[\w.-]+", line) for line in package.requires or () if "extra ==" not in line
        )
        names += [match[0] for match in required if match]


def is_python(config: Config) -> bool:
    return str(config.get("Runtime")).startswith("python")


def install() -> None:
    """Make ministack run Python functions in PythonWorkers, which write the logs themselves."""
    link_packages(runtime_directory(), *BROUGHT_BY_LAMBDA)
    link_packages(debugger_directory(), "debugpy")
    worker_class = lambda_runtime._worker_class_for
    run = lambda_svc._execute_function_warm
    run_custom_runtime = lambda_svc._execute_function_provided_warm
    write_log = lambda_svc._emit_lambda_logs

    def execute(function: dict[str, Any], event: Any, request_id: str) -> Result:
        config = function.get("config") or function
        # As with custom runtimes, the worker returns what the caller gets.
        run_function = run_custom_runtime if is_python(config) else run
        result: Result = run_function(function, event, request_id)
        return result

    def write_log_of_others(function: dict[str, Any], *args: Any, **options: Any) -> None:
        if not is_python(function.get("config") or function):
            write_log(function, *args, **options)

    lambda_runtime._worker_class_for = lambda config: (
        PythonWorker if is_python(config) else worker_class(config)
    )
    lambda_svc._execute_function_warm = execute
    lambda_svc._emit_lambda_logs = write_log_of_others
