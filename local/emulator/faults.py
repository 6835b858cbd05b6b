"""Make AWS calls fail or wait, for tests.

`POST /_faults` on the emulator's port replaces all faults.
"""

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
    """A fault of a service: calls wait for `delay` seconds, and fail if there is a `status`."""

    service: str
    """The service's name in signatures, such as `sns`, `sqs` or `secretsmanager`."""
    action: str | None = None
    """None stands for every action."""
    status: int | None = None
    delay: float = 0
    count: int | None = None
    """How many more calls are affected. None stands for all calls until the faults are replaced."""

    def affects(self, service: str, action: str) -> bool:
        return self.service == service and self.action in (None, action) and self.count != 0


def with_faults(app: App) -> App:
    """Return the app with the faults that clients have set."""
    faults: list[Fault] = []

    async def wrapped(
        scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any
    ) -> None:
        if scope["type"] != "http" or (scope["path"] != PATH and not faults):
            return await app(scope, receive, send)
        body = await read_body(receive)
        if scope["path"] == PATH:
            faults[:] = [Fault(**fault) for fault in json.loads(body)]
            return await send_status(send, 204)
        service, action = _call(scope, body)
        fault = next((fault for fault in faults if fault.affects(service, action)), None)
        if fault:
            fault.count = None if fault.count is None else fault.count - 1
            await asyncio.sleep(fault.delay)
            if fault.status:
                return await send_status(send, fault.status)
        whole = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Any:
            return next(whole, None) or await receive()

        await app(scope, replay, send)

    return wrapped


async def read_body(receive: Callable[[], Awaitable[Any]]) -> bytes:
    """Return the request's whole body."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _call(scope: dict[str, Any], body: bytes) -> tuple[str, str]:
    """Return the service and the action of a call, each empty if unknown.

    The service is in the signature. The action is in a header with AWS's JSON protocols, and else
    in the body.
    """
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
    credential = (
        headers.get("authorization", "").partition("Credential=")[2].partition(",")[0].split("/")
    )
    service = credential[3] if len(credential) == 5 else ""
    target = headers.get("x-amz-target", "").rpartition(".")[2]
    return service, target or parse_qs(body.decode("latin-1")).get("Action", [""])[0]


async def send_status(send: Any, status: int) -> None:
    """Send a response without a body.

    If the status is an error, botocore reads it as one in every protocol.
    """
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body", "body": b""})
