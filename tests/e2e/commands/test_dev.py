"""`make dev` and `make up` after a change of the sources, in a copy of the project."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from local.polling import eventually
from tests.support.books import owner
from tests.support.clone import SHELL, Clone

HANDLER, COMMON = "lambdas/sales/handler.py", "lambdas/common/http_api.py"
PROCEDURE = "lambdas/migrate/procedures/mark_published.sql"
CATALOGUE = "lambdas/migrate/catalogue.toml"
DEPLOYS_WITHIN = 120
SALES_IS_LIVE = r"^sales: live after \d+\.\d s$"
MIGRATE_IS_LIVE = r"^migrate: live after \d+\.\d s$"


def command(clone: Clone, name: str) -> list[str]:
    """Return the command of a make target."""
    python = clone.directory / ".venv/bin/python"
    return [str(python), "-m", "local", f"--directory={clone.cloud.directory}", name]


def up(clone: Clone) -> None:
    subprocess.run(
        command(clone, "up"), cwd=clone.directory, env=SHELL, capture_output=True, check=True
    )


def unknown_route(clone: Clone) -> str:
    """Return what the shop says about a route that it does not have."""
    return str(clone.get("/nothing")["error"])


def test_make_up_deploys_a_changed_handler(clone: Clone) -> None:
    with clone.restored():
        clone.replace(HANDLER, '"error": "Not Found"', '"error": "Really Not Found"')
        up(clone)
        assert unknown_route(clone) == "Really Not Found"
        assert "donut-shop-service-local: deploying" in clone.cloud.cdk.log.read_text()
        up(clone)
        assert clone.cloud.cdk.log.read_text().count("(no changes)") == 4


@dataclass(frozen=True, kw_only=True)
class Dev:
    """A `make dev` that runs in the clone."""

    clone: Clone
    process: subprocess.Popen[bytes]

    @property
    def output(self) -> str:
        """Return what `make dev` has printed."""
        return (self.clone.directory / "output").read_text()

    def wait_for(self, *patterns: str, after: int = 0) -> None:
        """Wait until `make dev` has printed such lines, after that many characters."""

        def found() -> None:
            for pattern in patterns:
                assert re.search(pattern, self.output[after:], re.MULTILINE), self.output

        eventually(found, within=DEPLOYS_WITHIN)

    def save(self, file: str, old: str, new: str, *patterns: str) -> str:
        """Save a file with another text, and wait for such lines. Return what is printed."""
        before = len(self.output)
        self.clone.replace(file, old, new)
        self.wait_for(*patterns, after=before)
        return self.output[before:]

    @contextmanager
    def saved(self, file: str, old: str, new: str, *patterns: str) -> Iterator[str]:
        """Save a file with another text during the block, and wait for such lines both times."""
        yield self.save(file, old, new, *patterns)
        self.save(file, new, old, *patterns)

    def end(self) -> int:
        """End it as Ctrl-C does, and return its exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=30)


@pytest.fixture(scope="module")
def dev(clone: Clone) -> Iterator[Dev]:
    """Run `make dev`. The last test of this file ends it."""
    with clone.restored(), (clone.directory / "output").open("w") as output:
        process = subprocess.Popen(
            command(clone, "dev"),
            cwd=clone.directory,
            env=SHELL | {"PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        dev = Dev(clone=clone, process=process)
        try:
            dev.wait_for("^Watching")
            yield dev
        finally:
            dev.end()


def test_saved_handler_is_live(clone: Clone, dev: Dev) -> None:
    with dev.saved(HANDLER, '"Not Found"', '"No Such Route"', SALES_IS_LIVE) as printed:
        assert unknown_route(clone) == "No Such Route"
        assert "relay" not in printed


def test_syntax_error_leaves_the_old_code(clone: Clone, dev: Dev) -> None:
    dev.save(HANDLER, '"Not Found"', '"Not Found', rf"^{HANDLER}:\d+: unterminated string literal")
    assert unknown_route(clone) == "Not Found"
    # `make dev` prints nothing about the text that is deployed already.
    clone.replace(HANDLER, '"error": "Not Found}', '"error": "Not Found"}')


def test_saved_common_module_is_live_in_each_function(dev: Dev) -> None:
    live = r"^sales, .+: live after \d+\.\d s$", MIGRATE_IS_LIVE
    with dev.saved(COMMON, "def response(", "def response (", *live):
        pass


def test_saved_sql_is_in_the_database(clone: Clone, dev: Dev) -> None:
    with (
        dev.saved(PROCEDURE, "attempts = 0,", "attempts = 0 + 0,", MIGRATE_IS_LIVE),
        owner(clone.cloud.database) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "SELECT ROUTINE_DEFINITION FROM information_schema.ROUTINES"
            " WHERE ROUTINE_NAME = 'mark_published'"
        )
        assert "attempts = 0 + 0," in str(cursor.fetchone())


def test_saved_price_is_that_of_the_shop(clone: Clone, dev: Dev) -> None:
    dev.save(
        CATALOGUE,
        "price = 19900",
        "price = 22000",
        f"^{CATALOGUE}: the shop is updated, as by `make up`$",
        r"^Checking that it sells +\d",
    )
    assert clone.get("/product/donut")["price"] == 22000


def test_make_up_takes_back_what_dev_has_deployed(clone: Clone, dev: Dev) -> None:
    """The shop stays open after Ctrl-C, with the code that was saved last."""
    dev.save(HANDLER, '"Not Found"', '"No Such Route"', SALES_IS_LIVE)
    assert dev.end() == 0
    assert unknown_route(clone) == "No Such Route"
    clone.replace(HANDLER, '"No Such Route"', '"Not Found"')
    up(clone)
    assert unknown_route(clone) == "Not Found"
