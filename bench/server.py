"""MariaDB servers whose syncs take a steady time, with the shop's tables on them."""

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.events import BAGEL
from local.database.mariadb import MariaDb
from tests.support.books import NAME
from tests.support.database_shop import DatabaseShop, create_database, shop_on

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
    directory = tempfile.mkdtemp(prefix="bench-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    library = Path(directory) / "sync.so"
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
        try:
            server.start()
            yield _migrated(server)
        finally:
            server.stop()


def _migrated(server: MariaDb) -> DatabaseShop:
    """Create the shop's tables, users and products on a new server."""
    create_database(server)
    with pytest.MonkeyPatch.context() as patch:
        shop = shop_on(server, patch)
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
