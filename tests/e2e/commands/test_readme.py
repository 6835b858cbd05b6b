"""The commands in README.md work."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from settings import PROJECT
from tests.support.accidents import shell_variables
from tests.support.bad_input import CHECKOUT
from tests.support.deployed_shop import DeployedShop
from tests.support.documentation import commands, make_targets, makefile_targets

README = (PROJECT / "README.md").read_text()


@pytest.fixture
def root(tmp_path: Path, shop: DeployedShop) -> Path:
    """Return a directory that looks like the project's root after `make up`."""
    (tmp_path / ".local").symlink_to(shop.cloud.directory)
    return tmp_path


def response(command: str, *, root: Path, shop: DeployedShop) -> dict[str, object]:
    """Run a curl command, and return the JSON of the response."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=root,
        env=shell_variables(shop),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


def test_curl_commands_return_what_the_readme_says(shop: DeployedShop, root: Path) -> None:
    look, buy, order_more = [command for command in commands(README) if command.startswith("curl ")]
    product, bought, ordered = map(json.loads, re.findall(r"^{.*}$", README, re.MULTILINE))
    returned = response(look, root=root, shop=shop)
    assert returned == product, f"README.md: {look} returns {returned}"
    assert response(buy, root=root, shop=shop) == bought
    order = response(order_more, root=root, shop=shop)
    order_id = str(order["order_id"])
    assert order == ordered | {"order_id": order_id}
    shop.wait_for(order_id)
    (follow,) = re.findall(r"`(curl [^`]*<order_id>[^`]*)`", README)
    assert (
        response(follow.replace("<order_id>", order_id), root=root, shop=shop)["status"]
        == "arrived"
    )
    assert shop.stock() == 10 - 1 + 50
    assert f"the stock is {shop.stock()}." in README


def test_curl_commands_send_what_the_document_describes() -> None:
    orders = [shlex.split(command) for command in commands(README) if " -d " in command]
    assert len(orders) == 2
    for order in orders:
        assert order[order.index("-H") + 1] == "Content-Type: application/json", order
        assert CHECKOUT.is_valid(json.loads(order[order.index("-d") + 1])), order


def test_make_commands_of_the_readme_exist() -> None:
    named = make_targets(README)
    assert named >= {"up", "test", "down"}
    assert named <= makefile_targets()
