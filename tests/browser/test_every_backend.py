"""Every kind of server: added in the console with something wrong and then rightly, filled and read.

Every provider goes the same way, without a browser, in tests/web/test_every_preset.py.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import set_up
from tests.servers.console import ConsoleProcess
from tests.servers.places import PLACES, ProviderInput, WrongInput
from tests.servers.sftp import SftpServer

pytestmark = pytest.mark.browser

KINDS = ("s3", "sftp", "ftp", "webdav", "azure", "gcs")
TROUBLES = ("wrong secret", "wrong host", "missing place", "read-only")


def accept_host_key(page: Page, request: pytest.FixtureRequest) -> None:
    """Copy the server's key from what the first test shows; until then it is told nothing."""
    server: SftpServer = request.getfixturevalue("sftp_server")
    before = len(server.passwords_seen)
    field_of(page, "host_key").fill("")
    failed = probed(page, "Does not work yet").locator("li", has_text="Sign in: failed")
    expect(failed).to_contain_text("has not been accepted yet")
    shown = re.search(r"SHA256:\S{43}", failed.inner_text())
    assert shown
    assert shown[0] in server.host_keys
    assert len(server.passwords_seen) == before
    field_of(page, "host_key").fill(shown[0])


PRELUDES: Mapping[str, Callable[[Page, pytest.FixtureRequest], None]] = {"sftp": accept_host_key}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleProcess]:
    """A console with a few files on its disk, for all of these tests."""
    instance = tmp_path_factory.mktemp("every-backend") / "instance"
    console = set_up(instance)
    dice = random.Random(20261121)
    for key in ("a photo.jpg", "ä/ü.txt", "deep/er/empty", "deep/er/b+c&d.bin"):
        path = instance / "files" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if path.name == "empty" else dice.randbytes(70_000))
    with console:
        yield console


# The others take a minute together. Every provider goes through these pages without a browser, in tests/web.
@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each == "s3" else pytest.mark.torture) for each in KINDS]
)
def test_a_place_is_added_tested_filled_and_read(
    signed_in: Page, running: ConsoleProcess, tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    page, place = signed_in, PLACES[name](request)
    page.goto(f"{running.address}/backends/new")
    page.get_by_role("link", name=place.provider, exact=True).click()
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_text("Advanced:").click()
    typed(page, place.options, place.secrets)
    PRELUDES.get(name, lambda page, request: None)(page, request)
    for trouble in TROUBLES:
        told(page, place, place.troubles[trouble])

    probed(page, "Everything works")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    for value in place.secrets.values():
        assert max(value.splitlines(), key=len) not in page.content()

    back = tmp_path / "back"
    back.mkdir()
    page.goto(f"{running.address}/backends/new?preset=local")
    page.get_by_role("textbox", name="Name", exact=True).fill(f"back-{name}")
    field_of(page, "root").fill(str(back))
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name=f"back-{name}")).to_be_visible()

    migrate(page, running, "local-disk", name)
    migrate(page, running, name, f"back-{name}")
    assert digests(back) == digests(running.instance / "files")


def test_a_key_is_taken_from_its_file(signed_in: Page, running: ConsoleProcess, tmp_path: Path) -> None:
    page, key, video = signed_in, tmp_path / "id_ed25519", tmp_path / "video.mp4"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nnot-a-key\n", newline="\n")
    video.write_bytes(bytes(70_000))
    page.goto(f"{running.address}/backends/new?preset=sftp")
    picker = page.get_by_label("Choose a file: Private key")
    picker.set_input_files(key)
    expect(field_of(page, "private_key")).to_have_value(key.read_text())
    picker.set_input_files(video)
    expect(page.get_by_text("video.mp4 is too large for a key.")).to_be_attached()
    expect(field_of(page, "private_key")).to_have_value(key.read_text())


def typed(page: Page, options: Mapping[str, str], secrets: Mapping[str, str]) -> None:
    """Into the fields of the form, over what stands there."""
    for name, value in (*options.items(), *secrets.items()):
        field_of(page, name).fill(value)


def told(page: Page, place: ProviderInput, trouble: WrongInput | str) -> None:
    """Test with something wrong, read where it fails and why, make what is missing, and correct it."""
    assert isinstance(trouble, WrongInput)
    typed(page, trouble.options, trouble.secrets)
    panel = probed(page, re.compile("Does not work yet|May only read"))
    first = panel.locator("li", has_text=": failed").first
    expect(first).to_contain_text(f"{trouble.step}: failed")
    for words in trouble.says:
        expect(first).to_contain_text(words)
    create = page.locator("#create-bucket")
    expect(create).to_have_count(int(trouble.offered))
    if trouble.offered:
        probed(page, "Everything works", create)
    typed(
        page,
        {name: place.options.get(name, "") for name in trouble.options},
        {name: place.secrets.get(name, "") for name in trouble.secrets},
    )


def field_of(page: Page, option: str) -> Locator:
    """The field of an option or a secret."""
    return page.locator(f"#option-{option}, #secret-{option}")


def probed(page: Page, verdict: str | re.Pattern[str], button: Locator | None = None) -> Locator:
    """Press “Test connection”, or another button that ends with a test, and wait for this verdict."""
    panel = page.locator("#probe")
    earlier = panel.locator(".badge")
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        (button or page.get_by_role("button", name="Test connection")).click()
    expect(earlier).not_to_have_text("Testing")
    expect(panel.get_by_text(verdict)).to_be_visible()
    return panel


def migrate(page: Page, console: ConsoleProcess, source: str, destination: str) -> None:
    """Copy everything, through the pages, and see that it is verified."""
    page.goto(f"{console.address}/migrations/new")
    page.get_by_label("From", exact=True).select_option(source)
    page.get_by_label("To", exact=True).select_option(destination)
    page.get_by_role("button", name="Continue to the review").click()
    page.get_by_role("button", name="Copy 4 objects").click()
    expect(page.get_by_text(f"All 4 objects are in {destination}")).to_be_visible()
    expect(page.locator(".stats .stat", has_text="verified")).to_contain_text("4")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its key."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and ".stowage-tmp" not in path.parts
    }
