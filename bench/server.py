"""MariaDB servers whose syncs take an exact time, with the shop's tables on them."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from bench.events import BAGEL
from common import database, environment
from local.database.mariadb import MariaDb
from local.database.rds import create_master
from migrate import handler as migrate
from tests.support.books import NAME
from tests.support.database_shop import SECRETS, DatabaseShop, secret

SYNC_SOURCE = Path(__file__).with_name("sync.c")
PLENTY = 10**9
"""Donuts in stock: more than any part sells."""
OPTIONS = ("--max-connections=300", "--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M")


@functools.cache
def sync_library() -> Path | None:
    """Compile sync.c and return the library, or None without a compiler: the disk is used then."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler or sys.platform != "linux":
        return None
    library = Path(tempfile.mkdtemp(prefix="bench-")) / "sync.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SYNC_SOURCE)]
    subprocess.run(command, check=True)
    return library


@contextmanager
def shop(*, sync_us: int, binary_log: bool) -> Iterator[DatabaseShop]:
    """Start a server with plenty of donuts and no bagels, and delete it afterwards.

    sync_us: how long each sync takes, in microseconds. Every commit is durable, as on RDS.
    """
    library = sync_library()
    variables = {"LD_PRELOAD": str(library), "SYNC_US": str(sync_us)} if library else {}
    options = OPTIONS if binary_log else (*OPTIONS, "--skip-log-bin")
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        server = MariaDb(Path(directory), options=options, variables=variables)
        server.start()
        try:
            yield _migrated(server)
        finally:
            server.stop()


def _migrated(server: MariaDb) -> DatabaseShop:
    """Create the shop's tables, users and products on a new server."""
    master = SECRETS["master"]
    create_master(
        mysql_cnf=server.mysql_cnf, user="admin", password=master["password"], database=NAME
    )
    login = environment.Database(
        database_host="127.0.0.1",
        database_port=server.port,
        database_name=NAME,
        database_ca_file=str(server.ca_file),
        database_secret_arn="sales",
    )
    shop = DatabaseShop(server=server, database=login, secrets=SECRETS)
    variables = {
        "DATABASE_HOST": login.database_host,
        "DATABASE_PORT": str(login.database_port),
        "DATABASE_NAME": NAME,
        "DATABASE_CA_FILE": login.database_ca_file,
        "DATABASE_SECRET_ARN": "master",
        "USER_SECRET_ARNS": ",".join(migrate.DATABASE_USERS),
    }
    with (
        mock.patch.dict(os.environ, variables),
        mock.patch.object(database, "secret", secret),
        mock.patch.object(migrate, "secret", secret),
    ):
        shop.migrate()
    shop.set_stock(PLENTY)
    shop.add_product("bagel", product_id=BAGEL, stock=0)
    return shop


def login(shop: DatabaseShop) -> dict[str, Any]:
    """Return what the process of a side needs to connect, as JSON can hold it."""
    return {
        "host": shop.database.database_host,
        "port": shop.database.database_port,
        "database": NAME,
        "ca_file": shop.database.database_ca_file,
        "passwords": {entry["username"]: entry["password"] for entry in shop.secrets.values()},
    }
