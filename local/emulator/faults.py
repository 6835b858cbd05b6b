"""Refuses or delays AWS calls on demand. `POST /_faults` on the emulator's port replaces all that is set."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

PATH = "/_faults"

App = Callable[
    [dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]],
    Awaitable[None],
]


@dataclass(kw_only=True)
class Fault:
    """What happens to calls of a service: after `delay` seconds they are refused, or without a status served."""

    service: str
    """As in a signature's scope: `sns`, `sqs`, `secretsmanager`."""
    action: str | None = None
    """None: every one."""
    status: int | None = None
    delay: float = 0
    count: int | None = None
    """How many calls it happens to; None: all until the faults are replaced."""

    def hits(self, service: str, action: str) -> bool:
        return self.service == service and self.action in (None, action) and self.count != 0


def faulty(app: App) -> App:
    faults: list[Fault] = []

    async def wrapped(
        scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any
    ) -> None:
        if scope["type"] != "http" or (scope["path"] != PATH and not faults):
            return await app(scope, receive, send)
        body = await read_body(receive)
        if scope["path"] == PATH:
            faults[:] = [Fault(**fault) for fault in json.loads(body)]
            return await answer(send, 204)
        service, action = _call(scope, body)
        fault = next((fault for fault in faults if fault.hits(service, action)), None)
        if fault:
            fault.count = None if fault.count is None else fault.count - 1
            await asyncio.sleep(fault.delay)
            if fault.status:
                return await answer(send, fault.status)
        whole = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Any:
            return next(whole, None) or await receive()

        await app(scope, replay, send)

    return wrapped


async def read_body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _call(scope: dict[str, Any], body: bytes) -> tuple[str, str]:
    """Service and action, where the caller signed them in a header; AWS's JSON protocols name the action in another."""
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
    credential = (
        headers.get("authorization", "").partition("Credential=")[2].partition(",")[0].split("/")
    )
    service = credential[3] if len(credential) == 5 else ""
    target = headers.get("x-amz-target", "").rpartition(".")[2]
    return service, target or parse_qs(body.decode("latin-1")).get("Action", [""])[0]


async def answer(send: Any, status: int) -> None:
    """Without a body: botocore takes that for an error in every protocol."""
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})
