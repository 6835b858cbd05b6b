"""The slow-query log, which RDS sends to CloudWatch, holds neither names nor tokens nor passwords."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.database.mariadb import MariaDb
from local.polling import eventually
from settings import DATABASE_PARAMETERS
from tests.support.books import sql
from tests.support.database_shop import (
    SECRETS,
    TOKEN,
    DatabaseShop,
    arrive,
    buy,
    claim_orders,
    order_more,
)


@pytest.fixture
def slots() -> int:
    """Return one number of slots: two statements differ between them, and neither has data."""
    return 1


@pytest.fixture
def log(server: MariaDb) -> Iterator[Path]:
    """Let every statement be slow, and return the path of a log without those of other tests."""
    ((directory, name),) = sql(server, "SELECT @@datadir, @@slow_query_log_file")
    log = Path(directory) / name
    log.unlink(missing_ok=True)
    sql(server, "FLUSH SLOW LOGS")
    sql(server, "SET GLOBAL long_query_time = 0")
    yield log
    sql(server, f"SET GLOBAL long_query_time = {DATABASE_PARAMETERS['long_query_time']}")


def test_log_has_statements_without_names_tokens_and_passwords(
    log: Path, shop: DatabaseShop
) -> None:
    shop.migrate()
    store = shop.store()
    buy(store, 1, requester="홍길동")
    buy(store, 1, requester="홍길동", idempotency_key="a-key")
    order_id = order_more(store, 1000, requester="홍길동", publish_within=0)
    assert claim_orders(store).orders
    store.mark_published(order_id, overdue_after=900)
    arrive(store, order_id)
    store.backlog()

    def last_statement_is_logged() -> str:
        """Return the log. The server writes to it after it has responded."""
        logged = log.read_text(encoding="utf-8")
        assert "oldest_unpublished_seconds" in logged
        return logged

    logged = eventually(last_statement_is_logged, within=10)
    assert "SELECT JSON_OBJECT" in logged, "nothing of sales is logged"
    passwords = [login["password"] for login in SECRETS.values()]
    secrets = ("홍길동", "a-key", TOKEN, *passwords)
    assert [secret for secret in secrets if secret in logged] == []
