"""The consumer's HTTP client, against a real server: only a whole response places an order."""

import importlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import requests
import trustme

from common import messages
from tests.support.orders import ORDER
from tests.support.variables import set_variables

WHOLE = {
    "without a body": b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
    "with a body": b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}",
    "until the connection closes": b"HTTP/1.1 201 Created\r\n\r\n{}",
    "without headers": b"HTTP/1.1 201 Created\r\n\r\n",
    "in chunks": b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nok",
    "newlines only": b"HTTP/1.1 201 Created\nContent-Length: 0\n\n",
    "after 100 Continue": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
    ),
}
CUT_OFF = {
    "nothing": b"",
    "inside the status line": b"HTTP/1.1 201 Cre",
    "before the newline of the status line": b"HTTP/1.1 201 Created\r",
    "after the status line": b"HTTP/1.1 201 Created\r\n",
    "inside a header's name": b"HTTP/1.1 201 Created\r\nContent-Le",
    "before a header's newline": b"HTTP/1.1 201 Created\r\nContent-Length: 0",
    "after a header": b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n",
    "inside the empty line": b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r",
    "204, after a header": b"HTTP/1.1 204 No Content\r\nServer: x\r\n",
    "inside the headers of 100 Continue": b"HTTP/1.1 100 Continue\r\n",
    "after 100 Continue": b"HTTP/1.1 100 Continue\r\n\r\n",
}


class OneResponseFactory:
    """A server that takes one request, responds with these bytes and closes the connection.

    certificate: for TLS; None: plain HTTP.
    """

    def __init__(self, response: bytes, *, certificate: trustme.LeafCert | None = None) -> None:
        self.response, self.certificate = response, certificate
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "OneResponseFactory":
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.thread.join(timeout=10)
        self.listener.close()

    @property
    def url(self) -> str:
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://localhost:{self.listener.getsockname()[1]}/api/manufactures"

    def _serve(self) -> None:
        self.listener.settimeout(10)
        connection, _ = self.listener.accept()
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.certificate.configure_cert(context)
            connection = context.wrap_socket(connection, server_side=True)
        with connection:
            head, _, body = self._receive(connection).partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split()[0])
            while len(body) < length:
                body += connection.recv(65536)
            assert json.loads(body)["MessageAttributeProductCnt"] == "12"
            connection.sendall(self.response)

    def _receive(self, connection: socket.socket) -> bytes:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        return received


@pytest.fixture
def consume(monkeypatch: pytest.MonkeyPatch) -> Callable[[OneResponseFactory], list[str]]:
    """Return a function that consumes one message.

    It returns the ids of the messages that go back to the queue.
    """

    def consume(factory: OneResponseFactory) -> list[str]:
        set_variables(monkeypatch, FACTORY_URL=factory.url, FACTORY_DEADLINE="5")
        consumer: ModuleType = importlib.reload(importlib.import_module("consumer.handler"))
        monkeypatch.setattr(consumer, "postpone", lambda record, order: None)
        attributes = {
            name: {"Type": "String", "Value": str(getattr(ORDER, field))}
            for field, name in messages.ATTRIBUTES.items()
        }
        record = {
            "messageId": "message-0",
            "body": json.dumps({"MessageAttributes": attributes}),
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "0"},
        }
        context = SimpleNamespace(get_remaining_time_in_millis=lambda: 20_000)
        response: dict[str, list[dict[str, Any]]] = consumer.handler({"Records": [record]}, context)
        return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]

    return consume


@pytest.fixture
def certificate(monkeypatch: pytest.MonkeyPatch) -> trustme.LeafCert:
    """Return a certificate that the consumer's sessions trust."""
    authority = trustme.CA()
    send = requests.adapters.HTTPAdapter.send

    def trusting(
        adapter: requests.adapters.HTTPAdapter, *arguments: Any, **options: Any
    ) -> requests.Response:
        with authority.cert_pem.tempfile() as file:
            return send(adapter, *arguments, **{**options, "verify": file})

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", trusting)
    return authority.issue_cert("localhost")


@pytest.mark.parametrize("response", WHOLE.values(), ids=WHOLE)
def test_whole_response_places_the_order(
    response: bytes, consume: Callable[[OneResponseFactory], list[str]]
) -> None:
    with OneResponseFactory(response) as factory:
        assert consume(factory) == []


@pytest.mark.parametrize("response", CUT_OFF.values(), ids=CUT_OFF)
def test_response_cut_off_in_its_headers_leaves_the_message(
    response: bytes,
    consume: Callable[[OneResponseFactory], list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with OneResponseFactory(response) as factory:
        assert consume(factory) == ["message-0"]
    (line,) = [vars(record) for record in caplog.records if record.msg == "not placed"]
    assert line["reason"] == "the response ends inside the headers"


@pytest.mark.parametrize(
    ("response", "failures"),
    [(WHOLE["without a body"], []), (CUT_OFF["after a header"], ["message-0"])],
    ids=["whole", "cut off"],
)
def test_only_a_whole_response_places_the_order_over_tls(
    response: bytes,
    failures: list[str],
    certificate: trustme.LeafCert,
    consume: Callable[[OneResponseFactory], list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with OneResponseFactory(response, certificate=certificate) as factory:
        assert consume(factory) == failures
    reasons = [vars(record)["reason"] for record in caplog.records if record.msg == "not placed"]
    assert reasons == ["the response ends inside the headers"] * len(failures)


def test_other_sessions_still_accept_a_cut_off_response() -> None:
    """The consumer's client is its own: requests is not patched for the rest of the process."""
    with OneResponseFactory(CUT_OFF["after a header"]) as factory:
        order = {"MessageAttributeProductCnt": str(ORDER.quantity)}
        assert requests.post(factory.url, json=order, timeout=5).status_code == 201
