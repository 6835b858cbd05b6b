"""Limit how many execution environments a function has at the same time.

The limit protects this machine, and does not exist on AWS: each environment is a process, and more
of them than the machine can run make every request slower. Invocations beyond the limit wait for
their turn, in the order of arrival. A request waits for REQUEST_SECONDS and is then throttled, as
Lambda throttles at a limit of its own. Events of queues and schedules wait for as long as it takes,
so none is lost.
"""

from contextvars import ContextVar
from typing import Any

from ministack.services import lambda_svc

from local.emulator.turns import Turns

REQUEST_SECONDS = 2.0

patience: ContextVar[float | None] = ContextVar("patience", default=None)
"""Seconds that an invocation waits for its turn at most. None: without a limit."""


def install(limit: int) -> None:
    """Make ministack run at most `limit` invocations of a function at the same time."""
    acquire, release = lambda_svc._acquire_execution_slot, lambda_svc._release_execution_slot
    invoke = lambda_svc._invoke
    turns: dict[str, Turns] = {}

    def acquire_in_turn(func: dict[str, Any], config: dict[str, Any]) -> tuple[str | None, Any]:
        function = turns.setdefault(lambda_svc._inflight_key(config), Turns(limit))
        if not function.take(within=patience.get()):
            return None, "function"
        slot, reached = acquire(func, config)
        if slot is None:
            function.give_back()
        return slot, reached

    def release_in_turn(key: str | None) -> None:
        release(key)
        if key is not None:
            turns[key].give_back()

    async def invoke_with_patience(
        name: str, event: Any, headers: dict[str, str], *options: Any
    ) -> Any:
        asynchronous = headers.get("x-amz-invocation-type") == "Event"
        patience.set(None if asynchronous else REQUEST_SECONDS)
        return await invoke(name, event, headers, *options)

    lambda_svc._acquire_execution_slot = acquire_in_turn
    lambda_svc._release_execution_slot = release_in_turn
    lambda_svc._invoke = invoke_with_patience
