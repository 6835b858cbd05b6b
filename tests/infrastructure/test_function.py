"""The construct of a function, which makes names from its folder, and the layer's packages."""

import re
import shutil
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

import stacks.function
from settings import ENVIRONMENTS, LAMBDAS, LAYER, Settings
from tests.support.assembly import CONTEXT

DEV = ENVIRONMENTS["dev"]
DEAD = "http://127.0.0.1:9"


@pytest.fixture
def two_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the resources of a function whose folder has a name of two words."""
    lambdas = tmp_path / "lambdas"
    shutil.copytree(LAMBDAS, lambdas)
    shutil.copytree(lambdas / "restock", lambdas / "two_words")
    monkeypatch.setattr(stacks.function, "LAMBDAS", lambdas)
    app = cdk.App(context=CONTEXT, outdir=str(tmp_path / "cdk.out"))
    stack = cdk.Stack(app, "Stack")
    stacks.function.Function(
        stack,
        "two_words",
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


def test_folder_of_two_words_gives_the_function_its_names(two_words: dict[str, Any]) -> None:
    id, function = one(two_words, "AWS::Lambda::Function")
    assert id.startswith("TwoWords")
    assert function["FunctionName"] == "donut-shop-two_words-dev"
    assert function["Handler"] == "two_words.handler.handler"
    assert DEV.function_of(function["FunctionName"]) == "two_words"


def test_folder_of_two_words_gives_the_log_group_its_names(two_words: dict[str, Any]) -> None:
    id, group = one(two_words, "AWS::Logs::LogGroup")
    assert id.startswith("TwoWordsLogs")
    assert group["LogGroupName"] == "/donut-shop/dev/two_words"


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
    requirements = (LAMBDAS / "requirements.txt").read_text()
    installed = distributions(path=[str(tmp_path / "python")])
    assert {(package.name.lower(), package.version) for package in installed} == set(
        re.findall(r"^([\w-]+)==([\w.]+)", requirements, re.MULTILINE)
    )


@pytest.mark.parametrize("settings", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_database_certificates_are_in_the_layer(settings: Settings, tmp_path: Path) -> None:
    stacks.function.PipInstall().try_bundle(str(tmp_path))
    certificates = tmp_path / Path(settings.database_ca_file).relative_to(LAYER)
    assert certificates.read_text().startswith("-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize("file", ["requirements.txt", "rds-ca-ap-northeast-2.pem", "other.pem"])
def test_layer_is_replaced_when_its_source_changes(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lambdas = tmp_path / "lambdas"
    shutil.copytree(LAMBDAS, lambdas)
    monkeypatch.setattr(stacks.function, "LAMBDAS", lambdas)

    def key() -> str:
        stack = cdk.Stack(cdk.App(context=CONTEXT), "Stack")
        stacks.function.Dependencies(stack, "Dependencies")
        (layer,) = Template.from_stack(stack).find_resources("AWS::Lambda::LayerVersion").values()
        return str(layer["Properties"]["Content"]["S3Key"])

    before = key()
    with (lambdas / file).open("a") as changed:
        changed.write("\n")
    assert key() != before


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
