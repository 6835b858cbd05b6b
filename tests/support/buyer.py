"""A program that buys one donut for each requester on its standard input, and prints each outcome.

It runs as a process of its own, so that its clock can differ from the test's.
"""

import sys

from common import database, environment
from common.database import DatabaseUnavailable
from common.store import Store
from tests.support.database_shop import buy
from tests.support.fakes import FakeSecrets


def main() -> None:
    host, port, name, ca_file, username, password = sys.argv[1:]
    secrets = FakeSecrets({"sales": {"username": username, "password": password}})
    database.secret = secrets.secret
    config = environment.Database(
        database_host=host,
        database_port=int(port),
        database_name=name,
        database_ca_file=ca_file,
        database_secret_arn="sales",
    )
    store = Store(config)
    for line in sys.stdin:
        try:
            outcome = buy(store, 1, requester=line.strip()).outcome
        except DatabaseUnavailable as error:
            outcome = f"503 {error}"
        print(outcome, flush=True)


if __name__ == "__main__":
    main()
