"""Every kind of page: usable without a mouse or a screen, on a phone, in light and in dark."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect

from tests.browser.conftest import set_up
from tests.browser.screens.rules import overflow, violations
from tests.servers.console import ConsoleProcess
from tests.servers.seaweedfs import SeaweedFS

pytestmark = pytest.mark.browser

PAGES = (
    "/",
    "/backends",
    "/backends/new",
    "/backends/new?preset=b2",
    "/backends/new?preset=sftp",
    "/backend/media",
    "/backend/media/edit",
    "/backend/media/activate",
    "/backend/media/remove",
    "/browse/media",
    "/browse/media?view=grid",
    "/browse/media?file=photo+3.jpg",
    "/browse/media/file?key=photo+3.jpg",
    "/browse/media?q=nothing",
    "/files/old",
    "/links",
    "/links/new",
    "/links/new?backend=media&file=photo+3.jpg",
    "/links/1/revoke",
    "/migrations",
    "/migrations/new",
    "/migrations/1",
    "/migrations/1/objects",
    "/audit",
    "/settings",
    "/settings/users",
    "/settings/keys",
    "/settings/tokens",
    "/settings/api",
    "/search?q=media",
    "/no/such/page",
)


_SAVE_IN_VIEW = """[...document.querySelectorAll(".savebar .primary")].every((button) => {
  const box = button.getBoundingClientRect();
  return box.height > 0 && box.top >= 0 && box.bottom <= innerHeight;
})"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, seaweedfs: SeaweedFS) -> Iterator[ConsoleProcess]:
    """A console with two backends and a finished migration."""
    instance = tmp_path_factory.mktemp("furnished") / "instance"
    console = set_up(instance)
    for number in range(5):
        (instance / "files" / f"photo {number}.jpg").write_bytes(b"x" * number)
    _say(
        console,
        *("backend", "add", "media", "--preset", "s3", "--secret", "secret_access_key=env:KEY"),
        *("--option", f"endpoint={seaweedfs.endpoint}", "--option", f"bucket={seaweedfs.new_bucket()}"),
        *("--option", f"access_key_id={seaweedfs.admin.access_key}"),
        KEY=seaweedfs.admin.secret_key,
    )
    _say(console, "migrate", "local-disk", "media", "--yes")
    _say(console, "token", "create", "nightly backup", "--user", "maria", "--scope", "view")
    _say(console, "files", "link", "media", "photo 3.jpg", "--uses", "3")
    with console:
        yield console


def _say(console: ConsoleProcess, *arguments: str, **environ: str) -> None:
    done: subprocess.CompletedProcess[str] = console.command(*arguments, **environ)
    assert done.returncode == 0, done.stderr


def test_pages_pass_axe_and_fit_the_screen(
    chromium: Browser, running: ConsoleProcess, session: StorageState
) -> None:
    """Each page on both screens, and with axe on one of them, in turns; ``make torture`` looks with axe at
    every page of the console on both and in both themes."""
    looks = (("light", 1280), ("dark", 390))
    found = {}
    context = chromium.new_context(storage_state=session)
    page, stranger = context.new_page(), chromium.new_context().new_page()
    for number, place in enumerate(("/sign-in", *PAGES)):
        shown = stranger if place == "/sign-in" else page
        scheme, width = looks[number % 2]
        shown.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        shown.set_viewport_size({"width": width, "height": 800})
        shown.goto(running.address + place)
        faults = _faults(shown)
        shown.set_viewport_size({"width": looks[1 - number % 2][1], "height": 800})
        if faults := [*faults, *_misfits(shown)]:
            found[place] = faults
    stranger.context.close()
    context.close()
    assert found == {}


def _faults(page: Page) -> list[str]:
    return [*violations(page), *_misfits(page)]


def _misfits(page: Page) -> list[str]:
    faults = overflow(page)
    if page.evaluate("innerWidth < 500 && (document.querySelector('.side')?.offsetHeight ?? 0) > 60"):
        faults.append("the header is stretched")
    if not page.evaluate(_SAVE_IN_VIEW):
        faults.append("Save is out of sight")
    return faults


def test_the_palette_opens_finds_and_goes_with_the_keyboard_alone(
    chromium: Browser, running: ConsoleProcess, session: StorageState
) -> None:
    context = chromium.new_context(storage_state=session, viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(f"{running.address}/migrations")
    page.keyboard.press("Control+k")
    palette = page.get_by_role("dialog", name="Search the console")
    expect(palette.get_by_role("option", name="Migrations")).to_be_visible()
    assert _faults(page) == []
    page.keyboard.type("media")
    expect(palette.get_by_role("option", selected=True)).to_have_text("media")
    page.keyboard.press("ArrowDown")
    expect(palette.get_by_role("option", selected=True)).to_contain_text("local-disk → media")
    page.keyboard.press("Enter")
    page.wait_for_url("**/migrations/1")
    page.keyboard.press("Control+k")
    expect(palette).to_be_visible()
    page.keyboard.press("Escape")
    expect(palette).to_be_hidden()
    # The form of a backend says at 390 pixels, without scrolling, why it was not tested.
    page.goto(f"{running.address}/backends/new?preset=local")
    page.get_by_label("Name", exact=True).fill("media")
    page.locator("#option-root").fill("/srv/nowhere")
    page.get_by_role("button", name="Test connection").click()
    expect(page.get_by_text("Not yet.")).to_be_in_viewport()
    expect(page.locator("#name-error")).to_contain_text("already a backend")
    expect(page.locator("#name")).to_be_focused()
    red = "getComputedStyle(document.getElementById('name')).outlineColor"
    assert page.evaluate(red) == page.evaluate("getComputedStyle(document.querySelector('.error')).color")
    page.get_by_label("Name", exact=True).fill("other")
    expect(page.locator("#name-error")).to_have_count(0)
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#test-state")).to_contain_text("“Find the folder” failed.")
    expect(page.locator("#test-state")).to_be_in_viewport()
    context.close()


def test_a_new_encryption_key_is_made_in_the_form_and_never_shown_again(
    chromium: Browser, running: ConsoleProcess, session: StorageState
) -> None:
    context = chromium.new_context(storage_state=session, viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.goto(f"{running.address}/backends/new?preset=local")
    page.get_by_label("Name", exact=True).fill("sealed")
    (running.instance / "sealed").mkdir()
    page.locator("#option-root").fill(str(running.instance / "sealed"))
    page.get_by_role("switch", name="Encryption").check()
    field = page.locator("#secret-encryption_key")
    assert field.get_attribute("type") == "password"
    page.get_by_role("button", name="Make a new key").click()
    key = field.input_value()
    assert len(base64.b64decode(key)) == 32
    assert field.get_attribute("type") == "text"
    assert _faults(page) == []
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/backend/sealed*")
    for place in ("/backend/sealed", "/backend/sealed/edit"):
        page.goto(running.address + place)
        assert key not in page.content()
        assert page.get_by_role("button", name="Make a new key").count() == 0
    context.close()
