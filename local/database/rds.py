"""Prepare a MariaDB server as RDS does when it creates a database instance."""

import re
import secrets
import string
import subprocess
from pathlib import Path

from local.database.programs import program

MASTER_PRIVILEGES = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, "
    "SHOW DATABASES, CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, "
    "REPLICATION CLIENT, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, CREATE USER, "
    "EVENT, TRIGGER"
)
"""All privileges except SUPER, FILE and SHUTDOWN."""

PASSWORD_LENGTH = 28


def managed_password() -> str:
    """Return a random password with punctuation, as RDS makes it."""
    alphabet = string.ascii_letters + string.digits + "!#$%&()*+-.:<=>?[]^_{|}~"
    return "".join(secrets.choice(alphabet) for _ in range(PASSWORD_LENGTH))


def create_master(*, mysql_cnf: Path, user: str, password: str, database: str) -> None:
    """Create the database and its master user.

    Change the password of an existing user, and keep existing data.
    """
    for name in (user, database):
        if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
            raise ValueError(f"{name!r} is not a name that RDS allows")
    run_sql(
        mysql_cnf,
        f"""
        CREATE DATABASE IF NOT EXISTS `{database}`;
        CREATE OR REPLACE USER `{user}`@`%` IDENTIFIED BY '{_escaped(password)}';
        GRANT {MASTER_PRIVILEGES} ON *.* TO `{user}`@`%` WITH GRANT OPTION;
        """,
    )


def create_iam_user(*, mysql_cnf: Path, user: str, emulator: Path) -> None:
    """Create a user that logs in with IAM tokens. emulator: the file with the port of the emulator.

    The migrations create these users, too, with a plugin that only RDS has. That statement succeeds
    here because it says `IF NOT EXISTS` and the user exists already.
    """
    login = f"`{user}`@`%` IDENTIFIED VIA pam USING '{_escaped(str(emulator))}' REQUIRE SSL"
    run_sql(mysql_cnf, f"CREATE USER IF NOT EXISTS {login}; ALTER USER {login};")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def run_sql(mysql_cnf: Path, sql: str) -> str:
    """Run SQL as root with MariaDB's own client, and return its output. Raises RuntimeError."""
    client = [
        program("mariadb"),
        f"--defaults-file={mysql_cnf}",
        "--batch",
        "--skip-column-names",
        "--database=",
    ]
    done = subprocess.run(
        client, input=sql, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise RuntimeError(f"MariaDB rejected the statement: {done.stderr.strip()}")
    return done.stdout
