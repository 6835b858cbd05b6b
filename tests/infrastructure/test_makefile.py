"""The Makefile rejects commands that can't be intended, before it installs or changes anything."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from local.__main__ import COMMANDS, clean, main
from local.cloud import Cloud
from local.files import write_whole
from local.processes import port_file
from operations.smoke import CLOSED
from settings import ENVIRONMENTS, PROJECT
from stacks.function import RUNTIME, WHEEL_OPTIONS, WHEELS
from tests.support.documentation import shell_variables
from tests.support.environments import ON_AN_ACCOUNT as ACCOUNTS

MAKEFILE = (PROJECT / "Makefile").read_text()
ON_THIS_MACHINE = ["up", "dev", "down", "clean"]
ON_AN_ACCOUNT = ["bootstrap", "preflight", "diff", "deploy", "destroy", "deploy-github-roles"]
THROUGH_THE_FUNCTION = ["orders", "order", "trace", "books", "remind", "stocktake", "adjust"]
BY_OPERATORS = ["status", "resume", *THROUGH_THE_FUNCTION]
GIVEN = re.findall(r"\w+", re.findall(r"^GIVEN = (.+)$", MAKEFILE, re.MULTILINE)[0])
"""The variables that a caller gives, as the Makefile lists them."""
RECIPES = re.sub(r"^#.*$", "", MAKEFILE, flags=re.MULTILINE)
TARGETS = re.findall(r"^([a-z0-9-]+):.*## ", MAKEFILE, re.MULTILINE)
NOT_GIVEN = {
    "make's own": {"CURDIR", "MAKE", "MAKECMDGOALS", "MAKEFILE_LIST"},
    "the shell's": {"HOME", "PATH"},
    "programs, which a recipe has to run": {"PYTHON", "LAMBDA_PYTHON"},
}
"""Variables that the Makefile uses but does not set, and that callers do not give as values."""
STAMPS = sorted(
    set(re.findall(r"^([.a-z_/-]+/(?:installed|total|checked)):", MAKEFILE, re.MULTILINE))
)
INSTALLED = [f"--old-file={stamp}" for stamp in STAMPS]
"""Arguments with which make installs nothing, even if a requirements file is newer."""
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
    """Return the variables of a user without AWS credentials, whose home directory is empty."""
    host = {
        name: value
        for name, value in shell_variables().items()
        if not name.startswith("AWS_") and name not in GIVEN
    }
    home = tmp_path / "home"
    home.mkdir()
    return host | {"HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Return a project with nothing installed, in which whatever make runs fails or leaves a file."""
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(PROJECT / "Makefile", project)
    return project


def make(
    *arguments: str, machine: dict[str, str], directory: Path = PROJECT
) -> subprocess.CompletedProcess[str]:
    """Run make with these arguments. machine: its environment variables."""
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


def rejection(*arguments: str, machine: dict[str, str], fresh: Path) -> str:
    """Return the one line with which make rejects the arguments, quickly and without a trace."""
    began = time.monotonic()
    done = make(*arguments, machine=machine, directory=fresh)
    assert time.monotonic() - began < QUICK
    assert done.returncode != 0
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert [path.name for path in fresh.iterdir()] == ["Makefile"]
    assert list(Path(machine["HOME"]).iterdir()) == []
    return line


@pytest.mark.parametrize(
    "environment", [None, "local", "dev,local", "local,dev", "dev local", "", " "]
)
@pytest.mark.parametrize("target", ON_AN_ACCOUNT)
def test_local_is_never_deployed_to_an_account(
    target: str, environment: str | None, machine: dict[str, str], fresh: Path
) -> None:
    given = [] if environment is None else [f"ENV={environment}"]
    line = rejection(target, "GITHUB_REPOSITORY=o/n", *given, machine=machine, fresh=fresh)
    assert f"ENV=dev make {target}" in line
    assert "`make up`" in line
    if environment is not None:
        assert rejection(target, machine=machine | {"ENV": environment}, fresh=fresh) == line


@pytest.mark.parametrize("before", ["smoke", "synth", "help"])
def test_local_is_rejected_as_a_second_command_too(
    before: str, machine: dict[str, str], fresh: Path
) -> None:
    assert "ENV=dev make deploy" in rejection(before, "deploy", machine=machine, fresh=fresh)


@pytest.mark.parametrize(
    "target",
    [
        *(*ON_AN_ACCOUNT, *BY_OPERATORS, "smoke", "logs", "redrive", "console"),
        *("mysql", "reset", "demo", "synth"),
    ],
)
def test_unknown_environment_is_named(target: str, machine: dict[str, str], fresh: Path) -> None:
    for given in ("dev,production", "dev production", "production"):
        line = rejection(target, f"ENV={given}", machine=machine, fresh=fresh)
        assert "no environment `production`" in line, given
        for name in ACCOUNTS:
            assert name in line, given


@pytest.mark.parametrize(
    "target", ["preflight", "diff", "smoke", "logs", "redrive", "console", *BY_OPERATORS]
)
@pytest.mark.parametrize("given", ["dev,staging", "dev staging"])
def test_command_for_one_environment_takes_no_list(
    given: str, target: str, machine: dict[str, str], fresh: Path
) -> None:
    line = rejection(target, f"ENV={given}", machine=machine, fresh=fresh)
    assert "one environment at a time" in line


def test_roles_for_github_require_a_repository(machine: dict[str, str], fresh: Path) -> None:
    assert "GITHUB_REPOSITORY=owner/name" in rejection(
        "deploy-github-roles", "ENV=dev", machine=machine, fresh=fresh
    )


def test_makefile_lists_the_environments_of_the_settings() -> None:
    (listed,) = re.findall(r"^ACCOUNTS = (.+)$", MAKEFILE, re.MULTILINE)
    assert listed.split() == ACCOUNTS, "ACCOUNTS in the Makefile and ENVIRONMENTS in settings.py"


def test_stacks_have_the_names_of_the_settings() -> None:
    name = ENVIRONMENTS["dev"].stack_name
    stacks = {name(part) for part in ("data", "messaging", "service", "monitoring")}
    for file, expected in {
        "Makefile": stacks | {name("*")},
        ".github/workflows/diff.yml": stacks,
    }.items():
        text = re.sub(r"\$\$?ENV\b|\$\(name\)", "dev", (PROJECT / file).read_text())
        spelled = set(re.findall(r"""["']([a-z*-]+-dev)["']""", text))
        assert spelled == expected, f"the stacks in {file} and Settings.stack_name differ"


@pytest.mark.parametrize("target", ["mysql", "reset", "demo"])
@pytest.mark.parametrize("environment", ACCOUNTS)
def test_database_of_an_account_is_neither_opened_nor_changed(
    environment: str, target: str, machine: dict[str, str], fresh: Path
) -> None:
    line = rejection(target, f"ENV={environment}", machine=machine, fresh=fresh)
    assert f"`make {target}` reaches the local database only" in line
    assert "docs/runbook.md" in line


def test_commands_for_an_account_accept_its_environments(machine: dict[str, str]) -> None:
    for target in ON_AN_ACCOUNT:
        for environment in (*ACCOUNTS, "dev,staging"):
            if target in ("preflight", "diff") and "," in environment:
                continue
            arguments = (target, f"ENV={environment}", "GITHUB_REPOSITORY=o/n")
            done = make(*INSTALLED, "--dry-run", *arguments, machine=machine)
            assert done.returncode == 0, f"{arguments}: {done.stderr}"


FOLDERS = sorted({path.parent.name for path in (PROJECT / "tests").glob("*/test_*.py")})


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_of_tests_has_a_command_of_its_name(folder: str, machine: dict[str, str]) -> None:
    done = make(*INSTALLED, "--dry-run", folder, machine=machine)
    assert f".venv/bin/pytest tests/{folder}" in done.stdout.splitlines(), (
        f"add a target `{folder}` to the Makefile, and name it in CONTRIBUTING.md"
    )


def test_make_test_runs_all_checks_and_all_folders(machine: dict[str, str]) -> None:
    done = make(*INSTALLED, "--dry-run", "test", machine=machine)
    parts = make(*INSTALLED, "--dry-run", "lint", "types", machine=machine)
    commands = done.stdout.splitlines()
    assert parts.stdout.splitlines(), parts.stderr
    assert set(parts.stdout.splitlines()) <= set(commands)
    assert ".venv/bin/pytest" in commands, "without a folder, pytest runs all of tests/"


def test_unit_tests_are_for_the_python_of_the_functions(machine: dict[str, str]) -> None:
    done = make("--print-data-base", "--dry-run", "help", machine=machine)
    assert f"LAMBDA_PYTHON = {RUNTIME.name}" in done.stdout.splitlines()


def test_changed_packages_of_the_functions_are_downloaded(machine: dict[str, str]) -> None:
    stamp = WHEELS.relative_to(PROJECT) / "installed"
    made_of_it = {f"--old-file={name}" for name in (stamp, ".venv/total")}
    others = [argument for argument in INSTALLED if argument not in made_of_it]
    changed = "--what-if=lambdas/requirements.txt"
    done = make(*others, changed, "--dry-run", "install", machine=machine)
    words = done.stdout.split()
    assert f"--stamp={stamp}" in words, done.stdout + done.stderr
    assert set(WHEEL_OPTIONS) <= set(words)
    done = make(*INSTALLED, "--dry-run", "install", machine=machine)
    assert "download" not in done.stdout


def test_unit_tests_are_skipped_in_one_line_without_that_python(machine: dict[str, str]) -> None:
    done = make(*INSTALLED, "unit-on-lambda-python", "LAMBDA_PYTHON=python3.99", machine=machine)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert line.startswith("skipped: the unit tests on python3.99, ")


def test_failing_unit_test_on_that_python_fails_the_command(
    machine: dict[str, str], tmp_path: Path
) -> None:
    """The second virtual environment decides; here, it is one whose pytest fails."""
    fake = tmp_path / ".venv" / "python3.99" / "bin"
    fake.mkdir(parents=True)
    python, pytest_there = tmp_path / "python3.99", fake / "pytest"
    python.write_text("#!/bin/sh\nexit 0\n")
    pytest_there.write_text('#!/bin/sh\necho "ran $*"\nexit 1\n')
    for program in (python, pytest_there):
        program.chmod(0o755)
    (tmp_path / ".venv/python3.99/installed").touch()
    shutil.copy(PROJECT / "Makefile", tmp_path)
    (tmp_path / "requirements-dev.txt").touch()
    os.utime(tmp_path / "requirements-dev.txt", (0, 0))
    done = make(
        *INSTALLED,
        "unit-on-lambda-python",
        f"LAMBDA_PYTHON={python}",
        machine=machine,
        directory=tmp_path,
    )
    assert "ran tests/unit" in done.stdout
    assert done.returncode != 0


FIRST = """#!/bin/sh
echo "$@" >> "$RECORD"
case "$*" in *"$FAILS"*) exit 1;; esac
"""
"""Stands for the machine's Python: records its arguments. A call that contains $FAILS fails."""


def installation(goal: str, *, fails: str, machine: dict[str, str], fresh: Path) -> list[str]:
    """Run make on a machine with nothing installed, and return the arguments of its Python."""
    python, record = fresh.parent / "python", fresh.parent / "record"
    python.write_text(FIRST)
    python.chmod(0o755)
    record.unlink(missing_ok=True)
    variables = machine | {"RECORD": str(record), "FAILS": fails}
    done = make(goal, f"PYTHON={python}", machine=variables, directory=fresh)
    assert done.stdout == "", "each recipe of an installation begins with @"
    return record.read_text().splitlines()


@pytest.mark.parametrize(
    ("goal", "database"), [("up", True), ("install", True), ("unit", False), ("synth", False)]
)
def test_prerequisites_are_checked_before_anything_is_installed(
    goal: str, database: bool, machine: dict[str, str], fresh: Path
) -> None:
    """MariaDB's are checked if the command needs a database."""
    check = "-m local.prerequisites" + " --with-database" * database
    calls = installation(goal, fails="local.prerequisites", machine=machine, fresh=fresh)
    assert calls[1:] == [check]
    assert calls[0].startswith("-c import sys")
    assert [path.name for path in fresh.iterdir()] == ["Makefile"]


def test_up_installs_nothing_for_the_tests(machine: dict[str, str], fresh: Path) -> None:
    (fresh / "requirements.txt").touch()
    fails = "no call"
    for name in ("requirements-dev.txt", "package-lock.json"):
        (fresh / name).touch()
    for name in ("local/emulator", "lambdas"):
        (fresh / name).mkdir(parents=True)
        (fresh / name / "requirements.txt").touch()
    calls = installation("up", fails=fails, machine=machine, fresh=fresh)
    steps = [call for call in calls if call.startswith("-m local.step install")]
    assert len(steps) == 7, steps
    assert not [call for call in steps if "requirements-dev" in call]
    assert not [call for call in steps if "local.chromium" in call]
    assert calls[-1].startswith("-m local.step total")


@pytest.mark.parametrize("goal", ["install", "e2e", "test"])
def test_browser_is_installed_for_the_tests(
    goal: str, machine: dict[str, str], fresh: Path
) -> None:
    others = [argument for argument in INSTALLED if "chromium" not in argument]
    done = make(*others, "--dry-run", goal, machine=machine, directory=fresh)
    assert "-m local.chromium" in done.stdout, done.stdout + done.stderr
    done = make(*INSTALLED, "--dry-run", goal, machine=machine, directory=fresh)
    assert "-m local.chromium" not in done.stdout, done.stdout + done.stderr


def sentence(*arguments: str, machine: dict[str, str]) -> str:
    """Return the one line that a failing command writes, without make's own last line."""
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
        "console ENV=dev",
        "status ENV=dev",
        "resume ENV=dev",
        "orders ENV=dev",
        "order ENV=dev ID=a",
        "trace ENV=dev ORDER=a",
        "books ENV=dev",
        "remind ENV=dev YES=1",
        "stocktake ENV=dev SLUG=donut COUNT=3 REASON=counted",
        "adjust ENV=dev SLUG=donut N=-3 REASON=counted",
    ],
)
def test_command_without_credentials_says_one_sentence(
    command: str, machine: dict[str, str]
) -> None:
    assert "no AWS credentials" in sentence(*command.split(), machine=machine)
    assert not list(Path(machine["HOME"]).iterdir())


def test_profile_that_does_not_exist_is_named(machine: dict[str, str]) -> None:
    for command in ("deploy", "preflight", "logs", "redrive"):
        line = sentence(command, "ENV=dev", machine=machine | {"AWS_PROFILE": "nobody"})
        assert "nobody" in line, f"{command}: {line}"


@pytest.mark.parametrize("command", ["deploy ENV=prod", "deploy ENV=dev,prod"])
def test_prod_is_not_deployed_without_an_alarm_address(
    command: str, machine: dict[str, str]
) -> None:
    assert "ALARM_EMAIL=" in sentence(*command.split(), machine=machine)
    assert "no AWS credentials" in sentence(
        *command.split(), machine=machine | {"ALARM_EMAIL": "ops@shop.test"}
    )


def test_picture_needs_a_browser(machine: dict[str, str]) -> None:
    line = sentence("picture", machine=machine | {"CHROMIUM": "/nowhere/chrome"})
    assert line == "CHROMIUM names a browser that does not run: /nowhere/chrome"


OPENS = {"up", "dev"}
CLOSES = {"down", "clean"}
"""The commands of the local cloud that do not need an open shop."""
IN_THE_SHOP = re.findall(
    r"^([a-z-]+):.*\n\t.*\$\((?:LOCAL|ON_AWS|OPERATE|STATUS)\)", MAKEFILE, re.MULTILINE
)


def test_commands_in_the_shop_are_found() -> None:
    needed = {*BY_OPERATORS, "logs", "redrive", "smoke", "mysql", "reset", "console"}
    needed |= {"down", "clean"}
    assert needed <= set(IN_THE_SHOP)


def never_opened(directory: Path) -> None:
    pass


def closed(directory: Path) -> None:
    """Leave what is left after `make down`: the data, the login, the ports and the logs."""
    write_whole(directory / "mysql.cnf", "[client]\nuser=root\n")
    write_whole(port_file(directory, "emulator"), "9")
    Cloud(directory).stop()


def cleaned(directory: Path) -> None:
    closed(directory)
    clean(Cloud(directory))
    assert not directory.exists()


@pytest.mark.parametrize("target", [target for target in IN_THE_SHOP if target not in OPENS])
def test_command_says_that_the_shop_is_closed(
    target: str, machine: dict[str, str], tmp_path: Path
) -> None:
    directory = tmp_path / "cloud"
    closed(directory)
    done = make(*INSTALLED, target, machine=machine | {"CLOUD_DIRECTORY": str(directory)})
    printed = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if not line.startswith("make: ***")
    ]
    assert printed == [CLOSED]
    assert (done.returncode == 0) == (target in CLOSES)


@pytest.mark.parametrize("before", [never_opened, closed, cleaned])
@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in OPENS])
def test_closed_shop_is_closed_whatever_was_before(
    command: str,
    before: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The Makefile's targets run these commands; to start one takes a second."""
    directory = tmp_path / "cloud"
    before(directory)
    capsys.readouterr()
    for name in ("execv", "execve", "execvpe"):  # would end the tests
        monkeypatch.setattr(os, name, mock.Mock(side_effect=AssertionError))
    arguments = [command, "true"] if command == "run" else [command]
    monkeypatch.setattr(sys, "argv", ["local", f"--directory={directory}", *arguments])
    if command in CLOSES:
        main()
        assert capsys.readouterr().out == f"{CLOSED}\n"
    else:
        with pytest.raises(SystemExit, match=f"^{re.escape(CLOSED)}$"):
            main()


HOSTILE = "o'n\"; touch ran; $(touch ran) $(shell touch ran) `touch ran` ${HOME} $$ # a, b"
"""A value in which a shell or make would find commands."""
FAKE = f"""#!{sys.executable} -IS
import json, os, sys
with open(os.environ["RECORD"], "a") as file:
    print(json.dumps([sys.argv, dict(os.environ)]), file=file)
"""


@pytest.fixture
def recording(fresh: Path, machine: dict[str, str]) -> Path:
    """Return a project whose programs write down their arguments and variables, and do nothing."""
    for program in ("python", "node", "pytest"):
        fake = fresh / ".venv" / "bin" / program
        fake.parent.mkdir(parents=True, exist_ok=True)
        fake.write_text(FAKE)
        fake.chmod(0o755)
    machine["RECORD"] = str(fresh / "record")
    return fresh


Recorded = list[tuple[list[str], dict[str, str]]]


def recorded(*arguments: str, machine: dict[str, str], recording: Path) -> Recorded:
    """Return the arguments and the variables of the programs that make runs with fakes."""
    record = Path(machine["RECORD"])
    record.unlink(missing_ok=True)
    done = make(*INSTALLED, *arguments, machine=machine, directory=recording)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in record.read_text().splitlines()]


REACHES = {
    "ALARM_EMAIL": [
        ("preflight ENV=dev", ["--alarm-email={}"]),
        ("synth ENV=prod", ["alarm_email={}"]),
        ("diff ENV=prod", ["--alarm-email={}", "alarm_email={}", "alarm_email={}"]),
        ("deploy ENV=prod", ["--alarm-email={}", "alarm_email={}"]),
        ("destroy ENV=prod", ["--alarm-email={}", "alarm_email={}"]),
    ],
    "APP": [
        ("diff ENV=dev", ["--app={}"] * 3),
        ("deploy ENV=dev", ["--app={}"] * 2),
        ("destroy ENV=dev", ["--app={}"] * 2),
    ],
    "CLOUD_DIRECTORY": [
        *((target, ["--directory={}"]) for target in (*ON_THIS_MACHINE, "reset", "mysql")),
        *((target, ["--directory={}"]) for target in (*THROUGH_THE_FUNCTION, "logs", "redrive")),
        *(
            (target, ["--directory={}", "--endpoint={}/endpoint"])
            for target in ("smoke", "status", "resume")
        ),
        ("demo", ["--directory={}"] * 2),
        ("console", ["--directory={}"]),
    ],
    "GITHUB_REPOSITORY": [("deploy-github-roles ENV=dev", ["github_repository={}"])],
    "GITHUB_OIDC_PROVIDER_ARN": [
        ("deploy-github-roles ENV=dev GITHUB_REPOSITORY=o/n", ["github_oidc_provider_arn={}"])
    ],
    "COUNT": [("stocktake", ["--count={}"])],
    "ID": [("order ENV=dev", ["--id={}"])],
    "KIND": [("forget", ["{}"])],
    "LANGUAGE": [("demo", ["--language={}"])],
    "LEVEL": [("logs", ["--level={}"])],
    "N": [("adjust ENV=dev", ["--n={}"])],
    "ONLY": [("mutate", ["{}"]), ("demo", ["--only={}"])],
    "ORDER": [("trace ENV=dev", ["--order={}"]), ("logs ENV=dev", ["--order={}"])],
    "REASON": [("stocktake", ["--reason={}"]), ("adjust ENV=dev", ["--reason={}"])],
    "SEED": [("chaos", ["--seed={}"] * 4)],
    "SLUG": [("stocktake ENV=dev", ["--slug={}"]), ("adjust", ["--slug={}"])],
}
"""Variable → commands, with the arguments of programs in which its value is {}."""


@pytest.mark.parametrize("how", ["before make", "after make"])
@pytest.mark.parametrize("name", REACHES)
def test_any_value_reaches_the_programs_as_it_is(
    name: str, how: str, machine: dict[str, str], recording: Path
) -> None:
    for value in (HOSTILE, "two words"):
        variables = machine | {name: value} if how == "before make" else machine
        given = [f"{name}={value}"] if how == "after make" else []
        for command, expected in REACHES[name]:
            programs = recorded(*command.split(), *given, machine=variables, recording=recording)
            found = [
                argument for program, _ in programs for argument in program if value in argument
            ]
            assert found == [pattern.format(value) for pattern in expected], command
            assert not (recording / "ran").exists(), command


@pytest.mark.parametrize("how", ["before make", "after make"])
@pytest.mark.parametrize("target", ["up", "dev"])
@pytest.mark.parametrize("name", ["DEBUG", "FACTORY_URL", "WORKERS"])
def test_any_value_reaches_the_local_cloud(
    name: str, target: str, how: str, machine: dict[str, str], recording: Path
) -> None:
    """As an environment variable, which local/__main__.py reads."""
    variables = machine | {name: HOSTILE} if how == "before make" else machine
    given = [f"{name}={HOSTILE}"] if how == "after make" else []
    ((_, environment),) = recorded(target, *given, machine=variables, recording=recording)
    assert environment[name] == HOSTILE
    ((_, environment),) = recorded(target, machine=machine, recording=recording)
    assert name not in environment


@pytest.mark.parametrize(
    "target", ["deploy", "logs", "smoke", "synth", *BY_OPERATORS, "up", "cost"]
)
def test_environment_with_a_command_in_it_runs_nothing(
    target: str, machine: dict[str, str], recording: Path
) -> None:
    for arguments, variables in (([f"ENV={HOSTILE}"], machine), ([], machine | {"ENV": HOSTILE})):
        make(*INSTALLED, target, *arguments, machine=variables, directory=recording)
        assert not (recording / "ran").exists(), arguments


@pytest.mark.parametrize(
    ("given", "options"),
    [("", []), ("DISCARD=1", ["--discard"]), ("DISCARD=1 YES=1", ["--discard", "--yes"])],
)
def test_redrive_deletes_only_when_told_to(
    given: str, options: list[str], machine: dict[str, str], recording: Path
) -> None:
    (program,) = recorded("redrive", *given.split(), machine=machine, recording=recording)
    arguments, environment = program
    assert arguments[-2 - len(options) :] == ["operations.redrive", "local", *options]
    assert environment["PYTHONPATH"] == "lambdas", "the consumer's parser decides"


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_console_of_an_account_does_not_use_the_local_cloud(
    environment: str, machine: dict[str, str], recording: Path
) -> None:
    ((arguments, variables),) = recorded(
        "console", f"ENV={environment}", machine=machine, recording=recording
    )
    assert arguments[1:] == ["-m", "console", f"--environment={environment}"]
    assert variables["PYTHONPATH"] == "lambdas", "the consumer's parser says what is an order"


def callers_variables() -> set[str]:
    """Return each variable of a help text, and each that a recipe reads and nothing here sets."""
    named = re.findall(r"\b([A-Z_]+)=", "".join(re.findall(r"## (.+)", RECIPES)))
    read = re.findall(r"\$(?:\(|\${?)([A-Z_]+)\b", RECIPES)
    # A value set with ?= is a default, which callers replace.
    own = re.findall(r"^(?:export |[a-z]+: )*([A-Z_]+) :?= ", RECIPES, re.MULTILINE)
    return {*named, *read} - {*own}.union(*NOT_GIVEN.values())


def test_every_variable_of_a_caller_is_in_given() -> None:
    assert callers_variables() == set(GIVEN), (
        "GIVEN in the Makefile lists the variables that callers give: add the new one, and its "
        "commands to REACHES in this test"
    )


@pytest.mark.parametrize("name", sorted(callers_variables() - {"ENV"}))
def test_given_value_is_never_part_of_a_recipe(name: str, machine: dict[str, str]) -> None:
    """Not even between quotation marks, which the value may contain."""
    others = [target for target in TARGETS if target not in ON_AN_ACCOUNT]
    given = ["GITHUB_REPOSITORY=o/n", f"{name}=dev-or-else"]
    for arguments in (["ENV=dev", *ON_AN_ACCOUNT], others):
        done = make(*INSTALLED, "--dry-run", *arguments, *given, machine=machine)
        assert done.returncode == 0, done.stderr
        pasted = [line for line in done.stdout.splitlines() if "dev-or-else" in line]
        assert not pasted, f'say "$${name}" instead of $({name}) in the Makefile'


def test_environments_may_be_separated_by_blanks(machine: dict[str, str], recording: Path) -> None:
    guard, cdk = recorded("deploy", "ENV= dev  staging,", machine=machine, recording=recording)
    assert "dev,staging" in guard[0]
    assert {"env=dev,staging", "donut-shop-*-dev", "donut-shop-*-staging"} <= set(cdk[0])


def test_cost_is_that_of_every_environment(machine: dict[str, str], recording: Path) -> None:
    for given in ([], ["ENV=dev"]):
        synth, cost = recorded("cost", *given, machine=machine, recording=recording)
        assert f"env={','.join(ACCOUNTS)}" in synth[0], f"{given}: the target cost in the Makefile"
        assert cost[0][-len(ACCOUNTS) :] == ACCOUNTS, f"{given}: the target cost in the Makefile"


def at_a_terminal(*arguments: str, typed: str, machine: dict[str, str]) -> tuple[int, str]:
    """Run make at a terminal, type `typed` at its prompt, and return its exit status and output."""
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
        assert "Nothing was destroyed." not in said, environments
        assert "no AWS credentials" in said, "it goes on until it needs credentials"


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


@pytest.mark.parametrize("status", [0, 3])
def test_destroy_lists_what_is_left_and_keeps_the_status_of_the_cdk(
    status: int, machine: dict[str, str], recording: Path
) -> None:
    cdk = recording / ".venv" / "bin" / "node"
    cdk.write_text(f"#!/bin/sh\nexit {status}\n")
    done = make(*INSTALLED, "destroy", "ENV=dev,staging", machine=machine, directory=recording)
    lines = Path(machine["RECORD"]).read_text().splitlines()
    assert json.loads(lines[-1])[0][1:] == ["-m", "operations.leftovers", "dev,staging"]
    assert (done.returncode == 0) == (status == 0), done.stderr


@pytest.mark.parametrize("kind", ["empty", "missing"])
def test_nothing_is_written_to_the_home_directory(
    kind: str, machine: dict[str, str], tmp_path: Path
) -> None:
    """It may be read-only or missing. Node.js would try forever to create one below /proc."""
    home = Path(machine["HOME"]) if kind == "empty" else tmp_path / "elsewhere"
    done = make_with(PROBE, "probe", machine=machine | {"HOME": str(home)}, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    left = list(home.iterdir()) if home.exists() else None
    assert left == ([] if kind == "empty" else None)


def test_no_command_splits_a_project_path_with_a_space(
    tmp_path: Path, machine: dict[str, str]
) -> None:
    """A shell would take the parts of the path for names of their own, and `rm` delete them."""
    project = tmp_path / "my projects" / "shop"
    project.mkdir(parents=True)
    for path in PROJECT.iterdir():
        if path.name not in (".venv", "node_modules", ".local"):
            (project / path.name).symlink_to(path)
    targets = ("install", "up", "synth", "postman", "test", "bench", "mutate")
    done = make("--dry-run", *targets, machine=machine, directory=project)
    lines = [line for line in done.stdout.splitlines() if str(tmp_path) in line]
    assert lines, done.stderr
    for line in lines:
        words = re.findall(r"(?:\"[^\"]*\"|'[^']*'|\S)+", line)
        split = [word for word in words if word.endswith(f"{tmp_path}/my")]
        assert not split, line


def test_home_that_is_not_a_directory_counts_as_missing(
    machine: dict[str, str], tmp_path: Path
) -> None:
    missing, file = tmp_path / "elsewhere", tmp_path / "file"
    file.touch()
    used = {
        make_with(
            'home:\n\t@echo "$$HOME"',
            "home",
            machine=machine | {"HOME": str(home)},
            directory=tmp_path,
        ).stdout
        for home in (missing, file)
    }
    assert used == {f"{PROJECT}/.venv/cache/home\n"}


def make_with(
    rule: str, goal: str, *, machine: dict[str, str], directory: Path
) -> subprocess.CompletedProcess[str]:
    """Run make with one more rule, which is written to the directory."""
    file = directory / "more.mk"
    file.write_text(rule)
    return make("--file=Makefile", f"--file={file}", goal, machine=machine)
