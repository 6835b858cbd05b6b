"""The construct of a function, which makes names from its folder, and the layer's packages."""

import re
import shutil
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import aws_cdk as cdk
import pytest

import stacks.function
from settings import ENVIRONMENTS
from tests.support.assembly import CONTEXT

DEV = ENVIRONMENTS["dev"]
DEAD = "http://127.0.0.1:9"


@pytest.fixture
def stock_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the resources of a function whose folder has a name of two words."""
    lambdas = tmp_path / "lambdas"
    shutil.copytree(stacks.function.LAMBDAS, lambdas)
    shutil.copytree(lambdas / "restock", lambdas / "stock_check")
    monkeypatch.setattr(stacks.function, "LAMBDAS", lambdas)
    app = cdk.App(context=CONTEXT, outdir=str(tmp_path / "cdk.out"))
    stack = cdk.Stack(app, "Stack")
    stacks.function.Function(
        stack,
        "stock_check",
        settings=DEV,
        layer=stacks.function.Dependencies(stack, "Dependencies"),
        variables={},
        timeout=10,
    )
    resources: dict[str, Any] = app.synth().get_stack_by_name("Stack").template["Resources"]
    return resources


def one(resources: dict[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    """Return the logical id and the properties of the only resource of this type."""
    ((id, resource),) = [(id, each) for id, each in resources.items() if each["Type"] == kind]
    return id, resource["Properties"]


def test_folder_of_two_words_gives_the_function_its_names(stock_check: dict[str, Any]) -> None:
    id, function = one(stock_check, "AWS::Lambda::Function")
    assert id.startswith("StockCheck")
    assert function["FunctionName"] == "donut-shop-stock_check-dev"
    assert function["Handler"] == "stock_check.handler.handler"
    assert DEV.function_of(function["FunctionName"]) == "stock_check"


def test_folder_of_two_words_gives_the_log_group_its_names(stock_check: dict[str, Any]) -> None:
    id, group = one(stock_check, "AWS::Logs::LogGroup")
    assert id.startswith("StockCheckLogs")
    assert group["LogGroupName"] == "/donut-shop/dev/stock_check"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip find no package but those on this machine."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, DEAD)
    monkeypatch.setenv("PIP_INDEX_URL", f"{DEAD}/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")


@pytest.mark.usefixtures("no_network")
def test_layer_is_installed_without_a_network(tmp_path: Path) -> None:
    assert stacks.function.PipInstall().try_bundle(str(tmp_path))
    requirements = (stacks.function.LAMBDAS / "requirements.txt").read_text()
    installed = distributions(path=[str(tmp_path / "python")])
    assert {(package.name.lower(), package.version) for package in installed} == set(
        re.findall(r"^([\w-]+)==([\w.]+)", requirements, re.MULTILINE)
    )


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("wheels", ["missing", "of another hash"])
def test_layer_of_other_wheels_is_rejected_in_one_sentence(
    wheels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "wheels"
    if wheels == "of another hash":
        shutil.copytree(stacks.function.WHEELS, folder)
        for wheel in folder.glob("*.whl"):
            with ZipFile(wheel, "a") as archive:
                archive.comment = b"changed"
    monkeypatch.setattr(stacks.function, "WHEELS", folder)
    app = cdk.App(outdir=str(tmp_path / "cdk.out"))
    with pytest.raises(ValueError, match=r"^[^\n]*run `make install`$"):
        stacks.function.Dependencies(cdk.Stack(app, "Stack"), "Dependencies")
