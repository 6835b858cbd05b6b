"""local/cloud.py: what its commands say when they fail, what they then leave alone, and restart."""

import ast
import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

import local.cloud
from local.__main__ import clean, down, let_debug, main, up
from local.assembly import PackagedFunction
from local.cloud import Cloud
from local.files import write_whole
from local.processes import Background, LocalError, port_file, read_port
from settings import PROJECT

REASON = (
    "The data is from before 1.0 and cannot be upgraded: on your own machine, delete it with"
    " `make clean`, then run `make up` again."
)
LOG = f"""
shop | 15 | 1:41:12 PM | CREATE_COMPLETE      | AWS::Lambda::Function      | Migrate (MigrateD5E6BFF0)
shop | 15 | 1:41:13 PM | ROLLBACK_IN_PROGRESS | AWS::CloudFormation::Stack | shop Rollback requested
shop | 15 | 1:41:13 PM | CREATE_FAILED        | Custom::Trigger            \
| Migration/Default/Default (Migration) Error: {REASON}
    at sr (/tmp/code/index.js:3:9514)
{"shop |  9 | 1:41:13 PM | DELETE_COMPLETE      | AWS::IAM::Role             | Role (Role1)" * 100}

Failed resources:
shop | 1:41:13 PM | CREATE_FAILED           | Custom::Trigger                 \
| Migration/Default/Default (Migration) Error: {REASON}
    at sr (/tmp/code/index.js:3:9514)
‣ DeploymentError: Resource updates failed:
"""
"""What `cdk deploy` writes if the migration fails."""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """Return a cloud whose emulator is a process that does nothing."""
    cloud = Cloud(tmp_path)
    write_whole(port_file(tmp_path, "emulator"), "9")
    cloud.emulator = Background(name="emulator", directory=tmp_path)
    cloud.emulator.start([sys.executable, "-c", "import time; time.sleep(60)"], env={})
    yield cloud
    cloud.emulator.stop()


@pytest.mark.parametrize(
    ("log", "last_line"),
    [
        (LOG, f"Migration: Error: {REASON}"),
        ("error: unknown environment", "(the whole log: {log})"),
    ],
)
def test_failed_deployment_ends_with_the_reason(
    log: str, last_line: str, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = tmp_path / "cdk.py"
    fails.write_text(f"import sys\nprint({log!r})\nsys.exit(1)\n")
    monkeypatch.setattr(local.cloud, "NODE", Path(sys.executable))
    monkeypatch.setattr(local.cloud, "CDK", fails)
    with pytest.raises(LocalError) as failure:
        cloud._run_cdk("deploy")
    lines = str(failure.value).splitlines()
    assert lines[0] == "cdk deploy failed:"
    assert lines[-1] == last_line.format(log=cloud.cdk.log)
    assert lines.count(lines[-1]) == 1


@pytest.mark.parametrize("command", [up, down, clean])
def test_directory_of_another_user_is_left_alone(
    command: Callable[[Cloud], None], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, before = cloud.directory.owner(), files(cloud.directory)
    monkeypatch.setattr(os, "getuid", lambda: cloud.directory.stat().st_uid + 1)
    with pytest.raises(LocalError) as failure:
        command(cloud)
    assert str(failure.value) == f"{cloud.directory} belongs to {owner}: run this as {owner}."
    assert files(cloud.directory) == before
    assert cloud.emulator.process


def test_owner_without_a_name_is_reported_by_id(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that knows only some of the machine's users."""
    uid = cloud.directory.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    with pytest.raises(LocalError, match=f"belongs to user {uid}: run this as user {uid}"):
        cloud.stop()


@pytest.fixture
def printed_by_cdk(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """Return a function that runs Python code in place of the CDK, and returns what it prints."""

    def run(code: str) -> str:
        script = tmp_path / "script.py"
        script.write_text(code)
        monkeypatch.setattr(local.cloud, "NODE", Path(sys.executable))
        monkeypatch.setattr(local.cloud, "CDK", script)
        cloud._run_cdk("deploy")
        return cloud.cdk.log.read_text()

    return run


def test_cdk_writes_nothing_to_the_home_directory(
    cloud: Cloud, printed_by_cdk: Callable[[str], str]
) -> None:
    printed = printed_by_cdk("import os; print(os.path.expanduser('~'), os.environ['TMPDIR'])")
    for path in printed.split():
        assert Path(path).is_relative_to(cloud.directory), path


def test_cdk_does_not_validate(
    printed_by_cdk: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That takes twice as long as a synthesis, whatever the variables of the caller say."""
    monkeypatch.setenv("CDK_VALIDATION", "true")
    assert printed_by_cdk("import os; print(os.environ['CDK_VALIDATION'])") == "false\n"


@pytest.mark.parametrize(
    "url", ["nonsense", "127.0.0.1:9000/api", "http://127.0.0.1:PORT/api", "ftp://127.0.0.1/api"]
)
def test_malformed_factory_url_changes_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "cloud"
    cloud = Cloud(directory)
    monkeypatch.setattr(cloud.database, "start", lambda: pytest.fail("MariaDB is started"))
    monkeypatch.setenv("FACTORY_URL", url)
    with pytest.raises(LocalError) as failure:
        up(cloud)
    assert str(failure.value) == f"FACTORY_URL {url!r} is not an http or https URL."
    assert not directory.exists()


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port at which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def printed_by_up(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines that `make up` prints after it has started nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cloud, "start", lambda **_: None)
        patch.setattr(cloud, "start_console", lambda: cloud.console_command())
        patch.setattr(cloud, "debug", lambda function: None)
        up(cloud)
    return capsys.readouterr().out.splitlines()


def test_taken_port_is_named_with_the_one_used_instead(
    taken: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("endpoint", "mariadb", "factory", "console")
    cloud = Cloud(tmp_path, preferred_ports=dict.fromkeys(names, taken))
    other = Cloud(tmp_path / "other")
    assert not any("taken" in line for line in printed_by_up(opened(other), capsys))
    lines = printed_by_up(opened(cloud), capsys)
    users = {"endpoint": "the API", "mariadb": "MariaDB", "console": "the console"}
    for name, user in users.items():
        port = read_port(tmp_path, name)
        assert f"Port {taken} was taken: {user} uses {port} instead." in lines
        assert port != taken
    assert sum("taken" in line for line in lines) == len(users), "no factory was started"


def opened(cloud: Cloud) -> Cloud:
    """Let the cloud claim its ports, without those of a factory."""
    cloud._claim_port("endpoint", cloud.emulator)
    cloud._claim_port("mariadb", cloud.emulator)
    return cloud


def test_factory_where_nobody_listens_is_warned_about(
    taken: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = opened(Cloud(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    urls = {
        f"http://127.0.0.1:{taken}/api": False,
        f"http://127.0.0.1:{port}/api": True,
        "http://factory.invalid/api": True,
        f"http://{'a' * 64}.test/api": True,
    }
    for url, warned in urls.items():
        monkeypatch.setenv("FACTORY_URL", url)
        lines = printed_by_up(cloud, capsys)
        found = any(line.startswith(f"Nobody listens at {url} (") for line in lines)
        assert found == warned, lines
    monkeypatch.delenv("FACTORY_URL")
    assert not any("Nobody" in line for line in printed_by_up(cloud, capsys))


@pytest.mark.parametrize("command", ["start", "stop"])
def test_outage_ends_before_the_database_starts_or_stops(
    command: str, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would end later, by starting the database."""
    called: list[str] = []

    def stop_here() -> None:
        called.append("database")
        raise LocalError("the test ends here")

    monkeypatch.setattr(cloud.outage, "end", lambda: called.append("outage"))
    monkeypatch.setattr(cloud.database, command, stop_here)
    with pytest.raises(LocalError, match="the test ends here"):
        getattr(cloud, command)()
    assert called == ["outage", "database"]


@pytest.mark.parametrize("given", ["many", "0", "-1", "1.5"])
def test_impossible_number_of_workers_is_rejected(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS", given)
    monkeypatch.setattr(sys, "argv", ["local", f"--directory={tmp_path}", "down"])
    with pytest.raises(SystemExit, match=f"^WORKERS={given} is not a number of processes"):
        main()


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Cloud]:
    """Return a cloud in which nothing runs but the console, once it is started."""
    cloud = Cloud(tmp_path)
    yield cloud
    cloud.stop()


def serves(cloud: Cloud) -> bool:
    try:
        return bool(requests.get(f"{cloud.console_url}texts.json", timeout=10).json())
    except requests.ConnectionError:
        return False


def test_console_is_left_alone_until_its_sources_change(
    console: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.py"
    source.write_text("one")
    monkeypatch.setattr(local.cloud, "CONSOLE_SOURCES", [source])
    pids: list[int | None] = []
    for text in ("one", "one", "two"):
        source.write_text(text)
        console.start_console()
        assert serves(console), text
        pids.append(console.console.pid)
    assert pids[0] == pids[1] != pids[2]
    console.stop()
    assert console.console.process is None
    assert not serves(console)


def test_console_that_is_stopped_leaves_its_children_alone(tmp_path: Path) -> None:
    """One of them may be the process that heals the database."""
    cloud = Cloud(tmp_path)
    program = (
        "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid); time.sleep(60)"
    )
    cloud.console.start([sys.executable, "-uc", program], env={})
    cloud.console.wait_until(lambda: cloud.console.log.read_text().strip() != "", within=10)
    child = psutil.Process(int(cloud.console.log.read_text()))
    cloud.stop()
    assert cloud.console.process is None
    assert child.status() == psutil.STATUS_SLEEPING
    child.kill()


def test_shop_is_open_although_the_console_does_not_start(
    console: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "start", lambda **_: None)
    monkeypatch.setattr(console, "debug", lambda function: None)
    monkeypatch.setattr(console, "console_command", lambda: [sys.executable, "-c", "1 / 0"])
    opened(console)
    write_whole(port_file(console.directory, "console"), "9")
    up(console)
    printed = [line for line in capsys.readouterr().out.splitlines() if line]
    assert printed[0] == (
        f"The console did not start: console ended before it was ready (see {console.console.log})."
    )
    assert printed[1] == f"The donut shop is open at {console.endpoint}"
    assert "ZeroDivisionError" in console.console.log.read_text()


def test_console_is_the_first_thing_to_open(
    console: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *_ = [line for line in printed_by_up(opened(console), capsys) if line]
    assert first.endswith(f" {console.console_url}")


class Debugged:
    """Stands for a cloud, and remembers what is debugged."""

    def __init__(self) -> None:
        self.function: str | None = "the one before"

    def debug(self, function: str | None) -> int | None:
        self.function = function
        return 5678 if function else None


@pytest.mark.parametrize(
    ("given", "function", "printed"),
    [
        ("sales", "sales", "sales waits for a debugger at 127.0.0.1:5678."),
        ("", None, ""),
        ("1", None, "DEBUG=1 is none of the functions consumer, "),
    ],
)
def test_debugger_is_for_the_function_that_is_named(
    given: str,
    function: str | None,
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cloud: Any = Debugged()
    monkeypatch.setenv("DEBUG", given)
    let_debug(cloud)
    assert cloud.function == function
    assert capsys.readouterr().out.startswith(printed)


def files(directory: Path) -> dict[Path, int]:
    """Return when each file and directory was last changed."""
    return {path: path.lstat().st_mtime_ns for path in directory.rglob("*")}


def imported(source: Path) -> Iterator[Path]:
    """Yield the project's own files that a file imports, each of them once or more often."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        files = [PROJECT / f"{name.replace('.', '/')}.py" for name in names]
        yield from (file for file in files if file.exists())


@pytest.mark.parametrize(
    ("program", "watched"),
    [
        ("local/emulator/__main__.py", local.cloud.EMULATOR_SOURCES),
        ("local/factory.py", local.cloud.FACTORY_SOURCES),
        ("console/__main__.py", local.cloud.CONSOLE_SOURCES),
    ],
)
def test_program_restarts_when_a_file_that_it_imports_changes(
    program: str, watched: list[Path]
) -> None:
    needed: set[Path] = set()
    found = {PROJECT / program}
    while new := found - needed:
        needed |= new
        found = {file for source in new for file in imported(source)}
    for file in sorted(needed):
        assert file in watched, f"add {file.relative_to(PROJECT)} to the sources in local/cloud.py"


READ_BY = """
import runpy, sys
opened = set()
sys.addaudithook(lambda event, values: event == "open" and opened.add(str(values[0])))
sys.argv = ["app.py"]
runpy.run_path("app.py", run_name="__main__")
print(*sorted(opened), sep="\\n")
"""
"""Runs app.py, and prints the names of the files that it opens."""


def test_synthesis_reads_no_other_file_of_the_project(tmp_path: Path) -> None:
    """A change of another file would not reach the local cloud."""
    context = {"env": "local", "aws:cdk:bundling-stacks": []}
    variables = {
        "CDK_CONTEXT_JSON": json.dumps(context),
        "CDK_OUTDIR": str(tmp_path),
        "JSII_NODE": str(local.cloud.NODE),
    }
    printed = subprocess.run(
        [sys.executable, "-c", READ_BY],
        cwd=PROJECT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    opened = {
        PROJECT / (source_from_cache(name) if name.endswith(".pyc") else name)
        for name in printed.splitlines()
    }
    read = {
        str(path.relative_to(PROJECT))
        for path in opened
        if path.is_file() and path.is_relative_to(PROJECT)
    }
    sources = {str(path.relative_to(PROJECT)) for path in local.cloud.synthesis_sources()}
    unknown = {name for name in read - sources if not name.startswith((".venv/", "node_modules/"))}
    assert not unknown, f"add {sorted(unknown)} to SYNTHESIS_SOURCES in local/cloud.py"
    known = {str(path.relative_to(PROJECT)) for path in local.cloud.READ_BY_SYNTHESIS}
    code = {name for name in read if name.startswith("lambdas/")}
    assert code == known, "READ_BY_SYNTHESIS in local/cloud.py has to list exactly these files"


@pytest.mark.parametrize(
    "file",
    [
        "app.py",
        "cdk.json",
        "lambdas/common/http_api.py",
        "lambdas/migrate/catalogue.toml",
        "lambdas/migrate/procedures/checkout.sql",
        "lambdas/requirements.txt",
        "package-lock.json",
        "requirements.txt",
        "settings.py",
        "stacks/function.py",
    ],
)
def test_synthesis_is_repeated_after_a_change(file: str) -> None:
    assert PROJECT / file in local.cloud.synthesis_sources()


@pytest.mark.parametrize(
    ("file", "is_source"),
    [
        ("lambdas/sales/handler.py", True),
        ("lambdas/migrate/migrations/SHA256SUMS", True),
        ("lambdas/sales/.handler.py.swp", False),
        ("lambdas/sales/handler.py~", False),
        ("lambdas/sales/#handler.py#", False),
        ("lambdas/sales/4913", False),
        ("lambdas/sales/__pycache__/handler.cpython-311.pyc", False),
    ],
)
def test_what_an_editor_leaves_is_not_deployed(file: str, is_source: bool) -> None:
    assert local.cloud.is_source(PROJECT / file) is is_source


@pytest.fixture
def synthesized(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let `cdk deploy` do nothing, and return whether each of its runs has synthesized the app.

    It fails while the file `fails` exists.
    """
    runs: list[bool] = []

    def run_cdk(*arguments: str) -> None:
        cloud._assembly.mkdir(exist_ok=True)
        runs.append(f"--app={cloud._assembly}" not in arguments)
        if (tmp_path / "fails").exists():
            raise LocalError("cdk deploy failed")

    write_whole(port_file(tmp_path, "endpoint"), "9")
    monkeypatch.setattr(cloud, "_run_cdk", run_cdk)
    return runs


def test_app_is_synthesized_only_after_a_change(
    cloud: Cloud, synthesized: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "stack.py"
    source.write_text("one")
    monkeypatch.setattr(local.cloud, "synthesis_sources", lambda: [source])
    cloud._deploy("http://factory.test")
    cloud._deploy("http://factory.test")
    source.write_text("two")
    cloud._deploy("http://factory.test")
    cloud._deploy("http://other.test")
    cloud._assembly.rmdir()
    cloud._deploy("http://other.test")
    assert synthesized == [True, False, True, True, True]


CODE = ("sales/handler.py", "relay/handler.py", "common/store.py", "common/limits.py", "a.pem")


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with the code of two functions, and with files that synthesis reads."""
    code = tmp_path / "lambdas"
    for name in CODE:
        write_whole(code / name, "old")
    monkeypatch.setattr(local.cloud, "LAMBDAS", code)
    monkeypatch.setattr(local.cloud, "READ_BY_SYNTHESIS", [code / "common/limits.py"])
    monkeypatch.setattr(
        local.cloud,
        "synthesis_sources",
        lambda: [path for path in tmp_path.glob("lambdas/**/*") if path.is_file()],
    )
    return code


@pytest.fixture
def repackaged(cloud: Cloud, code: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the functions of the assembly that got new code, after each deployment."""
    runs: list[list[str]] = []
    functions = [
        PackagedFunction(
            name=name,
            physical_name=name,
            stack="shop",
            code=cloud.directory / f"cdk.out/asset.{name}",
            versions=(),
        )
        for name in ("sales", "relay")
    ]
    for function in functions:
        for name in (f"{function.name}/handler.py", "common/store.py", "common/limits.py"):
            write_whole(function.code / name, "old")

    def repackage(assembly: Path, functions: list[PackagedFunction], *, source: Path) -> None:
        assert (assembly, source) == (cloud.directory / "cdk.out", code)
        runs.append([function.name for function in functions])

    monkeypatch.setattr(local.cloud, "packaged_functions", lambda assembly: functions)
    monkeypatch.setattr(local.cloud, "repackage", repackage)
    return runs


@pytest.mark.parametrize(
    ("changed", "functions"),
    [
        ("sales/handler.py", ["sales"]),
        ("relay/handler.py", ["relay"]),
        ("common/store.py", ["sales", "relay"]),
    ],
)
def test_changed_code_is_deployed_without_a_synthesis(
    changed: str,
    functions: list[str],
    cloud: Cloud,
    synthesized: list[bool],
    code: Path,
    repackaged: list[list[str]],
) -> None:
    cloud._deploy("http://factory.test")
    (code / changed).write_text("new")
    cloud._deploy("http://factory.test")
    (code / changed).write_text("old")
    cloud._deploy("http://factory.test")
    cloud._deploy("http://factory.test")
    assert synthesized == [True, False, False, False]
    assert repackaged == [[], functions, functions, []]


@pytest.mark.parametrize("changed", ["common/limits.py", "a.pem", "sales/new.py", "../stack.py"])
def test_app_is_synthesized_if_more_than_code_has_changed(
    changed: str,
    cloud: Cloud,
    synthesized: list[bool],
    code: Path,
    repackaged: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Synthesis reads limits.py itself, and a.pem is not the code of a function."""
    others = [code / changed]
    monkeypatch.setattr(
        local.cloud,
        "synthesis_sources",
        lambda: [*code.glob("*/*"), *(path for path in others if path.exists())],
    )
    cloud._deploy("http://factory.test")
    (code / "sales/handler.py").write_text("new")
    (code / changed).write_text("new")
    cloud._deploy("http://factory.test")
    assert synthesized == [True, True]
    assert repackaged == [[], []]


def test_deleted_code_is_deployed_with_a_synthesis(
    cloud: Cloud, synthesized: list[bool], code: Path, repackaged: list[list[str]]
) -> None:
    cloud._deploy("http://factory.test")
    (code / "sales/handler.py").unlink()
    cloud._deploy("http://factory.test")
    assert synthesized == [True, True]
    assert repackaged == [[], []]


def test_app_is_synthesized_again_after_a_failure(
    cloud: Cloud, synthesized: list[bool], tmp_path: Path
) -> None:
    """Whatever failed may have left half an assembly."""
    cloud._deploy("http://factory.test")
    fails = tmp_path / "fails"
    fails.touch()
    with pytest.raises(LocalError):
        cloud._deploy("http://factory.test")
    fails.unlink()
    cloud._deploy("http://factory.test")
    assert synthesized == [True, False, True]
