"""Parts of objects, on every driver; and what a server may answer that is not the part."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dashboard.errors import InvalidInput
from dashboard.storage import Backend
from dashboard.storage.driver import SMALL, Driver, ReadsRanges
from dashboard.storage.errors import Changed, Damaged, NotFound, StorageError
from dashboard.storage.net.ranges import range_from_response
from dashboard.storage.types import Attributes
from tests.servers.drivers import webdav_at
from tests.storage.objects import content_of, unsupported

DATA = content_of(100_000)
LARGE = content_of(SMALL + 500_000)


@pytest.fixture
def place(driver: Driver) -> Backend:
    """The driver behind the facade."""
    driver.put("a", DATA)
    return Backend("place", driver)


def reads_parts(place: Backend) -> None:
    """One that does not must say so and why."""
    if not isinstance(place.driver, ReadsRanges):
        unsupported(lambda: place.read_range("a", 0, 1))


PARTS = [(0, 1), (0, 100_000), (1, 99_999), (40_000, 12_345), (99_999, 1), (99_990, 50), (0, 10**12)]


def test_a_part_is_exactly_that_part(place: Backend) -> None:
    reads_parts(place)
    version = place.stat("a").version
    for start, length in PARTS:
        assert place.read_range("a", start, length) == DATA[start : start + length]
        assert place.read_range("a", start, length, if_version=version) == DATA[start : start + length]


def test_past_the_end_and_without_length_there_is_nothing(place: Backend) -> None:
    reads_parts(place)
    version = place.stat("a").version
    place.put("empty", b"")
    for start, length in ((100_000, 1), (100_001, 10), (10**12, 10), (0, 0), (50, 0), (10**12, 0)):
        assert place.read_range("a", start, length) == b""
        assert place.read_range("a", start, length, if_version=version) == b""
    assert place.read_range("empty", 0, 10) == b""


def test_a_part_of_what_is_not_there(place: Backend) -> None:
    reads_parts(place)
    for start, length in ((0, 1), (0, 0), (50, 10)):
        with pytest.raises(NotFound) as caught:
            place.read_range("no/thing", start, length)
        assert caught.value.subject == "no/thing"
    for start, length in ((-1, 1), (0, -1), (2**63, 1)):
        with pytest.raises(InvalidInput):
            place.read_range("a", start, length)


def test_a_part_of_another_version_is_refused(place: Backend) -> None:
    reads_parts(place)
    version = place.stat("a").version
    place.put("a", DATA[::-1] + b"longer")
    for start, length in ((10, 5), (0, 0), (10**6, 5)):
        with pytest.raises(Changed):
            place.read_range("a", start, length, if_version=version)
    assert place.read_range("a", 100_000, 100) == b"longer"


def test_parts_of_a_large_object_from_many_threads(place: Backend) -> None:
    reads_parts(place)
    with place.write_stream("big", size=len(LARGE), attributes=Attributes(content_type="x/y")) as writing:
        writing.write(LARGE)
        writing.commit()
    version = place.stat("big").version
    step = 1_234_567

    def part(start: int) -> bytes:
        return place.read_range("big", start, step, if_version=version)

    with ThreadPoolExecutor(8) as pool:
        assert b"".join(pool.map(part, range(0, len(LARGE), step))) == LARGE
    assert place.read_range("big", 5, len(LARGE)) == LARGE[5:]


def test_a_part_of_an_object_with_an_odd_key(exact_driver: Driver) -> None:
    reads_parts(Backend("place", exact_driver))
    assert isinstance(exact_driver, ReadsRanges)
    for key in ("caf\u00e9 + #%2F?.txt", "\U0001f600", "a b"):
        exact_driver.put(key, DATA)
        assert exact_driver.read_range(key, 10, 10) == DATA[10:20]


# What servers answer


def answered(status: int, body: list[bytes], **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return range_from_response(status, named, iter(body), key="k", start=4, length=3)


def test_an_answer_is_read_as_what_it_is() -> None:
    whole = [b"01", b"2345", b"", b"67", b"89"]
    assert answered(206, [b"45", b"6"], content_range="bytes 4-6/10") == b"456"
    assert answered(206, [b"456"], content_range="bytes 4-6/*") == b"456"
    assert answered(206, [b"45"], content_range="bytes 4-5/6") == b"45"
    assert answered(200, whole, content_length="10") == b"456"
    assert answered(200, [b"012345"], content_length="6") == b"45"
    assert answered(200, [b"012"], content_length="3") == b""
    assert answered(200, [b"456"], content_length="3", content_range="bytes 4-6/10") == b"456"
    assert answered(200, whole, content_length="10", content_range="bytes 0-9/10") == b"456"


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (206, [b"456"], {}),
        (206, [b"456"], {"content_range": "bytes 5-7/10"}),
        (206, [b"45"], {"content_range": "bytes 4-5/10"}),
        (206, [b"45678"], {"content_range": "bytes 4-8/10"}),
        (206, [b"45"], {"content_range": "bytes 4-6/10"}),
        (206, [b"456", b"7", b"8"], {"content_range": "bytes 4-6/10"}),
        (206, [b"456"], {"content_range": "bytes 4-6/10\r\nx"}),
        (200, [b"012345"], {"content_length": "10"}),
        (200, [b"0123456789"], {}),
        (200, [b"567"], {"content_length": "3", "content_range": "bytes 5-7/10"}),
        (200, [b"0123456789"], {"content_length": "10", "content_range": "ten bytes"}),
    ],
)
def test_an_answer_that_is_not_the_part_is_damage(
    status: int, body: list[bytes], headers: dict[str, str]
) -> None:
    with pytest.raises(Damaged):
        answered(status, body, **headers)


class _Ignorant(BaseHTTPRequestHandler):
    """A WebDAV server that has never heard of ranges."""

    protocol_version = "HTTP/1.1"

    def do_PROPFIND(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = (
            '<D:multistatus xmlns:D="DAV:"><D:response><D:href>/a</D:href><D:propstat><D:prop>'
            f"<D:getcontentlength>{len(DATA)}</D:getcontentlength><D:getetag>&quot;v1&quot;</D:getetag>"
            "<D:resourcetype/></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
            "</D:multistatus>"
        ).encode()
        self._answer(207, body)

    def do_GET(self) -> None:
        assert self.headers["range"]
        self._answer(200, DATA, ETag='"v1"')

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def ignorant() -> Iterator[Driver]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Ignorant)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    driver = webdav_at(f"http://127.0.0.1:{server.server_port}")
    yield driver
    driver.close()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_ignores_ranges_still_yields_the_part(ignorant: Driver) -> None:
    assert isinstance(ignorant, ReadsRanges)
    for start, length in ((0, 10), (40_000, 30_000), (99_995, 100)):
        assert ignorant.read_range("a", start, length) == DATA[start : start + length]
    assert ignorant.read_range("a", 50, 5, if_version="v1") == DATA[50:55]
    with pytest.raises(StorageError):
        ignorant.read_range("a", 50, 5, if_version="v0")
