"""The local cloud's commands reach 127.0.0.1 without the proxy that the process's variables name.

Downloads still use the proxy.
"""

import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from local.__main__ import curl_uses_a_proxy
from local.cloud import Cloud
from local.factory import Factory
from local.files import write_whole
from local.polling import eventually
from local.processes import Background, port_file
from settings import PROJECT

DEAD = "http://127.0.0.1:9"
PRODUCT = b'{"stock": 10}'
ASK = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)"
ASK_WITH_REQUESTS = "import sys, requests; requests.get(sys.argv[1], timeout=5).raise_for_status()"
START = """
import pathlib, sys
from local import cloud
cloud.SMOKE_CHECK_SECONDS = 1
started = cloud.Cloud(pathlib.Path(sys.argv[1]))
started.set_faults()
started._smoke_check()
"""


class StandIn(BaseHTTPRequestHandler):
    """Responds to every request as the shop does to a request for its product."""

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(PRODUCT)))
        self.end_headers()
        self.wfile.write(PRODUCT)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture(autouse=True)
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "all"):
        monkeypatch.setenv(f"{scheme}_proxy", DEAD)
        monkeypatch.setenv(f"{scheme}_proxy".upper(), DEAD)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "elsewhere.test")
    monkeypatch.setattr(
        urllib.request, "_opener", None
    )  # otherwise, urlopen would use the opener that it made before


@pytest.fixture
def emulator() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), StandIn) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def cloud(emulator: HTTPServer, tmp_path: Path) -> Iterator[Cloud]:
    """Return a cloud whose emulator is the stand-in, though another process is recorded for it."""
    cloud = Cloud(tmp_path)
    for name in ("emulator", "endpoint"):
        write_whole(port_file(tmp_path, name), str(emulator.server_port))
    cloud.emulator = Background(name="emulator", directory=tmp_path)
    cloud.emulator.start([sys.executable, "-c", "import time; time.sleep(60)"], env={})
    yield cloud
    cloud.emulator.stop()


def test_start_of_the_cloud_does_not_use_the_proxy(cloud: Cloud) -> None:
    """In a process of its own: urllib reads the variables when an opener is made."""
    command = [sys.executable, "-c", START, str(cloud.directory)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_client_of_the_cloud_does_not_use_the_proxy(cloud: Cloud) -> None:
    assert cloud.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("ask", [ASK, ASK_WITH_REQUESTS])
def test_command_run_in_the_cloud_reaches_it_without_the_proxy(ask: str, cloud: Cloud) -> None:
    command = [sys.executable, "-c", ask, cloud.endpoint]
    done = subprocess.run(command, env=cloud.variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_command_run_in_the_cloud_keeps_the_proxy_for_the_rest(cloud: Cloud) -> None:
    assert cloud.variables["HTTPS_PROXY"] == cloud.variables["https_proxy"] == DEAD


def test_callback_does_not_go_through_the_proxy(emulator: HTTPServer) -> None:
    with Factory(stage_seconds=0) as factory:
        url = f"http://127.0.0.1:{emulator.server_port}/product/donut"
        order, _ = factory.take({"CallbackUrl": url}, {})

        def arrived() -> None:
            assert order.called_back_at

        eventually(arrived, within=10)
    assert order.callback_status == 200, order.callback_response


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"http_proxy": DEAD}, True),
        ({"ALL_PROXY": DEAD}, True),
        ({"https_proxy": DEAD}, False),
        ({"http_proxy": DEAD, "no_proxy": "127.0.0.1"}, False),
        ({}, False),
    ],
)
def test_person_is_warned_only_if_curl_uses_a_proxy(
    variables: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert curl_uses_a_proxy() is expected
