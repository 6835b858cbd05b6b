"""The console's page in a real browser: what it shows is what the database and the queues hold.

Each window fails its test if the browser reports an error, a failed request or forbidden content.
"""

import re
import struct
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Error, Page, expect

from console.texts import TEXTS
from local.breakage import breakages
from local.polling import eventually
from tests.support.accidents import make_due, run_relay
from tests.support.browser import HEIGHT, SHOWS_WITHIN, WIDTH, Windows
from tests.support.console_page import ConsolePage
from tests.support.deployed_shop import DeployedShop
from tests.support.picture import take_pictures
from tests.support.serving import QuietHandler, serving

NARROW = 360
"""Pixels: the width of a small phone."""
STAGE_SECONDS = 0.6
"""The factory works long enough on an order that a test sees it there."""
INJECTED = "<script>document.title = 'injected'</script><img src=x onerror=\"alert('injected')\">"
FIXED_TEXTS = """() => [...document.querySelectorAll("[data-text]")].map(
    (element) => [element.dataset.text, element.textContent])"""
TABS = ("counter", "break", "stories")
Open = Callable[..., ConsolePage]


@pytest.fixture
def url(shop: DeployedShop) -> Iterator[str]:
    """Return the URL of a console that has seen nothing yet, of a shop that is in order."""
    for queue in ("stock_queue", "stock_dlq"):
        shop.cloud.client("sqs").purge_queue(QueueUrl=shop.queue_url(queue))
    shop.cloud.console.stop(with_children=False)
    shop.cloud.start_console()
    yield shop.cloud.console_url
    for each in breakages(shop.cloud).values():
        each.end()
    shop.cloud.console.stop(with_children=False)


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[Open]:
    """Return a function that opens the console's page in a window of another person.

    Nothing may go wrong in any of the windows.
    """
    opened: list[Windows] = []

    def open_page(language: str = "ko", width: int = WIDTH, height: int = HEIGHT) -> ConsolePage:
        opened.append(Windows(browser))
        return ConsolePage.open(opened[-1], url, language, width=width, height=height)

    yield open_page
    problems = [problem for windows in opened for problem in windows.problems]
    for windows in opened:
        windows.close()
    assert problems == []


def only_order(shop: DeployedShop) -> str:
    """Wait until there is one production order, and return its id."""

    def order() -> str:
        ((order_id, _, _),) = shop.orders() or [("", "", 0)]
        assert order_id, "there is no order"
        return order_id

    return eventually(order, within=SHOWS_WITHIN)


def publish_if_requested(shop: DeployedShop, order_id: str) -> None:
    """Let the relay publish the order, if a busy function has left it to the relay."""
    statuses = {each: status for each, status, _ in shop.orders()}
    if statuses[order_id] == "requested":
        make_due(shop)
        run_relay(shop)


def publication(shop: DeployedShop, order_id: str) -> str:
    """Return the hop that says what became of the publication of an order that has arrived.

    If SNS takes a message and its response is late, the order can arrive before it is published
    for the database: the checkout has left it to the relay, which then had nothing to do.
    """
    published = shop.sql(
        "SELECT 1 FROM production_order WHERE published_at IS NOT NULL AND order_id = %s",
        (order_id,),
    )
    return "published" if published else "left to the relay"


def test_loop(open_page: Open, shop: DeployedShop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A purchase, an order on its way, its arrival, another purchase."""
    monkeypatch.setattr(shop.factory, "stage_seconds", STAGE_SECONDS)
    console = open_page()
    console.find("[data-action=buy_one]").click()
    console.expect_response("구매 완료! 남은 재고: 9")
    console.buy(50)
    console.expect_response("구매 실패! 남은 재고: 9")
    order_id = only_order(shop)
    publish_if_requested(shop, order_id)
    dot = console.find(f'[data-dot="{order_id}"]')
    expect(dot).to_have_attribute("data-at", "factory")
    expect(dot).to_have_attribute("data-stage", re.compile("[1-5]"))
    console.expect_order(order_id, "arrived")
    console.buy(50, key="the second try")
    console.expect_response("구매 완료! 남은 재고: 9")
    console.find("[data-action=again]").click()
    expect(console.find("[data-checkout]")).to_have_count(4)
    assert console.responses() == ["200"] * 4
    assert shop.purchases() == [(1, "console"), (50, "홍길동")]
    published = publication(shop, order_id)
    console.expect_hops(order_id, "requested", published, "placed", "stage", "arrived")
    for mark in ("purchase", "out_of_stock", "arrival"):
        expect(console.find(f"[data-mark={mark}]")).not_to_have_attribute("data-count", "0")
    console.expect_what_the_shop_has(shop)


def test_dead_letter_is_redriven(open_page: Open, shop: DeployedShop) -> None:
    """In two windows, which show the same, also what happened before the second was opened."""
    console = open_page("en")
    console.break_down("factory_fails", part="factory")
    console.buy(40)
    order_id = only_order(shop)
    console.expect_order(order_id, "queue")
    expect(console.find("[data-number=receives]")).to_have_text(re.compile("of 5"))
    other = open_page("ko")
    other.expect_broken("factory", True)
    expect(other.find("[data-checkout]")).to_have_count(1)
    for window in (console, other):
        window.expect_order(order_id, "dead_letter")
        assert window.number("dead_letters") == 1
    other.heal("factory_fails", part="factory")
    console.expect_broken("factory", False)
    console.find("[data-action=redrive]").click()
    for window in (console, other):
        window.expect_order(order_id, "arrived")
        window.expect_hops(order_id, "not placed", "placed", "arrived")
        for mark in ("broken", "healed"):
            expect(window.find(f"[data-mark={mark}]")).to_have_attribute("data-count", "1")
        window.expect_what_the_shop_has(shop)
    assert shop.stock() == 50


def test_order_waits_in_the_outbox(open_page: Open, shop: DeployedShop) -> None:
    console = open_page()
    console.break_down("sns", part="topic")
    console.buy(40)
    order_id = only_order(shop)
    console.expect_order(order_id, "outbox")
    assert console.number("requested") == 1
    console.heal("sns", part="topic")
    make_due(shop)
    console.find("[data-action=relay]").click()
    console.expect_order(order_id, "arrived")
    console.expect_what_the_shop_has(shop)


def test_database_is_away_and_comes_back(open_page: Open, shop: DeployedShop) -> None:
    """The same key says whether something was sold."""
    console = open_page("en")
    console.break_down("database_killed", part="database")
    expect(console.find("[data-notice=problem-database]")).to_be_visible()
    console.buy(3, key="one and the same")
    console.expect_response("503")
    console.heal("database_killed", part="database")
    expect(console.find("[data-notice=problem-database]")).to_have_count(0)

    def sold() -> None:
        console.find("[data-action=again]").click()
        console.expect_response("200")

    eventually(sold, within=SHOWS_WITHIN)
    assert shop.purchases() == [(3, "홍길동")]
    console.expect_what_the_shop_has(shop)


def test_rush(open_page: Open, shop: DeployedShop) -> None:
    shop.set_stock(30)
    console = open_page("en")
    console.find("#buyers").fill("40")
    console.find("#at_once").fill("10")
    console.find("[data-action=rush]").click()

    def all_have_bought() -> None:
        counts = [console.number(name) for name in ("sold", "out_of_stock", "failed", "lost")]
        recorded = [len(shop.purchases()), len(shop.orders())]
        assert counts == [*recorded, 0, 0], f"{counts} are shown, and {recorded} are recorded"
        assert sum(recorded) == 40, recorded

    eventually(all_have_bought, within=SHOWS_WITHIN)
    assert (console.number("p50") or 0) <= (console.number("p99") or 0)
    for order_id, _, _ in shop.orders():
        publish_if_requested(shop, order_id)
        shop.wait_for(order_id)
    console.expect_what_the_shop_has(shop)


def test_markup_stays_text(open_page: Open, shop: DeployedShop) -> None:
    """As a requester, as a key, and in the filter of the log."""
    console = open_page()
    title, scripts = console.page.title(), console.find("script").count()
    console.buy(1, requester=INJECTED)
    console.expect_response("구매 완료!")
    console.buy(40, requester=INJECTED, key=INJECTED)
    console.expect_response("구매 실패!")
    console.find("#log-order").fill(INJECTED)
    console.find("[data-action=clear_log]").click()
    order_id = only_order(shop)
    console.expect_order(order_id, "arrived")
    console.expect_hops(order_id, "arrived")
    expect(console.find("[data-checkout] code").first).to_have_attribute("title", INJECTED)
    assert shop.purchases() == [(1, INJECTED)]
    assert shop.placed_order(order_id).payload["MessageAttributeRequester"] == INJECTED
    console.expect_what_the_shop_has(shop)
    assert console.find("img").count() == 0
    assert console.find("script").count() == scripts
    assert console.page.title() == title


def assert_narrow(window: ConsolePage, what: str) -> None:
    """Check that nothing in the window is wider than a small phone."""
    width = window.page.evaluate("document.documentElement.scrollWidth")
    assert width == NARROW, f"{what} in {window.language} is {width} pixels wide"


def test_narrow_page_never_scrolls_sideways(open_page: Open, shop: DeployedShop) -> None:
    """With something in every list: orders, responses, marks, breakages, log lines."""
    console, other = (open_page(language, width=NARROW, height=740) for language in TEXTS)
    console.buy(1)
    console.buy(40, requester="가" * 200, key="k" * 255)
    order_id = only_order(shop)
    console.expect_order(order_id, "arrived")
    console.break_down("sqs", part="queue")
    for window in (console, other):
        for tab in TABS:
            window.open_tab(tab)
            assert_narrow(window, tab)
        window.find(f'[data-order="{order_id}"]').click()
        expect(window.find('#hops [data-hop="arrived"]').first).to_be_visible()
        assert_narrow(window, "order")
        window.find("[data-close=order]").click()
        window.open_tab("break")
        window.find("[data-runbook]").first.click()
        expect(window.find("#runbook-text p").first).to_be_visible()
        assert_narrow(window, "runbook")
        window.find("[data-close=runbook]").click()
    console.heal("sqs", part="queue")
    for window in (console, other):
        window.expect_what_the_shop_has(shop)
    console.open_tab("api")
    expect(console.find("#api-frame").content_frame.locator("[data-path]").first).to_be_visible()
    assert_narrow(console, "api")


def press(page: Page, selector: str, key: str, *, by: str = "Tab") -> None:
    """Move the focus to the element with the keyboard, and press a key on it."""
    for _ in range(300):
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return page.keyboard.press(key)
        page.keyboard.press(by)
    raise AssertionError(f"{selector} is not reached with {by}")


def test_keyboard_is_enough(open_page: Open, shop: DeployedShop) -> None:
    """To buy, to read an order's timeline, to break and heal, and to change the language."""
    console = open_page()
    page = console.page
    expect(console.find("[data-action=buy]")).to_be_enabled()  # Enter presses it
    press(page, "#requester", "Control+A")
    page.keyboard.type("키보드")
    press(page, "#quantity", "Control+A")
    page.keyboard.type("40")
    page.keyboard.press("Enter")
    console.expect_response("구매 실패!")
    order_id = only_order(shop)
    console.expect_order(order_id, "arrived")
    press(page, f'[data-order="{order_id}"]', "Enter")
    expect(page.locator("#hops [data-hop=arrived]").first).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#order")).to_be_hidden()
    press(page, "#tab-counter", "ArrowRight", by="Shift+Tab")
    press(page, "[data-toggle=factory_off]", "Space")
    console.expect_broken("factory", True)
    press(page, "[data-heal=factory_off]", "Enter", by="Shift+Tab")
    console.expect_broken("factory", False)
    console.expect_what_the_shop_has(shop)
    press(page, ".languages a[lang=en]", "Enter", by="Shift+Tab")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    ConsolePage(page, "en").wait_until_live()


def test_page_is_in_one_language(open_page: Open, shop: DeployedShop) -> None:
    """English after a click on the link, and Korean again after another one."""
    page = open_page("ko").page
    for language in ("en", "ko"):
        page.locator(f".languages a[lang={language}]").click()
        expect(page.locator("html")).to_have_attribute("lang", language)
        console = ConsolePage(page, language)
        console.wait_until_live()
        console.expect_what_the_shop_has(shop)
        for tab in TABS:
            console.open_tab(tab)
        texts = TEXTS[language]
        assert page.title() == texts["page.title"]
        for key, text in page.evaluate(FIXED_TEXTS):
            assert text == texts[key], f"{key} in {language}"
        text = page.locator("body").inner_text()
        assert not re.findall(r"\bpage\.\w+", text), "a text is missing"
        korean = set(re.findall("[가-힣]{2,}", text))
        assert (korean <= {"한국어", "부산도너츠"}) == (language == "en"), korean


def test_api_is_described(open_page: Open, shop: DeployedShop) -> None:
    console = open_page("en")
    console.open_tab("api")
    frame = console.find("#api-frame").content_frame
    for path in ("/checkout", "/product/{slug}", "/order/{order_id}"):
        expect(frame.locator(f'[data-path="{path}"]').first).to_be_visible()
    console.open_tab("shop")
    console.expect_what_the_shop_has(shop)


def test_picture_is_taken_while_a_story_runs(
    open_page: Open, shop: DeployedShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `make picture` does, which waits until the story has passed."""
    monkeypatch.setattr(shop.factory, "stage_seconds", 2 * STAGE_SECONDS)
    picture = tmp_path / "console.png"
    take_pictures({picture: open_page("en")})
    # A PNG begins with its signature and the header's length and name; the size follows.
    signature, *size = struct.unpack(">8s8xII", picture.read_bytes()[:24])
    assert signature == b"\x89PNG\r\n\x1a\n"
    assert size == [WIDTH, HEIGHT]


class OtherPage(QuietHandler):
    """A page of another web site, which the same person visits."""

    def do_GET(self) -> None:
        self.send(HTTPStatus.OK, b"<!doctype html><title>other</title>", content_type="text/html")


@pytest.fixture
def other_page(browser: Browser) -> Iterator[Page]:
    """Return a window with a page of another origin. What the browser forbids it is expected."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), OtherPage)
    windows = Windows(browser)
    with serving(server):
        yield windows.open(f"http://127.0.0.1:{server.server_port}/")
        windows.close()


FETCH_TO_BUY = """(url) => fetch(url + "buy", {method: "POST", mode: "no-cors",
    body: JSON.stringify({quantity: 1, requester: "other"})})"""
FETCH_WITH_THE_HEADER = """(url) => fetch(url + "buy", {method: "POST",
    headers: {"X-Console": "1", "Content-Type": "application/json"},
    body: JSON.stringify({quantity: 1, requester: "other"})})"""
SUBMIT_TO_HEAL = """(url) => {
    const form = document.createElement("form");
    document.body.append(form);
    Object.assign(form, {action: url + "heal", method: "post"});
    form.submit();
}"""


def test_other_page_changes_nothing(
    open_page: Open, other_page: Page, url: str, shop: DeployedShop
) -> None:
    console = open_page()
    console.break_down("factory_slow", part="factory")
    for attack in (FETCH_TO_BUY, FETCH_WITH_THE_HEADER):
        with pytest.raises(Error, match="Failed to fetch"):
            other_page.evaluate(attack, url)
    other_page.evaluate(SUBMIT_TO_HEAL, url)
    other_page.wait_for_url(f"{url}heal")
    assert "message" in other_page.locator("body").inner_text()
    console.buy(2)
    console.expect_response("구매 완료!")
    assert shop.purchases() == [(2, "홍길동")]
    expect(console.find("[data-checkout]")).to_have_count(1)
    assert breakages(shop.cloud)["factory_slow"].remaining() > 0
    console.heal("factory_slow", part="factory")
    console.expect_what_the_shop_has(shop)


def test_other_page_reads_nothing(other_page: Page, url: str) -> None:
    for path in ("", "texts.json", "order/none"):
        with pytest.raises(Error, match="Failed to fetch"):
            other_page.evaluate(
                "(url) => fetch(url).then((response) => response.text())", url + path
            )
    read = """(url) => new Promise((resolve) => {
        const events = new EventSource(url);
        events.addEventListener("view", () => resolve("view"));
        events.addEventListener("error", () => resolve("error"));
    })"""
    assert other_page.evaluate(read, f"{url}events") == "error"


FORGED: dict[str, tuple[dict[str, str | None], HTTPStatus]] = {
    "another host": ({"Host": "shop.test"}, HTTPStatus.FORBIDDEN),
    "another origin": ({"Origin": "http://shop.test"}, HTTPStatus.FORBIDDEN),
    "an origin that is a file": ({"Origin": "null"}, HTTPStatus.FORBIDDEN),
    "no header": ({"X-Console": None}, HTTPStatus.FORBIDDEN),
    "nothing wrong": ({}, HTTPStatus.OK),
}
"""Headers that differ from those of the page, and the status."""


def test_post_needs_the_headers_of_the_page(url: str, shop: DeployedShop) -> None:
    own = {"X-Console": "1", "Origin": url.rstrip("/")}
    for case, (changed, status) in FORGED.items():
        response = requests.post(
            f"{url}buy",
            json={"quantity": 1, "requester": case},
            headers={**own, **changed},
            timeout=SHOWS_WITHIN,
        )
        assert response.status_code == status, f"{case}: {response.text}"
    assert shop.purchases() == [(1, "nothing wrong")]
