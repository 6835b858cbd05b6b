"""Fixtures of the unit tests: no network, the functions' variables, and handlers imported anew."""

import importlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from unittest import mock

import pytest

from tests.support.variables import LOGIN, set_variables


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(*args: object, **kwargs: object) -> None:
        # Not an Exception, which the code under test could catch.
        pytest.fail("a unit test used the network")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, reject)
    monkeypatch.setattr(socket, "getaddrinfo", reject)


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_ENDPOINT_URL",
        "AWS_PROFILE",
        "DATABASE_SECRET_ARN",
        "DATABASE_USER",
        "USER_SECRET_ARNS",
    ):
        monkeypatch.delenv(name, raising=False)
    set_variables(monkeypatch, **LOGIN)


@pytest.fixture(params=["UTC", "Asia/Seoul"])
def time_zone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set the process's local time zone."""
    with mock.patch.dict(os.environ, TZ=request.param):
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    """Import a function's handler anew, with these variables in addition to the common ones."""

    def load(name: str, **variables: str) -> ModuleType:
        for key, value in variables.items():
            monkeypatch.setenv(key, value)
        monkeypatch.delitem(sys.modules, f"{name}.handler", raising=False)
        return importlib.import_module(f"{name}.handler")

    return load
