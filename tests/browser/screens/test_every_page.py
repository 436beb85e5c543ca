"""Every page of the console with axe, in both themes and at both widths; and that none is forgotten."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from playwright.sync_api import Browser, StorageState

from tests.browser.screens.furnished import Furnished
from tests.browser.screens.keys import walk
from tests.browser.screens.places import places
from tests.browser.screens.rules import CUT_OFF, TEXT_SPACING, listening, overflow, violations
from tests.servers.console import ConsoleProcess
from tests.web.conftest import open_console

SCHEMES = ("light", "dark")
WIDTHS = (1280, 390)


@pytest.fixture(scope="session")
def every(tmp_path_factory: pytest.TempPathFactory, furnished: Furnished) -> tuple[str, ...]:
    """The addresses of all pages."""
    return _places(tmp_path_factory.mktemp("routes"), furnished)


def _places(folder: Path, furnished: Furnished) -> tuple[str, ...]:
    console = open_console(folder)
    try:
        return places(console.app, furnished)
    finally:
        console.services.close()


def test_every_page_has_a_place_in_the_sweep(tmp_path: Path) -> None:
    numbers = {each.name: 1 for each in fields(Furnished) if each.type == "int"}
    found = _places(tmp_path, Furnished(instance=tmp_path, slow="", backup="1", **numbers))
    assert len(found) == len(set(found))
    assert {"/", "/backend/local-disk/edit", "/migrations/1/cancel", "/settings/keys/rotate"} <= set(found)
    assert not [address for address in found if address.startswith(("/api/", "/static"))]


@pytest.mark.browser
@pytest.mark.torture
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_nothing_on_any_page_in_either_theme(
    chromium: Browser, running: ConsoleProcess, session: StorageState, every: tuple[str, ...], width: int
) -> None:
    context = chromium.new_context(storage_state=session, viewport={"width": width, "height": 860})
    page = context.new_page()
    found: dict[str, list[str]] = {}
    with listening(page, running.address) as heard:
        for address in every:
            page.goto(running.address + address)
            faults = []
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                faults += [f"{scheme}: {each}" for each in violations(page)]
            faults += [*overflow(page), *heard.take()]
            if faults:
                found[address] = faults
    context.close()
    assert found == {}


@pytest.mark.browser
@pytest.mark.torture
@pytest.mark.timeout(1500)
def test_every_page_reflows_and_takes_wider_text(
    chromium: Browser, running: ConsoleProcess, session: StorageState, every: tuple[str, ...]
) -> None:
    """At 320 pixels (1280 at 400 %) and 640 (at 200 %), and with the text spacing of WCAG 1.4.12."""
    context = chromium.new_context(storage_state=session, viewport={"width": 320, "height": 640})
    page = context.new_page()
    found: dict[str, list[str]] = {}
    for address in every:
        page.goto(running.address + address)
        faults = []
        for width in (320, 640, 390):
            page.set_viewport_size({"width": width, "height": 860})
            if width == 390:
                page.evaluate(TEXT_SPACING)
                faults += [f"cut off: {each}" for each in page.evaluate(CUT_OFF)]
            faults += overflow(page)
        if faults:
            found[address] = faults
    context.close()
    assert found == {}


@pytest.mark.browser
@pytest.mark.torture
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 720), (320, 256)])
def test_the_focus_is_always_seen_on_every_page(
    chromium: Browser,
    running: ConsoleProcess,
    session: StorageState,
    every: tuple[str, ...],
    width: int,
    height: int,
) -> None:
    """With Tab through all that can be used: a ring, on the screen, behind no bar that stays. The last size
    is 1280 by 1024 at 400 %."""
    context = chromium.new_context(
        storage_state=session, viewport={"width": width, "height": height}, reduced_motion="reduce"
    )
    page = context.new_page()
    found: dict[str, list[str]] = {}
    for address in every:
        page.goto(running.address + address)
        if faults := walk(page):
            found[address] = faults
    context.close()
    assert found == {}
