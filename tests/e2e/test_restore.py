"""A database that is gone, and comes back as it was at its last snapshot; here, a dump stands for the snapshot."""

import subprocess

import requests

from local.factory import Answer
from tests.support.books import NAME
from tests.support.deployed_shop import PATIENCE, Shop
from tests.support.polling import eventually


def client(shop: Shop, program: str, *arguments: str, stdin: bytes = b"") -> bytes:
    command = [program, f"--defaults-extra-file={shop.cloud.mysql_cnf}", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=60).stdout


def test_what_the_snapshot_knew_is_right_again_and_late_callbacks_arrive(shop: Shop) -> None:
    shop.factory.answer = lambda order: Answer(deliver=False)
    order_id = shop.order_more(50)
    callback = shop.factory_call(order_id).payload["CallbackUrl"]
    assert shop.checkout(3).json()["purchased"]
    snapshot = client(
        shop, "mariadb-dump", "--routines", "--single-transaction", "--databases", NAME
    )

    assert shop.checkout(2).json()["purchased"]  # after the snapshot: no backup can know of it
    client(shop, "mariadb", "--database=mysql", stdin=f"DROP DATABASE {NAME}".encode())
    assert shop.request("GET", "/product/donut").status_code == 503
    assert requests.post(callback, timeout=10).status_code == 503

    client(shop, "mariadb", "--database=mysql", stdin=snapshot)
    migration = shop.cloud.client("lambda").invoke(
        FunctionName="donut-shop-migrate-local", Payload=b"{}"
    )
    assert "FunctionError" not in migration, migration["Payload"].read()

    def open_again() -> None:
        assert shop.request("GET", "/product/donut").json()["stock"] == 7

    eventually(open_again, within=PATIENCE)
    assert shop.ledger() == [(3, "unknown")]
    assert [requests.post(callback, timeout=10).json()["stock"] for _ in range(2)] == [57, 57]
    assert shop.status(order_id) == "arrived"
    assert shop.checkout(1).json()["stock"] == 56
