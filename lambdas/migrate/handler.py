"""Brings the database up to date before the other functions are deployed: schema, tables, data, procedures, users.

Numbered files in migrations/ are applied in order and once each. Files in procedures/, one per procedure, are applied
whenever their text differs from the server's. database_users.json lists each function's user and its grants.
"""

import json
import logging
import re
import time
from collections.abc import Iterable
from pathlib import Path

import pymysql

from common import deadline, environment, failures
from common.database import connect, secret

FOLDER = Path(__file__).parent
MIGRATIONS = FOLDER / "migrations"
PROCEDURES = FOLDER / "procedures"
DATABASE_USERS = json.loads((FOLDER / "database_users.json").read_text())
LOCK_SECONDS = 60
MIGRATION_SECONDS = 13 * 60
"""The function itself is stopped a minute later."""
log = logging.getLogger(__name__)

BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS schema_migration (
    file       VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    applied_at DATETIME(6)  NOT NULL COMMENT 'UTC'
) ENGINE = InnoDB
"""


# What a database server of somebody else's has for defaults decides nothing here. An existing schema is left alone.
SCHEMA = "CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"


class MigrationFailed(Exception):
    """Names the file and repeats the database's message, but for data: the deployment fails with this text."""


def apply_migrations(cursor: pymysql.cursors.Cursor, directory: Path = MIGRATIONS) -> list[str]:
    """Apply the files that the database does not know yet; return their names.

    Files that only the database knows belong to a newer release and are left alone.
    """
    cursor.execute(BOOKKEEPING)
    cursor.execute("SELECT file FROM schema_migration")
    known = {file for (file,) in cursor.fetchall()}
    new = [path for path in sorted(directory.glob("*.sql")) if path.name not in known]
    for path in new:
        execute_file(cursor, path)
        cursor.execute("INSERT INTO schema_migration VALUES (%s, UTC_TIMESTAMP(6))", (path.name,))
    return [path.name for path in new]


def apply_procedures(cursor: pymysql.cursors.Cursor, directory: Path = PROCEDURES) -> list[str]:
    """Create the procedures that differ on the server; return the names of their files.

    Compared are the parameters, the body, and whose rights the procedure runs with: those of the user logged in here.
    """
    cursor.execute(
        "SELECT name, param_list, body, IF(definer = CURRENT_USER(), security_type, '') FROM mysql.proc"
        " WHERE db = DATABASE()"
    )
    known = {
        name: (parameters, body, security) for name, parameters, body, security in cursor.fetchall()
    }
    changed = []
    for path in sorted(directory.glob("*.sql")):
        text = path.read_bytes().strip()
        parameters, body, security = known.get(path.stem, (b"", b"", ""))
        same = (
            b"PROCEDURE %s(%s)" % (path.stem.encode(), parameters) in text
            and body
            and text.endswith(body)
        )
        if not same or security != "DEFINER":
            execute_file(cursor, path)
            changed.append(path.name)
    return changed


def execute_file(cursor: pymysql.cursors.Cursor, path: Path) -> None:
    """Execute the one statement in the file. Raises MigrationFailed."""
    source = path.read_text(encoding="utf-8")
    try:
        cursor.execute(source)
    except pymysql.MySQLError as error:
        raise MigrationFailed(
            f"{path.name}: {without_data(str(error.args[-1]), source)}"
        ) from error


def without_data(message: str, source: str) -> str:
    """Return the database's message without what it quotes, unless all of that is from the file itself.

    Anything else may be from a customer's row: `Duplicate entry '...' for key`.
    """
    before, quote, rest = message.partition("'")
    quoted, _, after = rest.rpartition("'")
    known = all(part in source for part in quoted.split("'")[::2])
    return message if not quote or known else f"{before}'…'{after}"


def create_user(cursor: pymysql.cursors.Cursor, user: str, *, password: str | None) -> None:
    """Create the user, or renew its password. With None it logs in with IAM authentication."""
    account = account_of(cursor, user)
    if password is None:
        cursor.execute(
            f"CREATE USER IF NOT EXISTS {account} IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS' REQUIRE SSL"
        )
        cursor.execute(f"ALTER USER {account} REQUIRE SSL")
    else:
        authentication = f"IDENTIFIED BY {cursor.connection.escape(password)} REQUIRE SSL"
        cursor.execute(f"CREATE USER IF NOT EXISTS {account} {authentication}")
        cursor.execute(f"ALTER USER {account} {authentication}")


def set_grants(
    cursor: pymysql.cursors.Cursor, user: str, grants: Iterable[str], *, name: str
) -> None:
    """Give the user exactly these grants on the schema `name`, whatever it had before. Right ones are not touched.

    Only if the user has a grant too many, all its grants are revoked and then given again. That takes milliseconds, and
    works for grants that the master user may not revoke one by one because it does not hold them itself.
    """
    account = account_of(cursor, user)
    wanted = {normalized(re.sub(r"(\w+)$", rf"{name}.\1", grant)) for grant in grants}
    cursor.execute(f"SHOW GRANTS FOR {account}")
    lines = [
        re.fullmatch(r"GRANT (.+?) TO .+?( WITH GRANT OPTION)?", line)
        for (line,) in cursor.fetchall()
    ]
    held = {normalized(line[1]) + (line[2] or "") for line in lines if line} - {"USAGE ON *.*"}
    if held - wanted:
        cursor.execute(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account}")
        held = set()
    for grant in sorted(wanted - held):
        cursor.execute(f"GRANT {grant} TO {account}")


def normalized(grant: str) -> str:
    """Write a grant as SHOW GRANTS does, but without quotes and with its columns in alphabetical order."""
    before, parenthesis, rest = grant.replace("`", "").partition("(")
    columns, _, after = rest.partition(")")
    return f"{before}({', '.join(sorted(columns.split(', ')))}){after}" if parenthesis else before


def account_of(cursor: pymysql.cursors.Cursor, user: str) -> str:
    return f"{cursor.connection.escape(user)}@'%'"


@failures.guarded(MigrationFailed)
def handler(event: object, context: object) -> None:
    """Bring the database up to date. Raises MigrationFailed and Failed."""
    config = environment.read(environment.Migrate)
    assert config.database_secret_arn, "migrate logs in with the master secret"
    name = config.database_name
    if not re.fullmatch(r"[a-z_]+", name):
        raise MigrationFailed(f"database name {name!r}")
    until = time.monotonic() + MIGRATION_SECONDS
    master = secret(config.database_secret_arn, deadline.MIGRATION_SECRET)
    # A login with a password has another user than one with IAM tokens: neither is ever turned into the other.
    user_secret_arns = config.user_secret_arns.split(",") if config.user_secret_arns else []
    logins = [secret(arn, deadline.MIGRATION_SECRET) for arn in user_secret_arns]
    passwords = {login["username"]: login["password"] for login in logins}
    connection = connect(
        config, user=master["username"], password=master["password"], name=None, until=until
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('migrate', %s)", (LOCK_SECONDS,))
        if cursor.fetchone() != (1,):
            raise MigrationFailed(f"another migration has held the lock for {LOCK_SECONDS} s")
        cursor.execute(SCHEMA.format(name=name))
        cursor.execute(f"USE `{name}`")
        applied = [*apply_migrations(cursor), *apply_procedures(cursor)]
        for entry in DATABASE_USERS.values():
            user = f"{entry['user']}_password" if passwords else entry["user"]
            if passwords and user not in passwords:
                raise MigrationFailed(f"no secret is the login of {user}")
            create_user(cursor, user, password=passwords[user] if passwords else None)
            set_grants(cursor, user, entry["grants"], name=name)
    log.info("migrated", extra={"applied": applied})
