"""A copy of the project in which the shop runs, to change its files and to type commands."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from local.cloud import NO_PROXY, Cloud
from tests.support.documentation import shell_variables

SHELL = {
    name: value
    for name, value in shell_variables().items()
    if name not in ("CLOUD_DIRECTORY", "ENV", "FACTORY_URL")
} | NO_PROXY
SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Clone:
    """A copy of the project, whose shop runs."""

    directory: Path

    @property
    def cloud(self) -> Cloud:
        return Cloud(self.directory / ".local")

    @property
    def endpoint(self) -> str:
        """Return the API's base URL, from the file that `make up` writes."""
        return (self.directory / ".local/endpoint").read_text().strip()

    @contextmanager
    def typed(self, script: str) -> Iterator[str]:
        """Run a script in a shell, and yield what it prints.

        What it leaves in the background is ended after the block.
        """
        output = self.directory / "printed"
        with output.open("w") as file:
            shell = subprocess.Popen(
                ["bash", "-e", "-c", script],
                cwd=self.directory,
                env=SHELL,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            status = shell.wait(timeout=SECONDS)
            assert status == 0, f"{script}\n{output.read_text()}"
            yield output.read_text()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)

    def printed(self, script: str) -> str:
        """Run a script in a shell, and return what it prints."""
        with self.typed(script) as output:
            return output

    def get(self, path: str) -> Mapping[str, Any]:
        """Return the JSON of a response of the shop."""
        return dict(requests.get(self.endpoint + path, timeout=10).json())

    def replace(self, file: str, old: str, new: str) -> None:
        """Replace a text in a file, as an editor does when it saves."""
        path = self.directory / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Give the functions' files their content back after the block."""
        before = {
            path: path.read_bytes()
            for path in (self.directory / "lambdas").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        try:
            yield
        finally:
            for path, content in before.items():
                if path.read_bytes() != content:
                    path.write_bytes(content)
