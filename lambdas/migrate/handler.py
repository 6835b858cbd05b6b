"""Applies the numbered SQL files, in order and once each, and lets the user `app` in. Runs before the others."""

import logging
import re
from pathlib import Path

import pymysql

from common import environment
from common.store import APP_USER, connect, secret

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_SECONDS = 60
STATEMENT_SECONDS = 600
log = logging.getLogger(__name__)

BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS schema_migration (
    file       VARCHAR(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    applied_at DATETIME(6)  NOT NULL COMMENT 'UTC'
) ENGINE = InnoDB
"""
GRANTS = (
    "GRANT SELECT ON {name}.product TO {user}",
    "GRANT SELECT ON {name}.production_order TO {user}",
    "GRANT EXECUTE ON PROCEDURE {name}.checkout TO {user}",
    "GRANT EXECUTE ON PROCEDURE {name}.mark_published TO {user}",
    "GRANT EXECUTE ON PROCEDURE {name}.restock TO {user}",
    "GRANT EXECUTE ON PROCEDURE {name}.claim_orders TO {user}",
    "GRANT EXECUTE ON PROCEDURE {name}.purge_idempotency_keys TO {user}",
)


class MigrationFailed(Exception):
    """Names the file and repeats the database's message: the deployment fails with this text."""


def apply(cursor: pymysql.cursors.Cursor, directory: Path = MIGRATIONS) -> list[str]:
    """The names of the files applied now. Files that only the database knows are a newer release's: left alone."""
    cursor.execute(BOOKKEEPING)
    cursor.execute("SELECT file FROM schema_migration")
    applied = {file for (file,) in cursor.fetchall()}
    new = [path for path in sorted(directory.glob("*.sql")) if path.name not in applied]
    for path in new:
        try:
            cursor.execute(path.read_text(encoding="utf-8"))
            cursor.execute("INSERT INTO schema_migration VALUES (%s, UTC_TIMESTAMP(6))", (path.name,))
        except pymysql.MySQLError as error:
            raise MigrationFailed(f"{path.name}: {error.args[-1]}") from error
    return [path.name for path in new]


def admit(cursor: pymysql.cursors.Cursor, *, name: str, app_secret: dict[str, str] | None) -> None:
    """Create the functions' user, or renew its password, and grant it what they need.

    The secret names another user than the one with IAM tokens: neither is ever turned into the other.
    """
    user = app_secret["username"] if app_secret else APP_USER
    account = f"{cursor.connection.escape(user)}@'%'"
    if app_secret:
        authentication = f"BY {cursor.connection.escape(app_secret['password'])}"
    else:
        authentication = "WITH AWSAuthenticationPlugin AS 'RDS'"
    cursor.execute(f"CREATE USER IF NOT EXISTS {account} IDENTIFIED {authentication} REQUIRE SSL")
    if app_secret:
        cursor.execute(f"ALTER USER {account} IDENTIFIED {authentication} REQUIRE SSL")
    for grant in GRANTS:
        cursor.execute(grant.format(name=name, user=account))


def handler(event: object, context: object) -> None:
    settings = environment.read(environment.Migrate)
    assert settings.database_secret_arn, "migrate logs in with the master secret"
    name = settings.database_name
    if not re.fullmatch(r"[a-z_]+", name):
        raise ValueError(f"database name {name!r}")
    master = secret(settings.database_secret_arn)
    connection = connect(
        settings, user=master["username"], password=master["password"], name=name, read_timeout=STATEMENT_SECONDS
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('migrate', %s)", (LOCK_SECONDS,))
        if cursor.fetchone() != (1,):
            raise MigrationFailed(f"another migration has held the lock for {LOCK_SECONDS} s")
        applied = apply(cursor)
        admit(cursor, name=name, app_secret=secret(settings.app_secret_arn) if settings.app_secret_arn else None)
    log.info("migrated", extra={"applied": applied})
