"""Connections are cut during checkouts, and each result is compared with the database afterwards.

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
from tests.support.database_shop import (
    Functions,
    Shop,
    buy,
    connection_id,
    insert_before,
    kept_connection,
)
from tests.support.polling import eventually
from tests.support.proxy import Proxy, Side, proxy_to

Cut = Literal["client", "server", "killed"]
"""The side that notices the cut, or `killed`: the server was told to KILL the connection."""
SIDES: tuple[Side, ...] = get_args(Side)
CUTS: tuple[Cut, ...] = get_args(Cut)
CASES = 4 * len(CUTS)
"""How many cases `cases_of` has for each statement."""
WORKERS = 16
COMPARED_AFTER = 10
"""Seconds."""
PAUSE = 1
"""Seconds that an instrumented procedure stops before a statement."""
HELD = 0.3
"""Seconds that a lock is held after the cut."""

STATEMENTS = {
    "START TRANSACTION": "    START TRANSACTION;",
    "UPDATE product": "    decide: LOOP",
    "INSERT key": "    IF p_idempotency_key IS NULL THEN\n        INSERT",
    "INSERT row": "    IF v_sold THEN\n        INSERT",
    "SYSDATE": "    SET v_clock = ",
    "COMMIT": "    COMMIT;",
    "SELECT": "    IF v_sold THEN\n        SELECT",
}
"""How the statements of the procedure `checkout` begin, before which it can be stopped."""


@dataclass(frozen=True)
class Case:
    """One checkout. Its requester identifies its purchase or its production order."""

    requester: str
    product_id: str
    quantity: int
    keyed: bool
    cut: Cut

    def send(self, store: Functions, *, order_id: str) -> CheckoutResult | None:
        """Check out, and return the result; None where the response would be 503."""
        key = f"key of {self.requester}" if self.keyed else None
        try:
            return buy(
                store,
                self.quantity,
                product_id=self.product_id,
                requester=self.requester,
                idempotency_key=key,
                order_id=order_id,
            )
        except DatabaseUnavailable:
            return None


Results = dict[Case, CheckoutResult | None]


def add_products(shop: Shop, prefix: str, count: int) -> list[str]:
    """Add products with 1,000 pieces each, and return their ids.

    Cases with products of their own need not wait for each other's locks.
    """
    ids = [f"{prefix}-{number}" for number in range(count)]
    for id in ids:
        shop.add_product(id, product_id=id, stock=1000)
    return ids


def cases_of(names: list[str], products: list[str]) -> Iterator[Case]:
    """Yield every case of each name: sold and out of stock, with and without a key, each cut."""
    ids = iter(products)
    for name in names:
        for quantity in (1, 5000):
            for keyed in (False, True):
                for cut in CUTS:
                    requester = f"{name}/{quantity}/{'key' if keyed else 'no key'}/{cut}"
                    yield Case(requester, next(ids), quantity, keyed, cut)


def warm(proxy: Proxy, shop: Shop) -> tuple[Functions, int]:
    """Return a store whose kept connection goes through the proxy, and that connection's id."""
    store = Functions(replace(shop.database, database_port=proxy.port))
    store.product("donut")
    kept_connection(store).clock()
    return store, connection_id(store)


def cut_while(
    shop: Shop, case: Case, *, state: str, then: Callable[[], object] = lambda: None
) -> CheckoutResult | None:
    """Send the checkout, and cut its connection as soon as the server shows that state for it.

    Call `then` after the cut, and return the checkout's result.
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
        store, connection_id = warm(proxy, shop)
        checkout = pool.submit(case.send, store, order_id=order_id_of(case))
        eventually(has_state, within=2)
        if case.cut == "killed":
            cursor.execute("KILL %s", (connection_id,))
        else:
            proxy.cut(case.cut)
        then()
        return checkout.result()


def order_id_of(case: Case) -> str:
    return f"order-{abs(hash(case)):x}"


def cut_before_each_statement(shop: Shop) -> Results:
    """Let the procedure stop before each statement of STATEMENTS, and cut the connection meanwhile.

    Before START TRANSACTION nothing has happened yet; before SELECT the transaction is committed.
    """
    pauses = {
        beginning: f"    DO SLEEP(IF(p_requester LIKE '{name}/%', {PAUSE}, 0));\n"
        for name, beginning in STATEMENTS.items()
    }
    insert_before(shop, "checkout", pauses)
    cases = list(cases_of(list(STATEMENTS), add_products(shop, "before", CASES * len(STATEMENTS))))
    with ThreadPoolExecutor(WORKERS) as pool:
        return dict(
            zip(cases, pool.map(partial(cut_while, shop, state="User sleep"), cases), strict=True)
        )


@contextmanager
def waiting_for(shop: Shop, statement: str, cases: list[Case]) -> Iterator[None]:
    """Let this statement of these checkouts wait for a lock until the block ends."""
    with shop.owner() as other, other.cursor() as cursor:
        if statement == "UPDATE product":
            cursor.execute("START TRANSACTION")
            cursor.execute("SELECT * FROM product FOR UPDATE")
        elif statement == "INSERT key":
            cursor.execute("START TRANSACTION")
            for case in cases:
                key = f"key of {case.requester}"
                cursor.execute(
                    "INSERT INTO idempotency_key"
                    " (idempotency_key, request_hash, purchased, stock, created_at)"
                    " VALUES (%s, '', FALSE, 0, NOW())",
                    (key,),
                )
                cursor.execute(
                    "INSERT INTO checkout_outcome (order_id, purchased, stock, created_at)"
                    " VALUES (%s, FALSE, 0, NOW())",
                    (order_id_of(case),),
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


WAITS = {
    "UPDATE product": "%",
    "INSERT key": "%",
    "INSERT row": "Waiting for table metadata lock",
    "COMMIT": "Waiting for backup lock",
}
"""For each statement that can be made to wait, the state that the server shows for it meanwhile."""


def cut_during_each_statement(shop: Shop) -> Results:
    """Cut the connection while a statement of WAITS waits for a lock, which is released later."""
    results: Results = {}
    products = iter(add_products(shop, "during", CASES * len(WAITS)))
    for statement, state in WAITS.items():
        cases = list(cases_of([f"during {statement}"], [next(products) for _ in range(CASES)]))
        if statement == "UPDATE product":
            # An out-of-stock checkout reads the row, and does not wait for it.
            cases = [case for case in cases if case.quantity == 1]
        all_cut = threading.Barrier(len(cases) + 1)
        with ThreadPoolExecutor(len(cases)) as pool:
            with waiting_for(shop, statement, cases):
                checkouts = [
                    pool.submit(cut_while, shop, case, state=state, then=all_cut.wait)
                    for case in cases
                ]
                all_cut.wait(timeout=10)
                threading.Event().wait(HELD)
            results |= {
                case: checkout.result() for case, checkout in zip(cases, checkouts, strict=True)
            }
    return results


def cut_at_random(shop: Shop, product_id: str, seed: int) -> tuple[Case, CheckoutResult | None]:
    """Cut a checkout's connection after some bytes or some time; return the case and its result.

    The connection is a new or a kept one. Now and then the second connection is cut, too.
    """
    rng = random.Random(seed)
    side, keyed = rng.choice(SIDES), rng.random() < 0.3
    case = Case(f"seed {seed}", product_id, rng.choice([1, 1, 5000]), keyed, side)
    with proxy_to(shop.server.port) as proxy:
        kept = rng.random() < 0.8
        if kept:
            store, _ = warm(proxy, shop)
        else:
            store = Functions(replace(shop.database, database_port=proxy.port))
        cut = partial(proxy.cut, side)
        timers = []
        where = rng.choice(["in the request", "in the response", "later"])
        if where == "in the request":
            proxy.to_server.limit = rng.randint(0, 700 if kept else 2000)
            proxy.to_server.on_limit = cut
        elif where == "in the response":
            proxy.to_client.limit = rng.randint(0, 500 if kept else 4000)
            proxy.to_client.on_limit = cut
        else:
            timers.append(threading.Timer(rng.uniform(0, 0.005 if kept else 0.02), cut))
        if rng.random() < 0.2:
            timers.append(threading.Timer(rng.uniform(0.005, 0.05), cut))
        for timer in timers:
            timer.start()
        try:
            return case, case.send(store, order_id=order_id_of(case))
        finally:
            for timer in timers:
                timer.cancel()


def cut_at_random_points(shop: Shop, seeds: Sequence[int]) -> Results:
    products = add_products(shop, "random", WORKERS)
    with ThreadPoolExecutor(WORKERS) as pool:
        runs = [pool.submit(cut_at_random, shop, products[seed % WORKERS], seed) for seed in seeds]
        return dict(run.result() for run in runs)


def contradictions(shop: Shop, results: Results) -> list[str]:
    """Describe each result that the database does not confirm."""
    bought = Counter(requester for _, requester in shop.purchases())
    ordered = dict(shop.sql("SELECT requester, order_id FROM production_order"))
    found = []
    for case, result in results.items():
        rows = bought[case.requester], ordered.get(case.requester)
        purchases = 1 if result and result.purchased else 0
        order_id = result.order_id if result and not result.purchased else None
        if rows != (purchases, order_id):
            found.append(f"{case}: the result is {result}, and the database has {rows}")
    return found


@pytest.mark.usefixtures("undurable")
def test_result_agrees_with_the_database_after_a_cut(
    shop: Shop, seeds: Callable[[str], Sequence[int]]
) -> None:
    shop.sql("SET GLOBAL max_connections = 500")
    results = (
        cut_during_each_statement(shop)
        | cut_at_random_points(shop, seeds("cuts"))
        | cut_before_each_statement(shop)
    )
    threading.Event().wait(COMPARED_AFTER)
    assert contradictions(shop, results) == []
    outcomes = Counter("503" if result is None else result.outcome for result in results.values())
    print(f"\nconnections cut: {len(results)}, {dict(outcomes)}")
    assert outcomes["503"], "no checkout was cut before it was decided"
    assert outcomes["replayed"], "no result came from a second connection"
