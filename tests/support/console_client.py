"""A console that runs, as its page uses it."""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import requests

from console.shop import PATIENCE

View = dict[str, Any]
"""As JSON: see console/view.py."""


@dataclass(frozen=True)
class ConsoleClient:
    """Uses a console that listens at a port."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, path: str, **body: object) -> requests.Response:
        """Do something."""
        return requests.post(
            self.url + path, json=body, headers={"X-Console": "1"}, timeout=PATIENCE
        )

    def act(self, path: str, **body: object) -> View:
        """Do something that is not rejected, and return the JSON."""
        response = self.post(path, **body)
        assert response.status_code in (200, 202), f"{path}: {response.text}"
        return dict(response.json())

    def shown(self, expected: Callable[[View], object], *, within: int = 500) -> View:
        """Wait until the page would show what is expected, and return the view.

        within: so many views, of which there are at most four per second.
        """
        view: View = {}
        for _, view in zip(range(within), self.views(), strict=False):
            if expected(view):
                return view
        raise AssertionError(f"none of {within} views is as expected; the last one is {view}")

    def views(self) -> Iterator[View]:
        """Yield each view that the page would show, until the stream ends."""
        with closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        ) as client:
            client.request("GET", "/events")
            for line in client.getresponse():
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))
