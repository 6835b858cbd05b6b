"""The console's page in a window, as a person uses it, and what the shop itself says of the same.

The page's hooks are listed in console/page/index.html.
"""

import re
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page, expect

from console.texts import TEXTS
from local.polling import eventually
from tests.support.browser import HEIGHT, SHOWS_WITHIN, WIDTH, Windows
from tests.support.deployed_shop import DeployedShop

SHOWN = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const object = (elements, key, value) => Object.fromEntries(elements.map((e) => [key(e), value(e)]));
  return {
    numbers: object(all("[data-number]"), (e) => e.dataset.number, (e) => e.textContent),
    books: object(all("[data-book]"), (e) => e.dataset.book, (e) => e.textContent),
    checks: object(all("[data-check]"), (e) => e.dataset.check, (e) => e.dataset.holds),
    violations: all("[data-violation]").map((e) => e.textContent),
    orders: object(all("[data-order]"), (e) => e.dataset.order, (e) => e.dataset.at),
    dots: object(all("[data-dot]"), (e) => e.dataset.dot, (e) => e.dataset.at),
    broken: all("[data-part][data-broken=true]").map((e) => e.dataset.part),
  };
}"""
"""Reads everything that is compared with the database at one moment."""
PLACES = {
    "requested": {"outbox"},
    "published": {"topic", "queue", "consumer", "factory", "callback", "dead_letter"},
    "arrived": {"arrived"},
    "stuck": {"stuck"},
}
"""A production order's status in the database → where the page may show it."""
STORY_WITHIN = 90
"""Seconds that a story may take: two ways through the pipeline, and the way to a dead letter."""
CHECKS = ["balance", "not_negative", "one_order", "arrives_once", "key_sold_once"]


@dataclass(frozen=True)
class ConsolePage:
    """The page in one window. What it does waits until the page shows or allows it."""

    page: Page
    language: str

    @classmethod
    def open(
        cls, windows: Windows, url: str, language: str, *, width: int = WIDTH, height: int = HEIGHT
    ) -> "ConsolePage":
        """Open the page in a window, and wait until it shows the shop. url: of the console."""
        page = windows.open(f"{url}?lang={language}", width=width, height=height)
        console = cls(page, language)
        console.wait_until_live()
        return console

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def wait_until_live(self) -> None:
        expect(self.find("html")).to_have_attribute("data-connection", "live")

    def open_tab(self, name: str) -> None:
        """Open one of the tabs shop, api, counter, break and stories."""
        self.find(f"#tab-{name}").click()
        expect(self.find(f"#{name}")).to_be_visible()

    def buy(self, quantity: int, *, requester: str = "홍길동", key: str = "") -> None:
        """Buy at the counter."""
        self.open_tab("counter")
        self.find("#requester").fill(requester)
        self.find("#quantity").fill(str(quantity))
        self.find("#key").fill(key)
        self.find("[data-action=buy]").click()

    def responses(self) -> list[str | None]:
        """Return the status of each response to a customer, the last one first."""
        return [each.get_attribute("data-status") for each in self.find("[data-checkout]").all()]

    def expect_response(self, text: str) -> None:
        """Wait until the counter shows a response with this text."""
        expect(self.find("[data-result=counter]")).to_contain_text(text)

    def break_down(self, name: str, *, part: str) -> None:
        """Break something with its switch, and wait until the page shows it."""
        self.open_tab("break")
        self.find(f"[data-toggle={name}]").click()
        expect(self.find(f"[data-breakage={name}]")).to_have_attribute("data-broken", "true")
        self.expect_broken(part, True)

    def heal(self, name: str, *, part: str) -> None:
        """Heal something with the button at the pipeline, and wait until the page shows it."""
        self.find(f"[data-heal={name}]").click()
        expect(self.find(f"[data-broken-now={name}]")).to_have_count(0)
        self.expect_broken(part, False)

    def expect_broken(self, part: str, broken: bool) -> None:
        for station in self.find(f"[data-part={part}]").all():
            expect(station).to_have_attribute("data-broken", str(broken).lower())

    def run_story(self, name: str) -> None:
        """Start a story with the button of its card."""
        self.open_tab("stories")
        self.find(f"[data-run={name}]").click()

    def expect_story(self, name: str, state: str) -> None:
        """Wait for the state of a story."""
        card = self.find(f"[data-story={name}]")
        expect(card).to_have_attribute("data-state", state, timeout=STORY_WITHIN * 1000)

    def expect_order(self, order_id: str, place: str) -> None:
        """Wait until the order's row and its dot are at this place."""
        expect(self.find(f'[data-order="{order_id}"]')).to_have_attribute("data-at", place)
        expect(self.find(f'[data-dot="{order_id}"]')).to_have_attribute("data-at", place)

    def expect_hops(self, order_id: str, *hops: str) -> None:
        """Open the order's timeline, wait until it has these hops, and close it."""
        self.find(f'[data-order="{order_id}"]').click()
        for hop in hops:
            expect(self.find(f'#hops [data-hop="{hop}"]').first).to_be_visible()
        self.find("[data-close=order]").click()
        expect(self.find("#order")).to_be_hidden()

    def number(self, name: str) -> int | None:
        """Return a number that the page shows, or None."""
        return _number(self.find(f"[data-number={name}]").text_content() or "")

    def expect_what_the_shop_has(self, shop: DeployedShop) -> None:
        """Wait until the page shows the stock, the books, the orders and the counts of the shop.

        They are read from the database and the queues. The books balance, and no check of them
        has ever failed.
        """

        def equal() -> None:
            has, page = self._of_the_shop(shop), self.page.evaluate(SHOWN)
            statuses, places = has.pop("statuses"), page["orders"]
            shown = {
                "numbers": {name: page["numbers"][name] for name in has["numbers"]},
                **{name: page[name] for name in ("books", "checks", "violations", "broken")},
            }
            assert shown == has, f"the page shows {shown}, and the shop has {has}"
            assert places.keys() == statuses.keys(), f"{places} are shown of {statuses}"
            for order_id, status in statuses.items():
                place = places[order_id]
                assert place in PLACES[status], f"{order_id} is {status}, and shown in {place}"
                dot = page["dots"].get(order_id, place)
                assert dot == place, f"the dot of {order_id} is at {dot}, its row at {place}"

        eventually(equal, within=SHOWS_WITHIN)
        shop.assert_balanced()

    def _of_the_shop(self, shop: DeployedShop) -> dict[str, Any]:
        """Return what the page should show."""
        statuses = {order_id: status for order_id, status, _ in shop.orders()}
        count = list(statuses.values()).count
        visible, in_flight = messages(shop, "stock_queue")
        texts = TEXTS[self.language]
        return {
            "statuses": statuses,
            "numbers": {
                **{name: str(count(name)) for name in ("requested", "stuck")},
                "arrived": texts["page.arrived.day"].format(count=count("arrived")),
                **dict.fromkeys(("stock", "counter_stock"), str(shop.stock())),
                "visible": str(visible),
                "in_flight": texts["page.queue.in_flight"].format(count=in_flight),
                "dead_letters": str(sum(messages(shop, "stock_dlq"))),
            },
            "books": {
                book["slug"]: texts["page.books.line"].format(**book) for book in shop.lines()
            },
            "checks": dict.fromkeys(CHECKS, "true"),
            "violations": [],
            "broken": [],
        }


def messages(shop: DeployedShop, queue: str) -> tuple[int, int]:
    """Return how many messages of a queue are visible, and how many are in flight."""
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    attributes = shop.cloud.client("sqs").get_queue_attributes(
        QueueUrl=shop.queue_url(queue), AttributeNames=list(names)
    )["Attributes"]
    visible, in_flight = (int(attributes[name]) for name in names)
    return visible, in_flight


def _number(text: str) -> int | None:
    """Return the first number in a text, in which groups of digits are separated."""
    found = re.search(r"-?\d[\d,]*", text)
    return int(found[0].replace(",", "")) if found else None
