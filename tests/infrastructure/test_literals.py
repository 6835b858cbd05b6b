"""Everything is wired by reference: no ARN, account, address or password is typed into a template."""

import json
import re
from collections.abc import Iterator
from typing import Any

from settings import ENVIRONMENTS
from tests.support.assembly import Assembly


def leaves(value: Any) -> Iterator[str]:
    """Every text in a template, keys too; the pieces that CDK joins with a reference are one text."""
    if isinstance(value, dict):
        if "Fn::Join" in value and any(isinstance(part, dict) for part in value["Fn::Join"][1]):
            separator, parts = value["Fn::Join"]
            yield separator.join(part if isinstance(part, str) else "${}" for part in parts)
            value = [part for part in parts if isinstance(part, dict)]
        else:
            yield from value
            value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, str):
        yield value


def test_no_arn_is_typed(assembly: Assembly) -> None:
    for text in leaves(assembly.templates):
        assert "${" in text or not re.search(r"\barn:", text), text


def test_no_account_is_typed(assembly: Assembly) -> None:
    for text in leaves(assembly.templates):
        assert not re.search(r"\b\d{12}\b", text), text


def test_only_urls_are_the_factorys_and_the_sns_endpoint(assembly: Assembly) -> None:
    urls = {text for text in leaves(assembly.templates) if re.search(r"://|amazonaws\.com/", text)}
    settings = ENVIRONMENTS[assembly.name]
    assert urls == {settings.factory_url} | (
        {settings.sns_endpoint} if settings.sns_endpoint else set()
    )


def test_no_password_is_typed(assembly: Assembly) -> None:
    texts = list(leaves(assembly.templates))
    assert not {"MasterUserPassword", "SecretString"} & set(texts)
    assert not [text for text in texts if "{{resolve:" in text]
    for function in assembly.functions():
        assert not [
            key for key in assembly.environment(function) if re.search("PASSWORD|TOKEN|KEY", key)
        ]


def test_a_typed_literal_would_be_seen() -> None:
    template = {
        "A": [
            {"Fn::Join": ["", ["arn:aws:sns:", {"Ref": "R"}]]},
            {"B": "arn:aws:sns:x:123456789012:t"},
        ]
    }
    assert list(leaves(json.loads(json.dumps(template)))) == [
        *("A", "arn:aws:sns:${}", "Ref", "R", "B", "arn:aws:sns:x:123456789012:t"),
    ]
