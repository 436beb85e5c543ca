"""What stored files are called, and how the three classes of storage keep them."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.errors import InvalidInput
from dashboard.storage import Storage
from dashboard.storage.errors import Exists, Unsupported
from dashboard.storage.library.fakes import FakeBackend
from dashboard.storage.library.purposes import PrivateFiles, PublicMedia, StaticFiles
from dashboard.storage.naming import AsGiven, UniqueNames, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("Größe & Übersicht (final).PDF", "Grosse-Ubersicht-final.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\My Photo.JPG", "My-Photo.jpg"),
        (".htaccess", "htaccess"),
        ("-rf", "rf"),
        ("archive.tar.gz", "archive.tar.gz"),
        ("日本語.png", "file.png"),
        ("a\x00b\r\nc.txt", "a-b-c.txt"),
        ("...", "file"),
        ("", "file"),
        ("x" * 300 + ".jpeg", "x" * 80 + ".jpeg"),
        ("no ending", "no-ending"),
        ("a..b...txt", "a.b.txt"),
    ],
)
def test_a_name_is_made_safe_and_stays_readable(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text())
def test_no_name_is_unsafe(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", safe)
    assert len(safe) <= 92
    assert ".." not in safe
    assert safe_name(safe) == safe


def test_unique_names_keep_the_persons_own_and_the_ending() -> None:
    names = UniqueNames("uploads/", dated=True, clock=lambda: datetime(2026, 1, 2, tzinfo=UTC))
    keys = {names.key_for("../My Photo.JPG") for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"uploads/2026/01/02/My-Photo-[0-9a-f]{16}\.jpg", key) for key in keys)
    assert re.fullmatch(r"file-[0-9a-f]{16}", UniqueNames().key_for(""))


def test_given_names_stay_below_their_folder() -> None:
    assert AsGiven("static").key_for("css/site.css") == "static/css/site.css"
    for name in ("", "../x", "a/../../x", "/etc/passwd", "a//b", "."):
        with pytest.raises(InvalidInput):
            AsGiven("static").key_for(name)


def test_public_media() -> None:
    fake = FakeBackend("media")
    media = PublicMedia(fake, base_url="https://cdn.example.com/m/")
    key = media.save("Grüße aus Rom.jpg", b"jpeg")
    again = media.save("Grüße aus Rom.jpg", io.BytesIO(b"jpeg"))
    assert key != again
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/Gruss?e-aus-Rom-[0-9a-f]{16}\.jpg", key)
    held = fake.metadata(key).attributes
    assert (held.content_type, held.content_disposition) == ("image/jpeg", None)
    assert held.cache_control == "public, max-age=31536000, immutable"
    assert media.url(key) == f"https://cdn.example.com/m/{key}"
    media.delete(key)
    fake.assert_missing(key)
    with pytest.raises(Unsupported):
        PublicMedia(fake).url(again)


@pytest.mark.parametrize("name", ["page.html", "logo.SVG", "feed.xml", "x.js", "unknown"])
def test_what_would_run_in_a_browser_is_only_downloaded(name: str) -> None:
    fake = FakeBackend("media")
    key = PublicMedia(fake).save(name, b"<script>")
    assert fake.metadata(key).attributes.content_disposition == "attachment"


def test_static_files_replace() -> None:
    fake = FakeBackend("static")
    static = StaticFiles(fake, folder="assets", base_url="https://example.com/static")
    assert static.save("css/site.css", "a {}") == static.save("css/site.css", "b {}")
    fake.assert_count(1)
    fake.assert_exists("assets/css/site.css", content="b {}")
    assert fake.metadata("assets/css/site.css").attributes.cache_control == "public, max-age=31536000"
    assert static.url("assets/css/site.css") == "https://example.com/static/assets/css/site.css"


def test_private_files_have_signed_addresses_only() -> None:
    storage = Storage()
    storage.configure(
        "private",
        "s3",
        endpoint="https://s3.example.com",
        bucket="my-bucket",
        access_key_id="AK",
        secret_access_key="SK",
    )
    private = PrivateFiles(storage.backend("private"))
    with pytest.raises(Unsupported, match="temporary"):
        private.url("a.pdf")
    assert "X-Amz-Expires=300" in private.temporary_url("a.pdf")
    fake = FakeBackend("private")
    key = PrivateFiles(fake).save("contract.pdf", b"%PDF")
    assert fake.metadata(key).attributes.cache_control == "private, no-store"


def test_a_name_that_was_given_before_is_not_overwritten() -> None:
    class Twice(UniqueNames):
        keys = iter(["taken", "free"])

        def key_for(self, name: str) -> str:
            return next(self.keys)

    fake = FakeBackend("media")
    fake.put("taken", b"first")
    assert PublicMedia(fake, names=Twice()).save("x", b"second") == "free"
    fake.assert_exists("taken", content="first")
    with pytest.raises(Exists):
        fake.put("taken", b"x", create_only=True)
