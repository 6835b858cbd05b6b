"""What the operators' commands say where something else responds in place of AWS.

A network's sign-in page returns 200 with HTML, and a company's proxy 403 with text.
"""

import json
import sys
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from operations import guard, leftovers, logs, operate, preflight, redrive, smoke, status, trace
from tests.support.serving import QuietHandler, serving

COMMANDS: dict[str, tuple[Callable[[], None], list[str]]] = {
    "guard": (guard.main, ["deploy", "dev"]),
    "leftovers": (leftovers.main, ["dev"]),
    "logs": (logs.main, ["dev"]),
    "operate": (operate.main, ["dev", "orders"]),
    "preflight": (preflight.main, ["dev"]),
    "redrive": (redrive.main, ["dev"]),
    "smoke": (smoke.main, ["prod"]),
    "status": (status.main, ["dev"]),
    "trace": (trace.main, ["dev", "--order=an-order"]),
}
RESPONSES = {
    "sign-in page": (200, b"<html><body>Please sign in</body></html>"),
    "page that is not XML": (200, b"<!doctype html><p>Please sign in<br>" + 500 * b"to go on "),
    "forbidden by a proxy": (403, b"Access to this site is blocked by policy."),
    "page of a proxy": (403, b"<html><body>" + 500 * b"blocked " + b"</body></html>"),
    "nothing": (200, b""),
    "null": (200, b"null"),
    "empty object": (200, b"{}"),
    "list": (200, b"[1]"),
    "binary": (200, bytes(range(256))),
}


class NotAws(ThreadingHTTPServer):
    """A server that returns one response to any request to AWS, and that is also a working shop."""

    daemon_threads = True
    response = (200, b"")


class Handler(QuietHandler):
    server: NotAws

    def respond(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content = self.server.response
        if self.path.startswith("/product"):
            status, content = (200, b'{"stock": 1}') if self.command == "GET" else (403, b"{}")
        self.send(status, content)

    do_GET = do_POST = respond


@pytest.fixture
def not_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[NotAws]:
    server = NotAws(("127.0.0.1", 0), Handler)
    with serving(server):
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.chdir(tmp_path)
        outputs = {"donut-shop-service-prod": {"ApiUrl": url}}
        Path("cdk.outputs.json").write_text(json.dumps(outputs))
        yield server


def failure(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run a command that fails, and return what it prints, or the sentence with which it exits."""
    main, arguments = COMMANDS[command]
    monkeypatch.setattr(sys, "argv", [command, *arguments])
    with pytest.raises(SystemExit) as exit:
        main()
    printed = capsys.readouterr()
    if isinstance(exit.value.code, str):
        assert printed.out == printed.err == ""
        return exit.value.code
    assert exit.value.code == 1
    return printed.out.rstrip("\n")


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("command", COMMANDS)
def test_response_not_from_aws_is_reported_in_one_sentence(
    command: str,
    response: str,
    not_aws: NotAws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    not_aws.response = RESPONSES[response]
    line = failure(command, monkeypatch, capsys)
    assert len(line.splitlines()) == 1
    assert len(line) < 700
    assert "credentials that work" not in line, "they may well work"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "smoke"])
def test_unreachable_aws_is_not_blamed_on_the_credentials(
    command: str,
    not_aws: NotAws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # botocore's, before it tries again
    not_aws.shutdown()
    not_aws.server_close()
    line = failure(command, monkeypatch, capsys)
    assert "AWS can't be reached: Could not connect" in line
    assert "credentials that work" not in line
    assert "MISSING" not in line


def test_rejected_credentials_are_blamed(
    not_aws: NotAws, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = b"<Code>InvalidClientTokenId</Code><Message>The token is invalid.</Message>"
    not_aws.response = 403, b"<ErrorResponse><Error>" + error + b"</Error></ErrorResponse>"
    line = failure("guard", monkeypatch, capsys)
    assert line.startswith("no AWS credentials that work: ")
    assert "The token is invalid." in line


@pytest.mark.parametrize(
    "template", ["{}", "[]", "null", "", '{"Resources": null}', '{"Resources": {"A": 1}}']
)
def test_invalid_template_is_named(
    template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    path = tmp_path / "donut-shop-monitoring-prod.template.json"
    path.write_text(template)
    monkeypatch.setitem(COMMANDS, "guard", (guard.main, ["deploy", "prod", f"--app={tmp_path}"]))
    line = failure("guard", monkeypatch, capsys)
    assert line == f"{path} is not a template that `make synth` wrote"


@pytest.mark.parametrize("command", ["deploy", "diff", "destroy"])
def test_app_must_be_a_directory_of_synth(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The CDK CLI would run anything else as a command."""
    for app in (str(tmp_path), "touch ran"):
        monkeypatch.setitem(COMMANDS, "guard", (guard.main, [command, "dev", f"--app={app}"]))
        line = failure("guard", monkeypatch, capsys)
        assert line == f"APP={app} is not a directory that `make synth` wrote", app
