from collections.abc import Callable

import pytest

from common import environment


def test_reads_each_field_from_the_key_of_its_name() -> None:
    assert environment.read(environment.Consumer) == environment.Consumer(
        factory_url="http://factory.test/api/manufactures",
        factory_deadline=13.0,
        public_url="https://shop.test",
        stock_queue_url="unset",
        retry_delay=90,
        max_receives=5,
    )


def test_parses_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_DEADLINE", "2.5")
    settings = environment.read(environment.Consumer)
    assert (settings.factory_deadline, settings.retry_delay) == (2.5, 90)


def test_an_optional_key_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.read(environment.Restock).database_secret_arn is None
    monkeypatch.setenv("DATABASE_SECRET_ARN", "a-secret")
    assert environment.read(environment.Restock).database_secret_arn == "a-secret"


def test_database_generation_is_for_the_template_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.read(environment.Sales).database_generation is None
    monkeypatch.setenv("DATABASE_GENERATION", "last-night")
    assert environment.read(environment.Sales).database_generation == "last-night"


def test_names_every_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("FACTORY_URL", "RETRY_DELAY"):
        monkeypatch.delenv(key)
    with pytest.raises(KeyError) as failure:
        environment.read(environment.Consumer)
    assert failure.value.args == ("missing in the environment: FACTORY_URL, RETRY_DELAY",)


@pytest.mark.parametrize(
    ("key", "value"), [("RETRY_DELAY", "soon"), ("RETRY_DELAY", "1.5"), ("FACTORY_DEADLINE", "")]
)
def test_names_the_malformed_key(key: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(key, value)
    with pytest.raises(ValueError, match=key):
        environment.read(environment.Consumer)


def test_the_ca_file_is_found_from_any_directory(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, load: Callable[..., object]
) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert (
        environment.read(environment.Restock)
        .ca_path.read_text()
        .startswith("-----BEGIN CERTIFICATE-----")
    )
