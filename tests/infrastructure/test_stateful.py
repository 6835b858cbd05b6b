"""What would make CloudFormation replace a resource that holds something, and so lose it.

`REPLACE=1 pytest tests/infrastructure/test_stateful.py` accepts a change that is meant.
"""

import json
import os
from pathlib import Path
from typing import Any

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from settings import REGION
from tests.support.assembly import Assembly

ACCEPTED = Path(__file__).with_name("stateful.json")
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
    """The properties that can't change in place, from CloudFormation's own schema."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, kind).schema
    return [path.removeprefix("/properties/") for path in schema["createOnlyProperties"]]


def identities(assembly: Assembly) -> dict[str, dict[str, Any]]:
    """Logical id → type and create-only properties, of every resource that holds something."""
    return {
        id: {"Type": kind}
        | {name: properties[name] for name in create_only(kind) if name in properties}
        for kind in STATEFUL
        for id, resource in assembly.resources(kind).items()
        for properties in [resource.get("Properties", {})]
    }


def replacements(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence for each resource that would go."""
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


def test_nothing_that_holds_something_is_replaced(assembly: Assembly) -> None:
    accepted = json.loads(ACCEPTED.read_text()) if ACCEPTED.exists() else {}
    now = identities(assembly)
    if os.environ.get("REPLACE"):
        ACCEPTED.write_text(
            json.dumps(accepted | {assembly.name: now}, indent=2, sort_keys=True) + "\n"
        )
        return
    assert replacements(accepted[assembly.name], now) == []


def test_a_replacement_is_told_in_words(assembly: Assembly) -> None:
    before = identities(assembly)
    (database,) = [
        id for id, identity in before.items() if identity["Type"] == "AWS::RDS::DBInstance"
    ]
    assert replacements(before, before | {database: before[database] | {"DBName": "other"}}) == [
        f"{database} (AWS::RDS::DBInstance) would be replaced: DBName 'shop' → 'other'"
    ]
    assert replacements(
        before, {id: identity for id, identity in before.items() if id != database}
    ) == [f"{database} (AWS::RDS::DBInstance) would be removed"]
