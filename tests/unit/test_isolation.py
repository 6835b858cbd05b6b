import socket
from collections.abc import Callable

import boto3
import pytest
import requests

REACHES: dict[str, Callable[[], object]] = {
    "connection": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
    "name": lambda: socket.getaddrinfo("localhost", 80),
    "HTTP": lambda: requests.get("http://127.0.0.1:9", timeout=1),
    "AWS": lambda: boto3.client("sns").list_topics(),
}


@pytest.mark.parametrize("reach", REACHES.values(), ids=REACHES)
def test_no_unit_test_reaches_the_network(reach: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="reached for the network"):
        reach()
