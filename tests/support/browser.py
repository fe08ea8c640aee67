"""The system's Chromium, headless, for tests of what a person sees: nothing is downloaded, nothing outside reached."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Loaded machines are slow, not wrong: every single wait may take this long.
PATIENCE_MS = 60_000


@contextmanager
def opened_page(*, width: int = 1400, height: int = 950) -> Iterator[Page]:
    """A page of a fresh browser; fails at the end if it tried to load anything from beyond this machine."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"],
        )
        try:
            page = browser.new_page(viewport={"width": width, "height": height}, locale="en-US")
            page.set_default_timeout(PATIENCE_MS)
            outside: list[str] = []
            page.on("request", lambda request: outside.append(request.url) if _is_outside(request.url) else None)
            yield page
        finally:
            browser.close()
    assert outside == [], f"the page reached for {outside}"


def _is_outside(url: str) -> bool:
    """Whether a request leaves this machine; ``data:`` and ``blob:`` go nowhere."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost")
