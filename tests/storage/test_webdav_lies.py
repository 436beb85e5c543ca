"""What a WebDAV server may say that is not true, and that none of it passes for the truth."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.errors import StorageError
from tests.servers.scripted import Scripted, http_answer, http_requests
from tests.storage.conftest import webdav_at
from tests.storage.objects import get

DATE = "Sat, 21 Nov 2026 12:00:00 GMT"
Answers = Callable[[str, str], bytes | Iterator[bytes]]


@contextmanager
def answering(answer: Answers) -> Iterator[Driver]:
    """A driver of the folder ``/dav`` on a server that answers method and target as it is told."""

    def handler(connection: socket.socket) -> None:
        for method, target in http_requests(connection):
            said = answer(method, target)
            for piece in [said] if isinstance(said, bytes) else said:
                connection.sendall(piece)

    with ExitStack() as stack:
        server = stack.enter_context(Scripted(handler))
        driver = webdav_at(f"http://127.0.0.1:{server.port}/dav")
        stack.callback(driver.close)
        yield driver


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


def listed(*parts: str) -> bytes:
    """An honest answer with such a document."""
    return http_answer("207 Multi-Status", many(*parts), content_type="application/xml")


def fails(call: Callable[[], object]) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call()
    assert caught.value.reason.endswith(".")
    return caught.value


def test_reading_stops_where_more_comes_than_was_announced() -> None:
    sent = 0

    def answer(method: str, target: str) -> bytes | Iterator[bytes]:
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
