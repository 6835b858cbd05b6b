"""Unit tests can't use the network."""

import socket
from collections.abc import Callable

import boto3
import pytest
import requests

ATTEMPTS: dict[str, Callable[[], object]] = {
    "connection": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
    "name": lambda: socket.getaddrinfo("localhost", 80),
    "HTTP": lambda: requests.get("http://127.0.0.1:9", timeout=1),
    "AWS": lambda: boto3.client("sns").list_topics(),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_unit_test_fails_when_it_uses_the_network(attempt: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="used the network"):
        attempt()
