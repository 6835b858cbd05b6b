"""The local environment has the templates of dev, so that local tests are valid for dev, too."""

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
"""Times that are shorter locally; docs/decisions.md gives the reason."""

ADDRESSES = {"AWS_ENDPOINT_URL_SNS"}
"""Variables that the local functions lack.

The local cloud gives functions one address for all services, which this variable would override.
"""


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Return the values in nested dictionaries and lists that are neither, by their paths."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {
            leaf: end
            for key, part in items
            for leaf, end in leaves(part, (*path, str(key))).items()
        }
    return {path: value}


def test_local_differs_from_dev_in_times_and_one_address(
    tmp_path: Path, assembly_of: Callable[[str], Assembly]
) -> None:
    """Local is synthesized under dev's name, with the IAM login that `make up` uses where it can."""
    settings = replace(ENVIRONMENTS["local"].override({"database_login": "iam"}), name="dev")
    local, dev = leaves(synth(settings, tmp_path).templates), leaves(assembly_of("dev").templates)
    differences = {
        path[-1] for path in local.keys() | dev.keys() if local.get(path) != dev.get(path)
    }
    assert differences == SHORTER | ADDRESSES
