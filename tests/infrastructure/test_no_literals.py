"""Templates refer to other resources: they contain no ARN, account, address or password."""

import json
import re
from collections.abc import Iterator
from typing import Any

from stacks.dashboard import CONSOLE
from tests.support.assembly import Assembly
from tests.support.environments import existing_secret


def leaves(value: Any) -> Iterator[str]:
    """Yield every text in a template, keys included. An `Fn::Join` is one text with `${}` in it."""
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


def own_texts(assembly: Assembly) -> Iterator[str]:
    """Yield the texts of the templates but for the ARN that the settings of a database give."""
    return (
        text for text in leaves(assembly.templates) if text != existing_secret(assembly.settings)
    )


def test_templates_contain_no_arn(assembly: Assembly) -> None:
    for text in own_texts(assembly):
        assert "${" in text or not re.search(r"\barn:", text), text


def test_templates_contain_no_account(assembly: Assembly) -> None:
    for text in own_texts(assembly):
        assert not re.search(r"\b\d{12}\b", text), text


def test_templates_contain_no_url_but_those_of_the_settings(assembly: Assembly) -> None:
    """The dashboard also links to the console of the region."""
    urls = {
        word
        for text in leaves(assembly.templates)
        for word in re.split(r"[\s()]+", text)
        if re.search(r"://|amazonaws\.com/", word)
    }
    settings = assembly.settings
    console = f"{CONSOLE}#logsV2:logs-insights"
    assert urls == {settings.factory_url, settings.sns_endpoint, console} - {None}


def test_templates_contain_no_password(assembly: Assembly) -> None:
    texts = list(leaves(assembly.templates))
    assert not {"MasterUserPassword", "SecretString"} & set(texts)
    for text in texts:
        assert "{{resolve:" not in text, text
    for function in assembly.functions():
        for variable in assembly.variables(function):
            assert not re.search("PASSWORD|TOKEN|KEY", variable), f"{function}: {variable}"


def test_literals_and_references_are_told_apart() -> None:
    template = {
        "A": [
            {"Fn::Join": ["", ["arn:aws:sns:", {"Ref": "R"}]]},
            {"B": "arn:aws:sns:x:123456789012:t"},
        ]
    }
    assert list(leaves(json.loads(json.dumps(template)))) == [
        *("A", "arn:aws:sns:${}", "Ref", "R", "B", "arn:aws:sns:x:123456789012:t"),
    ]
