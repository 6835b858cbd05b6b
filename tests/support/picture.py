"""Take the README's pictures of the console, while a story runs: the factory fails, and orders wait.

`make picture` runs this, on a shop of its own in a temporary directory.
"""

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import expect

from local.chromium import problem
from local.cloud import Cloud
from settings import PROJECT
from tests.support.browser import Windows, running_browser
from tests.support.console_page import ConsolePage

PICTURES = {"en": PROJECT / "docs/console.png", "ko": PROJECT / "docs/console.ko.png"}
"""A language of the page → the file with its picture."""
HEIGHT = 1000
"""Pixels: down to the books."""
BEFORE, STORY = "sns_outage", "factory_outage"
"""Stories: the first one gives the curve something to show. The pictures are of the second one."""
QUANTITIES = (6, 4, 90, 70)
"""What customers buy between the stories. Two of them want more than the stock."""
ORDERS = 2
"""In production while the pictures are taken."""
STAGE_SECONDS = 4.0


def take_pictures(pages: Mapping[Path, ConsolePage]) -> None:
    """Write a picture of each page, in its window's size, while STORY runs. It goes on afterwards."""
    console = next(iter(pages.values()))
    console.run_story(BEFORE)
    console.expect_story(BEFORE, "passed")
    for quantity in QUANTITIES:
        console.buy(quantity)
    expect(console.find("[data-dot][data-at=factory]")).to_have_count(ORDERS)
    console.run_story(STORY)
    for page in pages.values():
        page.open_tab("stories")
        page.find(f"[data-story={STORY}]").scroll_into_view_if_needed()
        page.page.evaluate("scrollTo(0, 0)")
        page.expect_broken("factory", True)
        expect(page.find("[data-dot][data-at=queue][data-waits=true]")).to_have_count(1)
    for path, page in pages.items():
        path.write_bytes(page.page.screenshot(animations="disabled"))


def main() -> None:
    if reason := problem():
        sys.exit(reason)
    with tempfile.TemporaryDirectory(prefix="picture-") as name:
        cloud = Cloud(Path(name) / "cloud", stage_seconds=STAGE_SECONDS)
        try:
            cloud.start()
            cloud.start_console()
            with running_browser(Path(name)) as browser:
                windows = Windows(browser)
                pages = {
                    path: ConsolePage.open(windows, cloud.console_url, language, height=HEIGHT)
                    for language, path in PICTURES.items()
                }
                take_pictures(pages)
                next(iter(pages.values())).expect_story(STORY, "passed")
                windows.close()
        finally:
            cloud.stop()
    if windows.problems:
        sys.exit("\n".join(["The page has problems:", *windows.problems]))
    for path in PICTURES.values():
        print(f"{path.relative_to(PROJECT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
