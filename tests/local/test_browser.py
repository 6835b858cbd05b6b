"""tests/support/browser.py: whatever goes wrong in a page is noticed, in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from local.polling import eventually
from tests.support.browser import SHOWS_WITHIN, Windows

POLICY = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'">"""
PROBLEMS = {
    "error on the console": ("<script>console.error('too late')</script>", "too late"),
    "warning on the console": ("<script>console.warn('too late')</script>", "too late"),
    "exception": ("<script>null.stock</script>", "stock"),
    "rejected promise": ("<script>Promise.reject(new Error('too late'))</script>", "too late"),
    "failed request": ("<img src='http://127.0.0.1:9/donut.png'>", "GET http://127.0.0.1:9/donut"),
    "forbidden script": (f"{POLICY}<script>1</script>", "Content Security Policy"),
    "forbidden image": (f"{POLICY}<img src='http://127.0.0.1:9/'>", "Content Security Policy"),
    "dialog": ("<script>alert('an injected one')</script>", "an injected one"),
}
"""Name → what a page contains, and a part of what is recorded."""


@pytest.fixture
def windows(browser: Browser) -> Iterator[Windows]:
    windows = Windows(browser)
    yield windows
    windows.close()


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_goes_wrong_is_recorded(name: str, windows: Windows) -> None:
    content, recorded = PROBLEMS[name]
    page = windows.open(f"data:text/html,<!doctype html>{content}")

    def is_recorded() -> None:
        page.title()  # The browser's events arrive while it responds to something.
        assert recorded in "\n".join(windows.problems)

    eventually(is_recorded, within=SHOWS_WITHIN)


def test_nothing_is_recorded_if_nothing_goes_wrong(windows: Windows) -> None:
    page = windows.open(
        "data:text/html;charset=utf-8,<!doctype html><h1>도너츠</h1><script>1</script>"
    )
    assert page.locator("h1").text_content() == "도너츠"
    assert windows.problems == []


def test_browser_has_a_font_for_korean(windows: Windows) -> None:
    """Without one, each syllable is the same box, and the README's picture shows boxes."""
    text = "<p><span>가</span><p><span>힣</span><p><span>x</span>"
    page = windows.open(f"data:text/html;charset=utf-8,<!doctype html>{text}", width=80, height=90)
    pictures = {span.screenshot() for span in page.locator("span").all()}
    assert len(pictures) == 3
