"""Write a function's output, and Lambda's own events, to the function's log group."""

import json
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Any
from uuid import uuid4

from ministack.services import cloudwatch_logs, lambda_svc

FRAME_HEADER = 16
"""Bytes: type (4), length (4), and time in microseconds (8)."""
SYSTEM_LEVELS = ("DEBUG", "INFO", "WARN")
ENDPOINT_NOTICE = '"logger": "botocore.configprovider"'
"""Part of a line that botocore logs for each client when AWS_ENDPOINT_URL is set.

On AWS it is not set.
"""

Config = dict[str, Any]


def group_name(config: Config) -> str:
    logging_config = config.get("LoggingConfig") or {}
    return logging_config.get("LogGroup") or f"/aws/lambda/{config['FunctionName']}"


def is_json(config: Config) -> bool:
    return (config.get("LoggingConfig") or {}).get("LogFormat") == "JSON"


class LogStream:
    """The log stream of one execution environment."""

    def __init__(self, config: Config) -> None:
        self.group = group_name(config)
        self.name = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{config['Version']}]{uuid4().hex}"
        self.invocation: list[str] = []
        """The lines that were written since the invocation began."""
        self._config = config

    def write(self, message: str, *, milliseconds: int | None = None) -> None:
        """Append an event. milliseconds: its time since the epoch; by default now."""
        if ENDPOINT_NOTICE in message:
            return
        message = message.removesuffix("\n")
        self.invocation.append(message)
        event = {"timestamp": milliseconds or int(time.time() * 1000), "message": message}
        lambda_svc._run_with_function_config_scope(self._config, self._put, event)

    def _put(self, event: dict[str, Any]) -> None:
        """Store an event. Create the group and the stream first if they do not exist."""
        stream = {"logGroupName": self.group, "logStreamName": self.name}
        if cloudwatch_logs._put_log_events(stream | {"logEvents": [event]})[0] != 200:
            cloudwatch_logs._create_log_group(stream)
            cloudwatch_logs._create_log_stream(stream)
            cloudwatch_logs._put_log_events(stream | {"logEvents": [event]})


class LogReader:
    """Reads the output and the telemetry file of a process, and writes to a log stream."""

    def __init__(self, *, output: int, telemetry: int, stream: LogStream) -> None:
        """Start reading. output, telemetry: the reading ends of two pipes.

        They are closed when the process has ended.
        """
        self._stream = stream
        self._output = output
        self._buffers = {output: bytearray(), telemetry: bytearray()}
        self._parsers: Mapping[int, Callable[[bytearray], Iterator[tuple[str, int | None]]]] = {
            output: _lines,
            telemetry: _frames,
        }
        self._lock = Lock()
        for descriptor in self._buffers:
            os.set_blocking(descriptor, False)
        self._thread = Thread(target=self._follow, daemon=True)
        self._thread.start()

    def drain(self) -> None:
        """Read everything that was written before this call, even a line without a newline."""
        with self._lock:
            for descriptor in list(self._buffers):
                self._read(descriptor)
            self._write_rest(self._output)

    def _write_rest(self, descriptor: int) -> None:
        """Write a line that has no newline yet."""
        if rest := self._buffers.get(descriptor):
            self._stream.write(rest.decode(errors="replace"))
            rest.clear()

    def join(self) -> None:
        """Wait until the log of a process that was killed has been read, for a second at most."""
        self._thread.join(timeout=1)

    def _follow(self) -> None:
        """Read both pipes until their ends."""
        poll = select.poll()
        for descriptor in self._buffers:
            poll.register(descriptor, select.POLLIN)
        while self._buffers:
            for descriptor, _ in poll.poll():
                with self._lock:
                    if not self._read(descriptor):
                        poll.unregister(descriptor)
                        self._write_rest(descriptor)
                        del self._buffers[descriptor]
                        os.close(descriptor)

    def _read(self, descriptor: int) -> bool:
        """Read what is there and write it to the stream. Return False at the end of the pipe."""
        buffer = self._buffers[descriptor]
        while True:
            try:
                chunk = os.read(descriptor, 64 * 1024)
            except BlockingIOError:
                return True
            buffer += chunk
            for message, milliseconds in self._parsers[descriptor](buffer):
                self._stream.write(message, milliseconds=milliseconds)
            if not chunk:
                return False


def _lines(buffer: bytearray) -> Iterator[tuple[str, None]]:
    """Remove the complete lines from a buffer and yield them."""
    *lines, rest = buffer.split(b"\n")
    buffer[:] = rest
    for line in lines:
        yield line.decode(errors="replace"), None


def _frames(buffer: bytearray) -> Iterator[tuple[str, int]]:
    """Remove the complete frames from a buffer and yield them.

    Each is an event with its time in milliseconds.
    """
    while len(buffer) >= FRAME_HEADER:
        end = FRAME_HEADER + int.from_bytes(buffer[4:8], "big")
        if len(buffer) < end:
            return
        milliseconds = int.from_bytes(buffer[8:16], "big") // 1000
        message = buffer[FRAME_HEADER:end].decode(errors="replace")
        del buffer[:end]
        yield message, milliseconds


@dataclass(kw_only=True)
class Report:
    """The content of the report that Lambda writes at the end of an invocation."""

    request_id: str
    memory_mb: int
    version: str = "$LATEST"
    status: str = "success"
    error_type: str | None = None
    init_ms: float | None = None
    """None for a warm start."""
    max_memory_mb: int = 0
    began: float = field(default_factory=time.monotonic)

    def metrics(self) -> dict[str, float]:
        duration = round((time.monotonic() - self.began) * 1000, 3)
        metrics = {
            "durationMs": duration,
            "billedDurationMs": int(duration) + 1,
            "memorySizeMB": self.memory_mb,
            "maxMemoryUsedMB": self.max_memory_mb,
        }
        return metrics if self.init_ms is None else metrics | {"initDurationMs": self.init_ms}


class SystemLog:
    """Writes Lambda's own events about invocations.

    These are the start and the report of an invocation, and the report of a failed initialization.
    In JSON, only events of the function's system log level are written.
    """

    def __init__(self, config: Config, stream: LogStream) -> None:
        level = (config.get("LoggingConfig") or {}).get("SystemLogLevel") or "INFO"
        self._json = is_json(config)
        self._visible = SYSTEM_LEVELS[SYSTEM_LEVELS.index(level) :]
        self._stream = stream

    def start(self, report: Report) -> None:
        self._write(
            "INFO",
            "platform.start",
            {"requestId": report.request_id, "version": report.version},
            text=f"START RequestId: {report.request_id} Version: {report.version}",
        )

    def init_failed(self, *, error_type: str, duration_ms: float, phase: str) -> None:
        self._write(
            "WARN",
            "platform.initReport",
            {
                "initializationType": "on-demand",
                "status": "timeout" if error_type == "Sandbox.Timedout" else "error",
                "errorType": error_type,
                "phase": phase,
                "metrics": {"durationMs": duration_ms},
            },
            text="\t".join(
                [
                    f"INIT_REPORT Init Duration: {duration_ms} ms",
                    f"Phase: {phase}",
                    f"Error Type: {error_type}",
                ]
            ),
        )

    def report(self, report: Report) -> None:
        metrics = report.metrics()
        text = [
            f"REPORT RequestId: {report.request_id}",
            f"Duration: {metrics['durationMs']} ms",
            f"Billed Duration: {metrics['billedDurationMs']} ms",
            f"Memory Size: {report.memory_mb} MB",
            f"Max Memory Used: {report.max_memory_mb} MB",
        ]
        if report.init_ms is not None:
            text.append(f"Init Duration: {report.init_ms} ms")
        record: dict[str, Any] = {
            "requestId": report.request_id,
            "metrics": metrics,
            "status": report.status,
        }
        if report.error_type:
            record["errorType"] = report.error_type
            text += [f"Status: {report.status}", f"Error Type: {report.error_type}"]
        if not self._json:
            self._stream.write(f"END RequestId: {report.request_id}")
        level = "INFO" if report.status == "success" else "WARN"
        self._write(level, "platform.report", record, text="\t".join(text))

    def _write(self, level: str, kind: str, record: dict[str, Any], *, text: str) -> None:
        """Write an event in the function's log format.

        Lambda applies levels to the JSON format only.
        """
        now = time.time()
        if not self._json:
            self._stream.write(text)
        elif level in self._visible:
            seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
            stamp = f"{seconds}.{int(now * 1000) % 1000:03d}Z"
            self._stream.write(json.dumps({"time": stamp, "type": kind, "record": record}))
