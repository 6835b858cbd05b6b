"""Reset the shop to its state after the first deployment, without repeating the migration."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql

from tests.support.books import NAME
from tests.support.database_shop import DatabaseShop

MAX_ROWS_TO_DELETE = 1000
"""If a table has more rows, it is faster to create the database anew."""
STRUCTURE = (
    "CHECKSUM TABLE mysql.proc, mysql.global_priv, mysql.db, mysql.tables_priv,"
    " mysql.columns_priv, mysql.procs_priv",
    f"SELECT table_id, name FROM information_schema.innodb_sys_tables WHERE name LIKE '{NAME}/%'",
    "SELECT index_id, indexes.name FROM information_schema.innodb_sys_indexes AS indexes"
    f" JOIN information_schema.innodb_sys_tables AS tables USING (table_id)"
    f" WHERE tables.name LIKE '{NAME}/%'",
    "SELECT table_name, column_name, column_type, column_default, is_nullable, collation_name"
    f" FROM information_schema.columns WHERE table_schema = '{NAME}'",
    f"SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = '{NAME}'",
    f"SELECT * FROM information_schema.schemata WHERE schema_name = '{NAME}'",
    # What is created next depends on them.
    "SELECT @@global.character_set_server, @@global.collation_server, @@global.tx_isolation",
)
"""Procedures, users, grants and tables, without their comments."""
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What the first deployment has left: its structure, and the rows of each table."""

    structure: list[Rows]
    rows: dict[str, Rows]


_deployed: dict[Path, Deployed] = {}
"""By the directory of the server."""


def renew(shop: DatabaseShop) -> None:
    """Leave the shop as the first deployment does.

    The database is created and migrated anew if a test has changed its structure, or has left a
    table with many rows.
    """
    before = _deployed.get(shop.server.directory)
    with shop.owner() as connection, connection.cursor() as cursor:
        if before and _structure(cursor) == before.structure and not _is_full(cursor, before.rows):
            _put_back(cursor, before.rows)
            return
    shop.recreate()
    shop.migrate()
    with shop.owner() as connection, connection.cursor() as cursor:
        tables = [table for (table,) in _select(cursor, "SHOW TABLES")]
        _deployed[shop.server.directory] = Deployed(
            structure=_structure(cursor),
            rows={table: _select(cursor, f"SELECT * FROM {table}") for table in tables},
        )


def _select(cursor: pymysql.cursors.Cursor, statement: str) -> Rows:
    cursor.execute(statement)
    return list(cursor.fetchall())


def _structure(cursor: pymysql.cursors.Cursor) -> list[Rows]:
    return [sorted(_select(cursor, statement), key=repr) for statement in STRUCTURE]


def _is_full(cursor: pymysql.cursors.Cursor, tables: dict[str, Rows]) -> bool:
    return any(
        _select(cursor, f"SELECT 1 FROM {table} LIMIT 1 OFFSET {MAX_ROWS_TO_DELETE}")
        for table in tables
    )


def _put_back(cursor: pymysql.cursors.Cursor, tables: dict[str, Rows]) -> None:
    cursor.execute("SET foreign_key_checks = 0, sql_log_bin = 0")
    for table, rows in tables.items():
        cursor.execute(f"DELETE FROM {table}")
        if rows:
            values = ", ".join(["%s"] * len(rows[0]))
            cursor.executemany(f"INSERT INTO {table} VALUES ({values})", rows)
