from dataclasses import replace
from typing import Any

import pytest

from stacks.settings import ENVIRONMENTS, Settings

DEV = ENVIRONMENTS["dev"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"factory_url": "factory.test/api"}, "factory_url 'factory.test/api' is not an http or https URL"),
        ({"factory_url": "ftp://factory.test"}, "factory_url 'ftp://factory.test' is not an http or https URL"),
        ({"factory_url": "https:///api"}, "factory_url 'https:///api' is not an http or https URL"),
        ({"factory_url": ""}, "factory_url '' is not an http or https URL"),
        (
            {"factory_url": "http://factory.test", "allow_http_factory": False},
            "factory_url is plain http: set allow_http_factory to allow it",
        ),
        (
            {"public_url": "shop.test"},
            "public_url 'shop.test' is not an http or https URL without a trailing slash",
        ),
        (
            {"public_url": "https://shop.test/"},
            "public_url 'https://shop.test/' is not an http or https URL without a trailing slash",
        ),
        (
            {"factory_deadline": 20, "consumer_timeout": 20},
            "factory_deadline must be shorter than consumer_timeout",
        ),
        ({"endpoint_zones": -1}, "endpoint_zones must be between 0 and the number of availability_zones"),
        ({"endpoint_zones": 3}, "endpoint_zones must be between 0 and the number of availability_zones"),
        ({"availability_zones": ("ap-northeast-2a",)}, "an RDS subnet group needs two availability_zones"),
        ({"max_order": 0}, "max_order must be between 1 and 1,000,000"),
        ({"max_order": 1_000_001}, "max_order must be between 1 and 1,000,000"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as failure:
        replace(DEV, **change)
    assert str(failure.value) == f"environment dev: {sentence}"


@pytest.mark.parametrize(
    "change",
    [
        {"factory_url": "https://factory.test/api", "allow_http_factory": False},
        {"public_url": "http://127.0.0.1:8080"},
        {"public_url": None},
        {"max_order": 1},
        {"max_order": 1_000_000},
        {"endpoint_zones": 2},
    ],
    ids=str,
)
def test_a_right_setting_is_taken(change: dict[str, Any]) -> None:
    settings = replace(DEV, **change)
    assert {name: getattr(settings, name) for name in change} == change


def test_the_command_line_overrides() -> None:
    assert DEV.override({"factory_url": "https://factory.test/api", "public_url": "https://shop.test"}) == replace(
        DEV, factory_url="https://factory.test/api", public_url="https://shop.test"
    )


def test_the_command_line_overrides_nothing_else() -> None:
    assert DEV.override({"max_order": "7", "database": "mine", "factory_url": ""}) == DEV


def test_what_the_command_line_says_is_checked() -> None:
    with pytest.raises(ValueError, match="factory_url"):
        DEV.override({"factory_url": "factory.test"})


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_found_by_its_own_name(name: str) -> None:
    assert ENVIRONMENTS[name].environment == name


@pytest.mark.parametrize("name", ["staging", "prod"])
def test_data_outlives_the_stack_where_it_matters(name: str) -> None:
    settings: Settings = ENVIRONMENTS[name]
    assert settings.retain_data
    assert settings.idempotency_retention >= 24 * 3600
