"""The construct of a function: the names that it makes from the function's folder."""

import shutil
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

import stacks.function
from settings import ENVIRONMENTS
from tests.support.assembly import CONTEXT

DEV = ENVIRONMENTS["dev"]


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
