"""Which environments and stacks app.py synthesizes, and what it says about a wrong choice."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from app import chosen_environments
from settings import ENVIRONMENTS, PROJECT
from tests.support.assembly import Assembly, run_app

NAMES = re.escape(", ".join(ENVIRONMENTS))


def chosen(**context: str) -> list[str]:
    """Return the names of the environments that the context chooses."""
    return [settings.name for settings in chosen_environments(cdk.App(context=context))]


@pytest.mark.parametrize(
    ("env", "names"),
    [
        ("dev", ["dev"]),
        ("dev,prod", ["dev", "prod"]),
        (" prod , dev ,", ["prod", "dev"]),
        ("dev,dev", ["dev"]),
    ],
)
def test_environments_are_chosen_by_name(env: str, names: list[str]) -> None:
    assert chosen(env=env) == names


@pytest.mark.parametrize("context", [{}, {"env": ""}, {"env": " , "}], ids=str)
def test_missing_choice_is_rejected_with_the_names(context: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"no environment chosen: .*{NAMES}"):
        chosen(**context)


@pytest.mark.parametrize("env", ["production", "dev,production", "DEV"])
def test_unknown_environment_is_named(env: str) -> None:
    unknown = env.split(",")[-1]
    with pytest.raises(ValueError, match=f"unknown environment {unknown}: .*{NAMES}"):
        chosen(env=env)


def test_context_overrides_settings() -> None:
    (settings,) = chosen_environments(
        cdk.App(context={"env": "dev", "factory_url": "https://factory.test/api"})
    )
    assert settings.factory_url == "https://factory.test/api"


def test_every_environment_has_the_same_four_stacks(assembly: Assembly) -> None:
    assert set(assembly.templates) == {
        f"donut-shop-{stack}-{assembly.name}"
        for stack in ("data", "messaging", "service", "monitoring")
    }


def test_stateful_stacks_are_protected_when_the_setting_says_so(
    assembly: Assembly,
) -> None:
    artifacts = json.loads((assembly.directory / "manifest.json").read_text())["artifacts"]
    protected = {
        name
        for name, artifact in artifacts.items()
        if artifact["type"] == "aws:cloudformation:stack"
        and artifact["properties"].get("terminationProtection")
    }
    setting = assembly.settings.termination_protection
    stacks = ("data", "messaging")
    assert protected == (
        {assembly.settings.stack_name(stack) for stack in stacks} if setting else set()
    )


def test_all_environments_pass_validation_without_calling_aws(tmp_path: Path) -> None:
    synth = run_app(tmp_path, env=",".join(ENVIRONMENTS))
    assert synth.returncode == 0, synth.stderr
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert "missing" not in manifest
    assert {
        artifact["environment"]
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    } == {"aws://unknown-account/ap-northeast-2"}


def test_wrong_choice_ends_in_one_sentence(tmp_path: Path) -> None:
    synth = run_app(tmp_path, env="production")
    assert synth.returncode != 0
    assert synth.stderr.startswith("error: unknown environment production: ")
    assert "Traceback" not in synth.stderr


def test_mistake_in_the_catalogue_ends_in_one_sentence(tmp_path: Path) -> None:
    """Nothing is synthesized, so nothing is deployed."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("app.py", "settings.py", "stacks", "lambdas"):
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, tree / name)
    catalogue = tree / "lambdas" / "migrate" / "catalogue.toml"
    catalogue.write_text(catalogue.read_text().replace("price = 19900", 'price = "19900"'))
    synth = run_app(tmp_path / "out", program=(str(tree / "app.py"),), env="dev")
    assert synth.returncode == 1
    assert synth.stderr == (
        "error: catalogue.toml: product 1: price is '19900', but must be a whole number"
        " from 0 to 1,000,000,000,000.\n"
    )
    assert not list(tmp_path.glob("out/*.json"))


def tags(properties: dict[str, Any]) -> dict[str, str]:
    """Return the tags of a resource."""
    return {tag["Key"]: tag["Value"] for tag in properties["Tags"]}


def test_resources_are_tagged_with_app_and_environment(assembly: Assembly) -> None:
    """The tags split the bill by environment."""
    expected = {"app": "donut-shop", "environment": assembly.name}
    for name, function in assembly.functions().items():
        assert tags(function).items() >= expected.items(), name
    for kind in (
        "AWS::RDS::DBInstance",
        "AWS::SQS::Queue",
        "AWS::SNS::Topic",
        "AWS::EC2::VPC",
        "AWS::Logs::LogGroup",
    ):
        for id, properties in assembly.each(kind):
            assert tags(properties).items() >= expected.items(), id
