"""How Lambda's Python runtime logs where a function's log format is JSON.

The emulator puts this file's source before the script that runs a function, so it imports the standard library alone.
"""

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

END_OF_INVOCATION = "--- end of invocation ---"
"""The last line an invocation writes: whoever collects its log needn't guess when it is complete."""

_PLAIN_RECORD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVEL_NAMES = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"}

_request_id = ""


class LambdaJsonFormatter(logging.Formatter):
    """One JSON object a line: Lambda's fields, and what the caller passed as `extra=`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "requestId": _request_id,
        }
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN_RECORD}
        if record.exc_info and record.exc_info[0]:
            kind, error, trace = record.exc_info
            line |= {
                "errorType": kind.__name__,
                "errorMessage": str(error),
                "stackTrace": traceback.format_tb(trace),
            }
        return json.dumps(line, ensure_ascii=False, default=str)


def start_logging() -> None:
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") != "JSON":
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LambdaJsonFormatter())
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO")
    logging.basicConfig(handlers=[handler], level=_LEVEL_NAMES.get(level, level))
    logging.getLogger("botocore.configprovider").setLevel(logging.WARNING)  # it tells of AWS_ENDPOINT_URL each time


def call_logged(function: Callable[[Any, Any], Any], event: Any, context: Any) -> Any:
    """Call the function's handler as the runtime does: its request id in each line, its exception logged."""
    global _request_id
    _request_id = context.aws_request_id
    try:
        return function(event, context)
    except Exception:
        logging.getLogger().exception("Unhandled exception")
        raise
    finally:
        print(END_OF_INVOCATION, file=sys.stderr, flush=True)


start_logging()
