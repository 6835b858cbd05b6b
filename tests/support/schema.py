"""All that a schema consists of, in a form that can be compared."""

import re
from typing import Any

from tests.support.books import NAME, Books


def schema(books: Books) -> dict[str, tuple[Any, ...]]:
    """Return each table, procedure and trigger with what the server says would create it."""
    tables = books.sql(
        "SELECT CONCAT('TABLE `', table_name, '`') FROM information_schema.tables WHERE table_schema = %s"
        " UNION ALL SELECT CONCAT(routine_type, ' `', routine_name, '`') FROM information_schema.routines"
        " WHERE routine_schema = %s"
        " UNION ALL SELECT CONCAT('TRIGGER `', trigger_name, '`') FROM information_schema.triggers"
        " WHERE trigger_schema = %s ORDER BY 1",
        (NAME, NAME, NAME),
    )
    return {name: created_by(books, name) for (name,) in tables}


def created_by(books: Books, name: str) -> tuple[Any, ...]:
    """Return the row of SHOW CREATE, without the next value of AUTO_INCREMENT, which is data."""
    (row,) = books.sql(f"SHOW CREATE {name}")
    return tuple(re.sub(r" AUTO_INCREMENT=\d+", "", str(value)) for value in row)


def data(books: Books) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each table, as column → value, in the order of the primary key."""
    return {table: rows(books, table) for (table,) in books.sql("SHOW TABLES")}


def rows(books: Books, table: str) -> list[dict[str, Any]]:
    columns = [column for column, *_ in books.sql(f"SHOW COLUMNS FROM `{table}`")]
    return [
        dict(zip(columns, row, strict=True))
        for row in books.sql(f"SELECT * FROM `{table}` ORDER BY 1")
    ]
