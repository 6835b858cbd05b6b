"""The result of a checkout is true, wherever its connection was cut: the database agrees with it.

`pytest tests/integration/test_cut_connections.py --cuts=500` cuts at that many random points, and
`--seed=17` replays one of them.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import pytest

from common.database import DatabaseUnavailable
from common.store import CheckoutResult
from local.polling import eventually
from tests.support.books import LOCK_STOCK
from tests.support.database_shop import (
    DatabaseShop,
    Functions,
    buy,
    connection_id,
    insert_before,
    kept_connection,
)
from tests.support.proxy import Proxy, Side, proxy_to

pytestmark = pytest.mark.usefixtures("many_connections")

Cut = Literal["client", "server", "kill"]
"""How a connection is cut: the proxy resets this side of it, or the server is told to kill it."""
SIDES: tuple[Side, ...] = get_args(Side)
CUTS: tuple[Cut, ...] = get_args(Cut)
CASES_PER_STATEMENT = 6 * len(CUTS)
"""How many cases `all_cases` yields for each name."""
WORKERS = 16
DISCONNECTED_WITHIN = 10
"""Seconds until the server has ended every connection that was cut."""
PAUSE = 1
"""Seconds for which the procedure sleeps before a statement."""
LOCKED_FOR = 0.3
"""Seconds for which a lock is held after the cut."""

STATEMENTS = {
    "START TRANSACTION": "    START TRANSACTION;\n    IF p_product_id",
    "UPDATE product": "    SET v_slot = ",
    "INSERT key": "    IF p_idempotency_key IS NULL THEN\n        INSERT",
    "INSERT row": "    IF v_sold THEN\n        INSERT",
    "SYSDATE": "    SET v_clock = ",
    "COMMIT": "    COMMIT;",
    "SELECT": "    IF v_sold THEN\n        SELECT",
}
"""Statements of the procedure `checkout`, and how the text begins before which it can sleep."""
LOCK_WAITS = {
    "UPDATE product": "%",
    "INSERT key": "%",
    "INSERT row": "Waiting for table metadata lock",
    "COMMIT": "Waiting for backup lock",
}
"""Statements that a lock can block, and the state in the process list of one that waits for it."""


@dataclass(frozen=True)
class Case:
    """A checkout whose connection is cut.

    Its requester identifies the purchase or the production order in the database.
    """

    requester: str
    product_id: str
    quantity: int
    has_key: bool
    cut: Cut

    @property
    def key(self) -> str | None:
        return f"key of {self.requester}" if self.has_key else None

    @property
    def order_id(self) -> str:
        return f"order-{abs(hash(self)):x}"

    def check_out(self, store: Functions) -> CheckoutResult | None:
        """Check out, and return the result, or None if the response would be 503."""
        try:
            return buy(
                store,
                self.quantity,
                product_id=self.product_id,
                requester=self.requester,
                idempotency_key=self.key,
                order_id=self.order_id,
            )
        except DatabaseUnavailable:
            return None


Results = dict[Case, CheckoutResult | None]


@pytest.fixture
def many_connections(shop: DatabaseShop) -> None:
    """Allow many connections, and end those that earlier tests have left to the garbage collector."""
    shop.sql("SET GLOBAL max_connections = 500")
    shop.sql("KILL USER shop_sales_password")


def add_products(shop: DatabaseShop, prefix: str, count: int) -> list[str]:
    """Add products with 1,000 pieces each, and return their ids.

    Checkouts of different products do not wait for each other's locks.
    """
    ids = [f"{prefix}-{number}" for number in range(count)]
    for id in ids:
        shop.add_product(id, product_id=id, stock=1000)
    return ids


def all_cases(names: list[str], products: list[str]) -> Iterator[Case]:
    """Yield all cases of each name: sold and out of stock, with and without a key, by each cut.

    Where a product has 16 slots, no slot has 100 pieces, so they are taken from several.
    """
    ids = iter(products)
    for name in names:
        for quantity in (1, 100, 5000):
            for has_key in (False, True):
                for cut in CUTS:
                    requester = f"{name}/{quantity}/{'key' if has_key else 'no key'}/{cut}"
                    yield Case(requester, next(ids), quantity, has_key, cut)


def connect_through(proxy: Proxy, shop: DatabaseShop) -> tuple[Functions, int]:
    """Return a store that is connected through the proxy, and the server's id of the connection."""
    store = Functions(replace(shop.database, database_port=proxy.port))
    store.product("donut")
    kept_connection(store).clock()
    return store, connection_id(store)


def cut_when_in_state(
    shop: DatabaseShop, case: Case, *, state: str, after_cut: Callable[[], object] = lambda: None
) -> CheckoutResult | None:
    """Check out, cut the connection once it is in this state, and return the checkout's result.

    state: a pattern for the state in the server's process list. after_cut: called after the cut.
    """

    def has_state() -> None:
        query = (
            "SELECT 1 FROM information_schema.processlist"
            " WHERE id = %s AND command = 'Query' AND state LIKE %s"
        )
        assert cursor.execute(query, (connection_id, state)), f"{case}: never {state}"

    with (
        proxy_to(shop.server.port) as proxy,
        shop.owner() as watching,
        watching.cursor() as cursor,
        ThreadPoolExecutor(1) as pool,
    ):
        store, connection_id = connect_through(proxy, shop)
        checkout = pool.submit(case.check_out, store)
        eventually(has_state, within=2)
        if case.cut == "kill":
            cursor.execute("KILL %s", (connection_id,))
        else:
            proxy.cut(case.cut)
        after_cut()
        return checkout.result()


def assert_database_agrees(shop: DatabaseShop, results: Results) -> Counter[str]:
    """Compare each result with the database, and return how often each outcome occurred.

    The server may still execute a checkout whose connection was cut, so all of them must end first.
    """

    def disconnected() -> None:
        assert shop.connections() == []

    eventually(disconnected, within=DISCONNECTED_WITHIN)
    assert contradictions(shop, results) == []
    outcomes = Counter("503" if result is None else result.outcome for result in results.values())
    print(f"\nconnections cut: {len(results)}, {dict(outcomes)}")
    return outcomes


def contradictions(shop: DatabaseShop, results: Results) -> list[str]:
    """Describe each result that the database does not confirm."""
    purchases = Counter(requester for _, requester in shop.purchases())
    order_ids = dict(shop.sql("SELECT requester, order_id FROM production_order"))
    found = []
    for case, result in results.items():
        actual = purchases[case.requester], order_ids.get(case.requester)
        if result is None:
            expected: tuple[int, str | None] = (0, None)
        else:
            expected = (1, None) if result.purchased else (0, result.order_id)
        if actual != expected:
            found.append(f"{case}: the result is {result}, and the database has {actual}")
    return found


# --- before a statement


def test_result_is_true_after_a_cut_before_a_statement(
    shop: DatabaseShop,
) -> None:
    """Before START TRANSACTION nothing has happened; before SELECT the transaction is committed."""
    pauses = {
        beginning: f"    DO SLEEP(IF(p_requester LIKE '{name}/%', {PAUSE}, 0));\n"
        for name, beginning in STATEMENTS.items()
    }
    insert_before(shop, "checkout", pauses)
    products = add_products(shop, "before", CASES_PER_STATEMENT * len(STATEMENTS))
    cases = list(all_cases(list(STATEMENTS), products))
    cut_while_asleep = partial(cut_when_in_state, shop, state="User sleep")
    with ThreadPoolExecutor(WORKERS) as pool:
        results = dict(zip(cases, pool.map(cut_while_asleep, cases), strict=True))
    outcomes = assert_database_agrees(shop, results)
    assert outcomes["503"], "no checkout was cut before it was decided"
    assert outcomes["replayed"], "no result came from a second connection"


# --- during a statement


@contextmanager
def locked(shop: DatabaseShop, statement: str, cases: list[Case]) -> Iterator[None]:
    """Hold the lock that this statement of these checkouts waits for, until the block ends."""
    with shop.owner() as other, other.cursor() as cursor:
        if statement == "UPDATE product":
            cursor.execute("START TRANSACTION")
            cursor.execute(LOCK_STOCK)
        elif statement == "INSERT key":
            cursor.execute("START TRANSACTION")
            for case in cases:
                if case.key:
                    cursor.execute(
                        "INSERT INTO idempotency_key"
                        " (idempotency_key, request_hash, purchased, stock, created_at)"
                        " VALUES (%s, '', FALSE, 0, NOW())",
                        (case.key,),
                    )
                cursor.execute(
                    "INSERT INTO checkout_outcome (order_id, purchased, stock, created_at)"
                    " VALUES (%s, FALSE, 0, NOW())",
                    (case.order_id,),
                )
        elif statement == "INSERT row":
            cursor.execute("LOCK TABLES purchase READ, production_order READ")
        else:
            cursor.execute("BACKUP STAGE START")
            cursor.execute("BACKUP STAGE BLOCK_COMMIT")
        try:
            yield
        finally:
            cursor.execute("BACKUP STAGE END" if statement == "COMMIT" else "ROLLBACK")
            cursor.execute("UNLOCK TABLES")


def cut_during(shop: DatabaseShop, statement: str, cases: list[Case]) -> Results:
    """Cut the connections of all cases while the statement waits for a lock; release it later."""
    all_cut = threading.Barrier(len(cases) + 1)
    with ThreadPoolExecutor(len(cases)) as pool:
        with locked(shop, statement, cases):
            checkouts = [
                pool.submit(
                    cut_when_in_state,
                    shop,
                    case,
                    state=LOCK_WAITS[statement],
                    after_cut=all_cut.wait,
                )
                for case in cases
            ]
            all_cut.wait(timeout=10)
            threading.Event().wait(LOCKED_FOR)
        return {case: checkout.result() for case, checkout in zip(cases, checkouts, strict=True)}


def test_result_is_true_after_a_cut_during_a_statement(
    shop: DatabaseShop,
) -> None:
    results: Results = {}
    for number, statement in enumerate(LOCK_WAITS):
        products = add_products(shop, f"during-{number}", CASES_PER_STATEMENT)
        cases = list(all_cases([f"during {statement}"], products))
        if statement == "UPDATE product":
            # An out-of-stock checkout only reads the row, without waiting for its lock.
            cases = [case for case in cases if case.quantity < 5000]
        results |= cut_during(shop, statement, cases)
    outcomes = assert_database_agrees(shop, results)
    assert outcomes["503"], "no checkout was cut before it was decided"
    assert outcomes["replayed"], "no result came from a second connection"


# --- at a random point


def cut_at_random(
    shop: DatabaseShop, product_id: str, seed: int
) -> tuple[Case, CheckoutResult | None]:
    """Cut a checkout's connection after some bytes or some time; return the case and its result.

    The connection is a new or a kept one. Now and then the second connection is cut, too.
    """
    rng = random.Random(seed)
    side, has_key = rng.choice(SIDES), rng.random() < 0.3
    case = Case(f"seed {seed}", product_id, rng.choice([1, 100, 5000]), has_key, side)
    with proxy_to(shop.server.port) as proxy:
        is_kept = rng.random() < 0.8
        if is_kept:
            store, _ = connect_through(proxy, shop)
        else:
            store = Functions(replace(shop.database, database_port=proxy.port))
        cut = partial(proxy.cut, side)
        timers = []
        where = rng.choice(["in the request", "in the response", "after some time"])
        if where == "in the request":
            proxy.to_server.limit = rng.randint(0, 700 if is_kept else 2000)
            proxy.to_server.on_limit = cut
        elif where == "in the response":
            proxy.to_client.limit = rng.randint(0, 500 if is_kept else 4000)
            proxy.to_client.on_limit = cut
        else:
            timers.append(threading.Timer(rng.uniform(0, 0.005 if is_kept else 0.02), cut))
        if rng.random() < 0.2:
            timers.append(threading.Timer(rng.uniform(0.005, 0.05), cut))
        for timer in timers:
            timer.start()
        try:
            return case, case.check_out(store)
        finally:
            for timer in timers:
                timer.cancel()


def test_result_is_true_after_a_cut_at_a_random_point(
    shop: DatabaseShop, seeds: Callable[[str], Sequence[int]]
) -> None:
    products = add_products(shop, "random", WORKERS)
    with ThreadPoolExecutor(WORKERS) as pool:
        runs = [
            pool.submit(cut_at_random, shop, products[seed % WORKERS], seed)
            for seed in seeds("cuts")
        ]
        results: Results = dict(run.result() for run in runs)
    assert_database_agrees(shop, results)
