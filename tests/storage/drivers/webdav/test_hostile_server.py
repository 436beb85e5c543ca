"""What a WebDAV server may say that is not true, and that none of it passes for the truth."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.common import walking
from dashboard.storage.drivers.webdav import xml as webdav_xml
from dashboard.storage.errors import StorageError
from tests.servers.drivers import webdav_at
from tests.servers.hostile.http import HostileHttpServer, Said, ScriptedResponse
from tests.storage.objects import get

XML = {"Content-Type": "application/xml"}
PAGE = {"Content-Type": "text/html"}
DATE = "Sat, 21 Nov 2026 12:00:00 GMT"
Respond = Callable[[str, str], Said]


@contextmanager
def answering(respond: Respond) -> Iterator[Driver]:
    """A driver of the folder ``/dav`` on a server that answers method and path as it is told."""
    with HostileHttpServer(lambda request: respond(request.method, request.path)) as server:
        driver = webdav_at(f"{server.endpoint}/dav")
        try:
            yield driver
        finally:
            driver.close()


def one(href: str, *, size: int | None = None, inner: str = "") -> str:
    """A file, or a folder where it has no size."""
    kind = (
        "<d:resourcetype><d:collection/></d:resourcetype>"
        if size is None
        else f"<d:resourcetype/><d:getcontentlength>{size}</d:getcontentlength>"
    )
    return (
        f"<d:response><d:href>{href}</d:href><d:propstat><d:prop>{kind}<d:getlastmodified>{DATE}"
        f"</d:getlastmodified>{inner}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )


def many(*parts: str) -> bytes:
    """A multi-status document."""
    return f'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">{"".join(parts)}</d:multistatus>'.encode()


def listed(*parts: str) -> ScriptedResponse:
    """An honest answer with such a document."""
    return ScriptedResponse(207, XML, many(*parts))


def fails(call: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call()
    assert caught.value.reason.endswith(".")
    return caught.value


def test_reading_stops_where_more_comes_than_was_announced() -> None:
    sent = 0

    def answer(method: str, target: str) -> Said:
        return endless() if method == "GET" else listed(one(target, size=10))

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield f"HTTP/1.1 200 OK\r\nLast-Modified: {DATE}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        while True:
            yield b"10000\r\n" + bytes(0x10000) + b"\r\n"
            sent += 0x10000

    with answering(answer) as driver:
        error = fails(lambda: get(driver, "a"))
        assert (error.kind, error.subject) == (Kind.DAMAGED, "a")
        assert "more arrived" in error.reason
    assert sent < 32 * 1024 * 1024


@pytest.mark.parametrize("packed", [True, False], ids=["packed unasked", "stored as it is"])
def test_an_object_that_comes_encoded_must_be_as_long_as_the_stored_one(packed: bool) -> None:
    stored = b"x" * 100
    sent, headers = stored, {"ETag": '"1"', "Last-Modified": DATE}

    def answer(method: str, target: str) -> Said:
        if method == "GET":
            return ScriptedResponse(200, headers, sent)
        return listed(one(target, size=len(stored), inner='<d:getetag>"1"</d:getetag>'))

    with answering(answer) as driver:
        assert get(driver, "a.gz") == stored
        headers |= {"Content-Encoding": "gzip"}
        if not packed:
            assert get(driver, "a.gz") == stored
            return
        sent = gzip.compress(stored)
        error = fails(lambda: get(driver, "a.gz"))
        assert (error.kind, error.subject) == (Kind.DAMAGED, "a.gz")


# Listings


ROOT = one("/dav/")
HTML = b"<html><body>Sign in to the Wi-Fi</body></html>"
REFUSED = "<d:response><d:href>/dav/{}</d:href><d:status>HTTP/1.1 {}</d:status></d:response>"
EMPTY = (
    "<d:response><d:href>/dav/b</d:href><d:propstat><d:prop><d:resourcetype/></d:prop>"
    "<d:status>HTTP/1.1 404 Not Found</d:status></d:propstat></d:response>"
)
FORBIDDEN = EMPTY.replace("404 Not Found", "403 Forbidden")

BROKEN_LISTINGS = {
    "a page in place of the document": ScriptedResponse(207, PAGE, HTML),
    "a page with status 200": ScriptedResponse(200, PAGE, HTML),
    "the document with status 200": ScriptedResponse(200, XML, many(ROOT, one("/dav/a", size=1))),
    "another document": ScriptedResponse(207, XML, many(ROOT).replace(b"multistatus", b"error")),
    "cut between two files": ScriptedResponse(207, XML, many(ROOT, one("/dav/a", size=1))[:-16]),
    "cut in a name": ScriptedResponse(207, XML, many(ROOT, one("/dav/a", size=1))[:-60]),
    "nothing at all": ScriptedResponse(207, XML, b""),
    "a document of nothing": listed(),
    "files without their folder": listed(one("/dav/a", size=1)),
    "another folder": listed(one("/other/"), one("/other/a", size=1)),
    "its parent": listed(ROOT, one("/")),
    "files of a folder below": listed(ROOT, one("/dav/a/b", size=1)),
    "another server": listed(ROOT, one("http://files.example.com/dav/a", size=1)),
    "a name that is a path": listed(ROOT, one("/dav/..%2fa", size=1)),
    "a name that leads up": listed(ROOT, one("/dav/..", size=1)),
    "a name longer than any": listed(ROOT, one(f"/dav/{'x' * 5000}", size=1)),
    "a name that comes twice": listed(
        ROOT, one("/dav/a", size=1), one("/dav/b", size=1), one("/dav/a", size=2)
    ),
    "a file without properties": listed(ROOT, one("/dav/a", size=1), EMPTY),
    "a file that may not be looked at": listed(ROOT, one("/dav/a", size=1), FORBIDDEN),
    "a file that failed": listed(ROOT, one("/dav/a", size=1), REFUSED.format("b", "500 Oops")),
    "the folder failed": listed(REFUSED.format("", "507 Insufficient Storage")),
    "a status that is none": listed(ROOT, REFUSED.format("b", "fine")),
    "a file without a size": listed(ROOT, one("/dav/a", size=1).replace("getcontentlength>", "x>")),
    "a size that is none": listed(ROOT, one("/dav/a", size=-1)),
    "an answer that was packed": ScriptedResponse(207, {**XML, "Content-Encoding": "gzip"}, many(ROOT)),
}


@pytest.mark.parametrize("lie", BROKEN_LISTINGS)
def test_a_listing_is_whole_or_an_error(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "backoff", lambda attempt: None)
    asked = 0

    def answer(method: str, target: str) -> ScriptedResponse:
        nonlocal asked
        asked += 1
        return BROKEN_LISTINGS[lie]

    with answering(answer) as driver:
        seen: list[str] = []
        error = fails(lambda: seen.extend(entry.key for entry in driver.list()))
        assert error.operation == "list"
        assert not seen
    # One without credentials, and three tries.
    assert 2 <= asked <= 4


def test_a_listing_that_was_cut_once_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "backoff", lambda attempt: None)
    broken = [BROKEN_LISTINGS["cut between two files"], BROKEN_LISTINGS["a page in place of the document"]]
    gone = REFUSED.format("c", "404 Not Found")
    whole = listed(ROOT, one("/dav/b", size=2), one("/dav/a", size=1), gone)

    with answering(lambda method, target: broken.pop() if broken else whole) as driver:
        assert [(entry.key, entry.size) for entry in driver.list()] == [("a", 1), ("b", 2)]


def test_folders_that_lead_back_into_themselves_come_to_an_end() -> None:
    name = "round" * 50

    def answer(method: str, target: str) -> ScriptedResponse:
        return listed(one(target), one(f"{target}{name}/"))

    with answering(answer) as driver:
        error = fails(lambda: list(driver.list()))
        assert "circle" in error.reason


def without_end(part: Callable[[int], str]) -> Iterator[bytes]:
    """A document that never ends, in pieces of about 64 KiB."""
    yield b"HTTP/1.1 207 Multi-Status\r\nContent-Type: application/xml\r\n\r\n"
    yield f'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">{ROOT}'.encode()
    for start in count(0, 500):
        yield "".join(part(number) for number in range(start, start + 500)).encode()


ENDLESS = {
    "elements": lambda number: "<a/>",
    "elements in elements": lambda number: "<a>",
    "different elements": lambda number: one(f"/dav/{number}", size=1, inner=f"<a{number}/>"),
    "different prefixes": lambda number: one(f"/dav/{number}", size=1, inner=f'<a xmlns:p{number}="x"/>'),
    "spaces": lambda number: " " * 128,
    "a comment": lambda number: "c" * 128 if number else "<!-- ",
    "a text": lambda number: "t" * 128 if number else "<d:response><d:href>",
    "a name of an element": lambda number: "n" * 128 if number else "<",
    "files": lambda number: one(f"/dav/{'x' * 200}{number}", size=1),
}


@pytest.mark.parametrize("lie", ENDLESS)
def test_a_listing_without_end_costs_little(lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "backoff", lambda attempt: None)
    monkeypatch.setattr(walking, "RUN_LENGTH", 500)
    monkeypatch.setattr(walking, "MAX_RUNS", 8)
    monkeypatch.setattr(webdav_xml, "_MAX_RESPONSE_BYTES", 128 * 1024)
    monkeypatch.setattr(webdav_xml, "_MAX_NAMES", 300)
    sent = 0

    def answer(method: str, target: str) -> Iterator[bytes]:
        nonlocal sent
        for piece in without_end(ENDLESS[lie]):
            sent += len(piece)
            yield piece

    with answering(answer) as driver:
        tracemalloc.start()
        try:
            error = fails(lambda: list(driver.list()))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert error.operation == "list"
    assert peak < 16 * 1024 * 1024
    assert sent < 64 * 1024 * 1024


def peak_of_listing(files: int) -> int:
    """Bytes held at most while a folder of so many files is listed, backwards from its end."""

    def answer(method: str, target: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 207 Multi-Status\r\nContent-Type: application/xml\r\n\r\n"
        yield many(ROOT).removesuffix(b"</d:multistatus>")
        for start in range(0, files, 500):
            yield "".join(one(f"/dav/{files - n:06}", size=n) for n in range(start, start + 500)).encode()
        yield b"</d:multistatus>"

    with answering(answer) as driver:
        tracemalloc.start()
        try:
            last, number = "", 0
            for entry in driver.list():
                assert entry.key > last
                last, number = entry.key, number + 1
            assert number == files
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_a_large_folder_needs_no_more_memory_than_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walking, "RUN_LENGTH", 500)
    monkeypatch.setattr(walking, "_BLOCK", 1024)
    peak_of_listing(500)  # what is loaded once
    assert peak_of_listing(10_000) < 1.7 * peak_of_listing(2000)
