"""The migration, as far as it needs no database. tests/integration runs it against a real one."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from common import deadline, failures
from migrate import checksums, users
from settings import DATABASE_USERS, DATABASE_USERS_FILE, LAMBDAS, PROJECT
from tests.support.fakes import FakeSecrets, FakeServer
from tests.support.grants import columns_of

PROCEDURE = r"""(--[^\n]*\n)+CREATE OR REPLACE PROCEDURE {name}\(.*?\)
    SQL SECURITY DEFINER
    (MODIFIES|READS) SQL DATA
\S.*"""
"""The form in which a procedure can be compared with the server's: comments, then one statement.

The server removes the white space before the body.
"""

RELEASES = sorted(
    (PROJECT / "tests/integration/baseline").glob("*.sql"),
    key=lambda path: [int(part) for part in path.stem.split(".")],
)
"""The dump of each release's database, the last release at the end."""
LAST_RELEASE = RELEASES[-1]


@pytest.fixture
def migrate(load: Callable[..., ModuleType]) -> ModuleType:
    return load("migrate")


@pytest.fixture
def folder(tmp_path: Path, migrate: ModuleType) -> Path:
    """Return the path of a copy of the migration files."""
    return Path(shutil.copytree(migrate.MIGRATIONS, tmp_path / "migrations"))


# --- files ---


def test_migration_files_have_not_changed(migrate: ModuleType) -> None:
    """A change would reach no database that has applied the file already."""
    problems = checksums.problems(migrate.MIGRATIONS)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("dump", RELEASES, ids=lambda dump: str(dump.stem))
def test_checksums_are_those_of_each_release(dump: Path, migrate: ModuleType) -> None:
    """Also if somebody has deleted a line of SHA256SUMS and run `make checksums`."""
    released = re.findall(r"'(\w+\.sql)','(\w{64})'", dump.read_text(encoding="utf-8"))
    assert released, f"{dump.name} has no row of schema_migration"
    now = dict(checksums.released(migrate.MIGRATIONS))
    changed = [name for name, digest in released if now.get(name) != digest]
    assert not changed, (
        f"{', '.join(changed)} was changed after release {dump.stem}: restore the file and its line"
        " in SHA256SUMS, and put the change into a new file"
    )


def test_migration_files_are_numbered_without_gaps(migrate: ModuleType) -> None:
    problems = misnumbered(migrate.MIGRATIONS)
    assert not problems, "\n".join(problems)


def misnumbered(directory: Path) -> list[str]:
    """Return a sentence for each file that has not the next number.

    A released file can't be renamed. Of two files with a number, the new one is therefore named.
    """
    new = {path.name for path in checksums.new(directory)}
    names = {path.name for path in directory.iterdir()} - {checksums.FILE}
    in_order = sorted(names, key=lambda name: (checksums.number(name), name in new, name))
    return [
        f"{name} must be called {number:04}_<what_it_does>.sql: every file in"
        " lambdas/migrate/migrations has the next number, and none is left out or used twice"
        for number, name in enumerate(in_order, start=1)
        if not re.fullmatch(rf"{number:04}_[a-z0-9_]+\.sql", name)
    ]


@pytest.mark.parametrize("ahead", [0, 2], ids=["released", "leaves one out"])
def test_new_file_with_another_than_the_next_number_is_named(folder: Path, ahead: int) -> None:
    last = len(list(folder.glob("*.sql")))
    (folder / f"{last + ahead:04}_a.sql").write_text("CREATE TABLE apple (id INT)")
    (problem,) = misnumbered(folder)
    assert problem.startswith(
        f"{last + ahead:04}_a.sql must be called {last + 1:04}_<what_it_does>.sql"
    )


def test_migration_file_is_one_statement(migrate: ModuleType) -> None:
    """A compound statement, `BEGIN NOT ATOMIC`, holds several."""
    for path in sorted(migrate.MIGRATIONS.glob("*.sql")):
        without_texts = re.sub(r"'[^']*'|--[^\n]*", "", path.read_text(encoding="utf-8"))
        statement = without_texts.strip().removesuffix(";")
        assert ";" not in statement or statement.startswith("BEGIN NOT ATOMIC"), (
            f"{path.name} has several statements: put each into a file of its own,"
            " or all of them into BEGIN NOT ATOMIC … END"
        )


def test_alter_of_a_large_table_does_not_stop_the_shop(migrate: ModuleType) -> None:
    """File 0012 is older than the rule; MariaDB executes it without copying rows."""
    for path in sorted(migrate.MIGRATIONS.glob("*.sql")):
        altered = re.search(
            r"^ALTER TABLE (purchase|production_order)\b.*", path.read_text(), re.M | re.S
        )
        if altered and path.name != "0012_purchase_unit_price.sql":
            assert re.match(r"ALTER TABLE \w+ WAIT 2\s", altered[0]), f"{path.name}: add WAIT 2"
            assert re.search(r"ALGORITHM = (INSTANT|NOCOPY)\b", altered[0]), (
                f"{path.name}: add an ALGORITHM that copies no rows"
            )


def test_changed_file_is_named(folder: Path) -> None:
    with (folder / "0003_purchase.sql").open("a") as file:
        file.write("-- a comment\n")
    assert checksums.problems(folder) == [
        "0003_purchase.sql was changed after it was released: restore it,"
        " and put the change into a new file."
    ]


def test_changed_line_ending_is_a_change(folder: Path) -> None:
    path = folder / "0003_purchase.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert [problem.split()[0] for problem in checksums.problems(folder)] == ["0003_purchase.sql"]


def test_missing_file_is_named(folder: Path) -> None:
    (folder / "0003_purchase.sql").unlink()
    assert checksums.problems(folder) == [
        "0003_purchase.sql is missing, but was released: restore it."
    ]


def test_file_without_checksum_is_named(folder: Path) -> None:
    (folder / "0900_bagel.sql").write_text("CREATE TABLE bagel (id INT)")
    assert checksums.problems(folder) == ["0900_bagel.sql has no checksum: run `make checksums`."]


def test_repeated_line_of_checksums_is_named(folder: Path) -> None:
    sums = folder / checksums.FILE
    first, *rest = sums.read_text().splitlines(keepends=True)
    sums.write_text("".join([first.replace(first[:64], 64 * "0"), first, *rest]))
    assert checksums.problems(folder) == [
        "SHA256SUMS has more than one line for 0001_factory.sql: restore it."
    ]


@pytest.mark.parametrize("line", ["", "0014_bagel.sql", f"{64 * '0'} 0014_bagel.sql"])
def test_malformed_line_of_checksums_is_named(folder: Path, line: str) -> None:
    sums = folder / checksums.FILE
    number = len(sums.read_text().splitlines()) + 1
    with sums.open("a") as file:
        file.write(f"{line}\n")
    assert checksums.problems(folder) == [
        f"Line {number} of SHA256SUMS is not a checksum, two spaces and a file name: restore it,"
        " or delete it if it is blank."
    ]


def test_missing_checksums_are_named(folder: Path) -> None:
    (folder / checksums.FILE).unlink()
    assert checksums.problems(folder) == ["SHA256SUMS is missing: restore it."]


def test_each_procedure_has_a_file_of_its_name(migrate: ModuleType) -> None:
    for path in migrate.PROCEDURES.iterdir():
        assert path.suffix == ".sql", f"{path.name} is not a procedure: name it <procedure>.sql"
        created = re.findall(r"^CREATE.* PROCEDURE (\w+)", path.read_text(), re.MULTILINE)
        assert created == [path.stem], (
            f"{path.name} creates {created}: a file holds one procedure and has its name"
        )


def test_each_procedure_can_be_compared_with_the_servers(migrate: ModuleType) -> None:
    for path in migrate.PROCEDURES.glob("*.sql"):
        form = PROCEDURE.format(name=path.stem)
        text = path.read_bytes().decode()
        assert "\r" not in text, (
            f"{path.name} would be created again at each migration by a checkout with other line"
            " endings: end its lines with LF only, not with CRLF"
        )
        assert re.fullmatch(form, text, re.DOTALL), (
            f"{path.name} would be created again at each migration: begin it with comments,"
            f" `CREATE OR REPLACE PROCEDURE {path.stem}(`, and after its parameters the lines"
            " `    SQL SECURITY DEFINER` and `    MODIFIES SQL DATA`, and do not indent the first"
            " line of the body"
        )


def test_lines_of_procedures_have_at_most_100_characters(migrate: ModuleType) -> None:
    for path in sorted(migrate.PROCEDURES.glob("*.sql")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= 100, (
                f"{path.name}:{number} has {len(line)} characters: wrap it at 100"
            )


def parameters(sql: str) -> dict[str, str]:
    """Return the procedures that the statements create, as name → parameters without comments."""
    created = re.findall(
        r"^CREATE [^\n]*PROCEDURE `?(\w+)`?\((.*?)\)\n    (?:SQL SECURITY|MODIFIES|READS) ",
        sql,
        re.DOTALL | re.MULTILINE,
    )
    return {name: " ".join(re.sub("--.*", "", listed).split()) for name, listed in created}


def test_procedures_keep_the_parameters_of_the_last_release(migrate: ModuleType) -> None:
    """Functions of the last release call them during a deployment, after the migration."""
    released = parameters(LAST_RELEASE.read_text(encoding="utf-8"))
    assert released
    for path in migrate.PROCEDURES.glob("*.sql"):
        today = parameters(path.read_text())[path.stem]
        assert released.get(path.stem, today) == today, (
            f"{path.name} has other parameters than in {LAST_RELEASE.stem}: changed parameters"
            " need a new name"
        )


GRANTED = [
    (function, grant)
    for function, entry in json.loads(DATABASE_USERS_FILE.read_text()).items()
    for grant in entry["grants"]
]
STORE = (PROJECT / "lambdas/common/store.py").read_text()


@pytest.mark.parametrize(("function", "grant"), GRANTED)
def test_each_granted_procedure_has_a_file(function: str, grant: str, migrate: ModuleType) -> None:
    if grant.startswith("EXECUTE"):
        path = migrate.PROCEDURES / f"{grant.rpartition(' ')[2]}.sql"
        assert path.exists(), f"{function} may call {path.stem}: create {path.relative_to(PROJECT)}"


@pytest.mark.parametrize(("function", "grant"), GRANTED)
def test_each_granted_procedure_is_called_by_the_store(function: str, grant: str) -> None:
    if grant.startswith("EXECUTE"):
        procedure = grant.rpartition(" ")[2]
        assert f"CALL {procedure}(" in STORE, (
            f"lambdas/common/store.py does not call {procedure}, which {function} may call"
        )


CALLS = [
    (str(path.relative_to(PROJECT)), procedure, len(re.findall("[^,]+", values)))
    for path in sorted(LAMBDAS.rglob("*.py"))
    for procedure, values in re.findall(r"CALL (\w+)\(([^)]*)\)", path.read_text())
]
"""The calls in the functions' code: the file, the procedure and the number of values."""


@pytest.mark.parametrize(("file", "procedure", "values"), CALLS)
def test_each_call_has_a_value_per_parameter(
    file: str, procedure: str, values: int, migrate: ModuleType
) -> None:
    text = (migrate.PROCEDURES / f"{procedure}.sql").read_text()
    expected = len(re.findall(r"\b(?:IN|OUT) +p_", parameters(text)[procedure]))
    assert values == expected, (
        f"{file} calls {procedure} with {values} values, but {procedure}.sql has {expected}"
        " parameters: write one %s for each"
    )


@pytest.mark.parametrize(("function", "grant"), GRANTED)
def test_each_granted_column_is_in_a_migration(
    function: str, grant: str, migrate: ModuleType
) -> None:
    for table, column in sorted(columns_of([grant])):
        assert creates_column(migrate.MIGRATIONS, table, column), (
            f"lambdas/migrate/migrations/ does not create the column {column} of {table}, "
            f"which {function} may read"
        )


def creates_column(directory: Path, table: str, column: str) -> bool:
    """Return whether a CREATE TABLE or an ALTER TABLE of this table defines the column."""
    statement = re.compile(
        rf"^(?:CREATE TABLE(?: IF NOT EXISTS)?|ALTER TABLE) {table}\b", re.MULTILINE
    )
    definition = re.compile(
        rf"(?:^ +|ADD COLUMN (?:IF NOT EXISTS )?){column} +[A-Z]+", re.MULTILINE
    )
    files = [path.read_text() for path in directory.glob("*.sql")]
    return any(definition.search(sql) for sql in files if statement.search(sql))


@pytest.mark.parametrize(
    ("table", "column", "expected"),
    [
        ("stock_entry", "kind", True),
        ("product", "kind", False),
        ("product", "slots", True),
        ("product_slot", "slots", False),
        ("purchase", "unit_price", True),
        ("product", "unit_price", False),
        ("product", "customers", False),
    ],
)
def test_column_is_created_for_its_own_table(
    migrate: ModuleType, table: str, column: str, expected: bool
) -> None:
    """The word also occurs in other tables' statements, in constraints and in comments."""
    assert creates_column(migrate.MIGRATIONS, table, column) is expected


def test_new_file_with_an_applied_number_conflicts(migrate: ModuleType) -> None:
    """The number alone is compared, not the name after it."""
    assert migrate.conflicts(
        {"0001_a.sql": "sum 1", "0002_a.sql": "sum 2"},
        {"0001_a.sql": "sum 1", "0002_b_c.sql": "sum 3"},
    ) == [
        "0002_a.sql was applied to this database, but is missing: restore it.",
        "0002_b_c.sql is new, but 0002_a.sql was applied to this database already:"
        " give it the next number.",
    ]


def test_files_of_a_newer_release_do_not_conflict(migrate: ModuleType) -> None:
    applied = {"0001_a.sql": "sum 1", "0002_a.sql": "sum 2"}
    assert migrate.conflicts(applied, {"0001_a.sql": "sum 1"}) == []
    assert migrate.conflicts(applied, {}) == []


def test_message_quotes_the_file_only(migrate: ModuleType) -> None:
    """A quotation of anything else may be from a customer's row."""
    source = "ALTER TABLE purchase ADD UNIQUE buyer (name); -- DOUGHNUT"
    expected = {
        "Duplicate entry 'Kim' for key 'buyer'": "Duplicate entry '…'",
        "Duplicate entry 'O'Brien' for key 'buyer'": "Duplicate entry '…'",
        "Incorrect integer value: 'Kim' for column `shop`.`t`.`c` at row 1": (
            "Incorrect integer value: '…' for column `shop`.`t`.`c` at row 1"
        ),
        "Unknown data type: 'DOUGHNUT'": "Unknown data type: 'DOUGHNUT'",
        "Table 'purchase' has no column 'name'": "Table 'purchase' has no column 'name'",
        "Lost connection": "Lost connection",
    }
    for message, text in expected.items():
        assert migrate.without_data(message, source) == text, message


# --- users and grants ---


def users_in(dump: str) -> set[str]:
    """Return the database users that a dump names at its top."""
    match = re.search("^-- Database users: (.+)$", dump, re.MULTILINE)
    assert match, "the dump does not name the release's database users"
    return set(match[1].split(", "))


def users_to_remove(released: list[set[str]], declared: set[str]) -> set[str]:
    """Return the users that neither the last release nor this one has, but an earlier one had."""
    return set().union(*released) - released[-1] - declared


@pytest.mark.parametrize(
    ("released", "removed"),
    [
        ([{"sales"}], set()),
        ([{"sales", "refund"}], set()),
        ([{"sales", "refund"}, {"sales"}], {"refund"}),
        ([{"sales", "refund"}, {"sales"}, {"sales"}], {"refund"}),
        ([{"sales", "relay"}, {"sales"}], set()),
    ],
    ids=["never used", "in the last release", "before it", "long before it", "used again"],
)
def test_user_is_removed_one_release_after_its_last_use(
    released: list[set[str]], removed: set[str]
) -> None:
    assert users_to_remove(released, {"sales", "relay"}) == removed


def test_users_of_earlier_releases_are_removed() -> None:
    """Functions of the last release still log in during a deployment, and after a rollback."""
    released = [users_in(path.read_text(encoding="utf-8")) for path in RELEASES]
    expected = users_to_remove(released, set(DATABASE_USERS.values()))
    assert set(users.REMOVED) == expected, (
        "REMOVED in lambdas/migrate/users.py must name the database users that a release before"
        f" {LAST_RELEASE.stem} had, and neither that release nor this one has: {sorted(expected)}"
    )


def test_grants_are_compared_without_quotes_and_order_of_columns() -> None:
    line = "GRANT SELECT (`name`, `id`) ON `shop`.`product` TO `baker`@`%`"
    assert users.held_grant(line) == users.normalized("SELECT (id, name) ON shop.product")


@pytest.mark.parametrize(
    "line",
    [
        "GRANT SELECT (`id`) ON `shop`.`product` TO `baker`@`%`",
        "GRANT SELECT (`id`, `name`) ON `shop`.`order` TO `baker`@`%`",
        "GRANT SELECT (`id`, `name`) ON `shop`.`product` TO `baker`@`%` WITH GRANT OPTION",
        "GRANT `keeper` TO `baker`@`%`",
    ],
)
def test_grant_with_other_columns_or_options_differs(line: str) -> None:
    assert users.held_grant(line) != users.normalized("SELECT (id, name) ON shop.product")


# --- before the login ---

PASSWORDS = {f"{user}_password": f"{function}'" for function, user in DATABASE_USERS.items()}


class Connected(Exception):
    """Ends the migration where it would connect to the database."""


@pytest.fixture
def secrets(migrate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeSecrets:
    """Return the secrets of the master user and of the functions' users."""
    logins = {"admin": "master-password"} | PASSWORDS
    secrets = FakeSecrets(
        {
            f"arn:{user}": {"username": user, "password": password}
            for user, password in logins.items()
        }
    )
    monkeypatch.setattr(migrate, "secret", secrets.secret)
    monkeypatch.setenv("DATABASE_SECRET_ARN", "arn:admin")
    monkeypatch.setenv("USER_SECRET_ARNS", ",".join(f"arn:{user}" for user in PASSWORDS))
    return secrets


@pytest.fixture
def server(
    migrate: ModuleType, secrets: FakeSecrets, monkeypatch: pytest.MonkeyPatch
) -> FakeServer:
    server = FakeServer(errors=[Connected()])
    monkeypatch.setattr(migrate, "connect", server.connect)
    return server


def run(migrate: ModuleType) -> None:
    """Run the migration until it connects to the database."""
    with pytest.raises(failures.Failed, match=r"^Connected$"):
        migrate.handler({}, None)


def test_migration_logs_in_as_the_master_without_a_schema(
    migrate: ModuleType, server: FakeServer
) -> None:
    run(migrate)
    assert server.logins == [("admin", "master-password", None)]


def test_secrets_are_read_with_the_timeouts_of_a_migration(
    migrate: ModuleType, server: FakeServer, secrets: FakeSecrets
) -> None:
    """A failed read fails the deployment, and the network interface of the function is new."""
    run(migrate)
    patient = deadline.ClientTimeouts(connect=10, read=10, attempts=5)
    assert secrets.read == [(f"arn:{user}", patient) for user in ("admin", *PASSWORDS)]


def test_deadline_includes_the_time_to_read_the_secrets(
    migrate: ModuleType,
    server: FakeServer,
    secrets: FakeSecrets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The migration ends before the function times out, so that its error is reported."""
    began = secrets.clock.now
    monkeypatch.setattr(migrate, "time", secrets.clock)
    run(migrate)
    assert secrets.clock.now > began
    assert server.deadlines == [began + 13 * 60]


def test_user_without_a_secret_stops_the_migration(
    migrate: ModuleType, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER_SECRET_ARNS", os.environ["USER_SECRET_ARNS"].partition(",")[0])
    with pytest.raises(migrate.MigrationFailed, match="shop_restock_password"):
        migrate.handler({}, None)
    assert server.logins == []


def test_changed_file_stops_the_migration(
    migrate: ModuleType, server: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "0003_purchase.sql").write_text("CREATE TABLE purchase (id INT)")
    monkeypatch.setattr(migrate, "MIGRATIONS", folder)
    with pytest.raises(migrate.MigrationFailed, match=r"^0003_purchase\.sql was changed"):
        migrate.handler({}, None)
    assert server.logins == []


def test_every_changed_file_is_named(folder: Path, migrate: ModuleType) -> None:
    for name in ("0002_product.sql", "0003_purchase.sql"):
        (folder / name).write_text("CREATE TABLE another (id INT)")
    first, second = checksums.problems(folder)
    with pytest.raises(migrate.MigrationFailed) as failure:
        migrate.check_files(folder)
    assert str(failure.value) == f"{first} {second}"


def test_unusual_database_name_stops_the_migration(
    migrate: ModuleType, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_NAME", "shop; DROP TABLE product")
    with pytest.raises(migrate.MigrationFailed, match="database name"):
        migrate.handler({}, None)
    assert server.logins == []
