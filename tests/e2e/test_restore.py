"""A lost database is restored from its last snapshot, in place of which the test uses a dump."""

import subprocess

from local.database.programs import program
from local.polling import eventually
from tests.support.books import NAME
from tests.support.deployed_shop import PATIENCE, DeployedShop, call_back
from tests.support.misbehaving import accept_without_callback


def client(shop: DeployedShop, name: str, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run a MariaDB program on the shop's server, and return what it prints."""
    command = [program(name), f"--defaults-extra-file={shop.cloud.mysql_cnf}", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=60).stdout


def test_restored_shop_works_and_accepts_late_callbacks(shop: DeployedShop) -> None:
    shop.factory.respond = accept_without_callback
    order_id = shop.order_more(50)
    callback_url = shop.callback_url(order_id)
    assert shop.checkout(3).json()["purchased"]
    snapshot = client(
        shop, "mariadb-dump", "--routines", "--single-transaction", "--databases", NAME
    )

    assert shop.checkout(2).json()["purchased"]  # lost: it is not in the snapshot
    client(shop, "mariadb", "--database=mysql", stdin=f"DROP DATABASE {NAME}".encode())
    assert shop.request("GET", "/product/donut").status_code == 503
    assert call_back(callback_url).status_code == 503

    client(shop, "mariadb", "--database=mysql", stdin=snapshot)
    shop.invoke("migrate")

    def works_again() -> None:
        assert shop.request("GET", "/product/donut").json()["stock"] == 7

    eventually(works_again, within=PATIENCE)
    assert shop.purchases() == [(3, "unknown")]
    assert [call_back(callback_url).json()["stock"] for _ in range(2)] == [57, 57]
    assert shop.status(order_id) == "arrived"
    assert shop.checkout(1).json()["stock"] == 56
