"""What is tried on one machine is dev's own template."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from settings import ENVIRONMENTS
from tests.support.assembly import Assembly, synth

SHORTER = {
    "FACTORY_DEADLINE",
    "OVERDUE_AFTER",
    "PUBLISH_WITHIN",
    "RETRY_DELAY",
    "RetentionInDays",
    "Timeout",
    "VisibilityTimeout",
}
"""Times; docs/decisions.md says why."""


ADDRESSES = {"AWS_ENDPOINT_URL_SNS"}
"""The local cloud gives its functions one address for all services, which this variable would override."""


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            leaf: end
            for key, part in items
            for leaf, end in leaves(part, (*path, str(key))).items()
        }
    return {path: value}


def test_local_is_dev_but_for_times_and_one_address(
    tmp_path: Path, assembly_of: Callable[[str], Assembly]
) -> None:
    """With the IAM login, which `make up` asks for where it can; and named as dev is."""
    settings = replace(ENVIRONMENTS["local"].override({"database_login": "iam"}), name="dev")
    local, dev = leaves(synth(settings, tmp_path).templates), leaves(assembly_of("dev").templates)
    differences = {
        path[-1] for path in local.keys() | dev.keys() if local.get(path) != dev.get(path)
    }
    assert differences == SHORTER | ADDRESSES
