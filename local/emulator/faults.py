"""Make AWS calls fail or wait, for a limited time.

Each fault belongs to a group. `POST /_faults/GROUP` on the emulator's port replaces the faults of
this group only. `GET` returns for how many seconds they still last.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from local.expiry import LONGEST, ends_at, remaining

PATH = "/_faults/"

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
    """How many more calls are affected. None stands for all calls until the fault ends."""
    seconds: float = LONGEST
    """How long the fault lasts at most."""

    def __post_init__(self) -> None:
        self.until = ends_at(self.seconds)

    def affects(self, service: str, action: str) -> bool:
        return self.service == service and self.action in (None, action) and self.count != 0

    @property
    def remaining(self) -> float:
        return remaining(self.until)


def with_faults(app: App) -> App:
    """Return the app with the faults that clients have set."""
    groups: dict[str, list[Fault]] = {}

    async def wrapped(
        scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any
    ) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        if scope["path"].startswith(PATH):
            group = scope["path"].removeprefix(PATH)
            if scope["method"] == "POST":
                groups[group] = [Fault(**fault) for fault in json.loads(await read_body(receive))]
            left = max((fault.remaining for fault in groups.get(group, [])), default=0)
            return await send_response(send, 200, json.dumps(left).encode())
        faults = [fault for group in groups.values() for fault in group if fault.remaining]
        if not faults:
            return await app(scope, receive, send)
        body = await read_body(receive)
        service, action = _call(scope, body)
        fault = next((fault for fault in faults if fault.affects(service, action)), None)
        if fault:
            fault.count = None if fault.count is None else fault.count - 1
            await asyncio.sleep(min(fault.delay, fault.remaining))
            if fault.status:
                return await send_response(send, fault.status)
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


async def send_response(send: Any, status: int, body: bytes = b"") -> None:
    """Send a response, by default without a body.

    If the status is an error, botocore reads it as one in every protocol.
    """
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
