"""console/local_source.py where the cloud does not run, or is not the one that was seen before."""

from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from console import local_source
from console.local_source import Deployed, LocalSource
from console.source import Made, Unavailable
from local.cloud import Cloud
from local.factory import Factory, FactoryResponse
from local.polling import eventually
from tests.support.reports import ORDER, message
from tests.support.serving import QuietHandler, serving

EMULATOR = "http://127.0.0.1:9"
"""Nothing listens on this port."""


class AwayCloud(Cloud):
    """A cloud whose emulator is at a URL that a test may change."""

    emulator_url = EMULATOR

    @property
    def aws_endpoint_url(self) -> str:
        return self.emulator_url


@pytest.fixture
def cloud(tmp_path: Path) -> AwayCloud:
    return AwayCloud(tmp_path)


def test_cloud_that_was_never_started_is_a_sentence_for_each_part(tmp_path: Path) -> None:
    source = LocalSource(Cloud(tmp_path))
    assert source.url is None
    for name, part in source.parts().items():
        with pytest.raises(Unavailable, match="make up"):
            part.read()
        assert part.seconds <= 1 or name == "alarms"
    with pytest.raises(Unavailable):
        source.order(ORDER)


@pytest.mark.parametrize("part", ["queues", "factory", "log", "alarms", "breakages"])
def test_emulator_that_does_not_respond_is_a_sentence(cloud: AwayCloud, part: str) -> None:
    with pytest.raises(Unavailable, match="can't be reached"):
        LocalSource(cloud).parts()[part].read()


def test_clients_are_those_of_the_emulator_that_runs_now(cloud: AwayCloud) -> None:
    source = LocalSource(cloud)
    first = source.client("sqs")
    assert source.client("sqs") is first
    cloud.emulator_url = "http://127.0.0.1:10"
    second = source.client("sqs")
    assert second.meta.endpoint_url == "http://127.0.0.1:10"
    assert first.meta.endpoint_url == EMULATOR


def with_factory(cloud: Cloud, url: str) -> LocalSource:
    """Return a source whose shop has this factory."""
    source = LocalSource(cloud)
    source._found = Deployed(emulator=EMULATOR, factory=url, breakages={})
    return source


def test_factory_tells_what_it_has_received_but_no_secret(cloud: AwayCloud) -> None:
    payload = {"MessageAttributeRequester": "홍길동", "CallbackUrl": "http://127.0.0.1:9/?token=x"}
    with Factory(stage_seconds=0.01) as factory:
        url = f"http://127.0.0.1:{factory.port}"
        requests.post(factory.url, json=payload, headers={"Idempotency-Key": ORDER}, timeout=5)
        requests.post(factory.url, json={}, timeout=5)  # by somebody else
        factory.respond = lambda order: FactoryResponse(status=500, callbacks=0)
        requests.post(factory.url, json=payload, headers={"Idempotency-Key": "2"}, timeout=5)
        source = with_factory(cloud, url)

        def called_back() -> tuple[Made, ...]:
            made = tuple(source.factory().made)
            assert made[0].called_back_at, "it has not called back"
            return made

        first, second = eventually(called_back, within=5)
        order = factory.received[0]
    assert (first.order_id, first.status, first.stage) == (ORDER, 201, 5)
    assert first.received_at == int(order.received_at * 1000)
    assert first.callback_status is None
    assert len(first.stages_began) == 5
    assert (second.order_id, second.status, second.stage) == ("2", 500, 0)
    assert second.called_back_at is None
    assert "token" not in str(first)
    assert "홍길동" not in str(first)


class OtherFactory(QuietHandler):
    """A factory that is not the local one."""

    body: bytes

    def do_GET(self) -> None:
        self.send(200, self.body)


@pytest.mark.parametrize("body", [b"<html>", b"[{}]", b"[1]", b'{"orders": []}', b"1"])
def test_another_factory_is_a_sentence_and_is_looked_up_again(
    cloud: AwayCloud, body: bytes
) -> None:
    OtherFactory.body = body
    server = ThreadingHTTPServer(("127.0.0.1", 0), OtherFactory)
    source = with_factory(cloud, f"http://127.0.0.1:{server.server_port}")
    with (
        serving(server),
        pytest.raises(Unavailable, match="the factory does not list its orders"),
    ):
        source.factory()
    with pytest.raises(Unavailable, match="AWS can't be reached"):
        source.factory()


def test_counts_are_those_of_the_messages() -> None:
    messages = [message(), message(receives=1), message(receives=1, visible=9, in_flight=True)]
    counted = local_source.counted(messages)
    assert (counted.visible, counted.in_flight, counted.delayed) == (2, 1, 0)
