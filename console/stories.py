"""Stories: what goes wrong in the shop, how it heals, and that the books balance afterwards.

A story is a function that uses the shop and says what it sees. It fails with an AssertionError.
`make demo` tells the stories, and end-to-end tests run them. texts.py has what they say, in each
language.

A story waits for conditions, and for nothing else. It assumes that nobody else uses the shop. It
says what has happened after it has checked it.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from console.shop import PATIENCE, QUERY_SECONDS, Shop
from console.texts import ENGLISH
from local.files import locked
from local.polling import eventually
from local.processes import LocalError

OPENING_STOCK = 10
BUYERS = 20
MORE = 50
"""What is ordered when the stock is too low."""
RECEIVES = 5
"""How often the consumer receives a message before it is in the dead-letter queue."""


LOCK = "story.lock"
"""The file in the local cloud's directory that is locked while a story is told."""


class CannotTell(LocalError):
    """No story can be told now. key: of the text that says why."""

    def __init__(self, key: str) -> None:
        super().__init__(ENGLISH[key])
        self.key = key


class Say(Protocol):
    """Tells the listener what happens: the key of a text, and the values in it."""

    def __call__(self, key: str, /, **values: object) -> None: ...


Story = Callable[[Shop, Say], None]


@contextmanager
def telling(shop: Shop) -> Iterator[None]:
    """Tell stories in the block, and keep other processes from it. Raises CannotTell."""
    if not shop.has_local_factory():
        raise CannotTell("rejected.other_factory")
    busy = CannotTell("rejected.story_elsewhere")
    with locked(shop.cloud.directory / LOCK, busy=busy):
        yield


def tell(name: str, shop: Shop, say: Say) -> None:
    """Tell a story: what is expected, what happens, and the books. Raises AssertionError."""

    def say_of_story(key: str, /, **values: object) -> None:
        say(f"{name}.{key}", **values)

    shop.heal()
    say_of_story("title")
    say_of_story("expectation")
    STORIES[name](shop, say_of_story)
    compare_books(shop, say)


def compare_books(shop: Shop, say: Say) -> None:
    """Compare each product's stock with its entries, purchases and arrivals."""
    for line in shop.books():
        expected = line["entries"] - line["purchases"] + line["arrivals"]
        assert line["stock"] == expected, (
            f"the books do not balance: {line['slug']} should have {expected}, and has"
            f" {line['stock']}"
        )
        assert line["stock"] >= 0, f"{line['slug']} has a negative stock"
        numbers = {name: line[name] for name in ("entries", "purchases", "arrivals", "stock")}
        say("books", slug=line["slug"], **numbers)


def new_requester() -> str:
    """Return a customer's name that no earlier purchase has."""
    return f"console {uuid.uuid4().hex[:12]}"


def the_loop(shop: Shop, say: Say) -> None:
    """Buy, order more, and buy what has arrived."""
    requester = new_requester()
    shop.count_stock(OPENING_STOCK)
    say("counted", stock=OPENING_STOCK)
    assert shop.buy(1, requester=requester).purchased, "nothing was sold although there was enough"
    say("sold", stock=shop.stock())
    order_id = shop.order_more(MORE, requester=requester)
    say("ordered", quantity=MORE, order_id=order_id)
    shop.placed(order_id)
    say("placed")
    shop.wait_until_arrived(order_id)
    say("arrived", stock=shop.stock())
    assert shop.buy(MORE, requester=requester).purchased, "what has arrived was not sold"
    say("bought", quantity=MORE, stock=shop.stock())
    purchases = shop.purchases(requester)
    assert purchases == [1, MORE], f"the purchases are {purchases}"


def last_donut(shop: Shop, say: Say) -> None:
    """Let many customers buy the last piece at the same time."""
    requester = new_requester()
    shop.count_stock(1)
    say("counted")
    shop.look(BUYERS)  # Functions that have started already let them buy at the same moment.
    say("looked")
    with shop.broken("factory_off"):  # What arrives early would be sold to the last customers.
        checkouts = shop.rush(BUYERS, requester=requester)
    order_ids = {each.body["order_id"] for each in checkouts if not each.purchased}
    sold = sum(each.purchased for each in checkouts)
    assert sold == 1, f"the last donut was sold {sold} times"
    assert len(order_ids) == BUYERS - 1, f"{len(order_ids)} production orders were made"
    purchases = shop.purchases(requester)
    assert purchases == [1], f"the purchases are {purchases}"
    say("answered", sold=sold, out_of_stock=len(order_ids))
    shop.wait_until_arrived(*order_ids)
    say("arrived", stock=shop.stock())


def factory_outage(shop: Shop, say: Say) -> None:
    """Order from a factory that fails, until the order is in the dead-letter queue. Redrive it."""
    dead_before = shop.dead_letters()
    shop.count_stock(OPENING_STOCK)
    with shop.broken("factory_fails"):
        order_id = shop.order_more(MORE, requester=new_requester())
        say("ordered", quantity=MORE, order_id=order_id)

        def is_dead() -> None:
            assert shop.dead_letters() > dead_before, "nothing is in the dead-letter queue"

        eventually(is_dead, within=PATIENCE)
        attempts, status = len(shop.placed(order_id)), shop.status(order_id)
        assert attempts == RECEIVES, f"the factory has received the order {attempts} times"
        assert status == "published", f"the order is {status}"
        say("dead", attempts=attempts, status=status)
    say("healed", moved=shop.redrive())
    shop.wait_until_arrived(order_id)
    say("arrived", stock=shop.stock())


def sns_outage(shop: Shop, say: Say) -> None:
    """Order while SNS rejects everything. Then let the relay publish the order."""
    shop.count_stock(OPENING_STOCK)
    with shop.broken("sns"):
        checkout = shop.buy(MORE, requester=new_requester())
        assert checkout.status == 200, checkout
        say("answered", seconds=round(checkout.seconds, 2), message=checkout.body["message"])
        order_id = str(checkout.body["order_id"])
        status = shop.status(order_id)
        assert status == "requested", f"the order is {status}"
        say("waits", order_id=order_id, status=status)
    say("healed")
    shop.wait_until_arrived(order_id)
    say("arrived", stock=shop.stock())


def database_death(shop: Shop, say: Say) -> None:
    """Kill the database while a checkout stands in the middle of its transaction."""
    requester, key = new_requester(), str(uuid.uuid4())
    shop.count_stock(OPENING_STOCK)
    with (
        ThreadPoolExecutor(1) as buyer,
        shop.database() as blocker,
        blocker.cursor() as cursor,
    ):
        cursor.execute("LOCK TABLES purchase WRITE")
        response = buyer.submit(shop.buy, 1, requester=requester, key=key)
        eventually(lambda: _assert_waiting(shop), within=PATIENCE)
        say("in_the_middle")
        with shop.broken("database_killed"):
            say("killed")
            checkout = response.result()
            assert checkout.status == 503, f"without a database, the shop returns {checkout}"
            say("answered", status=checkout.status, seconds=round(checkout.seconds, 1))
    purchases = shop.purchases(requester)
    assert purchases == [], f"after the 503, the purchases are {purchases}"
    say("healed", purchases=len(purchases))
    first, again = (shop.buy_until_decided(1, requester=requester, key=key) for _ in range(2))
    assert first.purchased, "the repeated checkout was not sold"
    assert again.body == first.body, f"the same key returned {first.body} and {again.body}"
    purchases = shop.purchases(requester)
    assert purchases == [1], f"the purchases are {purchases}"
    say("repeated", message=first.body["message"])


def callbacks(shop: Shop, say: Say) -> None:
    """Forge callbacks, and let the true one come twice."""
    shop.count_stock(OPENING_STOCK)
    with shop.broken("factory_silent"):
        order_id = shop.order_more(MORE, requester=new_requester())
        path = str(shop.placed(order_id)[0]["payload"]["CallbackUrl"]).removeprefix(
            shop.cloud.endpoint
        )
    say("placed", order_id=order_id)
    route = path.partition("?")[0]
    for forged in (
        route,
        f"{route}?order={order_id}",
        f"{route}?order={order_id}&token={order_id}",
    ):
        status = shop.call_back(forged)
        assert status == 403, f"a forged callback returned {status}"
        say("forged", path=forged, status=status)
    assert shop.stock() == OPENING_STOCK, "a forged callback has added to the stock"
    with ThreadPoolExecutor(2) as factory:
        statuses = list(factory.map(shop.call_back, [path, path]))
    assert statuses == [200, 200], f"the callbacks returned {statuses}"
    stock = shop.stock()
    assert stock == OPENING_STOCK + MORE, f"the order has not arrived exactly once: {stock}"
    say("twice", statuses=statuses, stock=stock)


def the_original(shop: Shop, say: Say) -> None:
    """Sell from a table as the original did, and the same from the shop."""
    each = 10
    stock = BUYERS * each

    def count(sold: int, left: int) -> None:
        say("counted", sold=sold, fell=stock - left, lost=sold - (stock - left))

    sold, left = _sell_as_the_original(shop, stock=stock, purchases=each, counted=count)
    lost = sold - (stock - left)
    assert lost > 0, "the original has lost nothing this time"
    say("original", sold=sold, fell=stock - left, lost=lost)
    requester = new_requester()
    shop.count_stock(stock)
    answers = [checkout.body for checkout in shop.rush(BUYERS, requester=requester)]
    sold = sum(answer["purchased"] for answer in answers)
    fell = stock - shop.stock()
    assert sold == BUYERS, f"{sold} were sold"
    told = sorted(answer["stock"] for answer in answers)
    assert told == list(range(stock - sold, stock)), f"the customers were told of {told}"
    assert fell == sold, f"{sold} were sold, and the stock fell by {fell}"
    say("ours", sold=sold, fell=fell, lost=sold - fell)


# The statements of the original's checkout, in their order, each on its own:
#   getProduct('CP-502101')                              reads the product with its stock
#   product.stock >= 0 && product.stock >= count         decides in the program
#   setStock(product.product_id, product.stock - count)  writes what the program has computed
SCRATCH = "the_original"
GET_PRODUCT = "SELECT product_id, sku, stock FROM the_original.product WHERE sku = 'CP-502101'"
SET_STOCK = "UPDATE the_original.product SET stock = %s WHERE product_id = %s"


def _sell_as_the_original(
    shop: Shop, *, stock: int, purchases: int, counted: Callable[[int, int], None]
) -> tuple[int, int]:
    """Let customers buy one piece at a time, as the original did, from a table of its own.

    Each of the BUYERS makes so many `purchases`, all of them at the same moment. `counted` gets, each
    time when nobody buys, how many pieces were sold, and how many the table says are left. These
    numbers are also returned, in the end.
    """
    sold: list[bool] = []

    with shop.database() as connection, connection.cursor() as cursor:

        def count() -> tuple[int, int]:
            cursor.execute(GET_PRODUCT)
            *_, left = cursor.fetchone() or (0,)
            return sum(sold), int(left)

        # All have to be there before the next purchase, so the last one to come can count.
        ready = threading.Barrier(BUYERS, action=lambda: counted(*count()) if sold else None)

        def buy() -> None:
            with shop.database() as connection, connection.cursor() as cursor:
                for _ in range(purchases):
                    ready.wait(timeout=QUERY_SECONDS)
                    cursor.execute(GET_PRODUCT)
                    product_id, _, in_stock = cursor.fetchone() or ("", "", 0)
                    if in_stock >= 1:
                        cursor.execute(SET_STOCK, (in_stock - 1, product_id))
                    sold.append(in_stock >= 1)

        cursor.execute(f"CREATE OR REPLACE DATABASE {SCRATCH}")
        try:
            cursor.execute(
                f"CREATE TABLE {SCRATCH}.product (product_id CHAR(36) PRIMARY KEY,"
                " sku VARCHAR(20) NOT NULL, stock INT NOT NULL)"
            )
            cursor.execute(
                f"INSERT INTO {SCRATCH}.product VALUES (UUID(), 'CP-502101', %s)", (stock,)
            )
            with ThreadPoolExecutor(BUYERS) as pool:
                for buyer in [pool.submit(buy) for _ in range(BUYERS)]:
                    buyer.result()
            return count()
        finally:
            cursor.execute(f"DROP DATABASE {SCRATCH}")


def _assert_waiting(shop: Shop) -> None:
    """Check that a statement waits for a locked table."""
    with shop.database() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM information_schema.processlist"
            " WHERE state = 'Waiting for table metadata lock'"
        )
        assert cursor.fetchall(), "no checkout waits"


STORIES: dict[str, Story] = {
    story.__name__: story
    for story in (
        the_loop,
        last_donut,
        factory_outage,
        sns_outage,
        database_death,
        callbacks,
        the_original,
    )
}
