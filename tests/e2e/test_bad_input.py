"""Bad input in bulk, over the wire: the boundaries of every limit in full, and a fifth of the other inputs."""

import re
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from local.factory import Answer as FactoryAnswer
from tests.support.bad_input import CANARY, Input, Response, bad_inputs, try_all
from tests.support.deployed_shop import Shop


def test_bad_input_changes_nothing_and_learns_nothing(
    shop: Shop, input_count: int, input_seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.factory.answer = lambda order: FactoryAnswer(
        deliver=False
    )  # nothing arrives but what bad input forged
    address = urlsplit(shop.cloud.endpoint)
    connection = HTTPConnection(str(address.hostname), address.port, timeout=10)

    def send(input: Input) -> Response:
        connection.request(input.method, input.target, input.body, dict(input.headers))
        response = connection.getresponse()
        return Response(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )

    with closing(connection):
        inputs = bad_inputs(input_count // 5, seed=input_seed)
        tried = try_all(inputs, seed=input_seed, shop=shop, send=send)
    with capsys.disabled():
        print(f"\nbad input, over the wire: {tried}")
    lines = shop.log_lines()
    assert any('"callback rejected"' in line for line in lines)
    tokens = {token for (token,) in shop.sql("SELECT callback_token FROM production_order")}
    assert not [
        line
        for line in lines
        if CANARY in line or not tokens.isdisjoint(re.findall(r"[\w-]+", line))
    ]
