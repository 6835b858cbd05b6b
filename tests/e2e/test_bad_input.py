"""Bad input, over HTTP: all inputs around the limits, and a fifth of the random ones."""

import re
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.support.bad_input import CANARY, Input, Response, bad_inputs, try_all
from tests.support.deployed_shop import DeployedShop
from tests.support.misbehaving import accept_without_callback


def test_bad_input_changes_nothing_and_is_not_logged(
    shop: DeployedShop, input_count: int, input_seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # No order may arrive: the factory does not call back, and no callback of the inputs is valid.
    shop.factory.respond = accept_without_callback
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
        summary = try_all(inputs, seed=input_seed, shop=shop, send=send)
    with capsys.disabled():
        print(f"\nbad input, over HTTP: {summary}")
    lines = shop.log_lines()
    assert any('"callback rejected"' in line for line in lines)
    tokens = {token for (token,) in shop.sql("SELECT callback_token FROM production_order")}
    assert [line for line in lines if CANARY in line] == []
    with_token = [line for line in lines if not tokens.isdisjoint(re.findall(r"[\w-]+", line))]
    assert with_token == []
