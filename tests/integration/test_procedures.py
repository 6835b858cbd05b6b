"""Stored procedures are created again when the server's differ from their files, and only then."""

from pathlib import Path

import pytest

from migrate import handler as migrate
from tests.support.books import NAME
from tests.support.database_shop import DatabaseShop

LONG_AGO = "2001-01-01 00:00:00"


@pytest.fixture
def slots() -> int:
    """Return one number of slots, because the procedures are the same for each."""
    return 1


def edited(old: str, new: str) -> list[str]:
    """Return the statement of the file restock.sql with another text and the right definer."""
    text = (migrate.PROCEDURES / "restock.sql").read_text()
    assert old in text, old
    changed = text.replace(old, new)
    return [changed.replace("REPLACE PROCEDURE", "REPLACE DEFINER = 'admin'@'%' PROCEDURE")]


UNCHANGED = edited("", "")
CHANGES = {
    "body": edited("v_quantity, NULL", "2 * v_quantity, NULL"),
    "comment in the body": edited("restock: BEGIN", "restock: BEGIN -- looked at"),
    "white space": edited("v_quantity, NULL", "v_quantity,  NULL"),
    "trailing statement": edited("= p_order_id;\nEND", "= p_order_id;\n    DO 1;\nEND"),
    "parameter": edited("p_slug           VARCHAR(64)", "p_slug           VARCHAR(65)"),
    "comment among the parameters": edited("restock(\n", "restock( -- looked at\n"),
    "name in capitals": edited("PROCEDURE restock", "PROCEDURE RESTOCK"),
    "invoker's rights": ["ALTER PROCEDURE restock SQL SECURITY INVOKER"],
    "access to data": ["ALTER PROCEDURE restock READS SQL DATA"],
    "comment": ["ALTER PROCEDURE restock COMMENT 'looked at'"],
    "deterministic": edited("    MODIFIES SQL", "    DETERMINISTIC\n    MODIFIES SQL"),
    "definer": edited("REPLACE PROCEDURE", "REPLACE DEFINER = 'root'@'localhost' PROCEDURE"),
    "SQL mode": ["SET sql_mode = ''", *UNCHANGED],
    "character set": ["SET character_set_client = latin1", *UNCHANGED],
    "collation": ["SET collation_connection = utf8mb4_bin", *UNCHANGED],
    "schema's collation": [f"ALTER DATABASE {NAME} COLLATE utf8mb4_bin"],
    "dropped": ["DROP PROCEDURE restock"],
    "dropped for a function": [
        "DROP PROCEDURE restock",
        "CREATE FUNCTION restock() RETURNS INT DETERMINISTIC RETURN 1",
    ],
}
"""What somebody changed by hand → the statements."""


def execute(shop: DatabaseShop, statements: list[str]) -> None:
    """Execute the statements on one connection of the server's owner."""
    with shop.owner() as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def definition(shop: DatabaseShop, procedure: str) -> object:
    """Return all that decides what the procedure does, and with whose rights."""
    return shop.sql(
        "SELECT name, type, param_list, body, security_type, definer, sql_data_access, is_deterministic, comment,"
        " sql_mode, character_set_client, collation_connection FROM mysql.proc"
        " WHERE db = %s AND name = %s AND type = 'PROCEDURE'",
        (NAME, procedure),
    )


def forget_when_created(shop: DatabaseShop) -> None:
    shop.sql("UPDATE mysql.proc SET created = %s, modified = %s", (LONG_AGO, LONG_AGO))


def created_again(shop: DatabaseShop) -> set[str]:
    """Return the procedures that were created since forget_when_created."""
    rows = shop.sql(
        "SELECT name FROM mysql.proc WHERE db = %s AND type = 'PROCEDURE' AND created <> %s",
        (NAME, LONG_AGO),
    )
    return {name for (name,) in rows}


@pytest.mark.parametrize("name", CHANGES)
def test_procedure_changed_by_hand_is_created_again(shop: DatabaseShop, name: str) -> None:
    before = definition(shop, "restock")
    execute(shop, CHANGES[name])
    forget_when_created(shop)
    shop.migrate()
    assert "restock" in created_again(shop)
    assert definition(shop, "restock") == before


def test_unchanged_procedures_are_not_touched(shop: DatabaseShop) -> None:
    """CREATE waits for the calls that are running, and delays the next ones."""
    execute(shop, UNCHANGED)
    forget_when_created(shop)
    shop.migrate()
    assert created_again(shop) == set()
    shop.sql("ALTER PROCEDURE mark_stuck COMMENT 'looked at'")
    shop.migrate()
    assert created_again(shop) == {"mark_stuck"}


def test_procedure_without_a_file_is_left_alone(shop: DatabaseShop) -> None:
    """Functions of an older or a newer release may still call it."""
    shop.sql("CREATE PROCEDURE of_another_release() SELECT 1")
    before = definition(shop, "of_another_release")
    shop.migrate()
    assert definition(shop, "of_another_release") == before


def test_failing_procedure_is_named_with_the_databases_message(
    shop: DatabaseShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "PROCEDURES", tmp_path)
    (tmp_path / "bake.sql").write_text("CREATE OR REPLACE PROCEDURE bake() SELEKT 1")
    with pytest.raises(migrate.MigrationFailed, match=r"^bake\.sql: You have an error in your SQL"):
        shop.migrate()
