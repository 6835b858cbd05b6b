"""The workflows run make commands, with pinned actions and only the permissions that jobs need."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from settings import PROJECT
from stacks.function import RUNTIME
from tests.support.documentation import makefile_targets
from tests.support.environments import ON_AN_ACCOUNT

FILES = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
PERMISSIONS = {
    "test.yml": {"test": {"contents": "read"}},
    "diff.yml": {"diff": {"contents": "read", "id-token": "write", "pull-requests": "write"}},
    "deploy.yml": {
        "test": {"contents": "read"},
        "synth": {"contents": "read"},
        **{name: {"contents": "read", "id-token": "write"} for name in ("dev", "staging", "prod")},
    },
    "deploy-to.yml": {"deploy": {"contents": "read", "id-token": "write"}},
}


def workflow(name: str) -> dict[str, Any]:
    """Return a workflow's content."""
    content: dict[str, Any] = yaml.safe_load((PROJECT / ".github" / "workflows" / name).read_text())
    return content


def jobs(name: str) -> dict[str, Any]:
    """Return a workflow's jobs."""
    found: dict[str, Any] = workflow(name)["jobs"]
    return found


def steps(name: str) -> Iterator[dict[str, Any]]:
    """Yield the steps of all jobs of a workflow."""
    for job in jobs(name).values():
        yield from job.get("steps", [])


def test_jobs_have_only_their_own_permissions() -> None:
    assert {
        file.name: {
            job: content.get("permissions", workflow(file.name)["permissions"])
            for job, content in jobs(file.name).items()
        }
        for file in FILES
    } == PERMISSIONS, "PERMISSIONS in this test lists what each job may do"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_actions_are_pinned(file: Any) -> None:
    lines = [line.strip(" -") for line in file.read_text().splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.fullmatch(
            r"uses: (\./\.github/workflows/[\w-]+\.yml|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)",
            line,
        ), line


def test_each_action_has_one_version() -> None:
    used = {step["uses"] for file in FILES for step in steps(file.name) if "uses" in step}
    assert len(used) == len({action.partition("@")[0] for action in used})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_steps_run_make_commands(file: Any) -> None:
    for step in steps(file.name):
        if "run" in step and not step["run"].startswith(("gh pr comment ", "diff() {")):
            command = re.fullmatch(
                r"(?:sudo )?make ([a-z0-9-]+)(?: [A-Z]+=[\w.,]+)*(?: 2>&1 \| tee [\w.]+)?",
                step["run"],
            )
            assert command, step["run"]
            assert command[1] in makefile_targets(), step["run"]


def test_shell_commands_contain_no_expressions() -> None:
    """A pull request could put a command into an expression, such as its title."""
    for file in FILES:
        for step in steps(file.name):
            assert "${{" not in step.get("run", ""), f"{file.name}: {step}"


def test_one_assembly_is_deployed_to_each_environment_in_turn() -> None:
    deploy = jobs("deploy.yml")
    order = ["test", "synth", *ON_AN_ACCOUNT]
    assert list(deploy) == order, (
        "each environment of settings.py but local is a job in .github/workflows/deploy.yml"
    )
    assert [deploy[job].get("needs") for job in order] == [None, *order[:-1]]
    assert {deploy[name]["uses"] for name in order[2:]} == {"./.github/workflows/deploy-to.yml"}
    assert [deploy[name]["with"]["environment"] for name in order[2:]] == order[2:]
    commands = [
        step["run"]
        for name in ("deploy.yml", "deploy-to.yml")
        for step in steps(name)
        if "run" in step
    ]
    assert commands == [
        f"make synth ENV={','.join(order[2:])}",
        *("make install", "make deploy APP=cdk.out", "make smoke"),
    ]


@pytest.mark.parametrize("name", ["diff.yml", "deploy-to.yml"])
def test_installation_and_synthesis_have_no_credentials(name: str) -> None:
    """Pip and app.py run code of the pull request and of dependencies, which need no credentials."""
    found = list(steps(name))
    (credentials,) = [
        index for index, step in enumerate(found) if "role-to-assume" in step.get("with", {})
    ]
    before = [step["run"] for step in found[:credentials] if "run" in step]
    after = [step["run"] for step in found[credentials:] if "run" in step]
    assert "make install" in before
    if name == "deploy-to.yml":
        assert after == ["make deploy APP=cdk.out", "make smoke"]
        return
    cdk, comment = after
    assert "make" not in cdk, "the Makefile is the pull request's"
    assert re.findall(r"^ *(?:node )?[\w/.-]+", cdk, re.MULTILINE) == [
        "diff",
        "  node node_modules/aws-cdk/bin/cdk",
        *("diff", "diff"),
    ]
    assert comment.startswith("gh pr comment ")


def test_runs_wait_for_each_other_per_environment() -> None:
    """With a single group, nothing would reach dev while prod waits for its approval."""
    assert "concurrency" not in workflow("deploy.yml")
    assert "concurrency" not in workflow("deploy-to.yml")
    groups = {job: content.get("concurrency") for job, content in jobs("deploy.yml").items()}
    waits = {"cancel-in-progress": False}
    assert groups == {
        "test": {"group": "deploy-test", **waits},
        "synth": {"group": "deploy-synth", **waits},
        **dict.fromkeys(ON_AN_ACCOUNT),
    }
    assert jobs("deploy-to.yml")["deploy"]["concurrency"] == {
        "group": "deploy-${{ inputs.environment }}",
        **waits,
    }


def test_alarm_address_reaches_the_assembly_and_the_deployment() -> None:
    for name, job in (("diff.yml", "diff"), ("deploy.yml", "synth"), ("deploy-to.yml", "deploy")):
        assert jobs(name)[job]["env"]["ALARM_EMAIL"] == "${{ vars.ALARM_EMAIL }}", name


def test_python_action_runs_on_a_supported_node() -> None:
    """setup-python 5 declares node20, which the runners no longer have."""
    used = {
        step["uses"]
        for file in FILES
        for step in steps(file.name)
        if "setup-python" in step.get("uses", "")
    }
    assert used == {"actions/setup-python@a309ff8b426b58ec0e2a45f0f869d46889d02405"}  # v6.2.0


def test_tests_run_on_the_oldest_python_and_on_lambdas() -> None:
    (versions,) = [
        step["with"]["python-version"]
        for step in steps("test.yml")
        if "setup-python" in step.get("uses", "")
    ]
    assert [f"python{version}" for version in versions.split()] == [RUNTIME.name, "python3.11"], (
        "the last is python3"
    )


def test_workflows_assume_roles_and_use_no_secrets() -> None:
    for file in FILES:
        assert "secrets." not in file.read_text(), file.name
    credentials = {
        file.name: step["with"]["role-to-assume"]
        for file in FILES
        for step in steps(file.name)
        if step.get("uses", "").startswith("aws-actions/configure-aws-credentials@")
    }
    assert credentials == {
        "diff.yml": "${{ vars.AWS_DIFF_ROLE_ARN }}",
        "deploy-to.yml": "${{ vars.AWS_ROLE_ARN }}",
    }
    assert jobs("deploy-to.yml")["deploy"]["environment"] == "${{ inputs.environment }}"
    assert "environment" not in jobs("diff.yml")["diff"]
