"""Create the functions' database users, give each exactly its grants, and drop former users."""

import re
from collections.abc import Iterable

import pymysql

REMOVED: tuple[str, ...] = ()
"""Users of functions that an earlier release had, but not the last one: the migration drops them.

The last release's functions still log in during a deployment, and after a rollback. A user that
this release removes from database_users.json is therefore listed in the next release.
"""


def create_user(cursor: pymysql.cursors.Cursor, user: str, *, password: str | None) -> None:
    """Create the user if it is missing, and set its password. password: None for IAM authentication."""
    account = account_of(cursor, user)
    if password is None:
        plugin = "IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'"
        cursor.execute(f"CREATE USER IF NOT EXISTS {account} {plugin} REQUIRE SSL")
        cursor.execute(f"ALTER USER {account} REQUIRE SSL")
    else:
        login = f"IDENTIFIED BY {cursor.connection.escape(password)} REQUIRE SSL"
        cursor.execute(f"CREATE USER IF NOT EXISTS {account} {login}")
        cursor.execute(f"ALTER USER {account} {login}")


def drop_user(cursor: pymysql.cursors.Cursor, user: str) -> None:
    """Drop the user if it exists. Its open connections stay open."""
    cursor.execute(f"DROP USER IF EXISTS {account_of(cursor, user)}")


def set_grants(
    cursor: pymysql.cursors.Cursor, user: str, grants: Iterable[str], *, schema: str
) -> None:
    """Give the user exactly these grants on the schema. Grants that it already has stay untouched.

    If the user has a grant too many, all its grants are revoked and given again, within
    milliseconds. Revoking a single grant is not always possible: the master user must hold that
    grant itself.
    """
    account = account_of(cursor, user)
    wanted = {normalized(re.sub(r"(\w+)$", rf"{schema}.\1", grant)) for grant in grants}
    cursor.execute(f"SHOW GRANTS FOR {account}")
    lines = [line for (line,) in cursor.fetchall()]
    held = {held_grant(line) for line in lines if line.startswith("GRANT ")} - {"USAGE ON *.*"}
    if held - wanted:
        cursor.execute(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {account}")
        held = set()
    for grant in sorted(wanted - held):
        cursor.execute(f"GRANT {grant} TO {account}")


def held_grant(line: str) -> str:
    """Return the grant in a line of SHOW GRANTS, normalized."""
    match = re.fullmatch(r"GRANT (.+?) TO .+?( WITH GRANT OPTION)?", line)
    assert match, line
    return normalized(match[1]) + (match[2] or "")


def normalized(grant: str) -> str:
    """Write a grant without quotes, with its columns in alphabetical order."""
    before, parenthesis, rest = grant.replace("`", "").partition("(")
    columns, _, after = rest.partition(")")
    return f"{before}({', '.join(sorted(columns.split(', ')))}){after}" if parenthesis else before


def account_of(cursor: pymysql.cursors.Cursor, user: str) -> str:
    """Return the user's account name on any host, quoted."""
    return f"{cursor.connection.escape(user)}@'%'"
