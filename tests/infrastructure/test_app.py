import json
from pathlib import Path

import aws_cdk as cdk
import pytest

from app import chosen
from settings import ENVIRONMENTS
from tests.support.assembly import Assembly, run


def environments(**context: str) -> list[str]:
    return [settings.name for settings in chosen(cdk.App(context=context))]


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
    assert environments(env=env) == names


@pytest.mark.parametrize("context", [{}, {"env": ""}, {"env": " , "}], ids=str)
def test_without_a_choice_the_names_are_told(context: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"no environment chosen: .*local, dev, staging, prod"):
        environments(**context)


@pytest.mark.parametrize("env", ["production", "dev,production", "DEV"])
def test_an_unknown_environment_is_named(env: str) -> None:
    unknown = env.split(",")[-1]
    with pytest.raises(
        ValueError, match=rf"unknown environment {unknown}: .*local, dev, staging, prod"
    ):
        environments(env=env)


def test_settings_are_overridden_by_the_context() -> None:
    (settings,) = chosen(cdk.App(context={"env": "dev", "factory_url": "https://factory.test/api"}))
    assert settings.factory_url == "https://factory.test/api"


def test_every_environment_has_the_same_stacks(assembly: Assembly) -> None:
    assert set(assembly.templates) == {
        f"donut-shop-{stack}-{assembly.name}"
        for stack in ("data", "messaging", "service", "monitoring")
    }


def test_all_environments_pass_validation_without_asking_aws(tmp_path: Path) -> None:
    synth = run(tmp_path, env=",".join(ENVIRONMENTS))
    assert synth.returncode == 0, synth.stderr
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert "missing" not in manifest
    assert {
        artifact["environment"]
        for artifact in manifest["artifacts"].values()
        if artifact["type"] == "aws:cloudformation:stack"
    } == {"aws://unknown-account/ap-northeast-2"}


def test_a_wrong_choice_ends_in_one_sentence(tmp_path: Path) -> None:
    synth = run(tmp_path, env="production")
    assert synth.returncode != 0
    assert synth.stderr.startswith("error: unknown environment production: ")
    assert "Traceback" not in synth.stderr


def test_everything_is_tagged_with_app_and_environment(assembly: Assembly) -> None:
    """So that the bill can be split by environment."""
    expected = {"app": "donut-shop", "environment": assembly.name}
    tagged = dict(assembly.functions())
    for kind in (
        "AWS::RDS::DBInstance",
        "AWS::SQS::Queue",
        "AWS::SNS::Topic",
        "AWS::EC2::VPC",
        "AWS::Logs::LogGroup",
    ):
        tagged |= assembly.resources(kind)
    for id, resource in tagged.items():
        tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"]["Tags"]}
        assert tags.items() >= expected.items(), id
