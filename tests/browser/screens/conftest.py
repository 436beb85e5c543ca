"""One furnished console for all screens, and the application that knows its addresses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, StorageState, expect

from tests.browser.conftest import sign_in
from tests.browser.screens.furnished import Furnished, furnish
from tests.browser.screens.hands import WAYS, Hands, Way
from tests.browser.screens.rules import listening
from tests.servers.console import ConsoleProcess
from tests.servers.seaweedfs import SeaweedFS


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory, seaweedfs: SeaweedFS) -> Iterator[Furnished]:
    """The console's content."""
    with furnish(tmp_path_factory.mktemp("furnished"), seaweedfs) as made:
        yield made


@pytest.fixture(scope="session")
def running(furnished: Furnished) -> Iterator[ConsoleProcess]:
    """The console itself. Tests that change something change what they have made."""
    with ConsoleProcess(furnished.instance) as console:
        yield console


@pytest.fixture(scope="session")
def session(chromium: Browser, running: ConsoleProcess) -> Iterator[StorageState]:
    """Maria, signed in once."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(running.address)
    sign_in(page)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    yield context.storage_state()
    context.close()


@pytest.fixture(params=WAYS, ids=[way.name for way in WAYS])
def hands(
    request: pytest.FixtureRequest, chromium: Browser, running: ConsoleProcess, session: StorageState
) -> Iterator[Hands]:
    """Maria's hands: with a mouse, on a phone, and with the keyboard alone. Nothing may go wrong in scripts
    or leave the console."""
    way: Way = request.param
    context = chromium.new_context(
        storage_state=session,
        viewport={"width": way.width, "height": way.height},
        color_scheme="dark" if way.dark else "light",
        reduced_motion="reduce" if way.keyboard else "no-preference",
        accept_downloads=True,
    )
    context.set_default_timeout(60_000)
    page = context.new_page()
    with listening(page, running.address) as heard:
        yield Hands(page, way, running.address)
        said = [line for line in heard.take() if "the server responded with a status of 4" not in line]
    context.close()
    assert said == []
