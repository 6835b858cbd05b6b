"""console/page in a real browser, with views that no shop on this machine has at the right moment."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, cast
from unittest import mock

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from console.actions import Actions, Rejected
from console.live import Live
from console.server import ConsoleServer
from console.texts import TEXTS
from console.view import Mark, Order, View
from local.polling import eventually
from tests.support.browser import SHOWS_WITHIN, Windows
from tests.support.console_views import AT, ORDERS, SCRIPT, VIEWS
from tests.support.fake_console import FakeActions, FakeLive
from tests.support.serving import serving

NARROW = 360
"""Pixels of a small phone."""
TABS = ("counter", "break", "stories")
CENTER = """element => {
  const box = element.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
}"""

COLOUR = "element => getComputedStyle(element).color"
SET_VISIBILITY = """state => {
  Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
  Object.defineProperty(document, "hidden", { value: state === "hidden", configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
KEEP_STREAMS = """
window.streams = [];
window.EventSource = class extends EventSource {
  constructor(...parameters) {
    super(...parameters);
    streams.push(this);
  }
};
"""
NEXT_HEARTBEAT = """() => new Promise((resolve) => {
  streams.at(-1).addEventListener("heartbeat", () => resolve(), { once: true });
})"""


@dataclass
class Shown:
    """The page in a window, and the stand-ins for what its server uses."""

    live: FakeLive
    actions: FakeActions
    windows: Windows
    server: ConsoleServer
    stop: Callable[[], None]
    """Stops the server."""

    def open(self, name: str, *, language: str = "en", width: int = 1280) -> Page:
        """Open the page with one of the VIEWS."""
        self.show(VIEWS[name])
        page = self.windows.open(f"{self.server.url}?lang={language}", width=width)
        expect(page.locator("html")).to_have_attribute("data-connection", "live")
        return page

    def show(self, view: View) -> None:
        self.live._change(view)


@contextmanager
def showing(windows: Windows) -> Iterator[Shown]:
    """Serve the page to the windows during the block."""
    live, actions = FakeLive(), FakeActions()
    server = ConsoleServer(cast(Live, live), cast(Actions, actions), port=0)
    with ExitStack() as stack:
        stack.enter_context(serving(server))
        yield Shown(live, actions, windows, server, stop=stack.close)
        windows.close()


@pytest.fixture
def shown(browser: Browser) -> Iterator[Shown]:
    with showing(Windows(browser)) as shown:
        yield shown


def open_all_tabs(page: Page) -> None:
    """Open each tab of the shop, and check that nothing is wider than the window."""
    for tab in TABS:
        page.locator(f"#tab-{tab}").click()
        expect(page.locator(f"#{tab}")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), tab


def moved(order: Order, **changes: Any) -> View:
    """Return the ordinary view after one of its orders has changed."""
    view = VIEWS["ordinary"]
    orders = [replace(each, **changes) if each == order else each for each in view.orders]
    return replace(view, orders=orders)


def is_within(dot: Locator, area: Locator) -> bool:
    """Return whether the middle of the dot is within the area."""
    x, y = dot.evaluate(CENTER)
    box = area.bounding_box()
    assert box
    return box["x"] <= x <= box["x"] + box["width"] and box["y"] <= y <= box["y"] + box["height"]


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("name", VIEWS)
def test_view_fits_into_a_narrow_window(name: str, language: str, shown: Shown) -> None:
    """In both languages, with every tab, and without an error on the browser's console."""
    page = shown.open(name, language=language, width=NARROW)
    open_all_tabs(page)
    assert shown.windows.problems == []


def test_page_works_in_a_browser_without_a_valid_language(browser: Browser) -> None:
    with showing(Windows(browser, locale=None)) as shown:
        page = shown.open("ordinary")
        expect(page.locator("#chart canvas")).to_be_visible()
        expect(page.locator("[data-book=donut]")).to_be_visible()
        expect(page.locator("[data-order]")).to_have_count(len(VIEWS["ordinary"].orders))
        assert shown.windows.problems == []


def test_part_that_fails_is_said_and_the_others_are_shown(shown: Shown) -> None:
    """The stock is not a part of this view, as no server would send it."""
    page = shown.open("account")
    shown.show(replace(VIEWS["ordinary"], samples=cast(Any, None)))
    expect(page.locator("[data-order]")).to_have_count(len(VIEWS["ordinary"].orders))
    expect(page.locator("[data-notice=failed-stock]")).to_contain_text("null")
    assert len(shown.windows.problems) == 1, "it is logged once"
    shown.show(VIEWS["ordinary"])
    expect(page.locator("#chart canvas")).to_be_visible()
    expect(page.locator("[data-notice=failed-stock]")).to_have_count(0)


def test_api_is_shown_and_nothing_can_be_sent_from_there(shown: Shown) -> None:
    page = shown.open("ordinary", width=NARROW)
    page.locator("#tab-api").click()
    frame = page.locator("#api-frame").content_frame
    frame.locator("[data-path='/checkout']").click()
    expect(frame.locator(".opblock-description").first).to_be_visible()
    for button in (".try-out", ".execute", ".authorize", ".authorization__btn"):
        expect(frame.locator(button)).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert shown.windows.problems == []


def test_dot_is_the_same_element_wherever_its_order_is(shown: Shown) -> None:
    page = shown.open("ordinary")
    order = ORDERS[0]
    dot = page.locator(f'[data-dot="{order.order_id}"]')
    dot.evaluate("element => { element.isTheSame = true; }")
    for place, stage, area in (
        ("outbox", None, "[data-place=outbox]"),
        ("queue", None, "[data-place=queue]"),
        ("factory", 0, '[data-stage-area="0"]'),
        ("factory", 4, '[data-stage-area="4"]'),
        ("dead_letter", 4, "[data-place=dead_letter]"),
        ("arrived", 5, "[data-place=arrived]"),
    ):
        shown.show(moved(order, place=place, stage=stage))
        expect(dot).to_have_attribute("data-at", place)
        expect(dot).to_have_attribute("data-stage", "" if stage is None else str(stage))
        dot.evaluate("dot => Promise.all(dot.getAnimations().map((each) => each.finished))")
        assert is_within(dot, page.locator(area)), f"{place}, stage {stage}"
        assert dot.evaluate("element => element.isTheSame"), place


def test_dot_appears_at_its_place_and_stands_still_without_a_report(shown: Shown) -> None:
    """Also when the time has come at which its message can be received again."""
    page = shown.open("ordinary")
    order = ORDERS[2]
    assert order.retry_at
    shown.show(replace(moved(order, retry_at=AT + 1), at=AT))
    expect(page.locator("#retry")).to_have_text(TEXTS["en"]["page.queue.retry"].format(seconds=0))
    dot = page.locator(f'[data-dot="{order.order_id}"]')
    expect(dot).to_have_attribute("data-at", "queue")
    assert is_within(dot, page.locator("[data-place=queue]"))
    page.set_viewport_size({"width": NARROW, "height": 900})

    def is_placed_again() -> None:
        assert is_within(dot, page.locator("[data-place=queue] .dots"))

    eventually(is_placed_again, within=SHOWS_WITHIN)
    assert dot.evaluate("dot => dot.getAnimations().length") == 0, "the dot travels"


def test_many_dots_fit_into_their_place(shown: Shown) -> None:
    page = shown.open("ordinary")
    orders = [replace(ORDERS[2], order_id=f"{number:08x}") for number in range(60)]
    shown.show(replace(VIEWS["ordinary"], orders=orders))
    dots = page.locator("[data-dot]")
    expect(dots).to_have_count(60)
    for dot in (dots.first, dots.nth(30), dots.last):
        assert is_within(dot, page.locator("[data-place=queue] .dots"))


def test_what_is_broken_says_what_customers_notice_and_when_it_heals(shown: Shown) -> None:
    page = shown.open("broken")
    expect(page.locator("[data-part][data-broken=true]")).to_have_count(4)
    line = page.locator("[data-broken-now=database_killed]")
    expect(line).to_contain_text(TEXTS["en"]["page.breakage.database_killed.notice"])
    expect(line).to_contain_text("heals by itself in 9")
    expect(page.locator("[data-part=database] .badge")).to_contain_text("broken, 9")
    expect(page.locator("[data-check=balance]")).to_have_attribute("data-holds", "false")
    expect(page.locator("[data-violation]")).to_contain_text("difference=1")
    expect(page.locator("[data-check=one_order]")).to_have_attribute("data-holds", "unknown")
    expect(page.locator("[data-notice=problem-database]")).to_contain_text("Can't connect")
    expect(page.locator("[data-notice^=alarm-]")).to_contain_text("StockDlqNotEmpty")


def test_nothing_can_be_done_while_a_story_is_told(shown: Shown) -> None:
    page = shown.open("broken")
    for button in ("buy", "buy_one", "rush", "stocktake", "heal_all", "redrive", "relay"):
        expect(page.locator(f"[data-action={button}]")).to_be_disabled()
    page.locator("#tab-break").click()
    for toggle in page.locator("[data-toggle]").all():
        expect(toggle).to_be_disabled()


def test_alarm_that_is_reported_late_is_shown_with_its_breakage(shown: Shown) -> None:
    view = VIEWS["ordinary"]
    page = shown.open("account")
    shown.show(replace(view, breakages=[replace(each, alarm=None) for each in view.breakages]))
    page.locator("#tab-break").click()
    alarm = page.locator("[data-breakage=sns] .alarm")
    expect(alarm).to_contain_text(TEXTS["en"]["page.alarm.none"])
    shown.show(view)
    expect(alarm).to_contain_text("OldestUnpublishedOrder ≥ 1")
    expect(alarm.locator("[data-runbook=OldestUnpublishedOrder]")).to_be_visible()


def test_prod_can_only_be_looked_at(shown: Shown) -> None:
    page = shown.open("account")
    expect(page.locator("#account")).to_contain_text("prod")
    for button in ("buy", "buy_one", "again", "rush", "redrive"):
        expect(page.locator(f"[data-action={button}]")).to_be_disabled()
    for button in ("stocktake", "heal_all", "relay"):
        expect(page.locator(f"[data-action={button}]")).to_be_hidden()
    for number in ("requested", "visible", "dead_letters", "stuck", "stock"):
        expect(page.locator(f"[data-number={number}]")).to_have_text("–")


def test_purchase_on_an_account_asks_first(shown: Shown) -> None:
    page = shown.open("asking")
    ask = page.locator("#ask")
    page.locator("[data-action=buy_one]").click()
    expect(ask).to_contain_text("dev")
    page.keyboard.press("Escape")
    expect(ask).to_be_hidden()
    expect(page.locator("[data-action=buy_one]")).to_be_enabled()
    assert shown.actions.calls == []
    page.locator("[data-action=buy_one]").click()
    page.locator("#ask-confirm").click()
    expect(page.locator("[data-result=counter]")).to_contain_text("200")
    assert shown.actions.calls == [("buy", 1, "console", None, None)]


def test_same_key_again_sends_the_same_purchase(shown: Shown) -> None:
    page = shown.open("ordinary")
    again = page.locator("[data-action=again]")
    expect(again).to_be_disabled()
    page.locator("[data-action=new_key]").click()
    page.locator("[data-action=buy]").click()
    expect(again).to_be_enabled()
    page.locator("#quantity").fill("7")
    again.click()
    expect(again).to_be_enabled()
    first, second = shown.actions.calls
    assert first == second
    assert first[3], "no key was sent"


@pytest.mark.parametrize("language", TEXTS)
def test_rejection_is_shown_in_the_language_of_the_page(language: str, shown: Shown) -> None:
    page = shown.open("ordinary", language=language)
    shown.actions.error = Rejected("rejected.busy", HTTPStatus.CONFLICT, name="rush")
    page.locator("[data-action=redrive]").click()
    reason = TEXTS[language]["rejected.busy"].format(name="rush")
    expect(page.locator("[data-result=pipeline]")).to_contain_text(reason)
    expect(page.locator("[data-result=pipeline]")).to_have_attribute("data-failed", "true")
    expect(page.locator("[data-action=redrive]")).to_be_enabled()


def test_html_in_what_is_reported_stays_text(shown: Shown) -> None:
    shown.live.orders[SCRIPT] = VIEWS["hostile"].orders[0]
    page = shown.open("hostile")
    open_all_tabs(page)
    for selector in ("#environment", "#product-name", "[data-story] .reason", "[data-violation]"):
        expect(page.locator(selector)).to_contain_text(SCRIPT)
    for selector in ("[data-checkout]", "#log [data-log]", "[data-notice=problem-database]"):
        expect(page.locator(selector)).to_contain_text(SCRIPT)
    assert page.locator("script").count() == 3
    assert page.locator("img").count() == 0
    assert page.title() == TEXTS["en"]["page.title"]
    assert shown.windows.problems == []


def test_lost_connection_is_said_and_nothing_can_be_done(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = shown.open("ordinary")
    shown.stop()
    monkeypatch.setattr(shown.live, "wait", mock.Mock(side_effect=OSError))  # ends the stream
    expect(page.locator("html")).to_have_attribute("data-connection", "lost")
    expect(page.locator("[data-notice=lost]")).to_be_visible()
    expect(page.locator("[data-action=buy]")).to_be_disabled()


def test_hidden_page_keeps_no_stream_open(shown: Shown) -> None:
    """A browser has six connections to a host: six tabs would leave none for a seventh."""
    hidden, visible = (shown.open("ordinary") for _ in range(2))

    def watching(number: int) -> None:
        assert shown.live.watching == number

    hidden.evaluate(SET_VISIBILITY, "hidden")
    eventually(lambda: watching(1), within=SHOWS_WITHIN)
    shown.show(VIEWS["broken"])
    expect(visible.locator("#broken-now li")).to_have_count(4)
    expect(hidden.locator("#broken-now li")).to_have_count(0)
    hidden.evaluate(SET_VISIBILITY, "visible")
    expect(hidden.locator("#broken-now li")).to_have_count(4)
    expect(hidden.locator("html")).to_have_attribute("data-connection", "live")
    watching(2)
    assert shown.windows.problems == []


def test_silent_console_is_shown_as_lost(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that is stopped: its connections stay open."""
    page = shown.open("ordinary")
    page.clock.install()
    page.reload()
    root = page.locator("html")
    expect(root).to_have_attribute("data-connection", "live")
    goes_on = threading.Event()
    wait = shown.live.wait

    def wait_silently(seen: int, timeout: float) -> tuple[int, View]:
        goes_on.wait()
        return wait(seen, timeout)

    monkeypatch.setattr(shown.live, "wait", wait_silently)
    page.clock.fast_forward(24_000)
    expect(root).to_have_attribute("data-connection", "live")
    page.clock.fast_forward(2_000)
    expect(root).to_have_attribute("data-connection", "lost")
    expect(page.locator("[data-notice=lost]")).to_be_visible()
    goes_on.set()
    expect(root).to_have_attribute("data-connection", "live")


def test_heartbeat_keeps_the_connection(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    page = shown.open("ordinary")
    page.clock.install()
    page.add_init_script(KEEP_STREAMS)
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-connection", "live")
    monkeypatch.setattr("console.server.SILENCE_SECONDS", 0.05)
    for _ in range(3):
        page.evaluate(NEXT_HEARTBEAT)
        page.clock.fast_forward(20_000)
    expect(page.locator("html")).to_have_attribute("data-connection", "live")
    assert page.evaluate("streams.length") == 1, "the page has connected again"


def test_marks_are_counted_within_the_time_that_the_chart_shows(shown: Shown) -> None:
    page = shown.open("account")
    marks = [
        Mark(at=AT - before, kind="purchase", quantity=1)
        for before in (200_000, 181_000, 179_000, 0)
    ]
    shown.show(replace(VIEWS["ordinary"], marks=marks))
    expect(page.locator("[data-mark=purchase]")).to_have_attribute("data-count", "2")


def test_notice_can_be_dismissed_until_its_reason_comes_anew(shown: Shown) -> None:
    page = shown.open("broken")
    notice = page.locator("[data-notice=problem-database]")
    notice.locator("[data-dismiss]").click()
    expect(notice).to_have_count(0)
    expect(page.locator("[data-notice^=alarm-]")).to_be_visible()
    shown.show(replace(VIEWS["broken"], stories=[]))
    expect(page.locator("#no-stories")).to_have_count(1)
    expect(notice).to_have_count(0)
    shown.show(VIEWS["ordinary"])
    expect(page.locator("#broken-now li")).to_have_count(0)
    shown.show(VIEWS["broken"])
    expect(notice).to_be_visible()


def test_buttons_to_buy_differ(shown: Shown) -> None:
    page = shown.open("ordinary")
    expect(page.locator("[data-action=buy_one]")).to_be_visible()
    page.locator("#quantity").fill("1")
    expect(page.locator("[data-action=buy]")).to_have_text("Buy 1")
    expect(page.locator("[data-action=buy_one]")).to_be_hidden()


def test_out_of_stock_has_one_colour(shown: Shown) -> None:
    shown.actions.body = {"message": "구매 실패!", "purchased": False}
    page = shown.open("ordinary")
    page.locator("[data-action=buy]").click()
    result = page.locator("[data-result=counter]")
    expect(result).to_contain_text("구매 실패!")
    listed = page.locator("[data-checkout][data-outcome=out_of_stock] .text").first
    assert result.evaluate(COLOUR) == listed.evaluate(COLOUR)


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_dots_leave_the_counts_of_the_stages_visible(width: int, shown: Shown) -> None:
    page = shown.open("ordinary", width=width)
    orders = [replace(order, place="factory", stage=1) for order in ORDERS]
    shown.show(replace(VIEWS["ordinary"], orders=orders))
    expect(page.locator("[data-dot][data-stage='1']")).to_have_count(len(orders))
    expect(page.locator("[data-number=stages_1]")).to_be_visible()
    count = page.locator("[data-number=stages_1]").bounding_box()
    assert count

    def dots_are_above_it() -> None:
        for dot in page.locator("[data-dot]").all():
            box = dot.bounding_box()
            assert box
            assert box["y"] + box["height"] <= count["y"] + 1

    eventually(dots_are_above_it, within=SHOWS_WITHIN)


def test_log_is_filtered_by_time_level_and_order(shown: Shown) -> None:
    page = shown.open("ordinary")
    lines = page.locator("#log [data-log]")
    every = len(VIEWS["ordinary"].log)
    expect(lines).to_have_count(every)
    page.locator("#log-since").select_option("300")
    expect(lines).to_have_count(every - 1)
    page.locator("#log-level").select_option("WARNING")
    expect(lines).to_have_count(2)
    page.locator("#log-level").select_option("ERROR")
    expect(lines).to_have_count(1)
    page.locator("[data-action=clear_log]").click()
    page.locator("#log-order").fill(ORDERS[0].order_id[:8].upper())
    expect(lines).to_have_count(2)
