"""A headless Chromium, and windows that record whatever goes wrong in their pages."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Error,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from local.chromium import chromium
from local.cloud import NODE

WIDTH, HEIGHT = 1280, 900
"""Pixels of a window."""
SHOWS_WITHIN = 30
"""Seconds until a page shows what a test waits for. A dead letter takes half of them."""
C_LOCALE = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "LANGUAGE": ""}
"""As in many containers: a page without a locale of its own has the language `en-US@posix`."""


@contextmanager
def running_browser(home: Path) -> Iterator[Browser]:
    """Run a browser during the block. home: a directory in which it may keep files.

    Until the end of the block, this thread has a running event loop.
    """
    expect.set_options(timeout=SHOWS_WITHIN * 1000)
    # The Node.js that playwright brings is deleted: it needs a library that small systems lack.
    with (
        mock.patch.dict(os.environ, {"PLAYWRIGHT_NODEJS_PATH": str(NODE)}),
        sync_playwright() as playwright,
    ):

        def launch(*, sandbox: bool) -> Browser:
            return playwright.chromium.launch(
                executable_path=chromium(),
                chromium_sandbox=sandbox,
                env={**os.environ, **C_LOCALE, "HOME": str(home)},
            )

        try:
            # Chromium has no sandbox for root.
            browser = launch(sandbox=os.geteuid() != 0)
        except Error:
            # Some kernels and containers let no process have one.
            browser = launch(sandbox=False)
        with browser:
            yield browser


class Windows:
    """The windows of one person, who shares nothing with others.

    locale: None for that of the browser's process.
    """

    def __init__(self, browser: Browser, *, locale: str | None = "en-US") -> None:
        self.problems: list[str] = []
        """Errors on the browser's console, exceptions, failed requests and forbidden content."""
        self._context: BrowserContext = browser.new_context(locale=locale, service_workers="block")
        self._context.set_default_timeout(SHOWS_WITHIN * 1000)
        self._context.on("console", self._printed)
        self._context.on("weberror", lambda error: self.problems.append(str(error.error)))
        self._context.on("dialog", self._asked)
        self._context.on("requestfailed", self._failed)
        self._context.on("response", self._responded)

    def open(self, url: str, *, width: int = WIDTH, height: int = HEIGHT) -> Page:
        """Open a window of this size."""
        page = self._context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.goto(url)
        return page

    def close(self) -> None:
        """Close all windows. What is still loading fails silently."""
        self._context.remove_listener("requestfailed", self._failed)
        self._context.close()

    def _printed(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _asked(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _failed(self, request: Request) -> None:
        # A stream of events ends only when its page is left.
        if request.resource_type != "eventsource":
            self.problems.append(f"{request.method} {request.url}: {request.failure}")

    def _responded(self, response: Response) -> None:
        if not response.ok and response.status != 304:
            self.problems.append(f"{response.status} {response.request.method} {response.url}")
