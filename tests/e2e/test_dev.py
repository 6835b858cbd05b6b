"""`make dev` and `make up` after a change of the sources, in a copy of the project."""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from local.cloud import Cloud
from local.polling import eventually
from settings import PROJECT
from tests.support import documentation
from tests.support.books import owner

SOURCES = (
    *("app.py", "cdk.json", "settings.py"),
    *("console", "lambdas", "local", "operations", "stacks"),
)
INSTALLED = (".venv", "node_modules", "package-lock.json", "requirements.txt")
HANDLER, COMMON = "lambdas/sales/handler.py", "lambdas/common/http_api.py"
PROCEDURE = "lambdas/migrate/procedures/mark_published.sql"
CATALOGUE = "lambdas/migrate/catalogue.toml"
DEPLOYS_WITHIN = 120


@dataclass(frozen=True, kw_only=True)
class Project:
    """A copy of the project, whose shop runs."""

    directory: Path
    cloud: Cloud
    output: Path
    """What `make dev` has printed."""

    def command(self, name: str) -> list[str]:
        """Return the command of a make target."""
        python = self.directory / ".venv/bin/python"
        return [str(python), "-m", "local", f"--directory={self.cloud.directory}", name]

    def up(self) -> None:
        subprocess.run(
            self.command("up"),
            cwd=self.directory,
            env=documentation.shell_variables(),
            capture_output=True,
            text=True,
            check=True,
        )

    def replace(self, file: str, old: str, new: str) -> None:
        """Replace a text in a file, as an editor does when it saves."""
        path = self.directory / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def printed(self, pattern: str, *, after: int) -> None:
        """Wait until `make dev` has printed a line, after that many characters."""

        def found() -> None:
            output = self.output.read_text()
            assert re.search(pattern, output[after:], re.MULTILINE), output

        eventually(found, within=DEPLOYS_WITHIN)

    def length(self) -> int:
        return len(self.output.read_text())

    def unknown_route(self) -> str:
        """Return what the shop says about a route that it does not have."""
        response = requests.get(f"{self.cloud.endpoint}/nothing", timeout=10)
        return str(response.json()["error"])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    directory = tmp_path_factory.mktemp("project")
    for name in SOURCES:
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, directory / name)
    for name in INSTALLED:
        (directory / name).symlink_to(PROJECT / name)
    cloud = Cloud(directory / ".local")
    project = Project(directory=directory, cloud=cloud, output=directory / "output")
    try:
        project.up()
        yield project
    finally:
        cloud.stop()


@pytest.fixture
def dev(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    """Run `make dev`, and take back at the end what a test has changed."""
    before = {
        path: path.read_bytes()
        for path in (project.directory / "lambdas").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with project.output.open("w") as output:
        process = subprocess.Popen(
            project.command("dev"),
            cwd=project.directory,
            env=documentation.shell_variables() | {"PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        project.printed("^Watching", after=0)
        yield process
    finally:
        for path, content in before.items():
            if path.read_bytes() != content:
                path.write_bytes(content)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def test_saved_handler_is_live(project: Project, dev: object) -> None:
    before = project.length()
    project.replace(HANDLER, '"Not Found"', '"No Such Route"')
    project.printed(r"^sales: live after \d+\.\d s$", after=before)
    assert project.unknown_route() == "No Such Route"
    assert "relay" not in project.output.read_text()[before:]


def test_syntax_error_leaves_the_old_code(project: Project, dev: object) -> None:
    before = project.length()
    project.replace(HANDLER, '"Not Found"', '"Not Found')
    project.printed(rf"^{HANDLER}:\d+: unterminated string literal", after=before)
    assert project.unknown_route() == "Not Found"


def test_saved_common_module_is_live_in_each_function(project: Project, dev: object) -> None:
    before = project.length()
    project.replace(COMMON, "def response(", "def response (")
    project.printed(r"^sales, .+: live after \d+\.\d s$", after=before)
    project.printed(r"^migrate: live after \d+\.\d s$", after=before)


def test_saved_sql_is_in_the_database(project: Project, dev: object) -> None:
    before = project.length()
    project.replace(PROCEDURE, "attempts = 0,", "attempts = 0 + 0,")
    project.printed(r"^migrate: live after \d+\.\d s$", after=before)
    with owner(project.cloud.database) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT ROUTINE_DEFINITION FROM information_schema.ROUTINES"
            " WHERE ROUTINE_NAME = 'mark_published'"
        )
        assert "attempts = 0 + 0," in str(cursor.fetchone())


def test_saved_price_is_that_of_the_shop(project: Project, dev: object) -> None:
    before = project.length()
    project.replace(CATALOGUE, "price = 19900", "price = 21000")
    project.printed(f"^{CATALOGUE}: the shop is updated, as by `make up`$", after=before)

    def sold_at() -> int:
        response = requests.get(f"{project.cloud.endpoint}/product/donut", timeout=10)
        return int(response.json()["price"])

    def is_new() -> None:
        assert sold_at() == 21000

    eventually(is_new, within=DEPLOYS_WITHIN)
    project.printed(r"^Checking that it sells +\d", after=before)


def test_ctrl_c_leaves_the_shop_open(project: Project, dev: subprocess.Popen[bytes]) -> None:
    dev.send_signal(signal.SIGINT)
    assert dev.wait(timeout=30) == 0
    assert project.unknown_route() == "Not Found"


def test_make_up_takes_back_what_dev_has_deployed(
    project: Project, dev: subprocess.Popen[bytes]
) -> None:
    before = project.length()
    project.replace(HANDLER, '"Not Found"', '"No Such Route"')
    project.printed("^sales: live", after=before)
    dev.send_signal(signal.SIGINT)
    dev.wait(timeout=30)
    project.replace(HANDLER, '"No Such Route"', '"Not Found"')
    project.up()
    assert project.unknown_route() == "Not Found"


@pytest.mark.parametrize("found", ["Really Not Found", "Not Found"])
def test_make_up_deploys_a_changed_handler(project: Project, found: str) -> None:
    handler = (project.directory / HANDLER).read_text()
    old = re.findall(r'"error": "([^"]+)"', handler)[0]
    project.replace(HANDLER, f'"error": "{old}"', f'"error": "{found}"')
    project.up()
    assert project.unknown_route() == found
    log = project.cloud.cdk.log.read_text()
    assert "donut-shop-service-local: deploying" in log
    project.up()
    assert project.cloud.cdk.log.read_text().count("(no changes)") == 4
