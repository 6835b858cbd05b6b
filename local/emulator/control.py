"""Let the local cloud's commands start functions, debug one, and look at the queues' messages.

Each command is a request to the emulator's own port, below CONTROL_PATH. Its argument and its
result are JSON.
"""

import json
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ministack.core import lambda_runtime
from ministack.core.concurrency import run_reentrant
from ministack.services import lambda_svc, sqs

from local.emulator import CONTROL_PATH, function_runtime
from local.emulator.faults import App, read_body, send_response


def with_control(app: App) -> App:
    """Return the app with the commands of this module."""

    async def wrapped(
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(CONTROL_PATH):
            return await app(scope, receive, send)
        command = COMMANDS[scope["path"].removeprefix(CONTROL_PATH)]
        argument = json.loads(await read_body(receive))
        body = json.dumps(await run_reentrant(command, argument)).encode()
        await send_response(send, 200, body)

    return wrapped


def start(names: list[str]) -> dict[str, Any]:
    """Start an environment of each function. Return the errors of those that could not start."""
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        errors = dict(zip(names, pool.map(_start, names), strict=True))
    return {name: error for name, error in errors.items() if error}


def _start(name: str) -> Any:
    """Start an environment of the function, and return the error if it could not start."""
    function, config, _ = lambda_svc._get_func_record_for_ref(name)
    worker, _ = lambda_runtime.acquire_worker(name, config, function["code_zip"])
    try:
        lambda_svc._run_with_function_config_scope(config, lambda_runtime.ensure_spawned, worker)
    except function_runtime.InitFailed as failed:
        return failed.payload
    finally:
        lambda_runtime.release_worker(worker)
    return None


def debug(argument: dict[str, Any]) -> dict[str, Any]:
    """Let a debugger attach to one function only, or to none.

    argument: the name of the `function`, or None, and the `port` at which it waits. Return the
    function's error if it could not start.
    """
    debugger = function_runtime.debugger
    previous, debugger.function = debugger.function, argument["function"]
    debugger.port = argument["port"]
    for name in {previous, debugger.function} - {None}:
        lambda_runtime.invalidate_worker(name)
    return start([debugger.function]) if debugger.function else {}


def messages(names: list[str]) -> dict[str, Any]:
    """Return each message of these queues, without receiving it. Queues that do not exist are left out.

    Times are in milliseconds since the epoch. A message that moves to the dead-letter queue is in
    both for a moment. If that queue is named last, the message is never in neither.
    """
    queues = {queue["name"]: queue for queue in sqs._queues.values()}
    return {name: [*map(_seen, list(queues[name]["messages"]))] for name in names if name in queues}


def _seen(message: dict[str, Any]) -> dict[str, Any]:
    """Return what may be shown of a message: neither a name nor a callback token."""
    visible_at, receives = message["visible_at"], message["receive_count"]
    return {
        "message_id": message["id"],
        "order_id": _order_id(message["body"]),
        "receives": receives,
        "sent_at": int(message["sent_at"] * 1000),
        "visible_at": int(visible_at * 1000),
        "in_flight": receives > 0 and visible_at > time.time(),
    }


def _order_id(body: str) -> str | None:
    """Return the order in a message's body, which is SNS's envelope, or None if it has none."""
    try:
        return str(json.loads(body)["MessageAttributes"]["MessageAttributeOrderId"]["Value"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


COMMANDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "start": start,
    "debug": debug,
    "messages": messages,
}
