"""Fixtures that more than one folder uses."""

from collections.abc import Callable, Iterator

import pytest
from moto import mock_aws

from common import messages
from tests.support.pipe import Pipe


@pytest.fixture
def aws() -> Iterator[None]:
    """AWS in memory. The credentials are the folder's own."""
    sns = messages._sns
    sns.cache_clear()
    with mock_aws():
        yield
    sns.cache_clear()


@pytest.fixture
def pipe(aws: None) -> Pipe:
    return Pipe()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that was logged so far, at the functions' own level: messages, tracebacks and extra fields."""
    caplog.set_level("INFO")
    return lambda: "\n".join([caplog.text, *(repr(vars(record)) for record in caplog.records)])
