"""Bring the database up to date before the other functions are deployed.

Numbered files in migrations/ create tables and data. Each is applied once, in order, and never
changes afterwards. Files in procedures/ hold one procedure each, which is created again whenever
the server's differs from the file. catalogue.toml declares the products. database_users.json lists
each function's user and its grants. A grant that is no longer listed is revoked at once, while the
old functions still run: remove it one release after its last use. A user that is no longer listed
keeps its grants until users.REMOVED names it.
"""

import json
import logging
import re
import time
from pathlib import Path

import pymysql

from common import deadline, environment, failures
from common.database import connect, secret
from migrate import catalogue, checksums, products, users

FOLDER = Path(__file__).parent
MIGRATIONS = FOLDER / "migrations"
PROCEDURES = FOLDER / "procedures"
DATABASE_USERS = json.loads((FOLDER / "database_users.json").read_text())
LOCK_SECONDS = 60
MIGRATION_SECONDS = 13 * 60
"""The function times out a minute later."""
log = logging.getLogger(__name__)

# An existing schema keeps its own defaults. A new one does not depend on the server's.
CREATE_SCHEMA = (
    "CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
)
CREATE_BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS schema_migration (
    file       VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    sha256     CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'of the file, in hexadecimal',
    applied_at DATETIME(6)  NOT NULL COMMENT 'UTC'
) ENGINE = InnoDB COMMENT 'migration files that were applied'
"""
# Select what CREATE PROCEDURE records. A procedure that was created by another user, with other
# characteristics or under other settings is left out, so that `apply_procedures` creates it again.
SELECT_PROCEDURES = """
SELECT name, param_list, security_type, sql_data_access, body
FROM mysql.proc
WHERE db = DATABASE() AND type = 'PROCEDURE' AND definer = CURRENT_USER() AND sql_mode = @@sql_mode
  AND character_set_client = @@character_set_client AND collation_connection = @@collation_connection
  AND db_collation = @@collation_database AND is_deterministic = 'NO' AND comment = ''
"""


class MigrationFailed(Exception):
    """The migration failed. The text names the file and the problem.

    The deployment fails with this text, so it quotes no data.
    """


def check_files(directory: Path) -> None:
    """Raise MigrationFailed if a file differs from its checksum in SHA256SUMS."""
    if problems := checksums.problems(directory):
        raise MigrationFailed(" ".join(problems))


def apply_migrations(cursor: pymysql.cursors.Cursor, directory: Path) -> list[str]:
    """Apply the files that the database does not know yet, and return their names.

    Raises MigrationFailed, before anything is applied, if the files are not those that were applied
    to the database.
    """
    applied = applied_checksums(cursor)
    files = {path: checksums.checksum(path) for path in sorted(directory.glob("*.sql"))}
    if problems := conflicts(applied, {path.name: value for path, value in files.items()}):
        raise MigrationFailed(" ".join(problems))
    new = [path for path in files if path.name not in applied]
    for path in new:
        execute_file(cursor, path)
        cursor.execute(
            "INSERT INTO schema_migration (file, sha256, applied_at) VALUES (%s, %s, UTC_TIMESTAMP(6))",
            (path.name, files[path]),
        )
    return [path.name for path in new]


def conflicts(applied: dict[str, str], files: dict[str, str]) -> list[str]:
    """Return a sentence for each file that conflicts with what was applied to the database.

    Such a file was changed, renamed or removed after it was applied, or is new but has an old number.
    Both arguments map names to checksums. Applied files with a higher number than all of `files`
    belong to a newer release.
    """
    names = {checksum: name for name, checksum in applied.items()}
    new = [name for name in files if name not in applied]
    renamed = {name: names[files[name]] for name in new if files[name] in names}
    return [
        *(
            f"{name} was changed after it was applied to this database: restore it,"
            " and put the change into a new file."
            for name, checksum in files.items()
            if applied.get(name, checksum) != checksum
        ),
        *(
            f"{name} was applied to this database as {old}: give it that name again."
            for name, old in renamed.items()
        ),
        *(
            f"{name} was applied to this database, but is missing: restore it."
            for name in sorted(applied.keys() - files.keys() - set(renamed.values()))
            if checksums.number(name) <= max(map(checksums.number, files), default="")
        ),
        *(
            f"{name} is new, but {max(applied)} was applied to this database already:"
            " give it the next number."
            for name in new
            if name not in renamed
            and applied
            and checksums.number(name) <= checksums.number(max(applied))
        ),
    ]


def applied_checksums(cursor: pymysql.cursors.Cursor) -> dict[str, str]:
    """Return the applied files as name → checksum.

    Raises MigrationFailed if the tables are from before 1.0.
    """
    cursor.execute(CREATE_BOOKKEEPING)
    cursor.execute("SHOW COLUMNS FROM schema_migration LIKE 'sha256'")
    if not cursor.fetchall():
        raise MigrationFailed(
            "The data is from before 1.0 and cannot be upgraded: on your own machine, delete it with"
            " `make clean`, then run `make up` again."
        )
    cursor.execute("SELECT file, sha256 FROM schema_migration")
    return dict(cursor.fetchall())


def apply_procedures(cursor: pymysql.cursors.Cursor, directory: Path) -> list[str]:
    """Create the procedures that differ on the server, and return the names of their files.

    The statement that would create the server's procedure is compared with the file, without the
    comment at the file's top. Procedures without a file are left alone, because functions of
    another release may call them. Raises MigrationFailed.
    """
    cursor.execute(SELECT_PROCEDURES)
    existing = {}
    for name, parameters, security, access, body in cursor.fetchall():
        header = f"CREATE OR REPLACE PROCEDURE {name}(".encode() + parameters
        options = f")\n    SQL SECURITY {security}\n    {access.replace('_', ' ')}\n".encode()
        existing[name] = header + options + body
    changed = []
    for path in sorted(directory.glob("*.sql")):
        _, create, rest = path.read_bytes().strip().partition(b"CREATE OR REPLACE PROCEDURE ")
        if existing.get(path.stem) != create + rest:
            execute_file(cursor, path)
            changed.append(path.name)
    return changed


def execute_file(cursor: pymysql.cursors.Cursor, path: Path) -> None:
    """Execute the one statement in the file. Raises MigrationFailed."""
    source = path.read_bytes().decode()
    try:
        cursor.execute(source)
    except pymysql.MySQLError as error:
        raise MigrationFailed(
            f"{path.name}: {without_data(str(error.args[-1]), source)}"
        ) from error


def without_data(message: str, source: str) -> str:
    """Return the database's message without its quotations, unless each of them is from the file.

    Any other quotation may be from a customer's row: `Duplicate entry '...' for key`.
    """
    before, quote, rest = message.partition("'")
    quoted, _, after = rest.rpartition("'")
    known = all(part in source for part in quoted.split("'")[::2])
    return message if not quote or known else f"{before}'…'{after}"


def read_passwords(arns: list[str]) -> dict[str, str]:
    """Return the functions' database users with password login: user → password.

    Raises MigrationFailed if a user has no secret.
    """
    logins = [secret(arn, deadline.MIGRATION_SECRET) for arn in arns]
    passwords = {login["username"]: login["password"] for login in logins}
    for entry in DATABASE_USERS.values():
        if (user := password_user(entry["user"])) not in passwords:
            raise MigrationFailed(f"no secret has the username {user}")
    return passwords


def password_user(user: str) -> str:
    """Return the name with which the function of this user logs in with a password.

    A user with IAM authentication has another name, so that neither is ever turned into the other.
    """
    return f"{user}_password"


@failures.guarded(MigrationFailed, catalogue.CatalogueInvalid, products.Conflict, products.Busy)
def handler(event: object, context: object) -> None:
    """Bring the database up to date.

    Raises MigrationFailed, CatalogueInvalid, Conflict, Busy and Failed.
    """
    until = time.monotonic() + MIGRATION_SECONDS
    config = environment.read(environment.Migrate)
    assert config.database_secret_arn, "migrate logs in with the master secret"
    name = config.database_name
    if not re.fullmatch(r"[a-z_]+", name):
        raise MigrationFailed(
            f"database name {name!r} may hold lower-case letters and underscores only"
        )
    check_files(MIGRATIONS)
    declared = catalogue.load()
    master = secret(config.database_secret_arn, deadline.MIGRATION_SECRET)
    arns = config.user_secret_arns
    passwords = read_passwords(arns.split(",")) if arns else None
    connection = connect(
        config, user=master["username"], password=master["password"], name=None, until=until
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION slow_query_log = OFF")  # it would quote passwords
        cursor.execute("SELECT GET_LOCK('migrate', %s)", (LOCK_SECONDS,))
        if cursor.fetchone() != (1,):
            raise MigrationFailed(f"another migration has held the lock for {LOCK_SECONDS} s")
        cursor.execute(CREATE_SCHEMA.format(name=name))
        cursor.execute(f"USE `{name}`")
        applied = [*apply_migrations(cursor, MIGRATIONS), *apply_procedures(cursor, PROCEDURES)]
        changed = products.apply(cursor, declared)
        for entry in DATABASE_USERS.values():
            user = entry["user"] if passwords is None else password_user(entry["user"])
            password = None if passwords is None else passwords[user]
            users.create_user(cursor, user, password=password)
            users.set_grants(cursor, user, entry["grants"], schema=name)
        for user in users.REMOVED:
            users.drop_user(cursor, user)
            users.drop_user(cursor, password_user(user))
    log.info("migrated", extra={"applied": applied, "changed_products": changed})
