"""Every kind of place: added in the console, tested with a wrong secret and a right one, filled and read."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.console import ConsoleProcess
from tests.servers.ftp import PASSWORD as FTP_PASSWORD
from tests.servers.ftp import USER as FTP_USER
from tests.servers.ftp import FtpServer
from tests.servers.gcs import GoogleStorage
from tests.servers.sftp import USER as SFTP_USER
from tests.servers.sftp import SftpServer
from tests.servers.webdav import PASSWORD as DAV_PASSWORD
from tests.servers.webdav import USER as DAV_USER
from tests.servers.webdav import WebDAV

pytestmark = pytest.mark.browser

PASSWORD = "a few unrelated words"
WRONG = "certainly-not-the-secret"


@dataclass(frozen=True)
class Place:
    """What a person types for one provider. ``complaint`` is in what a test with a wrong secret says; a
    step of ``prelude`` comes before that."""

    provider: str
    options: Mapping[str, str]
    secrets: Mapping[str, str]
    wrong: Mapping[str, str]
    complaint: str
    prelude: Callable[[Page], None] = field(default=lambda page: None)


def sftp(request: pytest.FixtureRequest) -> Place:
    """With a private key and its passphrase; the host key is accepted from what the first test shows."""
    server: SftpServer = request.getfixturevalue("sftp_server")
    key = asyncssh.generate_private_key("ssh-ed25519")
    server.accept(key)
    # As slow to try as ssh-keygen makes it.
    pasted = key.export_private_key(
        "openssh", passphrase="open sesame", rounds=24, ignore_few_rounds=True
    ).decode()
    (server.root / "browser").mkdir()

    def accept(page: Page) -> None:
        before = len(server.passwords_seen)
        failed = probed(page, "Does not work yet").locator("li", has_text="Sign in: failed")
        expect(failed).to_contain_text("nobody has accepted yet")
        shown = re.search(r"SHA256:\S{43}", failed.inner_text())
        assert shown
        assert shown[0] in server.host_keys
        assert len(server.passwords_seen) == before
        field_of(page, "host_key").fill(shown[0])

    return Place(
        "SFTP",
        {"host": "127.0.0.1", "port": str(server.port), "user": SFTP_USER, "root": "browser"},
        {"private_key": pasted, "passphrase": "open sesame"},
        {"passphrase": WRONG},
        "passphrase",
        accept,
    )


def ftps(request: pytest.FixtureRequest) -> Place:
    """With explicit TLS and an authority of its own."""
    server: FtpServer = request.getfixturevalue("ftps_server")
    (server.root / "browser").mkdir()
    options = {"host": "127.0.0.1", "port": str(server.port), "user": FTP_USER, "root": "browser"}
    return Place(
        "FTP and FTPS",
        options | {"ca_certificate": server.authority_pem},
        {"password": FTP_PASSWORD},
        {"password": WRONG},
        "password",
    )


def webdav(request: pytest.FixtureRequest) -> Place:
    """A folder on wsgidav."""
    server: WebDAV = request.getfixturevalue("webdav_server")
    options = {"endpoint": server.endpoint, "username": DAV_USER, "prefix": server.new_folder()}
    return Place("WebDAV", options, {"password": DAV_PASSWORD}, {"password": WRONG}, "password")


def azure(request: pytest.FixtureRequest) -> Place:
    """A container on Azurite."""
    server: Azurite = request.getfixturevalue("azurite")
    options = {"account": ACCOUNT, "container": server.new_container(), "endpoint": server.endpoint}
    wrong = base64.b64encode(b"secret-not-for-use" + bytes(46)).decode()
    secrets = {"credential": server.key}
    return Place("Azure Blob Storage", options, secrets, {"credential": wrong}, "key")


def google(request: pytest.FixtureRequest) -> Place:
    """A bucket at Google's; the wrong key is one that the account had before."""
    server: GoogleStorage = request.getfixturevalue("google")
    writer = json.loads(server.writer)
    old = writer | {"private_key": json.loads(server.reader)["private_key"]}
    options = {"bucket": server.new_bucket(), "endpoint": server.endpoint}
    secrets = {"credential": server.writer}
    return Place("Google Cloud Storage", options, secrets, {"credential": json.dumps(old)}, "key")


PLACES: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "sftp": sftp,
    "ftps": ftps,
    "webdav": webdav,
    "azure": azure,
    "gcs": google,
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleProcess]:
    """A console with a few files on its disk, for all of these tests."""
    instance = tmp_path_factory.mktemp("every-backend") / "instance"
    console = ConsoleProcess(instance)
    done = console.command("setup", "--username", "maria", "--password-stdin", stdin=PASSWORD)
    assert done.returncode == 0, done.stderr
    dice = random.Random(20261121)
    for key in ("a photo.jpg", "ä/ü.txt", "deep/er/empty", "deep/er/b+c&d.bin"):
        path = instance / "files" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if path.name == "empty" else dice.randbytes(70_000))
    with console:
        yield console


@pytest.fixture
def signed_in(chromium: Browser, running: ConsoleProcess, page: Page) -> Page:
    """A page of the console."""
    page.goto(running.address)
    page.get_by_label("Name").fill("maria")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


@pytest.mark.parametrize("name", PLACES)
def test_a_place_is_added_tested_filled_and_read(
    signed_in: Page, running: ConsoleProcess, tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    page, place = signed_in, PLACES[name](request)
    page.goto(f"{running.address}/backends/new")
    page.get_by_role("link", name=place.provider, exact=True).click()
    fill_in(page, name, place)
    place.prelude(page)

    for secret, value in place.wrong.items():
        field_of(page, secret).fill(value)
    failed = probed(page, "Does not work yet").locator("li", has_text="Sign in: failed")
    expect(failed).to_contain_text(place.complaint)

    for secret, value in place.secrets.items():
        field_of(page, secret).fill(value)
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


def fill_in(page: Page, name: str, place: Place) -> None:
    """Everything a person types into the form of a provider."""
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_text("Advanced:").click()
    for option, value in (*place.options.items(), *place.secrets.items()):
        field_of(page, option).fill(value)


def field_of(page: Page, option: str) -> Locator:
    """The field of an option or a secret."""
    return page.locator(f"#option-{option}, #secret-{option}")


def probed(page: Page, verdict: str) -> Locator:
    """Press “Test connection” and wait for this verdict."""
    panel = page.locator("#probe")
    earlier = panel.locator(".badge")
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.get_by_role("button", name="Test connection").click()
    expect(earlier).not_to_have_text("Testing")
    expect(panel.get_by_text(verdict)).to_be_visible()
    return panel


def migrate(page: Page, console: ConsoleProcess, source: str, destination: str) -> None:
    """Copy everything, through the pages, and see that it is verified."""
    page.goto(f"{console.address}/migrations/new")
    page.get_by_label("From", exact=True).select_option(source)
    page.get_by_label("To", exact=True).select_option(destination)
    page.get_by_role("button", name="Continue to the review").click()
    expect(page.locator("#review-title")).to_contain_text("4 objects")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("Everything is there.")).to_be_visible()
    expect(page.locator(".stats .stat", has_text="verified")).to_contain_text("4")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its key."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and ".stowage-tmp" not in path.parts
    }
