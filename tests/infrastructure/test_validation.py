"""cdk-nag's AwsSolutions rules and cfn-lint find nothing that is not accepted.

The CDK's own validation, which is slow, is in test_app.py and test_github_roles_stack.py.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import aws_cdk as cdk
import pytest

from app import add_github_roles
from settings import ENVIRONMENTS, PROJECT, REGION, ExistingDatabase
from tests.support.assembly import CONTEXT, Assembly, run_app, synth

NAG = """
import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks
import app

tree = cdk.App(builtin_cloud_formation_validation=False)
cdk.Validations.of(tree).add_plugins(AwsSolutionsChecks(tree))
for settings in app.chosen_environments(tree):
    app.add_stacks(tree, settings)
app.add_github_roles(tree, "owner/name")
tree.synth()
"""
ACCEPTED_BY_CFN_LINT = {
    "W3005": "the CDK itself writes DependsOn beside each reference to a role",
    "W3010": "zones are named in settings.py, since synthesis asks no account for its own",
}


def test_cdk_nag_and_cfn_lint_find_nothing(tmp_path: Path) -> None:
    nag = run_app(tmp_path, program=("-c", NAG), env=",".join(ENVIRONMENTS))
    assert nag.returncode == 0, nag.stdout + nag.stderr
    templates = sorted(map(str, tmp_path.glob("*.template.json")))
    assert templates
    cfn_lint = str(Path(sys.executable).with_name("cfn-lint"))
    ignored = ["--ignore-checks", *ACCEPTED_BY_CFN_LINT]
    lint = subprocess.run(
        [cfn_lint, "--regions", REGION, *ignored, "--", *templates],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr


ACCEPTED_BY_THE_CDK = {f"CloudFormation-Validate::{rule}" for rule in ("F3002", "F3003", "W3010")}
"""Findings of the CDK's own validation, which the CDK itself accepts for a VPC and its flow log."""


def accepted_findings(directory: Path) -> Iterator[str]:
    """Yield the findings that the stacks in this assembly accept, as in `IAM5` or `W3010`."""
    for path in directory.glob("*.metadata.json"):
        for entries in json.loads(path.read_text()).values():
            for entry in entries:
                if entry["type"] == "aws:cdk:acknowledged-rules":
                    for rule in entry["data"].keys() - ACCEPTED_BY_THE_CDK:
                        name = re.search(r"(\w+)(?:\[.*])?$", rule)
                        assert name, rule
                        yield name[1]


@pytest.fixture
def directories(assembly_of: Callable[[str], Assembly], tmp_path: Path) -> list[Path]:
    """Return the assemblies of everything that can be deployed."""
    existing = ExistingDatabase(
        host="database.example",
        port=3306,
        secret_arn="arn:aws:secretsmanager:ap-northeast-2:123456789012:secret:shop-AbCdEf",
        vpc_id="vpc-1",
        subnet_ids=("subnet-1", "subnet-2"),
        security_group_id="sg-1",
    )
    synth(replace(ENVIRONMENTS["prod"], database=existing), tmp_path / "existing")
    context = {**CONTEXT, "env": ",".join(ENVIRONMENTS)}
    github = cdk.App(context=context, outdir=str(tmp_path / "github"))
    add_github_roles(github, "owner/name")
    github.synth()
    environments = [assembly_of(name).directory for name in ENVIRONMENTS]
    return [*environments, tmp_path / "existing", tmp_path / "github"]


def test_every_accepted_finding_is_in_the_decisions(directories: list[Path]) -> None:
    accepted = {rule for directory in directories for rule in accepted_findings(directory)}
    assert accepted >= {"APIG4", "IAM4", "IAM5", "RDS3", "SMG4", "noSubnetRouteTableId"}
    decisions = (PROJECT / "docs/decisions.md").read_text()
    for rule in accepted | ACCEPTED_BY_CFN_LINT.keys():
        assert re.search(rf"\b{rule}\b", decisions), (
            f"docs/decisions.md does not say why {rule} is accepted"
        )
