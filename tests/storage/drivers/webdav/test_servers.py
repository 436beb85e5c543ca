"""WebDAV servers as people really have them; each habit was seen on one of those of `make interop`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import SMALL, Driver, KeepsFolders, ReadsRanges
from dashboard.storage.errors import Changed, InvalidKey, StorageError, Unsupported
from tests.servers.drivers import webdav_at
from tests.servers.odd_dav import OddDAV
from tests.storage.objects import content_of, get, keys_of, stream
from tests.storage.probing import run, step_of

LARGE = content_of(SMALL + 500_000)


@pytest.fixture
def server() -> Iterator[OddDAV]:
    with OddDAV() as server:
        yield server


@pytest.fixture
def dav(server: OddDAV) -> Iterator[Driver]:
    driver = webdav_at(server.endpoint)
    yield driver
    driver.close()


def test_a_folder_that_another_write_makes_at_once_is_no_refusal(server: OddDAV, dav: Driver) -> None:
    server.oddities.mkcol_is_refused = True
    dav.put("a/b/c", b"x")
    assert keys_of(dav) == ["a/b/c"]


@pytest.mark.parametrize("habit", ["redirects_to_folders", "folders_conflict", "moves_into_folders"])
def test_a_key_that_is_the_name_of_a_folder_is_stored_or_refused(
    server: OddDAV, dav: Driver, habit: str
) -> None:
    setattr(server.oddities, habit, True)
    dav.put("a/b/kept", b"x")
    for write in (lambda: dav.put("a/b", b"y"), lambda: stream(dav, "a/b", LARGE)):
        with pytest.raises(StorageError) as caught:
            write()
        assert (caught.value.kind, caught.value.subject) == (Kind.CONFLICT, "a/b")
    assert keys_of(dav) == ["a/b/kept"]
    assert list(server.files) == ["/a/b/kept"]
    assert isinstance(dav, KeepsFolders)
    dav.make_folder("empty")
    stream(dav, "empty", LARGE)
    assert get(dav, "empty") == LARGE
    assert keys_of(dav) == ["a/b/kept", "empty"]


def test_what_a_listing_hides_is_not_written(server: OddDAV, dav: Driver) -> None:
    server.oddities.hides_dots = True
    for key in (".hidden", "a/.folder/x"):
        with pytest.raises(InvalidKey, match="start with a dot"):
            dav.put(key, b"x")
    dav.put("a/b?c", b"x")
    dav.put("a/plain", b"x")
    assert keys_of(dav) == ["a/b?c", "a/plain"]
    assert sorted(server.files) == ["/a/b?c", "/a/plain"]


def test_the_probe_says_what_a_listing_hides(server: OddDAV, dav: Driver) -> None:
    server.oddities.hides_dots = True
    result = run(dav)
    assert result.passed
    assert "Names with a leading dot are not listed" in step_of(result, "names").message
    server.oddities.hides_dots = False
    assert keys_of(dav) == []


def test_an_unfinished_write_is_found_where_dots_are_hidden(server: OddDAV, dav: Driver) -> None:
    server.oddities.hides_dots = True
    writing = dav.write("a", size=len(LARGE))
    writing.write(LARGE)
    assert keys_of(dav) == []
    assert len(server.files) == 0 or not next(iter(server.files)).startswith("/.")
    writing.__exit__(None, None, None)


def test_a_page_that_would_hide_its_folder_is_not_written(server: OddDAV, dav: Driver) -> None:
    server.oddities.page = "index.html"
    for key in ("index.html", "site/index.html"):
        with pytest.raises(InvalidKey, match="would show that page"):
            dav.put(key, b"x")
    dav.put("site/index.php", b"x")
    dav.put("site/index.html.bak", b"x")
    assert keys_of(dav) == ["site/index.html.bak", "site/index.php"]


def test_a_folder_behind_a_page_is_named_and_not_taken_for_something_else(
    server: OddDAV, dav: Driver
) -> None:
    dav.put("site/index.html", b"x")
    dav.put("index.html", b"x")
    server.oddities.page = "index.html"
    for prefix in ("site/", ""):
        with pytest.raises(Unsupported, match="shows the page") as caught:
            keys_of(dav, prefix)
        assert "DirectoryIndex" in caught.value.remedy
    [failed] = [step for step in run(dav).steps if step.state == "failed"]
    assert "index.html" in failed.message


@pytest.mark.parametrize("etags", ["everywhere", "listed", "read"])
def test_an_object_has_one_version_however_it_is_looked_at(server: OddDAV, dav: Driver, etags: str) -> None:
    server.oddities.etags = etags
    dav.put("a", b"first")
    version = dav.stat("a").version
    with dav.read("a") as reading:
        assert reading.info.version == version
    with dav.read("a", if_version=version) as reading:
        assert reading.info.version == version
        assert reading.read_all() == b"first"
    assert isinstance(dav, ReadsRanges)
    assert dav.read_range("a", 1, 3, if_version=version) == b"irs"
    dav.put("a", b"and longer")
    for call in (lambda: dav.read("a", if_version=version), lambda: read_range(dav, version)):
        with pytest.raises(Changed):
            call()


def read_range(driver: Driver, version: str | None) -> bytes:
    assert isinstance(driver, ReadsRanges)
    return driver.read_range("a", 1, 3, if_version=version)


def test_two_of_one_size_and_second_are_told_apart(server: OddDAV, dav: Driver) -> None:
    server.oddities.etags, server.oddities.seconds = "read", True
    dav.put("a", b"first")
    version = dav.stat("a").version
    dav.put("a", b"other")
    assert dav.stat("a").version != version
    with pytest.raises(Changed):
        dav.read("a", if_version=version)


def test_a_lock_of_a_moment_is_waited_for(server: OddDAV, dav: Driver) -> None:
    server.oddities.locked = 2
    dav.put("a", b"x")
    assert keys_of(dav) == ["a"]
    assert server.oddities.asked["PUT"] == 1


# Signing in


@pytest.mark.parametrize("offers", [("MD5",), ("SHA-256", "MD5"), ("Basic", "MD5"), ("Negotiate", "SHA-256")])
def test_digest_keeps_the_password_to_itself(server: OddDAV, dav: Driver, offers: tuple[str, ...]) -> None:
    server.oddities.offers = offers
    dav.put("a/b c", b"x")
    stream(dav, "large", LARGE)
    assert get(dav, "large") == LARGE
    assert isinstance(dav, ReadsRanges)
    assert dav.read_range("a/b c", 0, 1) == b"x"
    assert keys_of(dav) == ["a/b c", "large"]
    said = [each for each in server.signed if each]
    assert all(each.startswith("Digest ") for each in said)
    assert all(f"algorithm={'SHA-256' if 'SHA-256' in offers else 'MD5'}" in each for each in said)
    counts = [each.partition("nc=")[2][:8] for each in said]
    assert len(set(counts)) == len(counts)
    assert server.signed.count("") == 1


def test_a_nonce_that_has_become_old_is_replaced(server: OddDAV, dav: Driver) -> None:
    server.oddities.offers = ("MD5",)
    dav.put("a", b"x")
    server.oddities.nonce = "second"
    dav.put("b", b"y")
    server.oddities.nonce = "third"
    stream(dav, "c", LARGE)
    assert keys_of(dav) == ["a", "b", "c"]


def test_basic_is_used_where_nothing_better_is_offered(server: OddDAV, dav: Driver) -> None:
    server.oddities.offers = ("Basic",)
    dav.put("a", b"x")
    assert keys_of(dav) == ["a"]
    assert all(each.startswith("Basic ") for each in server.signed if each)


@pytest.mark.parametrize("offers", [("MD5",), ("Basic",)])
def test_a_wrong_password_is_told_from_an_unknown_way_to_sign_in(
    server: OddDAV, offers: tuple[str, ...]
) -> None:
    server.oddities.offers = offers
    wrong = webdav_at(server.endpoint, password="wrong-secret-not-for-use")
    with pytest.raises(StorageError, match="does not accept this user name and password") as caught:
        keys_of(wrong)
    assert caught.value.kind is Kind.BAD_CREDENTIALS
    assert len(server.signed) < 5
    server.oddities.offers = ("Negotiate", "NTLM")
    other = webdav_at(server.endpoint)
    with pytest.raises(StorageError, match="does not support signing in") as caught:
        keys_of(other)
    assert caught.value.kind is Kind.BAD_CREDENTIALS
    for driver in (wrong, other):
        driver.close()
