"""console/server.py: what the console's server sends to a browser, and what it rejects.

Its page, what it shows and what it does are replaced.
"""

import http.client
import inspect
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from console import server
from console.actions import Actions, LocalActions, Rejected
from console.live import Live
from console.routes import ACTIONS, FILES
from console.server import MAX_BODY, ConsoleServer
from console.texts import TEXTS
from console.view import Order
from local.polling import eventually
from settings import PROJECT
from tests.support.fake_console import EMPTY, FakeActions, FakeLive, FakeReports
from tests.support.serving import serving

WITHIN = 10
OWN = {"X-Console": "1"}
ORIGINALS: dict[type, list[type]] = {
    FakeLive: [Live],
    FakeReports: [Live],
    FakeActions: [Actions, LocalActions],
}


def public_methods(fake: type) -> list[str]:
    return [
        name
        for name, value in vars(fake).items()
        if inspect.isfunction(value) and not name.startswith("_")
    ]


@pytest.mark.parametrize("fake", ORIGINALS, ids=lambda fake: fake.__name__)
def test_stand_in_has_the_signatures_of_its_original(fake: type) -> None:
    for original in ORIGINALS[fake]:
        for name in public_methods(fake):
            theirs = getattr(original, name, None)
            assert theirs, f"{original.__name__} has no method {name}"
            assert str(inspect.signature(vars(fake)[name])) == str(inspect.signature(theirs)), name


@dataclass(frozen=True, kw_only=True)
class Console:
    """A console that is served, with its stand-ins."""

    server: ConsoleServer
    live: FakeLive
    actions: FakeActions

    @property
    def port(self) -> int:
        return self.server.server_port

    def send(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        *,
        host: str = "",
        **headers: str,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request, and return the status, the headers and the body of the response.

        headers: with an underscore instead of a hyphen.
        """
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN)) as client:
            client.putrequest(method, path, skip_host=True)
            client.putheader("Host", host or f"127.0.0.1:{self.port}")
            for name, value in headers.items():
                client.putheader(name.replace("_", "-"), value)
            content = body.encode() if isinstance(body, str) else body
            if content is not None:
                client.putheader("Content-Length", str(len(content)))
            client.endheaders(content)
            response = client.getresponse()
            return response.status, dict(response.getheaders()), response.read()

    def act(self, path: str, body: str | bytes | None = None) -> tuple[int, dict[str, Any]]:
        """Send a POST request as the page does, and return the status and the JSON."""
        status, _, content = self.send("POST", path, body, X_Console="1")
        return status, json.loads(content)

    def watch(self) -> "Events":
        return Events(self.port)


class Events:
    """A client that reads the events."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WITHIN)
        self._socket.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        self._lines = self._socket.makefile("rb")
        self.head = self.paragraph()

    def paragraph(self) -> list[str]:
        """Return the lines until the next empty one. Raises EOFError at the end."""
        lines: list[str] = []
        while line := self._lines.readline():
            if line in (b"\r\n", b"\n"):
                return lines
            lines.append(line.decode().rstrip())
        raise EOFError

    def view(self) -> dict[str, Any]:
        """Return the view of the next event."""
        while True:
            lines = self.paragraph()
            if lines[0] == "event: view":
                return dict(json.loads(lines[1].removeprefix("data: ")))

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@pytest.fixture
def console() -> Iterator[Console]:
    live, actions = FakeLive(), FakeActions()
    served = ConsoleServer(cast(Live, live), cast(Actions, actions), port=0)
    with serving(served):
        yield Console(server=served, live=live, actions=actions)


def test_each_action_is_a_method_with_these_fields() -> None:
    for path, action in ACTIONS.items():
        parameters = inspect.signature(getattr(Actions, action.method)).parameters.values()
        names = {each.name for each in parameters} - {"self"} - ({"name"} if "*" in path else set())
        optional = {each.name for each in parameters if each.default is not each.empty}
        assert names == {*action.required, *action.optional}, path
        assert optional == {*action.optional}, path
    methods = {name for name in vars(Actions) if not name.startswith("_")}
    assert {action.method for action in ACTIONS.values()} == methods


# --- what is served ---


@pytest.mark.parametrize("path", FILES)
def test_file_is_served_with_its_type(
    path: str, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, content_type = FILES[path]
    file = tmp_path / "file"
    file.write_bytes("도넛".encode())
    monkeypatch.setitem(cast(Any, FILES), path, (file, content_type))
    status, headers, content = console.send("GET", f"{path}?lang=en")
    assert (status, content.decode()) == (200, "도넛")
    assert headers["Content-Type"] == content_type
    file.unlink()
    status, _, content = console.send("GET", path)
    assert status == 404
    assert "is not installed" in json.loads(content)["message"]


def test_document_of_the_api_and_texts_are_served(console: Console) -> None:
    assert console.send("GET", "/openapi.yaml")[2] == (PROJECT / "docs/openapi.yaml").read_bytes()
    _, headers, content = console.send("GET", "/texts.json")
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(content) == TEXTS


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("StuckOrders", "StuckOrders"),
        ("RelayErrors", "SalesErrors, RestockErrors, OperateErrors, RelayErrors, ConsumerErrors, "),
        ("Find%20out%20whether%20the%20shop%20works", "Find out whether the shop works"),
    ],
)
def test_section_of_the_runbook_is_served(name: str, heading: str, console: Console) -> None:
    status, headers, content = console.send("GET", f"/runbook/{name}")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert content.decode().startswith(heading)
    assert "## " not in content.decode()


def test_order_is_served_with_its_hops(console: Console) -> None:
    order = Order(
        order_id="a-1", slug="donut", quantity=5, status="arrived", place="arrived", requested_at=1
    )
    console.live.orders["a-1"] = order
    status, _, content = console.send("GET", "/order/a-1")
    assert status == 200
    assert json.loads(content)["quantity"] == 5
    assert console.send("GET", "/order/a-2")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/console/page/index.html",
        "/vendor/uplot/",
        "/vendor/uplot/../../package.json",
        "/vendor/uplot/../../../settings.py",
        "/vendor/uplot/%2e%2e/%2e%2e/%2e%2e/settings.py",
        "/vendor/uplot/..%2f..%2f..%2fsettings.py",
        "/vendor/uplot/..%5c..%5c..%5csettings.py",
        "/vendor/uplot/..;/..;/settings.py",
        "/vendor/swagger-ui/../uplot/uPlot.min.css",
        "/../settings.py",
        "//etc/passwd",
        "/etc/passwd",
        "/.local/mysql.cnf",
        "/runbook/../decisions",
        "/runbook/..%2f..%2fsettings.py",
        "/runbook/",
        "/runbook/nothing",
        "/order/",
        "/order/../order/a",
        "/order/%27%20OR%201=1",
        "/console.js/",
        "/events/",
        "http://127.0.0.1/console.js",
        "*",
    ],
)
def test_other_path_is_not_found(path: str, console: Console) -> None:
    for method in ("GET", "POST"):
        status, headers, content = console.send(method, path, X_Console="1")
        assert (status, json.loads(content)) == (404, {"message": "Not Found"}), method
        assert headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    "method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"]
)
def test_other_method_is_rejected(method: str, console: Console) -> None:
    """A browser asks with OPTIONS whether another page may send the console's header."""
    status, headers, _ = console.send(
        method, "/buy", Origin="http://evil.test", Access_Control_Request_Method="POST"
    )
    assert status == 501
    assert not [name for name in headers if name.lower().startswith("access-control")]


SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def test_every_response_has_the_headers(console: Console) -> None:
    responses = {
        "a file": console.send("GET", "/openapi.yaml"),
        "nothing": console.send("GET", "/nothing"),
        "another host": console.send("GET", "/", host="evil.test"),
        "an action": console.send("POST", "/relay", X_Console="1"),
        "another method": console.send("PUT", "/"),
        "a path that is too long": console.send("GET", "/" + "a" * 70_000),
    }
    for case, (_, headers, _) in responses.items():
        assert {name: headers.get(name) for name in SAFE} == SAFE, case
        policy = headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'self'", "frame-ancestors 'none'"} <= set(policy), case
    events = console.watch()
    assert set(SAFE.items()) <= {tuple(line.split(": ", 1)) for line in events.head[1:]}
    events.close()


def test_page_of_the_api_may_be_in_a_frame_of_the_console(console: Console) -> None:
    policy = console.send("GET", "/api.html")[1]["Content-Security-Policy"].split("; ")
    assert {"default-src 'self'", "img-src 'self' data:", "frame-ancestors 'self'"} <= set(policy)


# --- which requests are the console's own ---

FOREIGN: dict[str, dict[str, str]] = {
    "another host": {"host": "evil.test"},
    "another host with the port": {"host": "evil.test:{port}"},
    "no port": {"host": "127.0.0.1"},
    "another port": {"host": "127.0.0.1:1"},
    "another address of this machine": {"host": "127.0.0.2:{port}"},
    "the address of all interfaces": {"host": "0.0.0.0:{port}"},
    "another origin": {"Origin": "http://evil.test"},
    "another port's origin": {"Origin": "http://127.0.0.1:1"},
    "an origin with https": {"Origin": "https://127.0.0.1:{port}"},
    "an origin that begins in the same way": {"Origin": "http://127.0.0.1:{port}.evil.test"},
    "the origin of a file or a sandboxed frame": {"Origin": "null"},
    "an empty origin": {"Origin": ""},
    "the console's other name as origin": {"Origin": "http://localhost:{port}"},
    "another page's request": {"Sec_Fetch_Site": "cross-site"},
    "a request of another port of localhost": {"Sec_Fetch_Site": "same-site"},
}


@pytest.mark.parametrize("case", FOREIGN)
def test_request_of_another_page_is_rejected(case: str, console: Console) -> None:
    given = {name: value.format(port=console.port) for name, value in FOREIGN[case].items()}
    requests = [("GET", path) for path in ("/", "/events", "/order/a", "/texts.json")]
    for method, path in [*requests, ("POST", "/heal"), ("POST", "/buy")]:
        status, _, content = console.send(method, path, X_Console="1", **given)
        assert status == 403, f"{method} {path}"
        assert json.loads(content).keys() == {"message"}
    assert console.actions.calls == []
    assert console.live.watching == 0


@pytest.mark.parametrize("hosts", [[], ["127.0.0.1:{port}", "evil.test"], ["127.0.0.1:{port}"] * 2])
def test_request_needs_one_host(hosts: list[str], console: Console) -> None:
    lines = [f"Host: {host.format(port=console.port)}\r\n" for host in hosts]
    with socket.create_connection(("127.0.0.1", console.port), timeout=WITHIN) as client:
        client.sendall(f"GET /texts.json HTTP/1.1\r\n{''.join(lines)}\r\n".encode())
        assert client.makefile("rb").readline().split()[1] == b"403"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"host": "localhost:{port}"},
        {"Origin": "http://127.0.0.1:{port}"},
        {"host": "localhost:{port}", "Origin": "http://localhost:{port}"},
        {"Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none"},
    ],
)
def test_request_of_the_console_is_accepted(given: dict[str, str], console: Console) -> None:
    given = {name: value.format(port=console.port) for name, value in given.items()}
    assert console.send("GET", "/texts.json", **given)[0] == 200
    assert console.send("POST", "/heal", X_Console="1", **given)[0] == 202


def test_link_on_another_page_opens_the_console(console: Console) -> None:
    """A frame of another page does not, and neither does a form."""
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert console.send("GET", "/texts.json", **link, Sec_Fetch_Dest="document")[0] == 200
    assert console.send("GET", "/texts.json", **link, Sec_Fetch_Dest="iframe")[0] == 403
    form = link | {"Sec_Fetch_Dest": "document", "X_Console": "1"}
    assert console.send("POST", "/heal", **form)[0] == 403


@pytest.mark.parametrize("given", [{}, {"X_Console": ""}, {"X_Console": "0"}, {"Console": "1"}])
@pytest.mark.parametrize("path", [path.replace("*", "sns") for path in ACTIONS])
def test_action_needs_the_header(path: str, given: dict[str, str], console: Console) -> None:
    body = json.dumps({"quantity": 1, "requester": "a", "buyers": 1, "at_once": 1, "count": 1})
    status, _, content = console.send("POST", path, body, **given)
    assert status == 403
    assert "X-Console" in json.loads(content)["message"]
    assert console.actions.calls == []


# --- actions ---

CALLS: list[tuple[str, str | None, int, object, tuple[object, ...]]] = [
    ("/rush", '{"buyers": 50, "at_once": 20}', 202, {}, ("rush", 50, 20)),
    ("/break/sns", None, 202, {}, ("break_down", "sns", 120.0)),
    ("/break/factory_off", '{"seconds": 2.5}', 202, {}, ("break_down", "factory_off", 2.5)),
    ("/heal/sns", "", 202, {}, ("heal", "sns")),
    ("/heal", "{}", 202, {}, ("heal_everything",)),
    ("/redrive", None, 200, {"moved": 2, "others": 1}, ("redrive",)),
    ("/story/the_loop", " {} ", 202, {}, ("tell_story", "the_loop")),
    ("/stocktake", '{"count": 0}', 200, {}, ("count_stock", 0)),
    ("/relay", None, 202, {}, ("run_relay",)),
]


@pytest.mark.parametrize(("path", "body", "status", "returned", "call"), CALLS)
def test_action_is_called_with_its_fields(
    path: str,
    body: str | None,
    status: int,
    returned: object,
    call: tuple[object, ...],
    console: Console,
) -> None:
    assert console.act(path, body) == (status, returned)
    assert console.actions.calls == [call]


def test_checkout_is_returned(console: Console) -> None:
    status, shown = console.act("/buy", '{"quantity": -2, "requester": "도넛 <b>", "key": "k"}')
    assert status == 200
    assert shown == {
        "at": 1,
        "quantity": -2,
        "key": "k",
        "status": 200,
        "body": {"stock": 9},
        "milliseconds": 1.5,
    }
    console.act("/buy", '{"quantity": 1, "requester": "", "key": null, "product_id": "p"}')
    assert console.actions.calls == [("buy", -2, "도넛 <b>", "k", None), ("buy", 1, "", None, "p")]


@pytest.mark.parametrize(
    "body",
    [
        "nonsense",
        "[]",
        "1",
        '"buyers"',
        "null",
        '{"buyers": 1',
        '{"buyers": NaN, "at_once": 1}',
        "[" * 9000,
        '{"a":' * 1900,
        "1" * 9000,
        b"\xff\xfe",
        b"\x00",
    ],
)
def test_body_that_is_not_an_object_is_rejected(body: str | bytes, console: Console) -> None:
    status, returned = console.act("/rush", body)
    assert (status, returned) == (400, {"message": "the body is not a JSON object"})
    assert console.actions.calls == []


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("", "'at_once', 'buyers'"),
        ('{"buyers": 5}', "'at_once'"),
        ('{"buyers": 5, "at_once": 1.5}', "'at_once'"),
        ('{"buyers": true, "at_once": 1}', "'buyers'"),
        ('{"buyers": "5", "at_once": 1}', "'buyers'"),
        ('{"buyers": null, "at_once": 1}', "'buyers'"),
        ('{"buyers": 5, "at_once": 1, "self": 1}', "'self'"),
    ],
)
def test_wrong_fields_are_named(body: str, named: str, console: Console) -> None:
    status, returned = console.act("/rush", body)
    assert (status, returned["message"]) == (422, f"missing, wrong or unknown: {named}")
    assert console.actions.calls == []


@pytest.mark.parametrize("size", [MAX_BODY, MAX_BODY + 1, 5_000_000])
def test_body_has_a_limit(size: int, console: Console) -> None:
    body = '{"count": 7}'.ljust(size)
    status, returned = console.act("/stocktake", body)
    if size == MAX_BODY:
        assert status == 200
    else:
        assert (status, console.actions.calls) == (400, [])
        assert f"{MAX_BODY} bytes" in returned["message"]


@pytest.mark.parametrize(
    "header",
    [
        "Content-Length: -1",
        "Content-Length: nine",
        "Content-Length: 2_0",
        "Transfer-Encoding: chunked",
    ],
)
def test_body_needs_a_length(header: str, console: Console) -> None:
    with socket.create_connection(("127.0.0.1", console.port), timeout=WITHIN) as client:
        lines = ["POST /heal HTTP/1.1", f"Host: 127.0.0.1:{console.port}", "X-Console: 1", header]
        client.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        assert client.makefile("rb").readline().split()[1] == b"400"
    assert console.actions.calls == []


def test_body_that_ends_early_is_rejected(console: Console) -> None:
    with socket.create_connection(("127.0.0.1", console.port), timeout=WITHIN) as client:
        lines = ["POST /heal HTTP/1.1", f"Host: 127.0.0.1:{console.port}", "X-Console: 1"]
        client.sendall("\r\n".join([*lines, "Content-Length: 9", "", "{}"]).encode())
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").readline().split()[1] == b"400"
    assert console.actions.calls == []


def test_text_that_utf_8_does_not_have_is_returned(console: Console) -> None:
    status, shown = console.act("/buy", r'{"quantity": 1, "requester": "a", "key": "\ud800"}')
    assert (status, shown["key"]) == (200, "\ud800")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (Rejected("rejected.busy", name="rush"), 409, "Not now: try again after rush."),
        (OSError("no emulator"), 503, "no emulator"),
        (KeyError(), 503, "KeyError"),
        (AssertionError("x " * 5000), 503, "x x"),
    ],
)
def test_reason_of_a_failed_action_is_returned(
    error: Exception, status: int, message: str, console: Console
) -> None:
    console.actions.error = error
    returned, body = console.act("/heal")
    assert returned == status
    assert body["message"].startswith(message)
    assert len(body["message"]) <= server.MESSAGE_LENGTH
    if isinstance(error, Rejected):
        assert TEXTS["ko"][body["key"]].format(**body["values"])


# --- events ---


def watching(console: Console, expected: int) -> None:
    """Wait until so many clients make the source being polled."""

    def counted() -> None:
        assert console.live.watching == expected

    eventually(counted, within=WITHIN)


def test_view_is_sent_at_once_and_when_it_changes(console: Console) -> None:
    with closing(console.watch()) as events:
        assert "Content-Type: text/event-stream; charset=utf-8" in events.head
        assert events.view()["busy"] is None
        console.live._change(replace(EMPTY, busy="rush"))
        assert events.view()["busy"] == "rush"


def test_only_the_last_of_many_changes_is_sent(console: Console) -> None:
    with closing(console.watch()) as events:
        events.view()
        for number in range(100):
            console.live._change(replace(EMPTY, at=number))
        seen = [events.view()["at"]]
        while seen[-1] != 99:
            seen.append(events.view()["at"])
        assert len(seen) <= 3


def test_at_most_four_events_are_sent_per_second(console: Console) -> None:
    with closing(console.watch()) as events:
        events.view()
        began = time.monotonic()
        for number in range(5):
            console.live._change(replace(EMPTY, at=number))
            assert events.view()["at"] == number
        assert time.monotonic() - began > 4 / 4


def test_all_clients_see_the_same(console: Console) -> None:
    with closing(console.watch()) as one, closing(console.watch()) as other:
        assert one.view() == other.view()
        watching(console, 2)
        console.live._change(replace(EMPTY, busy="the_loop"))
        assert one.view()["busy"] == other.view()["busy"] == "the_loop"


def test_source_is_polled_only_while_somebody_looks(console: Console) -> None:
    console.send("GET", "/")
    console.act("/relay")
    assert console.live.watching == 0
    one, other = console.watch(), console.watch()
    one.view(), other.view()
    watching(console, 2)
    one.close()
    watching(console, 1)
    other.close()
    watching(console, 0)


def test_client_that_disappears_ends_its_stream(console: Console) -> None:
    """Without saying goodbye, and although nothing changes."""
    events = console.watch()
    events.view()
    watching(console, 1)
    linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
    events._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    events.close()
    watching(console, 0)


def test_client_that_does_not_read_loses_its_stream(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WRITE_SECONDS", 0.2)
    with closing(console.watch()):
        watching(console, 1)

        def ended() -> None:
            console.live._change(replace(EMPTY, environment="x" * 3_000_000))
            assert console.live.watching == 0

        eventually(ended, within=WITHIN)


def test_silent_stream_is_kept_open(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.01)
    with closing(console.watch()) as events:
        events.view()
        assert events.paragraph() == ["event: heartbeat", "data: {}"]


# --- no request holds a thread for ever ---

SLOW: dict[str, Callable[[int], bytes]] = {
    "nothing": lambda port: b"",
    "half a line": lambda port: b"GET /ev",
    "half of the headers": lambda port: f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode(),
    "half of the body": lambda port: (
        f"POST /heal HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Console: 1\r\n"
        "Content-Length: 9\r\n\r\n{"
    ).encode(),
}


@pytest.mark.parametrize("case", SLOW)
def test_request_that_does_not_end_is_given_up(
    case: str, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if a byte comes from time to time."""
    monkeypatch.setattr(server, "READ_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", console.port), timeout=WITHIN) as client:
        client.sendall(SLOW[case](console.port))

        def closed() -> None:
            try:
                client.sendall(b" " if case.startswith("half of the body") else b"a")
            except OSError:
                return
            raise AssertionError("the server still reads")

        eventually(closed, within=WITHIN)
    assert console.actions.calls == []
