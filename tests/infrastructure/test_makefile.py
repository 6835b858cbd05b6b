"""The commands for an account refuse what can't be meant, before they install, synthesize or change anything."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from settings import ENVIRONMENTS, PROJECT
from stacks.function import RUNTIME

ON_AN_ACCOUNT = ["bootstrap", "preflight", "diff", "deploy", "destroy", "deploy-github-roles"]
ACCOUNTS = [name for name in ENVIRONMENTS if name != "local"]
INSTALLED = [
    f"--old-file={stamp}/installed" for stamp in (".venv", "node_modules", ".venv/emulator")
]
"""Nothing is installed, even if a file is newer than what was installed from it."""
QUICK, SECONDS = 2, 30
PROBE = """
probe:
	PATH="$(abspath $(NODE_HOME))/bin:$$PATH" .venv/bin/python -c 'import aws_cdk; print(aws_cdk.Stack)'
	$(CDK) doctor
	$(NPM) cache verify
	.venv/bin/uv pip compile --quiet /dev/null
"""
"""Everything that keeps a cache, without the network."""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The variables of a machine without AWS credentials, of a person whose home is empty."""
    host = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "MAKE", "MFLAGS"))
    }
    for name in ("ENV", "APP", "ORDER", "ALARM_EMAIL", "GITHUB_REPOSITORY"):
        host.pop(name, None)
    home = tmp_path / "home"
    home.mkdir()
    return host | {"HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The project as it was cloned: nothing is installed. Whatever a command runs first would fail, or leave a file."""
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(PROJECT / "Makefile", project)
    return project


def make(
    *arguments: str, machine: dict[str, str], directory: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command,
        cwd=directory,
        env=machine,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def refusal(*arguments: str, machine: dict[str, str], fresh: Path) -> str:
    """What `make` says in one line, within a moment and without a trace, on a machine where nothing is installed."""
    began = time.monotonic()
    done = make(*arguments, machine=machine, directory=fresh)
    assert time.monotonic() - began < QUICK
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert [path.name for path in fresh.iterdir()] == ["Makefile"]
    assert list(Path(machine["HOME"]).iterdir()) == []
    return line


@pytest.mark.parametrize("environment", [None, "local", "dev,local", "local,dev", "dev local", ""])
@pytest.mark.parametrize("target", ON_AN_ACCOUNT)
def test_local_is_never_put_into_an_account(
    target: str, environment: str | None, machine: dict[str, str], fresh: Path
) -> None:
    given = [] if environment is None else [f"ENV={environment}"]
    line = refusal(target, "GITHUB_REPOSITORY=o/n", *given, machine=machine, fresh=fresh)
    assert f"ENV=dev make {target}" in line
    assert "`make up`" in line
    if environment is not None:
        assert refusal(target, machine=machine | {"ENV": environment}, fresh=fresh) == line


@pytest.mark.parametrize("before", ["smoke", "synth", "help"])
def test_another_command_before_it_opens_no_gap(
    before: str, machine: dict[str, str], fresh: Path
) -> None:
    assert "ENV=dev make deploy" in refusal(before, "deploy", machine=machine, fresh=fresh)


@pytest.mark.parametrize("target", ON_AN_ACCOUNT)
def test_unknown_environment_is_named(target: str, machine: dict[str, str], fresh: Path) -> None:
    line = refusal(target, "ENV=dev,production", machine=machine, fresh=fresh)
    assert "no environment `production`" in line
    assert all(name in line for name in ACCOUNTS)


@pytest.mark.parametrize("target", ["preflight", "diff", "smoke"])
def test_command_for_one_environment_takes_no_list(
    target: str, machine: dict[str, str], fresh: Path
) -> None:
    assert "one environment at a time" in refusal(
        target, "ENV=dev,staging", machine=machine, fresh=fresh
    )


def test_repository_has_to_be_given_to_let_github_deploy(
    machine: dict[str, str], fresh: Path
) -> None:
    assert "GITHUB_REPOSITORY=owner/name" in refusal(
        "deploy-github-roles", "ENV=dev", machine=machine, fresh=fresh
    )


def test_guard_knows_the_environments_of_the_settings() -> None:
    (listed,) = re.findall(r"^ACCOUNTS = (.+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert listed.split() == ACCOUNTS


def test_guard_lets_an_environment_pass(machine: dict[str, str]) -> None:
    for target in ON_AN_ACCOUNT:
        for environment in (*ACCOUNTS, "dev,staging"):
            if target in ("preflight", "diff") and "," in environment:
                continue
            arguments = (target, f"ENV={environment}", "GITHUB_REPOSITORY=o/n")
            done = make(*INSTALLED, "--dry-run", *arguments, machine=machine)
            assert done.returncode == 0, f"{arguments}: {done.stderr}"


def test_unit_tests_are_for_the_python_of_the_functions(machine: dict[str, str]) -> None:
    done = make("--print-data-base", "--dry-run", "help", machine=machine)
    assert f"LAMBDA_PYTHON = {RUNTIME.name}" in done.stdout.splitlines()


def test_unit_tests_are_skipped_in_one_line_without_that_python(machine: dict[str, str]) -> None:
    done = make(*INSTALLED, "unit-on-lambda-python", "LAMBDA_PYTHON=python3.99", machine=machine)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("skipped: the unit tests on python3.99, ")


def test_failing_unit_test_on_that_python_fails_the_command(
    machine: dict[str, str], tmp_path: Path
) -> None:
    """The environment beside the main one is what counts: here, one whose pytest fails."""
    fake = tmp_path / ".venv" / "python3.99" / "bin"
    fake.mkdir(parents=True)
    python, pytest_there = tmp_path / "python3.99", fake / "pytest"
    python.write_text("#!/bin/sh\nexit 0\n")
    pytest_there.write_text('#!/bin/sh\necho "ran $*"\nexit 1\n')
    for program in (python, pytest_there):
        program.chmod(0o755)
    for stamp in (".venv/installed", ".venv/python3.99/installed"):
        (tmp_path / stamp).touch()
    shutil.copy(PROJECT / "Makefile", tmp_path)
    (tmp_path / "requirements-dev.txt").touch()
    os.utime(tmp_path / "requirements-dev.txt", (0, 0))
    done = make(
        "unit-on-lambda-python", f"LAMBDA_PYTHON={python}", machine=machine, directory=tmp_path
    )
    assert "ran tests/unit" in done.stdout
    assert done.returncode != 0


def sentence(*arguments: str, machine: dict[str, str]) -> str:
    """What a command that is installed says on standard error when it fails, but for make's own last line."""
    done = make(*INSTALLED, *arguments, machine=machine)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    lines = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if not line.startswith("make: ***")
    ]
    assert len(lines) == 1, done.stdout + done.stderr
    return lines[0]


@pytest.mark.parametrize(
    "command",
    [
        "bootstrap ENV=dev",
        "preflight ENV=dev",
        "diff ENV=dev",
        "deploy ENV=dev",
        "deploy ENV=prod ALARM_EMAIL=ops@shop.test",
        "destroy ENV=dev",
        "deploy-github-roles ENV=dev GITHUB_REPOSITORY=o/n",
        "logs ENV=dev",
        "redrive ENV=dev",
    ],
)
def test_command_without_credentials_says_one_sentence(
    command: str, machine: dict[str, str]
) -> None:
    assert "no AWS credentials" in sentence(*command.split(), machine=machine)
    assert not list(Path(machine["HOME"]).iterdir())


def test_profile_that_does_not_exist_is_named(machine: dict[str, str]) -> None:
    for command in ("deploy", "preflight", "logs", "redrive"):
        assert "nobody" in sentence(command, "ENV=dev", machine=machine | {"AWS_PROFILE": "nobody"})


@pytest.mark.parametrize("command", ["deploy ENV=prod", "deploy ENV=dev,prod"])
def test_prod_is_not_deployed_without_an_alarm_address(
    command: str, machine: dict[str, str]
) -> None:
    assert "ALARM_EMAIL=" in sentence(*command.split(), machine=machine)
    assert "no AWS credentials" in sentence(
        *command.split(), machine=machine | {"ALARM_EMAIL": "ops@shop.test"}
    )


def test_existing_provider_of_github_reaches_the_cdk(machine: dict[str, str]) -> None:
    """`make preflight` says to give it, where the account has one."""
    given = ("ENV=dev", "GITHUB_REPOSITORY=o/n", "GITHUB_OIDC_PROVIDER_ARN=arn:p")
    done = make(*INSTALLED, "--dry-run", "deploy-github-roles", *given, machine=machine)
    assert "-c github_oidc_provider_arn=arn:p" in done.stdout


def test_alarm_address_reaches_the_cdk(machine: dict[str, str]) -> None:
    for target in ("synth", "diff", "deploy", "destroy"):
        done = make(
            *INSTALLED,
            "--dry-run",
            target,
            "ENV=prod",
            "ALARM_EMAIL=ops@shop.test",
            machine=machine,
        )
        calls = [
            line
            for line in done.stdout.splitlines()
            if "aws-cdk/bin/cdk" in line or "env=prod" in line
        ]
        assert calls and all(
            "alarm_email='ops@shop.test'" in line for line in calls if "env=prod" in line
        ), target


def at_a_terminal(*arguments: str, typed: str, machine: dict[str, str]) -> tuple[int, str]:
    """The exit status of `make` and what it says to a person who types this when asked."""
    program = "import os, sys; os.execvp('make', ['make', *sys.argv[1:]])"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(PROJECT)
        os.execve(sys.executable, [sys.executable, "-c", program, *INSTALLED, *arguments], machine)
    said, asked, deadline = b"", False, time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            try:
                read = os.read(terminal, 4096)
            except OSError:  # Linux: the other side has closed
                break
            if not read:
                break
            said += read
            if not asked and said.rstrip().endswith(b":"):
                os.write(terminal, typed.encode() + b"\n")
                asked = True
        else:
            os.kill(pid, 9)
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
    assert asked, said.decode()
    return os.waitstatus_to_exitcode(status), said.decode()


def test_prod_is_destroyed_only_after_its_name_is_typed(machine: dict[str, str]) -> None:
    for environments in ("prod", "dev,prod"):
        for typed in ("", "yes", "dev", "prod please"):
            status, said = at_a_terminal(
                "destroy", f"ENV={environments}", typed=typed, machine=machine
            )
            assert status != 0, typed
            assert "Nothing was destroyed." in said, typed
            assert "no AWS credentials" not in said, typed
        status, said = at_a_terminal(
            "destroy", f"ENV={environments}", typed="prod", machine=machine
        )
        assert "Nothing was destroyed." not in said
        assert "no AWS credentials" in said, "it goes on, as far as it can here"


def test_prod_is_not_destroyed_without_a_terminal(machine: dict[str, str]) -> None:
    done = subprocess.run(
        ["make", *INSTALLED, "destroy", "ENV=prod"],
        cwd=PROJECT,
        env=machine,
        input="prod\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        start_new_session=True,
    )
    assert done.returncode != 0
    assert "Nothing was destroyed: " in done.stderr
    assert "terminal" in done.stderr


@pytest.mark.parametrize("kind", ["empty", "missing", "not a directory"])
def test_nothing_is_written_to_the_home_directory(
    kind: str, machine: dict[str, str], tmp_path: Path
) -> None:
    """It may be read-only, or not exist. Below /proc, Node.js would try for ever to create it."""
    home = Path(machine["HOME"]) if kind == "empty" else tmp_path / "elsewhere"
    if kind == "not a directory":
        home.touch()
    probe = tmp_path / "probe.mk"
    probe.write_text(PROBE)
    done = make(
        "--file=Makefile", f"--file={probe}", "probe", machine=machine | {"HOME": str(home)}
    )
    assert done.returncode == 0, done.stderr
    assert home.exists() == (kind != "missing")
    assert kind != "empty" or not list(home.iterdir())
