"""No change makes CloudFormation replace or remove a resource with data, unless it is accepted.

stateful_resources.json has the identity of each such resource. If a replacement is intended,
`pytest tests/infrastructure/test_replacements.py --accept-replacements` accepts it.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from settings import REGION
from tests.support.assembly import Assembly

ACCEPTED = Path(__file__).with_name("stateful_resources.json")
ACCEPT = "run pytest tests/infrastructure/test_replacements.py --accept-replacements"
STATEFUL = (
    "AWS::EC2::VPC",
    "AWS::EC2::Subnet",
    "AWS::RDS::DBInstance",
    "AWS::RDS::DBSubnetGroup",
    "AWS::SecretsManager::Secret",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
)


def create_only(kind: str) -> list[str]:
    """Return the properties that can't change in place, from CloudFormation's own schema."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    return [path.removeprefix("/properties/") for path in schema["createOnlyProperties"]]


def identities(assembly: Assembly) -> dict[str, dict[str, Any]]:
    """Return type and create-only properties of each stateful resource, by logical id."""
    return {
        id: {"Type": kind}
        | {name: properties[name] for name in create_only(kind) if name in properties}
        for kind in STATEFUL
        for id, properties in assembly.each(kind)
    }


def replacements(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[str]:
    """Return a sentence for each resource that would be replaced or removed."""
    sentences = []
    for id, old in before.items():
        new = after.get(id)
        if new is None:
            sentences.append(f"{id} ({old['Type']}) would be removed")
            continue
        changes = [
            f"{name} {old.get(name)!r} → {new.get(name)!r}"
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        ]
        if changes:
            sentences.append(f"{id} ({old['Type']}) would be replaced: {', '.join(changes)}")
    return sentences


def test_no_resource_with_data_is_replaced(assembly: Assembly, pytestconfig: pytest.Config) -> None:
    accepted = json.loads(ACCEPTED.read_text())
    now = identities(assembly)
    if pytestconfig.getoption("accept_replacements"):
        accepted[assembly.name] = now
        ACCEPTED.write_text(json.dumps(accepted, indent=2, sort_keys=True) + "\n")
    assert assembly.name in accepted, f"{assembly.name} is new: {ACCEPT}"
    lost = replacements(accepted[assembly.name], now)
    assert not lost, f"if this is intended, {ACCEPT}"
    new = now.keys() - accepted[assembly.name].keys()
    assert not new, f"{sorted(new)} are not protected yet: {ACCEPT}"


def test_replacement_is_described(managed: Assembly) -> None:
    before = identities(managed)
    database, _ = managed.one("AWS::RDS::DBInstance")
    after = before | {database: before[database] | {"DBName": "other"}}
    assert replacements(before, after) == [
        f"{database} (AWS::RDS::DBInstance) would be replaced: DBName 'shop' → 'other'"
    ]


def test_removal_is_described(managed: Assembly) -> None:
    before = identities(managed)
    database, _ = managed.one("AWS::RDS::DBInstance")
    after = {id: identity for id, identity in before.items() if id != database}
    assert replacements(before, after) == [f"{database} (AWS::RDS::DBInstance) would be removed"]
