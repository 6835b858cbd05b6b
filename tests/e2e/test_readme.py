"""README.md does what it says."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from settings import PROJECT
from tests.support.accidents import shell_environment
from tests.support.deployed_shop import Shop
from tests.support.documentation import commands, make_targets, makefile_targets

README = (PROJECT / "README.md").read_text()


@pytest.fixture
def root(tmp_path: Path, shop: Shop) -> Path:
    """A project's root in which `make up` has started this cloud."""
    (tmp_path / ".local").symlink_to(shop.cloud.directory)
    return tmp_path


def answer(command: str, *, root: Path, shop: Shop) -> dict[str, object]:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=root,
        env=shell_environment(shop),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def test_its_requests_are_answered_as_it_says(shop: Shop, root: Path) -> None:
    look, buy, run_out = [command for command in commands(README) if command.startswith("curl ")]
    assert answer(look, root=root, shop=shop)["stock"] == 10
    assert answer(buy, root=root, shop=shop)["purchased"] is True
    order_id = str(answer(run_out, root=root, shop=shop)["order_id"])
    shop.wait_for(order_id)
    (follow,) = re.findall(r"`(curl [^`]*<order_id>[^`]*)`", README)
    assert (
        answer(follow.replace("<order_id>", order_id), root=root, shop=shop)["status"] == "arrived"
    )
    assert shop.stock() == 10 - 1 + 50


def test_its_make_commands_exist() -> None:
    named = make_targets(README)
    assert named >= {"up", "test", "down"}
    assert named <= makefile_targets()
