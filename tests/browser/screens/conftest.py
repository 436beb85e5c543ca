"""One furnished console for all screens, and the application that knows its addresses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, StorageState, expect

from tests.browser.conftest import sign_in
from tests.browser.screens.furnished import Furnished, furnish
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
