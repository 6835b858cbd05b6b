"""503 means not sold: connections are cut on one side, and each answer is compared with the ledger ten seconds later.

`pytest tests/integration/test_cut_connections.py --cuts=500` cuts at that many random points; `--seed=17` replays
one of them.
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
from migrate.handler import PROCEDURES
from tests.support.database_shop import Functions, Shop, buy, connection_id, kept_connection
from tests.support.polling import eventually
from tests.support.proxy import Proxy, Side, proxy_to

Cut = Literal["client", "server", "killed"]
"""Who hears of the cut: the client, the server, or the server that was told to KILL the connection."""
SIDES: tuple[Side, ...] = get_args(Side)
WAYS: tuple[Cut, ...] = get_args(Cut)
CASES = 4 * len(WAYS)
"""For each statement: see `cases_of`."""
WORKERS = 16
RECONCILED_AFTER = 10
PAUSE = 1
"""How long an instrumented procedure stops before a statement."""
HELD = 0.3
"""How long a lock is held on after the cut."""

STATEMENTS = {
    "START TRANSACTION": "    START TRANSACTION;",
    "UPDATE product": "    decide: LOOP",
    "INSERT key": "    IF p_idempotency_key IS NULL THEN\n        INSERT",
    "INSERT row": "    IF v_sold THEN\n        INSERT",
    "SYSDATE": "    SET v_clock = ",
    "COMMIT": "    COMMIT;",
    "SELECT": "    IF v_sold THEN\n        SELECT",
}
"""Each statement of the procedure `checkout` that can be stopped before, and how its text begins."""


@dataclass(frozen=True)
class Case:
    """One checkout, known in the ledger by its requester."""

    requester: str
    product_id: str
    quantity: int
    keyed: bool
    cut: Cut

    def send(self, store: Functions, *, order_id: str) -> CheckoutResult | None:
        """None: 503."""
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


Answers = dict[Case, CheckoutResult | None]


def add_products(shop: Shop, prefix: str, count: int) -> list[str]:
    """Add so many products with 1,000 pieces each, so that cases need not wait for each other. Return their ids."""
    ids = [f"{prefix}-{number}" for number in range(count)]
    for id in ids:
        shop.sql("INSERT INTO product VALUES (%s, %s, %s, 'x', 1, 1000, 'FF-500293')", (id, id, id))
    return ids


def cases_of(names: list[str], products: list[str]) -> Iterator[Case]:
    """For each name: sold and out of stock, with and without a key, cut in each way."""
    ids = iter(products)
    for name in names:
        for quantity in (1, 5000):
            for keyed in (False, True):
                for cut in WAYS:
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
    """Send the checkout and cut its connection as soon as the server is in that state with it."""

    def is_there() -> None:
        query = "SELECT 1 FROM information_schema.processlist WHERE id = %s AND command = 'Query' AND state LIKE %s"
        assert cursor.execute(query, (connection_id, state)), f"{case}: never {state}"

    with (
        proxy_to(shop.server.port) as proxy,
        shop.owner() as watching,
        watching.cursor() as cursor,
        ThreadPoolExecutor(1) as pool,
    ):
        store, connection_id = warm(proxy, shop)
        answer = pool.submit(case.send, store, order_id=order_id_of(case))
        eventually(is_there, within=2)
        if case.cut == "killed":
            cursor.execute("KILL %s", (connection_id,))
        else:
            proxy.cut(case.cut)
        then()
        return answer.result()


def order_id_of(case: Case) -> str:
    return f"order-{abs(hash(case)):x}"


def cut_before_each_statement(shop: Shop) -> Answers:
    """Before the first it is START TRANSACTION's turn; what is before SELECT is after COMMIT."""
    procedure = (PROCEDURES / "checkout.sql").read_text()
    for name, beginning in STATEMENTS.items():
        assert procedure.count(beginning) == 1, name
        pause = f"    DO SLEEP(IF(p_requester LIKE '{name}/%', {PAUSE}, 0));\n"
        procedure = procedure.replace(beginning, pause + beginning)
    shop.sql(procedure.replace("%", "%%"))
    cases = list(cases_of(list(STATEMENTS), add_products(shop, "before", CASES * len(STATEMENTS))))
    with ThreadPoolExecutor(WORKERS) as pool:
        return dict(
            zip(cases, pool.map(partial(cut_while, shop, state="User sleep"), cases), strict=True)
        )


@contextmanager
def waiting_for(shop: Shop, statement: str, cases: list[Case]) -> Iterator[None]:
    """Let this statement of these checkouts wait for a lock."""
    with shop.owner() as other, other.cursor() as cursor:
        if statement == "UPDATE product":
            cursor.execute("START TRANSACTION")
            cursor.execute("SELECT * FROM product FOR UPDATE")
        elif statement == "INSERT key":
            cursor.execute("START TRANSACTION")
            for case in cases:
                key = f"key of {case.requester}"
                cursor.execute(
                    "INSERT INTO idempotency_key VALUES (%s, '', FALSE, 0, NULL, NOW())", (key,)
                )
                cursor.execute(
                    "INSERT INTO checkout_outcome VALUES (%s, FALSE, 0, NOW())",
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


def cut_during_each_statement(shop: Shop) -> Answers:
    """The lock that the statement waits for is released a little later, in the server's own time."""
    answers: Answers = {}
    products = iter(add_products(shop, "during", CASES * len(WAITS)))
    for statement, state in WAITS.items():
        cases = list(cases_of([f"during {statement}"], [next(products) for _ in range(CASES)]))
        if (
            statement == "UPDATE product"
        ):  # an out-of-stock checkout reads the row without waiting for it
            cases = [case for case in cases if case.quantity == 1]
        all_cut = threading.Barrier(len(cases) + 1)
        with ThreadPoolExecutor(len(cases)) as pool:
            with waiting_for(shop, statement, cases):
                cut = [
                    pool.submit(cut_while, shop, case, state=state, then=all_cut.wait)
                    for case in cases
                ]
                all_cut.wait(timeout=10)
                threading.Event().wait(HELD)
            answers |= {case: future.result() for case, future in zip(cases, cut, strict=True)}
    return answers


def cut_at_random(shop: Shop, product_id: str, seed: int) -> tuple[Case, CheckoutResult | None]:
    """Cut after some bytes or some time, on a new or a kept connection; now and then the second connection, too."""
    dice = random.Random(seed)
    side, keyed = dice.choice(SIDES), dice.random() < 0.3
    case = Case(f"seed {seed}", product_id, dice.choice([1, 1, 5000]), keyed, side)
    with proxy_to(shop.server.port) as proxy:
        kept = dice.random() < 0.8
        store = (
            warm(proxy, shop)[0]
            if kept
            else Functions(replace(shop.database, database_port=proxy.port))
        )
        cut = partial(proxy.cut, side)
        timers = []
        where = dice.choice(["in the request", "in the answer", "later"])
        if where == "in the request":
            proxy.to_server.limit, proxy.to_server.on_limit = (
                dice.randint(0, 700 if kept else 2000),
                cut,
            )
        elif where == "in the answer":
            proxy.to_client.limit, proxy.to_client.on_limit = (
                dice.randint(0, 500 if kept else 4000),
                cut,
            )
        else:
            timers.append(threading.Timer(dice.uniform(0, 0.005 if kept else 0.02), cut))
        if dice.random() < 0.2:
            timers.append(threading.Timer(dice.uniform(0.005, 0.05), cut))
        for timer in timers:
            timer.start()
        try:
            return case, case.send(store, order_id=order_id_of(case))
        finally:
            for timer in timers:
                timer.cancel()


def cut_at_random_points(shop: Shop, seeds: Sequence[int]) -> Answers:
    products = add_products(shop, "random", WORKERS)
    with ThreadPoolExecutor(WORKERS) as pool:
        runs = [pool.submit(cut_at_random, shop, products[seed % WORKERS], seed) for seed in seeds]
        return dict(run.result() for run in runs)


def contradictions(shop: Shop, answers: Answers) -> list[str]:
    """Name each answer that the database does not confirm."""
    bought = Counter(requester for _, requester in shop.ledger())
    ordered = dict(shop.sql("SELECT requester, order_id FROM production_order"))
    found = []
    for case, answer in answers.items():
        rows = bought[case.requester], ordered.get(case.requester)
        expected = (
            (0, None) if answer is None else (1, None) if answer.purchased else (0, answer.order_id)
        )
        if rows != expected:
            found.append(f"{case}: answered {answer}, and the database has {rows}")
    return found


@pytest.mark.usefixtures("undurable")
def test_no_answer_is_contradicted_by_the_ledger_ten_seconds_later(
    shop: Shop, seeds: Callable[[str], Sequence[int]]
) -> None:
    shop.sql("SET GLOBAL max_connections = 500")
    answers = (
        cut_during_each_statement(shop)
        | cut_at_random_points(shop, seeds("cuts"))
        | cut_before_each_statement(shop)
    )
    threading.Event().wait(RECONCILED_AFTER)
    assert contradictions(shop, answers) == []
    outcomes = Counter("503" if answer is None else answer.outcome for answer in answers.values())
    print(f"\nconnections cut: {len(answers)}, {dict(outcomes)}")
    assert outcomes["503"], "nothing was cut before it was decided"
    assert outcomes["replayed"], "nothing was found out on a second connection"
