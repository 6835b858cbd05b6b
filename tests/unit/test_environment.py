"""Reading the functions' environment variables."""

from dataclasses import make_dataclass

import pytest

from common import environment


def test_read_takes_each_field_from_its_variable() -> None:
    assert vars(environment.read(environment.Consumer)) == dict(
        factory_url="http://factory.test/api/manufactures",
        factory_deadline=13.0,
        public_url="https://shop.test",
        stock_queue_url="https://sqs.test/stock_queue",
        retry_delay=90,
        max_receives=5,
    )


def test_read_parses_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_DEADLINE", "2.5")
    config = environment.read(environment.Consumer)
    assert config.factory_deadline == 2.5
    assert config.retry_delay == 90


def test_read_accepts_a_missing_optional_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.read(environment.Restock).database_secret_arn is None
    monkeypatch.setenv("DATABASE_SECRET_ARN", "a-secret")
    assert environment.read(environment.Restock).database_secret_arn == "a-secret"


def test_read_accepts_the_database_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """No function uses it; only the template needs it."""
    assert environment.read(environment.Sales).database_generation is None
    monkeypatch.setenv("DATABASE_GENERATION", "last-night")
    assert environment.read(environment.Sales).database_generation == "last-night"


def test_read_names_every_missing_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("FACTORY_URL", "RETRY_DELAY"):
        monkeypatch.delenv(key)
    with pytest.raises(KeyError) as failure:
        environment.read(environment.Consumer)
    assert failure.value.args == ("missing environment variables: FACTORY_URL, RETRY_DELAY",)


@pytest.mark.parametrize(
    ("key", "value"), [("RETRY_DELAY", "soon"), ("RETRY_DELAY", "1.5"), ("FACTORY_DEADLINE", "")]
)
def test_read_names_a_malformed_number(
    key: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(key, value)
    with pytest.raises(ValueError, match=f"{key} is not a number: '{value}'"):
        environment.read(environment.Consumer)


@pytest.mark.parametrize("enabled", [True, False])
def test_read_parses_a_bool_as_the_settings_write_it(
    enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENABLED", str(enabled))
    refund: type = make_dataclass("Refund", [("enabled", bool)])
    assert vars(environment.read(refund)) == {"enabled": enabled}


@pytest.mark.parametrize("value", ["true", "0", "", " True"])
def test_read_names_a_malformed_bool(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLED", value)
    with pytest.raises(ValueError, match=f"^ENABLED is not True or False: '{value}'$"):
        environment.read(make_dataclass("Refund", [("enabled", bool)]))


@pytest.mark.parametrize("type", [bool | None, int | None, list[str]])
@pytest.mark.parametrize("given", [True, False])
def test_read_rejects_a_type_that_it_cannot_parse(
    type: object, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the variable is missing and has a default."""
    refund = make_dataclass("Refund", [("enabled", type, None)])
    if given:
        monkeypatch.setenv("ENABLED", "False")
    with pytest.raises(
        TypeError, match=r"Refund\.enabled is not one of str, str \| None, int, "
    ) as rejected:
        environment.read(refund)
    assert str(rejected.value).endswith(": add it to PARSERS in lambdas/common/environment.py")
