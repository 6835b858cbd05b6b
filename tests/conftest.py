"""Fixtures that more than one folder uses."""

from collections.abc import Callable, Iterator
from unittest import mock

import boto3
import pytest
from moto import mock_aws

from common.aws import client
from tests.support.pipe import Pipe, session


@pytest.fixture
def aws() -> Iterator[None]:
    """AWS in memory, with one boto3 session for all tests."""
    client.cache_clear()
    with mock_aws(), mock.patch.object(boto3, "DEFAULT_SESSION", session()):
        yield
    client.cache_clear()


@pytest.fixture
def pipe(aws: None) -> Pipe:
    return Pipe()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that was logged so far, at the functions' own level: messages, tracebacks and extra fields."""
    caplog.set_level("INFO")
    return lambda: "\n".join([caplog.text, *(repr(vars(record)) for record in caplog.records)])
