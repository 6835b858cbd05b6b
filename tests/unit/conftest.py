import importlib
import socket
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from tests.support.variables import ENVIRONMENT


@pytest.fixture(autouse=True)
def _no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("a unit test reached for the network")  # no `except Exception` hides it

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_ENDPOINT_URL",
        "AWS_PROFILE",
        "DATABASE_SECRET_ARN",
        "DATABASE_USER",
        "USER_SECRET_ARNS",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """A function's handler module, imported anew with these environment variables on top."""

    def load(name: str, **environment: str) -> ModuleType:
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        monkeypatch.delitem(sys.modules, f"{name}.handler", raising=False)
        return importlib.import_module(f"{name}.handler")

    return load
