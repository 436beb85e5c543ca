"""A real Chromium, and the console it looks at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    StorageState,
    expect,
    sync_playwright,
)

from tests.servers.console import ConsoleProcess

PASSWORD = "a few unrelated words"
# Without these a Chromium on a closed network keeps knocking at its maker's servers.
# Five seconds, as Playwright has it, are not enough on a busy machine.
expect.set_options(timeout=60_000)

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for the session: the system's, else the one Playwright installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = os.environ.get("STOWAGE_TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A fresh profile at the width of a small laptop."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860}, accept_downloads=True)
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that fails the test when the console's own pages break a rule of the browser."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(f"script error: {error}"))

    def listen(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            complaints.append(message.text)

    page.on("console", listen)
    yield page
    assert complaints == []


def set_up(instance: Path) -> ConsoleProcess:
    """A console that is not running yet, with maria as its administrator."""
    console = ConsoleProcess(instance)
    done = console.command("setup", "--username", "maria", "--password-stdin", stdin=PASSWORD)
    assert done.returncode == 0, done.stderr
    return console


def sign_in(page: Page) -> None:
    """Fill in the form that is shown."""
    page.get_by_label("Name").fill("maria")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


@pytest.fixture(scope="module")
def session(chromium: Browser, running: ConsoleProcess) -> Iterator[StorageState]:
    """Who has signed in, once for all tests of a module, to the console that it calls ``running``."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(running.address)
    sign_in(page)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    yield context.storage_state()
    context.close()


@pytest.fixture
def signed_in(session: StorageState, page: Page) -> Page:
    """A page of the console ``running``."""
    page.context.add_cookies(session["cookies"])
    return page


@pytest.fixture
def console(tmp_path: Path) -> Iterator[ConsoleProcess]:
    """A console that was never started before."""
    with ConsoleProcess(tmp_path / "instance") as console:
        yield console
