"""A debugger that attaches to a function, by the protocol that editors use."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from local.cloud import Cloud
from local.emulator import DEBUGGED_LINK
from settings import ENVIRONMENTS
from tests.support.functions import archive, create_function

SOURCE = """
import os
def handler(event, context):
    answer = event["asked"] * 2
    return {"answer": answer, "process": os.getpid()}
"""
BREAKPOINT = 5
"""The line of SOURCE that returns."""
TIMEOUT = 1
"""Seconds that the function may take while it is not debugged."""


class DebugClient:
    """A client of the Debug Adapter Protocol."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._stream = self._socket.makefile("rb")
        self._sent = 0
        self._messages: list[dict[str, Any]] = []

    def send(self, command: str, **arguments: Any) -> int:
        """Send a request, and return its number."""
        self._sent += 1
        request = {"seq": self._sent, "type": "request", "command": command}
        body = json.dumps(request | {"arguments": arguments}).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return self._sent

    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a request, and return the body of its response."""
        return self.response(self.send(command, **arguments))

    def response(self, number: int) -> dict[str, Any]:
        response = self._wait(type="response", request_seq=number)
        assert response["success"], response
        return dict(response.get("body") or {})

    def event(self, name: str) -> dict[str, Any]:
        return dict(self._wait(type="event", event=name).get("body") or {})

    def _wait(self, **members: Any) -> dict[str, Any]:
        """Return the first message that has these members."""
        while True:
            for message in self._messages:
                if members.items() <= message.items():
                    self._messages.remove(message)
                    return message
            length = 0
            while line := self._stream.readline().strip():
                length = int(line.removeprefix(b"Content-Length:"))
            self._messages.append(json.loads(self._stream.read(length)))

    def attach(self, *, sources: Path, deployed: Path, file: str, line: int) -> None:
        """Attach as an editor does, with one breakpoint in a file of `sources`."""
        self.request("initialize", adapterID="test", pathFormat="path")
        mapping = {"localRoot": str(sources), "remoteRoot": str(deployed)}
        attached = self.send("attach", pathMappings=[mapping])
        self.event("initialized")
        breakpoints = self.request(
            "setBreakpoints", source={"path": str(sources / file)}, breakpoints=[{"line": line}]
        )
        assert [point["verified"] for point in breakpoints["breakpoints"]] == [True]
        self.request("configurationDone")
        self.response(attached)

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    cloud.start_emulator()
    name = ENVIRONMENTS["local"].function_name("sales")
    code = archive(sales__handler=SOURCE)
    create_function(cloud, name, code, Handler="sales.handler.handler", Timeout=TIMEOUT)
    try:
        yield cloud
    finally:
        cloud.stop()


def ask(cloud: Cloud, number: int) -> dict[str, Any]:
    """Invoke the function, and return its result."""
    name = ENVIRONMENTS["local"].function_name("sales")
    payload = json.dumps({"asked": number})
    response = cloud.client("lambda").invoke(FunctionName=name, Payload=payload)
    return dict(json.load(response["Payload"]))


def test_breakpoint_holds_the_function_beyond_its_timeout(cloud: Cloud, tmp_path: Path) -> None:
    port = cloud.debug("sales")
    assert port
    client = DebugClient(port)
    client.attach(
        sources=tmp_path,
        deployed=cloud.directory / DEBUGGED_LINK,
        file="sales/handler.py",
        line=BREAKPOINT,
    )
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(ask, cloud, 21)
        thread = client.event("stopped")["threadId"]
        frame = client.request("stackTrace", threadId=thread)["stackFrames"][0]
        assert frame["source"]["path"] == str(tmp_path / "sales/handler.py")
        assert frame["line"] == BREAKPOINT
        value = client.request("evaluate", frameId=frame["id"], expression="answer")
        assert value["result"] == "42"
        # Another process handles what comes meanwhile.
        assert ask(cloud, 1)["answer"] == 2
        with pytest.raises(TimeoutError):
            asked.result(timeout=TIMEOUT + 0.5)
        client.request("continue", threadId=thread)
        assert asked.result(timeout=20)["answer"] == 42
    client.close()


def test_function_is_not_debugged_after_the_end(cloud: Cloud) -> None:
    port = cloud.debug("sales")
    assert port
    debugged = ask(cloud, 1)["process"]
    assert ask(cloud, 1)["process"] == debugged
    cloud.debug(None)
    assert ask(cloud, 1)["process"] != debugged
    with pytest.raises(ConnectionRefusedError):
        DebugClient(port)
